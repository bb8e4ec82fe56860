# SPDX-License-Identifier: GPL-2.0-only
"""The strip of sections compared with a plain loop over calls, and with the kernel's log."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.explore.blocks import Blocks
from recordings.explore.filler import Filler
from recordings.explore.matches import Everything, Matches
from recordings.explore.section_strip import BLANKS, SEVERITY, Sections
from recordings.explore.span_table import DTYPES, LATE, SpanTable
from recordings.ledger.ledger import Ledger
from tests.recordings import plain, traces
from tests.recordings.explore.test_matches import FILTERS, Longer, plainly
from tests.recordings.explore.test_span_table import LAB, filled
from tests.recordings.ledger.test_ledger import read
from tests.tui.small_recordings import WINDOW
from tracers.events import Kind
from tracers.window import Window

HALF, TOP = 1 << 63, 1 << 64
SECTION = 2 << 20
WORSE = [str(regime) for regime in SEVERITY]
#: The section of address 2^63 + base is number 1, and what is below it number 0.
WINDOWS = st.sampled_from(
    [None, LAB, WINDOW, replace(WINDOW, struct_page=56), replace(WINDOW, memstart=0x4200_0000)]
)


def section_of(start, window):
    """The number of the section of an address, from 2^63 on and past 2^64."""
    if window is None or window.struct_page is None:
        size, base = SECTION, 0 if window is None else window.start
    else:
        size, base = window.section_vmemmap, window.vmemmap
    return ((start - HALF) % TOP - (base - HALF) % TOP % size) // size + 1


def told(calls, window):
    """What is known of each section: calls, the worst regime, the longest; and calls of none."""
    sections, unplaced = {}, 0
    for call in calls:
        if call.start is None:
            unplaced += 1
            continue
        at = section_of(call.start, window)
        count, worst, silent, longest = sections.get(at, (0, WORSE[0], False, None))
        lasted = [ns for ns in (longest, call.duration_ns) if ns is not None]
        worst = max(worst, call.regime, key=WORSE.index)
        sections[at] = (count + 1, worst, silent | call.silent, max(lasted, default=None))
    return sections, unplaced


def joined(sections, most):
    """The same in groups of as few sections as are at most ``most`` groups."""
    level = 0
    while len({at >> level for at in sections}) > most:
        level += 1
    groups = {}
    for at, (count, worst, silent, longest) in sections.items():
        before = groups.get(at >> level, (0, WORSE[0], False, None))
        lasted = [ns for ns in (longest, before[3]) if ns is not None]
        both = max(worst, before[1], key=WORSE.index)
        ended = max(lasted, default=None)
        groups[at >> level] = (count + before[0], both, silent | before[2], ended)
    return level, groups


def calls_of(table, let):
    """What matches, but for Oopses: they are no calls of a section."""
    return [span for span in plainly(table, let) if span.kind is not Kind.FAULT]


def shown(strip):
    """What a strip says of each place."""
    columns = (
        strip.places, strip.calls, strip.ranks, strip.silent, strip.longest, strip.timed,
    )  # fmt: skip
    return {
        place: (calls, WORSE[rank], silent, longest if timed else None)
        for place, calls, rank, silent, longest, timed in zip(
            *map(np.ndarray.tolist, columns), strict=True
        )
    }


@settings(deadline=None, max_examples=200)
@given(
    rows=traces.ROWS,
    let=FILTERS,
    window=WINDOWS,
    block=st.sampled_from([1, 3, 8, 65_536]),
    most=st.sampled_from([1, 2, 5, 1000]),
)
def test_has_what_a_loop_over_the_calls_has(rows, let, window, block, most):
    table, _ = filled(rows, LAB, (), block)
    sections = Sections(Matches(table, let), window, most=most)
    sections.update()
    strip = sections.strip()
    each, unplaced = told(calls_of(table, let), window)
    level, groups = joined(each, most)
    assert (strip.unplaced, strip.level, len(strip)) == (unplaced, level, len(groups))
    assert shown(strip) == groups
    assert list(shown(strip)) == sorted(groups)
    counts = [sum(worst == regime for _, worst, _, _ in groups.values()) for regime in WORSE]
    assert dict(strip.regimes()) == {
        regime: count for regime, count in zip(WORSE, counts, strict=True) if count
    }


class Shorter:
    """A filter that a call may match no more once it has ended."""

    names = Longer.names

    def mask(self, columns, table):
        return ~Longer(1000).mask(columns, table)


@settings(deadline=None, max_examples=100)
@given(
    data=st.data(),
    rows=traces.ROWS,
    let=st.sampled_from([Everything(), Longer(1000), Shorter()]),
    block=st.sampled_from([1, 3, 65_536]),
)
def test_growing_with_the_table_is_the_same(data, rows, let, block):
    table = SpanTable(Blocks(DTYPES, LATE, block=block, most_late=3))
    filler, ledger = Filler(table), Ledger(LAB, None)
    matches = Matches(table, let)
    sections = Sections(matches, LAB, most=4)
    cuts = data.draw(traces.cuts(len(rows)))
    for first, last in pairwise(cuts):
        ledger.fold(plain.batch(rows[first:last]), filler)
        matches.update()
        before = sections.strip()
        said = shown(before)
        sections.update()
        assert shown(before) == said  # a strip is frozen
    calls = calls_of(table, Everything() if isinstance(let, Shorter) else let)
    if isinstance(let, Shorter):
        calls = [call for call in calls if (call.duration_ns or 0) <= 1000]
    each, _ = told(calls, LAB)
    assert shown(sections.strip()) == joined(each, 4)[1]
    same = sections.strip()
    sections.update()
    assert sections.strip() is same


@settings(deadline=None, max_examples=200)
@given(
    starts=st.lists(
        st.one_of(
            st.sampled_from([0, SECTION, HALF - 1, HALF, TOP - 1]),
            st.integers(0, TOP - 1),
            st.builds(
                lambda at, step: (at + step * SECTION) % TOP,
                st.sampled_from([0, HALF, WINDOW.start, WINDOW.end]),
                st.integers(-40, 40),
            ),
        ),
        min_size=1,
        max_size=60,
    ),
    window=WINDOWS,
    width=st.integers(1, 80),
)
def test_cells_hold_every_section_once_and_fit(starts, window, width):
    rows = [
        {"ts_ns": at, "kind": "populate", "phase": "point", "source": "kprobe",
         "start": start, "end": (start + SECTION) % TOP}
        for at, start in enumerate(starts)
    ]  # fmt: skip
    table, _ = filled(rows, WINDOW)
    sections = Sections(Matches(table, Everything()), window)
    sections.update()
    drawn = sections.strip().cells(width)
    assert len(drawn.cells) <= width
    assert sum(cell.calls for cell in drawn.cells) == len(starts)
    bins = {}
    for start in starts:
        at = section_of(start, window) // drawn.sections
        bins.setdefault(at, []).append(start)
    held = [cell for cell in drawn.cells if cell.calls]
    for (_, inside), cell in zip(sorted(bins.items()), held, strict=True):
        assert cell.calls == len(inside)
        assert all((start - cell.start) % TOP < cell.size for start in inside)
    order = [(cell.start - HALF) % TOP for cell in drawn.cells]
    assert order == sorted(order)
    ends = [at + cell.size for at, cell in zip(order, drawn.cells, strict=True)]
    assert ends[:-1] == order[1:]  # side by side, gaps among them
    assert ends[-1] <= TOP
    for cell in drawn.cells:
        one = drawn.sections * (
            window.section_vmemmap if window and window.struct_page else SECTION
        )
        assert not cell.gap or (cell.calls == 0 and cell.size > BLANKS * one)


def test_far_apart_clusters_keep_a_cell_for_each_section():
    starts = [WINDOW.start + at * SECTION for at in range(10)]
    starts += [0x40_0000_0000 + at * SECTION for at in range(5) if at != 2]
    rows = [
        {"ts_ns": at, "kind": "free", "phase": "point", "source": "kprobe",
         "start": start, "end": start + SECTION}
        for at, start in enumerate(starts)
    ]  # fmt: skip
    table, _ = filled(rows, WINDOW)
    sections = Sections(Matches(table, Everything()), WINDOW)
    sections.update()
    drawn = sections.strip().cells(20)
    assert drawn.sections == 1
    text = "".join("…" if cell.gap else "x" if cell.calls else " " for cell in drawn.cells)
    assert text == "x" * 10 + "…" + "xx xx"
    assert [cell.regime for cell in drawn.cells if cell.calls] == ["inside"] * 10 + ["wrapped"] * 4
    assert drawn.cells[-1] == replace(
        drawn.cells[-1], start=starts[-1], size=SECTION, calls=1, longest_ns=None
    )


def test_the_storm_has_128_sections_of_two_calls(captures):
    path = captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    table, _ = filled(rows, window)
    sections = Sections(Matches(table, Everything()), window)
    sections.update()
    drawn = sections.strip().cells(140)
    assert drawn.sections == 1
    assert len(drawn.cells) == 128
    assert {cell.calls for cell in drawn.cells} == {2}
    assert {cell.regime for cell in drawn.cells} == {"above"}
    frees = plain.lasted(path, "free")  # one a section; the populate calls are derived
    assert sorted(cell.longest_ns for cell in drawn.cells) == sorted(frees)
    assert sections.strip().cells(70).sections == 2
    assert sections.strip().cells(60).sections == 3


@pytest.mark.parametrize("window", [None, Window(WINDOW.start, WINDOW.end)])
def test_without_a_machine_a_section_is_taken_for_two_mebibytes(window):
    table, _ = filled([], LAB)
    sections = Sections(Matches(table, Everything()), window)
    sections.update()
    assert (sections.strip().size, sections.strip().known) == (SECTION, False)
    assert sections.strip().cells(80).cells == ()
