# SPDX-License-Identifier: GPL-2.0-only
"""Tallies compared with the ledger, with the kernels' own text, and with a plain count."""

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.explore.blocks import Blocks
from recordings.explore.filler import Filler
from recordings.explore.index import Index
from recordings.explore.matches import Everything, Matches
from recordings.explore.span_table import DTYPES, LATE, SpanTable
from recordings.explore.sums import Passed
from recordings.explore.tally import Tally
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.samples import sample_names, sample_path
from tests.recordings import plain, traces
from tests.recordings.explore.test_matches import FILTERS, Comm, Longer, plainly
from tests.recordings.explore.test_span_table import LAB, filled
from tests.recordings.ledger.test_ledger import SCENES, read
from tracers.events import Kind
from tracers.kernel_functions import REQUESTS
from tracers.machine import Machine


class Populate:
    """A filter for calls of one kind."""

    names = ("kind",)

    def mask(self, columns, table):
        return columns["kind"] == Kind.POPULATE


def tallied(table, let, whole, machine):
    tally = Tally(Matches(table, let), machine)
    complete(tally, whole)
    return tally


def complete(tally, whole):
    """Count all, in steps that end."""
    tally.refresh(whole)
    while tally.advance():
        assert tally.done < 1
    assert tally.done == 1


@pytest.mark.parametrize("sample", sample_names())
def test_without_a_filter_samples_have_the_ledgers_numbers(sample):
    with open_recording(sample_path(sample)) as recording:
        index = Index(recording)
        while index.advance():
            pass
        whole = index.snapshot()
        tally = tallied(index.table, Everything(), whole, recording.header.machine)
        assert tally.snapshot(whole) == whole


@pytest.mark.parametrize(("kernel", "scene"), SCENES)
@pytest.mark.parametrize("block", [16, 65_536])
def test_without_a_filter_captures_have_the_ledgers_numbers(captures, kernel, scene, block):
    rows, window = read(captures, kernel, scene)
    table, whole = filled(rows, window, range(0, len(rows), 50), block, 3)
    tally = tallied(table, Everything(), whole, Machine(window=window))
    assert tally.snapshot(whole) == whole


@settings(deadline=None, max_examples=150)
@given(rows=traces.ROWS, block=st.sampled_from([1, 3, 8, 65_536]))
def test_without_a_filter_forged_rows_have_the_ledgers_numbers(rows, block):
    """Clocks that go back aside: the bins of an end are then not known to the table."""
    rows = [
        row | {"ts_ns": ts} for row, ts in zip(rows, sorted(r["ts_ns"] for r in rows), strict=True)
    ]
    table, whole = filled(rows, LAB, (), block)
    snapshot = tallied(table, Everything(), whole, Machine(window=LAB)).snapshot(whole)
    assert without_times(snapshot) == without_times(whole)


def without_times(snapshot):
    """All but what a new operation before the last one's end makes doubtful in operations."""
    series = snapshot.series
    return replace(
        snapshot,
        series=series
        and replace(
            series,
            adds=tuple(begun for begun, _ in series.adds),
            removes=tuple(begun for begun, _ in series.removes),
        ),
        totals=tuple(replace(each, warn_ns=0, inner_ns=0) for each in snapshot.totals),
        operations=tuple(
            replace(each, warn_ns=0, duration_ns=None) for each in snapshot.operations
        ),
    )


def test_the_storms_removal_alone(captures):
    """Half of the storm, from the kernel's own text."""
    path = captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    table, whole = filled(rows, window)
    warns = plain.lasted(path, "warn")
    gone = tallied(table, Comm("rmmod"), whole, Machine(window=window)).snapshot(whole)
    assert (gone.populate, gone.free, gone.hits, gone.warnings) == (0, 128, 128, 128)
    assert gone.warn_ns == sum(warns[128:])
    assert [(s.site, s.count) for s in gone.sites] == [("arch/arm64/mm/mmu.c:1268", 128)]
    told = ("free", "warn", "remove_pages", "memunmap")
    assert {kind.label for kind in gone.timings} == set(told)
    assert gone.timings[Kind.FREE].total_ns == sum(plain.lasted(path, "free"))
    assert gone.timings[Kind.REMOVE_PAGES].total_ns == sum(plain.lasted(path, "remove_pages"))
    assert gone.timings[Kind.WARN].total_ns == sum(warns[128:])
    (operation,) = gone.operations
    assert (operation.kind, operation.comm, operation.sections) == (Kind.MEMUNMAP, "rmmod", 128)
    (extent,) = gone.extents
    assert (extent.populate, extent.free) == (0, 128)
    assert gone.pairing.never_populated == 128
    assert sum(gone.series.hits) == 128
    assert (gone.events, gone.verdict, gone.losses) == (whole.events, whole.verdict, whole.losses)
    come = tallied(table, Comm("insmod"), whole, Machine(window=window)).snapshot(whole)
    assert (come.populate, come.derived, come.free, come.warnings) == (128, 128, 0, 128)
    assert come.pairing.held_outside == 0  # all were freed, by a task that does not match
    assert come.warn_ns == sum(warns[:128])  # inside add_pages: the calls are derived
    assert set(come.timings) == {Kind.MEMREMAP, Kind.ADD_PAGES, Kind.WARN}
    populated = tallied(table, Populate(), whole, Machine(window=window)).snapshot(whole)
    # The filter lets no WARN and no operation through: they go with the calls.
    assert populated == come
    none = tallied(table, Comm("nobody"), whole, Machine(window=window)).snapshot(whole)
    assert (none.populate, none.free, none.warnings, none.operations_total) == (0, 0, 0, 0)
    assert (none.timings, none.extents, none.newest, none.sites) == ({}, (), (), ())


