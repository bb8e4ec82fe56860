# SPDX-License-Identifier: GPL-2.0-only
"""Plays a recording, synchronously: the position in it, and everything that moves the position.

``Replay`` owns the recording's timeline and what reads it once, the index. Promises: the numbers of
a view are of all that was read and do not depend on the position; moving costs a search, whatever
the recording holds. It uses no threads and no clocks: ``tui.playback.player`` does.

Times are nanoseconds of the trace's clock, positions numbers of rows that have happened.
"""

from bisect import bisect_right
from typing import Final

from recordings.explore.goto import Extent, GotoError, find
from recordings.explore.index import Index
from recordings.explore.sums import Passed
from recordings.format.reader import Recording
from recordings.ledger.verdict import judging
from tracers.events import Kind
from tui.playback.explorer import Explorer
from tui.playback.timeline import Timeline
from tui.playback.view import PlayerView

#: "As fast as possible" among the speeds.
MAX_SPEED: Final = float("inf")
SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, MAX_SPEED)
#: Rows that "as fast as possible" moves by in one ``advance``, so that it can be seen.
BURST: Final = 256 * 1024

_OUTER: Final = (Kind.MEMREMAP, Kind.MEMUNMAP)
_HOTPLUG: Final = (Kind.ADD_PAGES, Kind.REMOVE_PAGES)


