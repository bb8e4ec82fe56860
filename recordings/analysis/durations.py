# SPDX-License-Identifier: GPL-2.0-only
"""Every single call of a recording: exact durations, and the pages that it was for.

Promises: entries and exits are paired as in the ledger (``recordings.ledger.spans``), and no
duration is binned. Memory is bounded: the first ``CALLS`` are kept, some 40 bytes each, and the
others counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from recordings.ledger.columns import (
    CHUNK,
    COLUMNS,
    I64,
    U64,
    Bool,
    Chunk,
    Columns,
    chunks,
    codeset,
)
from recordings.ledger.spans import Finished, Spans
from tracers.arrow import numbers
from tracers.codes import codes
from tracers.events import Kind, Phase, Source
from tracers.formulas import WindowError
from tracers.regimes import page_to_pfn
from tracers.window import Window

if TYPE_CHECKING:
    from recordings.format.parts import Readable

#: Calls that are for pages: identified by pfn, or by the address of their struct pages.
BY_PFN: Final = (Kind.ADD_PAGES, Kind.REMOVE_PAGES, Kind.SECTION_ADD, Kind.SECTION_REMOVE)
BY_ADDRESS: Final = (Kind.POPULATE, Kind.FREE)
#: Calls kept of a recording, of all kinds asked for together.
CALLS: Final = 1 << 20
_KEPT: Final = codeset((*BY_PFN, *BY_ADDRESS), (Phase.ENTRY, Phase.POINT))


@dataclass(frozen=True, slots=True)
class Calls(Columns):
    """Calls of one kind as columns, in order of their entries."""

    row: I64  # number of the entry in the recording
    thread: U64
    pfn: U64
    nr_pages: U64  # 0: not known
    known: Bool  # whether pfn is
    ended: Bool
    duration: U64  # nanoseconds; 0 where it did not end

    @property
    def durations(self) -> U64:
        """Nanoseconds of those that ended."""
        return self.duration[self.ended]


@dataclass(frozen=True, slots=True)
class Durations:
    """The calls that are for pages, by kind, and the event sources of each kind."""

    calls: dict[Kind, Calls]
    sources: dict[Kind, frozenset[Source]]  # of all, kept or not
    beyond: int = 0  # calls behind the first ``CALLS``, not kept

    def of(self, kind: Kind) -> U64:
        """Return the durations of a kind in order of entry, nanoseconds; none if none ended."""
        calls = self.calls.get(kind)
        return np.zeros(0, np.uint64) if calls is None else calls.durations


def durations(recording: "Readable", kinds: Iterable[Kind] = (*BY_PFN, *BY_ADDRESS)) -> Durations:
    """Read a recording once and return its first ``CALLS`` calls of these kinds."""
    collector = Collector(recording.header.machine.window, frozenset(kinds))
    for batch in recording.batches(columns=COLUMNS):
        collector.fold(batch.events)
    return collector.result()


class Collector:
    """Entries and ends so far, by kind; takes batches in their order."""

    def __init__(
        self, window: Window | None, kinds: frozenset[Kind], *, budget: int = CALLS
    ) -> None:
        self._window = window
        self._kept = _KEPT & codeset(tuple(kinds), tuple(Phase))
        self._room = budget
        self._beyond = 0
        self._spans = Spans()
        self._row = 0
        self._entries: dict[Kind, list[tuple[I64, U64, U64, U64, Bool]]] = {}
        self._ends: dict[Kind, list[tuple[I64, U64]]] = {}  # row of the entry, nanoseconds
        self._sources: dict[Kind, set[Source]] = {}

    def fold(self, batch: pa.RecordBatch) -> None:
        """Take in the next batch."""
        for chunk in chunks(batch, self._row):
            self._row += len(chunk)
            self._begin(chunk)
            for finished in self._spans.fold(chunk, np.zeros(len(chunk), np.int64)):
                self._end(finished)
            if self._row % CHUNK == 0:  # as the ledger does
                self._spans.prune()

    def result(self) -> Durations:
        """Return the calls so far."""
        return Durations(
            {kind: self._calls(kind) for kind in self._entries},
            {kind: frozenset(sources) for kind, sources in self._sources.items()},
            self._beyond,
        )

    def _begin(self, chunk: Chunk) -> None:
        rows = np.flatnonzero(self._kept.take(chunk.code))
        source = codes(chunk.column("source"), Source)
        for kind, at in _by_kind(chunk, rows):
            sources = {Source(code) for code in np.unique(source[at]).tolist()}
            self._sources.setdefault(kind, set()).update(sources)
        room = min(self._room, len(rows))
        self._room -= room
        self._beyond += len(rows) - room
        for kind, at in _by_kind(chunk, rows[:room]):
            pfn, known = self._pfn(chunk, at, by_address=kind in BY_ADDRESS)
            pages, valid = numbers(chunk.column("nr_pages"))
            nr_pages = pages[at].astype(np.uint64)
            if valid is not None:
                nr_pages = np.where(valid[at], nr_pages, np.uint64(0))
            thread = chunk.threads[chunk.thread[at]]
            entry = (at + chunk.row, thread, pfn, nr_pages, known)
            self._entries.setdefault(kind, []).append(entry)

    def _end(self, finished: Finished) -> None:
        """Keep the ends of calls that are kept."""
        entries = self._entries.get(finished.kind)
        if entries is not None:
            kept = finished.entry <= entries[-1][0][-1]
            ends = finished.entry[kept], finished.duration[kept]
            self._ends.setdefault(finished.kind, []).append(ends)

    def _pfn(self, chunk: Chunk, rows: I64, *, by_address: bool) -> tuple[U64, Bool]:
        values, valid = numbers(chunk.column("start" if by_address else "pfn"))
        pfn = values[rows].astype(np.uint64)
        known = np.ones(len(rows), np.bool_) if valid is None else valid[rows]
        if by_address:
            try:
                pfn = page_to_pfn(pfn, self._window) if self._window else pfn
                known = known & (self._window is not None)
            except WindowError:  # no memstart_addr: whose struct pages they are is not known
                known = np.zeros(len(rows), np.bool_)
        return pfn, known

    def _calls(self, kind: Kind) -> Calls:
        row, thread, pfn, nr_pages, known = (
            np.concatenate(column) for column in zip(*self._entries[kind], strict=True)
        )
        ended, lasted = np.zeros(len(row), np.bool_), np.zeros(len(row), np.uint64)
        for entry, took in self._ends.get(kind, ()):
            at = row.searchsorted(entry)
            ended[at], lasted[at] = True, took
        return Calls(row, thread, pfn, nr_pages, known, ended, lasted)


def _by_kind(chunk: Chunk, rows: I64) -> Iterator[tuple[Kind, I64]]:
    """Yield the kinds at ``rows``, each with its own of these."""
    kinds = chunk.code[rows] >> np.uint8(2)
    for number in np.unique(kinds).tolist():
        yield Kind(number), rows[kinds == number]
