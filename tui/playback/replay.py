# SPDX-License-Identifier: GPL-2.0-only
"""Plays a recording, synchronously: the position in it, and everything that moves the position.

``Replay`` owns the recording's timeline, one ledger at the current position and checkpoints
(copies of the ledger at round row numbers), and promises that a view depends only on the
position, never on how it was reached. It uses no threads and no clocks: ``tui.playback.player``
does.

Times are nanoseconds of the trace's clock, positions numbers of rows that have happened.
"""

from dataclasses import dataclass
from typing import Final

from recordings.format.reader import Recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.memory import sizes, together
from recordings.ledger.snapshot import Snapshot
from tui.playback.timeline import Timeline

#: "As fast as possible" among the speeds.
MAX_SPEED: Final = float("inf")
SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, MAX_SPEED)
#: Rows between checkpoints: what a seek folds at most; a full batch of our writer.
STRIDE: Final = 64 * 1024
#: Checkpoints kept, and what their ledgers may hold together, bytes. Beyond either every other one
#: goes and the stride doubles.
MAX_CHECKPOINTS: Final = 256
MAX_BYTES: Final = 256 << 20
#: Rows folded by one ``advance`` at most, so that keys take effect while a storm is played
#: faster than it can be folded; the clock then says where the rows are, not where it should be.
BURST: Final = 4 * STRIDE


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """What a view of a live capture has beyond the numbers."""

    engine: str
    elapsed_s: int  # since the probes were on
    rate: int  # events a second, of late
    since: int  # events that came after this view was frozen; 0 when it is not
    file: str  # being written; "" when nothing is recorded
    size: int  # bytes written
    failure: str  # what went wrong, "" as a rule


@dataclass(frozen=True, slots=True)
class PlayerView:
    """All the screen needs to know of one moment."""

    snapshot: Snapshot
    row: int  # position: rows that have happened
    rows: int
    time_ns: int | None  # None: the recording holds no event
    first_ns: int | None
    last_ns: int | None
    speed: float
    paused: bool
    at_end: bool
    note: str = ""  # what the last command found, e.g. that there is no further hit
    live: LiveStatus | None = None  # only where the events are happening now

    @property
    def elapsed_ns(self) -> int:
        """Trace time since the first event."""
        return 0 if self.time_ns is None or self.first_ns is None else self.time_ns - self.first_ns

    @property
    def length_ns(self) -> int:
        """Trace time from the first event to the last."""
        return 0 if self.last_ns is None or self.first_ns is None else self.last_ns - self.first_ns


