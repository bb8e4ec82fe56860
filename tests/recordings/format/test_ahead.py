# SPDX-License-Identifier: GPL-2.0-only
"""Batches read ahead are those read one after the other, and nothing is left behind."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings.format.ahead import ahead
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger, folded
from tests.recordings.made import events, record
from tracers.batch import Batch, Losses
from tracers.events import Kind, Phase

SIZES = (3, 5000, 2, 70_000, 1, 4096, 0)


def batches(sizes: tuple[int, ...] = SIZES) -> Iterator[Batch]:
    """Batches of these sizes, each with as many losses as its place."""
    for place, size in enumerate(sizes):
        yield Batch(events(size, Kind.FREE, Phase.POINT), Losses(lost=place))


def makers() -> set[str]:
    """The threads that make batches ahead now."""
    return {each.name for each in threading.enumerate() if each.name.startswith("decode")}


def test_the_batches_are_the_same_in_the_same_order() -> None:
    found = list(ahead(batches()))
    assert [batch.events.num_rows for batch in found] == list(SIZES)
    assert [batch.losses.lost for batch in found] == list(range(len(SIZES)))
    assert not makers()


@pytest.mark.parametrize("good", [0, 1, 2, 3])
def test_what_reading_raises_comes_in_its_place(good: int) -> None:
    def torn() -> Iterator[Batch]:
        yield from batches((5000,) * good)
        raise KeyError("gone")

    found = ahead(torn())
    for _ in range(good):
        next(found)
    with pytest.raises(KeyError, match="gone"):
        next(found)
    assert not makers()


def test_one_that_stops_early_leaves_no_thread() -> None:
    found = ahead(batches((5000,) * 9))
    next(found)
    next(found)
    assert makers()
    found.close()
    assert not makers()


def test_small_batches_need_no_thread() -> None:
    for batch in ahead(batches((10, 100, 4095))):
        assert batch.events.num_rows < 4096
        assert not makers()


def test_a_recording_folds_to_the_same_numbers_with_its_losses(tmp_path: Path) -> None:
    path = tmp_path / "a.arrows"
    record(path, batches((5000, 60_000, 5000)))
    data = bytearray(path.read_bytes())
    with open_recording(path) as recording:
        middle = recording.index[1]
    # Damage that shows when the batch is read, which is in the thread.
    data[middle.offset + middle.size - 100] ^= 255
    path.write_bytes(data)
    with open_recording(path, verify=False) as recording:
        ahead_of_it = folded(recording).snapshot(final=True)
        ledger = Ledger.of(recording.header)
        for batch in recording.batches():
            ledger.fold(batch)
        ledger.add_losses(recording.losses)
        assert ahead_of_it == ledger.snapshot(final=True)
        assert (ahead_of_it.events, ahead_of_it.losses.torn) == (10_000, 1)
