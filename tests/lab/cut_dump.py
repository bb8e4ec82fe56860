# SPDX-License-Identifier: GPL-2.0-only
"""Cuts out of a dump the pages that its import reads: a true dump that is small enough to keep.

Promises: every page is the kernel's own, byte for byte, at its physical address; those that are
left out are zeros or are not read. usage: python -m tests.lab.cut_dump DUMP OUT.xz
"""

import lzma
import struct
import sys
from pathlib import Path
from typing import Final, Self

from tests.tracers.constants.cores import PT_LOAD, PT_NOTE, header, note
from tracers.constants import resources
from tracers.constants.core_file import Core
from tracers.constants.memory.address_map import AddressMap
from tracers.logs.printk_ring import PrintkRing

_PAGE: Final = 4096


class _Reader:
    """Notes the pages that are read: those of tables, and all but those searched through."""

    def __init__(self) -> None:
        self.pages: dict[int, bytes] = {}
        self._searching = False
        self._known = Core.read, Core.read_physical, AddressMap._read_table

    def __enter__(self) -> Self:
        read, read_physical, read_table = self._known

        def by_address(core: Core, va: int, size: int) -> bytes | None:
            self._searching = sys._getframe(1).f_code.co_name == "_pieces"
            try:
                return read(core, va, size)
            finally:
                self._searching = False

        def physical(core: Core, pa: int, size: int) -> bytes | None:
            if not self._searching and sys._getframe(1).f_code.co_name != "_places":
                for page in range(pa // _PAGE * _PAGE, pa + size, _PAGE):
                    data = read_physical(core, page, _PAGE)
                    if data is not None and (size < 256 or any(data)):
                        self.pages[page] = data
            return read_physical(core, pa, size)

        def table(where: AddressMap, pa: int) -> bytes | None:
            data = read_table(where, pa)
            if data is not None:
                self.pages[pa] = data
            return data

        Core.read, Core.read_physical = by_address, physical  # type: ignore[method-assign]
        AddressMap._read_table = table  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Core.read, Core.read_physical, AddressMap._read_table = (  # type: ignore[method-assign]
            self._known
        )


def cut(dump: Path) -> bytes:
    """Return an ELF file as QEMU's, of the pages that are read."""
    with _Reader() as reader, Core(dump) as core:
        for _ in PrintkRing(core).lines():
            pass
        resources.iomem_text(core)
        for layout in resources._LAYOUTS:
            for root in resources._roots(core, layout):
                node = resources._node(core, layout, root)
                assert node is not None
                core.read(node.name, 8)
    runs: list[tuple[int, list[bytes]]] = []
    for page, data in sorted(reader.pages.items()):
        if runs and page == runs[-1][0] + len(runs[-1][1]) * _PAGE:
            runs[-1][1].append(data)
        else:
            runs.append((page, [data]))
    notes = note(b"CORE", b"\0" * 392, 1)
    at = 64 + 56 * (1 + len(runs))
    rows = struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(notes), 0, 0)
    at += len(notes)
    for start, pages in runs:
        size = len(pages) * _PAGE
        rows += struct.pack("<IIQQQQQQ", PT_LOAD, 0, at, start, start, size, size, 0)
        at += size
    body = b"".join(data for _, pages in runs for data in pages)
    return header(count=1 + len(runs)) + rows + notes + body


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(lzma.compress(cut(Path(sys.argv[1])), preset=9))
