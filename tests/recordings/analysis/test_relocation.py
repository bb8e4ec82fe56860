# SPDX-License-Identifier: GPL-2.0-only
"""Calls relocated to another layout, compared with plain Python."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis.relocation import Regions, Relocation, Relocator
from tests.recordings import plain
from tracers.formulas import WindowError
from tracers.window import window_from_facts

TOP = 2**64
PAGES = st.integers(0, 2**40)


def window(va_bits=39, page_size=4096, struct_page=64, memstart=0x4000_0000, release="6.1"):
    facts = {"va_bits": va_bits, "page_size": page_size, "struct_page": struct_page}
    return window_from_facts(facts | {"memstart": memstart}, release=release)


WINDOWS = st.builds(
    window,
    va_bits=st.sampled_from([39, 42, 48]),
    page_size=st.sampled_from([4096, 16384, 65536]),
    struct_page=st.sampled_from([56, 64, 80]),
    memstart=st.sampled_from([0, 0x4000_0000, 0x80_0000_0000, TOP - (1 << 40)]),
    release=st.sampled_from(["4.19", "5.4", "6.1", "6.12"]),
)


def page_address(found, pfn):
    """The struct page of a pfn: vmemmap + pfn * size modulo 2^64, from memstart_addr anew."""
    memstart = found.memstart - TOP if found.memstart >= TOP // 2 else found.memstart
    base = found.start - (memstart // found.page_size) * found.struct_page
    return (base + pfn * found.struct_page) % TOP


def call(start, end, kind="free", **more):
    return {"ts_ns": 1, "kind": kind, "phase": "entry", "source": "kprobe", "tid": 1,
            "start": start, "end": end} | more  # fmt: skip


def relocated(rows, own, other, moves=()):
    return Relocator(own, other, moves).relocate(plain.batch(rows).events).to_pylist()


@given(WINDOWS, WINDOWS, PAGES, st.integers(1, 2**20))
def test_the_pages_stay_and_the_addresses_are_the_other_kernel_s(own, other, pfn, pages):
    rows = [call(page_address(own, pfn), page_address(own, pfn + pages))]
    (row,) = relocated(rows, own, other)
    first = pfn * own.page_size // other.page_size
    end = -(-(pfn + pages) * own.page_size // other.page_size)
    assert row["start"] == page_address(other, first)
    assert row["end"] == page_address(other, end)


@given(WINDOWS, WINDOWS, PAGES, st.integers(1, 55))
def test_what_is_no_struct_page_s_address_becomes_unknown(own, other, pfn, off):
    rows = [call(page_address(own, pfn) + off & TOP - 1, page_address(own, pfn + 1))]
    (row,) = relocated(rows, own, other)
    assert (row["start"], row["end"]) == (None, None)


@given(WINDOWS, PAGES, st.integers(1, 2**20))
def test_a_row_s_own_pages_count_more_than_its_addresses(other, pfn, pages):
    own = window()
    (row,) = relocated([call(1, 2, "populate", pfn=pfn, nr_pages=pages)], own, other)
    assert row["start"] == page_address(other, pfn * 4096 // other.page_size)


def test_the_storm_s_first_section_in_a_48_bit_kernel():
    # pfn 0x5000000 in the capture; -(2^42) + (0x5000000 - 0x40000) * 64
    (row,) = relocated([call(0xFFFF_FFFF_3F00_0000, 0xFFFF_FFFF_3F20_0000)], window(), window(48))
    assert row["start"] == 0xFFFF_FC01_3F00_0000
    assert row["end"] == 0xFFFF_FC01_3F20_0000


def test_warnings_are_left_out_and_the_rest_stays():
    rows = [
        {"ts_ns": 1, "kind": "warn", "phase": "entry", "source": "kprobe", "line": 1222},
        {"ts_ns": 2, "kind": "add_pages", "phase": "entry", "source": "kprobe", "pfn": 7,
         "nr_pages": 9},
        call(None, None, phase="exit"),
    ]  # fmt: skip
    found = relocated(rows, window(), window(48))
    assert [row["kind"] for row in found] == ["add_pages", "free"]
    assert (found[0]["pfn"], found[1]["start"]) == (7, None)


def test_a_moved_region_takes_its_calls_along_and_leaves_others():
    own = window()
    rows = [call(page_address(own, pfn), page_address(own, pfn + 1)) for pfn in (99, 100, 199, 200)]
    found = relocated(rows, own, None, [Relocation(100, 100, 5000)])
    assert [row["start"] for row in found] == [
        page_address(own, pfn) for pfn in (99, 5000, 5099, 200)
    ]
    assert all(row["end"] - row["start"] == 64 for row in found)
    (lost,) = relocated(rows[1:2], own, None, [Relocation(100, 100, None)])
    assert lost["start"] is None


def test_without_memstart_no_address_is_made_up():
    own = window(memstart=None)
    (row,) = relocated([call(own.start, own.start + 64)], own, window(48))
    assert row["start"] is None
    with pytest.raises(WindowError, match="memstart"):
        Relocator(window(), window(48, memstart=None), ())


def plug(pfn, pages, kind="add_pages"):
    return {"ts_ns": 1, "kind": kind, "phase": "entry", "source": "kprobe", "pfn": pfn,
            "nr_pages": pages}  # fmt: skip


def fold_regions(*batches, own=None, **budget):
    found = Regions(own, **budget)
    for rows in batches:
        found.fold(plain.batch(rows).events)
    return found


def regions(*batches, own=None):
    found = fold_regions(*batches, own=own)
    return [tuple(region) for region in found.regions.tolist()]


RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), min_size=1, max_size=12)


@given(RANGES, st.integers(0, 12))
def test_regions_are_merged_where_they_overlap(ranges, cut):
    rows = [plug(pfn, pages) for pfn, pages in ranges]
    found = regions(rows[:cut], rows[cut:])
    assert found == sorted(found)
    assert all(end <= first for (_, end), (first, _) in pairwise(found))
    pages = {page for pfn, count in ranges for page in range(pfn, pfn + count)}
    assert {page for first, end in found for page in range(first, end)} == pages
    borders = {0, *(pfn for pfn, _ in ranges), *(pfn + count for pfn, count in ranges)}
    for border in borders:  # touching is not overlapping: no range crosses it, so nor does a region
        crossed = any(pfn < border < pfn + count for pfn, count in ranges)
        assert crossed == any(first < border < end for first, end in found)


def test_without_hot_add_calls_sections_make_the_regions():
    own = window()
    rows = [call(page_address(own, pfn), page_address(own, pfn + 8)) for pfn in (0, 8, 32)]
    assert regions(rows, own=own) == [(0, 16), (32, 40)]
    assert regions([*rows, plug(1, 2)], own=own) == [(1, 3)]


@given(RANGES, st.integers(0, 12), st.integers(0, 3), st.booleans())
def test_beyond_the_budget_regions_are_whole_or_not_there(ranges, cut, budget, called):
    own = window()
    rows = [
        call(page_address(own, pfn), page_address(own, pfn + pages)) if called else plug(pfn, pages)
        for pfn, pages in ranges
    ]
    found = fold_regions(rows[:cut], rows[cut:], own=own, budget=budget)
    kept, every = found.regions.tolist(), regions(rows, own=own)
    assert len(kept) <= budget
    beyond = found.beyond[0, 0] if len(found.beyond) else None
    if beyond is None:
        assert [tuple(region) for region in kept] == every
    else:
        assert [tuple(region) for region in kept] == [r for r in every if r[1] <= beyond]
        assert every[len(kept)][0] == beyond  # and from there on nothing is told


def test_what_lies_in_a_lost_region_has_no_place():
    own = window()
    rows = [call(page_address(own, pfn), page_address(own, pfn + 1)) for pfn in (99, 100, 150, 300)]
    lost = np.array([(150, 160), (300, 1 << 53)], np.uint64)
    made = Relocator(own, None, [Relocation(100, 10, 5000)], lost)
    found = made.relocate(plain.batch(rows).events).to_pylist()
    assert [row["start"] for row in found] == [
        page_address(own, 99), page_address(own, 5000), None, None,
    ]  # fmt: skip
