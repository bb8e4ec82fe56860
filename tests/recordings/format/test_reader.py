# SPDX-License-Identifier: GPL-2.0-only
"""The reader: what it returns, which files it rejects and with which message."""

import os
import struct
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.format.header import Header, RecordingError
from recordings.format.reader import codes, open_recording
from tests.recordings.made import (
    NAMES,
    coded,
    foreign,
    metas,
    record,
    rows,
    seen,
    small,
)
from tracers.batch import Batch, Losses
from tracers.events import SCHEMA, Kind, Phase, Source

HEADER = Header().to_json()
HIGH = 0xFFFFFFFF3F000000


def refused(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(RecordingError) as caught:
        open_recording(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.arrows"


def test_round_trip(path):
    small(path)
    with open_recording(path) as recording:
        assert (recording.rows, recording.problems, recording.losses) == (8, (), Losses())
        assert recording.ended == "closed"
        assert [recording.read(i) for i in range(3)] == [rows(2), rows(5, 2), rows(1, 7)]
        batches = list(recording.batches())
        assert [b.events for b in batches] == [rows(2), rows(5, 2), rows(1, 7)]
        assert [(b.losses.lost, b.losses.lost_unknown) for b in batches] == [
            (0, 0),
            (23, 1),
            (0, 0),
        ]
        assert [(i.seq, i.rows, i.first_ts, i.last_ts) for i in recording.index] == [
            (0, 2, 1000, 1001),
            (1, 5, 1002, 1006),
            (2, 1, 1007, 1007),
        ]


def test_no_events_at_all(path):
    record(path, [])
    with open_recording(path) as recording:
        assert (recording.rows, recording.index, recording.losses) == (0, (), Losses())
        assert list(recording.batches()) == []
        assert recording.to_pandas().columns.tolist() == SCHEMA.names
        assert str(recording.to_pandas(["start"]).dtypes["start"]) == "UInt64"


def test_only_the_columns_asked_for(path):
    small(path)
    with open_recording(path) as recording:
        for columns in (["end", "kind", "start"], ["comm"], ["source", "ts_ns"]):
            assert recording.read(1, columns) == rows(5, 2).select(columns)
            assert [b.events.schema.names for b in recording.batches(columns)] == [columns] * 3
        with pytest.raises(KeyError, match="colour"):
            recording.read(0, ["colour"])
        with pytest.raises(ValueError, match="no column"):
            recording.read(0, [])
        with pytest.raises(IndexError):
            recording.read(3)
        assert recording.losses == Losses()


def test_pandas_keeps_every_bit(path):
    small(path)
    with open_recording(path) as recording:
        frame = recording.to_pandas()
    assert frame["start"].tolist()[:2] == [HIGH, HIGH + 0x200000]
    assert frame["start"][2] is pd.NA
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "ts_ns": "UInt64",
        "kind": "category",
        "phase": "category",
        "cpu": "UInt16",
        "pid": "UInt32",
        "tid": "UInt32",
        "comm": "string",
        "start": "UInt64",
        "end": "UInt64",
        "pfn": "UInt64",
        "nr_pages": "UInt64",
        "nid": "Int32",
        "ret": "Int64",
        "site": "string",
        "line": "UInt32",
        "source": "category",
    }


@pytest.mark.parametrize("column", ["kind", "phase", "source", "more"])
def test_pandas_takes_a_dictionary_that_holds_a_name_twice(path, column):
    twice = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2], pa.int8()), pa.array(["free", "entry", "free"])
    )
    events = rows(3).append_column("more", twice)
    events = events.set_column(events.schema.get_field_index(column), column, twice)
    nothing = events.slice(0, 0)
    foreign(path, [nothing, events, nothing], Header().to_json(), metas(3))
    with open_recording(path) as recording:
        frame = recording.to_pandas()
    assert frame[column].tolist() == ["free", "entry", "free"]
    assert str(frame.dtypes[column]) == "category"


