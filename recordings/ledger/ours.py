# SPDX-License-Identifier: GPL-2.0-only
"""How much of the recorded time was our own: what the probes took inside of what they time.

Promises: a figure is given only where the cost of every probe inside is known; what is not known is
``None``, never 0. It is an estimate: the cost of a call is what it took on average.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from recordings.ledger.operation_totals import ADDS, REMOVES
from tracers.errors import VmemscopeError
from tracers.kinds import Kind
from tracers.observer import Observer

if TYPE_CHECKING:
    from recordings.ledger.snapshot import Snapshot

#: What happens inside of what, WARNs aside: those can be in any of them.
INSIDE: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    Kind.ADD_PAGES: (Kind.SECTION_ADD, Kind.POPULATE),
    Kind.SECTION_ADD: (Kind.POPULATE,),
    Kind.REMOVE_PAGES: (Kind.SECTION_REMOVE, Kind.FREE),
    Kind.SECTION_REMOVE: (Kind.FREE,),
    Kind.POPULATE: (),
    Kind.FREE: (),
}


def observer_of(values: Mapping[str, Any]) -> Observer:
    """Read what a recording keeps of it; whatever a file holds, this raises nothing."""
    try:
        return Observer.from_dict(values)
    except VmemscopeError:
        return Observer()


@dataclass(frozen=True, slots=True)
class Ours:
    """Nanoseconds of ours in all finished calls of a kind, and of those in the WARNs inside."""

    calls: int
    in_calls_ns: int
    in_warns_ns: int

    @property
    def each_ns(self) -> int:
        """Of one call, on average."""
        return self.in_calls_ns // self.calls if self.calls else 0


def ours(snapshot: "Snapshot", kind: Kind) -> Ours | None:
    """Return what of the calls of ``kind`` was ours; None: not known."""
    costs, timing = snapshot.observer.costs, snapshot.timings.get(kind)
    own = costs.get(kind)
    if timing is None or own is None or own.inside_ns is None or kind not in INSIDE:
        return None
    total = timing.count * own.inside_ns
    for inner in INSIDE[kind]:
        number = _seen(snapshot, inner)
        if number and inner not in costs:
            return None
        total += number * costs[inner].whole_ns if number else 0
    operations = ADDS if kind in (Kind.ADD_PAGES, *INSIDE[Kind.ADD_PAGES]) else REMOVES
    warns = sum(each.warnings for each in snapshot.totals if each.kind in operations)
    in_warns = 0
    if warns:
        warn = costs.get(Kind.WARN)
        if warn is None:
            return None
        total += warns * warn.whole_ns
        in_warns = warns * (warn.inside_ns or 0)
    if total > timing.total_ns:  # more than all of it: no figure
        return None
    return Ours(timing.count, total, in_warns)


def _seen(snapshot: "Snapshot", kind: Kind) -> int:
    """Return how many calls of a kind a probe saw: those derived cost nothing."""
    number = snapshot.inner_calls.get(kind, 0)
    return number - min(snapshot.derived, number) if kind is Kind.POPULATE else number
