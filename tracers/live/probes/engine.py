# SPDX-License-Identifier: GPL-2.0-only
"""The protocol of live engines: attach probes, start, poll, stop, and count all losses.

After ``close`` an engine leaves nothing behind in the kernel, whatever happened before. Between
``start`` and ``stop`` the events of each thread come in order of time. Events that could not be
delivered are in some batch's ``lost`` where the kernel counts them, else in ``lost_unknown``.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from tracers.batch import Batch
from tracers.errors import VmemscopeError
from tracers.live.probes.points import Probe, Rung

#: Seconds between two readings while events come: at first, and once they go on coming.
PACE_S: Final = (0.02, 0.1)


class LiveError(VmemscopeError):
    """Live capture is not possible here: one line that says why and what to do."""


class AttachError(VmemscopeError):
    """One probe cannot be attached, with the kernel's own reason; the next rung is tried."""


class NoSuchRungError(AttachError):
    """No probe of this rung can be attached here, whatever the function: none more is tried."""


@dataclass(frozen=True, slots=True)
class Counts:
    """An engine's own counters so far, for the screen, ``doctor`` and the closing record."""

    #: (function, cpu) -> events; cpu -1 where the kernel has no count by CPU
    lost: Mapping[tuple[str, int], int] = field(default_factory=dict)
    missed_returns: Mapping[str, int] = field(default_factory=dict)  # function -> kretprobe nmissed
    warns: int | None = None  # __warn calls of our sites; None: not probed
    other_warns: int | None = None  # __warn calls elsewhere: counted separately, no rows
    reported: int | None = None  # error_report_end of our sites: the second witness
    other_reported: int | None = None


class Pace:
    """Keeps a reader from being woken by each event, which takes more time than the probes do.

    The first event after a quiet moment is read at once, as a kernel that panics gives no second
    chance; while events go on coming, they are read ever less often, down to ten times a second.
    """

    def __init__(self) -> None:
        self._pause, self._next = PACE_S[0], 0.0

    def wait(self, timeout_s: float) -> None:
        """Sleep until the next reading is due, ``timeout_s`` at most."""
        if (early := self._next - time.monotonic()) > 0:
            time.sleep(min(early, timeout_s))

    def read(self, *, some: bool) -> None:
        """Take note of a reading; ``some``: there were events."""
        if some:
            self._next = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, PACE_S[1]) if some else PACE_S[0]


@dataclass(frozen=True, slots=True)
class Trial:
    """What an engine saw of a trial: its events, and what its programs took, if that is known."""

    batch: Batch | None
    program_ns: int | None = None


class Engine(Protocol):
    """Something that attaches probes to the running kernel and returns their events."""

    name: str
    #: The rungs it has.
    rungs: frozenset[Rung]

    def attach(self, probe: Probe) -> str | None:
        """Attach a probe, disabled. Return why the ends of its calls are not observed, or None.

        Where they are not, the engine's rows are those of the probe with ``timed`` False.
        Raises ``AttachError``; then nothing of the probe is left behind.
        """
        ...

    def watch_ends(self, probe: Probe) -> str | None:
        """Have a breakpoint probe, attached without its exits, see those too. Return why not."""
        ...

    def start(self) -> None:
        """Enable all probes at once. Raises ``LiveError``."""
        ...

    def poll(self, timeout_s: float) -> Batch | None:
        """Wait for events up to ``timeout_s``; return them, or None."""
        ...

    def stop(self) -> Batch | None:
        """Disable all probes; return the remaining events and the last losses."""
        ...

    def trial(self, probe: Probe, work: Callable[[], None]) -> Trial:
        """Watch ``probe`` alone while ``work`` runs; leave nothing of it. Not once started.

        Raises ``AttachError`` and ``LiveError``.
        """
        ...

    def program_times(self) -> Mapping[int, tuple[int, int]]:
        """Return (runs, nanoseconds) of our programs, by index of the probe attached.

        Empty where nobody counts them, or there are none.
        """
        ...

    def counts(self) -> Counts:
        """Return the counters so far; after ``stop`` it is final."""
        ...

    def close(self) -> None:
        """Detach and remove everything. Safe to call at any time, and more than once."""
        ...
