# SPDX-License-Identifier: GPL-2.0-only
"""Batches regrouped into pieces of a given size."""

import io
from pathlib import Path

import pyarrow as pa
import pytest

from recordings.export.groups import Sink, groups
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.whole import fold
from recordings.samples import sample_path
from tests.recordings.made import record, rows
from tracers.batch import Batch
from tracers.events import SCHEMA

COLUMNS = tuple(SCHEMA.names)


@pytest.mark.parametrize("size", [1, 4, 10, 1000])
def test_small_batches_are_joined_and_none_is_lost(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.arrows"
    record(path, [Batch(rows(i % 4, 4 * i)) for i in range(20)])
    with open_recording(path) as recording:
        found = list(groups(recording, size, columns=COLUMNS))
        expected = [batch.events for batch in recording.batches()]
    assert all(piece.num_rows >= size for piece in found[:-1])
    assert pa.Table.from_batches(found).equals(pa.Table.from_batches(expected))


def test_the_ledger_learns_all_that_the_recording_says(tmp_path: Path) -> None:
    path = tmp_path / "torn.arrows"
    path.write_bytes(sample_path("storm").read_bytes()[:-100])
    with open_recording(path) as recording:
        ledger = Ledger.of(recording.header)
        for _ in groups(recording, 100, columns=("ts_ns",), ledger=ledger):
            pass
        assert ledger.snapshot(final=True) == fold(recording)
        assert fold(recording).losses.torn == 1


class Slow(io.RawIOBase):
    """Takes seven bytes at a time, and no more at all after ``room``."""

    def __init__(self, room: int) -> None:
        self.taken = b""
        self._room = room

    def write(self, data: memoryview) -> int:
        if len(self.taken) >= self._room:
            raise OSError(28, "No space left on device")
        self.taken += bytes(data[:7])
        return len(data[:7])


def test_a_stream_that_takes_a_part_gets_the_rest() -> None:
    slow = Slow(10**6)
    assert Sink(slow).write(bytes(range(100))) == 100
    assert slow.taken == bytes(range(100))


def test_after_an_error_nothing_more_is_tried() -> None:
    slow = Slow(20)
    sink = Sink(slow)
    with pytest.raises(OSError, match="No space"):
        sink.write(b"x" * 100)
    assert sink.write(b"footer") == 6
    assert slow.taken == b"x" * 21
