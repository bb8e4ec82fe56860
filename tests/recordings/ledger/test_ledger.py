# SPDX-License-Identifier: GPL-2.0-only
"""The ledger compared with the kernels' own text, a reference implementation, and itself."""

import itertools
from dataclasses import asdict, replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.capture.importing import import_log
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Verdict
from recordings.ledger.whole import fold
from tests.recordings import oracle, plain, traces
from tracers.batch import Losses
from tracers.events import Kind
from tracers.layout import layout_for
from tracers.window import Window

LAB = Window(start=traces.WINDOW[0], end=traces.WINDOW[1])
SCENES = [
    ("6.1.192-vmemlab-39bit", "hole"),
    ("6.1.192-vmemlab-39bit", "below"),
    ("6.1.192-vmemlab-39bit", "in-range"),
    ("6.1.192-vmemlab-once-39bit", "hole"),
    ("6.1.192-vmemlab-once-39bit", "subsection"),
    ("6.12.117-vmemlab-48bit", "in-range"),
    ("6.12.117-vmemlab-48bit", "below"),
]


def read(captures, kernel, scene):
    """Rows of a capture, read the plain way, and its window from the kernel's own note."""
    note = plain.read_note(captures / kernel / "kcore-vmcoreinfo")
    rows = plain.read_trace(captures / kernel / f"{scene}.ftrace.txt")
    if all(row["kind"] != "populate" for row in rows):
        rows = plain.derived(rows, note)
    return rows, Window(start=note.start, end=note.end)


def folded(rows, window, cuts=(), **losses):
    """Fold rows cut at ``cuts``."""
    ledger = Ledger(window, layout_for(window) if window else None)
    places = [0, *cuts, len(rows)]
    for first, last in itertools.pairwise(places):
        ledger.fold(plain.batch(rows[first:last]))
    ledger.add_losses(Losses(**losses))
    return ledger


def compare(snapshot, told):
    """Every number of a snapshot with the plain re-telling of the same rows."""
    said = told["said"]
    regimes = {name: said[name] for name in ("inside", "below", "above", "wrapped", "straddling")}
    assert {name: getattr(snapshot.regimes, name) for name in regimes} == regimes
    assert snapshot.regimes.unknown == said["unknown"]
    assert {n: v for n, v in asdict(snapshot.fault_regimes).items() if v} == told["faults"]
    assert len(snapshot.faults) == min(snapshot.faults_total, 100)
    assert (snapshot.populate, snapshot.free) == (said["populate"], said["free"])
    assert (snapshot.derived, snapshot.would_warn) == (said["derived"], said["would_warn"])
    assert snapshot.warnings == said["warnings"]
    assert snapshot.orphan_exits == said["orphans"]
    assert snapshot.sections == told["ranges"]
    sites = {
        site.site: [site.count, site.total_ns, site.count - site.untimed] for site in snapshot.sites
    }
    assert sites == told["sites"]
    assert snapshot.warn_ns == sum(told["durations"]["warn"])
    pairing = told["pairing"]
    assert snapshot.pairing.paired == pairing["paired"]
    assert snapshot.pairing.never_freed == pairing["never_freed"]
    assert snapshot.pairing.never_populated == pairing["never_populated"]
    assert snapshot.pairing.populated_twice == pairing["twice"]
    timed = {kind: sorted(values) for kind, values in told["durations"].items() if values}
    assert {kind.label for kind in snapshot.timings} == set(timed)
    for kind, timing in snapshot.timings.items():
        values = timed[kind.label]
        assert (timing.count, timing.total_ns) == (len(values), sum(values))
        assert (timing.min_ns, timing.max_ns) == (values[0], values[-1])
        median = values[(len(values) + 1) // 2 - 1]
        assert abs(timing.p50_ns - median) <= timing.error * median
        assert sum(count for _, _, count in timing.bins) == len(values)
    assert snapshot.operations_total == len(told["operations"])
    assert [as_dict(operation) for operation in snapshot.operations] == [
        {key: value for key, value in operation.items() if key != "row"}
        for operation in told["operations"][-200:]
    ]
    newest = [
        (call.row, call.kind.label, call.regime, call.duration_ns) for call in snapshot.newest
    ]
    assert newest == [
        (call["row"], call["kind"], call["regime"], call["duration"])
        for call in told["calls"][-500:]
    ]
    assert snapshot.unfinished_total == len(told["unfinished"])
    assert [(u.kind.label, u.ts_ns, u.tid, u.comm) for u in snapshot.unfinished] == [
        (u["kind"], u["ts"], u["tid"], u["comm"]) for u in told["unfinished"][-100:]
    ]


def as_dict(operation):
    known = operation.pfn is not None
    return {
        "kind": operation.kind.label, "pid": operation.pid, "tid": operation.tid,
        "comm": operation.comm, "start": operation.start_ns, "duration": operation.duration_ns,
        "low": operation.pfn if known else 2**64 - 1,
        "high": operation.pfn + operation.nr_pages if known else 0,
        "sections": operation.sections, "derived": operation.derived, "hits": operation.hits,
        "warnings": operation.warnings, "warn_ns": operation.warn_ns,
    }  # fmt: skip


@pytest.mark.parametrize(("kernel", "scene"), SCENES)
def test_tells_what_the_kernels_text_says(captures, kernel, scene):
    rows, window = read(captures, kernel, scene)
    snapshot = folded(rows, window).snapshot(final=True)
    compare(snapshot, oracle.tell(rows, (window.start, window.end)))
    assert snapshot.events == len(rows)
    assert snapshot.first_ns == rows[0]["ts_ns"]
    assert snapshot.last_ns == rows[-1]["ts_ns"]


def test_the_storm(captures):
    """The figures that people quote, from kernel-facts.md §6 and the issue."""
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    storm = folded(rows, window).snapshot(final=True)
    assert (storm.populate, storm.free, storm.derived) == (128, 128, 128)
    assert (storm.regimes.above, storm.hits, storm.warnings, storm.would_warn) == (256,) * 4
    assert {(site.site, site.count) for site in storm.sites} == {
        ("arch/arm64/mm/mmu.c:1222", 128),
        ("arch/arm64/mm/mmu.c:1268", 128),
    }
    assert round(storm.warn_ns / 1e6, 1) == 119.9
    assert round(storm.timings[Kind.ADD_PAGES].total_ns / 1e6, 1) == 57.2
    assert round(storm.timings[Kind.FREE].total_ns / 1e6, 1) == 79.6
    assert storm.section_add_reason is not None
    assert storm.verdict is Verdict.OUT_OF_RANGE
    assert [extent.populate + extent.free for extent in storm.extents] == [256]
    rows, window = read(captures, "6.1.192-vmemlab-once-39bit", "hole")
    once = folded(rows, window).snapshot(final=True)
    assert (once.hits, once.warnings, once.suppressed) == (256, 2, 254)
    assert (storm.suppressed, replace(once, losses=Losses(lost=1)).suppressed) == (0, 0)
    assert replace(once, warnings=0).suppressed == 0
    assert round(once.timings[Kind.FREE].total_ns / 1e6, 2) == 4.04


def test_in_range_is_clean(captures):
    rows, window = read(captures, "6.12.117-vmemlab-48bit", "in-range")
    snapshot = folded(rows, window).snapshot(final=True)
    assert (snapshot.populate, snapshot.free, snapshot.hits, snapshot.derived) == (16, 16, 0, 0)
    timing = snapshot.timings[Kind.SECTION_ADD]
    assert (timing.count, timing.total_ns) == (16, 1_352_000)
    assert snapshot.section_add_reason is None
    assert snapshot.verdict is Verdict.CLEAN


def test_below_depends_on_kaslr(captures):
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "below")
    assert folded(rows, window).snapshot(final=True).regimes.below == 2
    rows, window = read(captures, "6.12.117-vmemlab-48bit", "below")
    assert folded(rows, window).snapshot(final=True).hits == 0


