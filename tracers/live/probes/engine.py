# SPDX-License-Identifier: GPL-2.0-only
"""What every live engine promises: attach probes, start, poll, stop, and account for all losses.

An engine leaves nothing behind in the kernel after ``close``, however it got there. Between
``start`` and ``stop`` events come in the order of time per thread; what could not be delivered is
in some batch's ``lost``, exactly where the kernel counts it and as ``lost_unknown`` where not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tracers.batch import Batch
from tracers.errors import VmemscopeError
from tracers.live.probes.points import Probe


class LiveError(VmemscopeError):
    """Live capture is not possible here: one line, with the way out."""


class AttachError(VmemscopeError):
    """This one probe cannot be attached: the kernel's own reason; the next rung is tried."""


@dataclass(frozen=True, slots=True)
class Counts:
    """An engine's own accounting so far, for the screen, ``doctor`` and the closing record."""

    #: (function, cpu) -> events; cpu -1 where the kernel does not tell them apart
    lost: Mapping[tuple[str, int], int] = field(default_factory=dict)
    missed_returns: Mapping[str, int] = field(default_factory=dict)  # function -> kretprobe nmissed
    warns: int | None = None  # __warn calls of our sites; None: not probed
    other_warns: int | None = None  # __warn calls elsewhere: counted apart, no rows
    reported: int | None = None  # error_report_end of our sites: the second witness
    other_reported: int | None = None


class Engine(Protocol):
    """One way to get events of probes out of the running kernel."""

    name: str

    def attach(self, probe: Probe) -> str | None:
        """Prepare a probe, disabled. Return why the ends of its calls are not seen, or None.

        Where they are not, the engine's rows are those of the probe with ``timed`` False.
        Raises ``AttachError`` and leaves nothing of it behind.
        """
        ...

    def start(self) -> None:
        """Enable all probes at once. Raises ``LiveError``."""
        ...

    def poll(self, timeout_s: float) -> Batch | None:
        """Wait for events up to ``timeout_s``; return them, or None."""
        ...

    def stop(self) -> Batch | None:
        """Disable all probes; return all that was still under way, and the last losses."""
        ...

    def counts(self) -> Counts:
        """Return the accounting so far; after ``stop`` it is final."""
        ...

    def close(self) -> None:
        """Detach and remove everything. Safe to call at any time, again too."""
        ...
