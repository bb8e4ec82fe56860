# SPDX-License-Identifier: GPL-2.0-only
"""Begins and ends nest, whatever the rows are: hypothesis, and named cases."""

from hypothesis import example, given

from recordings.export.slices import Open, Row, Slices, rows
from recordings.ledger.ledger import Ledger
from tests.recordings.plain import batch
from tests.recordings.traces import ROWS
from tests.recordings.windows import window
from tracers.events import Kind

#: The 39-bit lab kernel's, from its VMCOREINFO.
LAB = window(memstart=0x4000_0000)


class Drawn:
    """What was drawn, and a second look at whether it nests."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.stacks: dict[int, list[int]] = {}
        self.now: dict[int, int] = {}
        self.finished: dict[int, list[int]] = {}

    def begin(self, ts: int, row: Row) -> None:
        self._later(ts, row.thread)
        assert row.kind not in self.stacks.setdefault(row.thread, [])
        self.stacks[row.thread].append(row.kind)
        self.told.append(("begin", Kind(row.kind).label, ts))

    def end(self, ts: int, thread: int, opened: Open, row: Row | None) -> None:
        self._later(ts, thread)
        assert self.stacks[thread].pop() == opened.kind
        if row is not None:
            assert row.kind == opened.kind
            self.finished.setdefault(row.kind, []).append(max(0, row.ts - opened.ts))
        self.told.append(("end" if row else "unfinished", Kind(opened.kind).label, ts))

    def instant(self, ts: int, row: Row) -> None:
        self._later(ts, row.thread)
        self.told.append(("instant", Kind(row.kind).label, ts))

    def _later(self, ts: int, thread: int) -> None:
        assert self.now.get(thread, 0) <= ts < 2**63
        self.now[thread] = ts


def drawn(told: list[dict], size: int = 1000) -> Drawn:
    out = Drawn()
    slices = Slices(out)
    events = batch(told).events
    for first in range(0, events.num_rows, size):
        for row in rows(events.slice(first, size), None):
            slices.take(row)
    slices.finish()
    assert not any(out.stacks.values())
    return out


def event(ts: int, kind: str, phase: str, tid: int = 7) -> dict:
    return {"ts_ns": ts, "kind": kind, "phase": phase, "tid": tid, "source": "kprobe"}


FORGED_OOPS = [event(1, "fault", "entry"), event(2, "fault", "exit")]


@given(ROWS)
@example(FORGED_OOPS)
def test_any_rows_make_slices_that_nest(told: list[dict]) -> None:
    whole = drawn(told)
    assert drawn(told, 7).told == whole.told
    begun = sum(what == "begin" for what, _, _ in whole.told)
    instants = sum(what == "instant" for what, _, _ in whole.told)
    ended = sum(map(len, whole.finished.values()))
    assert begun + ended + instants == len(told)  # each row is drawn, once
    # What the ledger pairs by kind alone is never less.
    ledger = Ledger(None, None)
    ledger.fold(batch(told))
    timings = ledger.snapshot(final=True).timings
    for kind, durations in whole.finished.items():
        assert len(durations) <= timings[Kind(kind)].count


def test_an_exit_ends_what_its_call_left_open() -> None:
    told = drawn([
        event(1, "add_pages", "entry"),
        event(2, "section_add", "entry"),
        event(3, "warn", "entry"),
        event(9, "add_pages", "exit"),
    ]).told  # fmt: skip
    assert told[3:] == [
        ("unfinished", "warn", 9),
        ("unfinished", "section_add", 9),
        ("end", "add_pages", 9),
    ]


def test_what_a_thread_enters_again_had_ended() -> None:
    told = drawn([
        event(1, "populate", "entry"),
        event(2, "warn", "entry"),
        event(5, "populate", "entry"),
        event(6, "populate", "exit"),
    ]).told  # fmt: skip
    assert told[2:] == [
        ("unfinished", "warn", 5),
        ("unfinished", "populate", 5),
        ("begin", "populate", 5),
        ("end", "populate", 6),
    ]


def test_a_crash_ends_what_is_open_at_the_last_event_of_all() -> None:
    told = drawn([
        event(1, "memremap", "entry"),
        event(2, "add_pages", "entry"),
        event(8, "free", "point", tid=9),
    ]).told  # fmt: skip
    assert told[3:] == [("unfinished", "add_pages", 8), ("unfinished", "memremap", 8)]


def test_an_exit_alone_is_an_instant() -> None:
    assert drawn([event(4, "free", "exit")]).told == [("instant", "free", 4)]


def test_threads_do_not_end_each_others_calls() -> None:
    told = drawn([event(1, "free", "entry", 7), event(2, "free", "exit", 8)]).told
    assert told == [("begin", "free", 1), ("instant", "free", 2), ("unfinished", "free", 2)]


def test_times_that_go_back_are_drawn_at_the_latest() -> None:
    told = drawn([event(9, "free", "entry"), event(4, "free", "exit"), event(7, "warn", "entry"),
                  event(2**64 - 1, "warn", "exit")]).told  # fmt: skip
    assert [ts for _, _, ts in told] == [9, 9, 9, 2**63 - 1]


@given(ROWS)
def test_a_hit_is_what_the_ledger_calls_one(told: list[dict]) -> None:
    events = batch(told).events
    found = [row for row in rows(events, LAB) if row.hit]
    ledger = Ledger(LAB, None)
    ledger.fold(events)
    assert len(found) == ledger.snapshot().hits


def test_a_calls_pfn_is_that_of_its_first_struct_page() -> None:
    told = [{"ts_ns": 1, "kind": "free", "phase": "entry", "source": "kprobe",
             "start": 0xFFFFFFFF3F000000, "end": 0xFFFFFFFF3F200000}]  # fmt: skip
    # hole.ftrace.txt: __remove_pages pfn=0x5000000 frees this first; VMCOREINFO has the rest
    (row,) = rows(batch(told).events, LAB)
    assert row.pfn == 0x5000000
