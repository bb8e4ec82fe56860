# SPDX-License-Identifier: GPL-2.0-only
"""Maps time to rows and rows to time; finds and counts calls, hits, WARNs and Oopses.

A *position* is a number of rows, 0 to ``rows``: that many have happened. Time is the running
maximum of the rows' clocks, so positions are monotonic in time even where CPUs' buffers were
merged slightly out of order. No Python loop here goes over events, only over batches.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recordings.explore.sums import Passed
from recordings.format.reader import BatchInfo, Recording
from recordings.ledger.columns import codeset
from recordings.ledger.verdict import judging
from tracers import regimes
from tracers.codes import codes
from tracers.events import Kind, Phase

#: Batches whose places are kept; of each some 20 bytes a row.
CACHED_BATCHES: Final = 6
#: Gaps told apart at most; beyond, neighbours are told as one.
MAX_GAPS: Final = 256

_COLUMNS: Final = ("ts_ns", "kind", "phase", "start", "end")
_BEGINS: Final = (Phase.ENTRY, Phase.POINT)
_CALLS: Final = codeset((Kind.POPULATE, Kind.FREE), _BEGINS)
_WARNINGS: Final = codeset((Kind.WARN,), _BEGINS)
_FAULT: Final = Kind.FAULT * 4 + Phase.POINT
_OPERATIONS: Final = (Kind.MEMREMAP, Kind.MEMUNMAP, Kind.ADD_PAGES, Kind.REMOVE_PAGES)
_ENTRIES: Final = codeset(_OPERATIONS, (Phase.ENTRY,))

Offsets = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where in one batch things are: offsets of its rows, ascending."""

    clock: npt.NDArray[np.uint64]  # of every row: running maximum, over all batches before it, too
    calls: Offsets
    hits: Offsets
    stops: Offsets  # hits and Oopses
    warnings: Offsets
    entries: Offsets  # of calls that can be operations
    entry_kinds: npt.NDArray[np.uint8]