def test_sections_with_a_slow_call_inside(captures):
    path = captures / "6.12.117-vmemlab-48bit" / "in-range.ftrace.txt"
    rows, window = read(captures, "6.12.117-vmemlab-48bit", "in-range")
    table, whole = filled(rows, window)
    populated, sections = plain.lasted(path, "populate"), plain.lasted(path, "section_add")
    assert len(populated) == len(sections) == 16
    limit = sorted(populated)[11]
    slow = tallied(table, Longer(limit), whole, Machine(window=window)).snapshot(whole)
    inside = [each for each, lasted in zip(sections, populated, strict=True) if lasted > limit]
    assert slow.timings[Kind.SECTION_ADD].total_ns == sum(inside)
    assert slow.populate == len(inside) > 0
    assert slow.section_add_reason is None
    longest = max(*populated, *plain.lasted(path, "free"))
    none = tallied(table, Longer(longest), whole, Machine(window=window)).snapshot(whole)
    assert Kind.SECTION_ADD not in none.timings
    assert none.section_add_reason == "no sparse_add_section call matches"


@settings(deadline=None, max_examples=150)
@given(
    rows=traces.ROWS,
    let=FILTERS,
    block=st.sampled_from([1, 3, 8, 65_536]),
    at=st.lists(st.integers(0, 61), max_size=4),
)
def test_whatever_matches(rows, let, block, at):
    """And of it what begins before any position."""
    table, whole = filled(rows, LAB, (), block)
    tally = tallied(table, let, whole, Machine(window=LAB))
    matched = matching(table, let)
    compare(tally.snapshot(whole), matched)
    for row in [*at, len(rows)]:
        count = [span for span in matched if span.row < row]
        calls = [span for span in count if span.kind in (Kind.POPULATE, Kind.FREE)]
        assert tally.passed(row) == Passed(
            len(calls),
            sum(hit(span) for span in calls),
            sum(span.kind is Kind.WARN for span in count),
        )


class Shorter(Longer):
    """Those that did not take longer, or did not end so far: they may cease to match."""

    def mask(self, columns, table):
        return ~super().mask(columns, table)


