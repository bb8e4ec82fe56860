# SPDX-License-Identifier: GPL-2.0-only
"""7.3 with 64K pages, for 52 bits: the same calls warn on one CPU and are silent on the other."""

import json
import re
from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from tests.lab.compare import left_nothing, same_calls
from tests.lab.harness import Boot, Kernel, Lab


class Cpu(NamedTuple):
    """What the kernel's own captures say of one CPU (tests/captures, 7.3.4-vmemlab-64k-*)."""

    qemu: str
    bits: int
    start: int  # of the struct pages of physical 0, which is below the RAM
    used: int  # where the vmemmap in use starts
    warns: int


LVA: Final = Cpu("max,pauth-impdef=on", 52, 0xFFFFFC1FBFF00000, 0xFFFFFC1FC0000000, 2)
PLAIN: Final = Cpu("", 48, 0xFFFFFFDFBFF00000, 0xFFFFFFDFC0000000, 0)
#: 128 MiB of 64 KiB pages, 64 bytes each.
SIZE: Final = 0x20000


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            LVA, id="52-bit-cpu", marks=[pytest.mark.long, pytest.mark.xdist_group("silent-52")]
        ),
        pytest.param(
            PLAIN, id="48-bit-cpu", marks=[pytest.mark.long, pytest.mark.xdist_group("silent-48")]
        ),
    ],
)
def booted(
    request: pytest.FixtureRequest, lab: Lab, lab_kernel: Callable[[str], Kernel]
) -> tuple[Cpu, Boot]:
    cpu: Cpu = request.param
    of = lab_kernel("7.3-64k")
    return cpu, lab.boot(of, "silent.sh", append="nokaslr", timeout_s=1200, cpu=cpu.qemu)


@pytest.mark.parametrize("engine", ["tracefs", "bcc"])
def test_out_of_range_on_both(booted: tuple[Cpu, Boot], engine: str) -> None:
    cpu, boot = booted
    scene = f"below-{engine}"
    ours = same_calls(boot, scene)
    calls = [(row["start"], row["end"]) for row in (*ours.of("populate"), *ours.of("free"))]
    assert calls == [(cpu.start, cpu.start + SIZE)] * 2
    assert boot.warns(scene) == len(ours.of("warn")) == cpu.warns
    assert boot.exit_code(scene) == 1
    silent = "" if cpu.warns else ", 2 silent"
    assert f"OUT OF RANGE: 2 of 2 calls outside the window{silent};" in boot.text(f"{scene}.text")
    left_nothing(boot, scene)


@pytest.mark.parametrize("engine", ["tracefs", "bcc"])
def test_where_the_kernel_puts_it_is_clean_on_both(booted: tuple[Cpu, Boot], engine: str) -> None:
    _, boot = booted
    scene = f"placed-{engine}"
    ours = same_calls(boot, scene)
    assert len(ours.of("populate")) == 4
    assert (boot.warns(scene), boot.exit_code(scene)) == (0, 0)
    left_nothing(boot, scene)


@pytest.mark.parametrize("scene", ["hits-only", "hits-only-tracefs"])
def test_the_kernels_filter_keeps_what_is_out_of_the_window_in_use(
    booted: tuple[Cpu, Boot], scene: str
) -> None:
    cpu, boot = booted
    ours = boot.recording(scene)
    assert ours.lost() == 0
    for kind in ("populate", "free"):
        assert [row["start"] for row in ours.of(kind)] == [cpu.start]
    assert sum(call.name == "free" for call in boot.truth(scene)) == 5
    left_nothing(boot, scene)


def test_the_page_tables_agree(booted: tuple[Cpu, Boot]) -> None:
    cpu, boot = booted
    mapped = re.search(
        rf"^0x{cpu.start:016x}-0x{cpu.start + SIZE:016x} .*MEM/NORMAL",
        boot.text("mapped.page_tables"),
        re.MULTILINE,
    )
    assert mapped is not None
    before = boot.text("mapped.page_tables")[: mapped.start()]
    assert before.rindex("---[ vmalloc() end ]---") > before.rindex("---[ vmalloc() area ]---")


@pytest.mark.parametrize("scene", ["window", "window-anybody"])
def test_the_bits_in_use_are_found_by_anybody(booted: tuple[Cpu, Boot], scene: str) -> None:
    cpu, boot = booted
    fields = json.loads(boot.text(f"{scene}.text"))
    assert boot.exit_code(scene) == 0
    assert fields["vabits_actual"] == cpu.bits
    assert fields["provenance"]["vabits_actual"] == {"window": "vmcoreinfo"}.get(scene, "mmap")
    assert int(fields["used"]["start"], 16) == cpu.used
    if cpu.warns:
        assert fields["blind"] is None
    elif scene == "window":
        assert fields["blind"]["phys_below"] == "0x40000000"


def test_doctor_reports_that_the_warn_is_blind(booted: tuple[Cpu, Boot]) -> None:
    cpu, boot = booted
    fields = json.loads(boot.text("doctor.text"))
    (window,) = (check for check in fields["checks"] if check["name"] == "window")
    assert (boot.exit_code("doctor"), window["status"]) == (0, "ok")
    blind = "cannot see hits below 0xffffffdfc0000000" in window["said"]
    assert blind is not bool(cpu.warns)
    assert ("physical addresses below 0x40000000" in window["said"]) is blind


def test_the_screen_shows_it(booted: tuple[Cpu, Boot]) -> None:
    cpu, boot = booted
    before, after = boot.text("live-before.screen"), boot.text("live-after.screen")
    assert ("no WARN below physical 0x40000000" in before) is not bool(cpu.warns)
    assert "OUT OF RANGE" in after
    assert "2 of 2 calls so far outside the window, all below" in after
    assert ("all silent" in after) is not bool(cpu.warns)
    assert boot.exit_code("live") == 1
    left_nothing(boot, "live")
