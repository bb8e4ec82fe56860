# SPDX-License-Identifier: GPL-2.0-only
"""Unpacks a compressed kernel: gzip, zstd, xz, lzma, and the payload of an EFI zboot image.

Promises: unpacked piece by piece into an unnamed temporary file, never into memory; a bomb stops
at a cap set by the size of the packed file. What follows the packed data (a device tree, padding)
is left alone.

Source: drivers/firmware/efi/libstub/zboot-header.S (a050910972bb, 6.1), Documentation/arch/arm64/
booting.rst.
"""

import lzma
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from typing import Final

from tracers.constants.errors import ConstantsError
from tracers.constants.image.file_bytes import FileBytes

_PIECE: Final = 1 << 18
#: No kernel is larger than this, and none packs better than this: a debug vmlinux about 6:1.
SIZE_CAP: Final = 2 << 30
RATIO_CAP: Final = 64
_FLOOR: Final = 64 << 20
_XZ_MEMORY: Final = 256 << 20  # xz -9 needs 65 MiB, --extreme no more
_MAGICS: Final = (
    (b"\x1f\x8b", "gz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x5d\0\0", "lzma"),
)
_UNSUPPORTED: Final = (
    (b"BZh", "bzip2", "bunzip2"),
    (b"\x02\x21\x4c\x18", "lz4", "lz4 -d"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
    (b"\x89LZO", "lzo", "lzop -d"),
)
_ZBOOT_NAMES: Final = {"gzip": "gz", "zstd": "zst", "xz": "xz", "lzma": "lzma"}
_ZBOOT: Final = struct.Struct("<4s4sII8x32s")


def packing(head: bytes, origin: str) -> str | None:
    """Return how the file beginning with ``head`` is packed: gz, zst, xz, lzma, or None.

    Raises:
        ConstantsError: packed in a way we cannot unpack.
    """
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    for magic, name, command in _UNSUPPORTED:
        if head.startswith(magic):
            raise ConstantsError(
                f"{origin}: packed with {name}, which is not supported; unpack it first ({command})"
            )
    return None


def zboot(head: bytes, source: FileBytes, origin: str) -> tuple[FileBytes, str] | None:
    """Return the payload of an EFI zboot image and its packing, None if ``head`` is not one's.

    Raises:
        ConstantsError: damaged, or packed in a way we cannot unpack.
    """
    if len(head) < _ZBOOT.size or not (head.startswith(b"MZ") and head[4:8] == b"zimg"):
        return None
    _, _, offset, size, kind = _ZBOOT.unpack_from(head)
    name = kind.split(b"\0", 1)[0].decode("ascii", "backslashreplace")
    if name not in _ZBOOT_NAMES:
        raise ConstantsError(
            f"{origin}: an EFI zboot image packed with {name!a}, which is not supported;"
            " give the vmlinux or Image it was made of"
        )
    if offset + size > source.size or not size:
        raise ConstantsError(f"{origin}: an EFI zboot image cut short")
    return source.part(offset, size), _ZBOOT_NAMES[name]


def unpack(source: FileBytes, packed: str, origin: str) -> FileBytes:
    """Return the unpacked content of ``source`` as a source of its own.

    Raises:
        ConstantsError: damaged, cut short, larger than a kernel can be, or no room for it.
    """
    cap = min(SIZE_CAP, max(_FLOOR, RATIO_CAP * source.size))
    total = 0
    try:
        with tempfile.TemporaryFile() as file:
            for piece in _pieces(source, packed):
                total += len(piece)
                if total > cap:
                    raise ConstantsError(
                        f"{origin}: unpacks to more than {cap >> 20} MiB: no kernel is that large"
                    )
                file.write(piece)
            file.flush()
            return FileBytes(os.dup(file.fileno()), total)
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise ConstantsError(f"{origin}: damaged or cut short ({packed} data)") from error
    except OSError as error:
        # pyarrow reports damaged zstd data as OSError without a number.
        reason = error.strerror if error.errno else f"damaged or cut short ({packed} data)"
        raise ConstantsError(f"{origin}: cannot be unpacked: {reason}") from error


def _pieces(source: FileBytes, packed: str) -> Iterator[bytes]:
    if packed == "zst":
        return _zstd(source)
    if packed == "gz":
        return _inflate(source)
    return _lzma(source, packed)


def _inflate(source: FileBytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    at = 0
    data = b""
    while not unpacker.eof:
        if not data:
            data = source.read(at, _PIECE)
            at += len(data)
            if not data:
                raise EOFError
        yield unpacker.decompress(data, _PIECE)
        data = unpacker.unconsumed_tail


def _lzma(source: FileBytes, packed: str) -> Iterator[bytes]:
    form = lzma.FORMAT_XZ if packed == "xz" else lzma.FORMAT_ALONE
    unpacker = lzma.LZMADecompressor(form, memlimit=_XZ_MEMORY)
    at = 0
    while not unpacker.eof:
        data = b""
        if unpacker.needs_input:
            data = source.read(at, _PIECE)
            at += len(data)
            if not data:
                raise EOFError
        yield unpacker.decompress(data, _PIECE)


def _zstd(source: FileBytes) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415 - 50 ms and 30 MB the other files do not need

    try:
        with (
            pa.PythonFile(_Reader(source), mode="r") as raw,
            pa.CompressedInputStream(raw, "zstd") as stream,
        ):
            while piece := stream.read(_PIECE):
                yield piece
    except pa.ArrowException as error:
        raise EOFError from error


class _Reader:
    """The little of a Python file that pyarrow needs."""

    closed = False

    def __init__(self, source: FileBytes) -> None:
        self._source = source
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._source.read(self._at, _PIECE if size < 0 else size)
        self._at += len(data)
        return data

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def close(self) -> None:
        """Be done; the source stays open."""
        self.closed = True