@settings(max_examples=150, deadline=None)
@given(rows=traces.ROWS, known=st.booleans())
def test_any_trace_as_retold(rows, known):
    snapshot = folded(rows, LAB if known else None).snapshot(final=True)
    compare(snapshot, oracle.tell(rows, traces.WINDOW if known else None))


@settings(max_examples=150, deadline=None)
@given(rows=traces.ROWS, data=st.data(), final=st.booleans())
def test_any_cut_gives_the_same(rows, data, final):
    cuts = data.draw(traces.cuts(len(rows)))
    whole = folded(rows, LAB).snapshot(final=final)
    assert folded(rows, LAB, cuts).snapshot(final=final) == whole


@pytest.mark.parametrize(("kernel", "scene"), SCENES)
def test_any_cut_of_a_capture_gives_the_same(captures, kernel, scene):
    rows, window = read(captures, kernel, scene)
    whole = folded(rows, window).snapshot()

    @settings(max_examples=15, deadline=None)
    @given(data=st.data())
    def check(data):
        assert folded(rows, window, data.draw(traces.cuts(len(rows)))).snapshot() == whole

    check()
    every = range(1, min(len(rows), 120))
    assert folded(rows, window, every).snapshot() == whole


def test_more_rows_than_a_chunk(captures):
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    events = plain.batch(rows).events
    many = pa.Table.from_batches([events] * 80).combine_chunks().to_batches()[0]
    assert many.num_rows > 65_536
    whole, parts = (Ledger(window, None) for _ in range(2))
    whole.fold(many)
    for first in range(0, many.num_rows, 10_007):
        parts.fold(many.slice(first, 10_007))
    snapshot = whole.snapshot()
    assert snapshot == parts.snapshot()
    assert snapshot.populate == snapshot.free == 80 * 128
    assert snapshot.operations_total == 160
    assert snapshot.sections == 128


