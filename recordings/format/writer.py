# SPDX-License-Identifier: GPL-2.0-only
"""Writes a recording: one Arrow IPC stream, readable after every batch.

Promises: events are in the file after ``flush``, and at the latest when ``max_rows`` of them are
buffered; the file is at every moment a readable recording and at most one batch half written; a
full or failing disk cuts the file back to its last whole batch, and every later ``write`` raises;
nothing is overwritten and no symbolic link followed. The caller decides when to flush: for a
capture, ``recordings.capture.writer_thread`` does.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from recordings.format.encoding import Encoded, Encoder
from recordings.format.final_numbers import Contents, Numbers, packed
from recordings.format.header import (
    ASKED_ENDS,
    FORMAT,
    AtEnd,
    BatchMeta,
    Header,
    RecordingError,
)
from recordings.format.output_files import File, Output, Stream
from recordings.format.schema import blank, empty, to_schema
from tracers.batch import Batch, Losses

MAX_ROWS: Final = 65_536
#: A batch beyond this is split, so that no reader's cap (framing.MAX_MESSAGE) is ever met.
_MAX_BYTES: Final = 64 << 20
_WARM_UP_ROWS: Final = 512  # rows: packed as large batches are


class Writer:
    """One recording being written, to a new file or to an open binary stream.

    ``header.format`` is set to this program's. ``fsync`` makes every flush durable
    (fdatasync), and the new file's name, too. To be used by one thread at a time.

    Raises ``RecordingError`` when the file exists, cannot be made or has no room for the header.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | Output,
        header: Header,
        *,
        fsync: bool = False,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._max_rows = max(1, min(max_rows, MAX_ROWS))
        self._encoder = Encoder(replace(header, format=FORMAT))
        self._pieces: list[pa.RecordBatch] = []
        self._buffered = self._buffered_bytes = 0
        self._pending = Losses()  # reported with the buffered events
        self._unwritten = 0
        self._cause: str | None = None  # why writing failed, for good
        self._raised = False
        self._closed = False
        self._out: File | Stream = (
            File(Path(target), fsync=fsync)
            if isinstance(target, str | os.PathLike)
            else Stream(target)
        )
        try:
            head = self._encoder.head()
            self._out.put(head.data)
        except OSError as error:
            self._out.discard()
            raise RecordingError(f"{self._out.name}: {error.strerror or error}") from error
        self._contents = Contents.opened(head.checksum)

    @property
    def contents(self) -> Contents:
        """What is in the file."""
        return self._contents

    @property
    def rows(self) -> int:
        """Events in the file."""
        return self._contents.rows

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._out.size

    @property
    def unwritten(self) -> int:
        """Events that were given and could not be written."""
        return self._unwritten

    def write(self, batch: Batch) -> None:
        """Take a batch's events and losses.

        Raises ``RecordingError`` once the disk has failed, ``ValueError`` when closed or when
        the events are not of ``tracers.events.SCHEMA``.
        """
        events = to_schema(batch.events)
        if self._closed:
            raise ValueError("this recording is closed")
        self._pending += batch.losses
        self._take(events)
        if self._cause is not None:
            self._flush()  # counts what was taken as unwritten
        self._check()

    def flush(self) -> None:
        """Put everything given so far in the file. Raises ``RecordingError``."""
        self._flush()
        self._check()

    def warm_up(self) -> None:
        """Encode batches that are thrown away: first-use costs must not delay the first events.

        Raises ``ValueError`` once events were given.
        """
        if self._pieces or self._contents.batches:
            raise ValueError("it is too late to warm up")
        rows = to_schema(blank(_WARM_UP_ROWS))
        for count in (2, _WARM_UP_ROWS):  # few rows are packed in another way than many
            self._pieces = [rows.slice(0, 1), rows.slice(1, count - 1)]
            self._packed()
        self._pieces = []

    def close(
        self,
        reason: str = "closed",
        notes: Sequence[str] = (),
        at_end: AtEnd = AtEnd(),  # noqa: B008 (frozen)
        numbers: Numbers | None = None,
        *,
        earlier: Contents | None = None,
    ) -> None:
        """Write what is left and the closing record, then close. Again: does nothing.

        ``reason``, ``notes`` (plain sentences), ``at_end`` and ``numbers`` go into the closing
        record; the numbers if they are of all that the ``earlier`` files of the capture and this
        one hold, and it ended as was asked for.

        Raises ``RecordingError`` if events could not be written and no ``write`` raised yet.
        """
        if self._closed:
            return
        self._flush()
        self._closed = True
        self._end(reason, notes, at_end, self._numbers(reason, numbers, earlier or Contents()))
        if not self._raised:
            self._check()

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
            return
        self._raised = True  # the error under way is the one to be seen
        self.close(f"ended by {type(error).__name__}: {error!s:.200}".rstrip(": "))

    def _check(self) -> None:
        """Raise ``RecordingError`` once the disk has failed."""
        if self._cause is not None:
            self._raised = True
            raise RecordingError(
                f"{self._out.name}: {self._cause}: it ends at its last whole batch, "
                f"{self._unwritten} events are missing"
            )

    def _take(self, events: pa.RecordBatch) -> None:
        if events.nbytes > _MAX_BYTES and events.num_rows > 1:
            half = events.num_rows // 2
            self._take(events.slice(0, half))
            self._take(events.slice(half))
            return
        if events.nbytes > _MAX_BYTES:
            raise ValueError(f"one event of {events.nbytes} bytes")
        if self._buffered_bytes + events.nbytes > _MAX_BYTES:
            self._flush()
        while events.num_rows:
            piece = events.slice(0, self._max_rows - self._buffered)
            events = events.slice(piece.num_rows)
            self._pieces.append(piece)
            self._buffered += piece.num_rows
            self._buffered_bytes += piece.nbytes
            if self._buffered >= self._max_rows:
                self._flush()

    def _flush(self) -> None:
        """Write the buffered events as one batch; a failure is remembered, not raised."""
        if self._closed:
            return
        if self._cause is None and (self._pieces or self._pending):
            try:
                self._put_batch()
            except (OSError, pa.ArrowException, MemoryError) as error:
                self._fail(error)
        if self._cause is not None:
            self._unwritten += self._buffered
        self._pieces.clear()
        self._buffered = self._buffered_bytes = 0

    def _put_batch(self) -> None:
        batch, meta = self._packed()
        self._out.put(batch.data)
        # Only now: an interrupted flush is done again by the next one, in the same place.
        self._contents = self._contents.with_batch(meta, batch.checksum)
        self._pending = Losses()

    def _packed(self) -> tuple[Encoded, BatchMeta]:
        """Return the buffered events' batch and its metadata."""
        events = self._concatenated()
        times = pc.min_max(events.column("ts_ns")).as_py()
        meta = BatchMeta(
            seq=self._contents.batches,
            rows=events.num_rows,
            first_ts=times["min"] or 0,
            last_ts=times["max"] or 0,
            losses=self._pending,
        )
        return self._encoder.batch(events, meta), meta

    def _concatenated(self) -> pa.RecordBatch:
        if len(self._pieces) == 1:
            return self._pieces[0]
        if not self._pieces:
            return empty()
        (merged,) = pa.Table.from_batches(self._pieces).combine_chunks().to_batches()
        return merged

    def _fail(self, error: BaseException) -> None:
        self._cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._out.cut()

    def _numbers(self, reason: str, numbers: Numbers | None, earlier: Contents) -> bytes | None:
        """Return the numbers as they are kept, None if something is missing that they count."""
        if numbers is None or self._cause is not None or reason not in ASKED_ENDS:
            return None
        return packed(numbers, earlier.followed_by(self._contents))

    def _end(
        self,
        reason: str,
        notes: Sequence[str],
        at_end: AtEnd,
        numbers: bytes | None,
    ) -> None:
        """Close the file, with the closing record if there is room for it."""
        losses = self._contents.losses + self._pending
        meta = BatchMeta(
            mark="end",
            seq=self._contents.batches,
            rows=self._contents.rows,
            losses=replace(losses, lost=losses.lost + self._unwritten),
            reason=self._cause or reason,
            notes=tuple(notes),
            at_end=at_end,
        )
        try:
            self._put_end(meta, numbers)
            self._out.close()
        except (OSError, pa.ArrowException, MemoryError) as error:
            if self._cause is None:
                self._fail(error)
            self._out.discard(keep=True)

    def _put_end(self, meta: BatchMeta, numbers: bytes | None) -> None:
        """Append the closing record; without the numbers if there is no room for them."""
        try:
            self._out.put(self._encoder.end(meta, numbers))
        except OSError as error:
            if numbers is None:
                raise
            self._out.cut()
            try:
                self._out.put(self._encoder.end(meta))
            except OSError:
                raise error from None
