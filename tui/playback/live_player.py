# SPDX-License-Identifier: GPL-2.0-only
"""Plays a live capture: makes the same frozen views as a replay, of the events so far.

No Textual here. ``LivePlayer.run`` is the body of a worker thread: it folds the events the capture
has taken, and publishes a view a tick. Pausing freezes the published numbers, never the capture.
A tick lengthens with its work, so that on a slow machine the screen leaves the capture three
quarters of the time.
"""

import queue
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recordings.capture.drain import Capture
from tui.playback.timeline import Passed
from tui.playback.view import LiveStatus, PlayerView

if TYPE_CHECKING:
    from recordings.ledger.snapshot import Snapshot

__all__ = ["TICK_S", "Command", "LivePlayer"]

#: Time between two views, seconds, at least.
TICK_S: Final = 0.1
#: Folding and making views may take one in this many parts of the time.
_SHARE: Final = 4
#: Seconds over which the rate is taken.
_RATE_S: Final = 2.0

Command = Callable[["LivePlayer"], None]


class LivePlayer:
    """Runs in whatever thread calls ``run``; ``send``, ``stop`` and ``join`` are for any."""

    def __init__(
        self,
        capture: Capture,
        *,
        clock: Callable[[], float] = time.monotonic,
        tick_s: float = TICK_S,
    ) -> None:
        self.capture = capture
        self._clock = clock
        self._tick_s = tick_s
        self._commands: queue.Queue[Command | None] = queue.Queue()
        self._paused = False
        self._shown: Snapshot | None = None
        self._state = (0, False)  # of the capture, when the snapshot was taken
        self._past: deque[tuple[float, int]] = deque()  # (time, events so far)

    def send(self, command: Command) -> None:
        """Have ``command`` done by the player's thread, in order."""
        self._commands.put(command)

    def stop(self) -> None:
        """End ``run`` after the commands before this."""
        self._commands.put(None)

    def join(self) -> None:
        """Wait until everything sent so far is done and its view published."""
        self._commands.join()

    def toggle(self) -> None:
        """Freeze the view, or let it go on."""
        self._paused = not self._paused

    def view(self) -> PlayerView:
        """Fold what has come, and return the present moment, or the frozen one."""
        capture, now = self.capture, self._clock()
        capture.fold()
        # Nothing new is the rule: then the snapshot before is as good.
        state = (capture.version, capture.running)
        if self._shown is None or not (self._paused or state == self._state):
            self._shown, self._state = capture.snapshot(), state
        shown, out = self._shown, capture.out
        return PlayerView(
            snapshot=shown,
            read=1.0,
            row=shown.events,
            rows=shown.events,
            time_ns=shown.last_ns,
            first_ns=shown.first_ns,
            last_ns=shown.last_ns,
            speed=1.0,
            paused=self._paused,
            at_end=not capture.running,
            passed=Passed(shown.populate + shown.free, shown.hits, shown.warnings),
            live=LiveStatus(
                engine=capture.header.origin.get("live", ""),
                elapsed_s=int(now - capture.started),
                rate=self._rate(now),
                since=max(0, capture.events - shown.events) if self._paused else 0,
                file=Path(out.name).name if out is not None else "",
                size=out.size if out is not None else 0,
                failure=capture.failure or (out.problem if out is not None else ""),
            ),
        )

    def run(self, publish: Callable[[PlayerView], None]) -> None:
        """Serve until ``stop``; call ``publish`` with a view whenever one differs."""
        shown: PlayerView | None = None
        timeout_s = 0.0
        while True:
            command, received = self._next(timeout_s)
            began = time.thread_time()
            try:
                if received:
                    if command is None:
                        return
                    command(self)
                view = self.view()
                if view != shown:
                    shown = view
                    publish(view)
            finally:
                if received:
                    self._commands.task_done()
            timeout_s = max(self._tick_s, (_SHARE - 1) * (time.thread_time() - began))

    def _next(self, timeout_s: float) -> tuple[Command | None, bool]:
        try:
            return self._commands.get(timeout=timeout_s), True
        except queue.Empty:
            return None, False

    def _rate(self, now: float) -> int:
        self._past.append((now, self.capture.events))
        while len(self._past) > 2 and now - self._past[1][0] >= _RATE_S:
            self._past.popleft()
        (first, before), (last, after) = self._past[0], self._past[-1]
        return round((after - before) / (last - first)) if last > first else 0
