# SPDX-License-Identifier: GPL-2.0-only
"""Debian's own arm64 kernels: memory plugged and unplugged through virtio-mem."""

import json
from collections.abc import Callable

import pytest

from tests.lab.compare import SECTION_PAGES, left_nothing, same_calls, sections
from tests.lab.harness import Boot, Kernel, Lab

# behind the guest's 2 GiB from 0x40000000: 1 GiB in sections of 128 MiB
SECTIONS = [((0xC0000000 >> 12) + number * SECTION_PAGES, SECTION_PAGES) for number in range(8)]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("6.12", marks=pytest.mark.xdist_group("stock-6.12")),
        *(
            pytest.param(
                series, marks=[pytest.mark.long, pytest.mark.xdist_group(f"stock-{series}")]
            )
            for series in ("6.1", "7.x")
        ),
    ],
)
def stock(
    request: pytest.FixtureRequest, lab: Lab, debian: Callable[[str], Kernel]
) -> tuple[str, Boot]:
    series: str = request.param
    return series, lab.boot(debian(series), "hotplug.sh", memory=True, timeout_s=600)


@pytest.mark.parametrize("engine", ["tracefs", "bcc"])
def test_hotplug_is_recorded_and_clean(stock: tuple[str, Boot], engine: str) -> None:
    series, boot = stock
    scene = f"hotplug-{engine}"
    ours = same_calls(boot, scene)
    # 6.1 refuses entry kprobes there, later ones take them, and trampolines where there is BPF
    later = "fentry" if engine == "bcc" else "kprobe"
    assert sections(ours, "callsite" if series == "6.1" else later) == SECTIONS
    assert boot.warns(scene) == 0
    assert boot.exit_code(scene) == 0
    left_nothing(boot, scene)


@pytest.mark.parametrize(
    ("qemu", "bits", "used"),
    [
        pytest.param(
            *("", 48, 0xFFFFFDFFC0000000),
            id="48-bit-cpu",
            marks=pytest.mark.xdist_group("lockdown-48"),
        ),
        pytest.param(
            *("max,pauth-impdef=on", 52, 0xFFFFC1FFC0000000),
            id="52-bit-cpu",
            marks=[pytest.mark.long, pytest.mark.xdist_group("lockdown-52")],
        ),
    ],
)
def test_under_lockdown_the_bits_in_use_are_found(
    lab: Lab, debian: Callable[[str], Kernel], qemu: str, bits: int, used: int
) -> None:
    """Debian 6.12, built for 52 bits (4K pages): /proc/kcore is shut, the configuration is all."""
    boot = lab.boot(debian("6.12"), "lockdown.sh", append="lockdown=confidentiality", cpu=qemu)
    assert "[confidentiality]" in boot.text("lockdown")
    fields = json.loads(boot.text("window.text"))
    assert boot.exit_code("window") == 0, boot.text("window.text")
    assert (fields["vabits_actual"], fields["provenance"]["vabits_actual"]) == (bits, "mmap")
    # VMEMMAP_START and END of Debian 6.12.117, and what 48 bits need of it
    assert (fields["start"], fields["end"]) == ("0xffffc1ffc0000000", "0xffffffffc0000000")
    assert int(fields["used"]["start"], 16) == used
    checks = {each["name"]: each for each in json.loads(boot.text("doctor.text"))["checks"]}
    tracefs = checks["tracefs"]
    assert tracefs["said"] == "mounted, and empty: lockdown=confidentiality keeps it so"
    assert tracefs["steps"][""].startswith("boot without lockdown=confidentiality")
    assert checks["kernel text"]["steps"][""].startswith("vmemscope doctor --vmlinux /boot/vmlinuz")


def test_no_kernel_headers_are_needed(stock: tuple[str, Boot]) -> None:
    _, boot = stock
    assert "linux-headers" not in boot.text("headers")
    assert boot.recording("hotplug-bcc").header["origin"]["live"] == "bcc"


def test_doctor(stock: tuple[str, Boot]) -> None:
    series, boot = stock
    fields = json.loads(boot.text("doctor.text"))
    assert (boot.exit_code("doctor"), fields["gaps"]) == (0, [])
    # Debian's 6.1 has ZONE_DEVICE off: there is no memremap_pages that anybody could call
    gone = {"memremap_pages", "memunmap_pages"} if series == "6.1" else set()
    attaching = [each for each in fields["engines"] if each["engine"] != "kmsg"]
    assert len(attaching) == 2
    for engine in attaching:
        assert {point["function"] for point in engine["points"] if point["absent"]} == gone
    left_nothing(boot, "doctor")
