# SPDX-License-Identifier: GPL-2.0-only
"""Quantiles, ratios of totals, and their 95 % bootstrap intervals.

The bootstrap (Efron 1979): as many calls as were measured are drawn from them with replacement,
thousands of times, which shows how far a figure varies. Sections that both recordings have are
drawn as pairs (of A and B), which removes the variation that the two have in common.

Promises: the same numbers for the same input (the seed is fixed); integers and order statistics
are exact; too few samples give ``None`` and never a number. Memory and time are bounded: beyond
``BLOCKS`` samples neighbours are averaged for the ratio of totals (batch means), which keeps the
total and does not pretend that neighbours are independent; a quantile's draws come from the order
statistics themselves (Beta), whatever the number of samples.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recordings.ledger.columns import U64

#: Draws of a bootstrap, and the confidence level of an interval.
DRAWS: Final = 4000
LEVEL: Final = 0.95
#: Fewer samples on either side say nothing about their spread.
FEWEST: Final = 20
#: Samples that must lie beyond a quantile for it to have an interval, and to be given at all.
BEYOND, BEYOND_ANY = 5, 1
BLOCKS: Final = 2048

_SEED: Final = 20230407
_ROWS: Final = 1 << 21  # indices drawn at once
_F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A / B; ``low`` and ``high`` None: too few samples for an interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def differs(self) -> bool | None:
        """Say whether the interval excludes 1; None without one."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= 1 <= self.high


def quantile(values: U64, percent: int) -> int | None:
    """Return the value of nearest rank; None where no sample can lie beyond it."""
    return quantile_of(values, percent) if enough(len(values), percent, BEYOND_ANY) else None


def quantile_of(values: U64, percent: int) -> int:
    """Return the value of nearest rank, however few there are: of 16 calls p99 is the longest."""
    rank = max(1, -(-percent * len(values) // 100))
    return int(np.partition(values, rank - 1)[rank - 1])


def enough(number: int, percent: int, beyond: int) -> bool:
    """Say whether of ``number`` samples so many are expected beyond the quantile."""
    return number * min(percent, 100 - percent) >= beyond * 100


def quantile_ratio(a: U64, b: U64, percent: int) -> Ratio | None:
    """Return how quantiles of A and B compare; None: too few samples, or one of them is 0."""
    first, second = quantile(a, percent), quantile(b, percent)
    if not first or not second:
        return None
    few = any(n < FEWEST or not enough(n, percent, BEYOND) for n in (len(a), len(b)))
    if few:
        return Ratio(first / second)
    rng = np.random.default_rng(_SEED)
    draws = [_drawn(np.sort(values), percent, rng) for values in (a, b)]
    return _ratio(first / second, draws[0], draws[1])


def total_ratio(a: U64, b: U64, *, paired: bool) -> Ratio | None:
    """Return how the means of A and B compare; of equally many calls that is their totals' ratio.

    ``paired``: a[i] and b[i] are the same section's. None without samples, or where
    either took no time.
    """
    if paired and len(a) != len(b):
        raise ValueError("pairs need equally many samples of A and B")
    if not a.any() or not b.any():
        return None
    first, second = a.astype(np.float64), b.astype(np.float64)
    value = float(first.mean() / second.mean())
    if min(len(a), len(b)) < FEWEST:
        return Ratio(value)
    rng = np.random.default_rng(_SEED)
    if paired:
        both = _means(_blocks(np.stack((first, second))), rng)
        return _ratio(value, both[0], both[1])
    means = [_means(_blocks(values[np.newaxis]), rng)[0] for values in (first, second)]
    return _ratio(value, means[0], means[1])


def _ratio(value: float, a: _F64, b: _F64) -> Ratio:
    """Make an interval of draws; where a side can be 0, and so a bound, there is none."""
    if not (a > 0).all() or not (b > 0).all():
        return Ratio(value)
    low, high = np.quantile(a / b, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Ratio(value, float(low), float(high))


def _drawn(ordered: U64, percent: int, rng: "np.random.Generator") -> _F64:
    """Draw the quantile of resamples: the r-th of n draws is at rank n * Beta(r, n + 1 - r)."""
    number = len(ordered)
    rank = max(1, -(-percent * number // 100))
    place = np.ceil(number * rng.beta(rank, number + 1 - rank, DRAWS)).astype(np.int64) - 1
    return ordered[np.clip(place, 0, number - 1)].astype(np.float64)


def _blocks(values: _F64) -> _F64:
    """Average neighbours so that at most ``BLOCKS`` columns are left; a rest is left out."""
    number = values.shape[1]
    size = -(-number // BLOCKS)
    if size == 1:
        return values
    cut = values[:, : number // size * size].reshape(len(values), -1, size)
    return np.asarray(cut.mean(axis=2), np.float64)


def _means(values: _F64, rng: "np.random.Generator") -> _F64:
    """Return the means of ``DRAWS`` resamples of the columns, row by row: f64[rows, DRAWS]."""
    number = values.shape[1]
    means = np.empty((len(values), DRAWS))
    step = max(1, _ROWS // number)
    for at in range(0, DRAWS, step):
        drawn = rng.integers(number, size=(min(step, DRAWS - at), number))
        for row, column in enumerate(values):
            means[row, at : at + len(drawn)] = column[drawn].mean(axis=1)
    return means
