# SPDX-License-Identifier: GPL-2.0-only
"""Regroups a recording's batches into pieces of a given size.

Promises: rows in the recording's order; at most a piece and a batch in memory; a recording of
many small batches, as a live one is, makes no file of many small row groups.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from recordings.format.ahead import ahead
from recordings.format.output_files import Output
from recordings.ledger.columns import COLUMNS

if TYPE_CHECKING:
    from recordings.format.reader import Recording
    from recordings.ledger.ledger import Ledger
    from recordings.ledger.sink import Sink as LedgerSink

_BYTES: Final = 64 << 20  # buffered at most


def groups(
    recording: "Recording",
    rows: int,
    *,
    columns: tuple[str, ...],
    ledger: "Ledger | None" = None,
    sink: "LedgerSink | None" = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the columns in pieces of ``rows`` or more; only the last has fewer.

    Each piece is folded into ``ledger`` before, and what that finds goes to ``sink``; at the end
    the ledger learns of the file's own losses.
    """
    needed = columns
    if ledger is not None:
        needed += tuple(name for name in COLUMNS if name not in columns)
    for piece in _pieces(recording, rows, needed, ledger):
        if ledger is not None:
            ledger.fold(piece, sink)
        yield piece.select(columns)
    if ledger is not None:
        ledger.add_losses(recording.losses)
        ledger.end_with(recording.at_end)


def _pieces(
    recording: "Recording", rows: int, columns: tuple[str, ...], ledger: "Ledger | None"
) -> Iterator[pa.RecordBatch]:
    buffered: list[pa.RecordBatch] = []
    number = size = 0
    for batch in ahead(recording.batches()):
        if ledger is not None:
            ledger.add_losses(batch.losses)
        if batch.events.num_rows:
            events = batch.events.select(columns)
            buffered.append(events)
            number += events.num_rows
            size += events.nbytes
        if number >= rows or size >= _BYTES:
            yield from _concatenated(buffered)
            buffered = []
            number = size = 0
    yield from _concatenated(buffered)


def _concatenated(buffered: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    if len(buffered) < 2:
        return buffered
    whole: list[pa.RecordBatch] = pa.Table.from_batches(buffered).combine_chunks().to_batches()
    return whole


class Sink:
    """File-like adapter that lets Arrow's writers write to an ``Output``.

    After the first error it discards everything: writers try to write once more when they are
    closed, or collected.
    """

    closed = False

    def __init__(self, output: Output) -> None:
        self._output = output
        self._broken = False

    def write(self, data: bytes | memoryview) -> int:
        """Write ``data``. Raises ``OSError``."""
        view = memoryview(data)
        size = len(view)
        if self._broken:
            return size
        self._broken = True
        while view:
            done = self._output.write(view)  # an unbuffered stream may take a part only
            view = view[len(view) if done is None else done :]
        self._broken = False
        return size

    def flush(self) -> None:
        """Nothing is buffered."""
