# SPDX-License-Identifier: GPL-2.0-only
"""``window --fit`` and the record of requests against what booted kernels really did.

The boots of fit.sh run nothing of vmemscope: region.ko asks for sizes and prints what it got, and
the prediction is made here, from the files that describe the machine.
"""

import json
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.compare import left_nothing
from tests.lab.harness import TOP, Boot, Kernel, Lab, with_modules
from tests.tui.in_process import run
from tui.commands.window import window

pytestmark = pytest.mark.long
ERANGE = -34
#: A size that fits in some boots of 6.12 on a CPU with 44 physical bits: MiB.
SOMETIMES = 67108864


def regions(boot: Boot) -> list[tuple[int, int | None, int]]:
    """Return (MiB, address or None, last address or error) of each request, by the module."""
    found = re.findall(r"region: (\d+) MiB: (?:0x(\w+)-0x(\w+)|error (-\d+))", boot.text("regions"))
    return [
        (int(mib), int(first, 16) if first else None, int(last, 16) if first else int(error))
        for mib, first, last, error in found
    ]


def predicted(folder: Path, mib: int, *more: str) -> tuple[dict[str, Any], int]:
    """Return what ``vmemscope window --fit`` says of a machine's folder, and its exit code."""
    done = run(window, "--machine", folder, "--fit", f"{mib}M", "--json", *more)
    fields: dict[str, Any] = json.loads(done.stdout)["fit"]
    return fields, done.exit_code


def right(boot: Boot, *more: str) -> int:
    """Hold each prediction against what the kernel did; return how many there were."""
    told = regions(boot)
    for mib, first, last in told:
        fit, code = predicted(boot.out / "machine", mib, *more)
        if first is None:
            assert (fit["result"], fit["phys"], last, code) == ("refused", None, ERANGE, 1)
        else:
            assert fit["phys"] == {"start": f"0x{first:x}", "end": f"0x{last + 1:x}"}
            assert code == (0 if fit["result"] == "covered" else 1)
    return len(told)


@pytest.fixture(scope="module")
def old(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(with_modules(lab_kernel("6.1")), "fit.sh", timeout_s=200)


@pytest.fixture(scope="module")
def ten(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> list[Boot]:
    """Ten boots of 6.12: QEMU's device tree has another kaslr-seed for each."""
    boot = partial(lab.boot, with_modules(lab_kernel("6.12")), "fit.sh", timeout_s=200)
    return [boot(label=f"boot{number}") for number in range(10)]


@pytest.fixture(scope="module")
def recorded(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(with_modules(lab_kernel("6.12")), "regions.sh", timeout_s=500)


def test_6_1_places_at_the_top_and_wraps(old: Boot) -> None:
    assert right(old) == 26
    fit, code = predicted(old.out / "machine", 1024)
    # where the lab's wrap scene panics: pfn 0xffffc0000 (tests/captures, wrap.console.txt)
    assert (fit["phys"]["start"], fit["regime"], code) == ("0xffffc0000000", "wrapped", 1)
    assert fit["pages"]["start"] == "0x000003fdfe000000"
    assert fit["largest_covered"] == 0


def test_each_of_ten_boots_of_6_12_is_predicted(ten: list[Boot]) -> None:
    assert [right(boot, "--pa-range", "44") for boot in ten] == [26] * 10
    ends = {regions(boot)[0][2] for boot in ten}
    assert len(ends) == 10  # KASLR: another end of the linear map in each


def test_the_share_of_boots_is_consistent_with_ten(ten: list[Boot]) -> None:
    for mib in (16384, SOMETIMES):
        shares = {
            json.dumps(predicted(boot.out / "machine", mib, "--pa-range", "44")[0]["boots"])
            for boot in ten
        }
        (share,) = [json.loads(each)[0] for each in shares]  # whichever boot is asked
        assert share["seeds"] == 65536
        fitted = sum(
            any(first is not None for size, first, _ in regions(boot) if size == mib)
            for boot in ten
        )
        p = share["fits"] / share["seeds"]
        if mib == SOMETIMES:
            assert 0.4 < p < 0.7
            # 1 in 1000 each side, of ten boots with p = 0.56
            assert 1 <= fitted <= 9
        else:
            assert (p, fitted) == (1, 10)


@pytest.mark.parametrize("engine", ["tracefs", "bcc"])
def test_a_refusal_is_recorded_and_explained(recorded: Boot, engine: str) -> None:
    scene = f"regions-{engine}"
    ours = recorded.recording(scene)
    assert ours.lost() == 0
    told = regions(recorded)[:6]
    for kind, part in (("request_region", told[:3]), ("devm_request_region", told[3:])):
        entries, exits = ours.of(kind), ours.of(kind, "exit")
        assert [row["nr_pages"] for row in entries] == [mib << 8 for mib, _, _ in part]
        assert {row["source"] for row in (*entries, *exits)} == {"kprobe"}
        assert {row["comm"] for row in entries} == {"insmod"}
        assert not any(row["start"] or row["end"] for row in (*entries, *exits))
        for row, (_, first, last) in zip(exits, part, strict=True):
            if first is None:
                assert (row["ret"], row["pfn"], row["nr_pages"]) == (last, None, None)
            else:
                pages = (last + 1 - first) >> 12
                assert (row["pfn"], row["nr_pages"]) == (first >> 12, pages)
        names = {row["site"] for row in entries}
        assert names == ({"region"} if kind == "request_region" else {None})
        assert exits[0]["site"] == "region"
    end = told[0][2]  # the first request got the top
    report = " ".join(_report(recorded, scene).split())
    assert "asked for: 2 of 6 refused: 2 with -ERANGE" in report
    assert f"the linear map ends at 0x{end:x}" in report
    above = max(last for _, last in _iomem(recorded)) + 1
    assert f"TiB from 0x{above:x}" in report
    left_nothing(recorded, scene)


def test_a_driver_s_own_request(recorded: Boot) -> None:
    ours = recorded.recording("placed")
    (asked,), (found,) = ours.of("request_region"), ours.of("request_region", "exit")
    (added,) = ours.of("add_pages")
    assert (asked["site"], asked["nr_pages"]) == ("devpriv", 1 << 18)
    assert (found["pfn"], found["nr_pages"]) == (added["pfn"], added["nr_pages"])
    refused = recorded.recording("too-large")
    assert [row["ret"] for row in refused.of("request_region", "exit")] == [ERANGE]
    assert refused.of("add_pages") == []


def test_live_asks_the_running_kernel(recorded: Boot) -> None:
    fields = json.loads(recorded.text("fit.text"))
    assert recorded.exit_code("fit") == 0
    assert fields["search"]["origins"]["capped"] == "code:get_free_mem_region"
    assert fields["search"]["seeded"] is True
    place = next((first, last) for mib, first, last in regions(recorded) if mib == 16384)
    assert fields["fit"]["phys"] == {"start": f"0x{place[0]:x}", "end": f"0x{place[1] + 1:x}"}


def _iomem(boot: Boot) -> list[tuple[int, int]]:
    text = boot.text("iomem")
    return [(int(a, 16), int(b, 16)) for a, b in re.findall(r"(\w+)-(\w+) :", text)]


def _report(boot: Boot, scene: str) -> str:
    done = subprocess.run(
        [TOP / ".venv/bin/python", "-m", "vmemscope", "report", boot.out / f"{scene}.arrows"],
        capture_output=True,
        text=True,
        check=False,
        cwd=TOP,
    )
    return done.stdout
