# SPDX-License-Identifier: GPL-2.0-only
"""The slowdown as one number: the share of hot-add and hot-remove that was spent inside WARN.

Only given where it is known: the WARNs of the operations fit into the memory hotplug calls inside
them.
"""

from dataclasses import dataclass, replace
from typing import Final

from recordings.ledger.ours import Ours, ours
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
    warn_ns: int  # as recorded, as is the next
    total_ns: int
    ours: Ours | None = None  # of both, what the probes took; None: not known

    @property
    def corrected(self) -> bool:
        """Say whether ``share`` is without what the probes took."""
        return self.ours is not None

    @property
    def spent_ns(self) -> int:
        """Time in WARN, without ours where that is known."""
        return self.warn_ns - (self.ours.in_warns_ns if self.ours else 0)

    @property
    def whole_ns(self) -> int:
        """Time of the calls, without ours where that is known."""
        return self.total_ns - (self.ours.in_calls_ns if self.ours else 0)

    @property
    def share(self) -> float:
        """Part of the calls' time that the WARNs took, 0 to 1; without ours where that is known."""
        return self.spent_ns / self.whole_ns


@dataclass(frozen=True, slots=True)
class Around:
    """Time of memremap_pages or memunmap_pages that is outside of the calls of a ``WarnShare``."""

    kind: Kind  # MEMREMAP or MEMUNMAP
    outside_ns: int
    total_ns: int


def warn_shares(snapshot: Snapshot) -> tuple[WarnShare, ...]:
    """Return the known shares, hot-add before hot-remove; often both, maybe neither."""
    shares = []
    for what, kind, outer in _CALLS:
        timing = snapshot.timings.get(kind)
        spent = sum(total.warn_ns for total in snapshot.totals if total.kind in (kind, outer))
        if timing and 0 < spent <= timing.total_ns:
            part = WarnShare(what, kind, spent, timing.total_ns, ours(snapshot, kind))
            if not 0 < part.spent_ns <= part.whole_ns:  # an estimate beyond what there is
                part = replace(part, ours=None)
            shares.append(part)
    return tuple(shares)


def around(snapshot: Snapshot) -> tuple[Around, ...]:
    """Return what memremap_pages and memunmap_pages took outside of the memory hotplug in them.

    Only where it is known: every one of them ended, none inside another.
    """
    found = []
    for _, _, kind in _CALLS:
        timing = snapshot.timings.get(kind)
        total = next((total for total in snapshot.totals if total.kind is kind), None)
        whole = timing and total and timing.count == total.operations
        if timing and total and whole and total.inner_ns <= timing.total_ns:
            found.append(Around(kind, timing.total_ns - total.inner_ns, timing.total_ns))
    return tuple(found)