def test_pandas_takes_a_dictionary_that_holds_a_null(path):
    odd = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array([None, 7]))
    events = rows(3).append_column("odd", odd)
    nothing = events.slice(0, 0)
    foreign(path, [nothing, events, nothing], Header().to_json(), metas(3))
    with open_recording(path) as recording:
        assert [pd.isna(each) or each for each in recording.to_pandas()["odd"]] == [True, 7, True]


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    count = draw(st.integers(0, 12))

    def values(kind: pa.DataType) -> st.SearchStrategy:
        if pa.types.is_string(kind):
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
        low = 0 if pa.types.is_unsigned_integer(kind) else -(1 << kind.bit_width - 1)
        return st.integers(low, low + (1 << kind.bit_width) - 1)

    columns = []
    for field in SCHEMA:
        if field.name in NAMES:
            which = st.integers(0, len(NAMES[field.name]) - 1)
            column = coded(field.name, draw(st.lists(which, min_size=count, max_size=count)))
        else:
            some = values(field.type)
            each = st.none() | some if field.nullable else some
            column = pa.array(draw(st.lists(each, min_size=count, max_size=count)), field.type)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(batches(), max_size=4), st.data())
def test_any_events_in_any_split_come_back(tmp_path_factory, parts, data):
    path = tmp_path_factory.mktemp("any") / "a.arrows"
    whole = pa.Table.from_batches(parts, SCHEMA).combine_chunks()
    splits = []
    for part in parts:
        at = data.draw(st.integers(0, part.num_rows))
        splits += [Batch(part.slice(0, at)), Batch(part.slice(at))]
    record(path, splits)
    with open_recording(path) as recording:
        found = [batch.events for batch in recording.batches()]
        assert recording.losses == Losses()
    assert pa.Table.from_batches(found, SCHEMA).combine_chunks().equals(whole)


