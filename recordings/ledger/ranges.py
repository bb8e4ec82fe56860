# SPDX-License-Identifier: GPL-2.0-only
"""Counts populate and free calls by range: how often, which are still populated, where they lie.

One row per distinct (start, end), sorted. A populate and a free belong together when their ranges
are equal: section_activate() of mm/sparse.c undoes a failed populate by the same vmemmap_free() of
the same range, so entries alone tell what is populated.

Memory is bounded: of the ranges inside the window, and of all others, the first ``KEPT`` to appear
have a row. Calls on further ones are judged and counted all the same, but neither paired nor in
an extent; ``beyond`` says how many these are.
"""

from copy import copy
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from recordings.ledger.columns import I64, U8, U64, Bool
from recordings.ledger.histogram import exact_sum
from recordings.ledger.snapshot import Extent, Pairing, Reach, Regimes
from tracers import arrow
from tracers.arrow import numbers
from tracers.layout import Layout
from tracers.regimes import REGIMES, UNKNOWN, classify, hits, region_codes, warns
from tracers.window import Window

#: Extents that are listed, those of most calls.
LISTED: Final = 64
#: Ranges kept of those inside the window (or not judged), and as many of those outside, so that
#: where hits lie is known whatever came before. Of sections of 128 MiB these are 64 TiB.
KEPT: Final = 1 << 19

_ONE: Final = np.uint64(1)
_TOP: Final = np.uint64((1 << 64) - 1)
_REGIME: Final = 32  # bit of the regime in a range's class; below it first and last region
_SILENT: Final = 48  # bit that says a hit is silent


class Classified(NamedTuple):
    """Regimes of calls, and which are silent hits."""

    regime: U8
    silent: Bool


class _Placed(NamedTuple):
    """Distinct ranges: the row of each, -1 beyond the budget, and how it is judged."""

    row: I64
    regime: U8
    warns: Bool


