# SPDX-License-Identifier: GPL-2.0-only
"""Which calls lie on a range of addresses or of page frames, modulo 2^64."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.explore.span_table import Flag
from recordings.ledger.columns import U64, Bool
from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.window import Window

#: Columns that ``known_ranges`` and ``overlaps`` read.
NAMES: Final = ("start", "end", "flags")
_BOTH: Final = np.uint8(Flag.START_KNOWN | Flag.END_KNOWN)


def known_ranges(columns: Mapping[str, NDArray[Any]]) -> tuple[U64, U64, Bool]:
    """Return start and end of every span, and where both are known."""
    known: Bool = (columns["flags"] & _BOTH) == _BOTH
    return columns["start"], columns["end"], known


def overlaps(columns: Mapping[str, NDArray[Any]], low: int, high: int) -> Bool:
    """Return which spans have a known range that meets [low, high), modulo 2^64: bool[n]."""
    start, end, known = known_ranges(columns)
    first, size = np.uint64(low & MASK), np.uint64(min(high - low, MASK))
    meets: Bool = (first - start < end - start) | (start - first < size)
    return meets & known


def struct_pages(first: int, end: int, window: Window | None) -> tuple[int, int]:
    """Return the range of the struct pages of the frames [first, end), its start modulo 2^64.

    Raises:
        WindowError: frames have no addresses here, and why.
    """
    if window is None:
        raise WindowError("the window is not known")
    low = window.pfn_to_page(first)
    return low, low + (end - first) * (window.struct_page or 0)
