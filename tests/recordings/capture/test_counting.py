# SPDX-License-Identifier: GPL-2.0-only
"""What is written is counted, once, as a reader counts it."""

import pyarrow as pa
import pytest

from recordings.capture.counting import CountingWriter
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.format.writer import MAX_ROWS, Writer
from recordings.ledger.whole import fold, kept
from recordings.samples import sample_path
from tests.recordings.made import rows
from tracers.batch import Batch, Losses


@pytest.mark.parametrize("size", [1, 700, MAX_ROWS + 1])
def test_it_counts_what_a_reader_counts(tmp_path, size) -> None:
    with open_recording(sample_path("storm")) as recording:
        header, (whole,) = recording.header, _whole(recording)
        truth = fold(recording, recount=True)
    with CountingWriter(tmp_path / "a", header) as writer:
        for first in range(0, len(whole), size):
            writer.write(Batch(whole.slice(first, size)))
        assert writer.ledger.snapshot(final=True) == truth
    with open_recording(tmp_path / "a") as recording:
        assert kept(recording) == fold(recording, recount=True) == truth


def _whole(recording):
    table = pa.Table.from_batches([batch.events for batch in recording.batches()])
    return table.combine_chunks().to_batches()


def test_the_file_is_that_of_a_writer_but_for_the_numbers(tmp_path) -> None:
    batches = [Batch(rows(5), Losses(lost=2)), Batch(rows(3, 5)), Batch(rows(0), Losses(torn=1))]
    for path, kind in ((tmp_path / "a", CountingWriter), (tmp_path / "b", Writer)):
        with kind(path, Header()) as writer:
            for batch in batches:
                writer.write(batch)
        assert writer.rows == 8
    data = [(tmp_path / name).read_bytes() for name in "ab"]
    with open_recording(tmp_path / "b") as plain:
        end = plain.index[-1].offset + plain.index[-1].size
        assert data[0][:end] == data[1][:end]
        assert plain.packed_numbers is None
    with open_recording(tmp_path / "a") as recording:
        found = kept(recording)
        assert found is not None
        assert found.losses == Losses(lost=2, torn=1)


def test_what_is_broken_off_has_no_numbers(tmp_path) -> None:
    def broken_off() -> None:
        with CountingWriter(tmp_path / "a", Header()) as writer:
            writer.write(Batch(rows(5)))
            raise KeyError

    with pytest.raises(KeyError):
        broken_off()
    with open_recording(tmp_path / "a") as recording:
        assert recording.rows == 5
        assert recording.packed_numbers is None
        assert recording.losses == Losses(without_end=1)
