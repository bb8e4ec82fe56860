# SPDX-License-Identifier: GPL-2.0-only
"""What is listed under a filter: the lists at once, the numbers piece by piece."""

from types import SimpleNamespace

from recordings.explore.span_table import SpanTable
from tests.recordings.explore.test_span_table import filled
from tests.recordings.ledger.test_ledger import read
from tracers.machine import Machine
from tui.playback.explorer import Explorer

STORM = ("6.1.192-vmemlab-39bit", "hole")


def test_the_lists_are_there_before_the_numbers(captures):
    rows, window = read(captures, *STORM)
    table, whole = filled(rows, window, block=16)
    explorer = Explorer(SimpleNamespace(machine=Machine(window=window)), table)
    explorer.let("comm:rmmod", 0)
    numbers, listed = explorer.snapshot(whole), explorer.listed(whole)
    assert (listed.matching, len(listed.calls), listed.tree.roots) == (128, 128, 1)
    assert 0 < listed.counted < 1
    assert listed.tree.filtered
    assert [(branch.matching, branch.span.calls) for branch in listed.tree] == [(128, 128)]
    assert numbers.free < 128
    while explorer.advance(whole):
        pass
    numbers, listed = explorer.snapshot(whole), explorer.listed(whole)
    assert (listed.counted, numbers.populate, numbers.free) == (1, 0, 128)
    assert not explorer.advance(whole)
    assert explorer.snapshot(whole) is numbers  # nothing is counted twice
    explorer.let("", 0)
    assert explorer.snapshot(whole) is whole
    assert explorer.listed(whole).counted == 1


def test_an_empty_table_is_counted(captures):
    _, window = read(captures, *STORM)
    _, whole = filled([], window)
    explorer = Explorer(SimpleNamespace(machine=Machine(window=window)), SpanTable())
    explorer.let("comm:rmmod", None)
    assert explorer.snapshot(whole).hits == 0
    assert explorer.listed(whole).counted == 1
