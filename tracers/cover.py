# SPDX-License-Identifier: GPL-2.0-only
"""Whether a physical range can have struct pages in the window, and what it takes if it cannot.

Promises: exact integers; where a page's struct page crosses a border the page counts as beyond
it; a fact that is not known raises ``WindowError`` or is None, and is never guessed.

The question is that of Ard Biesheuvel's mail of 7 April 2023, "arm64/mm: don't WARN when
alloc/free-ing device private pages": enlarge the VMEMMAP region for pages that are not system
memory, and ensure that what is requested is covered by it. Source: arch/arm64/Kconfig and
include/asm/memory.h of the releases named in ``Family``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from tracers.families import HALF, MASK, TOP, VA_BITS, va_bits_min
from tracers.formulas import WindowError, formula, signed
from tracers.layout import Layout
from tracers.window import Regime, Window

#: No arm64 CPU has more (LPA, LPA2); with 48-bit kernels sparsemem ends at 2^48.
PA_BITS: Final = 52
#: 5.4 to 5.10 keep 2 MiB free at the top, where error pointers are.
_TOP_KEPT: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive pages whose struct pages lie alike."""

    first_pfn: int
    end_pfn: int  # exclusive
    start: int  # struct pages, modulo 2^64: a span that ends at 2^64 has end 0
    end: int
    regime: Regime
    silent: bool  # out of the window in use, and the kernel's WARN lets it pass
    lands_on: str

    @property
    def in_use(self) -> bool:
        """Whether it is known to lie where the kernel really maps struct pages."""
        return self.regime is Regime.INSIDE


@dataclass(frozen=True, slots=True)
class Growth:
    """What covering a range would take; bytes of virtual addresses."""

    size: int  # VMEMMAP_SIZE that would do
    more: int  # how much more that is than now
    below: int  # of what is missing, the part below the struct pages now in use
    hole: int | None  # taken from what is free above END; None: no known formula, not known
    taken: int | None  # taken from vmalloc; None: not known
    vmalloc: int | None  # vmalloc now; None: not known

    @property
    def fits(self) -> bool | None:
        """Say whether vmalloc is large enough to give that; None: not known."""
        if self.taken is None or self.vmalloc is None:
            return None
        return self.taken < self.vmalloc


@dataclass(frozen=True, slots=True)
class Choice:
    """A value of CONFIG_ARM64_VA_BITS, and what it covers with the same memstart_addr."""

    va_bits: int
    size: int  # VMEMMAP_SIZE
    first: int  # physical; below 0 where memstart_addr is
    end: int
    covers: bool


@dataclass(frozen=True, slots=True)
class Cover:
    """The result for the physical range [first, end)."""

    first: int
    end: int
    spans: tuple[Span, ...]
    covered: bool
    use_known: bool  # False: judged as if this 52-bit kernel had a 52-bit CPU
    growth: Growth
    choices: tuple[Choice, ...]  # those whose window holds all of it; none if no family is known

    @property
    def start_page(self) -> int:
        """Address of the first struct page."""
        return self.spans[0].start

    @property
    def end_page(self) -> int:
        """Address behind the last struct page, modulo 2^64."""
        return self.spans[-1].end

    @property
    def pa_bits(self) -> int:
        """CONFIG_ARM64_PA_BITS the range needs."""
        return 48 if self.end <= 1 << 48 else PA_BITS