class RangeTable:
    """The table of ranges, and the totals of the calls on them."""

    def __init__(self, window: Window | None, layout: Layout | None, *, budget: int = KEPT) -> None:
        self._window = window
        self._layout = layout
        self._budget = budget
        self._outside = 0  # ranges in the table that are hits
        self._start: U64 = np.zeros(0, np.uint64)
        self._end: U64 = np.zeros(0, np.uint64)
        self._regime: U8 = np.zeros(0, np.uint8)
        self._class: I64 = np.zeros(0, np.int64)  # silent, regime, first and last region
        self._warns: Bool = np.zeros(0, np.bool_)
        self._row: I64 = np.zeros(0, np.int64)  # of the first call, in the recording
        self._populate: I64 = np.zeros(0, np.int64)
        self._free: I64 = np.zeros(0, np.int64)
        self._held: Bool = np.zeros(0, np.bool_)
        self._paired = self._never_populated = self._twice = 0
        self._unknown = 0
        self._by_regime: I64 = np.zeros(len(REGIMES), np.int64)
        self._lowest: U64 = np.full(len(REGIMES), _TOP)  # addresses of all calls, by regime
        self._highest: U64 = np.zeros(len(REGIMES), np.uint64)
        self.would_warn = 0  # calls that the kernel's own comparison is true for
        self.would_warn_free = 0  # of those, vmemmap_free's
        self.beyond = 0  # calls on ranges that are not in the table
        self._groups: _Groups | None = None
        self._extents: tuple[tuple[Extent, ...], int] | None = None

    def __len__(self) -> int:
        return len(self._start)

    def copy(self) -> "RangeTable":
        """Return an independent copy."""
        other = copy(self)
        for name in ("_populate", "_free", "_held", "_lowest", "_highest"):  # changed in place
            setattr(other, name, getattr(self, name).copy())
        return other

    def fold(self, start: U64, end: U64, free: Bool, row: I64 | None = None) -> Classified:
        """Take in calls in their order (known arguments only); return the regime of each.

        ``row``: numbers of the calls' events in the recording; counted from 0 if left out.
        """
        if not len(start):
            return Classified(np.zeros(0, np.uint8), np.zeros(0, np.bool_))
        index, starts, ends = _ranges(start, end)
        first = np.empty(len(starts), np.int64)
        numbered = np.arange(len(start)) if row is None else row
        first[index[::-1]] = numbered[::-1]  # the last one written, so the first call, stays
        placed = self._places(starts, ends, first)
        regimes, warned = placed.regime[index], placed.warns[index]
        self._by_regime = self._by_regime + np.bincount(regimes, minlength=len(REGIMES))
        self.would_warn += int(np.count_nonzero(warned))
        self.would_warn_free += int(np.count_nonzero(warned & free))
        rows, kept = placed.row, placed.row >= 0
        if not kept.all():
            calls = kept[index]
            self.beyond += int(np.count_nonzero(~calls))
            index, rows, free = (np.cumsum(kept) - 1)[index[calls]], rows[kept], free[calls]
        if len(rows):
            self._extents = None
            self._tally(index, rows, free)
        return Classified(regimes, hits(regimes) & ~warned)

    def add_unknown(self, calls: int) -> None:
        """Count calls whose range is not known."""
        self._unknown += calls

    @property
    def regimes(self) -> Regimes:
        """Calls by regime."""
        counts = dict(zip(REGIMES, self._by_regime.tolist(), strict=True))
        counts[REGIMES[UNKNOWN]] += self._unknown
        return Regimes(**counts)

    @property
    def undecided(self) -> int:
        """Calls that are inside or below, depending on the bits in use, which are not known."""
        return 0 if self._window is None else int(self._by_regime[UNKNOWN])

    @property
    def pairing(self) -> Pairing:
        """Which ranges were populated and freed, so far."""
        held = int(np.count_nonzero(self._held))
        outside = np.flatnonzero(self._held & hits(self._regime))
        size = exact_sum(self._end[outside] - self._start[outside])
        counts = (self._paired, held, self._never_populated, self._twice)
        return Pairing(*counts, held_outside=len(outside), held_outside_bytes=size)

    def reaches(self) -> tuple[Reach, ...]:
        """Return the lowest and the highest address of the calls of each regime."""
        bounds = zip(REGIMES, self._lowest.tolist(), self._highest.tolist(), strict=True)
        seen = self._by_regime.tolist()
        return tuple(Reach(*bound) for bound, calls in zip(bounds, seen, strict=True) if calls)

    def extents(self) -> tuple[tuple[Extent, ...], int]:
        """Return the merged out-of-window ranges of most calls by address, and how many there are.

        Ranges merge when they touch or overlap, share regime and regions, and the kernel's WARN
        is silent about all of them or none. A range that
        wraps past 2^64 or is empty stays alone.
        """
        if self._extents is None:
            self._extents = self._merge()
        return self._extents

    def _places(self, starts: U64, ends: U64, first: I64) -> _Placed:
        """Find distinct ranges, in order of appearance, in the table; new ones get rows.

        ``first``: the row of the first call on each.
        """
        row, known = _find(self._start, self._end, starts, ends)
        if known.all():
            return _Placed(row, self._regime[row], self._warns[row])
        regime, warned = np.zeros(len(row), np.uint8), np.zeros(len(row), np.bool_)
        regime[known], warned[known] = self._regime[row[known]], self._warns[row[known]]
        new = np.flatnonzero(~known)
        regime[new] = classify(starts[new], ends[new], self._window)
        if self._window is not None:
            warned[new] = warns(starts[new], ends[new], self._window)
        self._extend(regime[new], starts[new], ends[new])
        out = hits(regime[new])
        outside = new[out][: self._budget - self._outside]
        inside = new[~out][: self._budget - (len(self) - self._outside)]
        fresh = np.concatenate((outside, inside))
        fresh = fresh[np.lexsort((ends[fresh], starts[fresh]))]
        at = row[fresh]
        row[known] += at.searchsorted(row[known], side="right")
        row[new] = -1
        row[fresh] = at + np.arange(len(fresh))
        if len(fresh):
            self._outside += len(outside)
            values = (starts[fresh], ends[fresh], regime[fresh], warned[fresh], first[fresh])
            self._insert(row[fresh], values)
        return _Placed(row, regime, warned)

    def _extend(self, regime: U8, start: U64, end: U64) -> None:
        """Take ranges into the reach of their regimes."""
        np.minimum.at(self._lowest, regime, start)
        np.maximum.at(self._highest, regime, np.where(start == end, start, end - _ONE))

    def _insert(self, rows: I64, values: tuple[U64, U64, U8, Bool, I64]) -> None:
        """Add ranges, sorted, that will be at ``rows``.

        ``values``: start, end, regime, whether the kernel's comparison is true, first row.
        """
        start, end, regime, warned, first = values
        kind = self._classes(start, end, regime)
        kind |= (hits(regime) & ~warned).astype(np.int64) << _SILENT
        none = np.zeros(len(rows), np.int64)
        before = np.ones(len(self) + len(rows), np.bool_)
        before[rows] = False
        for name, added in (
            ("_start", start),
            ("_end", end),
            ("_regime", regime),
            ("_class", kind),
            ("_warns", warned),
            ("_row", first),
            ("_populate", none),
            ("_free", none),
            ("_held", none.astype(np.bool_)),
        ):
            old = getattr(self, name)
            merged = np.empty(len(before), old.dtype)
            merged[before], merged[rows] = old, added
            setattr(self, name, merged)
        self._groups = None

    def _classes(self, start: U64, end: U64, regime: U8) -> I64:
        kind = regime.astype(np.int64) << _REGIME
        if self._layout is not None:
            first, last = region_codes(self._layout, start, end)
            kind |= first.astype(np.int64) << 16 | last
        return kind

    def _tally(self, index: I64, place: I64, free: Bool) -> None:
        """Count calls on their rows and pair them: ``index`` numbers the ranges in ``place``."""
        frees = np.bincount(index[free], minlength=len(place))
        self._free[place] += frees
        self._populate[place] += np.bincount(index, minlength=len(place)) - frees
        # Range by range, in order: whether it was held before each call is what the call
        # before it on the same range did.
        order = np.argsort(index.astype(np.uint16), kind="stable")
        index, free = index[order], free[order]
        first = np.append(True, index[1:] != index[:-1])
        held = np.append(False, ~free[:-1])
        held[first] = self._held[place[index[first]]]
        self._paired += int(np.count_nonzero(free & held))
        self._never_populated += int(np.count_nonzero(free & ~held))
        self._twice += int(np.count_nonzero(~free & held))
        last = np.append(first[1:], True)
        self._held[place[index[last]]] = ~free[last]

    def _merge(self) -> tuple[tuple[Extent, ...], int]:
        if self._groups is None:
            self._groups = _grouped(self._start, self._end, self._class)
        rows, edges, begin, reach, kind = self._groups
        if not len(edges):
            return (), 0
        populate, free = (np.add.reduceat(n[rows], edges) for n in (self._populate, self._free))
        ends = np.append(edges[1:], len(self) if isinstance(rows, slice) else len(rows))
        shown = _most(populate + free, self._groups)
        extents = []
        for at in shown.tolist():
            low, high = int(begin[at]), int(reach[at])
            places = slice(int(edges[at]), int(ends[at]))
            own = places if isinstance(rows, slice) else rows[places]
            extents.append(
                Extent(
                    start=low,
                    end=high,
                    regime=REGIMES[int(kind[at]) >> _REGIME & 0xFF],
                    silent=bool(int(kind[at]) >> _SILENT),
                    lands_on=self._layout.lands_on(low, high) if self._layout else None,
                    populate=int(populate[at]),
                    free=int(free[at]),
                    ranges=places.stop - places.start,
                    row=int(self._row[own].min()),
                )
            )
        return tuple(extents), len(edges)


