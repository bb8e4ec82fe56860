# SPDX-License-Identifier: GPL-2.0-only
"""The public API: the docstrings' examples, and the promises beside them."""

import doctest
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import vmemscope
from recordings import api
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.format.writer import Writer
from recordings.ledger.whole import fold
from recordings.samples import sample_names, sample_path
from tests.recordings.made import lying, newer, small
from vmemscope import RecordingError


def test_the_examples_are_true() -> None:
    done = doctest.testmod(api)
    assert done.failed == 0
    assert done.attempted > 20


@pytest.mark.parametrize("name", sample_names())
def test_numbers_are_the_reports(name: str) -> None:
    with vmemscope.open(f"sample:{name}") as recording, open_recording(recording.path) as same:
        assert recording.snapshot == fold(same)
        assert recording.verdict is recording.snapshot.verdict
        assert recording.window == same.header.machine.window


@pytest.mark.parametrize("columns", [None, ["end", "kind"]])
def test_events_are_what_any_arrow_library_reads(columns: list[str] | None) -> None:
    expected = pa.ipc.open_stream(sample_path("storm")).read_all().replace_schema_metadata(None)
    expected = expected.select(columns) if columns else expected
    with vmemscope.open("sample:storm") as recording:
        assert recording.to_arrow(columns).equals(expected)
        assert recording.to_arrow(columns).schema.equals(expected.schema)
        assert recording.reader(columns).read_all().equals(expected)
        assert pa.table(recording).num_rows == 1544


def test_another_library_takes_the_recording_itself() -> None:
    with vmemscope.open("sample:storm") as recording:
        found = duckdb.from_arrow(recording.reader()).aggregate("count(*), max(start)")
        assert found.fetchall() == [(1544, 0xFFFFFFFF4EE00000)]


def test_an_empty_recording_has_all_columns_and_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "empty.arrows"
    with Writer(path, Header()):
        pass
    with vmemscope.open(path) as recording:
        assert recording.to_arrow().num_rows == recording.snapshot.events == 0
        assert recording.to_arrow().schema.names == recording.schema.names
        assert recording.window is None
        assert recording.verdict.value == "inconclusive"
        assert len(recording.to_pandas()) == 0


def test_a_torn_recording_gives_what_it_has_and_says_what_it_has_not(tmp_path: Path) -> None:
    path = tmp_path / "torn.arrows"
    sizes = small(path)
    path.write_bytes(path.read_bytes()[: sizes[2] + 40])
    with vmemscope.open(str(path)) as recording:
        assert recording.to_arrow(["ts_ns"]).column(0).to_pylist() == list(range(1000, 1007))
        losses = recording.snapshot.losses
        assert (losses.lost, losses.lost_unknown, losses.torn) == (23, 1, 1)
        assert recording.verdict.value == "inconclusive"
        assert "ends without its closing record" in recording.problems[0]


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("which", ["plain", *lying()])
def test_a_newer_column_is_given_whatever_its_nulls(
    which: str, nullable: bool, tmp_path: Path
) -> None:
    column = lying().get(which, pa.array([1, None]))
    newer(tmp_path / "a.arrows", column, nullable=nullable)
    with vmemscope.open(tmp_path / "a.arrows") as recording:
        assert recording.to_arrow(["odd"]).column(0).to_pylist() == column.to_pylist()
        assert pa.table(recording).num_rows == 2
        assert len(recording.to_pandas()) == 2


TOP = 2**31 - 1
#: Columns of times that Python's own types cannot hold.
FAR = {
    "days": pa.array([TOP, None], pa.date32()),
    "seconds": pa.array([2**62, None], pa.duration("s")),
    "since": pa.array([2**62, None], pa.timestamp("s", "UTC")),
    "inside": pa.StructArray.from_arrays([pa.array([TOP, 0], pa.date32())], ["at"]),
    "listed": pa.ListArray.from_arrays(pa.array([0, 1, 2]), pa.array([TOP, 0], pa.date32())),
    "named": pa.DictionaryArray.from_arrays(pa.array([0, None]), pa.array([TOP], pa.date32())),
    "named lists": pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([[1], [2]])),
}
#: Those that pandas has no type for, or no values.
BEYOND = {
    "union": pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [pa.array([1, 2])]),
    "since": pa.StructArray.from_arrays([pa.array([2**62, 0], pa.timestamp("s"))], ["at"]),
    "nowhere": pa.array([1, 2], pa.timestamp("ns", "No/Where")),
}


@pytest.mark.parametrize("which", FAR)
def test_pandas_gets_times_that_python_has_none_of(which: str, tmp_path: Path) -> None:
    newer(tmp_path / "a.arrows", FAR[which])
    with vmemscope.open(tmp_path / "a.arrows") as recording:
        assert recording.to_pandas()["odd"].isna().sum() == FAR[which].null_count


@pytest.mark.parametrize("which", BEYOND)
def test_what_pandas_cannot_hold_is_one_line(which: str, tmp_path: Path) -> None:
    newer(tmp_path / "a.arrows", BEYOND[which])
    with vmemscope.open(tmp_path / "a.arrows") as recording:
        with pytest.raises(RecordingError, match="pandas has none of: name the columns"):
            recording.to_pandas()
        assert recording.to_pandas(["ts_ns"])["ts_ns"].tolist() == [1000, 1001]
        assert recording.to_arrow(["odd"]).num_rows == 2


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such sample; there are below"):
        vmemscope.open("sample:nope")
    with pytest.raises(RecordingError, match="cannot be opened: No such file"):
        vmemscope.open(tmp_path / "none.arrows")
    with vmemscope.open("sample:storm") as recording:
        with pytest.raises(KeyError, match="nope"):
            recording.to_arrow(["nope"])
        events = recording.reader()
    with pytest.raises(ValueError, match="closed"):
        events.read_all()
