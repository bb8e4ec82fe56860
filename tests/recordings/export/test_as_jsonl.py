# SPDX-License-Identifier: GPL-2.0-only
"""JSON lines read back with Python's json and with orjson, which is strict."""

import json
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from tests.recordings.export.cases import JUDGED, NAMES, exported, path_of, plain
from tests.recordings.made import foreign, metas, rows
from tracers.events import SCHEMA


@pytest.mark.parametrize("loads", [json.loads, orjson.loads])
@pytest.mark.parametrize("name", NAMES)
def test_reads_back_as_what_any_arrow_library_reads(name: str, loads, tmp_path: Path) -> None:
    path = path_of(name, tmp_path)
    data, done = exported(path, "jsonl")
    lines = data.splitlines(keepends=True)
    assert all(line.endswith(b"}\n") for line in lines)
    expected, found = plain(path), [loads(line) for line in lines]
    assert done.rows == len(found) == expected.num_rows
    for row in found:
        assert list(row) == [*SCHEMA.names, *JUDGED]
        for column in JUDGED:
            del row[column]  # of these: test_judged.py
        for column in ("start", "end"):
            if row[column] is not None:
                assert len(row[column]) == 18
                row[column] = int(row[column], 16)
    assert found == expected.to_pylist()


def test_nothing_but_ascii_and_no_control_character(tmp_path: Path) -> None:
    data, _ = exported(path_of("extreme", tmp_path), "jsonl")
    assert {byte for byte in data if byte < 0x20} == {ord("\n")}
    assert data.isascii()


def test_what_a_newer_version_adds_is_kept_or_named(tmp_path: Path) -> None:
    path = tmp_path / "newer.arrows"
    events = rows(2)
    for name, values in (
        ('"', pa.array([1, None], pa.uint8())),
        ("sure", pa.array([None, True])),
        ("raw", pa.array([b"\xff", None])),
        ("share", pa.array([float("nan"), None])),
    ):
        events = events.append_column(name, values)
    foreign(path, [events.slice(0, 0), events, events.slice(0, 0)], b'{"format":"1.9"}', metas(2))
    data, done = exported(path, "jsonl")
    found = [orjson.loads(line) for line in data.splitlines()]
    assert [(row['"'], row["sure"]) for row in found] == [(1, None), (None, True)]
    assert done.left_out == ("raw", "share")
