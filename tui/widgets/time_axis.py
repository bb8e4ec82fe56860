# SPDX-License-Identifier: GPL-2.0-only
"""The arithmetic of a line of time in cells: moments to cells, bins to cells.

Times are nanoseconds since the start. Floats only where a picture is made of sums.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recordings.ledger.snapshot import Series


def column_of(at_ns: int, length_ns: int, width: int) -> int:
    """Return the cell of a moment; those before and behind are in the outer ones."""
    return min(width - 1, max(0, at_ns * width // max(1, length_ns)))


def spread(
    values: Sequence[int], series: Series, first_ns: int, length_ns: int, width: int
) -> list[float]:
    """Return the sums of a series' bins on ``width`` cells of the whole recording's time.

    A bin falls into the cell its middle lies in; bins wider than a cell are spread evenly
    over the cells they cover, so that the picture has no holes that are not in the data.
    """
    if not width or not values:
        return [0.0] * width
    sums = np.asarray(values, np.float64)
    low, high = _cells(series, len(values), first_ns, length_ns, width)
    spread_out = np.zeros(width)
    share = sums / (high - low + 1)
    np.add.at(spread_out, low, share)
    for index in np.flatnonzero((high > low) & (sums > 0)):
        spread_out[low[index] + 1 : high[index] + 1] += share[index]
    return [float(x) for x in spread_out]


def covered(
    counts: Sequence[tuple[int, int]], series: Series, first_ns: int, length_ns: int, width: int
) -> npt.NDArray[np.bool_]:
    """Return the cells in which something runs of what begins and ends in the bins."""
    cells = np.zeros(width, np.bool_)
    if not width or not counts:
        return cells
    begun, ended = np.asarray(counts, np.int64).T
    running = np.cumsum(begun - ended)
    here = (begun > 0) | (np.append(0, running[:-1]) > 0)
    low, high = _cells(series, len(counts), first_ns, length_ns, width)
    for index in np.flatnonzero(here):
        cells[low[index] : high[index] + 1] = True
    return cells


def _cells(
    series: Series, bins: int, first_ns: int, length_ns: int, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first and the last cell of each bin; the same one unless a bin is wider."""
    per = max(1, length_ns) / width
    # Floats, for a picture: the difference of two u64 times needs 65 bits.
    starts = float(series.start_ns - first_ns) + float(series.bin_ns) * np.arange(bins)
    if series.bin_ns <= per:
        middle = _clipped((starts + series.bin_ns / 2) / per, width)
        return middle, middle
    low = _clipped(starts / per, width)
    return low, np.maximum(low, _clipped((starts + series.bin_ns - 1) / per, width))


def _clipped(cells: npt.NDArray[np.floating], width: int) -> npt.NDArray[np.int64]:
    clipped: npt.NDArray[np.int64] = np.clip(cells, 0, width - 1).astype(np.int64)
    return clipped
