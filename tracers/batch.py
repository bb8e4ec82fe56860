# SPDX-License-Identifier: GPL-2.0-only
"""What a source yields: a block of events with the losses the source reported beside it.

A batch promises rows of ``tracers.events.SCHEMA`` in the order the source gave them, and that
whatever was dropped, cut or not understood near them is counted, not hidden. Arrow is loaded by who
has events: probes that are only attached need none.
"""

from dataclasses import astuple, dataclass
from operator import add, sub
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Losses:
    """What is known to be missing. Any of them makes "clean" impossible."""

    lost: int = 0  # events a kernel, probe or log says it dropped
    lost_unknown: int = 0  # loss markers that give no number
    torn: int = 0  # batches, records or lines cut short and left out
    rejected: int = 0  # lines that look like events of ours and could not be read
    without_end: int = 0  # sources that did not come to the end that was asked for

    def __bool__(self) -> bool:
        return any(astuple(self))

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(*map(add, astuple(self), astuple(other)))

    def beyond(self, other: "Losses") -> "Losses":
        """Return what is missing here and not yet in ``other``; no number is below 0."""
        less = map(sub, astuple(self), astuple(other))
        return Losses(*(max(0, number) for number in less))

    def describe(self) -> str:
        """Say in words what is missing; empty when nothing is."""
        parts = (
            (self.lost, "events lost"),
            (self.lost_unknown, "losses of unknown size"),
            (self.torn, "torn records"),
            (self.rejected, "unreadable lines"),
        )
        known = [f"{number} {what}" for number, what in parts if number]
        return ", ".join((["no proper end"] if self.without_end else []) + known)


@dataclass(frozen=True, slots=True)
class Batch:
    """Events, and what is missing around them."""

    events: "pa.RecordBatch"
    losses: Losses = Losses()
