# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel would put a device-private region, whether the window covers it, in which boots.

Promises: the kernel's own search (``placement``) over what /proc/iomem has; with KASLR all 65,536
seeds, each counted; a fact that decides and is not known raises ``WindowError``. What /proc/iomem
has is taken to be the same in every boot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import numpy as np

from tracers.cover import pfn_spans
from tracers.formulas import WindowError, signed
from tracers.kaslr import PA_RANGES, Boots, base_of, boots, possible_ranges, randomizes
from tracers.layout import Layout
from tracers.placement import Gap, gaps, largest, largest_covered, place, place_each, rounded
from tracers.region_search import Search
from tracers.window import Regime, Window

Iomem = Sequence[tuple[int, int, str]]

#: Entries of /proc/iomem that are searched; a machine has hundreds.
_MOST: Final = 4096
_RAM: Final = "System RAM"


class Result(Enum):
    """What would happen to a request."""

    COVERED = "covered"
    OUTSIDE = "outside"  # some of its struct pages would lie out of the window
    REFUSED = "refused"  # -ERANGE
    NO_REGION = "no-region"  # this kernel gives device-private pages no physical addresses


@dataclass(frozen=True, slots=True)
class Chance:
    """In how many boots, by seeds of 65,536, with a CPU of so many physical bits."""

    pa_range: int | None  # None: it does not matter
    fits: int
    covered: int
    places: int  # distinct values of memstart_addr


@dataclass(frozen=True, slots=True)
class Fit:
    """The result for one size."""

    asked: int
    result: Result
    size: int = 0  # rounded up to sections
    last: int = 0  # where the search begins
    at: int | None = None
    start_page: int = 0  # of its struct pages
    end_page: int = 0
    regime: Regime | None = None
    lands_on: str = ""
    gap: Gap | None = None  # the largest
    largest: int = 0
    largest_covered: int | None = None
    #: One for each PARange that the CPU may have; one where it is known or does not matter; none
    #: where memstart_addr is the same in every boot, or ``why`` says why that is not known.
    chances: tuple[Chance, ...] = ()
    moves: bool | None = None  # whether memstart_addr moves from boot to boot; None: see ``why``
    why: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing of it would be refused or out of the window."""
        return self.result in (Result.COVERED, Result.NO_REGION)


def fit(
    size: int,
    window: Window,
    layout: Layout,
    search: Search,
    iomem: Iomem,
    *,
    release: str | None = None,
    pa_range: int | None = None,
) -> Fit:
    """Return where this kernel would put a region of ``size`` bytes.

    ``pa_range``: bits of physical addresses that the CPU has, for the boots with KASLR.

    Raises:
        WindowError: not enough is known.
    """
    if search.outside:
        return Fit(size, Result.NO_REGION)
    busy = [(first, last) for first, last, _ in iomem if (first, last) != (0, 0)]
    if not busy:
        raise WindowError("what is in the way is not known: no /proc/iomem, or not read as root")
    if len(busy) > _MOST:
        raise WindowError(f"/proc/iomem has more than {_MOST} entries")
    last, align = search.last(window), window.section_pages << window.page_shift
    by_size = _by_size(search, size, align, last, busy)
    at = place(size, align, last, busy, by_size=by_size)
    chances: tuple[Chance, ...] = ()
    why = ""
    try:
        asked = _Asked(size, window, search, busy, by_size)
        chances = _chances(asked, iomem, release=release, pa_range=pa_range)
    except WindowError as error:
        why = str(error)
    refused = Fit(
        size,
        Result.REFUSED,
        size=rounded(size, align),
        last=last,
        gap=max(gaps(last, busy), key=lambda gap: gap.size, default=None),
        largest=largest(align, last, busy, by_size=by_size),
        largest_covered=largest_covered(align, last, busy, window.phys_range, by_size=by_size),
        chances=chances,
        moves=None if why else bool(chances),
        why=why,
    )
    if at is None:
        return refused
    first, end = at >> window.page_shift, (at + refused.size) >> window.page_shift
    spans = pfn_spans(window, layout, first, end)
    start_page, end_page = spans[0].start, spans[-1].end
    inside = all(span.in_use for span in spans)
    return replace(
        refused,
        result=Result.COVERED if inside else Result.OUTSIDE,
        at=at,
        start_page=start_page,
        end_page=end_page,
        regime=window.regime(start_page, end_page),
        lands_on=layout.lands_on(start_page, end_page),
    )


def _by_size(search: Search, size: int, align: int, last: int, busy: list[tuple[int, int]]) -> bool:
    """Return what the search steps by; where that is not known but makes no difference, either."""
    if search.by_size is not None:
        return search.by_size
    both = [
        (place(size, align, last, busy, by_size=way), largest(align, last, busy, by_size=way))
        for way in (False, True)
    ]
    if both[0] != both[1]:
        raise WindowError(
            "whether this kernel's search steps by sections or by the size is not known, and"
            " makes a difference (659aa050a538): give its image"
        )
    return False


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question about all boots."""

    size: int
    window: Window
    search: Search
    busy: list[tuple[int, int]]
    by_size: bool

    def chance(self, bits: int, spread: Boots) -> Chance:
        """Count the boots of a CPU with so many physical bits."""
        window, own = self.window, self.search.last(self.window)
        align = window.section_pages << window.page_shift
        # what this boot's memstart_addr is above the one that each seed gives
        shift = signed(window.memstart or 0) - spread.base + spread.moves
        last = own - shift if self.search.capped else np.full(len(shift), own, np.int64)
        at = place_each(self.size, align, last, self.busy, by_size=self.by_size)
        first, end = _covered(window)
        covered = (at >= 0) & (at >= first - shift)
        covered &= at + rounded(self.size, align) <= end - shift
        return Chance(
            bits,
            int(spread.seeds[at >= 0].sum()),
            int(spread.seeds[covered].sum()),
            len(spread.moves),
        )


