# SPDX-License-Identifier: GPL-2.0-only
"""Splits an Arrow IPC stream into its messages without decoding them.

The flatbuffer of a message's head alone gives its place, kind, number of rows and custom metadata
(Arrow columnar format, "IPC streaming format" and Message.fbs). Promises: a hostile or damaged
stream ends in a ``FramingError`` within bounded time and memory: every offset is checked against
the bytes that are there, nothing is followed twice, and every size is checked against its limit.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from flatbuffers import number_types
from flatbuffers.table import Table

#: Head of one message; schemas are the largest, for they hold the recording's header.
MAX_HEAD: Final = (16 << 20) + (64 << 10)
MAX_MESSAGE: Final = 256 << 20  # head and body
MAX_ROWS: Final = 1 << 20  # of one batch: 16 times what our writer makes, 40 MB decoded
MAX_DECODED: Final = 1 << 30  # bytes that one message's buffers may announce when unpacked
MAX_BUFFERS: Final = 4096  # of one message: about 1,300 text columns
MAX_METADATA: Final = 64  # custom metadata entries of one message

MARKER: Final = b"\xff\xff\xff\xff"  # opens every message since Arrow 0.15
EOS: Final = MARKER + bytes(4)

#: Keys of a batch's custom metadata.
META_KEY: Final = b"vmemscope"
CRC_KEY: Final = b"vmemscope:crc32"
NUMBERS_KEY: Final = b"vmemscope:numbers"  # closing record: recordings.format.final_numbers
CRC_BLANK: Final = b"00000000"  # what the checksum's own digits count as
_KEYS: Final = (META_KEY, CRC_KEY, NUMBERS_KEY)

_MALFORMED = (struct.error, IndexError, TypeError, ValueError, OverflowError)


class FramingError(Exception):
    """The bytes at ``offset`` are no whole Arrow message; ``cut``: they end too early."""

    def __init__(self, offset: int, text: str, *, cut: bool = False) -> None:
        super().__init__(text)
        self.offset = offset
        self.cut = cut


class MessageKind(IntEnum):
    """Message.fbs, union MessageHeader; END is the end-of-stream marker."""

    END = 0
    SCHEMA = 1
    DICTIONARY = 2
    BATCH = 3


@dataclass(frozen=True, slots=True)
class Message:
    """Where one message lies, in bytes of the file, and what its head says."""

    kind: MessageKind
    offset: int
    head: int  # bytes before the body, marker and length included
    body: int  # bytes
    rows: int = 0
    delta: bool = False  # dictionaries only: adds to an earlier one
    metadata: bytes | None = None  # value of META_KEY
    crc: bytes | None = None  # value of CRC_KEY
    crc_at: int = 0  # where its digits stand, from ``offset``
    numbers: bytes | None = None  # value of NUMBERS_KEY

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + self.head + self.body


def messages(read: Callable[[int, int], bytes], start: int, end: int) -> Iterator[Message]:
    """Yield the messages between the byte offsets ``start`` and ``end``, END last.

    ``read(offset, size)`` returns that many bytes, fewer only if the file ends before.
    Raises ``FramingError`` at the first place that is no whole message; running into ``end``
    without an END message is one, too.
    """
    offset = start
    while True:
        if end - offset < 8:
            text = "the stream stops without its end marker" if end == offset else "cut short"
            raise FramingError(offset, text, cut=True)
        # Most heads of ours fit: one read instead of two.
        head = read(offset, min(4096, end - offset))
        size = _head_size(head, offset)
        if 8 + size > end - offset:
            raise FramingError(offset, "cut short in a message's head", cut=True)
        if 8 + size > len(head):
            head = read(offset, 8 + size)
        message = parse(head[: 8 + size], offset)
        if message.end > end:
            raise FramingError(offset, "cut short in a message's body", cut=True)
        yield message
        if message.kind is MessageKind.END:
            return
        offset = message.end


def _head_size(head: bytes, offset: int) -> int:
    if head[:4] != MARKER:
        raise FramingError(offset, "no message starts where one should")
    if len(head) < 8:
        raise FramingError(offset, "cut short", cut=True)
    (size,) = struct.unpack_from("<i", head, 4)
    if not 0 <= size <= MAX_HEAD or size % 8:
        raise FramingError(offset, f"a message's head has an impossible size ({size} bytes)")
    return int(size)


def parse(head: bytes, offset: int = 0) -> Message:
    """Read one message's head: marker, length and flatbuffer, which must be whole.

    ``offset`` is where it stands in the file. Raises ``FramingError``.
    """
    size = _head_size(head, offset)
    if size == 0:
        return Message(MessageKind.END, offset, 8, 0)
    if len(head) < 8 + size:
        raise FramingError(offset, "cut short in a message's head", cut=True)
    try:
        return _parse(head, size, offset)
    except _MALFORMED as error:
        raise FramingError(offset, "a message's head is malformed") from error


def _parse(head: bytes, size: int, offset: int) -> Message:
    root = _table(head[: 8 + size], 8 + struct.unpack_from("<I", head, 8)[0])
    kind = MessageKind(root.GetSlot(6, 0, number_types.Uint8Flags))
    body = root.GetSlot(10, 0, number_types.Int64Flags)
    if kind is MessageKind.END or not 0 <= body <= MAX_MESSAGE - size:
        raise FramingError(offset, f"a message has an impossible size ({body} bytes)")
    values, crc_at = _metadata(root)
    rows, delta = 0, False
    if kind is not MessageKind.SCHEMA:
        batch = _batch(root, kind)
        rows = batch.GetSlot(4, 0, number_types.Int64Flags)
        if not 0 <= rows <= MAX_ROWS:
            raise FramingError(offset, f"a batch has an impossible number of rows ({rows})")
        if kind is MessageKind.DICTIONARY:
            delta = _child(root, 8).GetSlot(8, 0, number_types.BoolFlags)
    metadata, crc, numbers = map(values.get, (META_KEY, CRC_KEY, NUMBERS_KEY))
    return Message(kind, offset, 8 + size, body, rows, delta, metadata, crc, crc_at, numbers)


def little_endian(schema: bytes) -> bool:
    """Say whether the batches behind this schema's message are little-endian."""
    try:
        root = _table(schema, 8 + struct.unpack_from("<I", schema, 8)[0])
        return bool(_child(root, 8).GetSlot(4, 0, number_types.Int16Flags) == 0)
    except _MALFORMED as error:
        raise FramingError(0, "a message's head is malformed") from error


