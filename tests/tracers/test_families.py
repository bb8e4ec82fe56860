# SPDX-License-Identifier: GPL-2.0-only
"""The table of layout families: whole, in order, and what is computed from a row alone."""

import pytest

from tracers.families import PAGE_SIZES, VA_BITS, Bounds, Family, va_bits_min


def test_newest_first_and_told_apart() -> None:
    releases = [family.value.first for family in Family]
    assert releases == sorted(releases, reverse=True)
    assert len({family.label for family in Family}) == len(Family)


def test_va_bits_min() -> None:
    assert va_bits_min(Family.V6_9, 52, 16384) == 47
    assert va_bits_min(Family.V6_9, 52, 4096) == 48
    assert va_bits_min(Family.V5_11, 52, 65536) == 48
    assert va_bits_min(Family.V6_9, 39, 4096) == 39
    assert va_bits_min(None, 52, 16384) == 47


def test_52_bits_are_kconfig_s() -> None:
    """ARM64_VA_BITS_52: 64K pages (b6d00d47e81a, 5.4), then all with LPA2 (352b0395b505, 6.9)."""
    with_52 = {family: set(family.value.pages_52) for family in Family}
    assert with_52[Family.V4_14] == set()
    assert with_52[Family.V5_4] == with_52[Family.V5_11] == {65536}
    assert with_52[Family.V6_9] == set(PAGE_SIZES)


@pytest.mark.parametrize(
    ("va_bits", "page_size", "size"),
    [
        # pgtable-hwdef.h, ARM64_HW_PGTABLE_LEVEL_SHIFT(1) where there are four levels or more
        (48, 4096, 1 << 30),
        (52, 4096, 1 << 30),
        (39, 4096, 1 << 30),  # three: PUD_SHIFT is PGDIR_SHIFT
        (47, 16384, 1 << 36),
        (48, 16384, 1 << 36),
        (36, 16384, 1 << 25),  # two levels
        (42, 65536, 1 << 29),
        (48, 65536, 1 << 42),
        (52, 65536, 1 << 42),
    ],
)
def test_pud_size(va_bits: int, page_size: int, size: int) -> None:
    assert va_bits in VA_BITS[page_size] or va_bits == 52
    bounds = Bounds(0xFFFF_FC00_0000_0000, 0xFFFF_FE00_0000_0000, 0, va_bits, page_size)
    assert bounds.pud_size == size
