# SPDX-License-Identifier: GPL-2.0-only
"""Walks a kernel's own page tables, through any file that shows its physical memory.

A stock kernel has no kernel_page_tables (CONFIG_PTDUMP_DEBUGFS), but its tables lie in its memory,
and VMCOREINFO says where: swapper_pg_dir.

Promises: a level follows the next higher one, so that a table that points at itself ends after
five; at most ``TABLES_CAP`` bytes of tables are read. What cannot be read, or is none of the forms
that a descriptor has, is ``unseen``, never "not mapped".

Source: the Arm ARM, see ``tracers.constants.memory.descriptors``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from tracers.constants.errors import ConstantsError
from tracers.constants.memory.descriptors import Tables, is_leaf
from tracers.families import MASK
from tracers.machine_files import number
from tracers.mapped.mappings import DEVICE, NORMAL, U64, Mappings
from tracers.window import Window

#: Tables of so many bytes are read at most, beside the linear map's: vmalloc of 64 GiB has 128 MiB.
TABLES_CAP: Final = 256 << 20
_UNSEEN_AT_MOST: Final = 256  # ranges that could not be seen; beyond it: nothing was
_AT_ONCE: Final = 4 << 20  # bytes of tables looked at together
_VALID: Final = np.uint64(1)
_TYPE: Final = np.uint64(3)
_ATTRIBUTES: Final = np.uint64(0b11100)  # AttrIndx: a row of MAIR_EL1


class PhysicalMemory(Protocol):
    """A file that shows physical memory."""

    def read_physical(self, pa: int, size: int) -> bytes | None:
        """Return ``size`` bytes at ``pa``; None where there is no such memory in it."""
        ...


@dataclass(frozen=True, slots=True)
class Translation:
    """Where an address is mapped to: the entry's physical address, its bytes and attributes."""

    physical: int
    size: int  # of what the entry maps, from ``physical`` on
    attributes: int


@dataclass(slots=True)
class _Found:
    """What a walk gathers."""

    first: list[U64]
    size: list[U64]
    attributes: list[U64]
    unseen: list[tuple[int, int]]
    bytes_read: int = 0
    over: bool = False


