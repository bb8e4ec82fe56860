# SPDX-License-Identifier: GPL-2.0-only
"""Relocates a recording's calls to another layout, or its pages to another placement.

Promises: the addresses of struct pages are computed anew as vmemmap + pfn * sizeof(struct page)
modulo 2^64; an address that is no page's struct page becomes unknown, never a guess. WARNs are left
out: those that fired belong to the window of the recording. Of regions the ``KEPT`` lowest are
kept, so memory is bounded; where the others are is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from recordings.ledger.columns import I64, U64, Bool
from recordings.ledger.ranges import KEPT
from tracers import arrow
from tracers.arrow import numbers
from tracers.codes import codes
from tracers.events import Kind
from tracers.formulas import WindowError
from tracers.regimes import page_to_pfn, pfn_to_page
from tracers.window import Window

#: What has the addresses of struct pages; an Oops of one.
_PLACED: Final = (Kind.POPULATE, Kind.FREE, Kind.FAULT)
_HOTPLUGS: Final = (Kind.ADD_PAGES, Kind.REMOVE_PAGES)
_MOST: Final = np.uint64(1 << 52)  # pages: far above 52-bit physical addresses
NO_RANGES: Final[U64] = np.zeros((0, 2), np.uint64)


@dataclass(frozen=True, slots=True)
class Relocation:
    """A region of pages, and where it would be; pfns of the recording's page size."""

    pfn: int
    nr_pages: int
    to: int | None  # first pfn there; None: not known
    full: bool = False  # why not: the search finds no place, so the request fails


