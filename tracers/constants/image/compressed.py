# SPDX-License-Identifier: GPL-2.0-only
"""Unpacks a compressed kernel: gzip, zstd, xz, lzma, and the payload of an EFI zboot image.

Promises: unpacked piece by piece into an unnamed temporary file, never into memory; a bomb stops
at a cap set by the size of the packed file. What follows the packed data (a device tree, padding)
is left alone.

Source: drivers/firmware/efi/libstub/zboot-header.S (a050910972bb, 6.1), Documentation/arch/arm64/
booting.rst.
"""

import os
import struct
from typing import Final

from tracers import packed
from tracers.constants.errors import ConstantsError
from tracers.constants.image.file_bytes import FileBytes

#: No kernel is larger than this.
SIZE_CAP: Final = 2 << 30
_ZBOOT_NAMES: Final = {"gzip": "gz", "zstd": "zst", "xz": "xz", "lzma": "lzma"}
_ZBOOT: Final = struct.Struct("<4s4sII8x32s")


def packing(head: bytes, origin: str) -> str | None:
    """Return how the file beginning with ``head`` is packed: gz, zst, xz, lzma, or None.

    Raises:
        ConstantsError: packed in a way we cannot unpack.
    """
    try:
        return packed.packing(head)
    except packed.PackedError as error:
        raise ConstantsError(f"{origin}: {error}") from error


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


def unpack(source: FileBytes, kind: str, origin: str) -> FileBytes:
    """Return the unpacked content of ``source``, packed as ``kind``, as a source of its own.

    Raises:
        ConstantsError: damaged, cut short, larger than a kernel can be, or no room for it.
    """
    at = 0

    def read(size: int) -> bytes:
        nonlocal at
        data = source.read(at, size)
        at += len(data)
        return data

    cap = min(SIZE_CAP, packed.capped(source.size))
    try:
        file, size = packed.spool(packed.unpacked(read, kind), lambda: cap)
    except packed.PackedError as error:
        raise ConstantsError(f"{origin}: {error}") from error
    except OSError as error:
        raise ConstantsError(f"{origin}: cannot be unpacked: {error.strerror or error}") from error
    with file:
        return FileBytes(os.dup(file.fileno()), size)
