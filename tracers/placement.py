# SPDX-License-Identifier: GPL-2.0-only
"""Where request_free_mem_region() puts a device's pages, and where PHYSMEM_END would stop it.

Promises: the kernel's own search, gap by gap instead of step by step, so that it ends quickly
whatever the size; a range that fits nowhere is None, as the kernel's -ERANGE.

Source: kernel/resource.c (__request_free_mem_region of 5.10, get_free_mem_region since
14b80582c43e, 6.0): from the top down, and never at or below what it steps by. It stepped by the
size asked for until 659aa050a538 "kernel/resource: Increment by align value in
get_free_mem_region()" (6.8, 6.6.11) made that a section. Where the search begins is
``tracers.region_search``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.window import Window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: MAX_PHYSMEM_BITS of a kernel whose CONFIG_ARM64_PA_BITS is 48, where the search began before.
PHYSMEM_48: Final = (1 << 48) - 1
#: Entries looked at, where sizes are tried one by one for the largest that is covered.
_TRIED: Final = 1 << 20


def physmem_end(window: Window) -> int:
    """Return PHYSMEM_END, the last physical address of the linear map, as eeb8fdfcf090 has it.

    ``__pa(_PAGE_END(VA_BITS_MIN) - 1)``: what lies behind memstart_addr and fits the linear map.

    Raises:
        WindowError: memstart_addr, the sizes or the formula's family are not known.
    """
    family, bits, memstart = window.family, window.va_bits, window.memstart
    if family is None or bits is None or memstart is None:
        raise WindowError("the end of the linear map is not known: no memstart_addr or VA bits")
    linear = family.linear_size(bits, 1 << window.page_shift)
    return (memstart + linear - 1) & MASK


def place(
    size: int, align: int, last: int, busy: Iterable[tuple[int, int]], *, by_size: bool = False
) -> int | None:
    """Return the physical address that the kernel gives a range of ``size`` bytes, None for none.

    ``align``: 1 << SECTION_SIZE_BITS, which the size is rounded up to and the search steps by;
    with ``by_size`` it steps by the size. ``last``: the highest address that may be used;
    ``busy``: [first, last] of /proc/iomem's entries. From the top down, the first place that
    touches none of them.
    """
    size = rounded(size, align)
    step = size if by_size else align
    at = last - size + 1
    for first, end in sorted(busy, key=_end, reverse=True):
        if end < at:  # as are all that follow; those passed lie above, where at never returns
            break
        if first < at + size:
            at -= -(-(at + size - first) // step) * step
    return at if at > step else None


def place_each(
    size: int,
    align: int,
    last: "npt.NDArray[np.int64]",
    busy: Iterable[tuple[int, int]],
    *,
    by_size: bool = False,
) -> "npt.NDArray[np.int64]":
    """Return ``place`` for each ``last``, -1 for none. All numbers are below 2^62."""
    import numpy as np  # noqa: PLC0415 (one place is found without)

    size = rounded(size, align)
    step = size if by_size else align
    at = last - np.int64(size - 1)
    for first, end in sorted(busy, key=_end, reverse=True):
        if first >= 1 << 62:
            continue
        touched = (at <= min(end, 1 << 62)) & (at > first - size)
        at[touched] -= -(-(at[touched] + size - first) // step) * step
    return np.where(at > step, at, -1)


def rounded(size: int, align: int) -> int:
    """Return the size that the kernel looks for."""
    return -(-size // align) * align


@dataclass(frozen=True, slots=True)
class Gap:
    """[first, end): addresses that nothing of /proc/iomem has."""

    first: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.first


def gaps(last: int, busy: Iterable[tuple[int, int]]) -> list[Gap]:
    """Return what is free up to ``last``, from the top down."""
    found, at = [], last + 1
    for first, end in sorted(busy, key=_end, reverse=True):
        if end < at - 1 and at > 0:
            found.append(Gap(end + 1, at))
        at = min(at, first)
    if at > 0:
        found.append(Gap(0, at))
    return found


def largest(
    align: int, last: int, busy: Sequence[tuple[int, int]], *, by_size: bool = False
) -> int:
    """Return the size of the largest range that ``place`` has a place for; 0: none."""
    top, best = last + 1, 0
    for gap in gaps(last, busy):
        down, up = top - gap.first, top - gap.end
        if not by_size:
            # the grid that is searched, counted from the top; the lowest address is not taken
            high = top - -(-up // align) * align
            low = top - min(down // align, (top - align - 1) // align) * align
            best = max(best, high - low)
            continue
        k = max(1, -(-down // gap.size))  # the how-manyth step this is
        while (size := min(down // k, (top - 1) // (k + 1)) // align * align) > best:
            if size * (k - 1) >= up:
                best = size
                break
            k = max(k + 1, -(-up // size) + 1)  # smaller sizes take at least as many steps
    return best


def largest_covered(
    align: int,
    last: int,
    busy: Sequence[tuple[int, int]],
    covered: tuple[int, int],
    *,
    by_size: bool = False,
) -> int | None:
    """Return the largest size whose place lies within ``covered``, [first, end); 0: none.

    None: not known, as too many sizes would have to be tried.
    """
    first, end = covered
    top, passed, best = last + 1, 0, 0
    for gap in gaps(last, busy):
        up = top - gap.end
        if by_size and up:
            break  # where a size ends depends on how often it goes into what lies above
        high = top - -(-up // align) * align
        lowest = top - min((top - gap.first) // align, (top - align - 1) // align) * align
        room = high - lowest
        if by_size:
            room = min(room, ((top - 1) // 2) // align * align)
        if room > passed:  # the sizes up to room, and above what fits higher up, end here
            fits = min(room, (high - first) // align * align) if high <= end else 0
            best = max(best, fits if fits > passed else 0)
            passed = room
    if not by_size:
        return best
    size = min(end - first, largest(align, last, busy, by_size=True)) // align * align
    for _ in range(_TRIED // (1 + len(busy))):
        if size <= max(best, passed):
            return best
        at = place(size, align, last, busy, by_size=True)
        if at is not None and at >= first and at + size <= end:
            return size
        size -= align
    return None


def _end(entry: tuple[int, int]) -> int:
    return entry[1]
