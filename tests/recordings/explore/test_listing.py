# SPDX-License-Identifier: GPL-2.0-only
"""How many calls of each line of the tree match: a plain count, and the kernel's log."""

from threading import RLock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.explore.listing import Tree
from recordings.explore.matches import By, Matches
from tests.recordings import plain, traces
from tests.recordings.explore.test_matches import Comm, Longer, plainly
from tests.recordings.explore.test_span_table import LAB, filled
from tests.recordings.explore.test_tally import tallied
from tests.recordings.ledger.test_ledger import read
from tracers.machine import Machine


def tree_of(rows, window, let, block=65_536):
    """The table of rows, and the tree of what matches in it with everything open."""
    table, whole = filled(rows, window, (), block)
    matches = Matches(table, let)
    around = tallied(table, let, whole, Machine(window=window)).around
    tree = Tree(matches, RLock(), By.TIME, around=around)
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
        if not span.calls:
            assert branch.matching is None
            continue
        told = {sum(inside(call, span, table) for call in calls)}
        if span.owner is not None and table.span(span.owner).calls == span.calls:
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