def _most(calls: I64, groups: "_Groups") -> I64:
    """Return the ``LISTED`` extents of most calls, of equal ones the lowest, by address."""
    begin, reach = groups.begin, groups.reach
    shown = np.arange(len(calls))
    if len(calls) > LISTED:
        # Not sorted: there may be as many extents as ranges.
        least = calls.max()
        if np.count_nonzero(calls == least) < LISTED:
            least = np.partition(calls, -LISTED)[-LISTED]
        more, equal = np.flatnonzero(calls > least), np.flatnonzero(calls == least)
        room = LISTED - len(more)
        # Kind by kind they come by address: the lowest are among the first of each.
        low = begin[equal]
        heads = (np.flatnonzero(low[1:] < low[:-1]) + 1).tolist()
        firsts = [equal[a : min(a + room, b)] for a, b in pairwise((0, *heads, len(equal)))]
        equal = np.concatenate(firsts)
        equal = equal[np.lexsort((reach[equal], begin[equal]))][:room]
        shown = np.concatenate((more, equal))
    return shown[np.lexsort((reach[shown], begin[shown]))]


class _Groups(NamedTuple):
    """Which rows of the table make one extent."""

    rows: I64 | slice  # extent by extent
    edges: I64  # where in these each extent begins
    begin: U64
    reach: U64  # end, exclusive
    kind: I64


