# SPDX-License-Identifier: GPL-2.0-only
"""Writes a recording and counts what it writes, so that its closing record has the final numbers.

Promises: the file is written as without it; every event is counted once, as a reader would count
it. A live capture counts beside its writer instead: ``recordings.capture.drain``.
"""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import pyarrow as pa

from recordings.format.header import Header
from recordings.format.output_files import Output
from recordings.format.writer import MAX_ROWS, Writer
from recordings.ledger.ledger import Ledger
from recordings.ledger.stored import numbers_of
from tracers.batch import Batch


class CountingWriter:
    """A ``Writer`` of a recording that ends as it was asked to, with a ledger of it.

    Errors as ``Writer``'s.
    """

    def __init__(self, target: str | os.PathLike[str] | Output, header: Header) -> None:
        self._writer = Writer(target, header)
        self._ledger = Ledger.of(header)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0  # that wait

    @property
    def rows(self) -> int:
        """Events in the file."""
        return self._writer.rows

    @property
    def ledger(self) -> Ledger:
        """All that was written, counted."""
        self._count()
        return self._ledger

    def write(self, batch: Batch) -> None:
        """Take a batch's events and losses."""
        self._writer.write(batch)
        self._ledger.add_losses(batch.losses)
        if batch.events.num_rows:
            self._waiting.append(batch.events)
            self._rows += batch.events.num_rows
        if self._rows >= MAX_ROWS:  # counting takes 1 ms however few they are
            self._count()

    def close(self, notes: Sequence[str] = ()) -> None:
        """Write what is left and the closing record, then close."""
        ledger = self.ledger
        self._writer.close(notes=notes, numbers=numbers_of(ledger.figures(), ledger.losses))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        self._writer.__exit__(kind, error, trace)

    def _count(self) -> None:
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if waiting:
            for whole in pa.Table.from_batches(waiting).combine_chunks().to_batches():
                self._ledger.fold(whole)
