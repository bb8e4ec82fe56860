# SPDX-License-Identifier: GPL-2.0-only
"""Parquet read back with pyarrow and duckdb: the recording's types, values and metadata."""

import io
import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from recordings.format.header import RecordingError
from recordings.samples import sample_path
from tests.recordings.export.cases import NAMES, exported, path_of, plain
from tests.recordings.made import foreign, lying, metas, newer, record, rows
from tracers.batch import Batch, Losses
from tracers.events import SCHEMA

NAMED = ("kind", "phase", "source")


@pytest.mark.parametrize("name", NAMES)
def test_reads_back_as_what_any_arrow_library_reads(name: str, tmp_path: Path) -> None:
    path = path_of(name, tmp_path)
    data, done = exported(path, "parquet")
    expected, found = plain(path), parquet.read_table(io.BytesIO(data))
    assert done.rows == found.num_rows == expected.num_rows
    for field in expected.schema:
        kind = found.schema.field(field.name).type
        # Older Arrows (17) read every dictionary with int32 indices.
        assert kind == field.type or (field.name in NAMED and pa.types.is_dictionary(kind))
    for column in SCHEMA.names:
        assert found.column(column).to_pylist() == expected.column(column).to_pylist()


def test_u64_is_unsigned_in_the_file_itself(tmp_path: Path) -> None:
    data, _ = exported(path_of("extreme", tmp_path), "parquet")
    columns = parquet.ParquetFile(io.BytesIO(data)).schema
    for place, field in enumerate(SCHEMA):
        if field.type == pa.uint64():
            kind = json.loads(columns.column(place).logical_type.to_json())
            assert (kind["bitWidth"], kind["isSigned"]) == (64, False), field.name


def test_duckdb_finds_the_hits_with_all_their_bits(tmp_path: Path) -> None:
    path = tmp_path / "storm.parquet"
    path.write_bytes(exported(sample_path("storm"), "parquet")[0])
    # 128 sections from 0x5000000000, each populated and freed: tests/captures, hole.ftrace.txt
    found = duckdb.sql(
        f"select count(*), min(start), max(\"end\"), typeof(any_value(start)) from '{path}' "  # noqa: S608
        "where kind in ('populate', 'free') and phase <> 'exit' and start >= 18446744069414584320"
    ).fetchall()
    assert found == [(256, 0xFFFFFFFF3F000000, 0xFFFFFFFF4F000000, "UBIGINT")]


def test_the_metadata_is_the_recordings_own_and_says_the_verdict(tmp_path: Path) -> None:
    data, _ = exported(sample_path("storm"), "parquet")
    metadata = parquet.read_metadata(io.BytesIO(data)).metadata
    original = pa.ipc.open_stream(sample_path("storm")).schema.metadata
    assert metadata[b"vmemscope"] == original[b"vmemscope"]
    window = json.loads(metadata[b"vmemscope"])["machine"]["window"]
    # VMCOREINFO of the captured kernel
    assert (window["start"], window["end"]) == ("0xfffffffe00000000", "0xffffffff00000000")
    told = json.loads(metadata[b"vmemscope:export"])
    assert (told["verdict"], told["hits"], told["warnings"]) == ("out-of-range", 256, 256)
    assert (told["events"], told["ended"], told["problems"]) == (1544, "command ended", [])
    assert told["losses"] == dict.fromkeys(Losses.__slots__, 0)


def test_a_torn_recording_says_so_in_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "torn.arrows"
    path.write_bytes(sample_path("in-range-6.12").read_bytes()[:-100])
    data, done = exported(path, "parquet")
    assert done.losses.torn == 1
    told = json.loads(parquet.read_metadata(io.BytesIO(data)).metadata[b"vmemscope:export"])
    assert (told["verdict"], told["losses"]["torn"], told["ended"]) == ("inconclusive", 1, None)
    assert len(told["problems"]) == 1


def test_a_live_recordings_small_batches_become_large_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.arrows"
    record(path, (Batch(rows(10, 10 * i)) for i in range(300)))
    data, _ = exported(path, "parquet")
    assert parquet.read_metadata(io.BytesIO(data)).num_row_groups == 1


def test_a_null_where_a_newer_column_says_there_is_none_is_written(tmp_path: Path) -> None:
    path = tmp_path / "lying.arrows"
    newer(path, pa.array([7, None], pa.int32()), nullable=False)
    found = parquet.read_table(io.BytesIO(exported(path, "parquet")[0]))
    assert found.column("odd").to_pylist() == [7, None]
    assert not found.schema.field("ts_ns").nullable


@pytest.mark.parametrize("which", lying())
def test_a_null_inside_of_one_is_an_error_of_one_line(which: str, tmp_path: Path) -> None:
    path = tmp_path / "lying.arrows"
    newer(path, lying()[which])
    with pytest.raises(RecordingError, match="its content is not what its type says") as caught:
        exported(path, "parquet")
    assert len(str(caught.value).splitlines()) == 1
    assert exported(path, "csv")[1].left_out == ("odd",)  # the others leave such a column out


def test_a_newer_versions_column_is_kept_or_named(tmp_path: Path) -> None:
    path = tmp_path / "newer.arrows"
    events = rows(3)
    odd = pa.array([None, None, None], pa.month_day_nano_interval())
    for name, values in (("depth", pa.array([1, None, 3], pa.uint8())), ("odd", odd)):
        events = events.append_column(name, values)
    foreign(path, [events.slice(0, 0), events, events.slice(0, 0)], b'{"format":"1.9"}', metas(3))
    data, done = exported(path, "parquet")
    found = parquet.read_table(io.BytesIO(data))
    assert found.column("depth").to_pylist() == [1, None, 3]
    assert done.left_out == ("odd",)
    assert "odd" not in found.schema.names
