# SPDX-License-Identifier: GPL-2.0-only
"""Ranges: pairing by exact range, and merging of those outside the window."""

import itertools
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.ledger.ranges import LISTED, RangeTable
from recordings.ledger.snapshot import Pairing, Reach
from tests.recordings import oracle, traces
from tracers.layout import Layout, Region, layout_for
from tracers.regimes import REGIMES
from tracers.window import Window

START, END = traces.WINDOW
LAB = Window(start=START, end=END)
TOP = 2**64
MIB2 = 2**21


def folded(calls, *, layout=False, at_once=True):
    """``calls``: (start, end, is it a free)."""
    sections = RangeTable(LAB, layout_for(LAB) if layout else None)
    for part in [calls] if at_once else [[call] for call in calls]:
        start, end = (np.array([call[i] % TOP for call in part], np.uint64) for i in (0, 1))
        sections.fold(start, end, np.array([call[2] for call in part], np.bool_))
    return sections


def told(sections):
    extents, total = sections.extents()
    assert total >= len(extents)
    return [(e.start, e.end, e.regime, e.populate, e.free) for e in extents]


def test_a_range_populated_and_freed_is_paired():
    calls = [(END, END + MIB2, False), (END, END + MIB2, True)]
    assert folded(calls).pairing == Pairing(paired=1)


def test_each_kind_of_mismatch():
    one, two, three = ((END + n * MIB2, END + (n + 1) * MIB2) for n in range(3))
    calls = [
        (*one, False),
        (*one, False),
        (*two, True),
        (*three, False),
        (*three, True),
        (*three, True),
    ]
    assert folded(calls).pairing == Pairing(
        paired=1,
        never_freed=1,
        never_populated=2,
        populated_twice=1,
        held_outside=1,
        held_outside_bytes=MIB2,
    )


def test_an_overlapping_range_is_another_range():
    """The kernel undoes and frees exactly what it populated (mm/sparse.c)."""
    calls = [(END, END + 2 * MIB2, False), (END, END + MIB2, True)]
    assert folded(calls).pairing == Pairing(
        never_freed=1, never_populated=1, held_outside=1, held_outside_bytes=2 * MIB2
    )


def test_of_those_still_mapped_the_ones_inside_are_told_apart():
    inside, outside = (START, START + MIB2), (END, END + 2 * MIB2)
    told_of = folded([(*inside, False), (*outside, False)]).pairing
    assert (told_of.never_freed, told_of.held_outside) == (2, 1)
    assert told_of.held_outside_bytes == 2 * MIB2


def test_how_far_calls_reach_is_of_all_of_them_beyond_the_budget_too():
    calls = [(END + n * MIB2, END + (n + 1) * MIB2, False) for n in (2, 7, 1)]
    calls += [(START + MIB2, START + 2 * MIB2, True), (TOP - MIB2, TOP % 2**64, False)]
    for budget in (1, 100):
        sections = RangeTable(LAB, None, budget=budget)
        for start, end, free in calls:
            arrays = (np.array([value], np.uint64) for value in (start, end))
            sections.fold(*arrays, np.array([free]))
        assert sections.reaches() == (
            Reach("inside", START + MIB2, START + 2 * MIB2 - 1),
            Reach("above", END + MIB2, TOP - 1),
        )


def test_extents_say_when_they_were_first_touched():
    calls = [(END + n * MIB2, END + (n + 1) * MIB2, False) for n in (9, 1, 0, 9, 1)]
    arrays = (np.array(column, np.uint64) for column in zip(*[c[:2] for c in calls], strict=True))
    sections = RangeTable(LAB, None)
    sections.fold(*arrays, np.zeros(5, np.bool_), np.array([10, 20, 30, 40, 50]))
    assert [(e.start, e.row) for e in sections.extents()[0]] == [(END, 20), (END + 9 * MIB2, 10)]


