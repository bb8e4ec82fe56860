# SPDX-License-Identifier: GPL-2.0-only
"""The live player: views of the events so far, pausing, rate; no screen and no real clock."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.feed import Feed
from recordings.capture.drain import Capture, header_of
from recordings.capture.rotation import Rotation
from recordings.format.reader import open_recording
from recordings.ledger.ledger import fold
from recordings.ledger.snapshot import Verdict
from tests.recordings.made import rows, wait_for
from tracers.batch import Batch, Losses
from tui.playback.live_player import LivePlayer

#: 4 operations, 128 sections' add, remove, populate and free, 256 WARNs, each with its end; hits.
EVENTS, CALLS = 1544, 256


class Clock:
    """Seconds, as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def storm(samples: Path):
    """A capture that has all of the storm, its player, and the player's clock."""
    with running(Feed(samples / "storm.arrows")) as made:
        yield made


@contextmanager
def running(feed: Feed, out: Rotation | None = None) -> Iterator[tuple[Capture, LivePlayer, Clock]]:
    capture = Capture(feed, out)
    capture.start()
    due = feed._due
    wait_for(lambda: not due())
    wait_for(lambda: capture.events == feed.sent)
    clock = Clock()
    clock.now = capture.started
    yield capture, LivePlayer(capture, clock=clock), clock
    capture.stop()


def test_the_view_is_of_everything_that_came(storm):
    _, player, clock = storm
    clock.now += 83.9
    view = player.view()
    assert (view.row, view.rows, view.snapshot.events) == (EVENTS, EVENTS, EVENTS)
    assert view.snapshot.hits == CALLS
    assert view.snapshot.verdict is Verdict.OUT_OF_RANGE
    assert (view.paused, view.at_end) == (False, False)
    assert view.time_ns == view.last_ns == view.snapshot.last_ns
    assert view.live.engine == "feed"
    assert view.live.elapsed_s == 83
    assert (view.live.file, view.live.size, view.live.failure) == ("", 0, "")


def test_the_end_is_what_report_says(tmp_path, samples):
    path = tmp_path / "a.arrows"
    feed = Feed(samples / "storm.arrows")
    out = Rotation(path, header_of(feed), fsync=False)
    with running(feed, out) as (capture, player, _):
        assert player.view().live.file == "a.arrows"
        capture.stop()
        view = player.view()
        assert view.at_end
        assert view.live.size == path.stat().st_size
        with open_recording(path) as recording:
            assert view.snapshot == fold(recording)


def test_before_any_event(samples):
    with running(Feed(samples / "storm.arrows", held=0)) as (_, player, _):
        view = player.view()
        assert (view.row, view.time_ns, view.snapshot.events) == (0, None, 0)
        assert view.elapsed_ns == view.length_ns == 0


def test_pausing_freezes_the_view_and_not_the_capture(samples):
    feed = Feed(samples / "storm.arrows", held=200)
    with running(feed) as (capture, player, _):
        before = player.view()
        assert before.row == 200
        player.toggle()
        feed.release()
        wait_for(lambda: capture.events == EVENTS)
        frozen = player.view()
        assert frozen.paused
        assert frozen.live.since == EVENTS - 200
        assert frozen.snapshot == before.snapshot
        assert capture.snapshot().events == EVENTS  # folded all the same
        player.toggle()
        after = player.view()
        assert (after.row, after.paused, after.live.since) == (EVENTS, False, 0)


def test_losses_without_an_event_are_shown(storm):
    capture, player, _ = storm
    assert player.view().snapshot.losses == Losses()
    capture._take(Batch(rows(0), Losses(lost=7)))
    assert player.view().snapshot.losses == Losses(lost=7)


def test_what_failed_is_in_the_view(storm):
    capture, player, _ = storm
    capture._fail(OSError(5, "Input/output error"))
    assert "Input/output error" in player.view().live.failure


def test_the_rate_is_of_the_last_seconds(storm):
    capture, player, clock = storm
    assert player.view().live.rate == 0
    for events, rate in ((100, 100), (200, 150), (300, 250), (0, 150), (0, 0), (0, 0)):
        clock.now += 1
        capture.events += events  # as if captured
        assert player.view().live.rate == rate


def test_nothing_new_takes_no_new_snapshot(storm, monkeypatch):
    capture, player, _ = storm
    shown = player.view()
    monkeypatch.setattr(capture, "snapshot", lambda: pytest.fail("taken again"))
    assert player.view() == shown


def test_run_publishes_what_differs_and_ends(storm):
    _, player, clock = storm
    player._tick_s = 0.001
    views = []
    thread = threading.Thread(target=player.run, args=[views.append])
    thread.start()
    player.send(LivePlayer.toggle)
    player.join()
    assert views[-1].paused
    views_before = len(views)
    clock.now += 1
    wait_for(lambda: len(views) > views_before)
    assert views[-1].live.elapsed_s == 1
    player.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert all(a != b for a, b in itertools.pairwise(views))
