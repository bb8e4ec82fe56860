# SPDX-License-Identifier: GPL-2.0-only
"""The formulas: VMEMMAP_START, VMEMMAP_END and memstart_addr, per family of arm64 releases.

Promises: what a kernel of the family computes, from its configuration and sizeof(struct page)
alone; numbers no arm64 kernel can have raise ``WindowError``.

Source: arch/arm64/include/asm/memory.h, pgtable.h, kernel-pgtable.h and arch/arm64/mm/init.c of
the releases named in ``Family``.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

from tracers.errors import VmemscopeError

MASK: Final = (1 << 64) - 1
HALF: Final = 1 << 63  # below: the user half
#: Kernels are built for 36, 39, 42, 47, 48 or 52 bits and these pages (arch/arm64/Kconfig).
VA_BITS_RANGE: Final = range(36, 53)
PAGE_SIZES: Final = (4096, 16384, 65536)


class WindowError(VmemscopeError, ValueError):
    """A fact about the window is missing or impossible; the message names it."""


class Family(Enum):
    """Releases that share one formula for the window, newest first; the value is a label."""

    V6_9 = "6.9+"
    """END fixed at -1 GiB, exact struct page size (32697ff38287); PCI I/O and fixmap above."""
    V5_11 = "5.11-6.8"
    """A projection of the linear map (8c96400d6a39), neighbours below it (9ad7c6d5e75b)."""
    V5_4 = "5.4-5.10"
    """Kernel address space flipped: linear map below (14c127c957c1, size by ce3aaed87344)."""
    V4_14 = "4.14-5.3"
    """Just below the linear map, which fills the top half of the kernel's addresses."""


def signed(value: int) -> int:
    """Return the s64 that has the bits of the u64 ``value``."""
    return value - (1 << 64) if value >= HALF else value


def va_bits_min(family: Family | None, va_bits: int, page_size: int) -> int:
    """Return VA_BITS_MIN: the fewest bits a kernel built for ``va_bits`` may end up with.

    52-bit kernels run on 48-bit hardware, 16K ones (LPA2, 6.9) on 47 bits. ``family`` None: one
    with no known formula.
    """
    if va_bits <= 48:
        return va_bits
    return 47 if family in (Family.V6_9, None) and page_size == 16384 else 48


def formula(family: Family, *, va_bits: int, page_size: int, struct_page: int) -> tuple[int, int]:
    """Return (VMEMMAP_START, VMEMMAP_END) as a kernel of ``family`` computes them.

    ``page_size`` and ``struct_page`` in bytes. 4.14-5.3 had no VMEMMAP_END: START + SIZE.

    Raises:
        WindowError: a number no arm64 kernel can have.
    """
    check("va_bits", va_bits, lambda v: v in VA_BITS_RANGE)
    check("page_size", page_size, lambda v: v in PAGE_SIZES)
    check("struct_page", struct_page, lambda v: 8 <= v <= 1024)
    shift = page_size.bit_length() - 1
    # STRUCT_PAGE_MAX_SHIFT: order_base_2(sizeof(struct page)); a plain 6 until 5.0
    order = (struct_page - 1).bit_length()
    linear = (1 << va_bits) - (1 << (va_bits_min(family, va_bits, page_size) - 1))
    match family:
        case Family.V6_9:
            size = (linear >> shift) * struct_page
            start = (1 << 64) - (1 << 30) - size
        case Family.V5_11:
            size = linear >> (shift - order)
            start = (1 << 64) - (1 << (va_bits - (shift - order)))
        case Family.V5_4:
            size = linear >> (shift - order)
            start = (1 << 64) - size - (2 << 20)
        case Family.V4_14:
            size = 1 << (va_bits - shift - 1 + order)
            start = (1 << 64) - (1 << (va_bits - 1)) - size
    return start, start + size


def family_for_release(release: str) -> Family:
    """Guess the family from a release such as "6.1.192-foo": a fallback, as vendors backport.

    Raises:
        WindowError: no version in it, or one before 4.14.
    """
    version = _version(release)
    for family, first in ((Family.V6_9, (6, 9)), (Family.V5_11, (5, 11)), (Family.V5_4, (5, 4))):
        if version >= first:
            return family
    if version >= (4, 14):
        return Family.V4_14
    raise WindowError(f"no formula for kernels before 4.14 (release {release!r})")


def section_size_bits_for(release: str, page_size: int) -> int:
    """Return SECTION_SIZE_BITS by release, for kernels whose notes do not give it.

    30 until f0b13ee23241 (5.12) made it 27, or 29 with 64K pages.
    """
    if _version(release) < (5, 12):
        return 30
    return 29 if page_size == 65536 else 27


def memstart_for(
    dram_base: int,
    *,
    page_size: int,
    section_size_bits: int,
    va_bits: int | None = None,
    vabits_actual: int | None = None,
) -> int:
    """Return memstart_addr (u64) for DRAM that begins at ``dram_base``, without KASLR.

    arm64_memblock_init rounds down to ARM64_MEMSTART_ALIGN: what one block (4K, 64K) or
    contiguous block (16K) maps, or one section if that is more. A 52-bit kernel on lesser
    hardware then moves it down so that RAM lands in the addressable part of the linear map
    (7bc1a0f9e176, 5.10): give both ``va_bits`` and ``vabits_actual`` for that. Not covered: RAM
    too large for the linear map.
    """
    check("page_size", page_size, lambda v: v in PAGE_SIZES)
    align = max({4096: 30, 16384: 30, 65536: 29}[page_size], section_size_bits)
    memstart = dram_base >> align << align
    if va_bits is not None and vabits_actual is not None:
        memstart -= (1 << va_bits) - (1 << vabits_actual)
    return memstart & MASK


def _version(release: str) -> tuple[int, int]:
    match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", release)
    if match is None:
        raise WindowError(f"no kernel version in {release[:80]!r}")
    return int(match[1]), int(match[2])


def check(name: str, value: object, rule: Callable[[int], bool]) -> None:
    """Refuse a ``value`` of the fact ``name`` that ``rule`` does not allow."""
    if not (type(value) is int and rule(value)):
        raise WindowError(f"no arm64 kernel has {name} = {str(value)[:40]}")
