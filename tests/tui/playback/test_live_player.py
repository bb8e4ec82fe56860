# SPDX-License-Identifier: GPL-2.0-only
"""The live player: views of the events so far, pausing, rate; no screen and no real clock."""

import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.feed import Feed
from recordings.capture.drain import Capture, header_of
from recordings.capture.rotation import Rotation
from recordings.explore.filler import Filler
from recordings.explore.span_table import SpanTable
from recordings.format.reader import open_recording
from recordings.ledger.snapshot import Verdict
from recordings.ledger.whole import fold
from tests.recordings.made import rows, wait_for
from tracers.batch import Batch, Losses
from tui.playback.live_player import LivePlayer

#: 4 operations, 128 sections' add, remove, populate and free, 256 WARNs, each with its end; hits.
EVENTS, CALLS = 1544, 256
#: Events of the storm that ftrace saw, derived calls included.
TRACED = 904


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


@pytest.fixture
def traced_storm(traced: Path):
    """The same of the storm of hole.ftrace.txt."""
    with running(Feed(traced / "storm.arrows")) as made:
        yield made


@contextmanager
def running(feed: Feed, out: Rotation | None = None) -> Iterator[tuple[Capture, LivePlayer, Clock]]:
    table = SpanTable()
    capture = Capture(feed, out, sink=Filler(table))
    capture.start()
    due = feed._due
    wait_for(lambda: not due())
    wait_for(lambda: capture.events == feed.sent)
    clock = Clock()
    clock.now = capture.started
    yield capture, LivePlayer(capture, table, clock=clock), clock
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


def starts(captures: Path, *events: str) -> list[int]:
    """The times at which the kernel's text says that a function was entered."""
    text = (captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt").read_text()
    found = re.findall(r" (\d+)\.(\d{6}): (\w+): ", text)
    return [int(s + us) * 1000 for s, us, event in found if event in events]


def test_the_past_is_counted_exactly(captures, traced_storm):
    """Moments of the storm in which the kernel's own trace has so many frees and WARNs."""
    _, player, _ = traced_storm
    frees, warns = starts(captures, "vmemmap_free"), starts(captures, "warn")
    for number in (0, 1, 63, 127):
        player.seek_time(frees[number])
        view = player.view()
        assert view.time_ns == frees[number]
        assert view.passed.hits - CALLS // 2 == number + 1  # the 128 populates came before
        assert view.passed.calls == view.passed.hits
        assert view.passed.warnings == sum(at <= frees[number] for at in warns)
        assert view.snapshot.hits == CALLS
        assert view.rows == TRACED
        assert view.live.arrived == (0, 0)
    player.end()
    assert player.view().live.arrived is None
    assert player.view().row == TRACED


def test_what_arrives_while_in_the_past(captures, traced):
    feed = Feed(traced / "storm.arrows", held=600)
    frees = starts(captures, "vmemmap_free")
    with running(feed) as (capture, player, _):
        before = player.view()
        player.home()
        home = player.view()
        assert (home.row, home.passed.calls, home.elapsed_ns) == (0, 0, 0)
        assert home.snapshot == before.snapshot
        feed.release()
        wait_for(lambda: capture.events == TRACED)
        view = player.view()
        assert (view.row, view.rows, view.snapshot.hits) == (0, TRACED, CALLS)
        assert view.live.arrived == (TRACED - 600, CALLS - before.snapshot.hits)
        player.seek_time(frees[-1])
        assert player.view().live.arrived == view.live.arrived  # it never was now since
        player.seek_time(2**64 - 1)
        assert player.view().live.arrived is None
        player.home()
        assert player.view().live.arrived == (0, 0)


def test_hits_back_and_on(captures, traced_storm):
    """From now back over every hit, as the text of the kernel has them, and on again."""
    _, player, _ = traced_storm
    frees = starts(captures, "vmemmap_free")
    player.next_hit()
    assert (player.view().row, player.view().note) == (TRACED, "no next hit yet")
    for at in reversed(frees):
        player.previous_hit()
        assert player.view().time_ns == at
    for at in frees[1:]:
        player.next_hit()
        assert player.view().time_ns == at
    player.next_hit()
    assert player.view().note == "no next hit"
    player.home()
    player.previous_hit()
    assert player.view().note == "no previous hit"


def test_going_by_steps_ends_at_now(traced_storm):
    _, player, _ = traced_storm
    player.seek_by(0.05)
    assert player.view().live.arrived is None  # there is nothing behind now
    player.seek_by(-0.05)
    player.seek_by(-0.05)
    first = player.view()
    assert first.elapsed_ns == first.length_ns - 2 * round(first.length_ns / 20)
    player.seek_by(0.05)
    player.seek_by(0.05)
    assert player.view().live.arrived is None


def test_going_to_a_place(captures, traced_storm):
    _, player, _ = traced_storm
    free = starts(captures, "vmemmap_free")[127]
    player.goto("#500")
    assert player.view().row == 501
    player.goto("0xffffffff4ee00000")
    view = player.view()
    assert (view.time_ns, view.passed.hits, view.note) == (free, CALLS, "")
    player.goto("nowhere")
    assert player.view().row == view.row
    assert "'nowhere' is no place" in player.view().note
    player.goto("[    5.408421]")  # the feed's clock is not dmesg's
    assert "how the two relate is not known" in player.view().note
    player.goto("100%")
    assert player.view().live.arrived is None


def test_frozen_numbers_have_no_later_past(traced):
    feed = Feed(traced / "storm.arrows", held=200)
    with running(feed) as (capture, player, _):
        before = player.view()
        player.toggle()
        player.previous_hit()
        feed.release()
        wait_for(lambda: capture.events == TRACED)
        view = player.view()
        assert view.paused
        assert (view.rows, view.snapshot) == (200, before.snapshot)
        assert view.live.arrived == (TRACED - 200, CALLS - before.snapshot.hits)
        player.next_hit()
        assert player.view().note == "no next hit"


def test_before_any_event_there_is_no_past(traced):
    with running(Feed(traced / "storm.arrows", held=0)) as (_, player, _):
        for go in (player.home, lambda: player.seek_by(-0.1), lambda: player.goto("#1")):
            go()
            view = player.view()
            assert (view.row, view.live.arrived) == (0, None)
            assert view.note
        player.previous_hit()
        assert player.view().live.arrived is None


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
