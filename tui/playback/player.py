# SPDX-License-Identifier: GPL-2.0-only
"""Plays a recording in time: a thin thread around ``tui.playback.replay``'s synchronous core.

No Textual here. ``Player.run`` is the body of a worker thread: it serves commands from a queue,
moves the core's clock, builds checkpoints while there is nothing else to do, and publishes one
frozen ``PlayerView`` a tick. An error ends it with that exception, which the caller must show.
"""

import queue
import time
from collections.abc import Callable
from typing import Final

from tui.playback.replay import MAX_SPEED, SPEEDS, PlayerView, Replay

__all__ = ["MAX_SPEED", "SPEEDS", "TICK_S", "Command", "Player", "PlayerView", "Replay"]

#: Time between two views, seconds.
TICK_S: Final = 1 / 30

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
    ) -> None:
        self.replay = replay
        self._clock = clock
        self._tick_s = tick_s
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
        replay, shown = self.replay, self.replay.view()
        publish(shown)
        indexing = True
        last = tick = self._clock()
        tick_ns = int(self._tick_s * 1e9)
        while not self.stopped:
            indexing = indexing and replay.index_some()
            command, received = self._next(indexing, tick + tick_ns - self._clock())
            now = self._clock()
            replay.advance(now - last)
            last = now
            try:
                if received:
                    if command is None or self.stopped:
                        return
                    command(replay)
                # Also before a wait without end: the position reached must be shown.
                if received or now - tick >= tick_ns or not replay.playing:
                    tick = now
                    view = replay.view()
                    if view != shown:
                        shown = view
                        publish(view)
            finally:
                if received:
                    self._commands.task_done()

    def _next(self, indexing: bool, left_ns: int) -> tuple[Command | None, bool]:
        """Wait for a command as long as there is nothing else to do."""
        timeout_s: float | None = None  # for ever
        if indexing or (self.replay.playing and self.replay.speed == MAX_SPEED):
            timeout_s = 0.0
        elif self.replay.playing:
            timeout_s = max(0.0, left_ns / 1e9)
        try:
            return self._commands.get(block=timeout_s != 0.0, timeout=timeout_s or None), True
        except queue.Empty:
            return None, False
