# SPDX-License-Identifier: GPL-2.0-only
"""The table compared with the kernels' own text, a reference implementation, and itself."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.explore.blocks import Blocks
from recordings.explore.filler import Filler
from recordings.explore.span_table import DTYPES, LATE, SpanTable
from recordings.ledger.ledger import Ledger
from tests.recordings import plain, traces
from tests.recordings.explore import told
from tests.recordings.ledger.test_ledger import SCENES, read
from tracers.events import Kind
from tracers.window import Window

LAB = Window(start=traces.WINDOW[0], end=traces.WINDOW[1])


def filled(rows, window, cuts=(), block=65_536, most_late=16_384):
    """A table of rows cut at ``cuts``, and the ledger that filled it."""
    table = SpanTable(Blocks(DTYPES, LATE, block=block, most_late=most_late))
    filler, ledger = Filler(table), Ledger(window, None)
    for first, last in itertools.pairwise([0, *cuts, len(rows)]):
        ledger.fold(plain.batch(rows[first:last]), filler)
    return table, ledger.snapshot(final=True)


def plainly(table):
    """All spans as the reference tells them."""
    spans = []
    for span in table.spans(np.arange(len(table))):
        values = dataclasses.asdict(span)
        del values["position"], values["silent"]
        spans.append(values | {"kind": span.kind.label, "source": span.source.label})
    return spans


@pytest.mark.parametrize(("kernel", "scene"), SCENES)
def test_has_every_call_of_the_kernels_text(captures, kernel, scene):
    rows, window = read(captures, kernel, scene)
    table, _ = filled(rows, window)
    assert plainly(table) == told.tell(rows, (window.start, window.end))


def test_the_storm_as_a_tree(captures):
    """In memremap add_pages, in that 128 WARNs; in memunmap remove_pages, 128 free, a WARN each."""
    path = captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    table, _ = filled(rows, window)
    (remap,) = plain.lasted(path, "memremap")
    (add,) = plain.lasted(path, "add_pages")
    spans = table.spans(np.arange(len(table)))
    tops = [span for span in spans if span.parent is None]
    assert [(top.kind, top.duration_ns) for top in tops] == [
        (Kind.MEMREMAP, remap),
        (Kind.MEMUNMAP, plain.lasted(path, "memunmap")[0]),
    ]
    (adding,) = table.spans(table.children(tops[0].position))
    assert (adding.kind, adding.duration_ns, adding.ret) == (Kind.ADD_PAGES, add, 0)
    inside = table.spans(table.children(adding.position))
    assert [span.kind for span in inside].count(Kind.POPULATE) == 128  # derived: one moment each
    warns = plain.lasted(path, "warn")
    assert [span.duration_ns for span in inside if span.kind is Kind.WARN] == warns[:128]
    assert (adding.calls, adding.hits, adding.warns, adding.warn_ns) == (
        128, 128, 128, sum(warns[:128]),
    )  # fmt: skip
    (removing,) = table.spans(table.children(tops[1].position))
    frees = table.spans(table.children(removing.position))
    assert [free.duration_ns for free in frees] == plain.lasted(path, "free")
    assert [free.warn_ns for free in frees] == warns[128:]
    assert {free.site for free in frees} == {"arch/arm64/mm/mmu.c:1268"}
    assert [table.span(int(table.children(free.position)[0])).kind for free in frees] == (
        [Kind.WARN] * 128
    )


@pytest.mark.parametrize(("kernel", "scene"), SCENES)
def test_operations_have_the_ledgers_numbers(captures, kernel, scene):
    rows, window = read(captures, kernel, scene)
    compare_operations(*filled(rows, window))


def compare_operations(table, snapshot):
    spans = [span for span in table.spans(np.arange(len(table))) if span.operation]
    assert len(spans) == snapshot.operations_total
    assert [
        (op.kind, op.start_ns, op.duration_ns, op.sections, op.hits, op.warnings, op.warn_ns)
        for op in snapshot.operations
    ] == [
        (s.kind, s.ts_ns, s.duration_ns, s.calls, s.hits, s.warns, s.warn_ns)
        for s in spans[-200:]
    ]  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(rows=traces.ROWS, data=st.data())
def test_whatever_the_rows_and_the_cuts(rows, data):
    """Lost exits, orphans, points, derived calls, threads and CPUs that take turns."""
    for row in rows:  # no column holds a time in WARN beyond 2^64
        row["ts_ns"] %= 2**48
    cuts = data.draw(traces.cuts(len(rows)))
    block = data.draw(st.sampled_from([1, 2, 7, 65_536]))
    late = data.draw(st.sampled_from([1, 3, 16_384]))
    table, snapshot = filled(rows, LAB, cuts, block, late)
    assert plainly(table) == told.tell(rows, traces.WINDOW)
    compare_operations(table, snapshot)
    spans = table.spans(np.arange(len(table)))
    for span in spans:
        assert table.children(span.position).tolist() == [
            other.position for other in spans if other.parent == span.position
        ]
    begins = [span.row for span in spans]
    for row in range(len(rows) + 1):
        assert table.before(row) == sum(begin < row for begin in begins)
        found = table.position_of(row)
        assert (None if row not in begins else begins.index(row)) == found


def test_a_storm_over_many_blocks_and_batches(captures):
    """The same table wherever it was cut, with calls open over many blocks."""
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    whole, _ = filled(rows, window)
    for block, late in ((16, 4), (100, 1), (516, 4)):
        table, _ = filled(rows, window, range(0, len(rows), 7), block, late)
        assert table.blocks == -(-len(whole) // block)
        assert plainly(table) == plainly(whole)


def test_positions_out_of_range():
    table, _ = filled([], LAB)
    assert (len(table), table.blocks, table.before(9), table.position_of(0)) == (0, 0, 0, None)
    for position in (-1, 0):
        with pytest.raises(IndexError):
            table.span(position)
        with pytest.raises(IndexError):
            table.children(position)


def test_what_has_no_room_is_counted(captures):
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    whole, _ = filled(rows, window)
    table = SpanTable(Blocks(DTYPES, LATE, block=64, cap=4096))
    filler, ledger = Filler(table), Ledger(window, None)
    for first in range(0, len(rows), 50):
        ledger.fold(plain.batch(rows[first : first + 50]), filler)
    assert 64 < len(table) < len(whole)
    assert len(table) + table.beyond == len(whole)
    # What is listed is right, with what came later in it; what is not, is nobody's parent.
    assert plainly(table) == plainly(whole)[: len(table)]
    assert ledger.snapshot().warnings == 256
