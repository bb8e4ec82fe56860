# SPDX-License-Identifier: GPL-2.0-only
"""Plays a recording in time: a thin thread around ``tui.playback.replay``'s synchronous core.

No Textual here. ``Player.run`` is the body of a worker thread: it serves commands from a queue,
moves the core's clock, reads and counts while there is nothing else to do, and publishes one
frozen ``PlayerView`` a tick. An error ends it with that exception, which the caller must show.
"""

import queue
import time
from collections.abc import Callable
from typing import Final

from recordings.explore.index import PIECE
from tui.playback.replay import MAX_SPEED, SPEEDS, Replay
from tui.playback.view import PlayerView

__all__ = ["MAX_SPEED", "SPEEDS", "TICK_S", "Command", "Player", "PlayerView", "Replay"]

#: Time between two views, seconds: where every event of true time or slower is to be seen, and
#: where only the clock moves, or more than eyes can follow.
TICK_S: Final = 1 / 30
SLOW_TICK_S: Final = 1 / 10
#: Views that lists stay as they are for while it plays: whole pages of them change at once, which
#: nobody can read as fast, and which is most of what goes to the terminal.
LISTED: Final = 5

#: What the UI may ask for: a method of ``Replay`` or anything that takes one.
Command = Callable[[Replay], None]


class Player:
    """Runs a ``Replay`` in whatever thread calls ``run``; everything else may call from any."""

    def __init__(
        self,
        replay: Replay,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        tick_s: float = TICK_S,
        slow_tick_s: float = SLOW_TICK_S,
    ) -> None:
        self.replay = replay
        self._clock = clock
        self._tick_ns, self._slow_tick_ns = int(tick_s * 1e9), int(slow_tick_s * 1e9)
        self._commands: queue.Queue[Command | None] = queue.Queue()
        self.stopped = False

    def send(self, command: Command) -> None:
        """Have ``command`` done by the player's thread, in order."""
        self._commands.put(command)

    def stop(self) -> None:
        """End ``run``; commands that have not begun are not done any more."""
        self.stopped = True
        self._commands.put(None)

    def join(self) -> None:
        """Wait until everything sent so far is done and its view published."""
        self._commands.join()

    def run(self, publish: Callable[[PlayerView], None]) -> None:
        """Serve until ``stop``; call ``publish`` with a view whenever one differs.

        At most one view per tick and command. Whatever goes wrong is raised.
        """
        replay = self.replay
        # What is read in a moment is on the screen from its first frame on.
        while replay.index.events < PIECE and replay.read_some():
            pass
        shown = replay.view()
        publish(shown)
        last = tick = self._clock()
        passed = 0  # views since the lists followed
        while not self.stopped:
            working = replay.work()
            command, received = self._next(working, tick)
            now = self._clock()
            replay.advance(now - last)
            last = now
            try:
                if received:
                    if command is None or self.stopped:
                        return
                    command(replay)
                # Also before a wait without end: what was reached must be shown.
                idle = not working and not replay.playing
                if received or idle or now - tick >= self._interval(shown):
                    tick = now
                    still = not received and replay.playing and passed < LISTED
                    passed = passed + 1 if still else 0
                    view = replay.view(follow=not still)
                    if view != shown:
                        shown = view
                        publish(view)
            finally:
                if received:
                    self._commands.task_done()

    def _interval(self, shown: PlayerView | None = None) -> int:
        """Nanoseconds from a view to the next; without ``shown`` if there is something to see."""
        moved = shown is None or self.replay.row != shown.row
        return self._tick_ns if self.replay.speed <= 1 and moved else self._slow_tick_ns

    def _next(self, working: bool, tick: int) -> tuple[Command | None, bool]:
        """Wait for a command as long as there is nothing else to do."""
        timeout_s: float | None = None  # for ever
        if working:
            timeout_s = 0.0
        elif self.replay.playing:
            left = tick + self._interval() - self._clock()
            # A tick that showed nothing new is followed by another wait.
            timeout_s = (left if left > 0 else self._interval()) / 1e9
        try:
            return self._commands.get(block=timeout_s != 0.0, timeout=timeout_s or None), True
        except queue.Empty:
            return None, False