def pfn_spans(window: Window, layout: Layout, first: int, end: int) -> tuple[Span, ...]:
    """Cut the pfns [first, end) where the regime of their struct pages, or the WARN, changes.

    Raises:
        WindowError: memstart or a size is not known, or there is no such range.
    """
    if not 0 <= first < end <= 1 << (64 - window.page_shift):
        raise WindowError(f"no pfns: 0x{first:x} to 0x{end:x}")
    size, base = _struct_page(window), _base(window)
    used = window.used[0]
    # a struct page that begins before a border and ends behind it: only START's is rounded up,
    # as what begins below START is below
    pfns = {-(-(border - base) // size) for border in (HALF, window.start, used)}
    pfns |= {(border - base) // size for border in (window.end, TOP, TOP + HALF)}
    cuts = [first, *sorted(pfn for pfn in pfns if first < pfn < end), end]
    return tuple(_span(window, layout, a, b) for a, b in pairwise(cuts))


def cover(window: Window, layout: Layout, first: int, end: int) -> Cover:
    """Judge the physical addresses [first, end), in bytes; both are rounded out to pages.

    Where the bits in use are not known: as if the CPU had as many as the kernel is built for.

    Raises:
        WindowError: memstart or a size is not known, or no arm64 CPU has such addresses.
    """
    shift = window.page_shift
    if not 0 <= first < end <= 1 << PA_BITS:
        raise WindowError(
            f"no physical range of an arm64 CPU: 0x{first:x} to 0x{end:x}; they have at most"
            f" {PA_BITS} bits, and the end comes after the start"
        )
    pfn, stop = first >> shift, -(-end >> shift)
    known = window.use_known
    if not known and window.va_bits is not None:
        window = replace(window, vabits_actual=window.va_bits)
    spans = pfn_spans(window, layout, pfn, stop)
    return Cover(
        first,
        end,
        spans,
        covered=all(span.in_use for span in spans),
        use_known=known,
        growth=_growth(window, layout, pfn, stop),
        choices=tuple(c for c in va_choices(window, pfn << shift, stop << shift) if c.covers),
    )


def va_choices(window: Window, first: int, end: int) -> Iterator[Choice]:
    """Yield every VA_BITS of the window's family and page size, judged for [first, end).

    52 bits on a CPU that has them; on a lesser one a 52-bit kernel covers what 48 bits do.
    """
    if window.family is None:
        return
    page, size, shift = 1 << window.page_shift, _struct_page(window), window.page_shift
    lowest = ((window.used[0] - _base(window)) // size) << shift
    for bits in VA_BITS[page]:
        if bits == 52 and page not in window.family.value.pages_52:
            continue
        start, stop = formula(window.family, va_bits=bits, page_size=page, struct_page=size)
        highest = lowest + ((stop - start) // size << shift)
        covers = lowest <= first and end <= highest
        yield Choice(bits, stop - start, lowest, highest, covers)


def fewest_bits(window: Window) -> int | None:
    """Return VA_BITS_MIN, what a CPU without 52-bit addresses gives; None: not known."""
    if window.family is None or window.va_bits is None:
        return None
    return va_bits_min(window.family, window.va_bits, 1 << window.page_shift)


def upper_space(window: Window) -> int | None:
    """Return the bytes that vmemmap shares with modules, vmalloc and fixmap; None: not known.

    From 5.4 what lies above the linear map, as small as VA_BITS_MIN makes it; before, below it.
    """
    bits = fewest_bits(window)
    return None if bits is None else 1 << (bits - 1)


def lpa2(window: Window) -> bool:
    """Say whether the kernel is built for 52-bit addresses with 4K or 16K pages."""
    return window.va_bits == 52 and window.page_size in (4096, 16384)


def _growth(window: Window, layout: Layout, first: int, end: int) -> Growth:
    size, base = _struct_page(window), _base(window)
    used = window.used[0]
    below = max(0, used - (base + first * size))
    above = max(0, base + end * size - window.end)
    # what a 52-bit kernel's window has that its CPU does not use
    unused = min(below, used - window.start)
    more = above + below - unused
    vmalloc = sum(r.end - r.start for r in layout.regions if r.name == "vmalloc") or None
    hole = _hole(window)
    free = None if hole is None else min(hole, above)
    spare = 0 if window.vmalloc_takes_unused else unused
    taken = None if free is None else below - spare + above - free
    return Growth(window.size + more, more, below, free, taken, vmalloc)


def _hole(window: Window) -> int | None:
    """Return what is free above END; None: no known formula."""
    if window.family is None:
        return None
    if not window.family.value.hole_above:
        return 0
    return max(0, TOP - _TOP_KEPT - window.end)


def _span(window: Window, layout: Layout, first: int, end: int) -> Span:
    size, base = _struct_page(window), _base(window)
    start, stop = (base + first * size) & MASK, (base + end * size) & MASK
    regime = window.regime(start, stop)
    silent = window.silent(start, (start + size) & MASK)  # page by page, as calls are
    return Span(first, end, start, stop, regime, silent, layout.lands_on(start, stop))


def _base(window: Window) -> int:
    """Return where pfn 0's struct page is, counted from START and not modulo 2^64."""
    return window.start - signed((window.start - window.vmemmap) & MASK)


def _struct_page(window: Window) -> int:
    if window.struct_page is None:
        raise WindowError("the window's struct_page is not known")
    return window.struct_page