class Replay:
    """The synchronous core: a position in a recording and everything that moves it."""

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float = 1.0,
        paused: bool = False,
        stride: int = STRIDE,
        max_checkpoints: int = MAX_CHECKPOINTS,
        max_bytes: int = MAX_BYTES,
        burst: int = BURST,
    ) -> None:
        self._recording = recording
        self._window = recording.header.machine.window
        self.timeline = Timeline(recording)
        self.speed = speed
        self.paused = paused
        self._max_checkpoints = max_checkpoints
        self._max_bytes = max_bytes
        self._burst = burst
        self._stride = stride
        self._step = min(stride, burst)  # of the indexer, however far apart checkpoints are
        self._checkpoints = {0: Ledger.of(recording.header)}
        self._sizes = {0: sizes(self._checkpoints[0])}  # of the arrays of each
        self._ahead = (0, self._checkpoints[0].copy())  # on its way to the next checkpoint
        self._ledger = self._checkpoints[0].copy()
        self._folded = -1  # -1: not even the losses before the first row
        self._time = self.timeline.first_ns or 0
        self._carry = 0.0  # fraction of a nanosecond of trace time not yet played
        self._snapshot: Snapshot | None = None
        self._note = ""
        self._fold_to(0)

    # -- where it is ------------------------------------------------------------------------

    @property
    def row(self) -> int:
        """The position."""
        return self._folded

    @property
    def at_end(self) -> bool:
        """Whether every row has happened."""
        return self._folded >= self.timeline.rows

    @property
    def playing(self) -> bool:
        """Whether ``advance`` would move."""
        return not self.paused and not self.at_end

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The positions a seek can start from, ascending."""
        return tuple(self._checkpoints)

    def view(self) -> PlayerView:
        """Return the present moment, frozen."""
        if self._snapshot is None:
            self._snapshot = self._take()
        timeline = self.timeline
        return PlayerView(
            snapshot=self._snapshot,
            row=self.row,
            rows=timeline.rows,
            time_ns=None if timeline.first_ns is None else self._time,
            first_ns=timeline.first_ns,
            last_ns=timeline.last_ns,
            speed=self.speed,
            paused=self.paused,
            at_end=self.at_end,
            note=self._note,
        )

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
        target = self.timeline.row_at(self._time)
        if target - self.row > self._burst:
            self._go(self.row + self._burst)
        else:
            self._fold_to(max(target, self.row))
            self._clamp()

    def seek_time(self, time_ns: int) -> None:
        """Go to a moment of the trace's clock."""
        first, last = self.timeline.first_ns or 0, self.timeline.last_ns or 0
        self._note = ""
        self._time = max(first, min(time_ns, last))
        # The first moment shows nothing yet: the events at it are about to happen.
        self._fold_to(0 if time_ns <= first else self.timeline.row_at(self._time))

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
        """Go to just after the next out-of-window call began, and stay there."""
        self._to_hit("next", self.row)

    def previous_hit(self) -> None:
        """Go to just after the previous out-of-window call began, and stay there."""
        self._to_hit("previous", max(0, self.row - 1))

    def toggle(self) -> None:
        """Pause or go on; at the end, play from the beginning again."""
        if self.at_end and self.timeline.rows:
            self.home()
            self.paused = False
        else:
            self.paused = not self.paused
        self._note = ""

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

    # -- internals ---------------------------------------------------------------------------------

    def index_some(self) -> bool:
        """Fold on towards the next checkpoint; return whether more is to be done."""
        last = next(reversed(self._checkpoints))
        target = last + self._stride
        here, ledger = self._ahead
        if target >= self.timeline.rows:
            self._ahead = (0, self._checkpoints[0])
            return False
        if not last <= here < target:
            here, ledger = last, self._checkpoints[last].copy()
        stop = min(here + self._step, target)
        self._fold(ledger, here or -1, stop)
        self._ahead = stop, ledger
        if stop == target:
            self._add_checkpoint(target, ledger)
        return True

    def _to_hit(self, which: str, position: int) -> None:
        self.paused = True
        if self._window is None:
            self._note = "no window known: no call can be judged"
            return
        timeline = self.timeline
        find = timeline.next_hit if which == "next" else timeline.previous_hit
        row = find(position, self._window)
        if row is None:
            self._note = f"no {which} hit"
        else:
            self.seek_row(row + 1)

    def _go(self, position: int) -> None:
        self._fold_to(position)
        self._time = self.timeline.time_of(position) or 0
        self._carry = 0.0

    def _clamp(self) -> None:
        if self.at_end:
            self._time = self.timeline.last_ns or 0
            self._carry = 0.0

    def _fold_to(self, position: int) -> None:
        """Bring the ledger to where exactly the first ``position`` rows are folded."""
        if position == self._folded:
            return
        nearest = max(row for row in self._checkpoints if row <= position)
        if not nearest <= self._folded <= position:
            self._ledger = self._checkpoints[nearest].copy()
            self._folded = nearest or -1
        while self._folded < position:
            here = max(self._folded, 0)
            target = min(position, here - here % self._stride + self._stride)
            self._fold(self._ledger, self._folded, target)
            self._folded = target
            if target == next(reversed(self._checkpoints)) + self._stride:
                self._add_checkpoint(target, self._ledger)
        self._snapshot = None

    def _fold(self, ledger: Ledger, start: int, stop: int) -> None:
        for batch in self.timeline.slices(start, stop):
            ledger.fold(batch)

    def _add_checkpoint(self, position: int, ledger: Ledger) -> None:
        kept = self._checkpoints[position] = ledger.copy()
        self._sizes[position] = sizes(kept)
        while len(self._checkpoints) > 1 and (
            len(self._checkpoints) > self._max_checkpoints
            or together(self._sizes.values()) > self._max_bytes
        ):
            self._stride *= 2
            for row in [row for row in self._checkpoints if row % self._stride]:
                del self._checkpoints[row], self._sizes[row]

    def _take(self) -> Snapshot:
        if not self.at_end:
            return self._ledger.snapshot()
        # What the file itself is known to miss (a torn tail) has no place in time: it counts
        # at the end. A copy takes it, so that going back forgets it.
        ledger = self._ledger.copy()
        ledger.add_losses(self._recording.losses)
        return ledger.snapshot(final=True)
