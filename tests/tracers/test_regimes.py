# SPDX-License-Identifier: GPL-2.0-only
"""The vector arithmetic equals the scalar one, over all of u64 and at every border."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers import regimes
from tracers.families import Family, va_bits_min
from tracers.formulas import WindowError, formula
from tracers.layout import layout_for
from tracers.window import Regime, Window

HALF, TOP = 1 << 63, 1 << 64


def build(
    family: Family,
    va_bits: int,
    page_size: int,
    struct_page: int,
    memstart: int,
    *,
    fewer: bool | None = True,
) -> Window:
    """``fewer``: bits in use are the fewest there can be, or the most; None: not known."""
    sizes = {"va_bits": va_bits, "page_size": page_size, "struct_page": struct_page}
    bits = va_bits_min(family, va_bits, page_size) if fewer else va_bits
    return Window(
        *formula(family, **sizes),
        **sizes,
        memstart=memstart,
        family=family,
        vabits_actual=None if fewer is None else bits,
    )


FACTS = (
    st.sampled_from(Family),
    st.sampled_from([39, 48, 52]),
    st.sampled_from([4096, 16384, 65536]),
    st.sampled_from([56, 64, 80]),
    st.sampled_from([0, 0x4000_0000, 0x80_0000_0000, 0xFFFF_C6FB_8000_0000]),
)
WINDOWS = st.builds(build, *FACTS, fewer=st.booleans())
ANY_USE = st.builds(build, *FACTS, fewer=st.sampled_from([True, False, None]))


def edges(window: Window) -> st.SearchStrategy[int]:
    """Any u64, and with good odds one beside a border."""
    borders = st.sampled_from([0, HALF, *window.blind, window.end, TOP - 1])
    near = st.builds(lambda at, by: (at + by) % TOP, borders, st.integers(-2, 2))
    return st.one_of(near, st.integers(0, TOP - 1))


def column(values: Iterable[int]) -> np.ndarray:
    return np.array(list(values), np.uint64)


@given(st.data(), ANY_USE)
def test_ranges(data: st.DataObject, window: Window) -> None:
    address = edges(window)
    pairs = data.draw(st.lists(st.tuples(address, address), max_size=20))
    start, end = column(s for s, _ in pairs), column(e for _, e in pairs)
    codes = regimes.classify(start, end, window)
    assert codes.dtype == np.uint8
    assert [regimes.REGIMES[code] for code in codes] == [window.regime(s, e) for s, e in pairs]
    assert regimes.warns(start, end, window).tolist() == [window.warns(s, e) for s, e in pairs]
    silent = regimes.silent(codes, start, end, window).tolist()
    assert silent == [window.silent(s, e) for s, e in pairs]


def plain_use(family: Family, va_bits: int, page_size: int, struct_page: int, in_use: int) -> int:
    """Where vmemmap in use starts above START, told by struct pages of the linear map's begin."""
    if family is Family.V4_14 or va_bits == in_use:
        return 0
    offset_built, offset_in_use = TOP - (1 << va_bits), TOP - (1 << in_use)  # PAGE_OFFSET
    return (offset_in_use - offset_built) // page_size * struct_page


def plain_regime(start: int, end: int, first: int, last: int) -> str:
    """The rules of ``Window.regime`` on plain integers, a range unrolled past 2^64."""
    stop = end if end >= start else end + TOP
    if first <= start and stop <= last:
        return "inside"
    if start < HALF and stop <= HALF:
        return "wrapped"
    if start >= last and stop <= TOP:
        return "above"
    if start >= HALF and stop <= first:
        return "below"
    return "straddling"


@given(st.data(), st.tuples(*FACTS), st.sampled_from([True, False, None]))
def test_a_plain_model_of_every_family_page_size_and_bits_in_use(
    data: st.DataObject, facts: tuple[Family, int, int, int, int], fewer: bool | None
) -> None:
    family, va_bits, page_size, struct_page, _ = facts
    window = build(*facts, fewer=fewer)
    lesser = {52: 47 if (page_size, family) == (16384, Family.V6_9) else 48}.get(va_bits, va_bits)
    possible = {True: {lesser}, False: {va_bits}, None: {lesser, va_bits}}[fewer]
    sizes = (family, va_bits, page_size, struct_page)
    start, end = data.draw(st.tuples(edges(window), edges(window)))
    told = {
        plain_regime(start, end, window.start + plain_use(*sizes, bits), window.end)
        for bits in possible
    }
    whole = plain_regime(start, end, window.start, window.end)
    if told == {"inside"}:
        expected = "inside"
    elif "inside" in told:
        expected = "unknown"
    else:  # out in any case: the regime that all of the window gives it, if bits are not known
        expected = whole if fewer is None else told.pop()
    assert window.regime(start, end) == expected
    assert window.warns(start, end) is (start < window.start or end > window.end)
    hit = expected not in ("inside", "unknown")
    assert window.silent(start, end) is (hit and not window.warns(start, end))


@given(st.data(), WINDOWS)
def test_pages(data: st.DataObject, window: Window) -> None:
    values = data.draw(st.lists(edges(window), max_size=20))
    pages = regimes.pfn_to_page(column(values), window)
    pfns = regimes.page_to_pfn(column(values), window)
    assert pages.dtype == pfns.dtype == np.uint64
    assert pages.tolist() == [window.pfn_to_page(value) for value in values]
    assert pfns.tolist() == [window.page_to_pfn(value) for value in values]


