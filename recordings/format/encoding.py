# SPDX-License-Identifier: GPL-2.0-only
"""Encodes a recording as messages of an Arrow IPC stream, each batch with its checksum.

Promises: what ``Encoder`` returns, laid end to end and followed by ``framing.EOS``, is an Arrow
IPC stream in which every byte before the end marker is covered by one batch's checksum. No file
is written, and nothing is kept but pyarrow's writers.
"""

import zlib
from typing import Final, NamedTuple

import pyarrow as pa

from recordings.format import framing
from recordings.format.header import BatchMeta, Header
from recordings.format.schema import empty
from tracers.events import SCHEMA

#: Below this many rows LZ4 is used: zstd sets up a context for each of some 30 buffers, 0.5 ms
#: a batch however few its rows, to write and again to read. At 256 rows LZ4 takes 1.7 times
#: the bytes and a fifteenth of the time; at 65,536 rows twice the bytes for half the time.
_SMALL_ROWS: Final = 256
#: Level 3 (zstd's own default): a tenth smaller than Arrow's level 1, as fast to read.
_ZSTD_LEVEL: Final = 3


class Encoded(NamedTuple):
    """Bytes that end with a batch, and that batch's checksum."""

    data: bytes
    checksum: bytes  # its eight digits


class Encoder:
    """The bytes of one recording, in order. Batches must have been through ``to_schema``."""

    def __init__(self, header: Header) -> None:
        self._schema = SCHEMA.with_metadata({framing.META_KEY: header.to_json()})
        # One pyarrow writer per compression: the choice is a writer's, not a batch's. Only
        # the first one's schema and dictionaries go to the file.
        self._streams: dict[str | None, tuple[_Sink, pa.ipc.RecordBatchStreamWriter]] = {}

    def head(self) -> Encoded:
        """Return the schema, the dictionaries and the empty batch that opens a recording."""
        return self._encode(empty(), BatchMeta(mark="begin"), None)

    def batch(self, events: pa.RecordBatch, meta: BatchMeta) -> Encoded:
        """Return the message of one batch. ``head`` comes first."""
        if not events.num_rows:
            return self._encode(events, meta, None)
        return self._encode(events, meta, "lz4" if events.num_rows < _SMALL_ROWS else "zstd")

    def end(self, meta: BatchMeta, numbers: bytes | None = None) -> bytes:
        """Return the empty batch that closes a recording, and the end marker.

        ``numbers``: of ``final_numbers.packed``.
        """
        return self._encode(empty(), meta, None, numbers).data + framing.EOS

    def _encode(
        self,
        events: pa.RecordBatch,
        meta: BatchMeta,
        codec: str | None,
        numbers: bytes | None = None,
    ) -> Encoded:
        sink, stream = self._streams.get(codec) or self._open(codec)
        custom = {framing.META_KEY: meta.to_json(), framing.CRC_KEY: framing.CRC_BLANK}
        if numbers is not None:
            custom[framing.NUMBERS_KEY] = numbers
        stream.write_batch(events, custom_metadata=custom)
        return _with_checksum(sink.take())

    def _open(self, codec: str | None) -> "tuple[_Sink, pa.ipc.RecordBatchStreamWriter]":
        sink = _Sink()
        level = _ZSTD_LEVEL if codec == "zstd" else None
        options = pa.ipc.IpcWriteOptions(
            compression=codec and pa.Codec(codec, compression_level=level),
            use_threads=codec == "zstd",  # small batches are packed before a thread is awake
        )
        stream = pa.ipc.new_stream(pa.PythonFile(sink, "w"), self._schema, options=options)
        if codec is not None:
            stream.write_batch(empty())
            sink.take()
        self._streams[codec] = sink, stream
        return sink, stream


def checksum(data: bytes | memoryview, crc_at: int) -> bytes:
    """Return the eight digits that ``data`` should hold at ``crc_at``.

    CRC-32 (zlib's, IEEE 802.3) of all of ``data`` with those digits taken as zeros.
    """
    value = zlib.crc32(data[:crc_at])
    value = zlib.crc32(framing.CRC_BLANK, value)
    return b"%08x" % zlib.crc32(data[crc_at + 8 :], value)


def fill_checksum(data: bytes) -> bytes:
    """Fill in the checksum of the batch that ends ``data``; whatever stands before is covered."""
    return _with_checksum(data).data


def _with_checksum(data: bytes) -> Encoded:
    offset = 0
    while True:
        message = framing.parse(data[offset : offset + framing.MAX_HEAD], offset)
        if message.end >= len(data):
            break
        offset = message.end
    crc_at = message.offset + message.crc_at
    digits = checksum(memoryview(data), crc_at)
    return Encoded(data[:crc_at] + digits + data[crc_at + 8 :], digits)


class _Sink:
    """The file that pyarrow writes to: keeps the pieces until they are taken."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
