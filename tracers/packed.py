# SPDX-License-Identifier: GPL-2.0-only
"""Unpacks gzip, zstd, xz and lzma: of logs and of kernels, piece by piece.

Promises: flat memory whatever the size; what stands on disk unpacked is capped, so that a bomb
ends there, and leaves room for others; damage and a cut are one error, and what came before it was
given. What is packed well, but needs more memory to unpack than we take, is another error.
"""

import lzma
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import BinaryIO, Final

from tracers.errors import VmemscopeError
from tracers.zstd_frames import MAGIC, FrameError, frames, is_skippable

PIECE: Final = 256 << 10
_SMALL: Final = 4 << 10  # of zstd: pyarrow drops the piece under way when it finds the damage
_XZ_MEMORY: Final = 256 << 20  # xz -9 needs 65 MiB, --extreme no more
#: Nothing we spool packs better than this: a debug vmlinux about 6:1.
RATIO_CAP: Final = 64
#: What small files may unpack to.
FLOOR: Final = 64 << 20
#: The most that is put into a temporary file, if that leaves half of the free room.
SPOOL_CAP: Final = 4 << 30
MAGIC_BYTES: Final = 6
_GZIP, _XZ, _LZMA = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x5d\0\0"
_MAGICS: Final = ((_GZIP, "gz"), (MAGIC, "zst"), (_XZ, "xz"), (_LZMA, "lzma"))
_UNSUPPORTED: Final = (
    (b"BZh", "bzip2", "bunzip2"),
    (b"\x02\x21\x4c\x18", "lz4", "lz4 -d"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
    (b"\x89LZO", "lzo", "lzop -d"),
    *((bytes([first]) + MAGIC[1:], "zstd 0.7 or older", "zstd -d") for first in range(0x1E, 0x28)),
)
#: Gives the next bytes, at most as many as asked for; b"" at the end.
Read = Callable[[int], bytes]


class PackedError(VmemscopeError):
    """Packed data that cannot be unpacked; the message does not name the file."""


class DamagedError(PackedError):
    """Packed data that is damaged or cut short."""


def packing(head: bytes) -> str | None:
    """Return how what begins with ``head`` is packed: gz, zst, xz, lzma, or None.

    Raises:
        PackedError: in a way we cannot unpack.
    """
    if is_skippable(head):
        return "zst"
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    for magic, name, command in _UNSUPPORTED:
        if head.startswith(magic):
            raise PackedError(
                f"packed with {name}, which is not supported; unpack it first ({command})"
            )
    return None


def unpacked(read: Read, packed: str) -> Iterator[bytes]:
    """Yield the unpacked content of ``read``'s bytes, of several members one after the other.

    What follows the packed data (padding, a device tree) is left alone.

    Raises:
        DamagedError: damaged or cut short.
        PackedError: it takes too much memory to unpack.
        OSError: ``read`` raised it.
    """
    unpack = {"gz": _inflate, "zst": _zstd, "xz": _xz, "lzma": _lzma}[packed]
    try:
        yield from unpack(read)
    except FrameError as error:
        raise PackedError(str(error)) from error
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        if "limit" in str(error):  # lzma has no other sign of it
            raise PackedError(
                f"packed with a dictionary that takes more than {_XZ_MEMORY >> 20} MiB of memory;"
                " unpack it first (xz -d)"
            ) from error
        raise DamagedError(f"damaged or cut short ({packed} data)") from error


def spool(pieces: Iterable[bytes], cap: Callable[[], int]) -> tuple[BinaryIO, int]:
    """Write the pieces to an unnamed temporary file; return it and how many bytes it holds.

    ``cap``: how many bytes it may become; asked again for each piece. It never takes more than
    ``SPOOL_CAP``, nor than half of the room there is.

    Raises:
        PackedError: it would.
        OSError: no room after all.
    """
    total = 0
    with ExitStack() as opened:
        file = opened.enter_context(tempfile.TemporaryFile(buffering=0))
        system = os.statvfs(file.fileno())
        room = system.f_bavail * system.f_frsize // 2
        for piece in pieces:
            total += len(piece)
            if total > (most := min(cap(), SPOOL_CAP, room)):
                why = f", half of the free room in {tempfile.gettempdir()}" if most == room else ""
                raise PackedError(
                    f"takes more than {most >> 20} MiB unpacked{why}: make it a file first, and"
                    " give that"
                )
            left = memoryview(piece)
            while left:
                left = left[file.write(left) :]
        opened.pop_all()  # the caller's to close
    return file, total


def capped(size: int) -> int:
    """Return how many bytes ``size`` packed ones may unpack to."""
    return max(FLOOR, RATIO_CAP * size)


def _filled(data: bytes, size: int, read: Read) -> bytes:
    """Return at least ``size`` of the next bytes behind any padding, fewer at the end."""
    data = data.lstrip(b"\0")
    while len(data) < size and (more := read(PIECE)):
        data = (data + more).lstrip(b"\0")
    return data


def _inflate(read: Read) -> Iterator[bytes]:
    data = _filled(b"", len(_GZIP), read)
    while data.startswith(_GZIP):  # else padding, or what was put behind: gzip ignores both
        unpacker = zlib.decompressobj(wbits=31)
        while not unpacker.eof:
            if not data and not (data := read(PIECE)):
                raise EOFError
            yield unpacker.decompress(data, PIECE)
            data = unpacker.unconsumed_tail
        data = _filled(unpacker.unused_data, len(_GZIP), read)


def _xz(read: Read) -> Iterator[bytes]:
    data = _filled(b"", len(_XZ), read)
    while data.startswith(_XZ):
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        yield from _member(unpacker, data, read)
        data = _filled(unpacker.unused_data, len(_XZ), read)


def _lzma(read: Read) -> Iterator[bytes]:
    yield from _member(lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_XZ_MEMORY), b"", read)


def _member(unpacker: lzma.LZMADecompressor, data: bytes, read: Read) -> Iterator[bytes]:
    while not unpacker.eof:
        if unpacker.needs_input and not data and not (data := read(PIECE)):
            raise EOFError
        yield unpacker.decompress(data, PIECE)
        data = b""


def _zstd(read: Read) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415 - 50 ms and 30 MB that the others do not need

    source = _Reader(frames(read))
    try:
        with (
            pa.PythonFile(source, mode="r") as file,
            pa.CompressedInputStream(file, "zstd") as stream,
        ):
            while piece := stream.read(_SMALL):
                yield piece
    except (pa.ArrowException, OSError, FrameError, EOFError) as error:
        # pyarrow reports damaged data as OSError, and so hides one of the source.
        raise source.failure or EOFError from error


class _Reader:
    """The little of a Python file that pyarrow needs."""

    closed = False

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.failure: OSError | FrameError | EOFError | None = None

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        try:
            while not self._rest and (piece := next(self._pieces, None)) is not None:
                self._rest = piece
        except (OSError, FrameError, EOFError) as error:
            self.failure = error
            raise
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def close(self) -> None:
        """Be done; the source stays open."""
        self.closed = True
