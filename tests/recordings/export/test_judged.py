# SPDX-License-Identifier: GPL-2.0-only
"""The columns regime and silent of exports, against the capture and a plain reading."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from recordings.export.judged import fields, judged, with_judgement
from recordings.samples import sample_names, sample_path
from tests.recordings import oops
from tests.recordings import plain as trace
from tests.recordings.export.cases import exported, plain
from tests.recordings.made import foreign, metas, record, rows
from tests.recordings.oracle import regime
from tracers.events import SCHEMA

CALLS = ("populate", "free")


@pytest.mark.parametrize("name", sample_names())
def test_every_format_judges_each_call_alike(name: str) -> None:
    path = sample_path(name)
    header = json.loads(pa.ipc.open_stream(path).schema.metadata[b"vmemscope"])
    window = header["machine"]["window"]
    used = tuple(int(window["used"][side], 16) for side in ("start", "end"))
    low, high = (int(window[side], 16) for side in ("start", "end"))
    expected = []
    for row in plain(path).to_pylist():
        if row["kind"] not in CALLS or row["phase"] == "exit":
            expected.append((None, None))
            continue
        where = regime(row["start"], row["end"], used)
        quiet = where != "inside" and row["start"] >= low and row["end"] <= high
        expected.append((where, quiet))
    found = {
        "csv": csv.read_csv(
            io.BytesIO(exported(path, "csv")[0]),
            convert_options=csv.ConvertOptions(null_values=[""], strings_can_be_null=True),
        ).to_pylist(),
        "jsonl": [json.loads(line) for line in exported(path, "jsonl")[0].splitlines()],
        "parquet": parquet.read_table(io.BytesIO(exported(path, "parquet")[0])).to_pylist(),
    }
    for told in found.values():
        assert [(row["regime"], row["silent"]) for row in told] == expected


def test_a_call_of_unknown_range_or_window_is_unknown() -> None:
    events = trace.batch(
        [
            {"ts_ns": 1, "kind": "populate", "phase": "entry", "source": "kprobe"},
            {
                "ts_ns": 2,
                "kind": "free",
                "phase": "point",
                "start": 1,
                "end": 2,
                "source": "kprobe",
            },
            {"ts_ns": 3, "kind": "free", "phase": "exit", "source": "kprobe"},
        ]
    ).events
    told = with_judgement(events, None)
    assert told.column("regime").to_pylist() == ["unknown", "unknown", None]
    assert told.column("silent").to_pylist() == [False, False, None]
    assert judged(events, None).known.tolist() == [False, True, False]


def test_a_recording_that_has_such_columns_keeps_its_own(tmp_path: Path) -> None:
    events = rows(2).append_column("regime", pa.array(["mine", None]))
    path = tmp_path / "newer.arrows"
    foreign(path, [events.slice(0, 0), events, events.slice(0, 0)], b'{"format":"1.9"}', metas(2))
    for line in exported(path, "jsonl")[0].splitlines():
        assert list(json.loads(line)) == [*SCHEMA.names, "regime", "silent"]
    found = parquet.read_table(io.BytesIO(exported(path, "parquet")[0]))
    assert found.column("regime").to_pylist() == ["mine", None]
    assert [field.name for field in fields(events.schema)] == ["silent"]


@pytest.mark.parametrize("name", ["regime", "silent"])
@pytest.mark.parametrize("to", ["parquet", "csv", "jsonl", "perfetto"])
def test_one_that_a_format_cannot_hold_makes_room_for_ours(
    to: str, name: str, tmp_path: Path
) -> None:
    odd = pa.array([None, pa.MonthDayNano([1, 2, 3])], pa.month_day_nano_interval())
    events = rows(2).append_column(name, odd)
    path = tmp_path / "newer.arrows"
    foreign(path, [events.slice(0, 0), events, events.slice(0, 0)], b'{"format":"1.9"}', metas(2))
    data, done = exported(path, to)
    assert done.left_out == (name,)
    expected = ("unknown", None) if name == "regime" else (False, None)
    if to == "parquet":
        found = tuple(parquet.read_table(io.BytesIO(data)).column(name).to_pylist())
        assert found == expected
    elif to == "jsonl":
        assert tuple(json.loads(line)[name] for line in data.splitlines()) == expected
    elif to == "csv":
        assert name in data.decode().splitlines()[0]


def test_an_oops_has_a_regime_but_is_never_silent(tmp_path: Path) -> None:
    """No WARN compares the address of an Oops, so none can let it pass."""
    path = tmp_path / "oops.arrows"
    pages = (oops.PAGE, None, oops.WINDOW.start)
    record(path, [trace.batch([*oops.rows(1)[:2], *(oops.fault(page=page) for page in pages)])],
           oops.HEADER)  # fmt: skip
    told = [(None, None), ("wrapped", False)]
    told += [("wrapped", None), ("unknown", None), ("inside", None)]
    lines = [json.loads(line) for line in exported(path, "jsonl")[0].splitlines()]
    assert [(line["regime"], line["silent"]) for line in lines] == told
    assert [line["kind"] for line in lines[2:]] == ["fault"] * 3
    assert (lines[2]["pfn"], lines[2]["site"]) == (oops.PFN, oops.CHAIN)
    file = parquet.ParquetFile(io.BytesIO(exported(path, "parquet")[0]))
    assert [(row["regime"], row["silent"]) for row in file.read().to_pylist()] == told
    assert json.loads(file.metadata.metadata[b"vmemscope:export"])["faults"] == 3


def test_nothing_of_another_machine_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "oops.arrows"
    header = replace(oops.HEADER, machine=replace(oops.MACHINE, arch="riscv64"))
    record(path, [trace.batch(oops.rows(1))], header)
    lines = [json.loads(line) for line in exported(path, "jsonl")[0].splitlines()]
    assert [line["regime"] for line in lines] == [None, "unknown", "unknown"]
