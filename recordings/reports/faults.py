# SPDX-License-Identifier: GPL-2.0-only
"""Oopses in words, and as JSON: where the kernel failed, at which struct page, called by whom.

Promises: what could not be proven is said so, never guessed; text of a kernel is unescaped: the
renderer escapes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from recordings.ledger.faults import CALLED_BY
from recordings.ledger.snapshot import Fault, Snapshot
from recordings.wording.units import address
from tracers.kernel_functions import name

#: Oopses that a text tells in full, the newest.
SHOWN: Final = 4


def shown(snapshot: Snapshot) -> Sequence[Fault]:
    """Return the Oopses that a text tells in full."""
    return snapshot.faults[-SHOWN:]


def rest(snapshot: Snapshot) -> int:
    """Return how many it does not."""
    return snapshot.faults_total - len(shown(snapshot))


def page(fault: Fault) -> str:
    """Return the struct page and where it lies."""
    if fault.start is None or fault.end is None:
        return "which struct page it was could not be proven"
    on = f", on {fault.lands_on}" if fault.lands_on else ""
    return f"{address(fault.start)}, {fault.regime}{on}"


def frame(fault: Fault) -> str:
    """Return the page frame that the struct page is of; "" where it is not known."""
    if fault.pfn is None:
        return ""
    phys = f", physical 0x{fault.phys:x}" if fault.phys is not None else ""
    return f"pfn 0x{fault.pfn:x}{phys}"


def task(fault: Fault) -> str:
    """Return the task, and in which of the watched functions it was."""
    who = f"{fault.comm or '?'}-{'?' if fault.tid is None else fault.tid}"
    where = f" in {name(fault.operation)}" if fault.operation is not None else ""
    return f"{who}{where}"


def callers(fault: Fault) -> list[str]:
    """Return where it failed, and its callers, the innermost first."""
    return [] if not fault.chain else fault.chain.split(CALLED_BY)


def facts(fault: Fault) -> Iterator[tuple[str, str]]:
    """Yield labels and values, but for the callers."""
    yield "struct page", page(fault)
    if of := frame(fault):
        yield "page frame", of
    yield "task", task(fault)


def faults_dict(snapshot: Snapshot) -> dict[str, Any]:
    """Return all Oopses, JSON-safe: how many, in which regimes, and the newest with all facts."""
    return {
        "total": snapshot.faults_total,
        "regimes": asdict(snapshot.fault_regimes),
        "listed": [
            asdict(fault)
            | {
                "source": fault.source.label,
                "start": None if fault.start is None else address(fault.start),
                "end": None if fault.end is None else address(fault.end),
                "phys": None if fault.phys is None else f"0x{fault.phys:x}",
                "operation": None if fault.operation is None else name(fault.operation),
            }
            for fault in snapshot.faults
        ],
    }