def test_the_extents_listed_are_those_of_most_calls_then_the_lowest():
    """More of equal weight than are listed, and heavier ones at the top: a plain sort agrees."""
    rng = np.random.default_rng(1)
    starts = [END + 2 * MIB2 * n for n in rng.permutation(300).tolist()]
    calls = [(s, s + MIB2, False) for s in starts for _ in range(1 + s // MIB2 // 2 % 3)]
    counts = Counter(call[0] for call in calls)
    most = sorted(counts, key=lambda start: (-counts[start], start))[:LISTED]
    extents, total = folded(calls).extents()
    assert (total, [e.start for e in extents]) == (300, sorted(most))


def test_touching_ranges_merge_and_count_their_calls():
    calls = [(END + n * MIB2, END + (n + 1) * MIB2, free) for free in (0, 1) for n in (2, 0, 1)]
    assert told(folded(calls)) == [(END, END + 3 * MIB2, "above", 3, 3)]


def test_a_gap_of_one_byte_parts_them():
    calls = [(END, END + 5, False), (END + 6, END + 9, False)]
    assert told(folded(calls)) == [(END, END + 5, "above", 1, 0), (END + 6, END + 9, "above", 1, 0)]


def test_overlap_merges_and_does_not_shrink():
    calls = [(END, END + 100, False), (END + 10, END + 20, False), (END + 90, END + 120, True)]
    assert told(folded(calls)) == [(END, END + 120, "above", 2, 1)]


def test_both_ends_of_the_address_space():
    calls = [(TOP - 20, TOP, False), (TOP - 30, TOP, False), (0, 10, False), (0, 20, False)]
    assert told(folded(calls)) == [(0, 20, "wrapped", 2, 0), (TOP - 30, 0, "above", 2, 0)]


def test_silent_hits_do_not_merge_with_others():
    # what ends at 2^64 compares as small: the kernel says nothing
    calls = [(TOP - 10, TOP, False), (TOP - 30, TOP - 10, False)]
    extents, _ = folded(calls).extents()
    assert [(e.start, e.end, e.silent) for e in extents] == [
        (TOP - 30, TOP - 10, False),
        (TOP - 10, 0, True),
    ]


def test_a_range_across_the_top_stays_alone():
    calls = [(TOP - 10, TOP, False), (TOP - 10, 10, False), (TOP - 5, 10, False)]
    assert told(folded(calls)) == [
        (TOP - 10, 0, "above", 1, 0),
        (TOP - 10, 10, "straddling", 1, 0),
        (TOP - 5, 10, "straddling", 1, 0),
    ]


def test_regimes_do_not_merge():
    calls = [(START - 10, START, False), (START - 20, START + 5, False), (START, START + 5, False)]
    assert told(folded(calls)) == [
        (START - 20, START + 5, "straddling", 1, 0),
        (START - 10, START, "below", 1, 0),
    ]


def test_regions_do_not_merge():
    border = END + 2**20
    layout = Layout((Region("low", 0, border), Region("high", border, TOP)), "made up")
    sections = RangeTable(LAB, layout)
    start, end = (np.array(v, np.uint64) for v in ([border - 10, border], [border, border + 10]))
    sections.fold(start, end, np.zeros(2, np.bool_))
    extents, total = sections.extents()
    assert total == 2
    assert [extent.lands_on for extent in extents] == ["low", "high"]


def test_only_the_busiest_are_listed_by_address():
    calls = [(END + n * 100, END + n * 100 + 10, False) for n in range(100)]
    calls += [(END + 100 * 99, END + 100 * 99 + 10, True)] * 3
    extents, total = folded(calls).extents()
    assert (total, len(extents)) == (100, 64)
    assert [e.start for e in extents] == sorted(e.start for e in extents)
    assert extents[-1].free == 3


def test_a_kernel_blind_spot_is_a_hit_without_a_warning():
    """Start < END fails and end == 0 > END fails: a range that ends at 2^64 warns no one."""
    sections = folded([(TOP - MIB2, TOP, False), (END, END + MIB2, False)])
    assert sections.regimes.above == 2
    assert sections.would_warn == 1


RANGE = st.tuples(
    st.sampled_from([0, START - 8, START, END - 8, END, END + 8, TOP - 8]),
    st.sampled_from([0, 8, START, START + 8, END, END + 8, END + 16, TOP - 4]),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(RANGE, max_size=40))
def test_pairing_as_retold(calls):
    rows = [
        {"kind": "free" if free else "populate", "phase": "point", "ts_ns": 0, "source": "kprobe",
         "start": start, "end": end}
        for start, end, free in calls
    ]  # fmt: skip
    pairing = oracle.tell(rows, traces.WINDOW)["pairing"]
    expected = Pairing(
        pairing["paired"], pairing["never_freed"], pairing["never_populated"], pairing["twice"],
        pairing["held_outside"], pairing["held_outside_bytes"],
    )  # fmt: skip
    for at_once in (True, False):
        sections = folded(calls, at_once=at_once)
        assert sections.pairing == expected
        assert len(sections) == len({call[:2] for call in calls})


@settings(deadline=None)
@given(st.lists(RANGE, max_size=40))
def test_extents_hold_every_hit_once(calls):
    sections = folded(calls, layout=True)
    extents, _ = sections.extents()
    assert sum(e.populate + e.free for e in extents) == sections.regimes.hits
    regimes = {oracle.regime(start, end, traces.WINDOW) for start, end, _ in calls}
    assert {e.regime for e in extents} == regimes - {"inside"}


def limited(calls, budget, cuts=()):
    """As ``folded``, with a table of at most ``budget`` ranges inside and as many outside."""
    sections = RangeTable(LAB, None, budget=budget)
    places = [0, *cuts, len(calls)]
    for first, last in itertools.pairwise(places):
        part = calls[first:last]
        start, end = (np.array([call[i] % TOP for call in part], np.uint64) for i in (0, 1))
        judged = sections.fold(start, end, np.array([call[2] for call in part], np.bool_))
        assert [REGIMES[code] for code in judged.regime] == [
            oracle.regime(start, end % TOP, traces.WINDOW) for start, end, _ in part
        ]
    return sections


def test_ranges_beyond_the_budget_are_judged_and_counted_and_no_more():
    calls = [(END + n * MIB2, END + (n + 1) * MIB2, free) for free in (False, True)
             for n in (3, 9, 1, 7, 5)]  # fmt: skip
    sections = limited(calls, 3)
    assert (len(sections), sections.beyond) == (3, 4)
    assert sections.regimes.hits == sections.would_warn == 10
    assert sections.pairing == Pairing(paired=3)
    assert [start for start, *_ in told(sections)] == [END + n * MIB2 for n in (1, 3, 9)]


def test_hits_have_a_budget_of_their_own_whatever_came_before():
    inside = [(START + n * 64, START + n * 64 + 64, False) for n in range(50)]
    sections = limited([*inside, (END, END + MIB2, False)], 5)
    assert (len(sections), sections.beyond) == (6, 45)
    assert told(sections) == [(END, END + MIB2, "above", 1, 0)]


def test_a_full_table_still_counts_what_is_in_it():
    calls = [(END, END + MIB2, False), (END + MIB2, END + 2 * MIB2, False)]
    sections = limited([*calls, (END, END + MIB2, True)], 1)
    assert (sections.pairing, sections.beyond) == (Pairing(paired=1), 1)


@settings(deadline=None)
@given(st.lists(RANGE, max_size=40), st.integers(0, 4), st.data())
def test_the_first_ranges_are_kept_for_any_cut(calls, budget, data):
    """A second, plain computation: a set that takes the first of each side."""
    kept = {True: [], False: []}
    for start, end, _ in calls:
        side = kept[oracle.regime(start, end, traces.WINDOW) == "inside"]
        if (start, end) not in side and len(side) < budget:
            side.append((start, end))
    known = {*kept[True], *kept[False]}
    within = [call for call in calls if call[:2] in known]
    sections = limited(calls, budget, data.draw(traces.cuts(len(calls)))[1:-1])
    assert len(sections) == len(known)
    assert sections.beyond == len(calls) - len(within)
    assert sections.regimes == folded(calls).regimes
    assert sections.would_warn == folded(calls).would_warn
    assert sections.pairing == folded(within).pairing
    assert told(sections) == told(folded(within))
