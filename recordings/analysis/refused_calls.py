# SPDX-License-Identifier: GPL-2.0-only
"""Counts the calls that would not have happened if the check of populate returned an error.

Ard Biesheuvel, 7 April 2023: "Actually, it should be a hard error". vmemmap_populate() would then
return one for the first section that is out; __add_pages() stops there (mm/memory_hotplug.c: "if
(err) break;"), the driver's memremap_pages() fails, and nothing that was not populated is freed.

The check itself is unchanged: it compares with VMEMMAP_START and VMEMMAP_END, so silent hits would
still be mapped.

Promises: one pass, in order, thread by thread, the same for any cut into batches; memory is bounded
by hot-add calls and distinct ranges, not by events. A call whose range is not known is never
refused; a range that was not populated once counts as not populated from then on.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from recordings.ledger.columns import I64, U8, U64, Bool, Chunk, chunks, codeset, ranges
from recordings.ledger.per_thread import ForwardFill
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

    @property
    def not_made(self) -> int:
        """Calls that would not have happened at all."""
        return self.populate_not_made + self.free_not_made


class RefusedCounter:
    """Counts refused calls; takes batches in their order."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._row = 0
        self._inside: dict[int, int] = {}  # thread key -> number of the hot-add it is in
        self._sections: I64 = np.zeros(0, np.int64)  # per hot-add: populate calls so far
        self._refused: I64 = np.zeros(0, np.int64)  # which of these is the first that is out
        # starts of ranges not populated, sorted, and the row of the first populate that was not
        self._denied: U64 = np.zeros(0, np.uint64)
        self._since: I64 = np.zeros(0, np.int64)
        self._counts = np.zeros(4, np.int64)

    def fold(self, batch: pa.RecordBatch) -> None:
        """Take in the next batch."""
        for chunk in chunks(batch, self._row):
            self._row += len(chunk)
            self._populates(chunk)
            self._frees(chunk)

    def refused(self) -> RefusedCalls:
        """Return the counts so far."""
        hit = self._refused < _NEVER
        refused, not_made, freed, silent_made = self._counts.tolist()
        return RefusedCalls(
            adds=int(np.count_nonzero(self._sections)),
            adds_refused=int(np.count_nonzero(hit)),
            at_first=int(np.count_nonzero(self._refused == 0)),
            populate_refused=refused,
            populate_not_made=not_made,
            free_not_made=freed,
            silent_made=silent_made,
        )

    def _populates(self, chunk: Chunk) -> None:
        rows = chunk.rows(np.flatnonzero(_ROWS.take(chunk.sorted(chunk.code))))
        if not len(rows):
            return
        code, thread = chunk.code[rows], chunk.thread[rows].astype(np.int64)
        populate = _POPULATES.take(code)
        adds = self._begin(code)
        initial = np.array([self._inside.get(key, -1) for key in chunk.threads.tolist()], np.int64)
        owner, after = ForwardFill(thread).latest(~populate, adds, initial)
        last = np.append(np.flatnonzero(thread[1:] != thread[:-1]), len(thread) - 1)
        for key, number in zip(
            chunk.threads[thread[last]].tolist(), after[last].tolist(), strict=True
        ):
            self._inside[key] = number
        self._inside = {key: number for key, number in self._inside.items() if number >= 0}
        self._judge(chunk, rows[populate], owner[populate])

    def _begin(self, code: U8) -> I64:
        """Number the hot-adds that begin; return per row that number, -1 where none does."""
        begins = code == _ADD
        new = int(np.count_nonzero(begins))
        number = np.full(len(code), -1, np.int64)
        number[begins] = len(self._sections) + np.arange(new)
        self._sections = np.append(self._sections, np.zeros(new, np.int64))
        self._refused = np.append(self._refused, np.full(new, _NEVER))
        return number

    def _judge(self, chunk: Chunk, rows: I64, owner: I64) -> None:
        """Count which populate calls, thread by thread in order, are refused and not made."""
        start, hit, known, quiet = self._checked(chunk, rows)
        owned = owner >= 0
        nth = np.zeros(len(rows), np.int64)
        order = np.argsort(owner, kind="stable")
        runs = owner[order]
        heads = np.flatnonzero(np.diff(runs, prepend=-2))
        lengths = np.diff(heads, append=len(runs))
        nth[order] = np.arange(len(runs)) - np.repeat(heads, lengths)
        nth[owned] += self._sections[owner[owned]]
        np.minimum.at(self._refused, owner[owned & hit], nth[owned & hit])
        self._sections += np.bincount(owner[owned], minlength=len(self._sections))
        behind = np.zeros(len(rows), np.bool_)
        behind[owned] = nth[owned] > self._refused[owner[owned]]
        refused = hit & ~behind
        self._counts[:2] += (np.count_nonzero(refused), np.count_nonzero(behind))
        self._counts[3] += np.count_nonzero(quiet & ~behind)
        denied = (refused | behind) & known
        self._add_denied(start[denied], rows[denied] + chunk.row)

    def _add_denied(self, start: U64, row: I64) -> None:
        order = np.lexsort((row, start))
        starts, first = np.unique(start[order], return_index=True)
        at = self._denied.searchsorted(starts)
        new = at >= len(self._denied)
        new[~new] = self._denied[at[~new]] != starts[~new]  # of the others an earlier row is kept
        self._denied = np.insert(self._denied, at[new], starts[new])
        self._since = np.insert(self._since, at[new], row[order][first][new])

    def _frees(self, chunk: Chunk) -> None:
        rows = np.flatnonzero(_FREES.take(chunk.code))
        if len(rows):
            start, hit, known, quiet = self._checked(chunk, rows)
            at = self._denied.searchsorted(start)
            there = at < len(self._denied)
            there[there] = self._denied[at[there]] == start[there]
            there[there] = self._since[at[there]] < rows[there] + chunk.row
            gone = hit | (known & there)
            self._counts[2] += np.count_nonzero(gone)
            self._counts[3] += np.count_nonzero(quiet & ~gone)

    def _checked(self, chunk: Chunk, rows: I64) -> tuple[U64, Bool, Bool, Bool]:
        """Return starts; where the check is true; which ranges are known; silent hits."""
        start, end, known = ranges(chunk.batch, rows)
        quiet = known & silent(classify(start, end, self._window), start, end, self._window)
        return start, known & warns(start, end, self._window), known, quiet
