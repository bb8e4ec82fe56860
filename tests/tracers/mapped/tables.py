# SPDX-License-Identifier: GPL-2.0-only
"""Makes page tables in a memory of our own, entry by entry, as the Arm ARM writes them."""

import struct
from dataclasses import dataclass, field

TABLE, PAGE, BLOCK = 3, 3, 1
NORMAL_INDEX, DEVICE_INDEX = 0, 4
ROOT = 0x4000_0000


@dataclass
class Memory:
    """Physical memory in pages; ``reads`` counts what was asked for."""

    page_size: int
    pages: dict[int, bytearray] = field(default_factory=dict)
    reads: int = 0

    def read_physical(self, pa: int, size: int) -> bytes | None:
        self.reads += 1
        base, at = pa // self.page_size * self.page_size, pa % self.page_size
        page = self.pages.get(base)
        if page is None or at + size > self.page_size:
            return None
        return bytes(page[at : at + size])

    def put(self, pa: int, entry: int) -> None:
        base, at = pa // self.page_size * self.page_size, pa % self.page_size
        page = self.pages.setdefault(base, bytearray(self.page_size))
        struct.pack_into("<Q", page, at, entry)

    def get(self, pa: int) -> int:
        data = self.read_physical(pa, 8)
        return int.from_bytes(data, "little") if data else 0


class Builder:
    """Maps addresses one at a time. ``wide``: with TCR_EL1.DS."""

    def __init__(self, page_size: int, bits: int, *, wide: bool = False) -> None:
        self.memory = Memory(page_size)
        self.shift = page_size.bit_length() - 1
        self.page_size, self.bits, self.wide = page_size, bits, wide
        self.stride = self.shift - 3
        self.levels = (bits - self.shift + self.stride - 1) // self.stride
        # above 48 bits of output address, where those formats can say so
        self.free = ROOT + page_size if bits < 52 else 0xF_0000_4000_0000
        self.memory.pages[ROOT] = bytearray(page_size)

    def encode(self, pa: int) -> int:
        if self.page_size == 1 << 16:
            return (pa & 0xFFFF_FFFF_0000) | (pa >> 48 & 0xF) << 12
        if self.wide:
            return (pa & ((1 << 50) - self.page_size)) | (pa >> 50 & 3) << 8
        return pa

    def map(self, va: int, pa: int, level: int = 0, *, index: int = NORMAL_INDEX) -> None:
        """Map one entry of ``level`` (0: a page); ``va`` is a multiple of what it maps."""
        table = ROOT
        for at in reversed(range(level + 1, self.levels)):
            place = table + 8 * self._index(va, at)
            entry = self.memory.get(place)
            if not entry & 1:
                below = self.free
                self.free += self.page_size
                self.memory.pages[below] = bytearray(self.page_size)
                self.memory.put(place, self.encode(below) | TABLE)
                table = below
            else:
                table = self._decode(entry)
        kind = BLOCK if level else PAGE
        self.memory.put(
            table + 8 * self._index(va, level), self.encode(pa) | index << 2 | 1 << 10 | kind
        )

    def size(self, level: int) -> int:
        return 1 << (self.shift + level * self.stride)

    def _index(self, va: int, level: int) -> int:
        width = self.stride
        if level == self.levels - 1:
            width = self.bits - self.shift - level * self.stride
        return va >> (self.shift + level * self.stride) & ((1 << width) - 1)

    def _decode(self, entry: int) -> int:
        if self.page_size == 1 << 16:
            return (entry & 0xFFFF_FFFF_0000) | (entry >> 12 & 0xF) << 48
        if self.wide:
            return (entry & ((1 << 50) - self.page_size)) | (entry >> 8 & 3) << 50
        return entry & ((1 << 48) - self.page_size)
