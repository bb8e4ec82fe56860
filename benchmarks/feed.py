# SPDX-License-Identifier: GPL-2.0-only
"""A recording played as if it were live: the source of soak runs and of the tests of capture.

Round after round of the recording's events, each 1 ms after the one before and moved by 0 to 7
whole device regions, so that every call keeps its regime and memory sees different addresses.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from recordings.format.reader import open_recording
from recordings.ledger.ours import observer_of
from tracers.arrow import column, numbers
from tracers.batch import Batch
from tracers.events import SCHEMA

_REGIONS = 8
_GAP_NS = 1_000_000
_MOVED = ("ts_ns", "pfn", "start", "end")


class Feed:
    """Fulfils ``recordings.capture.drain.EventFeed``.

    ``rate``: events a second, ``None`` as fast as they are asked for; ``rounds``: how often the
    recording is played, ``None`` without end; ``piece``: most events a batch; ``held``: how many
    events there are before ``release``.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: float | None = None,
        rounds: int | None = 1,
        piece: int = 4096,
        held: int | None = None,
    ) -> None:
        with open_recording(path) as recording:
            whole = pa.Table.from_batches([batch.events for batch in recording.batches()])
            header = recording.header
        self._rows = whole.combine_chunks().to_batches()[0]
        self.machine = header.machine
        self.probes: Mapping[str, str] = header.probes
        self.warn_sites = header.warn_sites
        self.clock: Mapping[str, str | int | None] = {"name": "mono", "offset_ns": None}
        self.origin: Mapping[str, str] = {"live": "feed"}
        self.notes: tuple[str, ...] = ()
        self.observer = observer_of(header.observer)
        self.calls: list[str] = []  # start, stop and close, in order
        self.sent = 0
        self._rate = rate
        self._piece = piece
        self._end = None if rounds is None else rounds * self._rows.num_rows
        self._held = held
        self._began = 0.0
        times = numbers(self._rows.column("ts_ns"))[0]
        self._period = int(times.max() - times.min()) + _GAP_NS
        self._pages = int(numbers(self._rows.column("nr_pages"))[0].max())
        window = header.machine.window
        self._struct_page = (window and window.struct_page) or 64

    def start(self) -> None:
        """Begin."""
        self.calls.append("start")
        self._began = time.monotonic()

    def poll(self, timeout_s: float) -> Batch | None:
        """Return what is due."""
        if self._rate is not None:
            time.sleep(min(timeout_s, 0.02))
        elif not self._due():
            time.sleep(min(timeout_s, 0.005))
            return None
        number = self._due()
        return self._next(number) if number else None

    def stop(self) -> Iterator[Batch]:
        """End; the rest of the piece under way."""
        self.calls.append("stop")
        number = self._due()
        if number:
            yield self._next(number)

    def closing(self) -> tuple[str, ...]:
        """Return what a live source would say."""
        return (f"{self.sent} events were sent by the feed",)

    def close(self) -> None:
        """Note that it was called."""
        self.calls.append("close")

    def release(self) -> None:
        """Let go of what was held."""
        self._held = None

    def _due(self) -> int:
        due = self.sent + self._piece
        if self._rate is not None:
            due = min(due, int((time.monotonic() - self._began) * self._rate))
        for end in (self._end, self._held):
            due = due if end is None else min(due, end)
        return max(0, due - self.sent)

    def _next(self, number: int) -> Batch:
        index = np.arange(self.sent, self.sent + number, dtype=np.int64)
        self.sent += number
        round_, row = np.divmod(index, self._rows.num_rows)
        taken = self._rows.take(column(row))
        region = round_ % _REGIONS * self._pages
        shifts = {
            "ts_ns": round_ * self._period,
            "pfn": region,
            "start": region * self._struct_page,
            "end": region * self._struct_page,
        }
        columns = [
            _moved(taken.column(name), shifts[name]) if name in _MOVED else taken.column(name)
            for name in SCHEMA.names
        ]
        return Batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))


def _moved(values: pa.Array, by: np.ndarray) -> pa.Array:
    """Add modulo 2^64; what is null stays so (pyarrow.compute.add would do, with pandas)."""
    known, _ = numbers(values)
    buffers = values.buffers()
    total = column(known + by.astype(np.uint64))
    assert values.offset == 0  # noqa: S101 (fresh from take)
    return pa.Array.from_buffers(values.type, len(values), [buffers[0], total.buffers()[1]])