def test_names_count_not_their_places(captures):
    """Another writer's dictionary order and index width change nothing."""
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "below")
    events = plain.batch(rows).events
    ours = Ledger(window, None)
    ours.fold(events)
    for name in ("kind", "phase", "source"):
        place = events.schema.get_field_index(name)
        names = events.column(name).to_pylist()
        order = [*sorted(set(names), reverse=True), "of_a_newer_version"]
        indices = pa.array([order.index(n) for n in names], pa.int32())
        foreign = pa.DictionaryArray.from_arrays(indices, pa.array(order))
        events = events.set_column(place, name, foreign)
    theirs = Ledger(window, None)
    theirs.fold(events)
    assert theirs.snapshot() == ours.snapshot()


def test_two_threads_adding_at_once_stay_apart():
    def row(ts, tid, kind, phase, **more):
        who = {"ts_ns": ts, "tid": tid, "cpu": tid, "source": "kprobe"}
        return who | {"kind": kind, "phase": phase} | more

    out = {"start": 0xFFFF_FFFF_4000_0000, "end": 0xFFFF_FFFF_4020_0000}
    within = {"start": traces.WINDOW[0], "end": traces.WINDOW[0] + 0x20_0000}
    rows = [
        row(1, 1, "add_pages", "entry", pfn=0x100, nr_pages=16),
        row(2, 2, "add_pages", "entry", pfn=0x900, nr_pages=8),
        row(3, 1, "populate", "entry", **out),
        row(4, 2, "populate", "entry", **within),
        row(5, 1, "warn", "entry", site="a.c", line=1),
        row(6, 2, "populate", "exit"),
        row(7, 1, "warn", "exit"),
        row(8, 1, "populate", "exit"),
        row(9, 2, "add_pages", "exit"),
        row(11, 1, "add_pages", "exit"),
    ]
    first, second = folded(rows, LAB).snapshot().operations
    assert (first.tid, first.hits, first.warnings, first.warn_ns, first.duration_ns) == (
        1,
        1,
        1,
        2,
        10,
    )
    assert (second.tid, second.hits, second.warnings, second.duration_ns) == (2, 0, 0, 7)
    assert (first.pfn, first.nr_pages, second.pfn, second.nr_pages) == (0x100, 16, 0x900, 8)
    assert first.warn_share == pytest.approx(0.2)


def test_losses_are_never_clean(captures):
    rows, window = read(captures, "6.12.117-vmemlab-48bit", "in-range")
    for name in ("lost", "lost_unknown", "torn", "rejected"):
        snapshot = folded(rows, window, **{name: 1}).snapshot(final=True)
        assert snapshot.verdict is Verdict.INCONCLUSIVE
        ledger = Ledger(window, None)
        ledger.fold(plain.batch(rows, **{name: 1}))
        assert ledger.snapshot(final=True).verdict is Verdict.INCONCLUSIVE


def test_a_failed_add_pages_leaves_populate_unknown(captures):
    """The loop stops at the first error; which section that was, only populate could tell."""
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "in-range")
    assert folded(rows, window).snapshot(final=True).verdict is Verdict.CLEAN
    for result in ({"ret": -12}, {"ret": None}):
        failed = [
            row | result if (row["kind"], row["phase"]) == ("add_pages", "exit") else row
            for row in rows
        ]
        assert folded(failed, window).snapshot(final=True).verdict is Verdict.INCONCLUSIVE


def test_through_the_importer(captures, tmp_path):
    """The whole way: text, events, file, ledger; the figures of the issue."""
    for kernel, scene in SCENES:
        rows, _ = read(captures, kernel, scene)
        out = tmp_path / f"{kernel}-{scene}.arrows"
        import_log(captures / kernel / f"{scene}.ftrace.txt", out, machine_dir=captures / kernel)
        with open_recording(out) as recording:
            snapshot = fold(recording)
        window = recording.header.machine.window
        told = oracle.tell(rows, (window.start, window.end))["said"]
        assert (snapshot.populate, snapshot.free, snapshot.derived, snapshot.hits) == (
            told["populate"], told["free"], told["derived"], told["above"] + told["below"],
        )  # fmt: skip
        assert snapshot.warnings == told["warnings"]
        assert snapshot.warn_ns == sum(oracle.tell(rows, None)["durations"]["warn"])


def test_no_events():
    snapshot = Ledger(LAB, None).snapshot(final=True)
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert (snapshot.events, snapshot.first_ns, snapshot.series) == (0, None, None)


def test_names_no_utf8_can_hold_are_kept():
    events = plain.batch(
        [{"ts_ns": 1, "kind": "memremap", "phase": "entry", "tid": 1, "source": "kprobe"}]
    ).events
    bad = pa.Array.from_buffers(
        pa.utf8(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    ledger = Ledger(LAB, None)
    ledger.fold(events.set_column(events.schema.get_field_index("comm"), "comm", bad))
    assert ledger.snapshot().operations[0].comm == "\udcff\udcfe"
