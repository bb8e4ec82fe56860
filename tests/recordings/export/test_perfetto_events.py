# SPDX-License-Identifier: GPL-2.0-only
"""Packets made in columns are, message by message, what Perfetto's own classes make one by one."""

import io
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb

from recordings.export import export
from recordings.format.header import Header
from recordings.format.reader import open_recording
from tests.recordings.export import packets_one_by_one
from tests.recordings.export.cases import HOSTILE, NAMES, exported, path_of
from tests.recordings.export.trace_processor import ask, missing
from tests.recordings.made import record
from tests.recordings.plain import batch
from tests.recordings.traces import ADDRESSES, ROWS, cuts
from tests.recordings.windows import window
from tracers.batch import Batch
from tracers.events import Kind, Phase, Source
from tracers.machine import Machine

TOP = 2**64 - 1
#: The 39-bit lab kernel's window, from its VMCOREINFO.
LAB = Header(machine=Machine(arch="aarch64", window=window(memstart=0x4000_0000)))


def packets(path: Path) -> tuple[list[pb.TracePacket], list[pb.TracePacket]]:
    """What we write, and what Perfetto's classes do."""
    ours, plain = io.BytesIO(), io.BytesIO()
    with open_recording(path) as recording:
        export(recording, "perfetto", ours)
        packets_one_by_one.write(recording, plain)
    first, second = (pb.Trace.FromString(data.getvalue()) for data in (ours, plain))
    return list(first.packet), list(second.packet)


def edges(bits: int, *, signed: bool = False) -> st.SearchStrategy[int | None]:
    """Numbers of these bits: any, none, and all at which a varint becomes longer."""
    low, top = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    steps = [1 << 7 * n for n in range(1, 10)]
    near = {low, top, 0, *steps, *(step - 1 for step in steps)}
    sampled = st.sampled_from(sorted(value for value in near if low <= value <= top))
    return st.one_of(st.none(), sampled, st.integers(low, top))


NUMBERS = {
    "cpu": edges(16), "pid": edges(32), "tid": edges(32), "pfn": edges(64), "nr_pages": edges(64),
    "nid": edges(32, signed=True), "ret": edges(64, signed=True), "line": edges(32),
    "start": st.one_of(ADDRESSES, edges(64)), "end": st.one_of(ADDRESSES, edges(64)),
}  # fmt: skip
TEXTS = st.one_of(st.none(), st.sampled_from(HOSTILE), st.text(max_size=300))


@st.composite
def extreme(draw):
    """Rows of any kind in which every column has anything that it can hold."""
    threads = draw(st.lists(st.tuples(NUMBERS["tid"], NUMBERS["pid"]), min_size=1, max_size=3))
    told = []
    for _ in range(draw(st.integers(0, 25))):
        row = {name: draw(values) for name, values in NUMBERS.items()}
        row["tid"], row["pid"] = draw(st.sampled_from(threads))
        row["ts_ns"] = draw(edges(64)) or 0
        row["kind"] = draw(st.sampled_from([kind.label for kind in Kind]))
        row["phase"] = draw(st.sampled_from([phase.label for phase in Phase]))
        row["source"] = draw(st.sampled_from([source.label for source in Source]))
        row |= {"comm": draw(TEXTS), "site": draw(TEXTS)}
        told.append(row)
    return told


@pytest.mark.parametrize("name", NAMES)
def test_each_packet_is_as_perfettos_own_classes_make_it(name: str, tmp_path: Path) -> None:
    ours, plain = packets(path_of(name, tmp_path))
    assert ours == plain


#: All that a trace has, as Perfetto's trace processor tells it.
TOLD = (
    "select id, ts, dur, name, depth, track_id, parent_id from slice order by id",
    """select slice.id, args.key, flat_key, value_type, display_value
    from slice join args using (arg_set_id) order by slice.id, args.id""",
    """select track.id, track.name, utid, upid from track
    left join thread_track using (id) left join process_track using (id) order by track.id""",
    """select utid, tid, thread.name, upid, pid, process.name as process
    from thread left join process using (upid) order by utid""",
    "select counter.id, ts, track_id, value from counter order by counter.id",
    "select id, name, unit from counter_track order by id",
    "select name, value from stats where severity != 'info' and value > 0",
)


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize("name", NAMES)
def test_perfetto_reads_the_same_rows(name: str, tmp_path: Path) -> None:
    path, plain = path_of(name, tmp_path), io.BytesIO()
    with open_recording(path) as recording:
        packets_one_by_one.write(recording, plain)
    ours = ask(exported(path, "perfetto")[0], *TOLD)
    assert ours == ask(plain.getvalue(), *TOLD)
    assert ours[0]
    assert ours[-1] == []


@given(st.one_of(ROWS, extreme()), st.sampled_from([Header(), LAB]), st.data())
def test_any_rows_make_the_same_packets(
    told: list[dict], header: Header, data: st.DataObject
) -> None:
    events = batch(told).events
    places = data.draw(cuts(len(told)))
    pieces = [events.slice(a, b - a) for a, b in itertools.pairwise(places)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.arrows"
        record(path, map(Batch, pieces), header)
        with patch("recordings.export.as_perfetto._ROWS", 1):  # each batch by itself
            ours, plain = packets(path)
    assert ours == plain