class Relocator:
    """Relocates batches from the recording's layout to another."""

    def __init__(
        self,
        own: Window | None,
        other: Window | None,
        relocations: Sequence[Relocation],
        lost: U64 = NO_RANGES,
    ) -> None:
        """``other`` None: the recording's own. ``relocations``: regions that do not overlap.

        ``lost``: more of them, [first, end) pfns u64[N, 2], none of which has a known place.

        Raises:
            WindowError: memstart_addr or a size of the other layout is not known.
        """
        self._own = own
        self._other = own if other is None else other
        # pfns count pages, and pages of two sizes hold the same physical address
        self._by = 0
        if self._other is not None:
            self._other.pfn_to_page(0)
            if own is not None and own.page_size is not None:
                self._by = own.page_shift - self._other.page_shift
        mask = (1 << 64) - 1
        moved = [(r.pfn, r.pfn + r.nr_pages, (r.to or 0) - r.pfn & mask) for r in relocations]
        known = [r.to is not None for r in relocations]
        columns = np.array(moved, np.uint64).reshape(-1, 3)
        order = np.argsort(first := np.append(columns[:, 0], lost[:, 0]), kind="stable")
        self._first = first[order]
        self._end = np.append(columns[:, 1], lost[:, 1])[order]
        self._shift = np.append(columns[:, 2], np.zeros(len(lost), np.uint64))[order]
        self._placed = np.append(np.array(known, np.bool_), np.zeros(len(lost), np.bool_))[order]

    def relocate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch with its calls and Oopses relocated, and without WARNs."""
        kind = codes(batch.column("kind"), Kind)
        calls = np.flatnonzero(np.isin(kind, _PLACED))
        columns = {name: batch.column(name) for name in batch.schema.names}
        if len(calls):
            first, end, known = pages(batch, calls, self._own)
            start, behind, placed = self._addresses(first, end)
            valid = np.zeros(batch.num_rows, np.bool_)
            valid[calls] = known & placed
            for name, values in (("start", start), ("end", behind)):
                whole = np.zeros(batch.num_rows, np.uint64)
                whole[calls] = values
                columns[name] = arrow.masked(whole, valid)
        made = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        keep = np.flatnonzero(kind != Kind.WARN)
        return made if len(keep) == len(kind) else made.take(arrow.column(keep))

    def _addresses(self, first: U64, end: U64) -> tuple[U64, U64, Bool]:
        """Return the struct pages of pfns [first, end) there, and which of them are known."""
        placed = np.ones(len(first), np.bool_)
        if self._other is None:
            return first, end, ~placed
        if len(self._first):
            at = self._first.searchsorted(first, side="right") - 1
            inside = (at >= 0) & (first < self._end[at])
            shift = np.where(inside, self._shift[at], np.uint64(0))
            placed = ~inside | self._placed[at]
            first, end = first + shift, end + shift
        low, high = _scaled(first, self._by), np.uint64(0) - _scaled(np.uint64(0) - end, self._by)
        return pfn_to_page(low, self._other), pfn_to_page(high, self._other), placed


def _scaled(pfn: U64, by: int) -> U64:
    """Return signed pfns times 2^by, rounded down."""
    if by >= 0:
        return pfn << np.uint64(by)
    return (pfn.view(np.int64) >> np.int64(-by)).view(np.uint64)


def pages(batch: pa.RecordBatch, rows: I64, own: Window | None) -> tuple[U64, U64, Bool]:
    """Return the pfns [first, end) of populate, free and fault rows, and which of them are known.

    A row's own pfn and nr_pages if it has them, else what its addresses are the struct pages of.
    """
    own_pages, known = _columns(batch, rows, ("pfn", "nr_pages"))
    first, end = own_pages[0], own_pages[0] + own_pages[1]
    try:
        if own is None or known.all():
            return first, end, known
        addresses, given = _columns(batch, rows, ("start", "end"))
        low, high = (page_to_pfn(column, own) for column in addresses)
        for pfn, column in ((low, addresses[0]), (high, addresses[1])):
            given &= pfn_to_page(pfn, own) == column
    except WindowError:  # no memstart_addr: which pages these are of is not known
        return first, end, known
    return np.where(known, first, low), np.where(known, end, high), known | given


def _columns(
    batch: pa.RecordBatch, rows: I64, names: Sequence[str]
) -> tuple[tuple[U64, ...], Bool]:
    values, known = [], np.ones(len(rows), np.bool_)
    for name in names:
        column, valid = numbers(batch.column(name))
        values.append(column[rows].astype(np.uint64, copy=False))
        if valid is not None:
            known &= valid[rows]
    return tuple(values), known


class Regions:
    """The regions of pages that were hot-plugged, merged where they overlap.

    They are those of __add_pages and __remove_pages; where neither was seen, what the calls
    themselves are the struct pages of, adjacent sections joined.
    """

    def __init__(self, own: Window | None, *, budget: int = KEPT) -> None:
        self._own = own
        self._plugged = _Ranges(budget, join=False)
        self._called = _Ranges(budget, join=True)

    def fold(self, batch: pa.RecordBatch) -> None:
        """Take in the next batch; columns as ``SCHEMA`` has them."""
        kind = codes(batch.column("kind"), Kind)
        rows = np.flatnonzero(np.isin(kind, _HOTPLUGS))
        (pfn, nr_pages), known = _columns(batch, rows, ("pfn", "nr_pages"))
        known &= (pfn <= _MOST) & (nr_pages > 0) & (nr_pages <= _MOST)
        self._plugged.add(pfn[known], (pfn + nr_pages)[known])
        if not self._plugged.any:
            rows = np.flatnonzero(np.isin(kind, _PLACED))
            first, end, known = pages(batch, rows, self._own)
            known &= (first <= _MOST) & (first < end) & (end <= _MOST)
            self._called.add(first[known], end[known])

    @property
    def regions(self) -> U64:
        """[first, end) pfns of each that is kept, u64[N, 2], ascending."""
        return self._seen.kept

    @property
    def beyond(self) -> U64:
        """The pfns from the lowest of those that are not kept on, u64[1, 2]; u64[0, 2]: all are."""
        if self._seen.beyond is None:
            return NO_RANGES
        return np.array([(self._seen.beyond, 2 * _MOST)], np.uint64)

    @property
    def _seen(self) -> "_Ranges":
        return self._plugged if self._plugged.any else self._called


class _Ranges:
    """Disjoint ranges of pfns, the ``budget`` lowest of them."""

    def __init__(self, budget: int, *, join: bool) -> None:
        """``join``: neighbours become one."""
        self._budget = budget
        self._join = join
        self.kept = NO_RANGES
        self.beyond: int | None = None  # first pfn of those that were not kept

    @property
    def any(self) -> bool:
        """Whether there was one, kept or not."""
        return len(self.kept) > 0 or self.beyond is not None

    def add(self, first: U64, end: U64) -> None:
        if len(first):
            self.kept = _merged(self.kept, first, end, join=self._join)
            self._cut()

    def _cut(self) -> None:
        """Leave out what is beyond the budget, and what lies above that or would merge with it."""
        if len(self.kept) > self._budget:
            left_out = int(self.kept[self._budget, 0])
            self.beyond = left_out if self.beyond is None else min(self.beyond, left_out)
        if self.beyond is not None:
            below = self.kept[:, 1] + np.uint64(self._join) <= np.uint64(self.beyond)
            if not below.all():
                self.beyond = min(self.beyond, int(self.kept[~below, 0].min()))
            self.kept = self.kept[below]


def _merged(ranges: U64, first: U64, end: U64, *, join: bool) -> U64:
    """Return disjoint ranges u64[N, 2] with others in them; ``join``: neighbours become one."""
    if not len(first):
        return ranges
    both = np.concatenate((ranges, np.stack((first, end), axis=1)))
    both = both[np.argsort(both[:, 0], kind="stable")]  # mostly sorted already: nearly linear
    reach = np.maximum.accumulate(both[:, 1])
    heads = np.ones(len(both), np.bool_)
    heads[1:] = both[1:, 0] > reach[:-1] if join else both[1:, 0] >= reach[:-1]
    edges = np.flatnonzero(heads)
    return np.stack((both[edges, 0], np.maximum.reduceat(both[:, 1], edges)), axis=1)
