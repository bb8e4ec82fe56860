# SPDX-License-Identifier: GPL-2.0-only
"""Requests for free physical regions in words, and as JSON: where the kernel put them, or why not.

Promises: a refusal is explained with the machine's own numbers, or said to be unexplained; text of
a kernel is unescaped: the renderer escapes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from errno import errorcode
from typing import Any, Final

from recordings.ledger.snapshot import Request, Snapshot
from recordings.wording.units import count, size
from tracers.formulas import WindowError
from tracers.kernel_functions import name
from tracers.machine import Machine
from tracers.placement import gaps, largest, place
from tracers.window import Regime

#: Requests that a text tells, the newest: refusals and regions outside before others.
SHOWN: Final = 4
#: ERANGE: get_free_mem_region() found nothing.
_NOTHING: Final = 34
#: Entries of /proc/iomem looked through; real machines have hundreds.
_MOST: Final = 4096


def error(number: int) -> str:
    """Return an errno's name, as -ERANGE."""
    return f"-{errorcode.get(number, number)}"


def counted(snapshot: Snapshot) -> str:
    """Return how many requests there were, and how many were refused."""
    total = max(snapshot.requests_total, snapshot.refusals)
    refused = ", ".join(
        f"{count(times)} with {error(number)}" for number, times in snapshot.refused
    )
    if not refused:
        return f"{count(total)}, none refused"
    return f"{count(snapshot.refusals)} of {count(total)} refused: {refused}"


def shown(snapshot: Snapshot, machine: Machine) -> Sequence[Request]:
    """Return the requests that a text tells, in order."""
    notable = [each for each in snapshot.requests if each.error or outside(each, machine)]
    rest = [each for each in snapshot.requests if each not in notable[-SHOWN:]]
    picked = [*rest[-max(0, SHOWN - len(notable[-SHOWN:])) or len(rest) :], *notable[-SHOWN:]]
    return sorted(picked[-SHOWN:], key=lambda each: each.row)


def outside(request: Request, machine: Machine) -> bool:
    """Say whether the struct pages of the region are known to lie out of the window."""
    return regime(request, machine) not in (None, Regime.INSIDE, Regime.UNKNOWN)


def regime(request: Request, machine: Machine) -> Regime | None:
    """Return the regime of the region's struct pages, None where it is not known."""
    window = machine.window
    if window is None or request.pfn is None or request.nr_pages is None:
        return None
    try:
        first = window.pfn_to_page(request.pfn)
        return window.regime(first, window.pfn_to_page(request.pfn + request.nr_pages))
    except WindowError:
        return None


def asked(request: Request, machine: Machine) -> str:
    """Return the size asked for, and by whom."""
    page = machine.window.page_size if machine.window else None
    if request.asked is None:
        what = "a region of a size not known"
    elif page is None:
        what = f"{count(request.asked)} pages"
    else:
        what = size(request.asked * page)
    of = f' for "{request.name}"' if request.name else ""
    who = f"{request.comm or '?'}-{'?' if request.tid is None else request.tid}"
    return f"{what}{of} by {who}"


def result(request: Request, machine: Machine) -> str:
    """Return what came of it."""
    if request.error is not None:
        return f"refused with {error(request.error)}"
    if request.pfn is None or request.nr_pages is None:
        return "granted, where is not known" if request.known else "how it ended is not known"
    page = machine.window.page_size if machine.window else None
    at = (
        f"pfn 0x{request.pfn:x}"
        if page is None
        else f"0x{request.pfn * page:x} - 0x{(request.pfn + request.nr_pages) * page:x}"
    )
    found = regime(request, machine)
    if found is None:
        return f"at {at}"
    lies = "inside the window" if found is Regime.INSIDE else f"{found.value}"
    return f"at {at}, its struct pages {lies}"


def why(request: Request, machine: Machine) -> str:
    """Explain a refusal by the machine's numbers; "" where there is nothing to explain."""
    if request.error != _NOTHING:
        return ""
    window, search = machine.window, machine.search
    busy = [(first, last) for first, last, _ in machine.iomem if (first, last) != (0, 0)][:_MOST]
    if window is None or not busy or request.asked is None:
        return "why is not known: no window, /proc/iomem or size"
    try:
        last = search.last(window)
        align = window.section_pages << window.page_shift
    except WindowError as missing:
        return f"why is not known: {missing}"
    if search.by_size is None:
        return "why is not known: whether this kernel steps by sections or by the size is not known"
    free = max(gaps(last, busy), key=lambda gap: gap.size, default=None)
    most = largest(align, last, busy, by_size=search.by_size)
    ends = "the linear map ends" if search.capped else "physical addresses end"
    found = (
        "nothing is free"
        if free is None
        else (f"the largest gap has {size(free.size)} from 0x{free.first:x}")
    )
    told = f"{ends} at 0x{last:x}, {found}, and the largest that fits is {size(most)} (0x{most:x})"
    wanted = request.asked << window.page_shift
    if place(wanted, align, last, busy, by_size=search.by_size) is not None:
        return f"{told}: it would have fit beside what the recording's /proc/iomem has"
    return told


def requests_dict(snapshot: Snapshot, machine: Machine) -> dict[str, Any]:
    """Return all requests, JSON-safe: how many, refused with what, and the newest."""
    return {
        "total": snapshot.requests_total,
        "refused": snapshot.refusals,
        "errors": {error(number): times for number, times in snapshot.refused},
        "listed": [
            asdict(each)
            | {
                "kind": name(each.kind),
                "error": None if each.error is None else error(each.error),
                "regime": found.value if (found := regime(each, machine)) else None,
                "why": why(each, machine) or None,
            }
            for each in snapshot.requests
        ],
    }


def sentences(snapshot: Snapshot, machine: Machine) -> Iterator[str]:
    """Yield a sentence for each request that is shown."""
    for each in shown(snapshot, machine):
        told = f"{asked(each, machine)}: {result(each, machine)}"
        reason = why(each, machine)
        yield f"{told}: {reason}" if reason else told
