# SPDX-License-Identifier: GPL-2.0-only
"""The lists compared with a plain list of the same calls."""

from threading import RLock

import pytest

from recordings.explore.filler import Filler
from recordings.explore.listing import Calls, Tree
from recordings.explore.matches import By, Everything, Matches
from recordings.explore.span_table import SpanTable
from recordings.ledger.ledger import Ledger
from tests.recordings import plain
from tests.recordings.explore.test_matches import Comm, plainly
from tests.recordings.explore.test_span_table import filled
from tests.recordings.ledger.test_ledger import read


@pytest.fixture(scope="module")
def storm(captures):
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    return filled(rows, window, range(0, len(rows), 50), block=100)[0], len(rows)


@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("let", [Everything(), Comm("rmmod")], ids=["all", "rmmod"])
def test_a_neighbour_is_the_next_in_time_in_any_order_and_from_any_event(storm, by, let):
    table, rows = storm
    begins = [span.row for span in plainly(table, let)]
    calls = Calls(Matches(table, let), RLock(), None, by)
    assert sorted(call.row for call in calls) == begins
    for row in range(rows):
        after = next((each for each in begins if each > row), None)
        before = next((each for each in reversed(begins) if each < row), None)
        for step, wanted in ((1, after), (-1, before)):
            place = calls.neighbour(row, step)
            assert (None if place is None else calls[place].row) == wanted


def test_a_span_is_that_of_the_event_and_its_operation_is_known(storm):
    table, rows = storm
    matches = Matches(table, Everything())
    calls, tree = Calls(matches, RLock(), None, By.TIME), Tree(matches, RLock(), By.TIME)
    assert [call.row for call in calls] == [calls.span(call.row).row for call in calls]
    assert calls.span(rows - 1) is None  # an exit
    kinds = {calls.span(call.row).kind: tree.operation(calls.span(call.row)) for call in calls}
    begins = [tree[at].span.row for at in range(tree.roots)]
    assert sorted(kinds.values()) == begins
    assert [tree.operation(tree[at].span) for at in range(2)] == begins


def test_lists_are_equal_until_something_of_them_changes(captures):
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    last = max(
        at for at, row in enumerate(rows) if row["kind"] == "free" and row["phase"] == "exit"
    )
    table, ledger = SpanTable(), Ledger(window, None)
    filler = Filler(table)
    ledger.fold(plain.batch(rows[:last]), filler)
    matches = Matches(table, Everything())
    before = Calls(matches, RLock(), None, By.TIME)
    assert before[0].duration_ns is None
    assert not matches.update()
    assert Calls(matches, RLock(), None, By.TIME) == before
    ledger.fold(plain.batch(rows[last : last + 1]), filler)  # no call begins, but one ends
    assert matches.update()
    after = Calls(matches, RLock(), None, By.TIME)
    assert after != before
    assert after[0].duration_ns == rows[last]["ts_ns"] - before[0].ts_ns
