# SPDX-License-Identifier: GPL-2.0-only
"""The slowdown as one number: the share of hot-add and hot-remove that was spent inside WARN.

Only given where it is known: every operation is listed, and the WARNs of an operation fit into the
memory hotplug call inside it.
"""

from dataclasses import dataclass
from typing import Final

from recordings.ledger.snapshot import Snapshot
from tracers.events import Kind

_CALLS: Final = (
    ("hot-add", Kind.ADD_PAGES, Kind.MEMREMAP),
    ("hot-remove", Kind.REMOVE_PAGES, Kind.MEMUNMAP),
)


@dataclass(frozen=True, slots=True)
class WarnShare:
    """Time in WARN against all finished calls of ``kind``, nanoseconds."""

    what: str  # "hot-add" or "hot-remove"
    kind: Kind  # ADD_PAGES or REMOVE_PAGES: without the mapping work around them
    warn_ns: int
    total_ns: int

    @property
    def share(self) -> float:
        """Part of the calls' time that the WARNs took, 0 to 1."""
        return self.warn_ns / self.total_ns


def warn_shares(snapshot: Snapshot) -> tuple[WarnShare, ...]:
    """Return the known shares, hot-add before hot-remove; often both, maybe neither."""
    if snapshot.operations_total > len(snapshot.operations):
        return ()
    shares = []
    for what, kind, outer in _CALLS:
        timing = snapshot.timings.get(kind)
        spent = sum(op.warn_ns for op in snapshot.operations if op.kind in (kind, outer))
        if timing and 0 < spent <= timing.total_ns:
            shares.append(WarnShare(what, kind, spent, timing.total_ns))
    return tuple(shares)
