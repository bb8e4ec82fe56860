# SPDX-License-Identifier: GPL-2.0-only
"""Shows a live capture: the same frozen views as a replay's, of what has happened by now.

No Textual here. ``LivePlayer.run`` is the body of a worker thread: it folds what the capture has
taken, and hands out a view a tick. Pausing freezes the numbers it hands out, never the capture.
A tick is as long as its work makes it, so that on a slow machine the screen leaves the capture
three quarters of the time.
"""

import queue
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recordings.capture.drain import Capture
from tui.playback.replay import Live, PlayerView

if TYPE_CHECKING:
    from recordings.ledger.snapshot import Snapshot

__all__ = ["TICK_S", "Command", "LivePlayer"]

#: Time between two views, seconds, at least.
TICK_S: Final = 0.1
#: The share of time that folding and looking may take is one in this many.
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
        self._state = (0, False)  # what of the capture it shows
        self._past: deque[tuple[float, int]] = deque()  # when how many events had come

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
            row=shown.events,
            rows=shown.events,
            time_ns=shown.last_ns,
            first_ns=shown.first_ns,
            last_ns=shown.last_ns,
            speed=1.0,
            paused=self._paused,
            at_end=not capture.running,
            live=Live(
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
        patience = 0.0
        while True:
            command, got = self._next(patience)
            began = time.thread_time()
            try:
                if got:
                    if command is None:
                        return
                    command(self)
                view = self.view()
                if view != shown:
                    shown = view
                    publish(view)
            finally:
                if got:
                    self._commands.task_done()
            patience = max(self._tick_s, (_SHARE - 1) * (time.thread_time() - began))

    def _next(self, patience: float) -> tuple[Command | None, bool]:
        try:
            return self._commands.get(timeout=patience), True
        except queue.Empty:
            return None, False

    def _rate(self, now: float) -> int:
        self._past.append((now, self.capture.events))
        while len(self._past) > 2 and now - self._past[1][0] >= _RATE_S:
            self._past.popleft()
        (first, before), (last, after) = self._past[0], self._past[-1]
        return round((after - before) / (last - first)) if last > first else 0
