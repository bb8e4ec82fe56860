# SPDX-License-Identifier: GPL-2.0-only
"""Perfetto traces as Perfetto's trace processor reads them, compared with the kernel's text."""

from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb

from recordings.format.header import BatchMeta, Header
from recordings.format.reader import open_recording
from recordings.ledger.whole import fold
from recordings.samples import sample_path
from recordings.samples.make import SCENES
from tests.recordings import oops
from tests.recordings.export.cases import CASES, exported, path_of
from tests.recordings.export.trace_processor import ask, missing
from tests.recordings.made import foreign, record, rows
from tests.recordings.plain import batch, derived, read_note, read_trace
from tests.recordings.traces import ROWS
from tracers.batch import Batch, Losses
from tracers.machine import Machine

#: Scenes, and the storms that are recorded and not made of the text: imported from it here.
TEXTS = SCENES | {
    "storm": ("6.1.192-vmemlab-39bit", "hole"),
    "storm-once": ("6.1.192-vmemlab-once-39bit", "hole"),
}
needs_reader = pytest.mark.skipif(bool(missing()), reason=missing())

SLICES = """
select slice.ts, dur, slice.name, depth, tid, thread.name as comm,
       (select parent.name from slice parent where parent.id = slice.parent_id) as inside
from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
order by slice.id"""
COUNTERS = """
select name, max(value) as value from counter
join counter_track on counter.track_id = counter_track.id group by name"""
#: What the trace processor could not make sense of.
ERRORS = "select name, value from stats where severity != 'info' and value > 0"
SUMMARY = """
select slice.name, slice.ts, slice.dur, flat_key as key, display_value as value
from slice join track on slice.track_id = track.id join args on slice.arg_set_id = args.arg_set_id
where track.name = 'vmemscope'"""


#: What the slice of a recording's kind is called: the kernel's function.
FUNCTIONS = {
    "memremap": "memremap_pages",
    "memunmap": "memunmap_pages",
    "add_pages": "__add_pages",
    "remove_pages": "__remove_pages",
    "section_add": "sparse_add_section",
    "section_remove": "sparse_remove_section",
    "populate": "vmemmap_populate",
    "free": "vmemmap_free",
}


def args(condition: str) -> str:
    return (
        "select slice.id as id, flat_key as key, display_value as value from slice "  # noqa: S608
        f"join args using (arg_set_id) where {condition} order by slice.id, args.id"
    )


def told(rows: list[dict]) -> dict[object, dict[str, str]]:
    found: dict[object, dict[str, str]] = defaultdict(dict)
    for row in rows:
        found[row["id"]][row["key"].removeprefix("debug.")] = row["value"]
    return found


def expected(rows: list[dict]) -> Counter[tuple]:
    """The slices in a kernel's text: (start, duration, name, thread, what it is in)."""
    found: Counter[tuple] = Counter()
    stacks: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for row in rows:
        stack, ts = stacks[row["tid"]], row["ts_ns"]
        name = (
            f"WARN {row.get('site')}:{row.get('line')}"
            if row["kind"] == "warn"
            else FUNCTIONS[row["kind"]]
        )
        if row["phase"] == "entry":
            stack.append((ts, name))
        elif row["phase"] == "exit":
            begun, name = stack.pop()
            inside = stack[-1][1] if stack else None
            found[begun, ts - begun, name, row["tid"], row["comm"], inside] += 1
    assert not any(stacks.values())
    return found


