"""The vector arithmetic equals the scalar one, over all of u64 and at every border."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers import regimes
from tracers.formulas import Family, WindowError, formula
from tracers.window import Regime, Window

HALF, TOP = 1 << 63, 1 << 64


def build(family: Family, va_bits: int, page_size: int, struct_page: int, memstart: int) -> Window:
    sizes = {"va_bits": va_bits, "page_size": page_size, "struct_page": struct_page}
    return Window(*formula(family, **sizes), **sizes, memstart=memstart, vabits_actual=48)


WINDOWS = st.builds(
    build,
    st.sampled_from(Family),
    st.sampled_from([39, 48, 52]),
    st.sampled_from([4096, 16384, 65536]),
    st.sampled_from([56, 64, 80]),
    st.sampled_from([0, 0x4000_0000, 0x80_0000_0000, 0xFFFF_C6FB_8000_0000]),
)


def edges(window: Window) -> st.SearchStrategy[int]:
    """Any u64, and with good odds one beside a border."""
    borders = st.sampled_from([0, HALF, window.start, window.end, TOP - 1, window.vmemmap])
    near = st.builds(lambda at, by: (at + by) % TOP, borders, st.integers(-2, 2))
    return st.one_of(near, st.integers(0, TOP - 1))


def column(values: Iterable[int]) -> np.ndarray:
    return np.array(list(values), np.uint64)


@given(st.data(), WINDOWS)
def test_ranges(data: st.DataObject, window: Window) -> None:
    address = edges(window)
    pairs = data.draw(st.lists(st.tuples(address, address), max_size=20))
    start, end = column(s for s, _ in pairs), column(e for _, e in pairs)
    codes = regimes.classify(start, end, window)
    assert codes.dtype == np.uint8
    assert [regimes.REGIMES[code] for code in codes] == [window.regime(s, e) for s, e in pairs]
    assert regimes.warns(start, end, window).tolist() == [window.warns(s, e) for s, e in pairs]


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
    assert [regime.code for regime in Regime] == [0, 1, 2, 3, 4]


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
