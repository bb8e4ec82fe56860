# SPDX-License-Identifier: GPL-2.0-only
"""The dmesg reader on real logs cut, mixed, damaged, or of another kernel than the vmlinux."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.logs.dmesg import splat_texts
from tests.tracers.logs.dmesg.fuzz_dmesg import CAPTURES, WINDOW, read
from tracers.logs.dmesg.reader import DmesgLog

BELOW = (CAPTURES / "below.dmesg.txt").read_bytes()
LINES = splat_texts.stamped(BELOW)
ENDS = [number for number, (_, text) in enumerate(LINES) if b"end trace" in text]
SPLATS = LINES[: ENDS[0] + 1], LINES[ENDS[0] + 2 : ENDS[1] + 1]
RANGE = (0xFFFFFFFDFF000000, 0xFFFFFFFDFF200000)
#: The two splats of below.dmesg.txt as rows, without times.
ROWS = [
    {
        "kind": kind, "phase": "point", "cpu": 1, "tid": tid, "comm": comm, "source": "dmesg",
        **more,
    }
    for tid, comm, line, call in ((76, "insmod", 1222, "populate"), (77, "rmmod", 1268, "free"))
    for kind, more in (
        (call, {"start": RANGE[0], "end": RANGE[1]}),
        ("warn", {"site": "arch/arm64/mm/mmu.c", "line": line}),
    )
]  # fmt: skip


def calls(rows: list[dict], kind: str) -> list[tuple[int | None, int | None]]:
    return [(row["start"], row["end"]) for row in rows if row["kind"] == kind]


def without_nulls(rows: list[dict]) -> list[dict]:
    return [
        {name: value for name, value in row.items() if value is not None and name != "ts_ns"}
        for row in rows
    ]


def printers(form: str) -> tuple[list[bytes], list[bytes]]:
    """Return the two splats as two CPUs print them; ``form`` gets microseconds and the caller."""
    return tuple(
        [(form % {"us": us / 1e6, "caller": caller}).encode() + text for us, text in splat]
        for splat, caller in zip(SPLATS, ("[   T76]", "[   C1]"), strict=True)
    )  # type: ignore[return-value]


@given(st.lists(st.booleans(), max_size=80))
def test_two_cpus_with_caller_ids_are_separated(order: list[bool]):
    lines = splat_texts.interleaved(*printers("[%(us)12.6f]%(caller)s "), order)
    rows, log = read(b"\n".join(lines) + b"\n", vmlinux=True)
    assert sorted(without_nulls(rows), key=lambda row: row["tid"]) == ROWS
    assert (log.torn, log.rejected) == (0, 0)


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_two_cpus_without_caller_ids_are_counted_and_not_mixed_up(order: list[bool]):
    one, two = printers("[%(us)12.6f] ")
    lines = splat_texts.interleaved(one, two, order)
    rows, log = read(b"\n".join(lines) + b"\n", vmlinux=True)
    warns = [row for row in rows if row["kind"] == "warn"]
    assert sorted(row["tid"] for row in warns) == [76, 77]
    known = [row for row in rows if row["start"] is not None]
    if max(map(lines.index, (one[1], two[1]))) < min(map(lines.index, (one[-1], two[-1]))):
        assert log.torn > 0  # the later one began before the earlier one ended
    for row in known:  # its own registers: of both calls the range is the same, so look at them
        head = next(n for n, line in enumerate(lines) if b"PID: %d at" % row["tid"] in line)
        pages = lines[head : head + 24]
        assert all(line in (one if row["tid"] == 76 else two) for line in pages)


def test_cut_at_every_line():
    whole = BELOW.splitlines(keepends=True)
    head = [number for number, line in enumerate(whole) if b"WARNING" in line]
    for cut in range(1, len(whole)):
        rows, log = read(b"".join(whole[:cut]), vmlinux=True)
        begun = sum(number < cut for number in head)
        assert sum(row["kind"] == "warn" for row in rows) == begun
        inside = any(first < cut <= last for first, last in zip(head, ENDS, strict=True))
        assert log.torn == inside
        for row in rows:
            assert (row["start"], row["end"]) in {(None, None), RANGE}


def test_begun_in_the_middle_of_a_splat():
    whole = BELOW.splitlines(keepends=True)
    for cut in range(2, ENDS[0] + 1):  # after its WARNING line, up to its last line
        rows, log = read(b"".join(whole[cut:]), vmlinux=True)
        assert without_nulls(rows) == ROWS[2:]
        assert (log.torn, log.lost_unknown) == (1, 1)
        assert "1 reports end whose beginning is not in the log" in log.notes
        assert "so all counts from this log are lower bounds" in log.notes


@given(st.data())
def test_a_number_cut_short_is_none(data):
    """However many bytes are there, the rows are those of the whole log, or fewer."""
    raw = splat_texts.prefixed(splat_texts.as_6_19(LINES), "dmesg")
    cut = data.draw(st.integers(100, len(raw)))
    rows, _ = read(raw[:cut], vmlinux=True)
    for row, whole in zip(without_nulls(rows), ROWS, strict=False):
        assert row.items() <= whole.items()


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("** 131 printk messages dropped **", "131 lines were dropped, as the log itself says"),
        ("systemd-journald[231]: Missed 57 kernel messages", "57 lines were dropped"),
    ],
)
def test_what_the_log_says_it_dropped(line: str, note: str):
    rows, log = read(b"[    6.300000] " + line.encode() + b"\n" + BELOW, vmlinux=True)
    assert without_nulls(rows) == ROWS
    assert log.lost_unknown == 1
    assert any(each.startswith(note) for each in log.notes)


def test_lines_dropped_inside_a_splat_leave_no_arguments():
    whole = BELOW.splitlines(keepends=True)
    whole.insert(9, b"[    6.347500] ** 1 printk messages dropped **\n")
    rows, log = read(b"".join(whole), vmlinux=True)
    assert calls(rows, "populate") == [(None, None)]
    assert calls(rows, "free") == [RANGE]
    assert log.lost_unknown == 1


def test_gaps_in_the_numbers_of_kmsg():
    raw = splat_texts.prefixed(LINES, "/dev/kmsg").splitlines(keepends=True)
    del raw[40:45]
    del raw[0]
    for block in (300, 1 << 20):
        rows, log = read(b"".join(raw), vmlinux=True, block=block)
        assert log.lost_unknown == 2  # the first number is 1: 0 is missing
        assert "6 lines are missing by the sequence numbers of /dev/kmsg" in log.notes
        assert calls(rows, "free") == [(None, None)]


def test_time_running_backwards():
    late = splat_texts.prefixed([(us + 9_000_000, text) for us, text in LINES], "dmesg")
    for block in (300, 1 << 20):
        rows, log = read(late + BELOW, vmlinux=True, block=block)
        assert without_nulls(rows) == ROWS + ROWS
        assert log.lost_unknown == 1
        assert any(note.startswith("time runs backwards in 1 places") for note in log.notes)


def test_another_boot_is_no_gap():
    console = (CAPTURES / "wrap.console.txt").read_bytes()
    later = re.sub(rb"\[    1\.(\d{6})\]", lambda at: b"[    1.%06d]" % (int(at[1]) + 7), console)
    assert later != console
    rows, log = read(console + later, vmlinux=True)
    assert len(calls(rows, "populate")) == 16
    assert log.lost_unknown == 0


@pytest.mark.parametrize("block", [300, 1 << 20])
@pytest.mark.parametrize("first", ["console", "its dmesg"])
def test_a_console_and_dmesg_of_the_same_boot_count_once(first: str, block: int):
    console = (CAPTURES / "wrap.console.txt").read_bytes()
    dmesg = console[console.index(b"[    1.37") :].replace(b"\r", b"")  # a ring that overflowed
    both = console + dmesg if first == "console" else dmesg + console
    rows, log = read(both, vmlinux=True, block=block)
    assert len(calls(rows, "populate")) == 8
    assert [row["kind"] for row in rows].count("fault") == 1
    assert log.lost_unknown == 0
    assert any(note.startswith("9 reports are in the log twice") for note in log.notes)


def test_dmesg_behind_a_console_may_begin_in_a_report():
    first = re.sub(rb"(?<=\[    )6(?=\.)", b"3", BELOW)
    console = first + BELOW
    ring = console[console.index(b"x14:") - 15 :]  # the first report's end and the others
    rows, log = read(console + ring, vmlinux=True)
    assert len(rows) == 2 * len(ROWS)
    assert (log.lost_unknown, log.torn, log.rejected) == (0, 0, 0)
    _, log = read(ring, vmlinux=True)
    assert (log.lost_unknown, log.torn) == (1, 1)


def test_a_damaged_first_line_is_rejected():
    raw = BELOW.replace(b"WARNING: CPU: 1 PID: 76 at", b"WARNING: CPU: 1 PID: at", 1)
    rows, log = read(raw, vmlinux=True)
    assert without_nulls(rows) == ROWS[2:]
    assert (log.rejected, log.torn) == (1, 0)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"x19: fffffffdff000000", b"x19: fffffffe00000000", "contradict"),  # inside the window
        (b"x19: fffffffdff000000", b"x19: fffffffdff000040", "contradict"),  # one page
        (b"x22: fffffffdff200000", b"x22: fffffffdff400000", "contradict"),  # not x1
        (b"x5 : 0000000000008000", b"x5 : 000000000000800", "not all there"),
        (b"x5 : 0000000000008000", b"x6 : 0000000000008000", "not all there"),
        (b"pc : vmemmap_populate+0x40", b"pc : vmemmap_populate+0x44", "not all there"),
        (b"6.1.192-vmemlab #1", b"6.1.193-vmemlab #1", "another kernel"),
        (b"populate+0x40/0x1c4", b"populate+0x44/0x1c4", "another build"),
        (b"mmu.c:1222", b"mmu.c:1221", "another build"),
    ],
)  # fmt: skip
def test_what_contradicts_the_vmlinux_is_not_proven(old: bytes, new: bytes, why: str):
    first, free = BELOW[: BELOW.index(b"devpriv: [mem")], BELOW[BELOW.index(b"devpriv: [mem") :]
    assert old in first
    rows, log = read(first.replace(old, new) + free, vmlinux=True)
    assert calls(rows, "populate") == [(None, None)]
    assert any("1 calls are not known" in note and why in note for note in log.notes)


def test_neither_vmlinux_nor_machine():
    rows, log = read(BELOW, window=None)
    assert calls(rows, "populate") + calls(rows, "free") == [(None, None)] * 2
    assert any("neither a vmlinux nor a machine" in note for note in log.notes)


def test_the_machine_of_another_kernel():
    log = DmesgLog(io.BytesIO(BELOW), window=WINDOW, release="6.1.191")
    rows = [row for batch in log.batches() for row in batch.events.to_pylist()]
    assert calls(rows, "populate") == [(None, None)]


def test_panic_on_warn_ends_a_splat():
    """check_panic_on_warn comes behind show_regs and before the end marker (kernel/panic.c)."""
    panic = [(SPLATS[0][-2][0] + n, text) for n, text in enumerate((
        b"Kernel panic - not syncing: kernel: panic_on_warn set ...",
        b"CPU: 1 PID: 76 Comm: insmod Tainted: G        W  O       6.1.192-vmemlab #1",
        b"Call trace:",
        b" dump_backtrace+0xdc/0x130",
    ))]  # fmt: skip
    rows, log = read(splat_texts.prefixed(SPLATS[0][:-1] + panic, "dmesg"), vmlinux=True)
    assert without_nulls(rows) == ROWS[:2]
    assert log.torn == 0
    assert "Kernel panic - not syncing: kernel: panic_on_warn set ..." in log.notes
    assert any(note.startswith("1 splat: vmemmap_populate <- __populate") for note in log.notes)


def test_other_warnings_are_warnings_and_no_calls():
    raw = BELOW.replace(b"arch/arm64/mm/mmu.c:1222 vmemmap_populate", b"mm/x.c:7 vmemmap_populate")
    rows, _ = read(raw, vmlinux=True)
    assert [(row["kind"], row["line"]) for row in rows[:1]] == [("warn", 7)]
    assert calls(rows, "populate") == []


def test_the_other_warn_of_the_same_call():
    """vmemmap_populate's second WARN (more than a section) is no second call."""
    first = splat_texts.prefixed(SPLATS[0], "dmesg")
    second = first.replace(b"populate+0x40", b"populate+0x50").replace(b":1222", b":1224")
    for vmlinux in (True, False):
        third = re.sub(rb"(?<=\.)(\d{6})(?=\])", lambda at: b"%06d" % (int(at[1]) + 9), first)
        rows, log = read(first + second + third, vmlinux=vmlinux)
        kinds = [row["kind"] for row in rows]
        assert kinds == ["populate", "warn", "warn", "populate", "warn"]
        assert "1 WARNs are the second of one call, and no call of their own" in log.notes