def _chances(
    asked: _Asked, iomem: Iomem, *, release: str | None, pa_range: int | None
) -> tuple[Chance, ...]:
    """Return the shares of boots; none if all are alike."""
    window = asked.window
    ram = [(first, last) for first, last, name in iomem if name == _RAM and last]
    if not ram:
        raise WindowError("where RAM begins is not known: no System RAM in /proc/iomem")
    around = min(first for first, _ in ram), max(last for _, last in ram) + 1
    if window.memstart is None:
        raise WindowError("memstart_addr is not known")
    base = base_of(window, around[0], release)
    seeded = asked.search.seeded
    if not randomizes(release, seeded=seeded, base=base, memstart=window.memstart):
        return ()
    ranges = possible_ranges(window, around, release)
    if pa_range is not None and ranges != PA_RANGES[:1]:
        ranges = tuple(bits for bits in ranges if bits == pa_range)
    if not ranges:
        raise WindowError(
            "memstart_addr is where no seed of KASLR puts it: RAM at boot was another, PARange"
            " is, or something else moved it"
        )
    found = [
        asked.chance(bits, boots(window, around, pa_range=bits, release=release)) for bits in ranges
    ]
    alike = {(one.fits, one.covered) for one in found}
    if len(found) > 1 and len(alike) == 1:
        most = max(one.places for one in found)
        return (Chance(None, found[0].fits, found[0].covered, most),)
    return tuple(found)


def _covered(window: Window) -> tuple[int, int]:
    """Return the physical range with struct pages in use; it may begin below 0."""
    start, end = window.used
    if window.struct_page is None:
        raise WindowError("the window's struct_page is not known")
    first = signed((start - window.vmemmap) % (1 << 64)) // window.struct_page
    behind = first + (end - start) // window.struct_page
    return first << window.page_shift, behind << window.page_shift