class Timeline:
    """One recording as a line of rows. Not thread-safe: it belongs to the player's thread."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._window = judging(recording.header.machine)
        self._cache: OrderedDict[int, _Places] = OrderedDict()
        self._stopless: set[int] = set()  # batches known to hold neither hit nor Oops
        index = recording.index
        self._ends: npt.NDArray[np.int64] = np.cumsum(
            np.array([info.rows for info in index], np.int64)
        )
        filled = [info for info in index if info.rows]
        self.first_ns: int | None = min((info.first_ts for info in filled), default=None)
        self.last_ns: int | None = max((info.last_ts for info in filled), default=None)
        self._latest: npt.NDArray[np.uint64] = np.maximum.accumulate(
            np.array([info.last_ts if info.rows else 0 for info in index], np.uint64)
        )
        self.gaps = _gaps(index, self.first_ns or 0, torn=recording.ended is None)

    @property
    def rows(self) -> int:
        """Number of rows, the last position."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def row_at(self, time_ns: int) -> int:
        """Return how many rows have happened at ``time_ns`` of the trace's clock."""
        if time_ns < 0:
            return 0
        moment = np.uint64(min(time_ns, 2**64 - 1))
        batch = int(np.searchsorted(self._latest, moment, side="right"))
        if batch >= len(self._ends):
            return self.rows
        clock = self._places(batch).clock
        return self._start(batch) + int(np.searchsorted(clock, moment, side="right"))

    def time_of(self, position: int) -> int | None:
        """Return the moment a position is reached; the first event's for position 0."""
        if position <= 0 or not self.rows:
            return self.first_ns
        batch = self._batch_of(min(position, self.rows) - 1)
        return int(self._places(batch).clock[min(position, self.rows) - 1 - self._start(batch)])

    def between(self, start: int, stop: int) -> Passed:
        """Count what happens from position ``start`` to ``stop``; reads the batches between."""
        calls = hits = warnings = 0
        if start < stop:
            for number in range(self._batch_of(start), self._batch_of(stop - 1) + 1):
                places, first = self._places(number), self._start(number)
                low, high = max(0, start - first), stop - first
                calls += _count(places.calls, low, high)
                hits += _count(places.hits, low, high)
                warnings += _count(places.warnings, low, high)
        return Passed(calls, hits, warnings)

    def next_hit(self, position: int) -> int | None:
        """Return the row of the first out-of-window call or Oops at or after ``position``."""
        return self._next(position, self._stops)

    def previous_hit(self, position: int) -> int | None:
        """Return the row of the last out-of-window call or Oops before ``position``."""
        return self._previous(position, self._stops)

    def next_entry(self, position: int, kinds: Collection[Kind]) -> int | None:
        """Return the row of the first entry of one of ``kinds`` at or after ``position``."""
        return self._next(position, lambda number: self._entries(number, kinds))

    def previous_entry(self, position: int, kinds: Collection[Kind]) -> int | None:
        """Return the row of the last entry of one of ``kinds`` before ``position``."""
        return self._previous(position, lambda number: self._entries(number, kinds))

    def _next(self, position: int, of: Callable[[int], Offsets]) -> int | None:
        for number in range(self._batch_of(position), len(self._ends)):
            start, found = self._start(number), of(number)
            after = found[np.searchsorted(found, max(0, position - start)) :]
            if len(after):
                return start + int(after[0])
        return None

    def _previous(self, position: int, of: Callable[[int], Offsets]) -> int | None:
        for number in range(min(self._batch_of(position), len(self._ends) - 1), -1, -1):
            start, found = self._start(number), of(number)
            before = found[: np.searchsorted(found, max(0, position - start))]
            if len(before):
                return start + int(before[-1])
        return None

    def _start(self, number: int) -> int:
        return int(self._ends[number - 1]) if number else 0

    def _batch_of(self, row: int) -> int:
        return int(np.searchsorted(self._ends, row, side="right"))

    def _stops(self, number: int) -> Offsets:
        if number in self._stopless:
            return np.empty(0, np.uint32)
        return self._places(number).stops

    def _entries(self, number: int, kinds: Collection[Kind]) -> Offsets:
        places = self._places(number)
        return places.entries[np.isin(places.entry_kinds, list(kinds))]

    def _places(self, number: int) -> _Places:
        places = self._cache.pop(number, None)
        if places is None:
            while len(self._cache) >= CACHED_BATCHES:
                self._cache.popitem(last=False)
            places = self._find(self._recording.read(number, _COLUMNS), number)
            if not len(places.stops):
                self._stopless.add(number)
        self._cache[number] = places
        return places

    def _find(self, batch: pa.RecordBatch, number: int) -> _Places:
        clock = np.maximum.accumulate(_u64(batch.column("ts_ns")))
        if number:
            np.maximum(clock, self._latest[number - 1], out=clock)
        kind = codes(batch.column("kind"), Kind)
        code = (kind << np.uint8(2)) | codes(batch.column("phase"), Phase)
        calls, entries = np.flatnonzero(_CALLS[code]), np.flatnonzero(_ENTRIES[code])
        start, end = batch.column("start"), batch.column("end")
        regime = regimes.classify(_u64(start)[calls], _u64(end)[calls], self._window)
        out = regimes.hits(regime)
        for column in (start, end):
            if column.null_count:
                out &= column.is_valid().to_numpy(zero_copy_only=False)[calls]
        hits, faults = calls[out], np.flatnonzero(code == _FAULT)
        stops = np.sort(np.concatenate((hits, faults))) if len(faults) else hits
        return _Places(
            clock=clock,
            calls=calls.astype(np.uint32),
            hits=hits.astype(np.uint32),
            stops=stops.astype(np.uint32),
            warnings=np.flatnonzero(_WARNINGS[code]).astype(np.uint32),
            entries=entries.astype(np.uint32),
            entry_kinds=kind[entries],
        )


def _count(offsets: Offsets, low: int, high: int) -> int:
    first, last = np.searchsorted(offsets, (low, high))
    return int(last - first)


def _gaps(
    index: tuple[BatchInfo, ...], first_ns: int, *, torn: bool
) -> tuple[tuple[int, int], ...]:
    """Return the stretches of time, start and end, in which events are known to be missing."""
    gaps = [(info.first_ts, info.last_ts) for info in index if info.losses and info.rows]
    at = first_ns
    for before, after in pairwise(index):
        at = max(at, before.last_ts if before.rows else 0)
        if after.seq > before.seq + 1:
            gaps.append((at, max(at, after.first_ts if after.rows else at)))
        elif after.losses and not after.rows:
            gaps.append((at, at))
    if torn and index:
        last = max(at, index[-1].last_ts if index[-1].rows else 0)
        gaps.append((last, last))
    gaps.sort()
    step = -(-len(gaps) // MAX_GAPS) or 1
    groups = [gaps[at : at + step] for at in range(0, len(gaps), step)]
    return tuple((group[0][0], max(end for _, end in group)) for group in groups)


def _u64(column: pa.Array) -> npt.NDArray[np.uint64]:
    return cast(
        "npt.NDArray[np.uint64]", pc.fill_null(column, pa.scalar(0, pa.uint64())).to_numpy()
    )
