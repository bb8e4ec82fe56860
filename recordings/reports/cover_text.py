# SPDX-License-Identifier: GPL-2.0-only
"""``window --cover`` as text: whether a region can have struct pages, and what that would take.

Promises: the first line is the result; every sentence has the numbers it is based on.
"""

from collections.abc import Iterator

from rich.console import ConsoleRenderable
from rich.text import Text

from recordings.reports import text_layout
from recordings.reports.window_report import WindowReport
from recordings.wording.units import address, size
from tracers.cover import Cover, Span, fewest_bits, lpa2, upper_space
from tracers.families import va_bits_min
from tracers.window import Regime, Window


def cover_parts(report: WindowReport) -> Iterator[ConsoleRenderable]:
    """Yield the result and its reasons; nothing without ``--cover``."""
    cover, window = report.cover, report.window
    if cover is None or window is None:
        return
    word, style = ("COVERED", "bold green") if cover.covered else ("NOT COVERED", "bold red")
    yield Text()
    yield text_layout.hanging(Text(word, style), verdict(cover))
    for sentence in sentences(cover, window):
        yield text_layout.hanging(Text(" "), sentence)


def verdict(cover: Cover) -> str:
    """Return the result in one sentence, without "COVERED" or "NOT COVERED"."""
    what = f"{size(cover.end - cover.first)} at {physical(cover.first, cover.end)}"
    if cover.covered:
        return f"all struct pages of {what} lie in the window."
    kept = sum(s.end_pfn - s.first_pfn for s in cover.spans if s.in_use)
    if not kept:
        return f"no struct page of {what} lies in the window."
    every = sum(s.end_pfn - s.first_pfn for s in cover.spans)
    return f"{percent(every - kept, every)} of {what} have no struct page in the window."


def price(cover: Cover) -> str:
    """Return what covering it takes, in a few words for a table."""
    growth = cover.growth
    if cover.covered:
        return "as it is"
    text = f"{size(growth.more)} more"
    if not growth.taken or growth.vmalloc is None:
        return f"{text}, none of it from vmalloc" if growth.taken == 0 else text
    taken = f"{text}, {size(growth.taken)} from vmalloc's {size(growth.vmalloc)}"
    return taken if growth.fits else f"{taken}: does not fit"


def sentences(cover: Cover, window: Window) -> Iterator[str]:
    """Yield the reasons for the result."""
    last = cover.spans[-1].end_pfn
    yield (
        f"Its pages, pfn 0x{cover.spans[0].first_pfn:x} to 0x{last - 1:x}, have their struct pages"
        f" at {virtual(cover.start_page, cover.end_page)}."
    )
    if not cover.use_known:
        bits = fewest_bits(window)
        lesser = f" on one with {bits} less is in use: say --vabits-actual {bits}." if bits else ""
        yield f"Judged for a CPU with 52-bit addresses;{lesser}"
    outside = [span for span in cover.spans if not span.in_use]
    for span in outside:
        yield _outside(span, window)
    if outside:
        yield from _price(cover, window)
        yield from _other_ways(cover, window)
    if cover.pa_bits > 48 and (window.va_bits or 0) < 52:
        yield (
            "Physical addresses from 2^48 on need a kernel with CONFIG_ARM64_PA_BITS=52; with 48"
            " bits no page there has a struct page at all."
        )
    if lpa2(window):
        yield from _lpa2(window)
    elif outside and _would_be_lpa2(cover, window):
        yield (
            "52 bits with these pages is LPA2 (Linux 6.9): its struct pages take"
            f" {size(cover.choices[-1].size)} of the {_upper_52(window)} above the linear map,"
            " which vmalloc and modules share."
        )


def _outside(span: Span, window: Window) -> str:
    first, end = (pfn << window.page_shift for pfn in (span.first_pfn, span.end_pfn))
    where = {
        Regime.BELOW: "below the window in use, where the WARN is blind"
        if span.silent
        else "below the window",
        Regime.ABOVE: "above the window",
        Regime.WRAPPED: "past 2^64, wrapped into the user half",
        Regime.STRADDLING: "across a border of the window",
        Regime.UNKNOWN: "where only a kernel with 52 bits in use has its vmemmap",
    }[span.regime]
    return (
        f"Outside: {size(end - first)}, {physical(first, end)}; its struct pages fall {where}, on"
        f" {span.lands_on} ({virtual(span.start, span.end)})."
    )


