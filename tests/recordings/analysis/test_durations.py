# SPDX-License-Identifier: GPL-2.0-only
"""Durations of single calls, compared with a row-by-row reference, for any trace and any cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis.durations import BY_ADDRESS, BY_PFN, Collector, durations
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.columns import CHUNK
from recordings.ledger.spans import OPEN
from tests.recordings import made, oracle, plain
from tests.recordings.traces import ROWS, WINDOW, cuts
from tracers.events import Kind, Phase, Source
from tracers.machine import Machine
from tracers.window import Window

LAB = Window(*WINDOW, va_bits=39, page_size=4096, struct_page=64, memstart=0x4000_0000)


@given(st.data(), ROWS)
def test_durations_are_those_of_the_rules(tmp_path_factory, data, rows):
    path = tmp_path_factory.mktemp("made") / "x.arrows"
    places = data.draw(cuts(len(rows)))
    pieces = [rows[a:b] for a, b in zip(places, [*places[1:], len(rows)], strict=True)]
    made.record(path, map(plain.batch, pieces), Header(machine=Machine(window=LAB)))
    with open_recording(path) as recording:
        found = durations(recording)
    told = oracle.tell(rows, WINDOW)["durations"]
    for kind in (*BY_PFN, *BY_ADDRESS):
        assert sorted(found.of(kind).tolist()) == sorted(told[kind.label])
        entries = [r for r in rows if r["kind"] == kind.label and r["phase"] in ("entry", "point")]
        calls = found.calls.get(kind)
        assert (0 if calls is None else len(calls)) == len(entries)
        if calls is not None:
            assert (calls.row[1:] > calls.row[:-1]).all()


def test_pages_of_the_captures(captures, traced):
    """Pfns of vmemmap_free's addresses, by memstart_addr of that kernel's note."""
    folder = captures / "6.1.192-vmemlab-39bit"
    note = plain.read_note(folder / "kcore-vmcoreinfo")
    base = note.start - note.memstart // 4096 * note.struct_page
    rows = plain.read_trace(folder / "hole.ftrace.txt")
    frees = [row for row in rows if row["kind"] == "free" and row["phase"] == "entry"]
    with open_recording(traced / "storm.arrows") as recording:
        found = durations(recording)
    calls = found.calls[Kind.FREE]
    expected = [(row["start"] - base) % 2**64 // note.struct_page for row in frees]
    assert calls.pfn.tolist() == expected
    assert calls.known.all()
    assert found.sources[Kind.FREE] == {Source.KPROBE}
    assert found.sources[Kind.POPULATE] == {Source.DERIVED}
    assert not len(found.of(Kind.POPULATE))
    (add,) = [row for row in rows if row["kind"] == "add_pages" and row["phase"] == "entry"]
    told = found.calls[Kind.ADD_PAGES]
    assert (told.pfn.tolist(), told.nr_pages.tolist()) == ([add["pfn"]], [add["nr_pages"]])


@pytest.mark.parametrize("window", [None, Window(*WINDOW)])
def test_without_memstart_no_pfn_is_known(tmp_path, window):
    row = {"ts_ns": 1, "kind": "free", "phase": "entry", "source": "kprobe", "tid": 1,
           "start": WINDOW[0], "end": WINDOW[1]}  # fmt: skip
    made.record(tmp_path / "x", [plain.batch([row])], Header(machine=Machine(window=window)))
    with open_recording(tmp_path / "x") as recording:
        assert not durations(recording).calls[Kind.FREE].known.any()


@given(st.data(), ROWS, st.integers(0, 12))
def test_beyond_the_budget_the_first_calls_are_as_they_were(data, rows, budget):
    kinds = frozenset((*BY_PFN, *BY_ADDRESS))
    every, some = Collector(LAB, kinds), Collector(LAB, kinds, budget=budget)
    every.fold(plain.batch(rows).events)
    places = data.draw(cuts(len(rows)))
    for first, end in zip(places, [*places[1:], len(rows)], strict=True):
        some.fold(plain.batch(rows[first:end]).events)
    true, found = every.result(), some.result()
    entries = sorted(row for calls in true.calls.values() for row in calls.row.tolist())
    assert (
        sorted(row for calls in found.calls.values() for row in calls.row.tolist())
        == (entries[:budget])
    )
    assert found.beyond == max(0, len(entries) - budget)
    assert found.sources == true.sources
    for kind, calls in found.calls.items():
        first = true.calls[kind].pick(slice(len(calls)))
        assert list(calls.values()) == list(first.values())


def test_calls_that_never_end_are_given_up_as_in_the_ledger():
    count = 2 * CHUNK
    tids = np.arange(1, count + 1, dtype=np.uint32)
    found = Collector(LAB, frozenset([Kind.FREE]))
    for phase in (Phase.ENTRY, Phase.EXIT):
        found.fold(made.events(count, Kind.FREE, phase, tid=tids))
    told = found.result().calls[Kind.FREE]
    assert np.flatnonzero(told.ended).tolist() == list(range(count - OPEN, count))
