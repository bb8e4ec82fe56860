# SPDX-License-Identifier: GPL-2.0-only
"""memstart_addr computed from where RAM begins, held against the kernel's macros written out."""

from dataclasses import replace

import pytest

from tracers.families import PAGE_SIZES, VA_BITS, Family
from tracers.formulas import family_for_release, formula
from tracers.memstart import memstart_from_ram, with_memstart_of
from tracers.window import Window

#: A release on either side of whatever moved memstart_addr or SECTION_SIZE_BITS.
RELEASES = (
    "4.14",
    "4.19",
    "5.3",
    "5.4",
    "5.10",
    "5.11",
    "5.12",
    "5.15",
    "6.1",
    "6.8",
    "6.9",
    "7.3",
)
RAM = (0x4000_0000, 0x6000_0000, 0x80_2000_0000)


def align(release: str, page_size: int) -> int:
    """ARM64_MEMSTART_ALIGN: kernel-pgtable.h's ARM64_MEMSTART_SHIFT and sparsemem.h, as written."""
    version = tuple(map(int, release.split(".")))
    # SECTION_SIZE_BITS: 30; from 5.12 on, #ifdef CONFIG_ARM64_64K_PAGES 29 #else 27
    section = 30 if version < (5, 12) else 29 if page_size == 65536 else 27
    # PUD_SHIFT for 4K, CONT_PMD_SHIFT for 16K (5 + 25), PMD_SHIFT for 64K
    shift = {4096: 30, 16384: 30, 65536: 29}[page_size]
    return 1 << max(shift, section)


def window_of(release: str, page_size: int, va_bits: int = 48) -> Window:
    sizes = {"va_bits": va_bits, "page_size": page_size, "struct_page": 64}
    family = family_for_release(release)
    return Window(*formula(family, **sizes), family=family, **sizes)


@pytest.mark.parametrize("ram", RAM)
@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("release", RELEASES)
def test_ram_is_rounded_down_as_the_release_does(release: str, page_size: int, ram: int) -> None:
    window = window_of(release, page_size)
    expected = ram & -align(release, page_size)
    assert memstart_from_ram(window, ram, release=release) == expected
    alone = with_memstart_of(window, None, ram, release=release)
    assert alone is not None
    assert alone.memstart == expected


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("family", Family)
def test_without_a_release_the_family_decides(family: Family, page_size: int) -> None:
    first = ".".join(map(str, family.value.first))
    window = window_of(first, page_size)
    last = {Family.V5_11: "6.8"}.get(family, first)  # 5.11 alone of its family has 30 bits
    assert memstart_from_ram(window, 0x6000_0000) == 0x6000_0000 & -align(last, page_size)


@pytest.mark.parametrize("bits", VA_BITS[65536])
def test_another_release_on_the_same_machine(bits: int) -> None:
    """RAM from 0x60000000: 5.15 with 64K pages begins there, 5.10 at the 1 GiB section below."""
    own = replace(window_of("5.15", 65536, bits), memstart=0x6000_0000, section_size_bits=29)
    other = with_memstart_of(window_of("5.10", 65536, bits), own, 0x6000_0000, release="5.10")
    assert other is not None
    assert other.memstart == 0x4000_0000
    alike = with_memstart_of(window_of("6.1", 65536, bits), own, 0x6000_0000, release="6.1")
    assert alike is not None
    assert (alike.memstart, alike.provenance["memstart"]) == (0x6000_0000, "the recording")


def test_the_same_cpu_has_as_many_bits() -> None:
    """A 52-bit kernel on a CPU with 48 moves memstart_addr down (7bc1a0f9e176)."""
    moved = (0x4000_0000 - (1 << 52) + (1 << 48)) % 2**64
    own = replace(window_of("6.12", 4096, 52), memstart=moved, vabits_actual=48)
    here = with_memstart_of(window_of("6.12", 4096, 52), own, 0x4000_0000, release="6.12")
    assert here is not None
    assert (here.memstart, here.vabits_actual) == (moved, 48)
    newer = replace(window_of("6.12", 4096, 52), vabits_actual=52)
    there = with_memstart_of(newer, own, 0x4000_0000, release="6.12")
    assert there is not None
    assert (there.memstart, there.vabits_actual) == (0x4000_0000, 52)


def test_where_ram_begins_may_not_be_known() -> None:
    window = window_of("6.1", 4096)
    assert with_memstart_of(window, None, None) is None
    own = replace(window_of("6.1", 4096, 39), memstart=0x4000_0000)
    told = with_memstart_of(window, own, None)
    assert told is not None
    assert told.memstart == 0x4000_0000