@pytest.mark.parametrize("block", [3, 8])
@pytest.mark.parametrize("step", [1, 5])
@pytest.mark.parametrize("let", [Longer, Shorter])
def test_a_kernels_trace_that_grows_event_by_event(captures, let, step, block):
    """With the removal, and once more the add by another thread, before the add has ended."""
    path = captures / "6.12.117-vmemlab-48bit" / "in-range.ftrace.txt"
    rows, window = read(captures, "6.12.117-vmemlab-48bit", "in-range")
    limit = sorted(plain.lasted(path, "populate"))[8]
    end = [row["kind"] for row in rows].index("memunmap")
    again = [row | {"tid": 7} for row in rows[:end]]
    rows = [*rows[: end // 2], *rows[end:], *again, *rows[end // 2 : end]]
    for table, tally, whole in grown(rows, window, range(0, len(rows), step), let(limit), block):
        complete(tally, whole)
        fresh = tallied(table, let(limit), whole, Machine(window=window))
        assert tally.snapshot(whole) == fresh.snapshot(whole)


@settings(deadline=None, max_examples=100)
@given(
    data=st.data(),
    rows=traces.ROWS,
    let=st.sampled_from([Everything(), Comm("insmod"), Longer(1000), Shorter(1000)]),
    block=st.sampled_from([1, 2, 8]),
)
def test_a_table_that_grows(data, rows, let, block):
    """However far the counting had come each time."""
    cuts = data.draw(traces.cuts(len(rows)))
    steps = st.sampled_from([0, 1, 2, 5, 1000])
    for table, tally, whole in grown(rows, LAB, cuts, let, block):
        assert len(table) <= len(rows)
        tally.refresh(whole)
        for _ in range(data.draw(steps)):
            tally.advance()
    complete(tally, whole)
    fresh = tallied(table, let, whole, Machine(window=LAB))
    assert tally.snapshot(whole) == fresh.snapshot(whole)
    for row in range(0, len(rows) + 1, 7):
        assert tally.passed(row) == fresh.passed(row)


def grown(rows, window, cuts, let, block):
    """A table, a tally of it and the ledger's numbers, after each piece."""
    table = SpanTable(Blocks(DTYPES, LATE, block=block, most_late=3))
    filler, ledger = Filler(table), Ledger(window, None)
    matches = Matches(table, let)
    tally = Tally(matches, Machine(window=window))
    for first, last in pairwise([0, *cuts, len(rows)]):
        ledger.fold(plain.batch(rows[first:last]), filler)
        matches.update()
        yield table, tally, ledger.snapshot(final=last == len(rows))


def compare(snapshot, spans):
    """Every number that adds up, counted one by one."""
    kinds = Counter(span.kind for span in spans)
    assert (snapshot.populate, snapshot.free) == (kinds[Kind.POPULATE], kinds[Kind.FREE])
    assert snapshot.warnings == kinds[Kind.WARN]
    judged = [span for span in spans if span.regime is not None]
    calls = [span for span in judged if span.kind is not Kind.FAULT]
    failed = [span for span in judged if span.kind is Kind.FAULT]
    assert snapshot.faults_total == len(failed)
    assert [(f.row, f.regime, f.chain) for f in snapshot.faults] == [
        (span.row, span.regime, span.site) for span in failed
    ]
    regimes = Counter(span.regime for span in calls)
    for name in ("inside", "below", "above", "wrapped", "straddling", "unknown"):
        assert getattr(snapshot.regimes, name) == regimes[name]
    assert snapshot.silent == sum(span.silent for span in calls)
    lasted = defaultdict(list)
    for span in spans:
        if span.duration_ns is not None:
            lasted[span.kind].append(span.duration_ns)
    timed = snapshot.timings.items()
    assert {kind: (t.count, t.total_ns) for kind, t in timed if kind not in REQUESTS} == {
        kind: (len(times), sum(times)) for kind, times in lasted.items()
    }
    assert {s.site: (s.count, s.count - s.untimed) for s in snapshot.sites} == {
        site: (
            number,
            sum(s.site == site and s.end_row is not None for s in spans if s.kind is Kind.WARN),
        )
        for site, number in Counter(s.site for s in spans if s.kind is Kind.WARN).items()
    }
    operations = [span for span in spans if span.operation]
    assert snapshot.operations_total == len(operations)
    assert [(op.start_ns, op.sections, op.hits, op.warnings) for op in snapshot.operations] == [
        (
            op.ts_ns,
            sum(call.owner == op.position for call in calls),
            sum(call.owner == op.position and hit(call) for call in calls),
            sum(s.owner == op.position and s.kind is Kind.WARN for s in spans),
        )
        for op in operations
    ]
    assert [call.row for call in snapshot.newest] == [call.row for call in judged]
    assert sum(e.populate + e.free for e in snapshot.extents) == sum(map(hit, calls))
    assert sum(snapshot.series.hits if snapshot.series else ()) == sum(map(hit, calls))


def hit(span):
    return span.regime not in (None, "inside", "unknown")


def matching(table, let):
    """The spans that match, as the words of the module have it."""
    spans = table.spans(np.arange(len(table)))
    calls = {call.position for call in plainly(table, let)}
    around = set()
    for call in (spans[at] for at in calls):
        around.add(call.owner)
        above = call.parent
        while above is not None:
            around.add(above)
            above = spans[above].parent

    def matches(span):
        if span.kind in (Kind.POPULATE, Kind.FREE, Kind.FAULT):
            return span.position in calls
        if span.listed:
            return span.position in around
        if span.kind is Kind.WARN and span.parent is not None:
            above = spans[span.parent]
            if above.kind in (Kind.POPULATE, Kind.FREE):
                return above.position in calls
            if above.listed:
                return above.position in around
        if isinstance(let, Comm):
            return span.comm == let.name
        return not isinstance(let, Longer) or (span.duration_ns or 0) > let.ns

    return [span for span in spans if matches(span)]
