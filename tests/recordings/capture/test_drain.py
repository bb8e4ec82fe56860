# SPDX-License-Identifier: GPL-2.0-only
"""Capturing a feed: every event reaches file and numbers, whatever fails."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings.capture import drain as module
from recordings.capture.drain import Capture, header_of, merged
from recordings.capture.rotation import Limits, Rotation
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Verdict
from recordings.ledger.whole import fold
from tests.recordings.made import rows, wait_for
from tracers.batch import Batch, Losses
from tracers.errors import VmemscopeError
from tracers.kinds import Kind
from tracers.machine import Machine
from tracers.observer import Observer, ProbeCost


class Script:
    """A source that gives what the test says, in order; an exception is raised."""

    def __init__(self, *polled: Batch | Exception | None, rest: tuple[object, ...] = ()) -> None:
        self.machine = Machine(release="6.1")
        self.probes = {"vmemmap_free": "kprobe entry+return"}
        self.warn_sites = ("arch/arm64/mm/mmu.c:1222",)
        self.clock: dict[str, str | int | None] = {"name": "mono", "offset_ns": 5}
        self.origin = {"live": "script"}
        self.notes = ("a note",)
        self.observer = Observer({Kind.FREE: ProbeCost(5000, 3000)})
        self.polled = list(polled)
        self.rest = rest
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.refuses: Exception | None = None
        self.said: tuple[str, ...] | Exception = ("__warn 2, warn_count 2",)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.threads.add(threading.get_ident())

    def start(self) -> None:
        self._called("start")
        if self.refuses is not None:
            raise self.refuses

    def poll(self, timeout_s: float) -> Batch | None:
        self.threads.add(threading.get_ident())
        if not self.polled:
            threading.Event().wait(timeout_s / 10)
            return None
        given = self.polled.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    def stop(self) -> Iterator[Batch]:
        self._called("stop")
        for given in self.rest:
            if isinstance(given, Exception):
                raise given
            assert isinstance(given, Batch)
            yield given

    def closing(self) -> tuple[str, ...]:
        self._called("closing")
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    def close(self) -> None:
        self._called("close")


def captured(path: Path | None, source: Script, reason: str = "SIGTERM", **limits) -> Capture:
    """Capture a script to its end, or to where it breaks."""
    out = path and Rotation(path, header_of(source), Limits(**limits), fsync=False)
    capture = Capture(source, out or None)
    capture.start()
    wait_for(lambda: not source.polled or not capture.running)
    capture.stop(reason)
    return capture


def times(path: Path) -> list[int]:
    with open_recording(path) as recording:
        return [t for batch in recording.batches() for t in batch.events["ts_ns"].to_pylist()]


def test_everything_is_in_the_file_with_why_it_ended_and_what_was_said(tmp_path):
    path = tmp_path / "a.arrows"
    source = Script(
        Batch(rows(23)),
        None,
        Batch(rows(46, 23), Losses(lost=2)),
        rest=(Batch(rows(5, 69), Losses(torn=1)),),
    )
    capture = captured(path, source)
    assert source.calls == ["start", "stop", "closing", "close"]
    assert len(source.threads) == 1  # one thread drives a source
    with open_recording(path) as recording:
        assert recording.rows == 74
        assert recording.ended == "SIGTERM"
        assert recording.closing_notes == ("__warn 2, warn_count 2",)
        assert recording.header.probes == source.probes
        assert recording.header.origin == source.origin
        assert recording.header.clock == source.clock
        assert recording.header.warn_sites == source.warn_sites
        assert recording.header.notes == ("a note",)
        assert recording.header.created_ns > 0
        assert capture.snapshot() == fold(recording)
    assert times(path) == list(range(1000, 1074))
    assert capture.snapshot().losses == Losses(lost=2, torn=1)
    assert (capture.events, capture.failure) == (74, "")


def test_without_a_file_the_numbers_are_there_all_the_same():
    capture = captured(None, Script(Batch(rows(23)), Batch(rows(46, 23))))
    ledger = Ledger.of(capture.header)
    ledger.fold(rows(69))
    assert capture.snapshot() == ledger.snapshot(final=True)


def test_folding_is_for_whoever_asks_and_loses_nothing(tmp_path):
    batches = [Batch(rows(7, 7 * i), Losses(rejected=1)) for i in range(200)]
    source = Script(*batches)
    capture = Capture(source, Rotation(tmp_path / "a.arrows", header_of(source), fsync=False))
    capture.start()
    done = threading.Event()

    def fold_often() -> None:
        while not done.is_set():
            capture.fold()
            capture.snapshot()

    threads = [threading.Thread(target=fold_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: not source.polled)
    capture.stop()
    done.set()
    for thread in threads:
        thread.join()
    assert capture.snapshot().events == 1400
    assert capture.snapshot().losses == Losses(rejected=200)


def test_nobody_folding_bounds_memory(monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 100)
    source = Script(*[Batch(rows(30, 30 * i)) for i in range(11)])
    capture = Capture(source)
    capture.start()
    wait_for(lambda: not source.polled and capture.events == 330)
    assert capture.version == 2  # after 120 and after 240 events
    assert capture.snapshot().events == 240
    capture.stop()
    assert capture.snapshot().events == 330


def test_midway_the_numbers_are_not_final():
    source = Script(Batch(rows(1)))  # an entry
    capture = Capture(source)
    capture.start()
    wait_for(lambda: capture.events == 1)
    capture.fold()
    assert capture.running
    assert not any("no end" in reason for reason in capture.snapshot().verdict_reasons)
    capture.stop()
    assert not capture.running
    assert any("no end" in reason for reason in capture.snapshot().verdict_reasons)


def test_a_source_that_refuses_to_start_says_so_and_is_closed(tmp_path):
    source = Script()
    source.refuses = VmemscopeError("no slot is free")
    capture = Capture(source)
    with pytest.raises(VmemscopeError, match="no slot is free"):
        capture.start()
    assert source.calls == ["start", "close"]
    assert not capture.running


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(19, "No such device"), "OSError: [Errno 19] No such device"),
        (VmemscopeError("the engine is gone"), "the engine is gone"),
    ],
)
def test_a_source_that_breaks_leaves_a_whole_file(tmp_path, error, told):
    path = tmp_path / "a.arrows"
    source = Script(Batch(rows(23)), error, Batch(rows(1, 99)), rest=(Batch(rows(46, 23)),))
    capture = captured(path, source)
    assert source.calls == ["start", "stop", "closing", "close"]
    assert capture.failure == told
    assert times(path) == list(range(1000, 1069))
    with open_recording(path) as recording:
        assert recording.losses == Losses(without_end=1)
        assert recording.ended == told
        assert told in recording.closing_notes


def test_a_source_that_cannot_stop_is_closed_and_the_file_is_whole(tmp_path):
    path = tmp_path / "a.arrows"
    source = Script(Batch(rows(23)), rest=(Batch(rows(2, 23)), OSError(5, "Input/output error")))
    source.said = ValueError("never asked")
    capture = captured(path, source)
    assert source.calls == ["start", "stop", "close"]
    assert times(path) == list(range(1000, 1025))
    assert "Input/output error" in capture.failure
    assert capture.snapshot().losses == Losses(without_end=1)
    with open_recording(path) as recording:
        assert recording.ended == capture.failure


def test_a_disk_that_fails_stops_neither_the_source_nor_the_numbers(tmp_path, monkeypatch):
    path = tmp_path / "a.arrows"
    source = Script(Batch(rows(23)), None)
    capture = Capture(source, Rotation(path, header_of(source)))
    capture.start()
    wait_for(lambda: capture.out.rows == 23)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("recordings.format.output_files.os.pwrite", full)
        source.polled += [Batch(rows(46, 23)), Batch(rows(5, 69))]
        wait_for(lambda: capture.events == 74 and capture.failure)  # without another event
        source.polled += [Batch(rows(6, 74))]
        wait_for(lambda: capture.events == 80)
    assert capture.running
    capture.stop()
    assert "No space left on device" in capture.failure
    assert capture.out.unwritten == 57
    assert capture.snapshot().events == 80
    assert capture.snapshot().verdict is Verdict.INCONCLUSIVE
    assert times(path) == list(range(1000, 1023))
    with open_recording(path) as recording:
        assert recording.losses.lost == 57


def test_idle_files_rotate_too(tmp_path):
    source = Script(Batch(rows(23)))
    out = Rotation(tmp_path / "a.arrows", header_of(source), Limits(seconds=0.01))
    capture = Capture(source, out)
    capture.start()
    wait_for(lambda: len(out.parts) == 1)
    capture.stop()
    assert [part.events for part in out.parts] == [23, 0]


def test_stop_again_does_nothing(tmp_path):
    source = Script(Batch(rows(23)))
    capture = captured(tmp_path / "a.arrows", source)
    capture.stop("again")
    assert source.calls.count("stop") == 1
    with open_recording(tmp_path / "a.arrows") as recording:
        assert recording.ended == "SIGTERM"


def test_merged_keeps_the_order_and_adds_the_losses():
    pieces = [
        Batch(rows(3), Losses(lost=1)),
        Batch(rows(0), Losses(lost_unknown=2)),
        Batch(rows(4, 3), Losses(torn=3)),
    ]
    losses, events = merged(pieces)
    assert losses == Losses(lost=1, lost_unknown=2, torn=3)
    assert events.equals(rows(7))
    losses, events = merged([Batch(rows(0), Losses(lost=1))])
    assert (losses.lost, events.num_rows) == (1, 0)
