# SPDX-License-Identifier: GPL-2.0-only
"""The lists compared with a plain list of the same calls, and with the kernel's log."""

from threading import RLock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.explore.filler import Filler
from recordings.explore.listing import Calls, Tree
from recordings.explore.matches import By, Everything, Matches
from recordings.explore.span_table import SpanTable
from recordings.ledger.ledger import Ledger
from tests.recordings import oops, plain, traces
from tests.recordings.explore.test_matches import Comm, Longer, plainly
from tests.recordings.explore.test_span_table import LAB, filled
from tests.recordings.explore.test_tally import tallied
from tests.recordings.ledger.test_ledger import read
from tests.tui.small_recordings import storm_rows
from tracers.events import Kind
from tracers.machine import Machine


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


def tree_of(rows, window, let, block=65_536):
    """The table of rows, and the tree of what matches in it with everything open."""
    table, whole = filled(rows, window, (), block)
    matches = Matches(table, let)
    around = tallied(table, let, whole, Machine(window=window)).around
    tree = Tree(matches, RLock(), By.TIME, filtered=True, around=around)
    return table, tree.with_open(frozenset(range(len(table))))


def inside(call, span, table):
    """Whether a call is in a span: its operation, or around it at any depth."""
    if call.owner == span.position:
        return True
    at = call.parent
    while at is not None and at != span.position:
        at = table.span(at).parent
    return at is not None


@settings(deadline=None, max_examples=200)
@given(
    rows=traces.ROWS,
    let=st.sampled_from([Comm("insmod"), Longer(1000)]),
    block=st.sampled_from([1, 3, 65_536]),
)
def test_a_line_tells_how_many_of_its_calls_match(rows, let, block):
    table, tree = tree_of(rows, LAB, let, block)
    calls = plainly(table, let)
    for branch in tree:
        span = branch.span
        if not span.listed:
            assert branch.matching is None
            continue
        told = {sum(inside(call, span, table) for call in calls)}
        if span.owner is not None and table.span(span.owner).listed == span.listed:
            told.add(sum(call.owner == span.owner for call in calls))
        if span.operation:
            told = {sum(call.owner == span.position for call in calls)}
        assert branch.matching in told


def test_without_a_filter_no_line_tells_it(captures):
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    table, _ = filled(rows, window)
    tree = Tree(Matches(table, Longer(-1)), RLock(), By.TIME)
    assert not tree.filtered
    assert {branch.matching for branch in tree} == {None}


@pytest.mark.parametrize("shortest", [400_000, 600_000])
def test_the_storms_slow_calls(captures, shortest):
    path = captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    slow = sum(ns > shortest for ns in plain.lasted(path, "free"))
    assert slow > 0
    _, tree = tree_of(rows, window, Longer(shortest))
    told = {branch.span.kind.label: branch for branch in tree if branch.span.calls}
    assert set(told) == {"memunmap", "remove_pages"}
    assert {(branch.matching, branch.span.calls) for branch in told.values()} == {(slow, 128)}


# -- an Oops ------------------------------------------------------------------------------------


def opened_tree(rows, let):
    table, tree = tree_of([row | {"ts_ns": at} for at, row in enumerate(rows)], oops.WINDOW, let)
    return table, [(branch.span.kind, branch.depth, branch.matching) for branch in tree], tree


def test_an_oops_is_beside_the_calls_of_what_it_failed_in():
    """In the tree a row of the innermost section or operation, in the list one in time."""
    rows = [*storm_rows(1, 0xFFFF_FFFF_C000_0000, warn=False)[:3], oops.fault() | {"tid": 68}]
    table, told, tree = opened_tree(rows, Everything())
    assert told == [
        (Kind.MEMREMAP, 0, 2), (Kind.ADD_PAGES, 1, 2), (Kind.POPULATE, 2, None),
        (Kind.FAULT, 2, None),
    ]  # fmt: skip
    assert (tree[0].span.calls, tree[0].span.faults, tree[0].span.listed) == (1, 1, 2)
    calls = Calls(Matches(table, Everything()), RLock(), oops.MACHINE.layout, By.TIME)
    assert [(call.kind, call.regime, call.lands_on) for call in calls] == [
        (Kind.FAULT, "wrapped", "user half"), (Kind.POPULATE, "above", "unused"),
    ]  # fmt: skip
    _, told, _ = opened_tree(rows, Comm(rows[3]["comm"]))
    assert told == [(Kind.MEMREMAP, 0, 1), (Kind.ADD_PAGES, 1, 1), (Kind.FAULT, 2, None)]


def test_an_operation_with_an_oops_alone_can_be_opened():
    rows = [storm_rows(1, 0)[0], oops.fault() | {"tid": 68}]
    _, told, tree = opened_tree(rows, Everything())
    assert told == [(Kind.MEMREMAP, 0, 1), (Kind.FAULT, 1, None)]
    assert tree[0].holds
    assert not tree[1].holds
