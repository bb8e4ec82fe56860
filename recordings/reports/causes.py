# SPDX-License-Identifier: GPL-2.0-only
"""Explains in sentences why calls and Oopses lie outside the window, and what the WARNs cost.

Promises: the sentences hold no text of a kernel or a file, only numbers; a cause is only named
where memstart_addr and the sizes are known.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

from recordings.ledger.snapshot import Extent, Operation, Snapshot
from recordings.ledger.warn_shares import warn_shares
from recordings.reports.warn_share_text import ours, spent
from recordings.wording.units import count, share, size
from tracers.events import Kind
from tracers.explain import why_silent
from tracers.formulas import WindowError, signed
from tracers.window import Regime, Window

_WHERE: Final = {
    Regime.ABOVE: "above the window",
    Regime.BELOW: "below the window",
    Regime.WRAPPED: "past 2^64, in the user half,",
    Regime.STRADDLING: "across a border of the window",
}
_DEVICE: Final = (Kind.MEMREMAP, Kind.MEMUNMAP)
_REMOVES: Final = (Kind.MEMUNMAP, Kind.REMOVE_PAGES)
#: Regions named in one sentence.
_NAMED: Final = 3


def causes(window: Window | None, snapshot: Snapshot) -> Iterator[str]:
    """Yield, for each regime that has hits, how many ranges lie there and why; then of Oopses.

    Silent hits get sentences of their own, and the reason why the kernel's check lets them pass.
    """
    told: set[Regime] = set()
    for (regime, where), silent in product(_WHERE.items(), (False, True)):
        extents = [e for e in snapshot.extents if e.regime == regime and e.silent is silent]
        if not extents or window is None:
            continue
        told.add(regime)
        ranges = sum(extent.ranges for extent in extents)
        partly = snapshot.extents_total > len(snapshot.extents) or snapshot.calls_beyond
        least = "At least " if partly else ""
        these = "this" if ranges == 1 else "these"
        these = these if least else these.capitalize()
        verb = "range lies" if ranges == 1 else "ranges lie"
        place = where
        if silent and window.used[0] != window.start:
            place = where.replace("the window", "the window in use")
        sentence = f"{least}{these} {count(ranges)} struct-page {verb} {place}"
        yield sentence.replace("This 1 ", "This ") + _because(window, snapshot, extents, regime)
        if silent:
            why = why_silent(window, extents[0].start, extents[0].end)
            about = "it" if ranges == 1 else "them"
            yield f"The kernel says nothing about {about}. {why}"
    if window is not None:
        yield from _failures(window, snapshot, told)


def cost(snapshot: Snapshot) -> str | None:
    """Return what share of hot-add and hot-remove the WARNs took; None if that is not known."""
    parts = warn_shares(snapshot)
    if not parts:
        return None
    shares = " and ".join(f"{share(p.share)} of the {p.what} ({spent(p)})" for p in parts)
    return " ".join(
        (f"WARN cost {shares}.", *(f"{sentence}." for p in parts if (sentence := ours(p))))
    )


def _because(window: Window, snapshot: Snapshot, extents: Sequence[Extent], regime: Regime) -> str:
    """Return the rest of the sentence: the regions of the pages, and the pages of the window."""
    try:
        pfns = sorted({window.page_to_pfn(extent.start) for extent in extents})
        first, end = window.phys_range
        shift = window.page_shift
    except WindowError as error:
        return f"; why cannot be told: {error}."
    if any(signed(pfn) < 0 for pfn in pfns):
        return ": no page frame number has such a struct page."
    regions = {region.pfn or 0: region for pfn in pfns if (region := _region(snapshot, pfn))}
    starts = sorted(regions) or pfns
    device = all(region.kind in _DEVICE for region in regions.values()) and bool(regions)
    word = ("device region" if device else "region") + ("" if len(starts) == 1 else "s")
    named = ", ".join(f"{size(pfn << shift)} (pfn 0x{pfn:x})" for pfn in starts[:_NAMED])
    more = f" and {count(len(starts) - _NAMED)} more" if len(starts) > _NAMED else ""
    verb = "starts" if len(starts) == 1 else "start"
    beyond = "" if all(_out(window, pfn) for pfn in starts) else ", and reaches out of it"
    reach = f" because the {word} {verb} at {named}{more}{beyond}"
    lowest = starts[0] << shift
    return reach + _limits(lowest, (first, end), regime)


def _limits(lowest: int, limits: tuple[int, int], regime: Regime) -> str:
    """Return how a physical address stands to those whose struct pages the window has."""
    first, end = limits
    if regime in (Regime.ABOVE, Regime.WRAPPED) and lowest >= end:
        gap = size(lowest - end) if lowest > end else "right behind"
        return f", and the window has pages up to {size(end)} only: {gap} too high."
    if regime is Regime.BELOW and lowest < first:
        return f", and the window has pages from {size(first)} on only."
    return f"; the window has pages from {size(first)} to {size(end)}."


def _failures(window: Window, snapshot: Snapshot, told: set[Regime]) -> Iterator[str]:
    """Yield, for each regime out of the window, why the struct pages of Oopses lie there.

    ``told``: regimes for which that was said of calls.
    """
    for regime, where in _WHERE.items():
        pages = sorted({f.pfn for f in snapshot.faults if f.regime == regime and f.pfn is not None})
        if not pages:
            continue
        page = "a struct page" if len(pages) == 1 else f"{count(len(pages))} struct pages"
        place = "there, too" if regime in told else where.removesuffix(",")
        failed = f"The kernel failed (Oops) at {page} {place}"
        try:
            limits, shift = window.phys_range, window.page_shift
        except WindowError:
            yield f"{failed}."
            continue
        named = ", ".join(f"{size(pfn << shift)} (pfn 0x{pfn:x})" for pfn in pages[:_NAMED])
        more = f" and {count(len(pages) - _NAMED)} more" if len(pages) > _NAMED else ""
        of = "that of the page at" if len(pages) == 1 else "those of the pages at"
        rest = "." if regime in told else _limits(pages[0] << shift, limits, regime)
        yield f"{failed}: {of} {named}{more}{rest}"


def _out(window: Window, pfn: int) -> bool:
    first, end = window.pfn_range
    return not first <= pfn < end


def _region(snapshot: Snapshot, pfn: int) -> Operation | None:
    """Return the operation that holds the page, preferably one that adds."""
    removed = None
    for operation in snapshot.operations:
        if operation.pfn is None or operation.nr_pages is None or not operation.hits:
            continue
        if operation.pfn <= pfn < operation.pfn + operation.nr_pages:
            if operation.kind not in _REMOVES:
                return operation
            removed = operation
    return removed
