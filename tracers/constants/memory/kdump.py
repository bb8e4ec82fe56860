# SPDX-License-Identifier: GPL-2.0-only
"""A compressed dump ("KDUMP   ", of makedumpfile or QEMU), read by physical addresses.

Pages packed by zlib, zstd and snappy are unpacked by what is there anyway; LZO's (makedumpfile -l,
which distributions' kdump uses) by liblzo2, where it is installed, as libkdumpfile does.
Promises: a page is unpacked to its own size and no further; what is damaged or was left out of the
dump is None; how much of the header's tables is read is capped and no more than the file has.

Source: makedumpfile's IMPLEMENTATION and diskdump_mod.h (struct disk_dump_header, kdump_sub_header,
page_desc), QEMU's include/sysemu/dump.h.
"""

import ctypes
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.constants.errors import ConstantsError

SIGNATURE: Final = b"KDUMP   "
_HEADER: Final = struct.Struct("<8sI390s22xIiiIIIIII")
_SUB_HEADER: Final = struct.Struct("<QiiQQQQQQQQQQQ")
_MACHINE: Final = slice(4 * 65, 5 * 65)  # in struct new_utsname
_DESC: Final = struct.Struct("<QIIQ")  # offset, size, flags, page flags
_BLOCKS: Final = (4096, 16384, 65536)
_BITMAP_CAP: Final = 128 << 20  # 4 TiB in pages of 4 KiB
_NOTE_CAP: Final = 1 << 20
_PAGES_KEPT: Final = 128
_GROUP: Final = 64  # bytes of the bitmap that are counted together
_ZLIB, _LZO, _SNAPPY, _ZSTD = 1, 2, 4, 32
_NO_LZO: Final = (
    "its pages are packed by LZO, and liblzo2 is not installed: install liblzo2-2 (Debian; lzo"
    " elsewhere; libkdumpfile brings it), or make it an ELF file with makedumpfile -E"
)

_Bytes = npt.NDArray[np.uint8]


