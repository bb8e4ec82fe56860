# SPDX-License-Identifier: GPL-2.0-only
"""The dmesg reader on kernels' own logs, compared with ftrace of the same calls."""

import io
import lzma
from pathlib import Path

import pytest

from tests.kernels.files import kernel
from tests.tracers.logs.dmesg.fuzz_dmesg import CAPTURES, WINDOW, arguments_of, read
from tests.tracers.logs.dmesg.test_reader import BELOW, ROWS, calls, without_nulls
from tracers.logs.dmesg.lines import Clock
from tracers.logs.dmesg.reader import DmesgLog
from tracers.logs.dmesg.registers import Arguments
from tracers.logs.kprobe_text.ftrace import FtraceLog
from tracers.machine import read_machine

ONCE = CAPTURES.parent / "6.1.192-vmemlab-once-39bit"
NEW = CAPTURES.parent / "6.12.117-vmemlab-48bit"
FIXED = CAPTURES.parent / "6.12.117-vmemlab-48bit-nokaslr"
FULL = Path(__file__).parents[4] / "../shared/lab/vmlinux-6.1.zst"


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def hole() -> bytes:
    return unpacked(CAPTURES / "hole.dmesg.txt.xz")


def by_ftrace(path: Path, kind: str) -> list[tuple[int, int]]:
    log = FtraceLog(io.BytesIO(unpacked(path)))
    rows = [row for batch in log.batches() for row in batch.events.to_pylist()]
    return calls([row for row in rows if row["phase"] == "entry"], kind)


@pytest.mark.parametrize("vmlinux", [True, False])
def test_the_storm_is_what_ftrace_saw(vmlinux: bool):
    rows, log = read(hole(), vmlinux=vmlinux, window=read_machine(CAPTURES).window)
    frees = by_ftrace(CAPTURES / "hole.ftrace.txt", "free")
    assert len(frees) == 128
    assert calls(rows, "free") == frees
    # Each section is populated once and freed once; ftrace may not probe populate on 6.1.
    assert calls(rows, "populate") == frees
    warns = [(row["site"], row["line"]) for row in rows if row["kind"] == "warn"]
    assert warns == [("arch/arm64/mm/mmu.c", 1222)] * 128 + [("arch/arm64/mm/mmu.c", 1268)] * 128
    assert (log.lost_unknown, log.torn, log.rejected) == (0, 0, 0)
    assert (log.release, log.lines) == ("6.1.192-vmemlab", hole().count(b"\n"))
    way = "the code's own comparison" if vmlinux else "arithmetic: one pair of registers fits"
    assert f"start and end of 256 calls are known by {way}" in log.notes
    assert (
        "128 splats: vmemmap_populate <- __populate_section_memmap <- sparse_add_section <- "
        "__add_pages <- memremap_pages <- devpriv_init [devpriv] <- do_one_initcall <- "
        "do_init_module <- …"
    ) in log.notes


@pytest.mark.skipif(not FULL.is_file(), reason="the lab's whole vmlinux is not here")
def test_the_storm_by_dwarf():
    log = DmesgLog(io.BytesIO(hole()), arguments=arguments_of(FULL))
    rows = [row for batch in log.batches() for row in batch.events.to_pylist()]
    assert calls(rows, "free") == by_ftrace(CAPTURES / "hole.ftrace.txt", "free")
    assert (
        "start and end of 256 calls are known by the code's own comparison and DWARF location lists"
    ) in log.notes


def test_the_wrapped_console_ends_in_an_oops():
    raw = (CAPTURES / "wrap.console.txt").read_bytes()
    rows, log = read(raw, vmlinux=True)
    first = 0x000003FDFE000000
    section = WINDOW.section_vmemmap
    assert calls(rows, "populate") == [
        (first + n * section, first + (n + 1) * section) for n in range(8)
    ]
    assert {WINDOW.regime(*call).value for call in calls(rows, "populate")} == {"wrapped"}
    assert log.lines == raw.count(b"\n")
    assert (
        "after 8 splats the kernel failed: Oops: 0000000096000044 [#1] SMP, at"
        " __init_single_page+0x4, virtual address 0x000003fdfe000034"
    ) in log.notes
    assert "Kernel panic - not syncing: Oops: Fatal exception" in log.notes
    # Page frame numbers in x4 and x5 look like addresses of the user half: arithmetic cannot tell.
    rows, log = read(raw)
    assert calls(rows, "populate") == [(None, None)] * 8


@pytest.mark.parametrize("vmlinux", [True, False])
def test_the_other_scenes_of_6_1(vmlinux: bool):
    rows, _ = read(BELOW, vmlinux=vmlinux)
    assert calls(rows, "free") == by_ftrace(CAPTURES / "below.ftrace.txt", "free")
    assert without_nulls(rows) == ROWS
    rows, log = read(unpacked(CAPTURES / "trace-cmd.dmesg.txt.xz"), vmlinux=vmlinux)
    # 4 GiB of the hole's 16, from the same address.
    assert calls(rows, "populate") == by_ftrace(CAPTURES / "hole.ftrace.txt", "free")[:32]
    assert any("virtual address 0xffffffff3f000034" in note for note in log.notes)


