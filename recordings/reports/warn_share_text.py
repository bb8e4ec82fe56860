# SPDX-License-Identifier: GPL-2.0-only
"""WARN's share of hot-add and hot-remove in words: of how much time, how much of that was ours."""

from recordings.ledger.ours import INSIDE
from recordings.ledger.ours import ours as ours_of
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.warn_shares import WarnShare
from recordings.wording.units import duration
from tracers.kernel_functions import name


def spent(part: WarnShare) -> str:
    """Return "40 ms of the 45 ms in __add_pages", and that it is so only as it was recorded."""
    recorded = "" if part.corrected else ", as recorded"
    return (
        f"{duration(part.spent_ns)} of the {duration(part.whole_ns)} in {name(part.kind)}{recorded}"
    )


def ours(part: WarnShare) -> str:
    """Return how much of the recorded time our probes took; "" where that is not known."""
    if part.ours is None:
        return ""
    own, total = duration(part.ours.in_calls_ns), duration(part.total_ns)
    return f"Of the {total} recorded in {name(part.kind)} about {own} were our probes'"


def of_each(snapshot: Snapshot) -> str:
    """Return how much of a call of each timed kind was ours, or that the times are as recorded."""
    known = [(kind, own) for kind in INSIDE if (own := ours_of(snapshot, kind)) and own.each_ns]
    each = ", ".join(f"{duration(own.each_ns)} of each {name(kind)}" for kind, own in known)
    return f"as recorded, about {each} our probes'" if each else "as recorded"
