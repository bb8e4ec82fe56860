# SPDX-License-Identifier: GPL-2.0-only
"""Which part of the window a kernel really maps struct pages in: its bits in use decide.

A kernel built for 52-bit addresses runs on CPUs without them, too. Its linear map then begins
higher, and so does its vmemmap, while VMEMMAP_START, which its WARN compares with, stays what the
compiler made of 52 bits. What lies between is no vmemmap: since 6.9 it is vmalloc's.

Promises: the part is exact where the bits in use are known, and (least, most) where they are not;
nothing is guessed. The upper edge needs no such care: VMEMMAP_END is the struct page of
_PAGE_END(VA_BITS_MIN), which no CPU moves, and nothing but vmemmap lies below it.

Source: arch/arm64/include/asm/memory.h and pgtable.h: VMEMMAP_UNUSED_NPAGES of d432b8d57c0c
("arm64: mm: Reclaim unused vmemmap region for vmalloc use", 6.9), which says in code what the
comment at VMEMMAP_SIZE says since 5.4; which bits there can be: arch/arm64/kernel/pi/map_kernel.c
(6.9), head.S before. docs/window.md has the picture.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from tracers.families import GUARD, PAGE_SIZES, Family, va_bits_min
from tracers.formulas import WindowError, formula, signed

#: CONFIG_ARM64_VA_BITS of the kernels that this is about.
_BUILT_FOR: Final = 52


@lru_cache(maxsize=64)
def unused(
    start: int,
    end: int,
    *,
    family: Family | None,
    va_bits: int | None,
    page_size: int | None,
    struct_page: int | None,
    in_use: int | None,
) -> tuple[int, int]:
    """Return how many bytes from VMEMMAP_START on are not in use: (at least, at most).

    ``in_use``: bits of virtual addresses in use. Where they or the sizes are not known, the two
    differ unless no kernel with this window is built for 52 bits.
    """
    if (family and not family.value.pages_52) or (va_bits is not None and va_bits <= 48):
        return 0, 0
    if None not in (va_bits, in_use) and va_bits == in_use:
        return 0, 0
    if va_bits is not None and page_size is not None and struct_page is not None:
        fewest = va_bits_min(family, va_bits, page_size)
        least, most = (
            ((1 << va_bits) - (1 << bits)) // page_size * struct_page
            for bits in (in_use or va_bits, in_use or fewest)
        )
        # of a window that is no formula's: these sizes are not what it is made of
        return (least, most) if most < end - start else (0, end - start)
    # of the linear map the same share is not in use as of its struct pages
    pages: tuple[int, ...] = PAGE_SIZES if page_size is None else (page_size,)
    if va_bits is None:
        pages = tuple(page for page in pages if _built_for_52(start, end, page, struct_page))
    return 0, max((_share(end - start, page) for page in pages), default=0)


def _share(size: int, page_size: int) -> int:
    fewest = va_bits_min(None, _BUILT_FOR, page_size)
    whole, half = (1 << _BUILT_FOR) - (1 << fewest), 1 << (fewest - 1)
    return size * whole // (whole + half)


def _built_for_52(start: int, end: int, page_size: int, struct_page: int | None) -> bool:
    """Say whether a kernel for 52 bits can have this window."""
    for family in Family:
        if not family.value.pages_52:
            continue
        linear = family.linear_size(_BUILT_FOR, page_size)
        guesses = {(end - start) * page_size // linear, *(1 << order for order in range(3, 11))}
        for size in guesses if struct_page is None else (struct_page,):
            try:
                made = formula(family, va_bits=_BUILT_FOR, page_size=page_size, struct_page=size)
            except WindowError:
                continue
            if made == (start, end):
                return True
    return False


def bits_in_use(
    borders: Mapping[int, int],
    *,
    family: Family | None,
    memstart: int | None = None,
    ram: int | None = None,
    vmalloc_end: int | None = None,
) -> Iterator[tuple[str, int]]:
    """Yield what tells the bits in use where TCR_EL1.T1SZ does not: (origin, bits).

    ``borders``: for each number of bits there can be, where vmemmap then begins; a kernel has one
    or two. ``ram``: where RAM begins; ``vmalloc_end``: the kernel's own VMALLOC_END.

    With the fewest bits memstart_addr is RAM's base less what the linear map has moved up
    (7bc1a0f9e176, 5.10), and less still with KASLR (through 6.14): more than that is the most bits.
    """
    fewest, most = min(borders), max(borders)
    if fewest == most or family is None:
        return
    for bits, border in borders.items():
        if family.value.vmalloc_takes_unused and vmalloc_end == border - GUARD:
            yield "VMALLOC_END", bits
    if not family.value.memstart_tells_bits or memstart is None or ram is None:
        return
    if signed(memstart) - ram > (1 << fewest) - (1 << most):
        yield "memstart_addr", most
