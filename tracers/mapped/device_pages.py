# SPDX-License-Identifier: GPL-2.0-only
"""Reads whose memory a device page is: its struct page points at the driver's dev_pagemap.

Promises: a page map is believed only where it holds the page that led to it; anything else (memory
that is offline, a page that is being made) is no device's. Where the kernel's BTF is missing,
nothing is read.

Source: include/linux/memremap.h (struct dev_pagemap, enum memory_type; its values moved with
f25cbb7a95a2, 5.19) and mm_types.h: the pointer is folio.pgmap since 82ba975e4c43 ("mm: allow
compound zone device pages", 6.14), before page.pgmap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tracers.constants.btf import Btf
from tracers.constants.errors import ConstantsError
from tracers.mapped.reading import Read, read_u64

#: enum memory_type, and what its memory is called here.
_TYPES: Final = {
    "MEMORY_DEVICE_PRIVATE": "device-private",
    "MEMORY_DEVICE_COHERENT": "device-coherent",
    "MEMORY_DEVICE_FS_DAX": "fs-dax",
    "MEMORY_DEVICE_GENERIC": "device",
    "MEMORY_DEVICE_PCI_P2PDMA": "p2pdma",
}
_RANGES_AT_MOST: Final = 64
_OPS: Final = 4  # pointers in struct dev_pagemap_ops


@dataclass(frozen=True, slots=True)
class PageMap:
    """A struct dev_pagemap: what is the driver's, and which code it has for it."""

    ranges: tuple[tuple[int, int], ...]  # physical (start, end)
    type: str
    code: int | None  # address of a function of the driver


class DevicePages:
    """Reads page maps by the offsets in ``btf``.

    Raises:
        ConstantsError: BTF does not say where struct page has it.
    """

    def __init__(self, read: Read, btf: Btf) -> None:
        self._read = read
        pointer = btf.offset("folio", "pgmap")
        self._pointer = btf.offset("page", "pgmap") if pointer is None else pointer
        names = ("type", "ops", "nr_range", "range")
        self._at = {name: btf.offset("dev_pagemap", name) for name in names}
        if self._pointer is None or None in self._at.values():
            raise ConstantsError("the kernel's BTF has no dev_pagemap: no CONFIG_ZONE_DEVICE")
        values = btf.enumerators(tuple(_TYPES))
        self._types = {value: _TYPES[name] for name, value in values.items()}
        self._known: dict[int, PageMap | None] = {}

    def page_map(self, page: int, physical: int) -> PageMap | None:
        """Return the map of the struct page at ``page``, of memory at ``physical``, or None."""
        where = self._u64(page + (self._pointer or 0))
        if where is None or where >> 63 == 0:
            return None
        if where not in self._known and len(self._known) < 4096:
            self._known[where] = self._map(where)
        found = self._known.get(where)
        if found and any(start <= physical < end for start, end in found.ranges):
            return found
        return None

    def _map(self, where: int) -> PageMap | None:
        at = {name: where + (offset or 0) for name, offset in self._at.items()}
        count = (self._u64(at["nr_range"]) or 0) & 0xFFFF_FFFF
        kind = (self._u64(at["type"]) or 0) & 0xFFFF_FFFF
        if not 0 < count <= _RANGES_AT_MOST or kind not in self._types:
            return None
        ranges = []
        for index in range(count):
            first, last = (self._u64(at["range"] + 16 * index + 8 * half) for half in (0, 1))
            if first is None or last is None or first > last:
                return None
            ranges.append((first, last + 1))
        ops = self._u64(at["ops"]) or 0
        pointers = (self._u64(ops + 8 * index) for index in range(_OPS)) if ops >> 63 else ()
        code = next((each for each in pointers if each and each >> 63), None)
        return PageMap(tuple(ranges), self._types[kind], code)

    def _u64(self, addr: int) -> int | None:
        return read_u64(self._read, addr)


def module_of(code: int, modules: Sequence[tuple[str, int, int]]) -> str | None:
    """Return the name of the module that has ``code``; ``modules``: (name, base, size) each."""
    inside = [(base, name) for name, base, size in modules if base <= code < base + size]
    return max(inside)[1] if inside else None
