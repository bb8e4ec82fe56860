# SPDX-License-Identifier: GPL-2.0-only
"""Counts over time in a bounded number of bins that do not depend on how batches were cut.

Bins are multiples of a power-of-two width on the trace's own clock. The width is the smallest
that fits the time seen so far into ``BINS``, so it depends on the first and last time only;
doubling it joins whole bins, so nothing is ever split or guessed.
"""

from typing import Final

import numpy as np

from recordings.ledger.columns import I64, U64, Bool
from recordings.ledger.histogram import exact_sums
from recordings.ledger.snapshot import Series
from tracers.events import Kind

#: Bins at most.
BINS: Final = 256
#: What the timing over time is of: the first of these kinds that has a finished call.
TIMED: Final = (Kind.SECTION_ADD, Kind.ADD_PAGES, Kind.POPULATE, Kind.FREE)

_MIN_SHIFT: Final = 10  # 1.024 µs: finer bins than the clock's own grain say nothing
#: Rows of the table: hits, WARNs, operations' begins and ends (adds, then removes); then count, low
#: and high of each kind.
_HITS, _WARNINGS, _OPERATIONS, _FIRST_KIND = 0, 1, 2, 6


class TimeBins:
    """The bins: one row per thing counted."""

    def __init__(self) -> None:
        self._table: U64 = np.zeros((_FIRST_KIND + 3 * len(TIMED), BINS), np.uint64)
        self._shift = _MIN_SHIFT
        self._base = 0  # number of the first bin
        self._first = self._last = -1

    def copy(self) -> "TimeBins":
        """Return an independent copy."""
        other = TimeBins()
        other.__dict__.update(self.__dict__)
        other._table = self._table.copy()
        return other

    def cover(self, first: int, last: int) -> None:
        """Make bins for the times ``first`` to ``last``; call before counting any of them."""
        if self._first >= 0:
            first, last = min(first, self._first), max(last, self._last)
        if (first, last) == (self._first, self._last):
            return
        shift = self._shift
        while (last >> shift) - (first >> shift) >= BINS:
            shift += 1
        base = first >> shift
        if self._first >= 0 and (shift, base) != (self._shift, self._base):
            used = (self._last >> self._shift) - self._base + 1
            old = np.array([self._base + i >> shift - self._shift for i in range(used)]) - base
            table = np.zeros_like(self._table)
            np.add.at(table.T, old, self._table[:, :used].T)
            self._table = table
        self._shift, self._base, self._first, self._last = shift, base, first, last

    def add_hits(self, ts: U64) -> None:
        """Count hits at these times."""
        self._table[_HITS] += self._count(ts)

    def add_warnings(self, ts: U64) -> None:
        """Count warnings at these times."""
        self._table[_WARNINGS] += self._count(ts)

    def add_operations(self, ts: U64, removes: Bool, *, ended: bool) -> None:
        """Count operations that began (or ``ended``) at these times; ``removes`` tells the side."""
        if len(ts):
            for side, here in enumerate((~removes, removes)):
                self._table[_OPERATIONS + 2 * side + ended] += self._count(ts[here])

    def add_finished(self, kind: Kind, ts: U64, duration: U64) -> None:
        """Count calls of ``kind`` that ended at these times."""
        if kind not in TIMED or not len(ts):
            return
        row = _FIRST_KIND + 3 * TIMED.index(kind)
        bins = self._bins(ts)
        low, high = exact_sums(bins, duration, BINS)
        self._table[row] += np.bincount(bins, minlength=BINS).astype(np.uint64)
        self._table[row + 1] += low
        self._table[row + 2] += high

    def series(self) -> Series | None:
        """Return the counts, ``None`` before the first event."""
        if self._first < 0:
            return None
        used = (self._last >> self._shift) - self._base + 1
        rows = self._table[:, :used].tolist()
        counts = {kind: rows[_FIRST_KIND + 3 * i] for i, kind in enumerate(TIMED)}
        kind = next((kind for kind in TIMED if any(counts[kind])), Kind.ADD_PAGES)
        at = _FIRST_KIND + 3 * TIMED.index(kind)
        sums = zip(rows[at + 1], rows[at + 2], strict=True)
        return Series(
            start_ns=self._base << self._shift,
            bin_ns=1 << self._shift,
            hits=tuple(rows[_HITS]),
            warnings=tuple(rows[_WARNINGS]),
            timing_kind=kind,
            timing_count=tuple(counts[kind]),
            timing_ns=tuple(low + (high << 32) for low, high in sums),
            adds=tuple(zip(*rows[_OPERATIONS : _OPERATIONS + 2], strict=True)),
            removes=tuple(zip(*rows[_OPERATIONS + 2 : _OPERATIONS + 4], strict=True)),
        )

    def _bins(self, ts: U64) -> I64:
        return ((ts >> np.uint64(self._shift)) - np.uint64(self._base)).astype(np.int64)

    def _count(self, ts: U64) -> U64:
        return np.bincount(self._bins(ts), minlength=BINS).astype(np.uint64)