class PageTables:
    """The tables of a kernel; ``root``: the physical address of swapper_pg_dir."""

    def __init__(self, memory: PhysicalMemory, root: int, made: Tables) -> None:
        self._memory = memory
        self._root = root
        self._made = made
        self._bits = made.bits
        self._normal: int | None = None  # the attributes that normal memory has

    @classmethod
    def of(
        cls, memory: PhysicalMemory, notes: Mapping[str, str], window: Window | None
    ) -> "PageTables":
        """Return the tables of the kernel whose VMCOREINFO ``notes`` are.

        Raises:
            ConstantsError: the note or the window does not say where and how they are.
        """
        values = [
            number("0x" + notes.get(key, "").removeprefix("0x"))
            for key in ("SYMBOL(swapper_pg_dir)", "NUMBER(kimage_voffset)", "SYMBOL(_stext)")
        ]
        root, offset, text = values
        if root is None or offset is None:
            raise ConstantsError("VMCOREINFO does not say where swapper_pg_dir is in memory")
        if window is None:
            raise ConstantsError("the window is not known, so neither are the bits in use")
        page, bits = window.page_size, window.vabits_actual
        if bits is None and len(window.bits_possible) == 1:
            bits = window.va_bits
        if page is None or bits is None:
            raise ConstantsError("the page size or the bits in use are not known")
        made = Tables.of(page, window.va_bits or bits, bits)
        tables = cls(memory, (root - offset) & MASK, made)
        where = tables.translate(text) if text is not None else None
        tables._normal = where.attributes if where else None
        return tables

    def translate(self, addr: int) -> Translation | None:
        """Return where ``addr`` is mapped to, None if it is not, or its tables cannot be read."""
        table, made = self._root, self._made
        for level in reversed(range(made.levels)):
            data = self._memory.read_physical(table + 8 * made.index(addr, level), 8)
            if data is None:
                return None
            entry = int.from_bytes(data, "little")
            if is_leaf(entry, level):
                size = 1 << made.reach(level)
                base = made.output(entry) & ~(size - 1)
                ahead = addr & (size - 1)
                return Translation(base + ahead, size - ahead, entry & int(_ATTRIBUTES))
            if not level or entry & 3 != 3:
                return None
            table = made.output(entry)
        return None

    def read(self, addr: int, size: int) -> bytes | None:
        """Return ``size`` bytes at kernel address ``addr``; None if not all of them are there."""
        parts: list[bytes] = []
        while size > 0:
            where = self.translate(addr)
            take = min(size, where.size if where else 0, 1 << 20)
            data = self._memory.read_physical(where.physical, take) if where and take else None
            if data is None:
                return None
            parts.append(data)
            addr, size = addr + take, size - take
        return b"".join(parts)

    def mapped(self, ranges: Iterable[tuple[int, int]]) -> Mappings:
        """Return what is mapped of ``ranges``, (start, size) of kernel addresses each.

        Addresses of the user half are looked up as the kernel's own tables have them: by their low
        bits, which is where vmemmap_populate() puts what has wrapped.
        """
        wanted = self._wanted(ranges)
        found = _Found([], [], [], [])
        base = np.array([(MASK >> self._bits << self._bits) & MASK], np.uint64)
        self._walk(self._made.levels - 1, base, np.array([self._root], np.uint64), wanted, found)
        first = np.concatenate([np.empty(0, np.uint64), *found.first])
        size = np.concatenate([np.empty(0, np.uint64), *found.size])
        attributes = np.concatenate([np.empty(0, np.uint64), *found.attributes])
        kind = np.full(len(first), NORMAL, np.uint8)
        if self._normal is not None:
            kind[attributes != np.uint64(self._normal)] = DEVICE
        every = Mappings.of(first, first + (size - np.uint64(1)), kind, found.unseen)
        cut = [every.within(start, last - start + 1) for start, last in wanted]
        return Mappings.all_of(cut, found.unseen)

    def _walk(
        self,
        level: int,
        bases: U64,
        tables: U64,
        wanted: Sequence[tuple[int, int]],
        found: _Found,
    ) -> None:
        """Look at the tables of a level: ``bases`` is what their first entries translate."""
        entries, reach = self._made.entries(level), self._made.reach(level)
        step = max(1, _AT_ONCE // (8 * entries))
        for begin in range(0, len(tables), step):
            part = slice(begin, begin + step)
            base, content = self._read_tables(bases[part], tables[part], level, found)
            if not len(base):
                continue
            addr = base[:, None] + (np.arange(entries, dtype=np.uint64) << np.uint64(reach))
            entry, addr = content.ravel(), addr.ravel()
            chosen = (entry & _VALID).astype(np.bool_)
            chosen &= _touching(addr, reach, wanted)
            entry, addr = entry[chosen], addr[chosen]
            leaf, below = self._told(entry, level)
            for odd in addr[~leaf & ~below][: _UNSEEN_AT_MOST + 1].tolist():  # no descriptor: torn
                self._not_seen(found, odd, 1 << reach)
            found.first.append(addr[leaf])
            found.size.append(np.full(int(leaf.sum()), 1 << reach, np.uint64))
            found.attributes.append(entry[leaf] & _ATTRIBUTES)
            if below.any():
                self._walk(level - 1, addr[below], self._made.output(entry[below]), wanted, found)

    def _read_tables(
        self, bases: U64, tables: U64, level: int, found: _Found
    ) -> tuple[U64, npt.NDArray[np.uint64]]:
        size, reach = 8 * self._made.entries(level), self._made.reach(level)
        kept: list[int] = []
        content: list[bytes] = []
        for index, table in enumerate(tables.tolist()):
            data = None
            if found.bytes_read + size <= TABLES_CAP:
                data = self._memory.read_physical(table, size)
                found.bytes_read += size
            else:
                found.over = True
            if data is None:
                self._not_seen(found, int(bases[index]), self._made.entries(level) << reach)
                continue
            kept.append(index)
            content.append(data)
        whole = np.frombuffer(b"".join(content), "<u8").reshape(
            len(kept), self._made.entries(level)
        )
        return bases[kept], whole.astype(np.uint64, copy=False)

    def _not_seen(self, found: _Found, start: int, size: int) -> None:
        if len(found.unseen) >= _UNSEEN_AT_MOST:
            found.unseen[:] = [(MASK >> self._bits << self._bits, 1 << self._bits)]
        else:
            found.unseen.append((start, size))

    def _told(self, entry: U64, level: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Say of each entry whether it maps memory, and whether it points to a lower table."""
        kind = entry & _TYPE
        if not level:
            return kind == _TYPE, np.zeros(len(entry), np.bool_)
        return kind == _VALID, kind == _TYPE

    def _wanted(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return ``ranges`` as the tables see them: (first, last), in order, disjoint."""
        floor = MASK >> self._bits << self._bits
        pieces: list[tuple[int, int]] = []
        for start, size in ranges:
            if size <= 0:
                continue
            if size >= 1 << self._bits:
                return [(floor, MASK)]
            first = (start & MASK) | floor
            last = first + size - 1
            pieces.append((first, min(last, MASK)))
            if last > MASK:
                pieces.append((floor, floor + (last - MASK - 1)))
        out: list[tuple[int, int]] = []
        for first, last in sorted(pieces):
            if out and first <= out[-1][1] + 1:
                out[-1] = (out[-1][0], max(out[-1][1], last))
            else:
                out.append((first, last))
        return out


def _touching(addr: U64, reach: int, wanted: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Say which of [addr, addr + 1 << reach) touch a range of ``wanted``."""
    first = np.array([each[0] for each in wanted], np.uint64)
    last = np.array([each[1] for each in wanted], np.uint64)
    if not len(first):
        return np.zeros(len(addr), np.bool_)
    end = addr + np.uint64((1 << reach) - 1)
    index = np.searchsorted(last, addr, "left")  # the first range that does not end before
    inside = index < len(first)
    found: npt.NDArray[np.bool_] = inside & (first[np.minimum(index, len(first) - 1)] <= end)
    return found
