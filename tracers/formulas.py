# SPDX-License-Identifier: GPL-2.0-only
"""The formulas: VMEMMAP_START, VMEMMAP_END and memstart_addr, per family of arm64 releases.

Promises: what a kernel of the family computes, from its configuration and sizeof(struct page)
alone; numbers no arm64 kernel can have raise ``WindowError``.

Source: arch/arm64/include/asm/memory.h, pgtable.h, kernel-pgtable.h and arch/arm64/mm/init.c of
the releases in ``families.Family``.
"""

import re
from collections.abc import Callable
from typing import Final

from tracers.errors import VmemscopeError
from tracers.families import HALF, MASK, PAGE_SIZES, Family

#: Kernels are built for 36, 39, 42, 47, 48 or 52 bits (arch/arm64/Kconfig).
VA_BITS_RANGE: Final = range(36, 53)


class WindowError(VmemscopeError, ValueError):
    """A fact about the window is missing or impossible; the message names it."""


def signed(value: int) -> int:
    """Return the s64 that has the bits of the u64 ``value``."""
    return value - (1 << 64) if value >= HALF else value


def signed_hex(value: int) -> str:
    """Return the u64 ``value`` as an s64 in hexadecimal: "0x40000000", "-0xf000000000000"."""
    number = signed(value)
    return f"{'-' if number < 0 else ''}0x{abs(number):x}"


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
    linear = family.linear_size(va_bits, page_size)
    exact = family.value.exact_struct_page
    size = (linear >> shift) * struct_page if exact else linear >> (shift - order)
    start = family.value.start(va_bits, shift - order, size)
    return start, start + size


def family_for_release(release: str) -> Family:
    """Guess the family from a release such as "6.1.192-foo": a fallback, as vendors backport.

    Raises:
        WindowError: no version in it, or one before 4.14.
    """
    first_two = version(release)
    for family in Family:
        if first_two >= family.value.first:
            return family
    raise WindowError(f"no formula for kernels before 4.14 (release {release!r})")


def section_size_bits_for(release: str, page_size: int) -> int:
    """Return SECTION_SIZE_BITS by release, for kernels whose notes do not give it.

    30 until f0b13ee23241 (5.12) made it 27, or 29 with 64K pages.
    """
    if version(release) < (5, 12):
        return 30
    return 29 if page_size == 65536 else 27


def memstart_align(page_size: int, section_size_bits: int) -> int:
    """Return log2 of ARM64_MEMSTART_ALIGN, which memstart_addr is a multiple of.

    What one block (4K, 64K) or contiguous block (16K) maps, or one section if that is more.
    """
    check("page_size", page_size, lambda v: v in PAGE_SIZES)
    return max({4096: 30, 16384: 30, 65536: 29}[page_size], section_size_bits)


def memstart_for(
    dram_base: int,
    *,
    page_size: int,
    section_size_bits: int,
    va_bits: int | None = None,
    vabits_actual: int | None = None,
) -> int:
    """Return memstart_addr (u64) for DRAM that begins at ``dram_base``, without KASLR.

    arm64_memblock_init rounds down to ARM64_MEMSTART_ALIGN. A 52-bit kernel on lesser hardware
    then moves it down so that RAM lands in the addressable part of the linear map
    (7bc1a0f9e176, 5.10): give both ``va_bits`` and ``vabits_actual`` for that. Not covered: RAM
    too large for the linear map.
    """
    align = memstart_align(page_size, section_size_bits)
    memstart = dram_base >> align << align
    if va_bits is not None and vabits_actual is not None:
        memstart -= (1 << va_bits) - (1 << vabits_actual)
    return memstart & MASK


def vmemmap_set_early(release: str) -> bool:
    """Say whether a kernel with the layout of 5.4 to 5.10 may set vmemmap before KASLR.

    Until 7bc1a0f9e176 (5.10) it did, and moved memstart_addr after that. True where the release
    names no version, too.
    """
    try:
        return version(release) < (5, 10)
    except WindowError:
        return True


def version(release: str) -> tuple[int, int]:
    """Return the first two numbers of a release.

    Raises:
        WindowError: there are none.
    """
    match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", release)
    if match is None:
        raise WindowError(f"no kernel version in {release[:80]!r}")
    return int(match[1]), int(match[2])


def check(name: str, value: object, rule: Callable[[int], bool]) -> None:
    """Refuse a ``value`` of the fact ``name`` that ``rule`` does not allow."""
    if not (type(value) is int and rule(value)):
        raise WindowError(f"no arm64 kernel has {name} = {str(value)[:40]}")