# The mail's example, by pfn, and the window of 6.1.192-vmemlab-39bit; the same by hand
SEATTLE = build(Family.V5_11, 39, 4096, 64, 0x80_0000_0000)


def test_seattle_boundaries() -> None:
    pfns = column(
        [0, 0x7FF_FFFF, 0x800_0000, 0xBFF_FFFF, 0xC00_0000, 0xFFF_FFFF, 0x1000_0000, 0x1000_0001]
    )
    start = regimes.pfn_to_page(pfns, SEATTLE)
    assert start[2] == 0xFFFF_FFFE_0000_0000
    codes = regimes.classify(start, start + np.uint64(64), SEATTLE)
    told = [regimes.REGIMES[code] for code in codes]
    assert told == ["below"] * 2 + ["inside"] * 2 + ["above"] * 2 + ["wrapped"] * 2
    # pfn 0xfff_ffff ends at 2^64: the kernel does not warn
    warned = regimes.warns(start, start + np.uint64(64), SEATTLE).tolist()
    assert warned == [True, True, False, False, True, False, True, True]
    assert (regimes.page_to_pfn(start, SEATTLE) == pfns).all()


@pytest.mark.parametrize("rows", [0, 1, 16383, 16384, 16385, 40000])
def test_columns_longer_than_one_chunk(rows: int) -> None:
    size = np.uint64(0x20_0000)
    start = SEATTLE.start + np.arange(rows, dtype=np.uint64) * size
    codes = regimes.classify(start, start + size, SEATTLE)
    # 4 GiB of window: 2048 calls of 2 MiB; the next 2048 are above it, then user addresses
    assert np.count_nonzero(codes == Regime.INSIDE.code) == min(rows, 2048)
    assert np.count_nonzero(codes == Regime.ABOVE.code) == min(max(rows - 2048, 0), 2048)
    assert np.count_nonzero(codes == Regime.WRAPPED.code) == max(rows - 4096, 0)


def test_no_window_is_unknown() -> None:
    codes = regimes.classify(column([0, 1]), column([1, 2]), None)
    assert codes.tolist() == [5, 5]
    assert regimes.REGIMES[5] == "unknown"


def test_codes_are_those_the_enum_gives() -> None:
    assert regimes.REGIMES == ("inside", "below", "above", "wrapped", "straddling", "unknown")
    assert [regime.code for regime in Regime] == [0, 1, 2, 3, 4, 5]


def test_a_slice_of_a_column_is_judged_like_a_copy() -> None:
    start = np.arange(30000, dtype=np.uint64)[::3] * np.uint64(2**50)
    end = start + np.uint64(64)
    expected = regimes.classify(start.copy(), end, SEATTLE)
    assert (regimes.classify(start, end, SEATTLE) == expected).all()


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (np.zeros(2, np.int64), np.zeros(2, np.uint64)),
        (np.zeros(2, np.uint64), np.zeros(2, np.float64)),
        (np.zeros(2, np.uint64), np.zeros(3, np.uint64)),
    ],
)
def test_only_u64_columns_of_one_length(start: np.ndarray, end: np.ndarray) -> None:
    with pytest.raises(WindowError, match="not a u64 column"):
        regimes.classify(start, end, SEATTLE)
    with pytest.raises(WindowError, match="not a u64 column"):
        regimes.warns(start, end, SEATTLE)


def test_unknown_facts_are_named() -> None:
    bare = Window(SEATTLE.start, SEATTLE.end)
    with pytest.raises(WindowError, match="is not known"):
        regimes.page_to_pfn(column([1]), bare)


U64 = st.integers(0, TOP - 1)


@given(st.lists(st.tuples(U64, U64), max_size=10), st.data())
def test_codes_are_the_regions_of_the_first_and_last_byte(
    pairs: list[tuple[int, int]], data: st.DataObject
) -> None:
    layout = layout_for(build(Family.V6_9, 48, 4096, 64, 0))
    edges = st.sampled_from([r.start for r in layout.regions])
    pairs += data.draw(st.lists(st.tuples(edges, edges), max_size=10))
    start, end = (np.array(list(side), np.uint64) for side in zip(*[*pairs, (0, 0)], strict=True))
    first, last = regimes.region_codes(layout, start, end)
    for (low, high), a, b in zip([*pairs, (0, 0)], first, last, strict=True):
        assert layout.regions[a] is layout.region_at(low)
        assert layout.regions[b] is layout.region_at(low if low == high else high - 1)


def test_region_codes_want_u64() -> None:
    layout = layout_for(build(Family.V6_9, 48, 4096, 64, 0))
    with pytest.raises(WindowError, match="u64"):
        regimes.region_codes(layout, np.zeros(1, np.int64), np.zeros(1, np.uint64))


def test_region_codes_of_columns_longer_than_one_chunk() -> None:
    layout = layout_for(build(Family.V6_9, 48, 4096, 64, 0))
    start = np.arange(40000, dtype=np.uint64) * np.uint64(2**64 // 40000)
    codes, _ = regimes.region_codes(layout, start, start)
    starts = np.array([region.start for region in layout.regions], np.uint64)
    assert (codes == np.searchsorted(starts, start, side="right") - 1).all()
