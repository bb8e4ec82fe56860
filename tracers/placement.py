# SPDX-License-Identifier: GPL-2.0-only
"""Where request_free_mem_region() puts a device's pages, and where PHYSMEM_END would stop it.

Promises: the kernel's own search, gap by gap instead of step by step, so that it ends quickly
whatever the size; a range that fits nowhere is None, as the kernel's -ERANGE.

Source: kernel/resource.c (get_free_mem_region, since 14b80582c43e, 6.0) and, for the cap,
eeb8fdfcf090 "arm64: Expose the end of the linear map in PHYSMEM_END" (6.12; later renamed
DIRECT_MAP_PHYSMEM_END). Before it the search began at the end of MAX_PHYSMEM_BITS.
"""

from collections.abc import Iterable
from typing import Final

from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.window import Window

#: MAX_PHYSMEM_BITS of a kernel whose CONFIG_ARM64_PA_BITS is 48, where the search began before.
PHYSMEM_48: Final = (1 << 48) - 1


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


def place(size: int, align: int, last: int, busy: Iterable[tuple[int, int]]) -> int | None:
    """Return the physical address that the kernel gives a range of ``size`` bytes, None for none.

    ``align``: 1 << SECTION_SIZE_BITS, which the size is rounded up to and the search steps by;
    ``last``: the highest address that may be used; ``busy``: [first, last] of /proc/iomem's
    entries. From the top down, the first place that touches none of them.
    """
    size = -(-size // align) * align
    at = last - size + 1
    for first, end in sorted(busy, key=_end, reverse=True):
        if end < at:  # as are all that follow; those passed lie above, where at never returns
            break
        if first < at + size:
            at -= -(-(at + size - first) // align) * align
    return at if at > align else None


def _end(entry: tuple[int, int]) -> int:
    return entry[1]
