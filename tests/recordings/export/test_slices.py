# SPDX-License-Identifier: GPL-2.0-only
"""Begins and ends nest, whatever the rows are: hypothesis, and named cases."""

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from recordings.export.slices import Slices
from recordings.ledger.columns import chunks
from recordings.ledger.ledger import Ledger
from tests.recordings.export import slices_row_by_row
from tests.recordings.plain import batch
from tests.recordings.traces import ROWS, cuts
from tracers.events import Kind


class Drawn:
    """What was drawn, and a second look at whether it nests."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.stacks: dict[int, list[int]] = {}
        self.now: dict[int, int] = {}
        self.finished: dict[int, list[int]] = {}

    def begin(self, ts: int, row: slices_row_by_row.Row) -> None:
        self._later(ts, row.thread)
        assert row.kind not in self.stacks.setdefault(row.thread, [])
        self.stacks[row.thread].append(row.kind)
        self.told.append(("begin", Kind(row.kind).label, ts))

    def end(self, ts: int, thread: int, opened, row: slices_row_by_row.Row | None) -> None:
        self._later(ts, thread)
        kind = self.stacks[thread].pop()
        if row is not None:
            assert row.kind == kind
            self.finished.setdefault(kind, []).append(max(0, row.ts - opened.ts))
        self.told.append(("end" if row else "unfinished", Kind(kind).label, ts))

    def instant(self, ts: int, row: slices_row_by_row.Row) -> None:
        self._later(ts, row.thread)
        self.told.append(("instant", Kind(row.kind).label, ts))

    def _later(self, ts: int, thread: int) -> None:
        assert self.now.get(thread, 0) <= ts < 2**63
        self.now[thread] = ts


def drawn(told: list[dict], places: list[int] | None = None) -> Drawn:
    """What the columns say of each row, drawn."""
    out, slices, events = Drawn(), Slices(), batch(told).events
    places = places or [0, len(told)]
    for first, last in itertools.pairwise(places):
        piece = events.slice(first, last - first)
        rows = list(slices_row_by_row.rows(piece, None))
        for chunk in chunks(piece, first):
            found = slices.fold(chunk)
            columns = (found.ts, found.begins, found.ends, found.since, found.unfinished)
            for row, ts, begins, ends, since, unfinished in zip(
                rows, *(column.tolist() for column in columns), strict=True
            ):
                for _ in range(unfinished):
                    out.end(ts, row.thread, None, None)
                if begins:
                    out.begin(ts, row)
                elif ends:
                    out.end(ts, row.thread, slices_row_by_row.Open(row.kind, since), row)
                else:
                    out.instant(ts, row)
    for thread, calls in slices.finish():
        for _ in range(calls):
            out.end(slices.last, thread, None, None)
    assert not any(out.stacks.values())
    return out


def plainly(told: list[dict]) -> list[tuple]:
    """The same, row by row."""
    out = Drawn()
    slices = slices_row_by_row.Slices(out)
    for row in slices_row_by_row.rows(batch(told).events, None):
        slices.take(row)
    slices.finish()
    return out.told


def event(ts: int, kind: str, phase: str, tid: int = 7) -> dict:
    return {"ts_ns": ts, "kind": kind, "phase": phase, "tid": tid, "source": "kprobe"}


FORGED_OOPS = [event(1, "fault", "entry"), event(2, "fault", "exit")]


@given(ROWS, st.data())
@example(FORGED_OOPS, None)
def test_any_rows_make_slices_that_nest(told: list[dict], data: st.DataObject | None) -> None:
    whole = drawn(told)
    assert whole.told == plainly(told)
    if data is not None:
        assert drawn(told, data.draw(cuts(len(told)))).told == whole.told
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


def test_a_lost_exit_moves_nothing_else() -> None:
    calls = [
        event(1, "memremap", "entry"),
        *(event(ts, "warn", phase) for ts, phase in ((2, "entry"), (4, "exit"))),
        event(5, "populate", "entry"),
        event(6, "warn", "entry"),
        event(7, "populate", "exit"),
        event(8, "warn", "exit"),
        event(9, "memremap", "exit"),
    ]
    other = [event(3, "free", "entry", 8), event(6, "free", "exit", 8)]
    rows = sorted(calls + other, key=lambda row: row["ts_ns"])
    lone = {ts: what for what, _, ts in drawn(rows).told}
    assert lone[8] == "instant"  # its WARN had ended with the call that it was in
    assert ("end", "free", 6) in drawn(rows).told
    assert drawn(rows).told[-1] == ("end", "memremap", 9)
