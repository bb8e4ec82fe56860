# SPDX-License-Identifier: GPL-2.0-only
"""The table compared with the kernels' own text, a reference implementation, and itself."""

import dataclasses
import itertools
import os
import threading
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.explore.blocks import Blocks
from recordings.explore.filler import CHAINS, Filler
from recordings.explore.span_table import DTYPES, LATE, NONE, SpanTable
from recordings.explore.texts import OTHER
from recordings.ledger.columns import CUT
from recordings.ledger.faults import CHAIN
from recordings.ledger.ledger import Ledger
from tests.recordings import made, oops, plain, traces
from tests.recordings.explore import told
from tests.recordings.ledger.test_ledger import SCENES, read
from tracers.events import Kind, Phase
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
    table, snapshot = filled(rows, window)
    compare_operations(table, snapshot)
    assert all(operation.duration_ns is not None for operation in snapshot.operations)


def compare_operations(table, snapshot):
    """The ledger's operations have no duration where the next began before their end."""
    spans = [span for span in table.spans(np.arange(len(table))) if span.operation]
    assert len(spans) == snapshot.operations_total
    for op, span in zip(snapshot.operations, spans[-200:], strict=True):
        assert (op.kind, op.start_ns, op.sections) == (span.kind, span.ts_ns, span.calls)
        assert (op.hits, op.warnings, op.warn_ns) == (span.hits, span.warns, span.warn_ns)
        assert op.duration_ns in (None, span.duration_ns)


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
        spans = plainly(table)
        assert spans == plainly(whole)
        children = defaultdict(list)
        for position, span in enumerate(spans):
            children[span["parent"]].append(position)
        for position in range(len(spans)):
            assert table.children(position).tolist() == children[position]


def test_operations_are_listed_from_the_first_wherever_blocks_begin(captures):
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    storms = [row | {"ts_ns": row["ts_ns"] + at * 10**9} for at in range(3) for row in rows]
    begins = [at for at, row in enumerate(storms)
              if row["kind"] in ("memremap", "memunmap") and row["phase"] == "entry"]  # fmt: skip
    for block in (16, 100, 65_536):
        table, _ = filled(storms, window, range(0, len(storms), 97), block)
        for most in (1, 4, 1000):
            assert table.operations(most).tolist() == begins[:most]


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


def test_readers_beside_the_writer(captures):
    """What is read is whole: a call has all of its end or nothing of it."""
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    whole, _ = filled(rows, window)
    told, wrong = plainly(whole), []
    table = SpanTable(Blocks(DTYPES, LATE, block=64, most_late=2))
    stop = threading.Event()

    def reader():
        while not stop.is_set():
            size = len(table)
            found = table.read(0, size, ("row", "end_row", "duration", "ts"))
            ended = found["end_row"] >= 0
            if len(ended) != size or (ended != (found["duration"] != NONE)).any():
                wrong.append("torn")
            if found["row"].tolist() != [span["row"] for span in told[:size]]:
                wrong.append("rows")

    readers = [threading.Thread(target=reader) for _ in range(2)]
    for thread in readers:
        thread.start()
    try:
        filler, ledger = Filler(table), Ledger(window, None)
        for first in range(0, len(rows), 9):
            ledger.fold(plain.batch(rows[first : first + 9]), filler)
    finally:
        stop.set()
        for thread in readers:
            thread.join()
    assert not wrong
    assert plainly(table) == told


def event(kind, phase, ts, tid=7, **more):
    return {"kind": kind, "phase": phase, "ts_ns": ts, "tid": tid, "source": "kprobe"} | more


def warn(ts, line):
    return event("warn", "entry", ts, site="mm/a.c", line=line)


@pytest.mark.parametrize("cut", [(), range(1, 12)])
def test_what_a_lost_exit_costs(cut):
    """A WARN whose call was left unseen: its time is nobody's but the operation's."""
    rows = [
        event("memremap", "entry", 0),
        event("populate", "entry", 10),
        warn(11, 1222),
        event("populate", "entry", 20),  # the exits of the first and of its WARN are lost
        event("warn", "exit", 25),
        warn(30, 1268),
        event("warn", "exit", 33),
        warn(35, 1222),
        event("warn", "exit", 36),
        event("populate", "exit", 40),
        event("memremap", "exit", 50),
    ]
    table, _ = filled(rows, LAB, [at for at in cut if at < len(rows)], 2, 1)
    remap, first, warning, second, *_ = table.spans(np.arange(len(table)))
    assert (remap.calls, remap.warns, remap.warn_ns) == (2, 3, 14 + 3 + 1)
    assert (first.duration_ns, first.warns, first.warn_ns) == (None, 1, 0)
    assert (warning.duration_ns, warning.parent) == (14, first.position)
    assert (second.duration_ns, second.warns, second.warn_ns) == (20, 2, 3 + 1)
    assert (first.site, second.site) == ("mm/a.c:1222", "mm/a.c:1268")  # each call's first


def test_a_call_whose_place_is_lost_is_its_operations():
    """An exit that belongs to nothing ends what is open; the ledger still knows the operation."""
    rows = [
        event("add_pages", "entry", 0),
        event("remove_pages", "exit", 5),
        event("populate", "entry", 10),
        event("populate", "exit", 11),
        event("add_pages", "exit", 20),
        event("populate", "entry", 30),
    ]
    table, _ = filled(rows, LAB)
    assert [span.parent for span in table.spans(np.arange(3))] == [None, 0, None]
    assert table.span(0).calls == 1


def test_threads_in_calls_are_bounded():
    """As in the ledger, the oldest are given up at every 65,536th event."""
    table, size = SpanTable(), 65_536
    filler, ledger = Filler(table), Ledger(LAB, None)
    tids = np.arange(1, size + 1, dtype=np.uint32)
    ledger.fold(made.events(size, Kind.SECTION_ADD, Phase.ENTRY, tid=tids), filler)
    ledger.fold(made.events(2, Kind.POPULATE, Phase.ENTRY, tid=tids[[0, -1]]), filler)
    assert [span.parent for span in table.spans(np.array([size, size + 1]))] == [None, size - 1]


def test_half_of_the_free_room(captures, monkeypatch):
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    room = SimpleNamespace(f_bavail=4, f_frsize=4096)
    monkeypatch.setattr(os, "fstatvfs", lambda _: room)
    table, _ = filled(rows, window, range(50, len(rows), 50), 64)
    assert 64 < len(table) < 516
    assert len(table) + table.beyond == 516
    assert table.columns.size <= 8192


def test_chains_of_oopses_are_bounded():
    """A forged file has as many as it likes, as long as it likes."""
    long = "x" * (CHAIN + 9)
    rows = [oops.fault(at, site=f"{at} <- {long}") for at in range(CHAINS + 20)]
    table, _ = filled(rows, LAB, [7, 900])
    sites = [span.site for span in table.spans(np.arange(len(table)))]
    assert sites[:CHAINS] == [f"{at} <- {long}"[:CHAIN] + CUT for at in range(CHAINS)]
    assert set(sites[CHAINS:]) == {OTHER}
    assert table.sites == ()