@needs_reader
@pytest.mark.parametrize("sample", TEXTS)
def test_the_slices_are_those_in_the_kernels_own_text(
    sample: str, captures: Path, traced: Path
) -> None:
    kernel, scene = TEXTS[sample]
    path = sample_path(sample) if sample in SCENES else traced / f"{sample}.arrows"
    text = read_trace(captures / kernel / f"{scene}.ftrace.txt")
    if kernel.startswith("6.1."):
        text = derived(text, read_note(captures / kernel / "kcore-vmcoreinfo"))
    data, done = exported(path, "perfetto")
    assert done.rows == len(text)
    slices, counters, errors = ask(data, SLICES, COUNTERS, ERRORS)
    assert errors == []
    found = Counter(
        (row["ts"], row["dur"], row["name"], row["tid"], row["comm"], row["inside"])
        for row in slices
        if not (
            row["dur"] == 0 and row["name"].startswith(("hit:", "silent hit:", "vmemmap_populate"))
        )
    )
    assert found == expected(text)
    instants = Counter(row["name"] for row in slices if row["dur"] == 0)
    with open_recording(path) as recording:
        snapshot = fold(recording)
    assert instants["vmemmap_populate"] == snapshot.derived
    hits = {name: number for name, number in instants.items() if "hit:" in name}
    assert sum(hits.values()) == snapshot.hits
    assert set(hits) <= {"hit: above", "hit: below", "silent hit: below"}
    assert hits.get("silent hit: below", 0) == snapshot.silent == 2 * (sample == "silent-7.3")
    assert {row["name"]: row["value"] for row in counters} == {
        "hits": snapshot.hits,
        "silent hits": snapshot.silent,
        "WARNs": sum(row["kind"] == "warn" and row["phase"] == "entry" for row in text),
        "time in WARN": snapshot.warn_ns,
    }


@needs_reader
def test_a_hit_says_where_it_is_with_all_its_bits(traced: Path) -> None:
    data, _ = exported(traced / "storm.arrows", "perfetto")
    hits, frees = map(
        told, ask(data, args("slice.name like 'hit:%'"), args("name = 'vmemmap_free'"))
    )
    # hole.ftrace.txt: the first free, and the add_pages that the first populate is derived from
    first = {"start": "0xffffffff3f000000", "end": "0xffffffff3f200000", "pfn": "83886080"}
    where = {"regime": "above"}
    values = list(hits.values())
    assert len(values) == 256
    assert values[0] == first | where | {"source": "derived"}
    assert values[128] == first | where | {"source": "kprobe"}
    assert next(iter(frees.values())) == first | where | {"source": "kprobe", "cpu": "0"}


@needs_reader
def test_the_slice_over_all_says_the_verdict_the_window_and_the_losses(
    tmp_path: Path, traced: Path
) -> None:
    path = tmp_path / "torn.arrows"
    path.write_bytes((traced / "storm.arrows").read_bytes()[:-100])
    for file, torn in ((traced / "storm.arrows", "0"), (path, "1")):
        (rows,) = ask(exported(file, "perfetto")[0], SUMMARY)
        said = {row["key"].removeprefix("debug."): row["value"] for row in rows}
        assert said["verdict"] == "out-of-range"
        # VMCOREINFO of that kernel
        assert said["window"] == "0xfffffffe00000000 - 0xffffffff00000000"
        assert (said["kernel"], said["torn"]) == ("6.1.192-vmemlab", torn)
        assert ("problems" in said) == (torn == "1")
        assert rows[0]["name"].startswith("OUT OF RANGE: 256 of 256 calls outside the window")
        # first and last line of hole.ftrace.txt
        assert (rows[0]["ts"], rows[0]["ts"] + rows[0]["dur"]) == (4461353000, 5423466000)