class Replay:
    """The synchronous core: a position in a recording and everything that moves it."""

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float = 1.0,
        paused: bool = False,
        burst: int = BURST,
    ) -> None:
        self._header = recording.header
        self.timeline = Timeline(recording)
        self.index = Index(recording)
        self.explorer = Explorer(recording.header, self.index.table)
        self._read = [(0, Passed())]  # after each piece: rows read, and what is in them
        self._passed: tuple[int, Passed] | None = None  # of the position it was last asked for
        self.speed = speed
        self.paused = paused
        self.row = 0  # the position
        self._followed = 0
        self._burst = burst
        self._time = self.timeline.first_ns or 0
        self._carry = 0.0  # fraction of a nanosecond of trace time not yet played
        self._note = ""

    # -- where it is ------------------------------------------------------------------------

    @property
    def at_end(self) -> bool:
        """Whether every row has happened."""
        return self.row >= self.timeline.rows

    @property
    def playing(self) -> bool:
        """Whether ``advance`` would move."""
        return not self.paused and not self.at_end

    def view(self, *, follow: bool = True) -> PlayerView:
        """Return the present moment, frozen. ``follow``: let the lists show it, too."""
        timeline, whole = self.timeline, self.index.snapshot()
        if follow:
            self._followed = self.row
        return PlayerView(
            snapshot=self.explorer.snapshot(whole),
            read=self.index.read,
            row=self.row,
            followed=self._followed,
            rows=timeline.rows,
            time_ns=None if timeline.first_ns is None else self._time,
            first_ns=timeline.first_ns,
            last_ns=timeline.last_ns,
            speed=self.speed,
            paused=self.paused,
            at_end=self.at_end,
            passed=self._count(),
            gaps=timeline.gaps,
            note=self._note,
            listed=self.explorer.listed(whole),
            strip=self.explorer.strip(),
        )

    # -- what reads it ----------------------------------------------------------------------

    def read_some(self) -> bool:
        """Read the next piece of the recording; return whether more is to be read."""
        if self.index.done:
            return False
        more = self.index.advance()
        if more:
            self._read.append((self.index.events, Passed(*self.index.counts())))
        self.explorer.update()
        return more

    def work(self) -> bool:
        """Read the next piece, or count some of what matches; return whether more is to be done."""
        return self.read_some() or self.explorer.advance(self.index.snapshot())

    def read_all(self) -> None:
        """Read all of it."""
        while self.read_some():
            pass

    # -- what moves it ----------------------------------------------------------------------

    def advance(self, dt_ns: int) -> None:
        """Let ``dt_ns`` of real time pass: true time at 1x, idle gaps included."""
        if not self.playing:
            return
        if self.speed == MAX_SPEED:
            self._go(min(self.row + self._burst, self.timeline.rows))
            return
        self._carry += dt_ns * self.speed
        whole = int(self._carry)
        self._carry -= whole
        self._time += whole
        self.row = max(self.row, self.timeline.row_at(self._time))
        if self.at_end:
            self._time = self.timeline.last_ns or 0
            self._carry = 0.0

    def seek_time(self, time_ns: int) -> None:
        """Go to a moment of the trace's clock."""
        first, last = self.timeline.first_ns or 0, self.timeline.last_ns or 0
        self._note = ""
        self._time = max(first, min(time_ns, last))
        # The first moment shows nothing yet: the events at it are about to happen.
        self.row = 0 if time_ns <= first else self.timeline.row_at(self._time)

    def seek_row(self, position: int) -> None:
        """Go to a position."""
        self._note = ""
        self._go(max(0, min(position, self.timeline.rows)))

    def seek_by(self, fraction: float) -> None:
        """Go forward or back by a fraction of the recording's length."""
        length = (self.timeline.last_ns or 0) - (self.timeline.first_ns or 0)
        self.seek_time(self._time + round(length * fraction))

    def step(self, rows: int) -> None:
        """Go forward or back by single events, and stay there."""
        self.paused = True
        self.seek_row(self.row + rows)

    def home(self) -> None:
        """Go to before the first event."""
        self.seek_row(0)

    def end(self) -> None:
        """Go to after the last event."""
        self.seek_row(self.timeline.rows)

    def next_hit(self) -> None:
        """Go to just after the next out-of-window call or Oops began, and stay there."""
        self._to_hit("next", self.row)

    def previous_hit(self) -> None:
        """Go to just after the previous out-of-window call or Oops began, and stay there."""
        self._to_hit("previous", max(0, self.row - 1))

    def next_operation(self) -> None:
        """Go to just after the next operation began, and stay there."""
        found = self.timeline.next_entry(self.row, self._operations())
        self._to("next operation", found)

    def previous_operation(self) -> None:
        """Go to just after the previous operation began, and stay there."""
        found = self.timeline.previous_entry(max(0, self.row - 1), self._operations())
        self._to("previous operation", found)

    def goto(self, text: str) -> None:
        """Go where ``text`` says (``recordings.explore.goto``) and stay there, or say why not."""
        line, header = self.timeline, self._header
        clock, window = header.clock, header.machine.window
        extent = Extent(line.first_ns, line.last_ns, line.rows, self.row, clock, window)
        try:
            place = find(text, extent, self.index.table)
        except GotoError as error:
            reading = "" if self.index.read == 1 else " (in what was read so far)"
            self._note = f"{error}{reading}"
            return
        self.paused = True
        if place.row is not None:
            self.seek_row(place.row + 1)
        elif place.time_ns is not None:
            self.seek_time(place.time_ns)
        self._note = place.note

    def say(self, note: str) -> None:
        """Show a line until something moves."""
        self._note = note

    def toggle(self) -> None:
        """Pause or go on; at the end, play from the beginning again."""
        if self.at_end and self.timeline.rows:
            self.home()
            self.paused = False
        else:
            self.paused = not self.paused
        self._note = ""

    def let(self, text: str) -> None:
        """Show only what matches a filter; everything with an empty one."""
        self._note = ""
        self.explorer.let(text, self.timeline.first_ns)

    def order(self) -> None:
        """List calls and operations in the next order."""
        self.explorer.order()

    def set_speed(self, speed: float) -> None:
        """Play at ``speed`` times true time from here on."""
        if not speed > 0:
            raise ValueError(f"a speed is above zero, not {speed}")
        self.speed = speed
        self._carry = 0.0

    def faster(self) -> None:
        """Take the next higher speed of ``SPEEDS``."""
        self.set_speed(next((speed for speed in SPEEDS if speed > self.speed), MAX_SPEED))

    def slower(self) -> None:
        """Take the next lower speed of ``SPEEDS``."""
        slower = [speed for speed in SPEEDS if speed < self.speed]
        self.set_speed(slower[-1] if slower else SPEEDS[0])

    # -- internals --------------------------------------------------------------------------

    def _operations(self) -> tuple[Kind, ...]:
        """Return the kinds whose entries begin operations in this recording.

        Those of memory hotplug are parts of memremap_pages' as a rule.
        """
        kinds = {total.kind for total in self.index.snapshot().totals}
        return _OUTER if kinds & set(_OUTER) else _HOTPLUG

    def _to_hit(self, which: str, position: int) -> None:
        self.paused = True
        matches = self.explorer.matches
        if matches is not None:
            at = matches.following(position) if which == "next" else matches.preceding(position)
            self._to(f"{which} match", None if at is None else matches.table.span(at).row)
            return
        timeline = self.timeline
        find = timeline.next_hit if which == "next" else timeline.previous_hit
        row = find(position)
        if row is None and judging(self._header.machine) is None:
            self._note = "no window known: no call can be judged"
            return
        self._to(f"{which} hit", row)

    def _to(self, what: str, row: int | None) -> None:
        self.paused = True
        if row is None:
            self._note = f"no {what}"
        else:
            self.seek_row(row + 1)

    def _go(self, position: int) -> None:
        self.row = position
        self._time = self.timeline.time_of(position) or 0
        self._carry = 0.0

    def _count(self) -> Passed | None:
        """Count what has passed of what is listed: from the piece read before the position on."""
        if self.row > self._read[-1][0]:
            return None
        if (matching := self.explorer.passed(self.row)) is not None:
            return matching
        if self._passed is None or self._passed[0] != self.row:
            row, before = self._read[bisect_right(self._read, self.row, key=lambda at: at[0]) - 1]
            more = self.timeline.between(row, self.row)
            both = Passed(
                before.calls + more.calls,
                before.hits + more.hits,
                before.warnings + more.warnings,
            )
            self._passed = self.row, both
        return self._passed[1]
