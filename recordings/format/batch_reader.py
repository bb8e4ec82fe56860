# SPDX-License-Identifier: GPL-2.0-only
"""Loads one batch of a recording: verifies its checksum and sizes, decodes and validates it.

Promises: nothing is decoded before its checksum and the sizes it announces were checked, and
no value of a decoded batch points outside it, whatever the file holds.
"""

import os
from dataclasses import dataclass
from io import FileIO
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recordings.format import framing
from recordings.format.encoding import checksum
from recordings.format.framing import FramingError, Message, MessageKind
from recordings.format.schema import check_nulls
from tracers.batch import Losses


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """One batch as its message announces it. Times in ns of the trace's clock."""

    seq: int
    rows: int
    offset: int  # of its message in the file, bytes
    size: int  # of its message, bytes
    first_ts: int  # smallest ts_ns (0 without rows)
    last_ts: int  # largest
    losses: Losses


class DamageError(Exception):
    """A batch is not as it was written; its text quotes nothing of the file."""


#: Whatever a batch can make the functions here raise.
DECODE_ERRORS: Final = (
    DamageError,
    FramingError,
    pa.ArrowException,
    OSError,
    ValueError,
    MemoryError,
)


def reason_of(error: Exception) -> str:
    """Say what is wrong; pyarrow's own messages are not shown, as they quote the file."""
    if isinstance(error, DamageError | FramingError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory"
    return "its content is not what its columns should hold"


class BatchReader:
    """Reads the batches of one open file. Every method raises one of ``DECODE_ERRORS``.

    ``head`` is the bytes of the schema's and the dictionaries' messages, already verified.
    """

    def __init__(self, file: FileIO, head: bytes, schema: pa.Schema) -> None:
        self._file = file
        self._head = np.frombuffer(head, np.uint8)
        self._schema = schema
        self._verified = set[int]()  # sequence numbers

    def check(self, message: Message) -> None:
        """Verify the checksum of a message that is not decoded."""
        self._check(self._load(message.offset, message.end - message.offset), message)

    def message(self, info: BatchInfo) -> npt.NDArray[np.uint8]:
        """Return the bytes of a stream of this one batch, its checksum verified once."""
        data = self._load(info.offset, info.size)
        view = data.data[len(self._head) :]
        size = min(8 + int.from_bytes(view[4:8], "little"), info.size)
        message = framing.parse(bytes(view[:size]), info.offset)
        if message.end != info.offset + info.size or message.kind is not MessageKind.BATCH:
            raise DamageError("the file has changed since it was opened")
        if info.seq not in self._verified:
            self._check(data, message)
            self._verified.add(info.seq)
        framing.check_buffers(view, message)
        return data

    def decode(self, info: BatchInfo, names: list[str]) -> pa.RecordBatch:
        """Return the named columns of a batch; no others are unpacked."""
        options = pa.ipc.IpcReadOptions(
            included_fields=sorted({self._schema.get_field_index(name) for name in names}),
            use_threads=False,  # costs more than it gives: a batch is too small
        )
        stream = pa.ipc.open_stream(pa.py_buffer(self.message(info)), options=options)
        events = stream.read_next_batch()
        if events.num_rows != info.rows:
            raise DamageError("it does not hold the rows it announces")
        # Nothing in a hostile batch may point outside it: indices, offsets, lengths, UTF-8.
        events.validate(full=True)
        check_nulls(events)
        return events.select(names).replace_schema_metadata(None)

    def _load(self, offset: int, size: int) -> npt.NDArray[np.uint8]:
        """Return the head and, right behind it, ``size`` bytes of the file."""
        data = np.empty(len(self._head) + size, np.uint8)
        data[: len(self._head)] = self._head
        view = data.data[len(self._head) :]
        while view:
            done = os.preadv(self._file.fileno(), [view], offset + size - len(view))
            if not done:
                raise DamageError("the file has become shorter")
            view = view[done:]
        return data

    def _check(self, data: npt.NDArray[np.uint8], message: Message) -> None:
        view = data.data[len(self._head) :]
        if message.crc is None or checksum(view, message.crc_at) != message.crc:
            raise DamageError("its checksum differs")
