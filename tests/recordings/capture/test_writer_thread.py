# SPDX-License-Identifier: GPL-2.0-only
"""The writer thread: at once after a quiet moment, steadily in a storm, never blocking capture."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.capture import writer_thread as module
from recordings.capture.rotation import Limits, Rotation
from recordings.capture.writer_thread import BURST, EVERY_S, RateLimiter, WriterThread
from recordings.format.header import Header, RecordingError
from recordings.format.reader import open_recording
from tests.recordings.made import rows, seen, wait_for
from tracers.batch import Batch, Losses


class Clock:
    """Seconds, as the test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Disk:
    """fdatasync, held until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.waits = threading.Event()
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, _: int) -> None:
        self.waits.set()
        assert self.go.wait(60)


def started(path: Path, failed: list[Exception], **options) -> tuple[Rotation, WriterThread]:
    out = Rotation(path, Header(), **{"fsync": False, **options})
    writer = WriterThread(out, failed.append)
    writer.start()
    return out, writer


def times(path: Path) -> list[int]:
    with open_recording(path) as recording:
        assert not recording.losses, recording.problems
        return [t for batch in recording.batches() for t in batch.events["ts_ns"].to_pylist()]


# -- the limiter ---------------------------------------------------------------------------------


def test_a_burst_goes_at_once_and_then_there_are_ten_a_second():
    clock = Clock()
    limiter = RateLimiter(clock)
    waits = [limiter.count_write() for _ in range(BURST - 1)]
    assert waits == [0] * (BURST - 1)
    for _ in range(20):
        wait = limiter.count_write()
        assert wait == pytest.approx(EVERY_S)
        clock.now += wait
    clock.now += BURST * EVERY_S + 1  # quiet
    assert [limiter.count_write() for _ in range(BURST)][:-1] == [0] * (BURST - 1)


@given(st.lists(st.floats(0, 3), max_size=200))
def test_no_more_than_a_burst_and_ten_a_second(work):
    """Whoever writes again as soon as allowed, with any time of its own in between."""
    clock = Clock()
    limiter = RateLimiter(clock)
    at = []
    for own in work:
        at.append(clock.now)
        wait = limiter.count_write()
        assert 0 <= wait <= EVERY_S + 1e-9
        clock.now += max(wait, own if own > 1 else 0)
    for first in range(len(at)):
        for last in range(first, len(at)):
            allowed = BURST + (at[last] - at[first]) / EVERY_S
            assert last - first + 1 <= allowed + 1e-6


# -- the writer -------------------------------------------------------------------------------


def test_one_event_alone_is_in_the_file_without_another(tmp_path):
    path, failed = tmp_path / "a.arrows", []
    _, writer = started(path, failed)
    for number in range(3):
        writer.put(Batch(rows(1, number), Losses(lost=1)))
        wait_for(lambda count=number + 1: seen(path).rows == count)
    writer.close("closed", ())
    with open_recording(path) as recording:
        assert [(info.rows, info.losses.lost) for info in recording.index] == [(1, 1)] * 3
        assert recording.ended == "closed"
    assert failed == []


def test_a_stalled_disk_holds_up_nobody(tmp_path, monkeypatch):
    path, failed = tmp_path / "a.arrows", []
    out = Rotation(path, Header())
    disk = Disk(monkeypatch)
    writer = WriterThread(out, failed.append)
    writer.start()
    writer.put(Batch(rows(7)))
    assert disk.waits.wait(60)
    for number in range(1, 1000):
        writer.put(Batch(rows(7, 7 * number)))  # returns: else the test would hang
    disk.go.set()
    writer.close("closed", ())
    assert times(path) == list(range(1000, 8000))
    with open_recording(path) as recording:
        assert len(recording.index) == 2  # what waited went in one piece
    assert failed == []


def test_what_waits_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 100)
    out = Rotation(tmp_path / "a.arrows", Header())
    disk = Disk(monkeypatch)
    writer = WriterThread(out, [].append)
    writer.start()
    given: list[int] = []

    def give() -> None:
        for number in range(10):
            writer.put(Batch(rows(30, 30 * number)))
            given.append(number)

    thread = threading.Thread(target=give)
    thread.start()
    assert disk.waits.wait(60)
    wait_for(lambda: len(given) == 4)  # 120 events: the fifth has to wait
    assert not disk.go.wait(0.05)
    assert len(given) == 4
    disk.go.set()
    thread.join()
    writer.close("closed", ())
    assert times(tmp_path / "a.arrows") == list(range(1000, 1300))


def test_a_disk_that_fails_is_told_and_everything_is_counted(tmp_path, monkeypatch):
    path, failed = tmp_path / "a.arrows", []
    out, writer = started(path, failed)
    writer.put(Batch(rows(23)))
    wait_for(lambda: out.rows == 23)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("recordings.format.output_files.os.pwrite", full)
        for first in (23, 69):
            writer.put(Batch(rows(46, first)))
            wait_for(lambda count=first + 23: out.unwritten == count)
    writer.close("closed", ())
    assert {type(error) for error in failed} == {RecordingError}
    assert "No space left on device" in str(failed[0])
    with open_recording(path) as recording:
        assert (recording.rows, recording.losses.lost) == (23, 92)


def test_what_is_no_event_of_ours_is_told_and_the_next_is_kept(tmp_path):
    path, failed = tmp_path / "a.arrows", []
    _, writer = started(path, failed)
    writer.put(Batch(rows(5).drop_columns(["pid"])))
    writer.put(Batch(rows(23)))
    writer.close("closed", ())
    assert [type(error) for error in failed] == [ValueError]
    assert times(path) == list(range(1000, 1023))


def test_halted_it_leaves_the_file_to_whoever_made_it(tmp_path):
    out, writer = started(tmp_path / "a.arrows", [])
    writer.put(Batch(rows(23)))
    writer.stop()
    writer.stop()
    assert out.rows == 23
    out.discard()
    assert list(tmp_path.iterdir()) == []


def test_files_end_by_time_though_nothing_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TICK_S", 0.001)
    out, writer = started(tmp_path / "a.arrows", [], limits=Limits(seconds=0.01))
    writer.put(Batch(rows(23)))
    wait_for(lambda: len(out.parts) == 1)
    writer.close("closed", ())
    assert [part.events for part in out.parts] == [23, 0]