@needs_reader
def test_what_a_crash_left_open_ends_with_the_recording_and_says_so(
    tmp_path: Path, captures: Path
) -> None:
    text = read_trace(captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt")
    # The kernel died in its 23rd WARN: what wrap.console.txt shows happens.
    entries = [i for i, row in enumerate(text) if (row["kind"], row["phase"]) == ("warn", "entry")]
    last = text[entries[22]]["ts_ns"]
    path = tmp_path / "crash.arrows"
    record(path, [Batch(batch(text[: entries[22] + 1]).events)])
    data, _ = exported(path, "perfetto")
    slices, open_ = ask(
        data,
        "select ts, dur, name, depth from slice order by id",
        args("flat_key = 'debug.unfinished'"),
    )
    assert len(open_) == 3
    assert {row["value"] for row in open_} == {"true"}
    ended = [(row["name"], row["depth"]) for row in slices if row["ts"] + row["dur"] == last]
    warn = "WARN arch/arm64/mm/mmu.c:1222"
    assert [each for each in ended if each[1] < 3 and "INCONCL" not in each[0]] == [
        ("memremap_pages", 0), ("__add_pages", 1), (warn, 2),
    ]  # fmt: skip
    assert sum(row["name"] == warn for row in slices) == 23


@needs_reader
@pytest.mark.parametrize("case", CASES)
def test_hostile_recordings_are_read_without_an_error(case: str, tmp_path: Path) -> None:
    data, done = exported(path_of(case, tmp_path), "perfetto")
    events = "select count(*) as n from slice join track on track_id = track.id where track.name"
    errors, drawn = ask(data, ERRORS, f"{events} is distinct from 'vmemscope'")
    assert errors == []
    # No row of these ends the one before it: each is a slice or an instant.
    assert drawn[0]["n"] == done.rows


@needs_reader
def test_times_are_of_the_clock_that_the_recording_names(tmp_path: Path) -> None:
    path = tmp_path / "live.arrows"
    offset = 1_700_000_000_000_000_000
    header = Header(clock={"name": "mono", "offset_ns": offset})
    record(path, [Batch(rows(5))], header)
    data, _ = exported(path, "perfetto")
    shots, slices = ask(
        data,
        "select clock_name, clock_value from clock_snapshot",
        "select min(ts) as ts from slice",
    )
    assert {row["clock_name"]: row["clock_value"] for row in shots} == {
        "MONOTONIC": 1000, "REALTIME": 1000 + offset,
    }  # fmt: skip
    assert slices[0]["ts"] == 1000


TOP = 2**64 - 1


def notes_of_the_whole(data: bytes) -> dict[str, object]:
    """The arguments of the slice over all: text or integer, as they stand in the packet."""
    (event,) = (
        packet.track_event
        for packet in pb.Trace.FromString(data).packet
        if packet.track_event.track_uuid == 1 and packet.track_event.type == 1
    )
    return {note.name: getattr(note, note.WhichOneof("value")) for note in event.debug_annotations}


@pytest.mark.parametrize("name", ["lost", "lost_unknown", "torn", "rejected"])
def test_losses_that_no_64_bits_hold_are_told_as_text(name: str, tmp_path: Path) -> None:
    for number, told in ((1, TOP), (2, str(2 * TOP))):
        losses = Losses(**{name: TOP})  # the most that a batch, and the closing record, can say
        metas = [BatchMeta(seq=seq, losses=losses) for seq in range(number)]
        metas = [BatchMeta("begin"), *metas, BatchMeta("end", seq=number, losses=losses)]
        path = tmp_path / f"{number}.arrows"
        foreign(path, [rows(0)] * len(metas), Header().to_json(), [m.to_json() for m in metas])
        data, done = exported(path, "perfetto")
        assert getattr(done.losses, name) == number * TOP
        assert notes_of_the_whole(data)[name] == told


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_counter_stands_still_at_the_most_it_can_hold(calls: int, tmp_path: Path) -> None:
    path = tmp_path / "a.arrows"
    times = {"entry": 0, "exit": TOP}
    record(path, [Batch(batch([
        {"ts_ns": at, "kind": "warn", "phase": phase, "tid": 7, "source": "kprobe"}
        for phase, at in times.items()
    ] * calls).events)])  # fmt: skip
    with open_recording(path) as recording:
        assert fold(recording).warn_ns == calls * TOP
    data, _ = exported(path, "perfetto")
    packets = pb.Trace.FromString(data).packet
    values = [value for p in packets for value in p.track_event.extra_counter_values]
    assert max(values) == 2**63 - 1


@pytest.mark.parametrize("field", ["release", "arch", "clock"])
def test_text_that_is_no_unicode_is_escaped(field: str, tmp_path: Path) -> None:
    """JSON can hold half of a surrogate pair; a protobuf cannot."""
    header = (
        Header(clock={"name": "\ud800"})
        if field == "clock"
        else Header(machine=Machine(**{field: "\ud800"}))
    )
    path = tmp_path / "a.arrows"
    record(path, [Batch(rows(2))], header)
    data, done = exported(path, "perfetto")
    assert done.rows == 2
    assert b"\\ud800" in data


def test_a_clock_beyond_what_perfetto_reads_is_held_back(tmp_path: Path) -> None:
    path = tmp_path / "a.arrows"
    row = {"ts_ns": TOP, "kind": "free", "phase": "point", "source": "kprobe"}
    record(path, [batch([row])], Header(clock={"name": "mono", "offset_ns": -(2**63)}))
    trace = pb.Trace.FromString(exported(path, "perfetto")[0])
    for packet in trace.packet:
        for clock in packet.clock_snapshot.clocks:
            assert clock.timestamp < 2**63
        assert packet.timestamp < 2**63


@pytest.mark.parametrize("sample", TEXTS)
def test_the_packets_are_whole_and_balanced_without_any_reader(
    sample: str, captures: Path, traced: Path
) -> None:
    kernel, scene = TEXTS[sample]
    path = sample_path(sample) if sample in SCENES else traced / f"{sample}.arrows"
    text = read_trace(captures / kernel / f"{scene}.ftrace.txt")
    data, _ = exported(path, "perfetto")
    depth: Counter[int] = Counter()
    deepest: Counter[int] = Counter()
    number: Counter[int] = Counter()
    for packet in pb.Trace.FromString(data).packet:
        event = packet.track_event
        if not packet.HasField("track_event") or event.track_uuid == 1:
            continue
        depth[event.track_uuid] += {1: 1, 2: -1, 3: 0}[event.type]
        deepest[event.track_uuid] = max(depth[event.track_uuid], deepest[event.track_uuid])
        assert depth[event.track_uuid] >= 0
        number[event.type] += 1
    phases = Counter(row["phase"] for row in text)
    assert (number[1], number[2]) == (phases["entry"], phases["exit"])
    assert set(depth.values()) == {0}
    assert len(depth) == len({row["tid"] for row in text})
    assert max(deepest.values()) == max(expected_depth(text).values())


@given(ROWS)
def test_any_rows_make_packets_that_nest(told: list[dict]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.arrows"
        record(path, [Batch(batch(told).events)])
        data, done = exported(path, "perfetto")
    assert done.rows == len(told)
    depth: Counter[int] = Counter()
    now: Counter[int] = Counter()
    tracks = set()
    for packet in pb.Trace.FromString(data).packet:
        if packet.HasField("track_descriptor"):
            tracks.add(packet.track_descriptor.uuid)
        if not packet.HasField("track_event"):
            continue
        track = packet.track_event.track_uuid
        assert track in tracks  # told before it is used
        assert packet.timestamp >= now[track]
        now[track] = packet.timestamp
        depth[track] += {1: 1, 2: -1, 3: 0}[packet.track_event.type]
        assert depth[track] >= 0
    assert set(depth.values()) == {0}


def expected_depth(rows: list[dict]) -> Counter[int]:
    """How many calls each thread is in at most."""
    now: Counter[int] = Counter()
    most: Counter[int] = Counter()
    for row in rows:
        now[row["tid"]] += 1 if row["phase"] == "entry" else -1
        most[row["tid"]] = max(most[row["tid"]], now[row["tid"]])
    return most


def test_an_oops_is_an_instant_with_its_facts(tmp_path: Path) -> None:
    path = tmp_path / "oops.arrows"
    record(path, [batch(oops.rows())], oops.HEADER)
    data, _ = exported(path, "perfetto")
    packets = pb.Trace.FromString(data).packet
    names, keys, texts = {}, {}, {}
    for packet in packets:
        data = packet.interned_data
        names |= {entry.iid: entry.name for entry in data.event_names}
        keys |= {entry.iid: entry.name for entry in data.debug_annotation_names}
        texts |= {entry.iid: entry.str for entry in data.debug_annotation_string_values}
    (event,) = [
        packet.track_event for packet in packets
        if names.get(packet.track_event.name_iid) == "Oops"
    ]  # fmt: skip
    assert event.type == pb.TrackEvent.TYPE_INSTANT
    notes = {keys[note.name_iid]: note for note in event.debug_annotations}
    assert notes["start"].pointer_value == oops.PAGE
    assert notes["pfn"].uint_value == oops.PFN
    assert notes["physical"].pointer_value == oops.PFN << 12
    assert notes["callers"].string_value == oops.CHAIN
    assert texts[notes["regime"].string_value_iid] == b"wrapped"
    hits = [names.get(p.track_event.name_iid) for p in packets]
    assert hits.count("hit: wrapped") == 8  # the calls alone
    assert notes_of_the_whole(pb.Trace.SerializeToString(pb.Trace(packet=packets)))["oopses"] == 1
