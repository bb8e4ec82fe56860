# SPDX-License-Identifier: GPL-2.0-only
"""A mergeable histogram of durations, of bounded size for any number of calls.

Bins are log-linear, 64 to an octave from 1 ns to 2^64 ns, and zero has a bin of its own. A bin
is at most 1/64 of its values wide and counts as its middle, so a quantile is off by at most
``ERROR`` (1/128) of the true value; below 128 ns every value has its own bin and quantiles are
exact. Count, total, minimum and maximum are exact always.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from recordings.ledger.columns import I64, U64
from recordings.ledger.snapshot import Timing

#: Largest relative error of a quantile.
ERROR: Final = 1 / 128

_LOW_HALF: Final = np.uint64(0xFFFF_FFFF)
_EXACT: Final = np.uint64(1 << 53)  # beyond it a float64 no longer holds every integer
_TOP_53: Final = np.uint64(0xFFFF_FFFF_FFFF_F800)
# float64 bits >> 46 are the exponent and the top 6 bits of the mantissa: a log-linear bin number.
_SHIFT: Final = np.uint64(52 - 6)
_BIAS: Final = (1023 << 6) - 1


def _empty() -> I64:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations in nanoseconds, immutable: ``added`` and ``merged`` return new ones."""

    count: int = 0
    total: int = 0
    low: int = 0
    high: int = 0
    bins: I64 = field(default_factory=_empty)  # numbers of the non-empty bins, ascending
    counts: I64 = field(default_factory=_empty)

    def added(self, values: U64) -> "Histogram":
        """Return this with ``values`` (u64[N]) in it, in one pass."""
        if not len(values):
            return self
        counts = np.bincount(bin_of(values))
        bins = np.flatnonzero(counts)
        return self.merged(
            Histogram(
                len(values), exact_sum(values), int(values.min()), int(values.max()),
                bins, counts[bins],
            )
        )  # fmt: skip

    def merged(self, other: "Histogram") -> "Histogram":
        """Return the histogram of both sets of values."""
        if not self.count or not other.count:
            return other if other.count else self
        place = self.bins.searchsorted(other.bins)
        if (self.bins.take(place, mode="clip") == other.bins).all():  # as most often: none is new
            bins = self.bins
        else:
            bins = np.union1d(self.bins, other.bins)
        counts = np.zeros(len(bins), np.int64)
        counts[bins.searchsorted(self.bins)] += self.counts
        counts[bins.searchsorted(other.bins)] += other.counts
        return Histogram(
            self.count + other.count, self.total + other.total,
            min(self.low, other.low), max(self.high, other.high), bins, counts,
        )  # fmt: skip

    def quantile(self, percent: int) -> int:
        """Return the value of nearest rank: the ceil(percent * count / 100)-th smallest, from 1.

        Raises:
            ValueError: the histogram is empty.
        """
        if not self.count:
            raise ValueError("no quantile of no values")
        rank = max(1, -(-percent * self.count // 100))
        place = int(np.cumsum(self.counts).searchsorted(rank))
        low, high = bin_range(int(self.bins[place]))
        return max(self.low, min(self.high, low + (high - low) // 2))

    def timing(self) -> Timing | None:
        """Return the numbers to show, ``None`` for no values."""
        if not self.count:
            return None
        ranges = map(bin_range, self.bins.tolist())
        return Timing(
            count=self.count,
            total_ns=self.total,
            min_ns=self.low,
            max_ns=self.high,
            p50_ns=self.quantile(50),
            p99_ns=self.quantile(99),
            error=ERROR,
            bins=tuple(
                (low, high, number)
                for (low, high), number in zip(ranges, self.counts.tolist(), strict=True)
            ),
        )


def bin_of(values: U64) -> I64:
    """Return the bin number of each value: i64[N], 0 for zero, else 1 + 64 * octave + part."""
    if len(values) and values.max() >= _EXACT:
        # Rounding to 53 bits could carry a value into the next bin: cut it instead.
        values = np.where(values >= _EXACT, values & _TOP_53, values)
    bits = values.astype(np.float64).view(np.uint64) >> _SHIFT
    return np.maximum(bits.astype(np.int64) - _BIAS, 0)


def bin_range(number: int) -> tuple[int, int]:
    """Return (lowest value, one above the highest) of a bin that holds an integer."""
    if number == 0:
        return 0, 1
    octave, part = divmod(number - 1, 64)
    if octave < 6:
        value = (1 << octave) + (part << octave >> 6)
        return value, value + 1
    width = 1 << (octave - 6)
    low = (1 << octave) + part * width
    return low, low + width


def exact_sum(values: U64) -> int:
    """Return the sum of u64 values; it may be beyond 64 bits."""
    if not len(values) or int(values.max()) * len(values) < 1 << 64:
        return int(values.sum())
    return int((values & _LOW_HALF).sum()) + (int((values >> np.uint64(32)).sum()) << 32)


def exact_sums(groups: I64, values: U64, size: int) -> tuple[U64, U64]:
    """Return per-group sums of values as (low, high): the sum is low + (high << 32).

    ``groups``: i64[N] below ``size``. Exact for N below 2^21: each half then fits a float64.
    """
    low = np.bincount(groups, values & _LOW_HALF, size).astype(np.uint64)
    if not len(values) or values.max() <= _LOW_HALF:
        return low, np.zeros(size, np.uint64)
    return low, np.bincount(groups, values >> np.uint64(32), size).astype(np.uint64)
