# SPDX-License-Identifier: GPL-2.0-only
"""The search for a free range: against the kernel's own steps, and where kernels really ended."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recordings.plain import read_note
from tracers.formulas import WindowError
from tracers.placement import (
    PHYSMEM_48,
    gaps,
    largest,
    largest_covered,
    physmem_end,
    place,
    place_each,
)
from tracers.window import Window, window_from_facts

LAB = "6.1.192-vmemlab-39bit"


def iomem(captures):
    text = (captures / LAB / "iomem").read_text()
    return [(int(a, 16), int(b, 16)) for a, b in re.findall(r"(\w+)-(\w+) :", text)]


def window(release="6.1", **facts):
    sizes = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
    return window_from_facts(sizes | {"section_size_bits": 27} | facts, release=release)


def test_a_kernel_without_the_cap_places_1_gib_where_the_lab_s_did(captures):
    # wrap.console.txt of the lab's 6.1: memremap_pages of 1 GiB, placed by
    # request_free_mem_region(), warned first for start 0x000003fdfe000000, pfn 0xffffc0000
    at = place(1 << 30, 1 << 27, PHYSMEM_48, iomem(captures))
    assert at == 0xFFFF_C000_0000
    note = read_note(captures / LAB / "kcore-vmcoreinfo")
    base = note.start - note.memstart // 4096 * note.struct_page
    assert (base + (at >> 12) * note.struct_page) % 2**64 == 0x0000_03FD_FE00_0000


def test_with_the_cap_it_goes_below_what_is_in_the_way(captures):
    last = physmem_end(window())
    assert last == 0x40_3FFF_FFFF  # 256 GiB of linear map from 1 GiB on
    at = place(16 << 30, 1 << 27, last, iomem(captures))
    # 0x4010000000-0x401fffffff is PCI ECAM in the capture's iomem
    assert at == 0x40_1000_0000 - (16 << 30)


def brute(size, align, last, busy, *, by_size=False):
    """kernel/resource.c step by step: gfr_start, gfr_continue, region_intersects, gfr_next."""
    size = -(-size // align) * align
    step = size if by_size else align
    at = last - size + 1
    while at > step:
        if all(end < at or first >= at + size for first, end in busy):
            return at
        at -= step
    return None


_BUSY = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), max_size=8)


@given(st.integers(1, 80), st.sampled_from([1, 4, 8]), st.integers(20, 300), _BUSY, st.booleans())
def test_the_search_is_the_kernel_s(size, align, last, busy, by_size):
    ranges = [(first, first + length) for first, length in busy]
    at = brute(size, align, last, ranges, by_size=by_size)
    assert place(size, align, last, ranges, by_size=by_size) == at
    every = np.arange(last, last + 40)
    assert place_each(size, align, every, ranges, by_size=by_size).tolist() == [
        -1 if (at := brute(size, align, end, ranges, by_size=by_size)) is None else at
        for end in every.tolist()
    ]


@settings(max_examples=60)
@given(
    st.sampled_from([4, 8]),
    st.integers(20, 200),
    _BUSY,
    st.booleans(),
    st.tuples(st.integers(0, 150), st.integers(1, 150)),
)
def test_the_largest_is_the_largest_of_all_sizes(align, last, busy, by_size, part):
    ranges = [(first, first + length) for first, length in busy]
    places = {
        size: brute(size, align, last, ranges, by_size=by_size)
        for size in range(align, last + align, align)
    }
    fits = {size: at for size, at in places.items() if at is not None}
    assert largest(align, last, ranges, by_size=by_size) == max(fits, default=0)
    first, end = part[0], part[0] + part[1]
    inside = [size for size, at in fits.items() if at >= first and at + size <= end]
    found = largest_covered(align, last, ranges, (first, end), by_size=by_size)
    assert found == max(inside, default=0)


@given(st.integers(0, 300), _BUSY)
def test_gaps_are_what_nothing_has(last, busy):
    ranges = [(first, first + length) for first, length in busy]
    free = [at for gap in gaps(last, ranges) for at in range(gap.first, gap.end)]
    assert sorted(free) == [
        at for at in range(last + 1) if all(not first <= at <= end for first, end in ranges)
    ]


# What the booted lab said for region.ko (tests/lab/test_fit.py): MiB -> address, None for -ERANGE.
_BOOTED = {
    (PHYSMEM_48, True): {1: 0xFFFF_F800_0000, 16384: 0xFFFC_0000_0000, 1 << 26: 0xC000_0000_0000,
                         1 << 27: None, 200_000_000: None},
    (0x6F3E_3FFF_FFFF, False): {1: 0x6F3E_3800_0000, 1 << 24: 0x5F3E_4000_0000,
                                1 << 26: 0x2F3E_4000_0000},
    (0x36A4_BFFF_FFFF, False): {50331648: 0x06A4_C000_0000, 1 << 26: None},
}  # fmt: skip


@pytest.mark.parametrize(("last", "by_size"), _BOOTED)
def test_sizes_of_booted_kernels(captures, last, by_size):
    for mib, at in _BOOTED[last, by_size].items():
        assert place(mib << 20, 1 << 27, last, iomem(captures), by_size=by_size) == at


def test_the_linear_map_ends_where_each_family_says():
    # 48 bits, half of them linear; memstart_addr may be "negative"
    assert physmem_end(window("6.12", va_bits=48)) == 0x4000_0000 + (1 << 47) - 1
    lower = window("6.12", va_bits=48, memstart=2**64 - (1 << 40))
    assert physmem_end(lower) == (1 << 47) - (1 << 40) - 1
    # a 52-bit kernel: from -2^52 up to where a 48-bit kernel's upper half begins
    assert physmem_end(window("6.12", va_bits=52)) == 0x4000_0000 + (1 << 52) - (1 << 47) - 1
    assert physmem_end(window("5.1", va_bits=39)) == 0x4000_0000 + (1 << 38) - 1


def test_what_is_not_known_is_said():
    for facts in ({"memstart": None}, {"va_bits": None}):
        known = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0} | facts
        bare = Window(0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000, **known)
        with pytest.raises(WindowError, match="linear map"):
            physmem_end(bare)
