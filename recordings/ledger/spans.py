# SPDX-License-Identifier: GPL-2.0-only
"""Pairs entries with exits, per thread and kind, across any batch border.

The rule: an exit ends the entry that comes right before it among the rows of its thread and
kind. An entry followed by another entry never ended (unfinished); an exit that no entry comes
right before is an orphan. Rows are taken in the order of the source; an exit stamped earlier
than its entry (clocks of two CPUs) ends a call of 0 ns. Open entries are carried to the next
batch. ``prune`` keeps the newest ``OPEN`` of each kind and counts the others as given up, so
memory is bounded.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

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
from recordings.ledger.snapshot import Unfinished
from tracers.events import Kind, Phase

#: Unfinished calls that are listed; the others are counted.
LISTED: Final = 100

#: Open calls that are kept of each kind; a kernel has at most one a thread.
OPEN: Final = 4096

#: What begins and ends. An Oops does not: rows of one that are no points are passed over.
KINDS: Final = tuple(kind for kind in Kind if kind not in {Kind.UNKNOWN, Kind.FAULT})

_SIDES: Final = 2
_ENTRIES: Final = codeset(KINDS, (Phase.ENTRY,))
_NONE: Final = np.zeros(0, np.int64)


class Finished(NamedTuple):
    """Calls of one kind that ended in this chunk, in no particular order."""

    kind: Kind
    entry: I64  # row of the entry in the recording
    exit: I64  # row of the exit in the chunk
    site: I64  # tag of the entry, see ``Spans.fold``
    duration: U64  # nanoseconds


@dataclass(frozen=True, slots=True)
class _Open(Columns):
    """Entries of one kind waiting for their exit, at most one a thread."""

    thread: U64
    row: I64
    ts: U64
    site: I64
    tid: I64
    comm: Objects

    def listed(self, kind: Kind) -> list[tuple[int, Unfinished]]:
        """Return the newest as values, each with its row, the oldest first."""
        newest = np.argsort(self.row)[-LISTED:]
        return [
            (row, Unfinished(kind, ts, None if tid < 0 else tid, comm))
            for _, row, ts, _, tid, comm in self.pick(newest).values()
        ]


class _Pairs(NamedTuple):
    """The entries and exits of a chunk, kind by kind and in each thread by thread, and in pairs."""

    rows: I64  # of the chunk
    thread: NDArray[np.uint16]
    entry: Bool
    first: I64  # places in ``rows`` where those of a thread and kind begin
    firsts: list[slice]  # by kind: those of ``first``
    start: I64  # of each pair: row of its entry
    end: I64  # and of its exit
    duration: U64
    pairs: list[slice]  # by kind: those of ``start``
    again: list[I64]  # by kind: places of entries that another follows
    orphans: list[int]  # by kind: exits that follow another
    opened: list[slice]  # by kind: those of ``left``
    left: I64  # rows of entries that nothing of their thread and kind follows

    @classmethod
    def made(cls, chunk: Chunk, rows: I64, bounds: I64) -> Self:
        """Pair rows; ``bounds``: where in them each kind begins, and the end."""
        thread, entry = chunk.thread.take(rows), _ENTRIES.take(chunk.code.take(rows))
        same = thread[1:] == thread[:-1]  # thread and kind as the row before
        same[bounds[1:-1] - 1] = False
        before, after = entry[:-1], entry[1:]
        ended = np.flatnonzero((before > after) & same)
        edges = np.flatnonzero(~same)
        first = np.concatenate(([0], edges + 1))
        last = np.append(edges, len(rows) - 1)
        start, end = rows.take(ended), rows.take(ended + 1)
        left = last[entry[last]]
        kinds = len(bounds) - 1
        again, orphans = [_NONE] * kinds, [0] * kinds
        beside = len(left) + np.count_nonzero(~entry[first])
        if len(rows) > 2 * len(ended) + beside:  # some are neither in a pair nor at an edge
            again = np.split(
                places := np.flatnonzero(before & after & same), places.searchsorted(bounds[1:-1])
            )
            places = np.flatnonzero(~(before | after) & same)
            orphans = np.diff(places.searchsorted(bounds)).tolist()
        return cls(
            rows,
            thread,
            entry,
            first,
            _slices(first.searchsorted(bounds)),
            start,
            end,
            _lasted(chunk.ts.take(start), chunk.ts.take(end)),
            _slices(ended.searchsorted(bounds)),
            again,
            orphans,
            _slices(left.searchsorted(bounds)),
            rows[left],
        )

    def finished(self, kind: Kind, row: int, sites: I64, at: int) -> Finished:
        """Return the pairs of one kind, number ``at``; ``row``: the chunk's first."""
        start = self.start[self.pairs[at]]
        end, duration = self.end[self.pairs[at]], self.duration[self.pairs[at]]
        return Finished(kind, start + row, end, sites.take(start), duration)


