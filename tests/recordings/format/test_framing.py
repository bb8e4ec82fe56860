# SPDX-License-Identifier: GPL-2.0-only
"""Splitting a stream into messages, compared with what pyarrow reads of the same stream."""

import io
import struct
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.format import framing
from recordings.format.framing import FramingError, MessageKind
from tests.recordings.made import rows, small
from tracers.events import SCHEMA

Read = tuple[list[framing.Message], FramingError | None]


def walk(data: bytes) -> Read:
    found = []
    try:
        for message in framing.messages(
            lambda offset, size: data[offset : offset + size], 0, len(data)
        ):
            found.append(message)  # noqa: PERF402 (the ones before the error count)
    except FramingError as error:
        return found, error
    return found, None


def stream(*counts: int, compression: str | None = "zstd", custom: bool = True) -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
        for count in counts:
            meta = {"vmemscope": b"{%d}" % count, "vmemscope:crc32": b"89abcdef"}
            writer.write_batch(rows(count), custom_metadata=meta if custom else None)
    return sink.getvalue()


STREAM = stream(1)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_places_are_pyarrows(compression):
    data = stream(3, 0, 1000, compression=compression)
    messages, error = walk(data)
    assert error is None
    reader = pa.MessageReader.open_stream(data)
    kinds = {
        "schema": MessageKind.SCHEMA,
        "dictionary": MessageKind.DICTIONARY,
        "record batch": MessageKind.BATCH,
    }
    offset = 0
    for message, theirs in zip(messages[:-1], reader, strict=True):
        body = theirs.body.size if theirs.body else 0
        assert (message.kind, message.offset, message.body) == (kinds[theirs.type], offset, body)
        assert message.head == 8 + theirs.metadata.size
        offset = message.end
    assert messages[-1].kind is MessageKind.END
    assert messages[-1].end == len(data)


def test_rows_and_custom_metadata():
    data = stream(3, 0, 1000)
    batches = [m for m in walk(data)[0] if m.kind is MessageKind.BATCH]
    assert [(m.rows, m.metadata, m.crc) for m in batches] == [
        (3, b"{3}", b"89abcdef"),
        (0, b"{0}", b"89abcdef"),
        (1000, b"{1000}", b"89abcdef"),
    ]
    for message in batches:
        start = message.offset + message.crc_at
        assert data[start : start + 8] == b"89abcdef"
    plain = [m for m in walk(stream(3, custom=False))[0] if m.kind is MessageKind.BATCH]
    assert [(m.rows, m.metadata, m.crc) for m in plain] == [(3, None, None)]


def test_every_cut_is_called_a_cut():
    data = stream(2, 1)
    whole = walk(data)[0]
    for size in range(len(data)):
        messages, error = walk(data[:size])
        assert error is not None
        assert error.cut
        assert messages == [m for m in whole if m.end <= size]


def test_impossible_sizes_are_refused_before_anything_is_read():
    reads = []

    def read(_offset: int, size: int) -> bytes:
        reads.append(size)
        return (framing.MARKER + struct.pack("<i", 0x7FFFFFF8))[:size]

    with pytest.raises(FramingError, match="impossible size"):
        list(framing.messages(read, 0, 1 << 40))
    assert max(reads) <= 4096


@given(st.integers(0, 1100), st.binary(max_size=400))
def test_any_head_gives_a_message_or_a_framing_error(keep, noise):
    # Real bytes first, so that the noise meets every depth of the parse.
    batch = walk(STREAM)[0][4]
    head = STREAM[batch.offset + 8 : batch.offset + batch.head][:keep] + noise
    head += bytes(-len(head) % 8)
    data = framing.MARKER + struct.pack("<i", len(head)) + head
    messages, error = walk(data + bytes(4096))
    assert error is not None or messages


def test_random_damage_in_a_head_is_a_message_or_a_framing_error():
    data = stream(2)
    for message in walk(data)[0]:
        for at in range(message.offset, message.offset + message.head):
            for value in (0, 1, 0x7F, 0x80, 0xFF):
                broken = data[:at] + bytes([value]) + data[at + 1 :]
                for parsed in walk(broken)[0]:
                    if parsed.kind in {MessageKind.BATCH, MessageKind.DICTIONARY}:
                        try:
                            framing.check_buffers(broken[parsed.offset : parsed.end], parsed)
                        except FramingError as error:
                            assert str(error)  # noqa: PT017 (either outcome is fine, no other)


def test_vtable_before_the_message_is_malformed():
    data = bytearray(stream(1))
    root = 8 + struct.unpack_from("<I", data, 8)[0]
    struct.pack_into("<i", data, root, root + 64)  # 64 bytes before the first
    messages, error = walk(bytes(data))
    assert not messages
    assert "malformed" in str(error)


def test_announced_sizes_are_bounded(tmp_path: Path):
    small(tmp_path / "a.arrows")
    data = (tmp_path / "a.arrows").read_bytes()
    message = next(m for m in walk(data)[0] if m.kind is MessageKind.BATCH and m.rows)
    whole = bytearray(data[message.offset : message.end])
    framing.check_buffers(bytes(whole), message)
    # The first buffer of ours is ts_ns' (no validity): its announced size opens the body.
    assert struct.unpack_from("<q", whole, message.head)[0] in (-1, 8 * message.rows)
    for size, what in ((1 << 40, "refused"), (-2, "malformed")):
        struct.pack_into("<q", whole, message.head, size)
        with pytest.raises(FramingError, match=what):
            framing.check_buffers(bytes(whole), message)
