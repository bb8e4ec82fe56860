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
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.ledger.columns import I64, U64, Bool, Chunk, Columns, Objects, integers, texts
from recordings.ledger.snapshot import Unfinished
from tracers.events import Kind, Phase

#: Unfinished calls that are listed; the others are counted.
LISTED: Final = 100

#: Open calls that are kept of each kind; a kernel has at most one a thread.
OPEN: Final = 4096

#: What begins and ends. An Oops does not: rows of one that are no points are passed over.
KINDS: Final = tuple(kind for kind in Kind if kind not in {Kind.UNKNOWN, Kind.FAULT})


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
        code = chunk.sorted(chunk.code)
        finished = []
        for kind in KINDS:
            first = kind * 4 + Phase.ENTRY  # EXIT is the code behind it
            if not chunk.counts[first : first + 2].any():
                continue
            sides = code - np.uint8(first)  # u8 wraps all other codes away
            places = np.flatnonzero(sides < 2)
            entry = sides.take(places) == 0
            finished.append(self._pair(kind, chunk, sites, chunk.rows(places), entry))
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

    def _pair(self, kind: Kind, chunk: Chunk, sites: I64, rows: I64, entry: Bool) -> Finished:
        """Pair the rows of one kind, which come thread by thread."""
        thread = chunk.thread.take(rows)
        same = thread[1:] == thread[:-1]  # thread as the row before
        before, after = entry[:-1], entry[1:]
        ended = np.flatnonzero((before > after) & same)
        start, ends = rows.take(ended), rows.take(ended + 1)
        lasted = _lasted(chunk.ts.take(start), chunk.ts.take(ends))
        finished = Finished(kind, start + chunk.row, ends, sites.take(start), lasted)
        edges = np.flatnonzero(~same)
        first = np.concatenate(([0], edges + 1))
        last = np.append(edges, len(rows) - 1)
        again = np.flatnonzero(before & after & same)
        if len(again):
            self._drop(_opened(chunk, rows[again], sites), kind)
        orphans = int(np.count_nonzero(~(before | after) & same))
        orphans += int(np.count_nonzero(~entry[first]))
        waiting = self._open.get(kind)
        if waiting is not None:
            place, touched = _match(waiting.thread, chunk.threads, thread[first])
            by_exit = ~entry[first[place]]
            carried, ends = waiting.pick(touched[by_exit]), rows[first[place[by_exit]]]
            orphans -= len(ends)
            finished = Finished(
                kind,
                np.concatenate((carried.row, finished.entry)),
                np.concatenate((ends, finished.exit)),
                np.concatenate((carried.site, finished.site)),
                np.concatenate((_lasted(carried.ts, chunk.ts[ends]), finished.duration)),
            )
            self._drop(waiting.pick(touched[~by_exit]), kind)
            waiting = waiting.pick(np.delete(np.arange(len(waiting)), touched))
        if orphans:
            self.orphans[kind] = self.orphans.get(kind, 0) + orphans
        opened = last[entry[last]]
        if len(opened):
            new = _opened(chunk, rows[opened], sites)
            waiting = new if waiting is None else waiting.joined(new)
        if waiting is not None:
            self._open[kind] = waiting
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
    return np.where(end > start, end - start, np.uint64(0))


def _opened(chunk: Chunk, rows: I64, sites: I64) -> _Open:
    return _Open(
        thread=chunk.threads[chunk.thread[rows]],
        row=rows + chunk.row,
        ts=chunk.ts[rows],
        site=sites[rows],
        tid=integers(chunk.column("tid"), rows),
        comm=texts(chunk.column("comm"), rows),
    )
