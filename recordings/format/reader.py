# SPDX-License-Identifier: GPL-2.0-only
"""Reads a recording: any batch, any columns; every byte verified, every loss reported.

Promises: rows come only from batches whose checksum was verified; a cut or damaged file gives
every whole batch it holds, and ``losses`` and ``problems`` say that there was more; anything that
is not a recording is a ``RecordingError`` of one line. Hostile files cost bounded memory and time.
The file is read piece by piece (pread), never mapped: a file that shrinks meanwhile is a damaged
batch, not a SIGBUS, and memory does not grow with the file.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from recordings.format import framing
from recordings.format.batch_reader import (
    DECODE_ERRORS,
    BatchInfo,
    BatchReader,
    DamageError,
    reason_of,
)
from recordings.format.final_numbers import Contents, Numbers, unpacked
from recordings.format.framing import FramingError, Message, MessageKind
from recordings.format.header import ASKED_ENDS, AtEnd, BatchMeta, Header, RecordingError
from recordings.format.preamble import open_file, read_preamble
from recordings.wording.escape import printable
from tracers.batch import Batch, Losses
from tracers.codes import codes
from tracers.events import SCHEMA

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BatchInfo", "Recording", "RecordingError", "codes", "open_recording"]

#: Lines kept; a hostile file could have as many as it has bytes.
_MAX_PROBLEMS: Final = 50

_NOT_CLOSED: Final = "the writer was killed, or is still writing"


def open_recording(path: str | os.PathLike[str], *, verify: bool = True) -> "Recording":
    """Open a recording for reading.

    ``verify`` reads the whole file once and checks every batch, so that ``index``, ``rows``
    and ``losses`` are final from the start. Without it opening reads only the messages' heads,
    and each batch is checked when it is first read. Raises ``RecordingError``.
    """
    return Recording(Path(path), verify=verify)


class Recording:
    """An open recording; made by ``open_recording``. A context manager, usable by many threads.

    ``index`` does not change after opening, so that positions in it stay what they are. What is
    appended to the file after opening is not seen.
    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        self.path = path
        self._file = open_file(path)
        self._lock = threading.Lock()
        self._problems: list[str] = []
        self._torn = 0
        self._bad = set[int]()  # sequence numbers
        self._end: BatchMeta | None = None
        self._verified = False
        #: The final numbers in its closing record, as they stand there.
        self.packed_numbers: bytes | None = None
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            preamble = read_preamble(self._pread, self._size)
            self.header: Header = preamble.header
            self.schema: pa.Schema = preamble.schema
            self.metadata: Mapping[bytes, bytes] = preamble.metadata  # the schema's, in the file
            self._reader = BatchReader(self._file, preamble.head, preamble.schema)
            self._contents = Contents.opened(preamble.checksum)
            self.index: tuple[BatchInfo, ...] = tuple(self._scan(preamble.end))
            self._count()
            self._check_closing_record()
            if verify:
                self.verify()
                self.index = tuple(self._good())
        except RecordingError as error:
            self._file.close()
            raise RecordingError(f"{path}: {error}") from error
        except OSError as error:
            self._file.close()
            raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from error

    @property
    def rows(self) -> int:
        """Events that can be read, as far as is known."""
        return self._rows

    @property
    def losses(self) -> Losses:
        """What is missing beyond what the readable batches themselves carry.

        ``torn`` counts batches that are damaged, missing or cut, and a missing end;
        ``without_end`` is 1 unless it ended as was asked for; the others count
        what the closing record counts and no readable batch does, such as ``lost``: events
        that a full disk did not take.
        """
        end = self._end.losses if self._end else Losses()
        unasked = self.ended not in ASKED_ENDS
        return end.beyond(self._batch_losses) + Losses(torn=self._torn, without_end=unasked)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the file, a line each, safe to show."""
        return tuple(self._problems)

    @property
    def ended(self) -> str | None:
        """Why the recording ended, as its writer said ("closed"); None: it has no end."""
        return self._end.reason if self._end else None

    @property
    def closing_notes(self) -> tuple[str, ...]:
        """What its writer noted when it ended, such as witnesses and losses; unescaped."""
        return self._end.notes if self._end else ()

    @property
    def at_end(self) -> AtEnd:
        """What was known only when it had ended, as its writer keeps it."""
        return self._end.at_end if self._end else AtEnd()

    @property
    def contents(self) -> Contents:
        """What its batches' metadata say is in it."""
        return self._contents

    def numbers(self) -> Numbers | None:
        """Return the final numbers that its closing record has, once every batch is verified.

        None if there are none, if anything is missing, or if they are not of what is in the file,
        such as those of a capture that has more files.
        """
        if self.packed_numbers is None:
            return None
        self.verify()
        if not self.whole:
            return None
        return unpacked(self.packed_numbers, Contents().followed_by(self._contents))

    @property
    def whole(self) -> bool:
        """Whether all is there that its closing record counts, as far as it was verified."""
        end = self._end
        return end is not None and not self.losses and end.losses == self._batch_losses

    def read(self, i: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Return the events of ``index[i]``: our columns in order, then unknown ones.

        With ``columns`` (names) only those, in that order, and only those are unpacked.
        ``kind``, ``phase`` and ``source`` are as the producer wrote them: use ``codes``.
        Raises ``RecordingError`` if the batch is damaged, which then counts as torn;
        ``KeyError`` for a column that is not there, ``ValueError`` for none.
        """
        names = self.select(columns)
        info = self.index[i]
        self._require_open()
        try:
            return self._reader.decode(info, names)
        except DECODE_ERRORS as error:
            raise RecordingError(f"{self.path}: {self._drop(info, error)}") from error

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield every readable batch with the losses it carries; damaged ones are left out.

        Errors as ``read``, except for damage, which ``losses`` and ``problems`` report.
        """
        names = self.select(columns)
        for info in self._good():
            self._require_open()
            try:
                events = self._reader.decode(info, names)
            except DECODE_ERRORS as error:
                self._drop(info, error)
                continue
            yield Batch(events, info.losses)

    def verify(self) -> None:
        """Check every batch's checksum; ``losses``, ``rows`` and ``problems`` are then final."""
        if self._verified:
            return
        for info in self._good():
            self._require_open()
            try:
                self._reader.message(info)
            except DECODE_ERRORS as error:
                self._drop(info, error)
        self._verified = True

    def select(self, columns: Sequence[str] | None = None) -> list[str]:
        """Return the names of the columns that ``read`` would give, in its order."""
        if columns is None:
            ours: list[str] = SCHEMA.names
            return ours + [name for name in self.schema.names if name not in set(ours)]
        if not columns:
            raise ValueError("no column asked for")
        for name in columns:
            if name not in self.schema.names:
                raise KeyError(name)
        return list(columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return all events as a DataFrame, integers as pandas' nullable types of their width.

        So a ``start`` of 0xffffffff3f000000 is that number in a ``UInt64`` column, and a missing
        one ``<NA>``; names are categories. Everything is in memory at once.
        """
        from recordings.format.dataframe import dataframe  # noqa: PLC0415 (pandas is slow to import)

        schema = pa.schema([self.schema.field(name) for name in self.select(columns)])
        batches = [batch.events for batch in self.batches(columns)]
        return dataframe(pa.Table.from_batches(batches, schema))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _require_open(self) -> None:
        # A closed file must not look like a damaged batch.
        if self._file.closed:
            raise ValueError("this recording is closed")

    def _good(self) -> list[BatchInfo]:
        return [info for info in self.index if info.seq not in self._bad]

    def _pread(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def _scan(self, start: int) -> Iterator[BatchInfo]:
        """Yield the batches from their messages' heads; note where the file ends too early."""
        whole, expected = start, 0
        try:
            for message in framing.messages(self._pread, start, self._size):
                if message.kind is MessageKind.END:
                    whole = message.end
                    break
                meta, expected = self._checked_meta(message, expected)
                whole = message.end
                if meta is not None and meta.mark == "end":
                    self._end, self.packed_numbers = meta, message.numbers
                elif meta is not None:
                    self._contents = self._contents.with_batch(meta, message.crc or b"")
                    yield _info(message, meta)
        except FramingError as error:
            self._report_bad_end(error, self._size - whole)
        else:
            if whole < self._size:
                self._report_torn(f"{self._size - whole} bytes after its end are left out")
            if self._end is None:
                self._report_torn("ends without its closing record: batches may be missing")

    def _checked_meta(self, message: Message, expected: int) -> tuple[BatchMeta | None, int]:
        """Return a batch's metadata, None if it is left out, and the next sequence number.

        Only a batch that is as expected is left for ``read`` to verify: one whose sequence
        number is off, and the closing record, are verified here.
        """
        if self._end or message.kind is not MessageKind.BATCH:
            raise FramingError(message.offset, "something stands where no batch can")
        try:
            meta = BatchMeta.from_json(message.metadata or b"")
            fits = meta.mark != "begin" and message.rows == (0 if meta.mark else meta.rows)
            if fits and not meta.mark and meta.seq == expected:
                return meta, expected + 1
            self._reader.check(message)
            if not fits:
                raise DamageError("its metadata does not fit it")
        except DECODE_ERRORS as error:
            self._report_torn(f"batch {expected} is left out: {reason_of(error)}")
            return None, expected + 1
        if meta.seq < expected:
            self._report_torn(f"batch {meta.seq} stands where batch {expected} should: left out")
            return None, expected
        if meta.seq > expected:
            missing = meta.seq - expected
            self._report_torn(f"{missing} batches are missing before batch {meta.seq}", missing)
        return meta, meta.seq + (not meta.mark)

    def _report_bad_end(self, error: FramingError, rest: int) -> None:
        if self._end is not None:
            self._report_torn(f"its end marker is missing or damaged: {error}")
        elif error.cut and rest:
            self._report_torn(
                f"ends without its closing record: {rest} bytes after the last whole batch are "
                f"left out ({_NOT_CLOSED})"
            )
        elif error.cut:
            self._report_torn(f"ends without its closing record ({_NOT_CLOSED})")
        else:
            self._report_torn(
                f"damaged at byte {error.offset} ({error}): the last {rest} bytes are left out"
            )

    def _report_torn(self, problem: str, count: int = 1) -> None:
        self._torn += count
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(printable(problem))
        elif len(self._problems) == _MAX_PROBLEMS:
            self._problems.append("more problems are counted, not listed")

    def _drop(self, info: BatchInfo, error: Exception) -> str:
        """Count a batch as torn, once; return the line that says so."""
        text = f"batch {info.seq} ({info.rows} events) is left out: {reason_of(error)}"
        with self._lock:
            if info.seq not in self._bad:
                self._bad.add(info.seq)
                self._report_torn(text)
                self._count()
        return text

    def _count(self) -> None:
        """Add up rows and losses of the readable batches."""
        good = self._good()
        self._rows = sum(info.rows for info in good)
        self._batch_losses = sum((info.losses for info in good), start=Losses())

    def _check_closing_record(self) -> None:
        """Compare the batches with what the closing record says there were."""
        end = self._end
        if end is None:
            return
        if not self._torn and end.rows != self._rows:
            self._report_torn(f"has {self._rows} events, its closing record says {end.rows}")
        unwritten = end.losses.lost - self._batch_losses.lost
        reason = printable(end.reason) or "it does not say why"
        if not self._torn and unwritten > 0:
            self._problems.append(f"{unwritten} events could not be written: {reason}")
        elif end.reason not in ASKED_ENDS:
            self._problems.append(f"ended early: {reason}")


def _info(message: Message, meta: BatchMeta) -> BatchInfo:
    return BatchInfo(
        meta.seq,
        meta.rows,
        message.offset,
        message.end - message.offset,
        meta.first_ts,
        meta.last_ts,
        meta.losses,
    )