def _grouped(start: U64, end: U64, kind: I64) -> _Groups:
    """Merge the ranges outside of the window; they come by (start, end)."""
    outside = np.flatnonzero(hits((kind >> _REGIME).astype(np.uint8)))
    # All of them, as in a storm: nothing to copy.
    rows: I64 | slice = outside if len(outside) < len(kind) else slice(None)
    start, end, kind = start[rows], end[rows], kind[rows]
    order, sizes = _parted(kind, end - _ONE >= start)
    if order is not None:
        rows = outside[order]
        start, end, kind = start[order], end[order], kind[order]
    last = end - _ONE
    new = np.ones(len(start), np.bool_)
    at = 0
    for size, mergeable in sizes:
        if mergeable:
            begin = start[at + 1 : at + size]
            reach = np.maximum.accumulate(last[at : at + size])[:-1]
            new[at + 1 : at + size] = (begin > reach) & (begin - reach > _ONE)
        at += size
    edges = np.flatnonzero(new)
    reach = np.maximum.reduceat(last, edges) + _ONE if len(edges) else start
    return _Groups(rows, edges, start[edges], reach, kind[edges])


def _parted(kind: I64, plain: Bool) -> tuple[I64 | None, list[tuple[int, bool]]]:
    """Part ranges by kind, behind all those that are not plain: empty, or past 2^64.

    Returns their order (``None``: as they are), and of each part its size and if it is plain.
    """
    encoded = arrow.column(kind).dictionary_encode()
    kinds = numbers(encoded.dictionary)[0]
    if len(kinds) < 2 and plain.all():
        return None, [(len(kind), True)]
    rank = np.argsort(np.argsort(kinds)).astype(np.uint16)
    part = rank[numbers(encoded.indices)[0]]
    part[~plain] = len(kinds)
    sizes = np.bincount(part, minlength=len(kinds) + 1).tolist()
    parts = [(size, number < len(kinds)) for number, size in enumerate(sizes)]
    return np.argsort(part, kind="stable"), parts


def _ranges(start: U64, end: U64) -> tuple[I64, U64, U64]:
    """Number the distinct ranges: (index i64[N], starts u64[M], ends u64[M])."""
    by_start = arrow.column(start).dictionary_encode()
    index = numbers(by_start.indices)[0]
    starts = numbers(by_start.dictionary)[0]
    ends = np.empty(len(starts), np.uint64)
    ends[index] = end
    if (ends[index] == end).all():
        return index.astype(np.int64), starts, ends
    # Ranges of one start and several ends: number the combinations.
    by_end = arrow.column(end).dictionary_encode()
    codes = index.astype(np.int64) * len(by_end.dictionary) + numbers(by_end.indices)[0]
    numbered = arrow.column(codes).dictionary_encode()
    which, distinct = numbers(numbered.indices)[0], numbers(numbered.dictionary)[0]
    at_start, at_end = np.divmod(distinct, len(by_end.dictionary))
    return which.astype(np.int64), starts[at_start], numbers(by_end.dictionary)[0][at_end]


def _find(starts: U64, ends: U64, start: U64, end: U64) -> tuple[I64, Bool]:
    """Find ranges in a table sorted by (start, end): the row of each or where it would go."""
    low = starts.searchsorted(start)
    high = low
    inside = low < len(starts)
    inside[inside] = starts[low[inside]] == start[inside]
    if inside.any():
        high = low.copy()
        high[inside] = starts.searchsorted(start[inside], side="right")
        # Rows of one start are few; halve what is left of them until each range is placed.
        while len(active := np.flatnonzero(low < high)):
            middle = (low[active] + high[active]) >> 1
            before = ends[middle] < end[active]
            low[active[before]] = middle[before] + 1
            high[active[~before]] = middle[~before]
    known = low < len(starts)
    known[known] = (starts[low[known]] == start[known]) & (ends[low[known]] == end[known])
    return low, known
