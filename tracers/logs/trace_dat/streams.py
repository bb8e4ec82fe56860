# SPDX-License-Identifier: GPL-2.0-only
"""The events of each CPU, page by page, and all of them in the order of their times.

Promises: flat memory: no more than some pages of each CPU at a time; what all parts unpack to is
capped, so that a bomb ends there. The order is that of a merge that always takes the earliest next
event, of equal ones the first CPU's: a CPU's own events keep theirs, whatever their times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import heappop, heapreplace
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from tracers import arrow
from tracers.batch import Batch, Losses
from tracers.logs.byte_text import PAD, U64
from tracers.logs.kprobe_text.rows import NO_ROWS
from tracers.logs.kprobe_text.text_log import MOST_LOST, LogError
from tracers.logs.trace_dat.fields import CutError, Fields
from tracers.logs.trace_dat.headers import CpuData
from tracers.logs.trace_dat.packing import Unpack
from tracers.logs.trace_dat.pages import Pages
from tracers.packed import capped

ROWS: Final = 1 << 15  # of a batch, if there are so many
#: Pages that are packed together, trace-cmd takes ten; and bytes of one, if it says fewer.
_PACKED, _LARGEST = 16, 64 << 10
_AT_ONCE: Final = 8 << 20  # bytes of pages, of all CPUs together; of each at least some
_LEAST, _MOST = 8, 512  # pages
_DAMAGED: Final = 64  # pieces of a CPU that cannot be unpacked, before the rest is left alone
_WAITING: Final = 1 << 22  # rows that wait for other CPUs' events


class Budget:
    """How many bytes the pages of a file of ``size`` bytes may be, of so many CPUs together."""

    def __init__(self, size: int, cpus: int) -> None:
        self._cpus = max(cpus, 1)
        self._left = self._cap = capped(size)

    def at_once(self, page_size: int) -> int:
        """Return how many bytes of pages of each CPU are read at a time."""
        pages = _AT_ONCE // page_size // self._cpus
        return min(max(pages, _LEAST), _MOST) * page_size

    def spend(self, size: int) -> None:
        """Take some of it. Raises ``LogError`` if it is not there."""
        self._left -= size
        if self._left < 0:
            raise LogError(
                f"the trace-cmd file's events take more than {self._cap >> 20} MiB: no real one is "
                "like that; if this is, unpack it first: trace-cmd convert --compression none"
            )


class CpuPages:
    """The pages of one CPU. ``damaged``: parts of them that are not there."""

    def __init__(
        self, fields: Fields, data: CpuData, page_size: int, unpack: Unpack | None, budget: Budget
    ) -> None:
        self.page_size = page_size
        self._budget = budget
        self._at_once = budget.at_once(page_size)
        self.damaged = 0
        self._fields = fields.seek(data.offset)
        # The size of packed pages is for information: how many pieces there are stands before them.
        self._pieces = self._packed(unpack) if unpack else self._plain(data.offset + data.size)
        if not data.size:
            self._pieces = iter(())
        self._rest = b""

    def read(self) -> Pages:
        """Return some of the next pages, none at the end.

        Raises:
            LogError: they are more than a file can have.
            OSError: the file cannot be read.
        """
        pieces, have = [self._rest], len(self._rest)
        ended = False
        while have < self._at_once:
            piece = next(self._pieces, None)
            if piece is None:
                ended = True
                break
            self._budget.spend(len(piece))
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        size = have if ended else have - have % self.page_size
        self._rest = b"" if ended else data[size:]
        room = -(-size // self.page_size) * self.page_size + PAD
        buffer = np.frombuffer(data[:size].ljust(room, b"\0"), np.uint8)
        return Pages(buffer, -(-size // self.page_size), self.page_size, size)

    def _plain(self, end: int) -> Iterator[bytes]:
        at = self._fields.at
        while at < end:
            piece = self._fields.source.read(at, min(self._at_once, end - at))
            if not piece:
                self.damaged += 1
                return
            at += len(piece)
            yield piece

    def _packed(self, unpack: Unpack) -> Iterator[bytes]:
        fields = self._fields
        failures = 0
        most = _PACKED * max(self.page_size, _LARGEST)
        try:
            for _ in range(fields.number(4)):
                packed, size = fields.number(4), fields.number(4)
                piece = fields.take(packed)
                try:
                    yield unpack(piece, min(size, most))
                except CutError:
                    # Its pages are gone, those behind it are not.
                    failures += 1
                    if failures >= _DAMAGED or size % self.page_size:
                        raise
                    self.damaged += 1
        except CutError:
            self.damaged += 1


#: Yields some pages' rows, with the latest time on their CPU up to each and up to the pages' end,
#: and the losses.
CpuRows = Iterator[tuple[pa.RecordBatch, U64, int, Losses]]


class _Stream:
    """The rows of one CPU, in its order, with their keys: the latest time up to each."""

    def __init__(self, read: CpuRows) -> None:
        self._read = read
        self._waiting: list[tuple[pa.RecordBatch, U64]] = []
        self.latest = 0

    def more(self) -> tuple[int, Losses] | None:
        """Read on; return how many rows there are more, and the losses; None at the end."""
        found = next(self._read, None)
        if found is None:
            return None
        rows, keys, latest, losses = found
        if rows.num_rows:
            self._waiting.append((rows, np.maximum(keys, np.uint64(self.latest))))
        self.latest = max(self.latest, latest)
        return rows.num_rows, losses

    def take(self, until: int, *, included: bool) -> Iterator[tuple[pa.RecordBatch, U64]]:
        """Yield the rows up to that time, and wait with the others."""
        waiting, self._waiting = self._waiting, []
        for rows, keys in waiting:
            side: Literal["left", "right"] = "right" if included else "left"
            count = int(np.searchsorted(keys, np.uint64(until), side))
            if count:
                yield rows.slice(0, count), keys[:count]
            if count < len(keys):
                self._waiting.append((rows.slice(count), keys[count:]))


def merged(reads: Sequence[CpuRows]) -> Iterator[Batch]:
    """Yield the rows of all CPUs in the order of their times, with what is missing.

    Raises:
        LogError: a CPU has so many events while another has none that they cannot wait.
    """
    streams = [_Stream(read) for read in reads]
    behind = [(0, number) for number in range(len(streams))]  # the CPU that is read next is first
    waiting = 0
    while behind:
        fresh = 0
        losses = Losses()
        while behind and fresh < ROWS:
            number = behind[0][1]
            more = streams[number].more()
            if more is None:
                heappop(behind)
                continue
            heapreplace(behind, (streams[number].latest, number))
            fresh += more[0]
            losses = _plus(losses, more[1])
        waiting += fresh
        # Nothing that is still to be read comes before that.
        until, last = behind[0] if behind else ((1 << 64) - 1, len(streams))
        pieces = [
            (rows, keys, number)
            for number, stream in enumerate(streams)
            for rows, keys in stream.take(until, included=number <= last)
        ]
        rows = _sorted(pieces)
        waiting -= rows.num_rows
        if waiting > _WAITING:
            raise LogError(
                "the trace-cmd file's CPUs have events that cannot be put in order: one goes on"
                " long after the others, with times before theirs"
            )
        if rows.num_rows or losses:
            yield Batch(rows, losses)


def _plus(losses: Losses, more: Losses) -> Losses:
    both = losses + more
    return both if both.lost <= MOST_LOST else replace(both, lost=MOST_LOST)


def _sorted(pieces: Sequence[tuple[pa.RecordBatch, U64, int]]) -> pa.RecordBatch:
    if not pieces:
        return NO_ROWS
    rows = pa.Table.from_batches([each for each, _, _ in pieces]).combine_chunks().to_batches()[0]
    if len({number for _, _, number in pieces}) == 1:
        return rows
    keys = np.concatenate([each for _, each, _ in pieces])
    streams = np.repeat([number for _, _, number in pieces], [len(each) for _, each, _ in pieces])
    return rows.take(arrow.column(np.lexsort((streams, keys))))
