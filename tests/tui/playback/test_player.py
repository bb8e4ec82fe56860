# SPDX-License-Identifier: GPL-2.0-only
"""The thread around the core: commands in order, views only on change, errors raised."""

import queue
import threading
from dataclasses import replace

import pytest

from tests.tui.small_recordings import MS
from tui.playback import player as player_module
from tui.playback.player import MAX_SPEED, Player, PlayerView, Replay


class Running:
    """A player in a thread, its clock under the test's control."""

    def __init__(self, replay: Replay, tick_s: float = 0.0) -> None:
        self.now = 0
        self.views: list[PlayerView] = []
        self.error: BaseException | None = None
        self.player = Player(replay, clock=lambda: self.now, tick_s=tick_s, slow_tick_s=tick_s)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.player.run(self.views.append)
        except OSError as error:
            self.error = error

    def do(self, command) -> PlayerView:
        self.player.send(command)
        self.player.join()
        return self.views[-1]

    def stop(self) -> None:
        self.player.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def running(storm):
    runner = Running(Replay(storm, paused=True))
    yield runner
    runner.stop()


def test_commands_are_done_in_order_and_shown(running):
    for command, row in ((Replay.end, 288), (Replay.home, 0), (Replay.next_hit, 3)):
        assert running.do(command).row == row
    assert [view.row for view in running.views] == [0, 288, 0, 3]
    assert all(view.final for view in running.views)  # it is small: read before the first frame


def test_what_changes_nothing_publishes_nothing(running):
    running.do(Replay.home)
    running.do(Replay.home)
    assert len(running.views) == 1


def test_time_passes_before_a_command_not_after_it(running):
    running.do(Replay.toggle)
    running.now += 30 * MS
    view = running.do(Replay.toggle)
    assert (view.elapsed_ns, view.paused) == (30 * MS, True)
    running.now += 1000 * MS
    assert running.do(Replay.toggle).elapsed_ns == 30 * MS


def test_the_end_is_shown_though_no_tick_is_due(storm):
    ended = threading.Event()
    player = Player(Replay(storm, speed=MAX_SPEED), clock=lambda: 0, tick_s=0.01, slow_tick_s=0.01)
    thread = threading.Thread(
        target=player.run, args=[lambda view: view.at_end and ended.set()], daemon=True
    )
    thread.start()
    assert ended.wait(30)
    player.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_an_error_ends_the_thread_with_it(storm):
    def broken(_: Replay) -> None:
        raise OSError(5, "Input/output error")

    running = Running(Replay(storm, paused=True))
    running.player.send(broken)
    running.thread.join(30)
    assert not running.thread.is_alive()
    assert isinstance(running.error, OSError)


def test_stopping_does_not_wait_for_commands_that_have_not_begun(storm):
    running = Running(Replay(storm, paused=True))
    begun, go_on, done = threading.Event(), threading.Event(), []
    running.player.send(lambda _: (begun.set(), go_on.wait(30)))
    begun.wait(30)
    for _ in range(100):
        running.player.send(done.append)
    running.player.stop()
    go_on.set()
    running.thread.join(30)
    assert not running.thread.is_alive()
    assert done == []


def test_a_large_one_is_read_behind_the_first_frame(storm, monkeypatch):
    monkeypatch.setattr(player_module, "PIECE", 1)
    running = Running(Replay(storm, paused=True))
    while not running.views[-1:] or not running.views[-1].final:
        running.do(Replay.home)
    running.stop()
    first, *_, last = running.views
    assert first.read < 1
    assert last.snapshot.hits == 80


class Second:
    """A queue of commands in which a second passes and nothing else; and its clock."""

    def __init__(self):
        self.now = 0

    def get(self, block, timeout):
        self.now += round(timeout * 1e9) if block else 1_000_000
        if self.now < 10**9:
            raise queue.Empty

    def task_done(self):
        pass


@pytest.mark.parametrize(("speed", "row_moves", "views"), [(1, True, 30), (1, False, 10),
                                                           (64, True, 10)])  # fmt: skip
def test_views_a_second(storm, monkeypatch, speed, row_moves, views):
    """30 where each event can be seen, at most 10 where only the clock moves or all is too fast."""
    second, times = Second(), []
    monkeypatch.setattr(player_module.queue, "Queue", lambda: second)
    replay = Replay(storm, speed=speed)
    replay.read_all()
    moved = iter(range(10**9))
    replay.advance = lambda _: setattr(replay, "row", next(moved) if row_moves else 0)
    inner = replay.view
    replay.view = lambda **asked: replace(inner(**asked), time_ns=second.now)
    Player(replay, clock=lambda: second.now).run(lambda _: times.append(second.now))
    assert views * 0.7 <= len(times) <= views + 1  # a slow tick ends with a fast one