class Spans:
    """The open entries, the unfinished and the orphans so far."""

    def __init__(self, *, budget: int = OPEN) -> None:
        self._budget = budget
        self.given_up = 0  # calls open beyond the budget: their ends become orphans
        self.orphans: dict[Kind, int] = {}
        self._open: dict[Kind, _Open] = {}
        self._ended = 0  # entries that another entry followed
        self._newest: tuple[tuple[int, Unfinished], ...] = ()  # the newest of those, by row

    def fold(self, chunk: Chunk, sites: I64) -> list[Finished]:
        """Take in a chunk and return the calls that ended in it, kind by kind.

        ``sites``: i64[rows], any tag of a WARN's entry, handed back when it ends.
        """
        code, counts = chunk.sorted(chunk.code), chunk.counts.tolist()
        # EXIT is the code behind ENTRY; u8 wraps all other codes away.
        found = {
            kind: np.flatnonzero(code - np.uint8(first) < _SIDES)
            for kind in KINDS
            if any(counts[(first := kind * 4 + Phase.ENTRY) : first + _SIDES])
        }
        if not found:
            return []
        rows = chunk.rows(np.concatenate(list(found.values())))
        bounds = np.array([0, *accumulate(map(len, found.values()))])
        pairs = _Pairs.made(chunk, rows, bounds)
        opened = _opened(chunk, pairs.left, sites) if len(pairs.left) else None
        finished = []
        for at, kind in enumerate(found):
            finished.append(self._finish(kind, chunk, sites, pairs, at))
            if opened is not None and len(new := opened.pick(pairs.opened[at])):
                waiting = self._open.get(kind)
                self._open[kind] = new if waiting is None else waiting.joined(new)
        return finished

    def prune(self) -> None:
        """Give up the oldest open calls beyond the budget."""
        for kind, waiting in self._open.items():
            if (extra := len(waiting) - self._budget) > 0:
                self._open[kind] = waiting.pick(np.argsort(waiting.row)[extra:])
                self.given_up += extra

    def unfinished(self) -> tuple[tuple[Unfinished, ...], int]:
        """Return the newest unfinished calls in order of their entries, and how many there are."""
        listed = list(self._newest)
        for kind, waiting in self._open.items():
            listed += waiting.listed(kind)
        listed.sort(key=_by_row)
        return tuple(call for _, call in listed[-LISTED:]), self._ended + self.open_count

    @property
    def open_count(self) -> int:
        """How many calls wait for their end; they may still be running."""
        return sum(map(len, self._open.values()))

    @property
    def ended_count(self) -> int:
        """How many calls cannot end any more, since their thread began the same call again."""
        return self._ended

    def _finish(self, kind: Kind, chunk: Chunk, sites: I64, pairs: "_Pairs", at: int) -> Finished:
        """Return what ended of one kind, number ``at`` of the pairs, carried ones too."""
        rows, first = pairs.rows, pairs.first[pairs.firsts[at]]
        finished = pairs.finished(kind, chunk.row, sites, at)
        exits = ~pairs.entry[first]
        orphans = int(np.count_nonzero(exits)) + pairs.orphans[at]
        if len(pairs.again[at]):
            self._drop(_opened(chunk, rows[pairs.again[at]], sites), kind)
        waiting = self._open.get(kind)
        if waiting is not None and len(waiting):
            place, touched = _match(waiting.thread, chunk.threads, pairs.thread[first])
            by_exit = exits[place]
            carried, ends = waiting.pick(touched[by_exit]), rows[first[place[by_exit]]]
            orphans -= len(ends)
            if len(ends):
                finished = Finished(
                    kind,
                    np.concatenate((carried.row, finished.entry)),
                    np.concatenate((ends, finished.exit)),
                    np.concatenate((carried.site, finished.site)),
                    np.concatenate((_lasted(carried.ts, chunk.ts[ends]), finished.duration)),
                )
            self._drop(waiting.pick(touched[~by_exit]), kind)
            self._open[kind] = waiting.pick(np.delete(np.arange(len(waiting)), touched))
        if orphans:
            self.orphans[kind] = self.orphans.get(kind, 0) + orphans
        return finished

    def _drop(self, calls: _Open, kind: Kind) -> None:
        """Note entries that can no longer end."""
        if len(calls):
            self._ended += len(calls)
            listed = [*self._newest, *calls.listed(kind)]
            self._newest = tuple(sorted(listed, key=_by_row)[-LISTED:])


def _match(keys: U64, threads: U64, present: NDArray[np.uint16]) -> tuple[I64, I64]:
    """Find the keys among some of the chunk's threads.

    ``present``: indices into ``threads``, each once. Returns (place in ``present``, place in
    ``keys``) of every match.
    """
    here = threads[present]
    order = np.argsort(here)
    at = np.minimum(here[order].searchsorted(keys), len(here) - 1)
    place = order[at]
    matched = np.flatnonzero(here[place] == keys)
    return place[matched], matched


def _by_row(item: tuple[int, Unfinished]) -> int:
    return item[0]


def _lasted(start: U64, end: U64) -> U64:
    lasted: U64 = end - start
    back = end < start
    if back.any():
        lasted[back] = 0
    return lasted


def _slices(bounds: I64) -> list[slice]:
    return [slice(*pair) for pair in pairwise(bounds.tolist())]


def _opened(chunk: Chunk, rows: I64, sites: I64) -> _Open:
    return _Open(
        thread=chunk.threads[chunk.thread[rows]],
        row=rows + chunk.row,
        ts=chunk.ts[rows],
        site=sites[rows],
        tid=integers(chunk.column("tid"), rows),
        comm=texts(chunk.column("comm"), rows),
    )