def _price(cover: Cover, window: Window) -> Iterator[str]:
    growth = cover.growth
    if growth.more:
        now = f"{size(window.size)} now"
        yield (
            f"To cover it VMEMMAP_SIZE must be 0x{growth.size:x} ({size(growth.size)}; {now}):"
            f" {size(growth.more)} more."
        )
    else:
        yield "VMEMMAP_SIZE need not grow: the part in use would have to begin lower."
    if growth.below:
        yield (
            f"{size(growth.below)} of that lies below the struct page of the first page of RAM:"
            " vmemmap's base has to move, too, as memstart_addr is its first page."
        )
    if growth.taken is None or growth.hole is None:
        yield "What that takes from vmalloc is not known: no known formula gives this window."
        return
    if growth.hole:
        yield (
            f"{size(growth.hole)} of that is free above VMEMMAP_END, unused from 5.11 to 6.8 (6.9"
            " moved PCI I/O and fixmap there)."
        )
    if not growth.taken:
        whole = "" if growth.vmalloc is None else f"; its {size(growth.vmalloc)} stay"
        yield f"It takes nothing from vmalloc{whole}."
    elif growth.vmalloc is None:
        yield f"It takes {size(growth.taken)} from vmalloc; how large that is is not known."
    else:
        share = percent(growth.taken, growth.vmalloc)
        text = f"It takes {size(growth.taken)} ({growth.taken} bytes) from vmalloc, "
        if growth.fits:
            yield f"{text}{share} of its {size(growth.vmalloc)}."
        else:
            yield f"{text}which has {size(growth.vmalloc)}: it does not fit."


def _other_ways(cover: Cover, window: Window) -> Iterator[str]:
    """Name the VA_BITS that cover it, and the range that the window covers as it is."""
    pages = size(window.page_size or 0)
    if window.family is None:
        yield "Which VA_BITS would cover it is not known: no known formula gives this window."
    elif cover.choices:
        choices = ", ".join(
            f"{choice.va_bits} (VMEMMAP_SIZE {size(choice.size)}, up to 0x{choice.end:x})"
            for choice in cover.choices
        )
        yield f"VA_BITS that cover it with the same memstart_addr and {pages} pages: {choices}."
        if any(choice.va_bits > 48 for choice in cover.choices):
            fewest = va_bits_min(window.family, 52, window.page_size or 0)
            yield f"52 only on a CPU with 52-bit addresses: on others it covers as {fewest} do."
    else:
        yield f"No VA_BITS of {window.family.label} with {pages} pages covers it."
    yield (
        "Or a region within what the window holds: from 6.12 on request_free_mem_region offers"
        " only those (eeb8fdfcf090)."
    )


def _lpa2(window: Window) -> Iterator[str]:
    """Say why the mail calls it tricky, in this kernel's numbers."""
    upper = upper_space(window)
    if upper is None:
        return
    yield (
        f"Tricky with LPA2 (52 bits, {size(window.page_size or 0)} pages): the linear map may have"
        f" {size((1 << 52) - upper)}; its struct pages take {size(window.size)},"
        f" {percent(window.size, upper)} of the {size(upper)} above it, which vmalloc and modules"
        " share. That space is no larger than with"
        f" {upper.bit_length()} bits, as the same image must run there, so growth is paid by"
        " vmalloc alone."
    )


def _would_be_lpa2(cover: Cover, window: Window) -> bool:
    widest = cover.choices[-1] if cover.choices else None
    return widest is not None and widest.va_bits == 52 and window.page_size != 65536


def _upper_52(window: Window) -> str:
    return size(1 << (46 if window.page_size == 16384 else 47))  # VA_BITS_MIN 47, 48


def percent(part: int, whole: int) -> str:
    """Return a share in percent, three digits of it."""
    value = 100 * part / whole
    return f"{value:.3g} %" if value >= 0.01 else "under 0.01 %"


def physical(first: int, end: int) -> str:
    """Return a physical range, its end exclusive."""
    return f"0x{first:x} - 0x{end:x}"


def virtual(start: int, end: int) -> str:
    """Return a range of virtual addresses; one that ends at the top ends at 2^64."""
    return f"{address(start)} - {address(end) if end else '2^64'}"