class Kdump:
    """An open dump. ``vmcoreinfo``: the note's text, None where the dump has none."""

    def __init__(self, read_at: Callable[[int, int], bytes]) -> None:
        """Read the header; ``read_at``: (offset, size) of the file.

        Raises:
            ConstantsError: damaged, or of another machine; the text does not name the file.
        """
        self._read_at = read_at
        head = read_at(0, _HEADER.size)
        if len(head) < _HEADER.size:
            raise ConstantsError("ends inside its header")
        _, _, names, status, self._block, sub_blocks, bitmap_blocks, *_ = _HEADER.unpack(head)
        machine = names[_MACHINE].rstrip(b"\0").decode("ascii", "replace")
        if machine not in ("", "aarch64", "Unknown"):  # QEMU's
            raise ConstantsError(f"is of {machine[:20]!r}: give the dump of an arm64 kernel")
        if self._block not in _BLOCKS or not 0 < sub_blocks < 1 << 16:
            raise ConstantsError("a compressed dump with a damaged header")
        bitmap = bitmap_blocks // 2 * self._block
        if not 0 < bitmap <= _BITMAP_CAP:
            raise ConstantsError("a compressed dump with a damaged header")
        if status & _LZO and _liblzo() is None:
            raise ConstantsError(_NO_LZO)
        self.vmcoreinfo = self._note()
        start = (1 + sub_blocks) * self._block
        self._bits = np.frombuffer(read_at(start + bitmap, bitmap), np.uint8)
        counts = (
            np.bitwise_count(self._bits) if hasattr(np, "bitwise_count") else _counts(self._bits)
        )
        padded = np.append(counts, np.zeros(-len(counts) % _GROUP, np.uint8)).reshape(-1, _GROUP)
        self._before = np.append(0, np.cumsum(padded.sum(1, dtype=np.int64)))
        self._table = start + bitmap_blocks * self._block
        self._page = lru_cache(_PAGES_KEPT)(self._read_page)

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Return the physical memory that is in the dump as [start, end), ascending."""
        joined: list[tuple[int, int]] = []
        for first, last in self._runs():
            start, end = first * self._block, last * self._block
            if joined and joined[-1][1] == start:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((start, end))
        return tuple(joined)

    def read(self, address: int, size: int) -> bytes | None:
        """Return ``size`` bytes at a physical address; None: they are not all in the dump."""
        parts: list[bytes] = []
        while size > 0:
            number, ahead = divmod(address, self._block)
            page = self._page(number)
            if page is None:
                return None
            part = page[ahead : ahead + size]
            parts.append(part)
            address += len(part)
            size -= len(part)
        return b"".join(parts)

    def _runs(self) -> Iterator[list[int]]:
        """Yield the pages as [first, end), those of a piece of the bitmap at a time."""
        for at in range(0, len(self._bits), 1 << 20):
            there = np.unpackbits(self._bits[at : at + (1 << 20)], bitorder="little")
            edges = np.flatnonzero(np.diff(np.concatenate(([0], there, [0])).astype(np.int8)))
            yield from (edges.reshape(-1, 2) + at * 8).tolist()

    def _note(self) -> str | None:
        data = self._read_at(self._block, _SUB_HEADER.size)
        if len(data) < _SUB_HEADER.size:
            return None
        _, _, _, _, _, offset, size, *_ = _SUB_HEADER.unpack(data)
        if not offset or not size:
            return None
        return self._read_at(offset, min(size, _NOTE_CAP)).decode("utf-8", "backslashreplace")

    def _read_page(self, number: int) -> bytes | None:
        at, bit = divmod(number, 8)
        if at >= len(self._bits) or not self._bits[at] >> bit & 1:
            return None
        group = at // _GROUP
        rank = int(self._before[group])
        rank += sum(byte.bit_count() for byte in self._bits[group * _GROUP : at].tolist())
        rank += (int(self._bits[at]) & (1 << bit) - 1).bit_count()
        desc = self._read_at(self._table + rank * _DESC.size, _DESC.size)
        if len(desc) < _DESC.size:
            return None
        offset, size, flags, _ = _DESC.unpack(desc)
        if size > 2 * self._block:
            return None
        data = self._read_at(offset, size)
        return _unpacked(data, flags, self._block) if len(data) == size else None


def _counts(data: _Bytes) -> _Bytes:
    """Return how many bits each byte has (before NumPy 2)."""
    return np.array([byte.bit_count() for byte in range(256)], np.uint8)[data]


def _unpacked(data: bytes, flags: int, size: int) -> bytes | None:
    """Return a page of ``size`` bytes, None where it is damaged."""
    page: bytes | None = data
    if flags & _LZO:
        page = _lzo(data, size)
    elif flags & _ZLIB:
        page = None
        with suppress(zlib.error):
            page = zlib.decompressobj().decompress(data, size)
    elif flags & (_SNAPPY | _ZSTD):
        page = _by_arrow("snappy" if flags & _SNAPPY else "zstd", data, size)
    return page if page is not None and len(page) == size else None


def _by_arrow(codec: str, data: bytes, size: int) -> bytes | None:
    import pyarrow as pa  # noqa: PLC0415 (only where it is needed)

    try:
        page: bytes = pa.Codec(codec).decompress(data, decompressed_size=size, asbytes=True)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return page


def _lzo(data: bytes, size: int) -> bytes | None:
    library = _liblzo()
    if library is None:
        return None
    page = ctypes.create_string_buffer(size)
    length = ctypes.c_size_t(size)
    failed = library.lzo1x_decompress_safe(
        data, ctypes.c_size_t(len(data)), page, ctypes.byref(length), None
    )
    return None if failed or length.value != size else page.raw


@lru_cache(1)
def _liblzo() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("liblzo2.so.2")
    except OSError:
        return None
