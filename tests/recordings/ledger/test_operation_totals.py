# SPDX-License-Identifier: GPL-2.0-only
"""The sums over all operations: as a plain walk over random traces tells them."""

from collections import Counter

from hypothesis import given, settings

from recordings.ledger.ledger import Ledger
from recordings.ledger.operation_totals import LISTED
from tests.recordings import oracle, plain, traces
from tests.recordings.ledger.test_operations import LAB, row
from tracers.events import Kind


def snapshot(rows):
    ledger = Ledger(LAB, None)
    for at in range(0, len(rows), 50_000):
        ledger.fold(plain.batch(rows[at : at + 50_000]))
    return ledger.snapshot()


@settings(deadline=None)
@given(traces.ROWS)
def test_the_sums_are_those_of_the_operations(rows):
    expected, warned, spent = Counter(), Counter(), Counter()
    for operation in oracle.tell(rows, traces.WINDOW)["operations"]:
        kind = operation["kind"]
        expected[kind] += 1
        warned[kind] += operation["warnings"]
        spent[kind] += operation["warn_ns"]
    totals = snapshot(rows).totals
    assert {total.kind.label: total.operations for total in totals} == expected
    assert {t.kind.label: t.warnings for t in totals if t.warnings} == +warned
    assert {t.kind.label: t.warn_ns for t in totals if t.warn_ns} == +spent


def test_time_of_the_hotplug_inside_is_apart():
    (total,) = snapshot(
        [
            row(1, "memremap"),
            row(2, "add_pages", pfn=0, nr_pages=8),
            row(7, "add_pages", "exit"),
            row(8, "add_pages", pfn=8, nr_pages=8),
            row(9, "add_pages", "exit"),
            row(20, "memremap", "exit"),
        ]
    ).totals
    assert (total.kind, total.operations, total.inner_ns) == (Kind.MEMREMAP, 1, 6)


def test_tasks_are_named_once_a_side_and_bounded():
    rows = []
    for ts, tid in enumerate([5, 9, 5, 9, *range(100, 100 + LISTED)]):
        kind = "memremap" if tid == 5 else "memunmap"
        rows += [row(2 * ts, kind, tid=tid), row(2 * ts + 1, kind, "exit", tid=tid)]
    few = snapshot(rows[:8])
    assert [(task.comm, task.tid, task.removes) for task in few.tasks] == [
        ("task5", 5, False),
        ("task9", 9, True),
    ]
    assert not few.tasks_beyond
    many = snapshot(rows)
    assert len(many.tasks) == LISTED
    assert many.tasks_beyond


def test_where_operations_begin_and_end_is_in_the_bins():
    """Of an operation whose end is lost, the next one of its thread is the end."""
    series = snapshot(
        [
            row(0, "memremap"),
            row(5_000, "memremap", "exit"),
            row(6_000, "memunmap", tid=8),
            row(9_000, "memremap", tid=8),
            row(20_000, "add_pages"),
        ]
    ).series
    assert series.bin_ns == 1024
    begun = {"adds": {0: 1, 8: 1, 19: 1}, "removes": {5: 1}}
    ended = {"adds": {4: 1}, "removes": {8: 1}}
    for side in ("adds", "removes"):
        bins = list(enumerate(getattr(series, side)))
        assert {at: first for at, (first, _) in bins if first} == begun[side]
        assert {at: last for at, (_, last) in bins if last} == ended[side]
