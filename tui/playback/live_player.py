# SPDX-License-Identifier: GPL-2.0-only
"""Plays a live capture: makes the same frozen views as a replay, of the events so far.

No Textual here. ``LivePlayer.run`` is the body of a worker thread: it folds the events the capture
has taken, and publishes a view a tick. Pausing freezes the published numbers, never the capture.
The position can leave the present (*twin mode*): the numbers go on, and the view says what has come
since.
A tick lengthens with its work, so that on a slow machine the screen leaves the capture three
quarters of the time.
"""

import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recordings.capture.drain import Capture
from recordings.explore.goto import Extent, GotoError, find
from recordings.explore.past import Past
from recordings.explore.span_table import SpanTable
from recordings.explore.sums import Passed
from tui.playback.explorer import Explorer
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


@dataclass(frozen=True, slots=True)
class _Moment:
    """A position in the past, and what there was when the present was left."""

    row: int
    time_ns: int
    events: int
    hits: int


class LivePlayer:
    """Runs in whatever thread calls ``run``; ``send``, ``stop`` and ``join`` are for any."""

    def __init__(
        self,
        capture: Capture,
        table: SpanTable,
        *,
        clock: Callable[[], float] = time.monotonic,
        tick_s: float = TICK_S,
    ) -> None:
        self.capture = capture
        self._clock = clock
        self._tick_s = tick_s
        self.table = table
        self._explorer = Explorer(capture.header, table)
        self._told = Past(table)
        self._moment: _Moment | None = None  # None: now
        self._note = ""
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

    # -- twin mode --------------------------------------------------------------------------

    def seek_time(self, time_ns: int) -> None:
        """Go to a moment; to the last one or beyond: back to now."""
        now = self._now()
        self._note = ""
        if now.first_ns is None or now.last_ns is None:
            self._note = "there is no past yet"
        elif time_ns >= now.last_ns:
            self.end()
        elif time_ns <= now.first_ns:
            self._go(0, now.first_ns)
        else:
            self._go(self._told.row_at(time_ns), time_ns)

    def seek_row(self, position: int) -> None:
        """Go to a position, the number of events that have happened."""
        now = self._now()
        if now.first_ns is None:
            self._note = "there is no past yet"
        elif position >= now.events:
            self.end()
        else:
            row = max(0, position)
            time_ns = self._told.time_of(row)
            self._go(row, now.first_ns if time_ns is None else time_ns)

    def seek_by(self, fraction: float) -> None:
        """Go forward or back by a fraction of the time so far."""
        now = self._now()
        first, last = now.first_ns or 0, now.last_ns or 0
        at = last if self._moment is None else self._moment.time_ns
        if self._moment is not None or fraction < 0:
            self.seek_time(at + round((last - first) * fraction))

    def home(self) -> None:
        """Go to before the first event."""
        self.seek_row(0)

    def end(self) -> None:
        """Return to now."""
        self._moment, self._note = None, ""

    def next_hit(self) -> None:
        """Go to just after the next hit or Oops began."""
        if self._moment is not None:
            self._to("next", self._told.next_hit(self._moment.row))
        else:
            self._note = "no next hit yet"

    def previous_hit(self) -> None:
        """Go to just after the previous hit or Oops began."""
        row = self._now().events if self._moment is None else max(0, self._moment.row - 1)
        self._to("previous", self._told.previous_hit(row))

    def goto(self, text: str) -> None:
        """Go where ``text`` says, or say why not."""
        now = self._now()
        row = now.events if self._moment is None else self._moment.row
        header = self.capture.header
        extent = Extent(
            now.first_ns, now.last_ns, now.events, row, header.clock, header.machine.window
        )
        try:
            place = find(text, extent, self.table)
        except GotoError as error:
            self._note = str(error)
            return
        if place.row is not None:
            self.seek_row(place.row + 1)
        elif place.time_ns is not None:
            self.seek_time(place.time_ns)
        self._note = place.note

    def say(self, note: str) -> None:
        """Show a line until something moves."""
        self._note = note

    # -- the filter -------------------------------------------------------------------------

    def let(self, text: str) -> None:
        """Show only what matches a filter; everything with an empty one."""
        self._note = ""
        self._explorer.let(text, self._now().first_ns)

    def order(self) -> None:
        """List calls and operations in the next order."""
        self._explorer.order()

    def _now(self) -> "Snapshot":
        """Return the numbers that are shown: the position is a place in what they are of."""
        return self._shown or self._take()

    def _take(self) -> "Snapshot":
        """Fold what has come; return the numbers of all of it, or the frozen ones."""
        capture = self.capture
        capture.fold()
        # Nothing new is the rule: then the snapshot before is as good.
        state = (capture.version, capture.running)
        if self._shown is None or not (self._paused or state == self._state):
            self._shown, self._state = capture.snapshot(), state
            self._explorer.update()
        return self._shown

    def _to(self, which: str, row: int | None) -> None:
        if row is None or row >= self._now().events:
            self._note = f"no {which} hit"
        else:
            self._note = ""
            self._go(row + 1, self._told.time_of(row + 1) or 0)

    def _go(self, row: int, time_ns: int) -> None:
        before = self._moment
        events, hits = (before.events, before.hits) if before else self.capture.counts()
        self._moment = _Moment(row, time_ns, events, hits)

    def view(self) -> PlayerView:
        """Return the numbers of what has come, or the frozen ones, and where the position is."""
        capture, now, shown = self.capture, self._clock(), self._take()
        out, moment = capture.out, self._moment
        while self._explorer.advance(shown):  # what came since the last view, as a rule
            pass
        numbers = self._explorer.snapshot(shown)
        passed = Passed(numbers.populate + numbers.free, numbers.hits, numbers.warnings)
        arrived: tuple[int, int] | None = None
        if moment is not None:
            matching = self._explorer.passed(moment.row)
            passed = matching or Passed(*self._told.counts(moment.row))
            events, hits = capture.counts()
            arrived = events - moment.events, hits - moment.hits
        row = shown.events if moment is None else moment.row
        return PlayerView(
            snapshot=numbers,
            read=1.0,
            row=row,
            followed=row,
            rows=shown.events,
            time_ns=shown.last_ns if moment is None else moment.time_ns,
            first_ns=shown.first_ns,
            last_ns=shown.last_ns,
            speed=1.0,
            paused=self._paused,
            at_end=not capture.running,
            passed=passed,
            note=self._note,
            listed=self._explorer.listed(shown),
            strip=self._explorer.strip(),
            live=LiveStatus(
                engine=capture.header.origin.get("live", ""),
                elapsed_s=int(now - capture.started),
                rate=self._rate(now),
                since=max(0, capture.events - shown.events) if self._paused else 0,
                file=Path(out.name).name if out is not None else "",
                size=out.size if out is not None else 0,
                failure=capture.failure or (out.problem if out is not None else ""),
                arrived=arrived,
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
