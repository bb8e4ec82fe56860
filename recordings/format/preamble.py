# SPDX-License-Identifier: GPL-2.0-only
"""Reads the preamble of a recording: schema, header, dictionaries and the opening record.

Promises: a preamble is only returned if its checksum is right and the columns are ours; anything
else is a ``RecordingError`` that says what the file is instead.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

import pyarrow as pa

from recordings.format import framing
from recordings.format.encoding import checksum
from recordings.format.framing import FramingError, Message, MessageKind
from recordings.format.header import MAX_HEADER, BatchMeta, Header, RecordingError
from recordings.format.schema import check_schema
from recordings.format.sniff import describe
from tracers.regular_files import open_regular

#: Schema and dictionaries together: as written here, the header and 1 kB.
_MAX_PREAMBLE: Final = MAX_HEADER + (16 << 20)
#: Schema and dictionaries as they are put before every batch to decode it.
_MAX_HEAD: Final = 1 << 20

Pread = Callable[[int, int], bytes]
"""(offset, size) -> that many bytes of the file, fewer at its end."""


@dataclass(frozen=True, slots=True)
class Preamble:
    """What stands before the first events."""

    head: bytes  # messages of schema and dictionaries, to put before a batch: never large
    schema: pa.Schema  # without metadata
    metadata: Mapping[bytes, bytes]  # the schema's, as it stands in the file
    header: Header
    end: int  # offset of the first byte after the opening record
    checksum: bytes  # the opening record's digits


def open_file(path: Path) -> FileIO:
    """Open a regular file for reading. Raises ``RecordingError`` for anything else."""
    try:
        return FileIO(open_regular(path), "rb")
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or error
        raise RecordingError(f"{path}: cannot be opened: {text}") from error


def read_preamble(read: Pread, size: int) -> Preamble:
    """Read and verify the preamble of a file of ``size`` bytes.

    Raises ``RecordingError`` (its text is to be put after the file's name), ``OSError``.
    """
    other = describe(read(0, 64))
    if other:
        raise RecordingError(other)
    try:
        return _read(read, size)
    except FramingError as error:
        what = "is cut short" if error.cut else f"is damaged ({error})"
        raise RecordingError(f"{what} before its first events: nothing can be read") from error
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise RecordingError("is damaged in its schema or dictionaries") from error


def _read(read: Pread, size: int) -> Preamble:
    messages = framing.messages(read, 0, size)
    first = next(messages)
    if first.kind is not MessageKind.SCHEMA:
        raise RecordingError("is an Arrow stream without a schema: not a vmemscope recording")
    schema = pa.ipc.read_schema(pa.py_buffer(read(0, first.end)))
    header = _header(schema)
    begin = _opening_record(read, messages)
    framed = read(0, begin.end)
    digits = checksum(framed, begin.offset + begin.crc_at)
    if digits != begin.crc:
        raise RecordingError("is damaged before its first events (its checksum differs)")
    framing.check_buffers(framed[begin.offset :], begin)
    # Decoded once here, so that no dictionary can fail later.
    opening = pa.ipc.open_stream(pa.py_buffer(framed)).read_next_batch()
    opening.validate(full=True)
    head = framed[: begin.offset]
    if len(head) > _MAX_HEAD:
        head = _without_metadata(head[: first.head], opening)
    metadata = dict(schema.metadata)
    return Preamble(head, schema.remove_metadata(), metadata, header, begin.end, digits)


def _without_metadata(schema: bytes, opening: pa.RecordBatch) -> bytes:
    """Return the head made anew without metadata: a header may have 16 MiB, batches are many."""
    if framing.little_endian(schema):  # Arrow has swapped the bytes of ``opening`` otherwise
        bare = pa.schema([field.remove_metadata() for field in opening.schema])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, bare) as stream:
            stream.write_batch(pa.RecordBatch.from_arrays(opening.columns, schema=bare))
        made: bytes = sink.getvalue().to_pybytes()
        messages = framing.messages(lambda at, size: made[at : at + size], 0, len(made))
        end = next(message.offset for message in messages if message.kind is MessageKind.BATCH)
        if end <= _MAX_HEAD:
            return made[:end]
    raise RecordingError("is damaged: its schema and dictionaries are too large")


def _header(schema: pa.Schema) -> Header:
    text = (schema.metadata or {}).get(framing.META_KEY)
    if text is None:
        raise RecordingError(
            "is an Arrow stream, but not a vmemscope recording; make one of a kernel's trace "
            "with: vmemscope import TRACE -o FILE"
        )
    header = Header.from_json(text)
    try:
        check_schema(schema)
    except ValueError as error:
        raise RecordingError(f"is no recording of format {header.format}: {error}") from error
    return header


def _opening_record(read: Pread, messages: Iterator[Message]) -> Message:
    for message in messages:
        if message.end > _MAX_PREAMBLE:
            raise FramingError(message.offset, "its dictionaries are too large")
        if message.kind is MessageKind.DICTIONARY and not message.delta:
            framing.check_buffers(read(message.offset, message.end - message.offset), message)
            continue
        if message.kind is MessageKind.BATCH and not message.rows and _begins(message):
            return message
        break
    raise RecordingError(
        "has a recording's header but no opening record: rewritten by another program, or "
        "damaged; use the original file"
    )


def _begins(message: Message) -> bool:
    try:
        return BatchMeta.from_json(message.metadata or b"").mark == "begin"
    except ValueError:
        return False
