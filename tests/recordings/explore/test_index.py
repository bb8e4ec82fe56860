# SPDX-License-Identifier: GPL-2.0-only
"""The index compared with the ledger's own pass, piece by piece, live and on damaged files."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recordings.explore.index import PIECE, Index
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.whole import fold
from recordings.samples import sample_names, sample_path
from tests.recordings import made
from tracers.batch import Batch, Losses
from tracers.events import Kind, Phase

SAMPLES = sample_names()


@pytest.mark.parametrize("sample", SAMPLES)
def test_numbers_are_those_of_the_ledger(sample):
    with open_recording(sample_path(sample)) as recording:
        index = Index(recording)
        assert (index.read, index.done) == (0, False)
        while index.advance():
            assert index.read < 1
        assert (index.read, index.done, index.events) == (1, True, recording.rows)
        assert index.snapshot() == fold(recording)
        assert index.advance() is False
        assert index.snapshot() == fold(recording)


def test_one_piece_is_bounded_and_losses_count_once(tmp_path):
    """A batch as large as any file may have is taken in pieces; a torn tail counts at the end."""
    path = tmp_path / "large.arrows"
    events = made.events(3 * PIECE + 5, Kind.FREE, Phase.POINT)
    names = made.metas(events.num_rows)
    made.foreign(path, [events[:0], events, events[:0]], Header().to_json(), names)
    with open_recording(path) as recording:
        index = Index(recording)
        seen = []
        while index.advance():
            seen.append(index.events)
        assert seen == [PIECE, 2 * PIECE, 3 * PIECE, events.num_rows]
        assert len(index.table) == events.num_rows
        assert index.snapshot() == fold(recording)
    path.write_bytes(path.read_bytes()[:-30])
    with open_recording(path) as recording:
        index = Index(recording)
        while index.advance():
            assert not index.snapshot().losses.without_end
        assert index.snapshot().losses.without_end
        assert index.snapshot() == fold(recording)


def test_no_events_at_all(tmp_path):
    path = tmp_path / "empty.arrows"
    made.record(path, [Batch(made.rows(0), Losses(lost=3))])
    with open_recording(path) as recording:
        index = Index(recording)
        while index.advance():
            pass
        assert (index.read, len(index.table)) == (1, 0)
        assert index.snapshot().losses.lost == 3


def test_live():
    with open_recording(sample_path("storm")) as recording:
        index, ledger = Index.live(recording.header), Ledger.of(recording.header)
        for batch in recording.batches():
            for first in range(0, batch.events.num_rows, 100):
                part = Batch(batch.events.slice(first, 100))
                index.take(part)
                ledger.fold(part)
                assert index.snapshot() == ledger.snapshot()
                assert index.read < 1
        assert index.advance() is False
        assert not index.done
        index.finish(Losses(lost=1))
        ledger.add_losses(Losses(lost=1))
        assert (index.read, index.snapshot()) == (1, ledger.snapshot(final=True))
        begun = sum(
            pc.sum(
                pc.is_in(batch.events["phase"].cast("string"), pa.array(["entry", "point"]))
            ).as_py()
            for batch in recording.batches()
        )
        assert len(index.table) == begun > 0
