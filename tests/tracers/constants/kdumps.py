# SPDX-License-Identifier: GPL-2.0-only
"""Builds compressed dumps as makedumpfile lays them out, and flattened ones."""

import struct
import zlib
from collections.abc import Callable, Collection, Iterable

import pyarrow as pa

#: Flag of a page, and what packs it.
CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "raw": (0, bytes),
    "zlib": (1, zlib.compress),
    "snappy": (4, lambda page: pa.Codec("snappy").compress(page, asbytes=True)),
    "zstd": (32, lambda page: pa.Codec("zstd").compress(page, asbytes=True)),
}


def kdump(
    memory: bytes,
    start: int,
    *,
    codec: str = "zlib",
    block: int = 4096,
    text: str = "",
    left_out: Collection[int] = (),
    machine: bytes = b"aarch64",
) -> bytes:
    """A dump of ``memory`` at physical ``start``, without the pages numbered in ``left_out``."""
    flag, pack = CODECS[codec]
    first = start // block
    pages = [page for page in range(len(memory) // block) if page not in left_out]
    bits = bytearray((first + len(memory) // block + 7) // 8)
    for page in pages:
        bits[(first + page) // 8] |= 1 << (first + page) % 8
    blocks = -(-len(bits) // block)
    bitmap = bytes(bits).ljust(blocks * block, b"\0")
    names = b"Linux".ljust(4 * 65, b"\0") + machine.ljust(2 * 65, b"\0")
    head = struct.pack("<8si", b"KDUMP   ", 6) + names + bytes(22)
    head += struct.pack("<IiiIIIIII", flag, block, 1, 2 * blocks, len(bits) * 8, 0, 0, 0, 0)
    table = (2 + 2 * blocks) * block
    note_at = table + 24 * len(pages)
    sub = bytearray(104)
    if text:
        struct.pack_into("<QQ", sub, 32, note_at, len(text))
    at = note_at + len(text)
    descs, parts = b"", []
    for page in pages:
        packed = pack(memory[page * block : (page + 1) * block])
        descs += struct.pack("<QIIQ", at, len(packed), flag, 0)
        parts.append(packed)
        at += len(packed)
    return b"".join(
        [
            head.ljust(block, b"\0"),
            bytes(sub).ljust(block, b"\0"),
            bitmap,
            bitmap,
            descs,
            text.encode(),
            *parts,
        ]
    )


def flattened(pieces: Iterable[tuple[int, bytes]]) -> bytes:
    """What makedumpfile -F writes: pieces of a file with their offsets."""
    head = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")
    rows = [struct.pack(">qq", offset, len(data)) + data for offset, data in pieces]
    return head + b"".join(rows) + struct.pack(">qq", -1, -1)