def check_buffers(message: bytes | memoryview, parsed: Message) -> None:
    """Refuse a batch or dictionary whose buffers lie outside it or unpack to too much.

    ``message`` is the whole of it, head and body. Each packed buffer starts with the size it
    unpacks to (Message.fbs, BodyCompressionMethod), which a decoder allocates before it looks
    at the data: so it is checked here, before any decoding. Raises ``FramingError``.
    """
    try:
        total = _decoded_size(bytes(message[: parsed.head]), message, parsed)
    except _MALFORMED as error:
        raise FramingError(parsed.offset, "a message's buffers are malformed") from error
    if total > MAX_DECODED:
        raise FramingError(parsed.offset, f"a batch announces {total} bytes of data: refused")


def _decoded_size(head: bytes, message: bytes | memoryview, parsed: Message) -> int:
    root = _table(head, 8 + struct.unpack_from("<I", head, 8)[0])
    batch = _batch(root, parsed.kind)
    packed = batch.Offset(10) != 0
    place = batch.Offset(8)
    count = batch.VectorLen(place) if place else 0
    if count > MAX_BUFFERS:
        raise ValueError(count)
    total = 0
    if count:
        # struct Buffer { offset: long; length: long; }
        values = struct.unpack_from(f"<{2 * count}q", head, batch.Vector(place))
        for start, length in zip(values[::2], values[1::2], strict=True):
            if start < 0 or length < 0 or start + length > parsed.body:
                raise ValueError(start)
            if not packed or not length:
                total += length
                continue
            if length < 8:
                raise ValueError(length)
            (announced,) = struct.unpack_from("<q", message, parsed.head + start)
            if announced < -1:  # -1: stored as it is
                raise ValueError(announced)
            total += length - 8 if announced == -1 else announced
    return total


def _metadata(root: Table) -> tuple[dict[bytes, bytes], int]:
    """Values of our keys, and where the checksum's digits stand."""
    values: dict[bytes, bytes] = {}
    crc_at = 0
    place = root.Offset(12)
    count = root.VectorLen(place) if place else 0
    if count > MAX_METADATA:
        raise ValueError(count)
    start = root.Vector(place) if place else 0
    for position in range(start, start + 4 * count, 4):
        entry = _table(root.Bytes, root.Indirect(position))
        key, _ = _text(entry, 4)
        value, at = _text(entry, 6)
        if key not in _KEYS:
            continue
        if key in values:
            raise ValueError(key)
        values[key] = value
        if key == CRC_KEY:
            crc_at = at
    return values, crc_at


def _table(data: bytes, position: int) -> Table:
    # flatbuffers trusts the distance to the vtable, which is signed: a negative place would
    # be read from the end of the bytes. Everything else that is out of bounds raises.
    (distance,) = struct.unpack_from("<i", data, position)
    if not 0 <= position - distance <= len(data) - 4:
        raise ValueError(distance)
    return Table(data, position)


def _child(table: Table, slot: int) -> Table:
    place = table.Offset(slot)
    if not place:
        raise ValueError(slot)
    return _table(table.Bytes, table.Indirect(table.Pos + place))


def _batch(root: Table, kind: MessageKind) -> Table:
    """The RecordBatch table: the header itself, or the data of a DictionaryBatch."""
    header = _child(root, 8)
    return _child(header, 6) if kind is MessageKind.DICTIONARY else header


def _text(table: Table, slot: int) -> tuple[bytes, int]:
    place = table.Offset(slot)
    if not place:
        return b"", 0
    at = table.Indirect(table.Pos + place)
    (length,) = struct.unpack_from("<I", table.Bytes, at)
    text = table.Bytes[at + 4 : at + 4 + length]
    if len(text) != length:
        raise ValueError(length)
    return text, at + 4
