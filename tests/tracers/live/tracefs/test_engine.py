# SPDX-License-Identifier: GPL-2.0-only
"""The engine over recorded pages: order, losses, filters, and rejected probes.

The instance is a stand-in that hands out pages of booted kernels; the real one is tested in the
lab.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.tracers.live import recorded
from tests.tracers.live.standins import RELEASE, Hits, Recorded
from tracers.batch import Batch
from tracers.events import Kind, Phase
from tracers.live.probes.engine import AttachError, LiveError
from tracers.live.probes.points import Filters, Probe, ProbeAddress, Rung
from tracers.live.records import KNOWN_ARGS, KNOWN_PID, RAW
from tracers.live.tracefs import cleanup
from tracers.live.tracefs import engine as module
from tracers.live.tracefs.breakpoints import Mark
from tracers.live.tracefs.engine import TracefsEngine

OURS = ((0xFFFFFFC0086B236C, 0xFFFFFFC0086B2530), (0xFFFFFFC008028690, 0xFFFFFFC008028700))
RANGE = (("start", 0), ("end", 1))
PROBES = {
    "free": Probe(Kind.FREE, Rung.KPROBE, "vmemmap_free", (ProbeAddress("f", 0, 1),), (), RANGE),
    "warn": Probe(
        Kind.WARN,
        Rung.KPROBE,
        "__warn",
        (ProbeAddress("__warn", 0, 2),),
        (),
        (("site", 0), ("line", 1), ("caller", 2)),
    ),
    "add_pages": Probe(
        Kind.ADD_PAGES,
        Rung.KPROBE,
        "__add_pages",
        (ProbeAddress("__add_pages", 0, 3),),
        (),
        (("nid", 0), ("pfn", 1), ("nr_pages", 2)),
        "int",
    ),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sys/kernel/tracing/instances").mkdir(parents=True)
    (tmp_path / "sys/kernel/tracing/kprobe_events").write_text("")
    (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/online").write_text("0-1,3\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    monkeypatch.setattr(module, "Instance", Recorded)
    monkeypatch.setattr(module, "Breakpoints", Hits)
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    return tmp_path


def started(root: Path, filters: Filters = Filters(), ours: object = OURS) -> TracefsEngine:  # noqa: B008
    engine = TracefsEngine(root, filters=filters, ours=ours)
    for probe in PROBES.values():
        assert engine.attach(probe) is None
    engine.start()
    engine._began = 1  # ns: the recording is from before
    return engine


def rows_of(batch: Batch | None) -> list[dict]:
    assert batch is not None
    return batch.events.to_pylist()


def test_rows_are_what_the_kernel_printed(root: Path) -> None:
    engine = started(root)
    rows = rows_of(engine.poll(0))
    lines = [
        line
        for line in recorded.lines(RELEASE, "plain")
        if line.kind in {Kind.FREE, Kind.WARN, Kind.ADD_PAGES}
    ]
    assert [(r["kind"], r["tid"], r["comm"]) for r in rows] == [
        (line.kind.label, line.tid, line.comm) for line in lines if line.kind
    ]
    entries = [line for line in lines if line.event == "vmemmap_free"]
    assert [
        (r["start"], r["end"]) for r in rows if r["kind"] == "free" and r["phase"] == "entry"
    ] == [(int(line.arguments["a0"]), int(line.arguments["a1"])) for line in entries]
    warns = [r for r in rows if r["kind"] == "warn" and r["phase"] == "entry"]
    assert {(r["site"], r["line"]) for r in warns} == {
        ("arch/arm64/mm/mmu.c", 1222),
        ("arch/arm64/mm/mmu.c", 1268),
    }
    counts = engine.counts()
    assert (counts.warns, counts.other_warns) == (32, 0)
    assert (counts.reported, counts.other_reported) == (32, 0)


def test_others_warns_are_counted_and_no_rows(root: Path) -> None:
    engine = started(root, ours=OURS[:1])  # populate's only: adding warns, removing does not
    rows = rows_of(engine.poll(0))
    lines = recorded.lines(RELEASE, "plain")
    ours = [line for line in lines if line.event == "warn" and line.arguments["a1"] == "1222"]
    warns = [r for r in rows if r["kind"] == "warn"]
    assert [r["phase"] for r in warns] == ["entry", "exit"] * len(ours)
    assert {r["tid"] for r in warns} == {line.tid for line in ours}
    counts = engine.counts()
    assert (counts.warns, counts.other_warns) == (16, 16)
    assert (counts.reported, counts.other_reported) == (16, 16)


def test_calls_inside_the_window_are_dropped_whole(root: Path) -> None:
    frees = [
        int(line.arguments["a0"])
        for line in recorded.lines(RELEASE, "plain")
        if line.event == "vmemmap_free"
    ]
    inside = (frees[0], frees[4])  # the first four
    engine = started(root, Filters(window=inside))
    rows = [r for r in rows_of(engine.poll(0)) if r["kind"] == "free"]
    assert [r["start"] for r in rows if r["phase"] == "entry"] == frees[4:]
    assert [r["phase"] for r in rows] == ["entry", "exit"] * (len(frees) - 4)


def test_a_range_that_wraps_is_not_inside(root: Path) -> None:
    engine = TracefsEngine(root, filters=Filters(window=(0x1000, 0x9000)))
    engine.attach(replace(POPULATE, exits=(), timed=False))
    engine.start()
    engine._began, engine._instance.portions = 1, []
    ranges = [(0x1000, 0x9000), (0xFFF, 0x2000), (0x8000, 0x9001), (0x8000, 0x10)]
    hits = np.concatenate([hit(0, 10 + n, 7, phase=3) for n in range(len(ranges))])
    hits["args"][:, :2] = ranges
    engine._breakpoints.records = hits
    assert [(r["start"], r["end"]) for r in rows_of(engine.poll(0))] == ranges[1:]


def test_what_is_newer_than_the_drain_waits(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = started(root)
    lines = recorded.lines(RELEASE, "plain")
    half = lines[len(lines) // 2]
    monkeypatch.setattr(module.time, "clock_gettime_ns", lambda _: half.us * 1000)
    first = rows_of(engine.poll(0))
    monkeypatch.setattr(module.time, "clock_gettime_ns", lambda _: lines[-1].us * 1000 + 10**6)
    second = rows_of(engine.poll(10))  # does not wait: something is there
    assert first
    assert second
    assert max(r["ts_ns"] for r in first) <= half.us * 1000 < min(r["ts_ns"] for r in second)
    assert len(first) + len(second) == sum(
        line.kind in {Kind.FREE, Kind.WARN, Kind.ADD_PAGES} for line in lines
    )


def hit(probe: int, ts: int, tid: int, phase: int = 1) -> np.ndarray:
    record = np.zeros(1, RAW)
    record["ts_ns"], record["probe"], record["phase"], record["tid"] = ts, probe, phase, tid
    record["known"], record["pid"], record["site"] = KNOWN_ARGS | KNOWN_PID, tid, -1
    return record


POPULATE = Probe(
    Kind.POPULATE,
    Rung.BREAKPOINT,
    "vmemmap_populate",
    (ProbeAddress("vmemmap_populate", 0, 0x1000),),
    (ProbeAddress("__populate_section_memmap", 68, 0x2000),),
    RANGE,
    "int",
)


def test_breakpoint_hits_stand_between_kprobe_events_of_their_thread(root: Path) -> None:
    engine = TracefsEngine(root, ours=OURS)
    for probe in [*PROBES.values(), POPULATE]:
        engine.attach(probe)
    engine.start()
    engine._began = 0
    lines = recorded.lines(RELEASE, "plain")
    line = next(line for line in lines if line.event == "warn")
    engine._breakpoints.records = np.concatenate(
        [hit(3, line.us * 1000 - 2000, line.tid), hit(3, line.us * 1000 - 3000, 999_999_999)]
    )
    rows = rows_of(engine.poll(0))
    assert [r["ts_ns"] for r in rows] == sorted(r["ts_ns"] for r in rows)
    mine = {r["tid"]: r for r in rows if r["kind"] == "populate"}
    assert mine[line.tid]["source"] == "breakpoint"
    assert mine[line.tid]["comm"] == line.comm  # from the thread's kprobe events
    assert mine[line.tid]["pid"] == line.tid
    assert mine[999_999_999]["comm"] is None  # nobody can say


def test_the_group_of_a_thread_that_is_gone_is_not_guessed(root: Path) -> None:
    engine = started(root)
    rows = rows_of(engine.poll(0))
    assert {r["pid"] for r in rows} == {None}


def test_ring_losses_are_the_kernels_number(root: Path) -> None:
    engine = started(root)
    engine._instance.portions = [("lost", 0), ("lost", 1)]
    engine._instance.lost = {0: recorded.overrun(RELEASE, "lost", 0)}
    batches = [engine.poll(0), engine.poll(0)]
    assert [batch.losses.lost for batch in batches if batch] == [525, 0]
    assert engine.counts().lost == {(module.ANY, 0): 525}


def test_missed_returns_and_missed_entries(root: Path) -> None:
    engine = started(root)
    tail = Recorded.name.partition("_")[2]
    engine._instance.profile = {f"free0_exit0_{tail}": 3, f"warn1_entry0_{tail}": 2}
    batch = engine.stop()
    assert batch is not None
    assert batch.losses.lost == 2
    assert engine.counts().missed_returns["vmemmap_free"] == 3
    assert engine.counts().lost["__warn", module.NO_CPU] == 2


def test_a_rejected_entry_leaves_nothing_and_a_rejected_return_a_note(root: Path) -> None:
    engine = TracefsEngine(root, ours=OURS)
    engine._instance.refused = ("p:",)
    with pytest.raises(AttachError, match="Failed to register"):
        engine.attach(PROBES["free"])
    assert engine._instance.defined == []
    engine._instance.refused = ("r256:",)
    note = engine.attach(PROBES["free"])
    assert note == "entry only: Failed to register probe event (Invalid argument)"
    assert [name.split("_")[0] for name in engine._instance.defined] == ["free0"]
    engine.start()
    rows = rows_of(engine.poll(0))
    assert {r["phase"] for r in rows} == {"point"}  # no other side will come


def test_a_call_site_is_attached_whole_or_not(root: Path) -> None:
    engine = TracefsEngine(root, ours=OURS)
    sites = tuple(ProbeAddress("__add_pages", at, at) for at in (0xAC, 0xC0))
    probe = Probe(Kind.SECTION_ADD, Rung.CALLSITE, "sparse_add_section", sites, sites)
    engine._instance.refused = ("+0xc0",)
    with pytest.raises(AttachError):
        engine.attach(probe)
    assert engine._instance.defined == []


def test_no_slot_for_the_exit_is_an_entry_alone(root: Path) -> None:
    engine = TracefsEngine(root, ours=OURS)
    engine._breakpoints.slots = 1
    assert engine.attach(POPULATE) is None
    assert engine.watch_ends(POPULATE) == "no hardware breakpoint register is free (ENOSPC)"
    assert engine._breakpoints.marks == {0x1000: Mark(0, Phase.POINT)}


def test_a_slot_for_the_exit_times_the_calls(root: Path) -> None:
    engine = TracefsEngine(root, ours=OURS)
    engine.attach(PROBES["free"])
    assert engine.attach(POPULATE) is None
    assert engine._breakpoints.marks == {0x1000: Mark(1, Phase.POINT)}
    assert engine.watch_ends(POPULATE) is None
    assert engine._breakpoints.marks == {0x1000: Mark(1, Phase.ENTRY), 0x2000: Mark(1, Phase.EXIT)}


def test_threads_not_wanted_are_dropped(root: Path) -> None:
    comm = recorded.lines(RELEASE, "plain")[0].comm
    engine = started(root, Filters(comm=comm))
    assert {r["comm"] for r in rows_of(engine.poll(0))} == {comm}
    engine = TracefsEngine(root, filters=Filters(pid=7))
    engine.attach(POPULATE)
    engine.start()
    engine._began = 0
    engine._instance.portions = []
    engine._breakpoints.records = np.concatenate([hit(0, 10, 7), hit(0, 20, 8)])
    assert [r["pid"] for r in rows_of(engine.poll(0))] == [7]


def test_stale_probes_of_killed_runs_are_removed_first(root: Path) -> None:
    gone = root / "sys/kernel/tracing/instances/vmemscope_99999999_1_0_0"
    gone.mkdir()
    assert cleanup.find_stale(root) == (gone.name,)
    TracefsEngine(root)
    assert not gone.exists()


def test_close_at_any_time_and_again(root: Path) -> None:
    engine = TracefsEngine(root)
    engine.close()
    engine.close()
    assert engine._instance.removed
    assert engine.stop() is None


def test_no_tracefs_and_unknown_machines(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LiveError, match="mount -t tracefs"):
        TracefsEngine(tmp_path / "empty", filters=Filters())
    with pytest.raises(LiveError, match="comm filter"):
        TracefsEngine(root, filters=Filters(comm='a"b'))
    monkeypatch.setattr(module.platform, "machine", lambda: "riscv64")
    with pytest.raises(LiveError, match="riscv64"):
        TracefsEngine(root)


def test_the_cpus_online(root: Path) -> None:
    assert module._online(root) == [0, 1, 3]
