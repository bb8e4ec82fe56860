# SPDX-License-Identifier: GPL-2.0-only
"""All that the screen needs to know of one moment, as frozen values.

The numbers are those of the whole recording, as far as it was read; the position is a mark in it.
"""

from dataclasses import dataclass

from recordings.explore.section_strip import Strip
from recordings.explore.sums import Passed
from recordings.ledger.snapshot import Snapshot
from tui.playback.explorer import Listed


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
    arrived: tuple[int, int] | None = None  # events, hits since the present was left; None: now


@dataclass(frozen=True, slots=True)
class PlayerView:
    """One moment: the numbers, and where in the recording it is."""

    snapshot: Snapshot  # of all that was read
    read: float  # how much that is, 0 to 1
    row: int  # position: rows that have happened
    followed: int  # the position that lists show: behind it for a moment while it plays
    rows: int
    time_ns: int | None  # None: the recording holds no event
    first_ns: int | None
    last_ns: int | None
    speed: float
    paused: bool
    at_end: bool
    listed: Listed
    strip: Strip  # the sections of what is listed
    passed: Passed | None = None  # up to the position; None: it was not read so far
    gaps: tuple[tuple[int, int], ...] = ()  # where in time events are known to be missing
    note: str = ""  # what the last command found, e.g. that there is no further hit
    live: LiveStatus | None = None  # only where the events are happening now

    @property
    def final(self) -> bool:
        """Whether nothing will be added to the numbers."""
        return self.read >= 1 and (self.live is None or self.at_end)

    @property
    def played(self) -> int | None:
        """Events before the position; ``None``: it is now, and nothing is to come."""
        return None if self.live is not None and self.live.arrived is None else self.followed

    @property
    def elapsed_ns(self) -> int:
        """Trace time since the first event."""
        return 0 if self.time_ns is None or self.first_ns is None else self.time_ns - self.first_ns

    @property
    def length_ns(self) -> int:
        """Trace time from the first event to the last."""
        return 0 if self.last_ns is None or self.first_ns is None else self.last_ns - self.first_ns
