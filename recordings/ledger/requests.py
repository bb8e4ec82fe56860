# SPDX-License-Identifier: GPL-2.0-only
"""Counts requests for a free physical region, and keeps the newest with what came of them.

Promises: refusals are counted by the error, of all requests that ended; of the newest ``LISTED``
that began and ended everything is kept. A result that is not known is no refusal.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from recordings.ledger.columns import (
    I64,
    U64,
    Bool,
    Chunk,
    Columns,
    Objects,
    codeset,
    integers,
    texts,
)
from recordings.ledger.snapshot import Request
from recordings.ledger.spans import OPEN, Finished
from tracers.arrow import numbers
from tracers.events import Phase
from tracers.kernel_functions import REQUESTS
from tracers.region_rows import MAX_ERRNO

#: Requests kept.
LISTED: Final = 100

_BEGINS: Final = codeset(REQUESTS, (Phase.ENTRY,))
_ENDS: Final = codeset(REQUESTS, (Phase.EXIT,))
#: Codes of their rows.
CODES: Final = np.flatnonzero(codeset(REQUESTS, (Phase.ENTRY, Phase.EXIT)))


@dataclass(frozen=True, slots=True)
class _Begun(Columns):
    """Entries, by row."""

    row: I64
    ts: U64
    pages: U64
    known: Bool  # whether pages is
    tid: I64
    comm: Objects
    name: Objects


class Requests:
    """The requests so far."""

    def __init__(self) -> None:
        self._errors: dict[int, int] = {}
        none, i64 = np.zeros(0, np.object_), np.zeros(0, np.int64)
        u64, flags = np.zeros(0, np.uint64), np.zeros(0, np.bool_)
        self._begun = _Begun(i64, u64, u64, flags, i64, none, none)
        self._newest: tuple[Request, ...] = ()

    @property
    def refused(self) -> tuple[tuple[int, int], ...]:
        """(errno, how many), the most frequent first."""
        return tuple(sorted(self._errors.items(), key=lambda each: (-each[1], each[0])))

    @property
    def newest(self) -> tuple[Request, ...]:
        """Those kept, in the order of their ends."""
        return self._newest

    def fold(self, chunk: Chunk, finished: list[Finished]) -> None:
        """Take in a chunk and the calls that ended in it."""
        rows = np.flatnonzero(_BEGINS.take(chunk.code))
        pages, known = _column(chunk, "nr_pages", rows)
        fresh = _Begun(
            row=rows + chunk.row,
            ts=chunk.ts[rows],
            pages=pages,
            known=known,
            tid=integers(chunk.column("tid"), rows),
            comm=texts(chunk.column("comm"), rows),
            name=texts(chunk.column("site"), rows),
        )
        self._begun = self._begun.joined(fresh)
        self._count(chunk, np.flatnonzero(_ENDS.take(chunk.code)))
        ours = [ended for ended in finished if ended.kind in REQUESTS and len(ended.exit)]
        ends = sorted(
            (exit_, entry, int(ended.kind)) for ended in ours for exit_, entry in _last(ended)
        )[-LISTED:]
        self._newest = (*self._newest, *self._ended(chunk, ends))[-LISTED:]

    def prune(self) -> None:
        """Forget the oldest beginnings beyond the budget."""
        self._begun = self._begun.pick(slice(-OPEN, None))

    def _count(self, chunk: Chunk, rows: I64) -> None:
        ret, known = _column(chunk, "ret", rows)
        errors = -ret.view(np.int64)
        errors = errors[known & (errors > 0) & (errors <= MAX_ERRNO)]
        for number, times in zip(*(each.tolist() for each in _counted(errors)), strict=True):
            self._errors[number] = self._errors.get(number, 0) + times

    def _ended(self, chunk: Chunk, ends: list[tuple[int, int, int]]) -> list[Request]:
        rows = np.array([each[0] for each in ends], np.int64)
        ret, known = _column(chunk, "ret", rows)
        pfn, placed = _column(chunk, "pfn", rows)
        pages, sized = _column(chunk, "nr_pages", rows)
        names = texts(chunk.column("site"), rows)
        made = []
        for at, (_, entry, kind) in enumerate(ends):
            place = int(np.searchsorted(self._begun.row, entry))
            if place == len(self._begun) or self._begun.row[place] != entry:
                continue  # beyond the budget
            (begun,) = self._begun.pick(slice(place, place + 1)).values()
            row, ts, asked, asked_known, tid, comm, name = begun
            error = -int(ret[at].view(np.int64)) if known[at] else 0
            made.append(
                Request(
                    row=row,
                    ts_ns=ts,
                    kind=REQUESTS[REQUESTS.index(kind)],
                    tid=None if tid < 0 else tid,
                    comm=comm,
                    name=name if name is not None else names[at],
                    asked=asked if asked_known else None,
                    pfn=int(pfn[at]) if placed[at] else None,
                    nr_pages=int(pages[at]) if sized[at] else None,
                    error=error if 0 < error <= MAX_ERRNO else None,
                    known=bool(known[at]),
                )
            )
        return made


def _last(ended: Finished) -> list[tuple[int, int]]:
    """Return (exit, entry) of those that ended last, at most ``LISTED``."""
    order = np.argsort(ended.exit)[-LISTED:]
    return list(zip(ended.exit[order].tolist(), ended.entry[order].tolist(), strict=True))


def _counted(values: I64) -> tuple[I64, I64]:
    return np.unique(values, return_counts=True)


def _column(chunk: Chunk, name: str, rows: I64) -> tuple[U64, Bool]:
    values, valid = numbers(chunk.column(name))
    known = np.ones(len(rows), np.bool_) if valid is None else valid[rows]
    return np.ascontiguousarray(values[rows]).view(np.uint64), known
