# SPDX-License-Identifier: GPL-2.0-only
"""Counts the calls that would not have happened if the check of populate returned an error.

Ard Biesheuvel, 7 April 2023: "Actually, it should be a hard error". vmemmap_populate() would then
return one for the first section that is out; __add_pages() stops there (mm/memory_hotplug.c: "if
(err) break;"), the driver's memremap_pages() fails, and nothing that was not populated is freed.

The check itself is unchanged: it compares with VMEMMAP_START and VMEMMAP_END, so silent hits would
still be mapped.

Promises: one pass, in order, thread by thread, the same for any cut into batches. A call whose
range is not known is never refused; a range that was not populated once counts as not populated
from then on.

Memory is bounded: the first ``KEPT`` ranges that are not populated have a row, and so have ``OPEN``
threads inside a hot-add. Whether a call beyond these would happen is not known: it is counted as
``unsure`` and as nothing else, so the other numbers are lower bounds.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from recordings.ledger.columns import (
    CHUNK,
    I64,
    U64,
    Bool,
    Chunk,
    Columns,
    chunks,
    codeset,
    ranges,
)
from recordings.ledger.operations import OPEN
from recordings.ledger.per_thread import ForwardFill
from recordings.ledger.ranges import KEPT
from tracers.events import Kind, Phase
from tracers.regimes import classify, silent, warns
from tracers.window import Window

_BEGINS: Final = (Phase.ENTRY, Phase.POINT)
_POPULATES: Final = codeset((Kind.POPULATE,), _BEGINS)
_FREES: Final = codeset((Kind.FREE,), _BEGINS)
_ROWS: Final = codeset((Kind.ADD_PAGES,), (Phase.ENTRY, Phase.EXIT)) | _POPULATES
_ADD: Final = Kind.ADD_PAGES * 4 + Phase.ENTRY
_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class RefusedCalls:
    """Numbers of calls that a hard error would have refused or prevented."""

    adds: int  # hot-add calls (__add_pages) that populated anything
    adds_refused: int
    at_first: int  # of those, refused at their first section
    populate_refused: int  # calls that would have returned the error
    populate_not_made: int  # sections behind it in the same hot-add
    free_not_made: int  # frees of what was not populated
    silent_made: int  # silent hits, populate and free, that would still happen
    unsure: int = 0  # calls beyond the budget, of which nothing of that is known

    @property
    def not_made(self) -> int:
        """Calls that would not have happened at all."""
        return self.populate_not_made + self.free_not_made


@dataclass(frozen=True, slots=True)
class _Adds(Columns):
    """Hot-adds, each of another thread, in order of their beginning."""

    row: I64
    thread: U64
    sections: I64  # populate calls so far
    refused: I64  # which of these is the first that is out


class RefusedCounter:
    """Counts refused calls; takes batches in their order."""

    def __init__(self, window: Window, *, budget: int = KEPT, open_budget: int = OPEN) -> None:
        self._window = window
        self._budget = budget
        self._open_budget = open_budget
        self._row = 0
        none = np.zeros(0, np.int64)
        self._open = _Adds(none, none.astype(np.uint64), none, none)
        self._adds = np.zeros(3, np.int64)  # that ended: all, refused, refused at their first
        self._given_up = False  # whether threads inside a hot-add are no longer followed
        # starts of ranges not populated, sorted, and the row of the first populate that was not
        self._denied: U64 = np.zeros(0, np.uint64)
        self._since: I64 = none
        self._full = _NEVER  # row from which on other ranges may not be populated, either
        self._counts = np.zeros(5, np.int64)

    def fold(self, batch: pa.RecordBatch) -> None:
        """Take in the next batch."""
        for chunk in chunks(batch, self._row):
            self._row += len(chunk)
            self._populates(chunk)
            self._frees(chunk)
            if self._row % CHUNK == 0:
                self._prune()

    def refused(self) -> RefusedCalls:
        """Return the counts so far."""
        adds, adds_refused, at_first = (self._adds + _tallied(self._open)).tolist()
        refused, not_made, freed, silent_made, unsure = self._counts.tolist()
        return RefusedCalls(
            adds=adds,
            adds_refused=adds_refused,
            at_first=at_first,
            populate_refused=refused,
            populate_not_made=not_made,
            free_not_made=freed,
            silent_made=silent_made,
            unsure=unsure,
        )

    def _populates(self, chunk: Chunk) -> None:
        rows = chunk.rows(np.flatnonzero(_ROWS.take(chunk.sorted(chunk.code))))
        if not len(rows):
            return
        code, thread = chunk.code[rows], chunk.thread[rows].astype(np.int64)
        populate, begins = _POPULATES.take(code), code == _ADD
        adds = self._open.joined(_begun(chunk, rows[begins]))
        number = np.full(len(code), -1, np.int64)
        number[begins] = len(self._open) + np.arange(np.count_nonzero(begins))
        initial = _places(self._open.thread, chunk.threads)
        fill = ForwardFill(thread)
        owner, after = fill.latest(~populate, number, initial)
        self._judge(chunk, rows[populate], owner[populate], adds)
        before, last = initial[thread[fill.last]], after[fill.last]
        running = np.ones(len(adds), np.bool_)
        running[number[begins]] = running[before[before >= 0]] = False
        running[last[last >= 0]] = True
        self._adds += _tallied(adds.pick(~running))
        self._open = adds.pick(running)

    def _prune(self) -> None:
        """Give up the hot-adds that began first, beyond the budget."""
        if (extra := len(self._open) - self._open_budget) > 0:
            oldest = np.argsort(self._open.row)
            self._adds += _tallied(self._open.pick(oldest[:extra]))
            self._open = self._open.pick(oldest[extra:])
            self._given_up = True

    def _judge(self, chunk: Chunk, rows: I64, owner: I64, adds: _Adds) -> None:
        """Count which populate calls, thread by thread in order, are refused and not made."""
        start, hit, known, quiet = self._checked(chunk, rows)
        owned = owner >= 0
        nth = np.zeros(len(rows), np.int64)
        order = np.argsort(owner, kind="stable")
        runs = owner[order]
        heads = np.flatnonzero(np.diff(runs, prepend=-2))
        lengths = np.diff(heads, append=len(runs))
        nth[order] = np.arange(len(runs)) - np.repeat(heads, lengths)
        nth[owned] += adds.sections[owner[owned]]
        np.minimum.at(adds.refused, owner[owned & hit], nth[owned & hit])
        adds.sections[:] += np.bincount(owner[owned], minlength=len(adds))
        behind = np.zeros(len(rows), np.bool_)
        behind[owned] = nth[owned] > adds.refused[owner[owned]]
        # of a thread that was given up, perhaps, and behind a refused section of its hot-add
        unsure = ~owned & self._given_up
        refused = hit & ~behind & ~unsure
        self._counts[:2] += (np.count_nonzero(refused), np.count_nonzero(behind))
        self._counts[3] += np.count_nonzero(quiet & ~behind & ~unsure)
        self._counts[4] += np.count_nonzero(unsure)
        if (lost := rows[unsure & known]).size:
            self._full = min(self._full, int(lost.min()) + chunk.row)
        denied = (refused | behind) & known
        self._add_denied(start[denied], rows[denied] + chunk.row)

    def _add_denied(self, start: U64, row: I64) -> None:
        order = np.lexsort((row, start))
        starts, first = np.unique(start[order], return_index=True)
        new = _places(self._denied, starts) < 0  # of the others an earlier row is kept
        starts, since = starts[new], row[order][first][new]
        if (room := self._budget - len(self._denied)) < len(starts):
            by_row = np.argsort(since)
            self._full = min(self._full, int(since[by_row[room]]))
            kept = np.sort(by_row[:room])
            starts, since = starts[kept], since[kept]
        at = self._denied.searchsorted(starts)
        self._denied = np.insert(self._denied, at, starts)
        self._since = np.insert(self._since, at, since)

    def _frees(self, chunk: Chunk) -> None:
        rows = np.flatnonzero(_FREES.take(chunk.code))
        if len(rows):
            start, hit, known, quiet = self._checked(chunk, rows)
            at = _places(self._denied, start)
            there = at >= 0
            there[there] = self._since[at[there]] < rows[there] + chunk.row
            gone = hit | (known & there)
            unsure = ~gone & known & (rows + chunk.row > self._full)
            self._counts[2] += np.count_nonzero(gone)
            self._counts[3] += np.count_nonzero(quiet & ~gone & ~unsure)
            self._counts[4] += np.count_nonzero(unsure)

    def _checked(self, chunk: Chunk, rows: I64) -> tuple[U64, Bool, Bool, Bool]:
        """Return starts; where the check is true; which ranges are known; silent hits."""
        start, end, known = ranges(chunk.batch, rows)
        quiet = known & silent(classify(start, end, self._window), start, end, self._window)
        return start, known & warns(start, end, self._window), known, quiet


def _begun(chunk: Chunk, rows: I64) -> _Adds:
    """Return the hot-adds that begin at ``rows`` of a chunk, without a section so far."""
    none = np.zeros(len(rows), np.int64)
    return _Adds(rows + chunk.row, chunk.threads[chunk.thread[rows]], none, none + _NEVER)


def _tallied(adds: _Adds) -> I64:
    """Count hot-adds that populated anything, those refused, those refused at once: i64[3]."""
    some = (adds.sections > 0, adds.refused < _NEVER, adds.refused == 0)
    return np.array([np.count_nonzero(which) for which in some], np.int64)


def _places(values: U64, wanted: U64) -> I64:
    """Return where in ``values``, each there once, each of ``wanted`` is; -1: it is not."""
    order = np.argsort(values, kind="stable")
    at = values.searchsorted(wanted, sorter=order)
    there = at < len(values)
    there[there] = values[order[at[there]]] == wanted[there]
    place = np.full(len(wanted), -1, np.int64)
    place[there] = order[at[there]]
    return place