@pytest.mark.parametrize(
    "path",
    [
        CAPTURES / "in-range.dmesg.txt",
        ONCE / "in-range.dmesg.txt",
        ONCE / "below.dmesg.txt",
        ONCE / "subsection.dmesg.txt",
        NEW / "in-range.dmesg.txt",
        NEW / "below.dmesg.txt",
    ],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_scenes_without_a_splat(path: Path):
    rows, log = read(path.read_bytes())
    assert (rows, log.lines) == ([], path.read_bytes().count(b"\n"))


def test_warn_once_warns_once():
    raw = (ONCE / "hole.dmesg.txt").read_bytes()
    rows, log = read(raw, window=read_machine(ONCE).window)
    first = by_ftrace(ONCE / "hole.ftrace.txt", "free")[0]
    assert calls(rows, "populate") == calls(rows, "free") == [first]
    assert log.release == "6.1.192-vmemlab-once"


@pytest.fixture(scope="module")
def new() -> Arguments:
    return arguments_of(kernel("lab-6.12.117-48bit-4k"))


@pytest.mark.parametrize("vmlinux", [True, False])
@pytest.mark.parametrize("scene", ["below", "subsection"])
def test_6_12_whose_ftrace_saw_both_calls(scene: str, vmlinux: bool, new: Arguments):
    with (FIXED / f"{scene}.dmesg.txt").open("rb") as stream:
        log = DmesgLog(
            stream,
            arguments=new if vmlinux else None,
            window=None if vmlinux else read_machine(FIXED).window,
        )
        rows = [row for batch in log.batches() for row in batch.events.to_pylist()]
    for kind in ("populate", "free"):
        seen = by_ftrace(FIXED / f"{scene}.ftrace.txt", kind)
        assert len(seen) == 1
        assert calls(rows, kind) == seen
    assert [row["line"] for row in rows if row["kind"] == "warn"] == [1207, 1222]


@pytest.mark.parametrize("vmlinux", [True, False])
def test_a_part_of_a_section_on_6_1(vmlinux: bool):
    rows, _ = read((CAPTURES / "subsection.dmesg.txt").read_bytes(), vmlinux=vmlinux)
    seen = by_ftrace(CAPTURES / "subsection.ftrace.txt", "free")
    assert seen == [(0xFFFFFFFF3F008000, 0xFFFFFFFF3F110000)]
    assert calls(rows, "populate") == calls(rows, "free") == seen


#: What dmesg(1) of util-linux 2.38 and /dev/kmsg made of one boot → whose times they give.
PRINTED = {
    "dmesg": Clock.BOOT,
    "dmesg-T": Clock.COARSE,
    "dmesg-coloralways": Clock.BOOT,
    "dmesg-d": Clock.BOOT,
    "dmesg-notime": Clock.NONE,
    "dmesg-r": Clock.BOOT,
    "dmesg-time-formatdelta": Clock.NONE,
    "dmesg-time-formatiso": Clock.WALL,
    "dmesg-time-formatreltime": Clock.NONE,
    "dmesg-x": Clock.BOOT,
    "dmesg-x-T": Clock.COARSE,
    "kmsg": Clock.BOOT,
}


@pytest.mark.parametrize("name", PRINTED)
def test_every_form_dmesg_prints(name: str, new: Arguments):
    raw = (FIXED / f"below.{name}.txt").read_bytes()
    log = DmesgLog(io.BytesIO(raw), arguments=new)
    rows = [row for batch in log.batches() for row in batch.events.to_pylist()]
    plain = DmesgLog(io.BytesIO((FIXED / "below.dmesg.txt").read_bytes()), arguments=new)
    expected = [row for batch in plain.batches() for row in batch.events.to_pylist()]
    assert without_nulls(rows) == without_nulls(expected)
    assert (log.lost_unknown, log.torn, log.rejected) == (0, 0, 0)
    assert log.clock == PRINTED[name].value
    same = [row["ts_ns"] for row in rows] == [row["ts_ns"] for row in expected]
    assert same == (PRINTED[name] is Clock.BOOT)


@pytest.mark.parametrize("name", ["dmesg", "kmsg"])
def test_a_ring_that_ran_over(name: str):
    """The kernel's own ring of 256 KiB after the same storm: it begins inside a splat."""
    raw = unpacked(CAPTURES / f"ring.{name}.txt.xz")
    for vmlinux in (True, False):
        rows, log = read(raw, vmlinux=vmlinux)
        frees = by_ftrace(CAPTURES / "ring.ftrace.txt.xz", "free")
        assert len(frees) == 128
        assert calls(rows, "free") == frees
        kept = calls(rows, "populate")
        assert 0 < len(kept) < 128
        # In these few splats x4 and x5 lie like a part of a section: arithmetic cannot tell.
        assert kept == (frees[-len(kept) :] if vmlinux else [(None, None)] * len(kept))
        assert (log.torn, log.rejected) == (1, 0)
        assert log.lost_unknown == (1 if name == "dmesg" else 2)  # and the first number is not 0
        assert "so all counts from this log are lower bounds" in log.notes
