# SPDX-License-Identifier: GPL-2.0-only
"""A capture of the kernel log: its rows, its clock, its losses and its witnesses."""

import lzma
import re
import time
from pathlib import Path

import pytest

from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Doubt, Verdict
from tests.kernels.files import kernel
from tests.tracers.live.fakes import WINDOW
from tests.tracers.logs.dmesg.fuzz_dmesg import arguments_of
from tracers.batch import Batch
from tracers.live import printk_clock
from tracers.live.kmsg import feed
from tracers.live.kmsg.feed import KernelLogFeed
from tracers.machine import Machine

MACHINE = Machine(window=WINDOW, release="6.1.192-vmemlab", arch="aarch64")
OFFSET = printk_clock.Offset(-7_000_000, 900)  # printk's clock is 7 ms behind


@pytest.fixture(scope="module")
def ring(captures: Path) -> list[bytes]:
    """The records of a real ring of 6.1 after a storm: the oldest are overwritten."""
    path = captures / "6.1.192-vmemlab-39bit/ring.kmsg.txt.xz"
    return [line + b"\n" for line in lzma.decompress(path.read_bytes()).splitlines()]


@pytest.fixture
def opened(kmsg, monkeypatch):
    """Open a feed, printk's clock as given."""
    counter = kmsg.root / "sys/kernel/warn_count"
    counter.parent.mkdir(parents=True)
    monkeypatch.setattr(printk_clock, "measure", lambda: OFFSET)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: 10**10)

    def open_it(warn_count: str | None = None, *, code: bool = True) -> KernelLogFeed:
        if warn_count is not None:
            counter.write_text(warn_count + "\n")
        known = arguments_of(kernel("lab-6.1.192-39bit-4k")) if code else None
        made = KernelLogFeed(MACHINE, arguments=lambda: known, root=kmsg.root)
        made.start()
        return made

    return open_it


def drained(live: KernelLogFeed, kmsg, records) -> list[Batch]:
    """Return the batches of records that come a few at a time, and of the end."""
    batches = []
    for at in range(0, len(records), 200):  # the pipe's room
        kmsg.write(*records[at : at + 200])
        batches.append(live.poll(0))
    return [batch for batch in (*batches, *live.stop()) if batch is not None]


def test_a_real_ring_becomes_the_calls_that_the_kernels_ftrace_saw(opened, kmsg, ring, captures):
    with opened("68") as live:
        batches = drained(live, kmsg, ring)
    rows = [row for batch in batches for row in batch.events.to_pylist()]
    trace = lzma.decompress(
        (captures / "6.1.192-vmemlab-39bit/ring.ftrace.txt.xz").read_bytes()
    ).decode()
    freed = [
        (int(start, 16), int(end, 16))
        for start, end in re.findall(
            r"vmemmap_free\+0x0.*?start=(0x[0-9a-f]+) end=(0x[0-9a-f]+)", trace
        )
    ]
    assert len(freed) == 128
    calls = [row for row in rows if row["kind"] in ("populate", "free")]
    populated = [(row["start"], row["end"]) for row in calls if row["kind"] == "populate"]
    known = [(row["start"], row["end"]) for row in calls if row["kind"] == "free"]
    # The ring had room for the last of them; each section is populated as it is freed.
    assert populated == sorted(freed)[-len(populated) :]
    assert known == freed[-len(known) :]
    assert {row["source"] for row in rows} == {"dmesg"}
    # it begins with 4576, inside a report: the gap before, and the report whose beginning is gone
    assert sum(batch.losses.lost_unknown for batch in batches) == 2
    told = live.closing()
    assert "the log's ring begins with record 4576: what the kernel printed before is" in " ".join(
        told
    )


def test_times_are_on_the_recordings_clock(opened, kmsg, ring):
    printed = [int(record.split(b",")[2]) * 1000 for record in ring if b"WARNING: CPU" in record]
    with opened() as live:
        batches = drained(live, kmsg, ring)
        rows = [row for batch in batches for row in batch.events.to_pylist()]
        assert [row["ts_ns"] for row in rows if row["kind"] == "warn"] == [
            ts + 7_000_000 for ts in printed
        ]
        assert live.clock["name"] == "mono"
        assert (live.clock["printk_offset_ns"], live.clock["printk_error_ns"]) == (-7_000_000, 900)
        assert any("right to 1900 ns now" in note for note in live.notes)
        # the capture began 9.993 s after boot by printk's clock: all of it was there before
        (before,) = [text for text in live.closing() if "before this recording began" in text]
        assert before.startswith(f"{len(printed)} of the WARNs")


def test_where_printks_clock_is_not_known_its_times_are_kept(opened, kmsg, ring, monkeypatch):
    monkeypatch.setattr(printk_clock, "measure", lambda: None)
    with opened() as live:
        batches = drained(live, kmsg, ring)
    assert live.clock == {"name": "local", "offset_ns": None}
    assert any("cannot be measured" in note for note in live.notes)
    first = next(row for batch in batches for row in batch.events.to_pylist())
    assert first["ts_ns"] % 1000 == 0
    assert not any("before this recording" in text for text in live.closing())


def test_printk_ahead_of_the_clock_is_no_negative_time(opened, kmsg, ring, monkeypatch):
    monkeypatch.setattr(printk_clock, "measure", lambda: printk_clock.Offset(10**12, 1))
    with opened() as live:
        batches = drained(live, kmsg, ring)
    assert {row["ts_ns"] for batch in batches for row in batch.events.to_pylist()} == {0}


