# SPDX-License-Identifier: GPL-2.0-only
"""The vector twin of ``Window``'s and ``Layout``'s arithmetic, for columns of u64 addresses.

Promises: element by element the same results as the scalar methods (hypothesis proves it over
the whole of u64), u64 from end to end, a bounded scratch memory whatever the column's length.
Columns with nulls: pass the values and keep the validity mask yourself.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.families import HALF, MASK
from tracers.formulas import WindowError
from tracers.layout import Layout
from tracers.window import Regime, Window

__all__ = [
    "ABOVE",
    "BELOW",
    "INSIDE",
    "REGIMES",
    "STRADDLING",
    "UNKNOWN",
    "WRAPPED",
    "Regime",
    "classify",
    "hits",
    "page_to_pfn",
    "pfn_to_page",
    "region_codes",
    "silent",
    "warns",
]

U64 = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

INSIDE: Final = Regime.INSIDE.code
BELOW: Final = Regime.BELOW.code
ABOVE: Final = Regime.ABOVE.code
WRAPPED: Final = Regime.WRAPPED.code
STRADDLING: Final = Regime.STRADDLING.code
UNKNOWN: Final = Regime.UNKNOWN.code  # also: no window, or an argument that is not known
REGIMES: Final = tuple(regime.value for regime in Regime)
"""Names by code."""

_CHUNK: Final = 16384  # rows whose operands and results stay in the first cache levels


def _table() -> Codes:
    """Map each combination of ``classify``'s comparisons to a regime."""
    table = np.empty(64, np.uint8)
    for key in range(64):
        first, last = key & 3, key >> 2 & 3
        ordered, to_the_top = bool(key & 16), bool(key & 32)
        if ordered and first >= 2 and last <= 2:
            code = INSIDE
        elif ordered and first == 0 and last == 0:
            code = WRAPPED
        elif first == 3 and (ordered or to_the_top):
            code = ABOVE
        elif ordered and first >= 1 and last <= 1:
            code = BELOW
        else:
            code = STRADDLING
        table[key] = code
    return table


_TABLE: Final = _table()


def classify(start: U64, end: U64, window: Window | None) -> Codes:
    """Return the regime code of each range [start, end): ``REGIMES`` gives the names.

    All ``UNKNOWN`` where there is no window.

    Raises:
        WindowError: columns that are not u64 of one length.
    """
    _check(start, end)
    if window is None:
        return np.full(len(start), UNKNOWN, np.uint8)
    first, last = window.used
    out = _classify(start, end, first, last)
    if not window.use_known:
        unsure = np.flatnonzero(out != INSIDE)
        at_most = _classify(start[unsure], end[unsure], window.start, last)
        at_most[at_most == INSIDE] = UNKNOWN
        out[unsure] = at_most
    return out


def _classify(start: U64, end: U64, window_start: int, window_end: int) -> Codes:
    out = np.empty(len(start), np.uint8)
    # zones of start: user half, below the window, below its end, from there on; of end likewise,
    # borders belonging to the lower zone
    borders = [np.uint64(border) for border in (HALF, window_start, window_end)]
    flag = np.empty(_CHUNK, np.bool_)
    key = np.empty(_CHUNK, np.uint8)
    bits = flag.view(np.uint8)
    for at in range(0, len(start), _CHUNK):
        first, last = start[at : at + _CHUNK], end[at : at + _CHUNK]
        size = len(first)
        mark, bit, keys = flag[:size], bits[:size], key[:size]
        np.equal(last, 0, out=mark)
        np.add(bit, bit, out=keys)
        np.less_equal(first, last, out=mark)
        np.add(keys, bit, out=keys)
        np.left_shift(keys, 2, out=keys)
        for border in borders:
            np.greater(last, border, out=mark)
            np.add(keys, bit, out=keys)
        np.left_shift(keys, 2, out=keys)
        for border in borders:
            np.greater_equal(first, border, out=mark)
            np.add(keys, bit, out=keys)
        np.take(_TABLE, keys, out=out[at : at + size], mode="clip")
    return out


def hits(regime: Codes) -> Flags:
    """Return which regime codes are known to be outside of the window in use."""
    out = np.not_equal(regime, INSIDE)
    np.logical_and(out, np.not_equal(regime, UNKNOWN), out=out)
    return out


def silent(regime: Codes, start: U64, end: U64, window: Window | None) -> Flags:
    """Return which ranges are silent hits; ``regime``: what ``classify`` gives for them.

    Raises:
        WindowError: columns that are not u64 of one length.
    """
    found = hits(regime)
    if window is not None and found.any():
        found &= ~warns(start, end, window)
    return found


def warns(start: U64, end: U64, window: Window) -> npt.NDArray[np.bool_]:
    """Return, for each range, the kernel's own comparison (see ``Window.warns``).

    Raises:
        WindowError: columns that are not u64 of one length.
    """
    _check(start, end)
    out = np.less(start, np.uint64(window.start))
    np.logical_or(out, np.greater(end, np.uint64(window.end)), out=out)
    return out


def pfn_to_page(pfn: U64, window: Window) -> U64:
    """Return the struct page address of each pfn, modulo 2^64.

    Raises:
        WindowError: a column that is not u64, or a fact of the window is not known.
    """
    _check(pfn)
    out = pfn * np.uint64(window.pfn_to_page(1) - window.vmemmap & MASK)
    out += np.uint64(window.vmemmap)
    return out


def page_to_pfn(addr: U64, window: Window) -> U64:
    """Return the pfn whose struct page holds each address (see ``Window.page_to_pfn``).

    Raises:
        WindowError: a column that is not u64, or a fact of the window is not known.
    """
    _check(addr)
    struct_page = window.pfn_to_page(1) - window.vmemmap & MASK
    # the kernel's pointer difference is signed; these bits, as s64, are that difference
    distance = (addr - np.uint64(window.vmemmap)).view(np.int64)
    if struct_page & (struct_page - 1):
        pfn = distance // np.int64(struct_page)
    else:
        pfn = distance >> np.int64(struct_page.bit_length() - 1)
    return pfn.view(np.uint64)


def region_codes(layout: Layout, start: U64, end: U64) -> tuple[Codes, Codes]:
    """Return the index in ``layout.regions`` of each range's first and last byte.

    Raises:
        WindowError: columns that are not u64.
    """
    if not start.dtype == end.dtype == np.uint64 or len(start) != len(end):
        raise WindowError(f"not u64 columns of one length: {start.dtype}, {end.dtype}")
    borders = [np.uint64(region.start) for region in layout.regions[1:]]
    codes = np.zeros((2, len(start)), np.uint8)
    mark = np.empty(_CHUNK, np.bool_)
    # a dozen comparisons in the cache are faster than a binary search a row
    for at in range(0, len(start), _CHUNK):
        first, stop = start[at : at + _CHUNK], end[at : at + _CHUNK]
        flag = mark[: len(first)]
        bit = flag.view(np.uint8)
        last = stop - (first != stop)
        for code, addr in zip(codes[:, at : at + _CHUNK], (first, last), strict=True):
            for border in borders:
                np.greater_equal(addr, border, out=flag)
                np.add(code, bit, out=code)
    return codes[0], codes[1]


def _check(*columns: npt.NDArray[np.uint64]) -> None:
    for column in columns:
        if column.dtype != np.uint64 or column.shape != columns[0].shape or column.ndim != 1:
            raise WindowError(f"not a u64 column: {column.dtype} {column.shape}")
