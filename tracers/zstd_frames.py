# SPDX-License-Identifier: GPL-2.0-only
"""Finds the frames of zstd data, and what a decoder of ordinary means refuses in them.

Promises: the bytes of all frames that hold data are given on, as they are; skippable frames
(pzstd, seekable zstd) and padding are left out. Only sizes are looked at: a block that makes no
sense is the decoder's to report.

Source: RFC 8878, section 3.
"""

from collections.abc import Callable, Iterator
from typing import Final

from tracers.errors import VmemscopeError

MAGIC: Final = b"\x28\xb5\x2f\xfd"
#: What zstd's own decoder takes unless told otherwise (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
MOST_WINDOW: Final = 128 << 20
_SKIPPABLE: Final = b"\x2a\x4d\x18"  # behind a first byte of 0x50 to 0x5f
_LONGEST_HEADER: Final = 18
_RLE: Final = 1  # a block that is one byte, many times
_PIECE: Final = 256 << 10


class FrameError(VmemscopeError):
    """A frame that is as it should be, and that we cannot unpack; the message says how to."""


def is_skippable(magic: bytes) -> bool:
    """Return whether a frame that begins so holds no data."""
    return magic[1:4] == _SKIPPABLE and magic[0] >> 4 == 5


def frames(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the bytes of the frames with data in what ``read`` gives, up to the end.

    Raises:
        FrameError: a window or a dictionary that is not there.
        EOFError: something else than a frame, or a skippable one that is cut short.
        OSError: ``read`` raised it.
    """
    source = _Source(read)
    while magic := source.peek(len(MAGIC)):
        if magic[:1] == b"\0":
            source.drop_padding()
        elif is_skippable(magic):
            head = source.take(8)
            source.skip(int.from_bytes(head[4:], "little") if len(head) == 8 else 1)
        elif MAGIC.startswith(magic):
            yield from _frame(source)
        else:
            raise EOFError


def _frame(source: "_Source") -> Iterator[bytes]:
    size, checksum = _header(source.peek(_LONGEST_HEADER))
    yield source.take(size)
    last = False
    while not last and (header := source.take(3)):
        word = int.from_bytes(header, "little")
        last = bool(word & 1)
        yield header
        yield source.take(1 if word >> 1 & 3 == _RLE else word >> 3)
    yield source.take(checksum)


def _header(data: bytes) -> tuple[int, int]:
    """Return the size of a frame's header, and of the checksum behind its blocks."""
    flags = data[4] if len(data) > 4 else 0
    single = flags >> 5 & 1  # segment: as large a window as the content
    dictionary = 5 + (not single)
    content = dictionary + (0, 1, 2, 4)[flags & 3]
    size = content + (single, 2, 4, 8)[flags >> 6]
    if len(data) >= size:
        if any(data[dictionary:content]):
            raise FrameError("packed with a dictionary; unpack it first, with that (zstd -d -D)")
        window = int.from_bytes(data[content:size], "little") + 256 * (flags >> 6 == 1)
        if not single:
            window = (1 << 10 + (data[5] >> 3)) // 8 * (8 + (data[5] & 7))
        if window > MOST_WINDOW:
            raise FrameError(
                f"packed with a window of {window >> 20} MiB, and {MOST_WINDOW >> 20} is what is"
                f" unpacked here; unpack it first (zstd -d --long={(window - 1).bit_length()})"
            )
    return size, 4 * (flags >> 2 & 1)


class _Source:
    """Bytes that can be looked at before they are taken."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._data = b""
        self._at = 0

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end."""
        while len(self._data) - self._at < size and (more := self._read(_PIECE)):
            self._data = self._data[self._at :] + more
            self._at = 0
        return self._data[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end, and be behind them."""
        data = self.peek(size)
        self._at += len(data)
        return data

    def skip(self, size: int) -> None:
        """Be ``size`` bytes further on. Raises ``EOFError`` where they are not there."""
        while size:
            if not (data := self.take(min(size, _PIECE))):
                raise EOFError
            size -= len(data)

    def drop_padding(self) -> None:
        """Be behind the zeros that come next."""
        while self.peek(1) == b"\0":
            rest = self._data[self._at :]
            self._at += len(rest) - len(rest.lstrip(b"\0"))
