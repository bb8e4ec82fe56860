# SPDX-License-Identifier: GPL-2.0-only
"""Maps time to rows and rows to time in a recording, slices it, and finds the next hit.

A *position* is a number of rows, 0 to ``rows``: that many have happened. Time is the running
maximum of the rows' clocks, so positions are monotonic in time even where CPUs' buffers were
merged slightly out of order. No Python loop here goes over events, only over batches.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recordings.format.reader import Recording
from recordings.ledger.columns import COLUMNS
from tracers import regimes
from tracers.batch import Batch
from tracers.codes import codes
from tracers.events import Kind, Phase
from tracers.window import Window

#: Decoded batches kept: the one being played, its neighbours and the indexer's; fewer where they
#: are large, for a batch may have a million rows and any text.
CACHED_BATCHES: Final = 6
CACHED_BYTES: Final = 128 << 20

_HIT_COLUMNS: Final = ("kind", "phase", "start", "end")


class Timeline:
    """One recording as a line of rows. Not thread-safe: it belongs to the player's thread."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._cache: OrderedDict[int, pa.RecordBatch] = OrderedDict()
        self._hitless: set[int] = set()  # batches known to hold no hit
        index = self._index = recording.index
        self._ends: npt.NDArray[np.int64] = np.cumsum(
            np.array([info.rows for info in index], np.int64)
        )
        filled = [info for info in index if info.rows]
        self.first_ns: int | None = min((info.first_ts for info in filled), default=None)
        self.last_ns: int | None = max((info.last_ts for info in filled), default=None)
        self._latest: npt.NDArray[np.uint64] = np.maximum.accumulate(
            np.array([info.last_ts if info.rows else 0 for info in index], np.uint64)
        )

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
        clock = self._clock(batch)
        return self._start(batch) + int(np.searchsorted(clock, moment, side="right"))

    def time_of(self, position: int) -> int | None:
        """Return the moment a position is reached; the first event's for position 0."""
        if position <= 0 or not self.rows:
            return self.first_ns
        batch = self._batch_of(min(position, self.rows) - 1)
        return int(self._clock(batch)[min(position, self.rows) - 1 - self._start(batch)])

    def slices(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield the rows from position ``start`` to ``stop``, batch by batch.

        A batch's losses come with its last row, an empty batch's when its place is reached.
        ``start`` -1 is before the empty batches at the very beginning, 0 after them.
        """
        first = int(np.searchsorted(self._ends, start, side="right"))
        for number in range(first, len(self._ends)):
            low = self._start(number)
            high = int(self._ends[number])
            if low > stop or (low == stop and high > low):
                return
            begin, end = max(start, low), min(stop, high)
            events = self._batch(number).slice(begin - low, end - begin)
            if end < high:
                yield Batch(events)
                return
            info = self._index[number]
            yield Batch(events, info.losses)

    def next_hit(self, position: int, window: Window) -> int | None:
        """Return the row of the first out-of-window call at or after ``position``."""
        for number in range(self._batch_of(position), len(self._ends)):
            hits = self._hits(number, window)
            after = hits[np.searchsorted(hits, position - self._start(number)) :]
            if len(after):
                return self._start(number) + int(after[0])
        return None

    def previous_hit(self, position: int, window: Window) -> int | None:
        """Return the row of the last out-of-window call before ``position``."""
        for number in range(min(self._batch_of(position), len(self._ends) - 1), -1, -1):
            hits = self._hits(number, window)
            before = hits[: np.searchsorted(hits, position - self._start(number))]
            if len(before):
                return self._start(number) + int(before[-1])
        return None

    def _start(self, number: int) -> int:
        return int(self._ends[number - 1]) if number else 0

    def _batch_of(self, row: int) -> int:
        return int(np.searchsorted(self._ends, row, side="right"))

    def _batch(self, number: int) -> pa.RecordBatch:
        batch = self._cache.pop(number, None)
        if batch is None:
            batch = self._recording.read(number, COLUMNS)
            room = CACHED_BYTES - self._size(number, batch)
            while self._cache and (
                len(self._cache) >= CACHED_BATCHES
                or sum(self._size(*item) for item in self._cache.items()) > room
            ):
                self._cache.popitem(last=False)
        self._cache[number] = batch
        return batch

    def _size(self, number: int, batch: pa.RecordBatch) -> int:
        """Return the bytes of a decoded batch; uncompressed, it holds its whole message."""
        return max(int(batch.nbytes), self._index[number].size)

    def _clock(self, number: int) -> npt.NDArray[np.uint64]:
        """Running maximum of time, over the batch and all before it."""
        clock = np.maximum.accumulate(_u64(self._batch(number).column("ts_ns")))
        if number:
            np.maximum(clock, self._latest[number - 1], out=clock)
        return clock

    def _hits(self, number: int, window: Window) -> npt.NDArray[np.int64]:
        """Offsets, ascending, of a batch's populate and free calls that are not inside."""
        if number in self._hitless:
            return np.empty(0, np.int64)
        batch = self._cache.get(number)
        if batch is None:
            batch = self._recording.read(number, _HIT_COLUMNS)
        kind = codes(batch.column("kind"), Kind)
        phase = codes(batch.column("phase"), Phase)
        start, end = batch.column("start"), batch.column("end")
        out = regimes.hits(regimes.classify(_u64(start), _u64(end), window))
        out &= (kind == Kind.POPULATE) | (kind == Kind.FREE)
        out &= (phase == Phase.ENTRY) | (phase == Phase.POINT)
        for column in (start, end):
            if column.null_count:
                out &= column.is_valid().to_numpy(zero_copy_only=False)
        hits = cast("npt.NDArray[np.int64]", np.flatnonzero(out))
        if not len(hits):
            self._hitless.add(number)
        return hits


def _u64(column: pa.Array) -> npt.NDArray[np.uint64]:
    return cast(
        "npt.NDArray[np.uint64]", pc.fill_null(column, pa.scalar(0, pa.uint64())).to_numpy()
    )
