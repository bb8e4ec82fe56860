# SPDX-License-Identifier: GPL-2.0-only
"""Recordings with right checksums and wrong content: sizes, indices, sequence, totals."""

import json
import os
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from recordings.format.header import BatchMeta, Header, RecordingError
from recordings.format.preamble import open_file, read_preamble
from recordings.format.reader import open_recording
from tests.recordings.made import (
    NAMES,
    foreign,
    metas,
    rows,
    seen,
    signed,
    small,
)
from tracers.batch import Losses
from tracers.events import SCHEMA

HEADER = Header().to_json()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.arrows"


def hostile(path: Path, batch: pa.RecordBatch, count: int | None = None) -> str:
    """Read a recording of one hostile batch, checksums right; return the problem."""
    nothing = batch.slice(0, 0)
    foreign(path, [nothing, batch, nothing], HEADER, metas(count or batch.num_rows))
    with open_recording(path) as recording:
        for columns in (None, ["kind", "comm", "start", "ts_ns"]):
            assert list(recording.batches(columns)) == []
        with pytest.raises(RecordingError, match="left out"):
            recording.read(0)
        assert (recording.rows, recording.losses) == (0, Losses(torn=1))
        (problem,) = recording.problems
        return problem


def replaced(name: str, column: pa.Array) -> pa.RecordBatch:
    at = SCHEMA.get_field_index(name)
    columns = [column if i == at else c for i, c in enumerate(rows(3).columns)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def raw(kind: pa.DataType, *buffers: bytes | bytearray | None) -> pa.Array:
    return pa.Array.from_buffers(kind, 3, [b and pa.py_buffer(b) for b in buffers])


def test_what_points_outside_is_never_given(path, tmp_path):
    # An index beyond the dictionary, one below it.
    for number, index in enumerate((99, -1)):
        wild = pa.DictionaryArray.from_arrays(
            pa.array([1, index, 1], pa.int8()), NAMES["kind"], safe=False
        )
        assert "left out" in hostile(tmp_path / f"{number}", replaced("kind", wild))
    # A text's offsets beyond its bytes, going backwards, not UTF-8.
    for number, (wild_offsets, text) in enumerate(
        [((0, 1, 2, 1 << 30), b"abc"), ((0, 3, 1, 3), b"abc"), ((0, 1, 2, 3), b"\xff\xfe\xfd")]
    ):
        offsets = bytearray(struct.pack("<4i", 0, 1, 2, 3))
        batch = replaced("comm", raw(pa.utf8(), None, offsets, text))
        offsets[:] = struct.pack("<4i", *wild_offsets)  # behind pyarrow's back
        assert "left out" in hostile(tmp_path / f"t{number}", batch)
    # Null where an event cannot be.
    nulls = raw(pa.uint64(), b"\x05", bytes(24))
    assert "left out" in hostile(path, replaced("ts_ns", nulls))


def test_announced_sizes_are_refused_before_memory_is_taken(path):
    small(path)
    data = path.read_bytes()
    with open_recording(path) as recording:
        info = recording.index[1]
    head = 8 + struct.unpack_from("<i", data, info.offset + 4)[0]
    broken = bytearray(data)
    struct.pack_into("<q", broken, info.offset + head, 1 << 40)  # ts_ns unpacks to 1 TiB
    path.write_bytes(signed(bytes(broken), info.offset, info.offset + info.size))
    before = pa.default_memory_pool().max_memory()
    recording = seen(path)
    assert pa.default_memory_pool().max_memory() <= max(before, 64 << 20)
    assert recording.losses == Losses(lost=23, lost_unknown=1, torn=1)
    assert recording.rows == 3
    assert "announces" in recording.problems[0]
    assert "refused" in recording.problems[0]


def test_problems_are_counted_beyond_the_lines_kept(path):
    nothing = rows(0)
    count = 200
    start, *_, end = metas(*[0] * count)
    foreign(path, [nothing] * (count + 2), HEADER, [start, *[b"{}"] * count, end])
    recording = seen(path)
    assert recording.losses.torn == count
    assert len(recording.problems) == 51
    assert recording.problems[-1] == "more problems are counted, not listed"


def test_more_rows_than_announced(path):
    batch = rows(3)
    nothing = batch.slice(0, 0)
    foreign(path, [nothing, batch, nothing], HEADER, metas(2))
    recording = seen(path)
    assert (recording.rows, recording.losses.torn) == (0, 1)
    assert "does not fit" in recording.problems[0]


@pytest.mark.parametrize(
    ("order", "left", "torn", "what"),
    [
        ((0, 2), [0, 2], 1, "1 batches are missing before batch 2"),
        ((1, 2), [1, 2], 1, "1 batches are missing before batch 1"),
        ((0, 1, 1, 2), [0, 1, 2], 1, "batch 1 stands where batch 2 should"),
        ((0, 2, 1), [0, 2], 2, "batch 1 stands where batch 3 should"),
        ((0, 1), [0, 1], 1, "1 batches are missing before batch 3"),
    ],
)
def test_batches_missing_repeated_or_moved(path, order, left, torn, what):
    """Whole batches with right checksums, but not the ones that belong there."""
    sizes = small(path)
    data = path.read_bytes()
    parts = [data[a:b] for a, b in pairwise(sizes)]
    path.write_bytes(data[: sizes[0]] + b"".join(parts[i] for i in order) + parts[3])
    with open_recording(path) as recording:
        assert [info.seq for info in recording.index] == left
        assert recording.losses.torn == torn
        assert any(what in problem for problem in recording.problems)


def test_closing_record_that_contradicts_the_batches(path):
    batch, nothing = rows(3), rows(0)
    start, middle, _ = metas(3)
    end = BatchMeta("end", seq=1, rows=4, reason="closed").to_json()
    foreign(path, [nothing, batch, nothing], HEADER, [start, middle, end])
    recording = seen(path)
    assert recording.losses.torn == 1
    assert "3 events, its closing record says 4" in recording.problems[0]


def test_losses_only_the_closing_record_knows(path):
    batch, nothing = rows(3), rows(0)
    start, middle, _ = metas(3)
    losses = Losses(lost=23, rejected=2)
    end = BatchMeta("end", seq=1, rows=3, losses=losses, reason="No space\x1b[2J").to_json()
    foreign(path, [nothing, batch, nothing], HEADER, [start, middle, end])
    recording = seen(path)
    assert recording.losses == replace(losses, without_end=1)
    assert recording.problems == ("23 events could not be written: No space\\x1b[2J",)


def test_file_that_shrinks_under_the_reader(path):
    sizes = small(path)
    with open_recording(path, verify=False) as recording:
        os.truncate(path, sizes[1] + 100)
        assert recording.read(0) == rows(2)
        with pytest.raises(RecordingError, match="shorter"):
            recording.read(1)
        assert recording.losses.torn == 1


def test_a_large_header_does_not_go_before_every_batch(path, tmp_path):
    """Batches of it are decoded by a head without it; also where other columns have names."""
    batch = rows(7)
    names = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 1, 2, 2, 0], pa.int16()), list("abc"))
    lists = pa.ListArray.from_arrays([0, 1, 2, 3, 4, 5, 6, 7], names)
    described = pa.field("more", lists.type, metadata={"x": "y" * 100_000})
    batch = batch.append_column("other", names).append_column(described, lists)
    header = json.dumps({"format": "1.2", "x": "y" * (2 << 20)}).encode()
    foreign(
        path, [batch.slice(0, 0), batch, batch.slice(2), batch.slice(0, 0)], header, metas(7, 5)
    )
    with open_file(path) as file:
        preamble = read_preamble(
            lambda at, size: os.pread(file.fileno(), size, at), path.stat().st_size
        )
    assert len(preamble.head) < 20_000
    with open_recording(path) as recording:
        assert recording.problems == ()
        read = [part.events.to_pylist() for part in recording.batches()]
    assert read == [batch.to_pylist(), batch.slice(2).to_pylist()]


def test_dictionaries_that_would_go_before_every_batch_are_refused(path):
    batch = rows(1)
    long = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(["x" * (2 << 20)]))
    batch = batch.append_column("other", long)
    foreign(path, [batch.slice(0, 0), batch, batch.slice(0, 0)], b'{"format":"1.2"}', metas(1))
    with pytest.raises(RecordingError, match="its schema and dictionaries are too large"):
        open_recording(path)
