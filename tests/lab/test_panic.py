# SPDX-License-Identifier: GPL-2.0-only
"""6.1 with oops=panic: the kernel wraps the device's addresses and does not survive it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest

from recordings.explore.goto import printk_offset
from recordings.format.reader import open_recording
from tests.lab.harness import TOP, Boot, Kernel, Lab, Recording, read


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(False, id="file", marks=pytest.mark.xdist_group("panic-file")),
        pytest.param(
            True, id="stream", marks=[pytest.mark.long, pytest.mark.xdist_group("panic-stream")]
        ),
    ],
)
def panic(
    request: pytest.FixtureRequest, lab: Lab, lab_kernel: Callable[[str], Kernel]
) -> tuple[Boot, Recording]:
    boot = lab.boot(lab_kernel("6.1"), "wrap.sh", append="oops=panic", port=request.param)
    assert "Kernel panic - not syncing: Oops: Fatal exception" in boot.console
    return boot, read(boot.out / ("stream.arrows" if request.param else "wrap.arrows"))


def test_every_call_up_to_the_oops_is_there(panic: tuple[Boot, Recording]) -> None:
    boot, ours = panic
    truth = boot.truth("wrap")
    assert [
        (call.args["pfn"], call.args["nr_pages"]) for call in truth if call.args.get("pfn")
    ] == [(0xFFFFC0000, 0x40000)]
    assert ours.closing is None
    assert [(row["pfn"], row["nr_pages"]) for row in ours.of("add_pages")] == [
        (0xFFFFC0000, 0x40000)
    ]
    # 1 GiB: 8 sections of 2 MiB of struct pages, the first where the kernel's own arithmetic wraps
    starts = [0x000003FDFE000000 + section * 0x200000 for section in range(8)]
    assert [row["start"] for row in ours.of("populate")] == starts
    assert [row["line"] for row in ours.of("warn")] == [1222] * 8
    assert len([call for call in truth if call.name == "warn"]) == 8


def test_where_dmesgs_clock_stands_is_measured(panic: tuple[Boot, Recording]) -> None:
    """The first line of every splat was printed between the entry and the exit of its __warn."""
    boot, ours = panic
    (path,) = boot.out.glob("*.arrows")
    with open_recording(path) as recording:
        offset = printk_offset(recording.header.clock)
    assert offset is not None
    stamps = re.findall(r"\[ *(\d+)\.(\d{6})\] WARNING: ", boot.console)
    printed = [int(second) * 10**9 + int(micro) * 1000 - offset for second, micro in stamps]
    began, ended = (
        [row["ts_ns"] for row in ours.rows if (row["kind"], row["phase"]) == ("warn", phase)]
        for phase in ("entry", "exit")
    )
    assert len(printed) == len(began) == 8
    for stamp, entry, end in zip(printed, began, [*ended, inf][:8], strict=True):
        assert entry - 1000 <= stamp <= end  # stamps are cut to microseconds


def test_the_verdict_is_out_of_range(panic: tuple[Boot, Recording]) -> None:
    boot, _ = panic
    (path,) = boot.out.glob("*.arrows")
    done = subprocess.run(
        [sys.executable, "-m", "vmemscope", "report", path],
        capture_output=True,
        text=True,
        check=False,
        cwd=TOP,
    )
    assert done.returncode == 1
    assert "OUT OF RANGE  8 of 8 calls outside the window" in done.stdout
    assert "8 wrapped" in done.stdout
    assert "unfinished memremap_pages by insmod" in done.stdout
    assert "ends without its closing record" in done.stderr


def test_it_warned(panic: tuple[Boot, Recording]) -> None:
    boot, _ = panic
    text = boot.text("wrap.text")
    streamed = (boot.out / "stream.arrows").exists()
    assert ("kernel.panic_on_oops is set" in text) is not streamed


def test_the_console_alone_tells_the_oops_and_the_window(
    panic: tuple[Boot, Recording], tmp_path: Path
) -> None:
    """What a reporter pastes: no file of the machine, no vmlinux."""
    boot, _ = panic
    pasted = tmp_path / "console.txt"
    pasted.write_text(boot.console)
    done = subprocess.run(
        [sys.executable, "-m", "vmemscope", "triage", pasted, "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=TOP,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)["files"][0]["readings"][0]["report"]
    address = re.search(r"paging request at virtual address ([0-9a-f]{16})", boot.console)
    assert address is not None
    (fault,) = report["faults"]["listed"]
    page = int(fault["start"], 16)
    assert page <= int(address[1], 16) < page + 64
    assert fault["pfn"] == 0xFFFFC0000  # what the kernel's ftrace saw in __add_pages
    assert (fault["regime"], report["warnings"]["total"]) == ("wrapped", 8)
    (path,) = boot.out.glob("*.arrows")
    with open_recording(path) as recording:  # whose window is the kernel's own VMCOREINFO's
        own = recording.header.machine.window
    assert own is not None
    assert own.provenance["memstart"] == "vmcoreinfo"
    told = report["window"]
    assert [int(told[name], 16) for name in ("start", "end", "memstart")] == [
        own.start,
        own.end,
        own.memstart,
    ]