# One splat, whole: from its WARNING to its end.
def one(ring: list[bytes], number: int = 0) -> list[bytes]:
    begins = [at for at, record in enumerate(ring) if b"WARNING: CPU" in record][number]
    ends = next(at for at in range(begins, len(ring)) if b"end trace" in ring[at])
    return ring[begins : ends + 1]


def numbered(records, first=0) -> list[bytes]:
    """Return the records with numbers from ``first`` on."""
    made = []
    for number, record in enumerate(records, first):
        priority, _, rest = record.split(b",", 2)
        made.append(b"%s,%d,%s" % (priority, number, rest))
    return made


@pytest.mark.parametrize(
    ("counted", "lost"), [("1", 0), ("3", 2), ("0", 0), (None, 0), ("many", 0)]
)
def test_warns_that_the_kernel_counted_and_the_log_has_not_are_lost(
    opened, kmsg, ring, counted, lost
):
    with opened(counted) as live:
        batches = drained(live, kmsg, numbered(one(ring)))
    assert sum(batch.losses.lost for batch in batches) == lost
    said = " ".join(live.closing())
    assert ("WARNs since the boot by witness: kernel log 1, warn_count" in said) == (
        counted not in (None, "many")
    )
    assert (f"{lost} WARNs that the kernel counted are not in its log" in said) == bool(lost)


def test_where_lines_are_missing_the_warns_may_be_in_these(opened, kmsg, ring):
    with opened("9") as live:
        batches = drained(live, kmsg, numbered(one(ring), first=5))
    assert [sum(getattr(b.losses, n) for b in batches) for n in ("lost", "lost_unknown")] == [0, 1]
    assert any("8 WARNs that the kernel counted" in text for text in live.closing())


def test_a_gap_in_a_splat_leaves_its_arguments_unknown(opened, kmsg, ring):
    records = numbered(one(ring))
    with opened() as live:
        batches = drained(live, kmsg, records[:12] + records[13:])
    rows = [row for batch in batches for row in batch.events.to_pylist()]
    assert [(row["kind"], row["start"]) for row in rows] == [("populate", None), ("warn", None)]
    assert sum(batch.losses.lost_unknown for batch in batches) == 1
    assert "1 lines are missing by the sequence numbers of /dev/kmsg" in live.closing()


def test_fragments_of_a_line_are_read_like_the_line(opened, kmsg, ring):
    """arm64 prints registers by pr_cont: what is printed meanwhile leaves them on lines apart."""
    records, broken = numbered(one(ring)), []
    for record in records:
        head, _, text = record.partition(b";")
        parts = text.rstrip(b"\n").split(b" x") if re.match(rb"x\d+ ?:", text) else [text[:-1]]
        broken.append(head + b";" + parts[0] + b"\n")
        broken += [head.replace(b",-", b",c") + b"; x" + part + b"\n" for part in parts[1:]]
    assert len(broken) == len(records) + 20
    with opened() as live:
        whole = drained(live, kmsg, records)
    with opened() as live:
        parts = drained(live, kmsg, numbered(broken))
    assert [b.events.drop_columns("ts_ns").to_pylist() for b in parts] == [
        b.events.drop_columns("ts_ns").to_pylist() for b in whole
    ]


def test_the_printers_ids_keep_two_splats_apart(opened, kmsg, ring):
    """CONFIG_PRINTK_CALLER: lines of two threads, one after the other in turn."""
    first, second = numbered(one(ring)), numbered(one(ring, 1))
    assert len(first) == len(second)
    turns = []
    for pair in zip(first, second, strict=True):
        for caller, record in enumerate(pair, 53):
            turns.append(
                record.replace(b",-;", b",-,caller=T%d;" % caller).replace(
                    b"PID: 53", b"PID: %d" % caller
                )
            )
    with opened() as live:
        batches = drained(live, kmsg, numbered(turns))
    rows = [row for batch in batches for row in batch.events.to_pylist() if row["kind"] == "warn"]
    assert sorted(row["tid"] for row in rows) == [53, 54]
    assert not any(batch.losses for batch in batches)


def test_a_report_that_is_not_proven_waits_a_moment_only(opened, kmsg, ring, monkeypatch):
    """Without the kernel's code one splat's registers fit in several ways: a later one may tell."""
    now = 100.0
    monkeypatch.setattr(feed.time, "monotonic", lambda: now)
    kmsg.write(*numbered(one(ring)))
    with opened(code=False) as live:
        assert live.poll(0) is None
        now = 100.9
        assert live.poll(0) is None
        now = 101.1
        batch = live.poll(0)
        assert batch is not None
        assert [row["start"] for row in batch.events.to_pylist()] == [None, None]
        now = 103.0
        assert live.poll(0) is None
        assert list(live.stop()) == []


def test_the_verdict_is_never_clean(opened, kmsg, ring):
    for records in ([], numbered(one(ring))):
        with opened() as live:
            ledger = Ledger(WINDOW, None, probes=live.probes, arch="aarch64")
            for batch in drained(live, kmsg, records):
                ledger.fold(batch)
        found = ledger.snapshot(final=True)
        assert Doubt.LOG_ONLY in found.doubts
        assert found.verdict is (Verdict.OUT_OF_RANGE if records else Verdict.INCONCLUSIVE)


def test_a_capture_that_was_not_started_ends(kmsg):
    with KernelLogFeed(MACHINE, root=kmsg.root) as live:
        assert live.poll(0) is None
        assert list(live.stop()) == []
        assert live.closing() == ()
    live.close()