def test_other_files_are_named_and_the_way_out_given(tmp_path):
    table = pa.table({"a": [1]})
    pq.write_table(table, tmp_path / "parquet")
    with pa.ipc.new_file(tmp_path / "arrow", table.schema) as file:
        file.write_table(table)
    with pa.ipc.new_stream(tmp_path / "stream", table.schema) as stream:
        stream.write_table(table)
    # The 24-byte header of an empty capture: magic, 2.4, zone, accuracy, length, Ethernet.
    pcap = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for name, content in {
        "pcap": pcap,
        "empty": b"",
        "zeros": bytes(4096),
        "gzip": b"\x1f\x8b\x08\x00" + bytes(60),
        "trace": b"# tracer: nop\n#\n",
        "text": b"<...>-75 [000] ..... 41.5: add_pages: (0)\n",
        "dat": b"\x17\x08\x44tracing6\0\0\0",
        "marker": b"\xff\xff\xff",
        "tail": b"\xff\xff\xff\xff" + bytes(4),
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    assert "a Parquet file" in refused(tmp_path / "parquet")
    assert "an Arrow file" in refused(tmp_path / "arrow")
    assert "an Arrow stream, but not a vmemscope recording" in refused(tmp_path / "stream")
    assert "a pcap file" in refused(tmp_path / "pcap")
    assert refused(tmp_path / "empty").startswith("is empty")
    assert "is not a vmemscope recording" in refused(tmp_path / "zeros")
    assert "gzip-compressed" in refused(tmp_path / "gzip")
    assert "vmemscope import" in refused(tmp_path / "trace")
    assert "vmemscope import" in refused(tmp_path / "text")
    assert "trace-cmd" in refused(tmp_path / "dat")
    assert "cut short" in refused(tmp_path / "marker")
    assert "without a schema" in refused(tmp_path / "tail")
    assert "a directory" in refused(tmp_path / "folder")
    assert "not a regular file but a pipe: save" in refused(tmp_path / "fifo")
    assert "not a regular file but a device: save" in refused(Path("/dev/null"))
    assert "No such file" in refused(tmp_path / "nothing")


def test_unreadable_file(path, monkeypatch):
    small(path)

    def denied(*_args: object, **_kw: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert refused(path) == "cannot be opened: Permission denied"


def test_rewritten_by_another_program_is_refused(path, tmp_path):
    small(path)
    table = pa.ipc.open_stream(path.read_bytes()).read_all()
    other = tmp_path / "other.arrows"
    with pa.ipc.new_stream(other, table.schema) as stream:
        stream.write_table(table)
    assert "no opening record: rewritten by another program" in refused(other)


def test_newer_minor_with_another_column_and_other_dictionaries(path):
    """Made with pyarrow alone, as docs/format.md says."""

    def newer(batch: pa.RecordBatch) -> pa.RecordBatch:
        kinds = pa.DictionaryArray.from_arrays(
            pa.array([i % 3 for i in range(batch.num_rows)], pa.int32()),
            pa.array(["from the future", "free", "populate"]),
        )
        phases = pa.array((["exit", "sideways"] * batch.num_rows)[: batch.num_rows], pa.utf8())
        columns = {name: batch.column(name) for name in reversed(SCHEMA.names)}
        columns |= {"kind": kinds, "phase": phases, "order": batch.column("nid")}
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    parts = [newer(rows(0)), newer(rows(4)), newer(rows(2, 4)), newer(rows(0))]
    header = HEADER.replace(b'"format":"1.5"', b'"format":"1.9"')
    foreign(path, parts, header, metas(4, 2), compression="lz4")
    with open_recording(path) as recording:
        assert recording.header.format == "1.9"
        assert (recording.rows, recording.losses, recording.problems) == (6, Losses(), ())
        batch = recording.read(0)
        assert batch.schema.names == [*SCHEMA.names, "order"]
        assert batch["order"].equals(rows(4)["nid"])
        assert batch["start"].equals(rows(4)["start"])
        assert codes(batch["kind"], Kind).tolist() == [0, Kind.FREE, Kind.POPULATE, 0]
        assert codes(batch["phase"], Phase).tolist() == [Phase.EXIT, 0, Phase.EXIT, 0]
        assert codes(batch["source"], Source).tolist() == [1, 2, 3, 4]
        assert recording.read(1, ["order"])["order"].to_pylist() == rows(2, 4)["nid"].to_pylist()
        assert len(recording.to_pandas()) == 6


def test_newer_major_is_refused_whatever_else_it_holds(path):
    other = pa.record_batch({"a": pa.array([], pa.int8())})
    foreign(path, [other], b'{"format":"2.0"}', [b"{}"])
    assert "format version 2.0" in refused(path)


@pytest.mark.parametrize("name", ["ts_ns", "kind", "start", "source"])
def test_missing_or_mistyped_column(path, name):
    at = SCHEMA.get_field_index(name)
    without = rows(0).drop_columns([name])
    mistyped = rows(0).set_column(at, name, pa.array([], pa.int64()))
    twice = pa.RecordBatch.from_arrays(
        [*rows(0).columns, rows(0).column(name)], names=[*SCHEMA.names, name]
    )
    for batch, what in (
        (without, f"column {name} is missing"),
        (mistyped, f"column {name} is int64"),
        (twice, "one name"),
    ):
        foreign(path, [batch, batch], HEADER, metas())
        assert what in refused(path)


def test_lazy_opening_still_verifies_what_it_gives(path):
    sizes = small(path)
    data = bytearray(path.read_bytes())
    data[sizes[2] - 1] ^= 1  # in the second batch's body
    path.write_bytes(data)
    with open_recording(path, verify=False) as recording:
        assert recording.losses == Losses()
        assert recording.read(0) == rows(2)
        with pytest.raises(RecordingError, match=r"batch 1 \(5 events\).*checksum differs"):
            recording.read(1)
        assert recording.read(2) == rows(1, 7)
        assert len(recording.index) == 3  # positions stay
        assert (recording.rows, recording.losses.torn) == (3, 1)
        assert [b.events for b in recording.batches()] == [rows(2), rows(1, 7)]
        assert recording.losses == Losses(lost=23, lost_unknown=1, torn=1)  # counted once
    assert [info.seq for info in seen(path).index] == [0, 2]


def test_reading_from_many_threads(path):
    parts = [rows(50, 50 * i) for i in range(20)]
    record(path, [Batch(part) for part in parts])
    wrong = []
    with open_recording(path, verify=False) as recording:

        def check() -> None:
            for i, part in enumerate(parts):
                if recording.read(i) != part:
                    wrong.append(i)

        threads = [threading.Thread(target=check) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert recording.losses == Losses()
    assert not wrong


def test_closed_recording_is_not_a_damaged_one(path):
    small(path)
    recording = seen(path)
    with pytest.raises(ValueError, match="closed"):
        recording.read(0)
    with pytest.raises(ValueError, match="closed"):
        list(recording.batches())
    assert recording.losses == Losses()


def test_documented_example_reads_it_without_us(tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "format.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    # duckdb is not ours to install; it was tried by hand.
    code = code.replace("import duckdb, ", "import ").partition("hits = ")[0]
    small(tmp_path / "storm.arrows")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 (our own page)
    names["stream"].close()
    assert names["header"]["format"] == "1.5"
    assert f"{names['frame']['start'][0]:#x}" == "0xffffffff3f000000"
