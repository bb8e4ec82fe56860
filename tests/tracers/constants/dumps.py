# SPDX-License-Identifier: GPL-2.0-only
"""Builds a dump of a small machine as QEMU makes it: physical memory alone, with true page tables.

The machine has 4K pages and 39-bit addresses, as the lab's 6.1, whose note it takes.
"""

import struct

from tests.tracers.constants.cores import PT_LOAD, PT_NOTE, header, note

RAM = 0x4000_0000
LINEAR = 0xFFFF_FF80_0000_0000  # where RAM is mapped
IMAGE_OFFSET = 0xFFFF_FFBF_C7E0_0000  # kimage_voffset: image address - physical
SWAPPER = 0xFFFF_FFC0_0800_1000
NAMES = 0xFFFF_FFC0_0800_4000
NOTE_AT = RAM + 0x30_0000
MODULE = 0xFFFF_FFC0_0000_0000  # a page of a module, which only the tables know
MODULE_AT = RAM + 0x30_5000
RELEASE = "6.1.192-vmemlab"
TEXT = f"""OSRELEASE={RELEASE}
PAGESIZE=4096
SYMBOL(init_uts_ns)={NAMES:x}
OFFSET(uts_namespace.name)=0
SYMBOL(swapper_pg_dir)={SWAPPER:x}
SYMBOL(_stext)=ffffffc008010000
NUMBER(VA_BITS)=39
NUMBER(MODULES_VADDR)=0xffffffc000000000
NUMBER(kimage_voffset)=0x{IMAGE_OFFSET:x}
NUMBER(PHYS_OFFSET)=0x{RAM:x}
NUMBER(TCR_EL1_T1SZ)=0x19
"""


class Machine:
    """Four MiB of RAM; ``put`` and ``map`` change it."""

    def __init__(self, text: str = TEXT, *, tables: bool = True) -> None:
        self.memory = bytearray(4 << 20)
        self._next_table = RAM + 0x30_8000
        self.put(NAMES - IMAGE_OFFSET + 2 * 65, RELEASE.encode() + b"\0")
        content = text.encode()
        self.put(NOTE_AT, struct.pack("<III", 11, len(content), 0) + b"VMCOREINFO\0\0" + content)
        if tables:
            for page in range(0x20_0000, 0x30_0000, 0x1000):  # the image, by pages
                self.map(RAM + page + IMAGE_OFFSET, RAM + page)
            for block in range(0, 4 << 20, 2 << 20):
                self.map(LINEAR + block, RAM + block, level=2)
            self.map(MODULE, MODULE_AT)
            self.put(MODULE_AT, b"a module's page")

    def put(self, pa: int, data: bytes) -> None:
        self.memory[pa - RAM : pa - RAM + len(data)] = data

    def word(self, pa: int) -> int:
        return int.from_bytes(self.memory[pa - RAM : pa - RAM + 8], "little")

    def map(self, va: int, pa: int, level: int = 3) -> None:
        table = SWAPPER - IMAGE_OFFSET
        for at in range(1, level):
            entry = table + (va >> (39 - 9 * at) & 511) * 8
            if not self.word(entry):
                self.put(entry, struct.pack("<Q", self._next_table | 3))
                self._next_table += 0x1000
            table = self.word(entry) & ~0xFFF
        leaf = table + (va >> (39 - 9 * level) & 511) * 8
        self.put(leaf, struct.pack("<Q", pa | 1 << 54 | 0x700 | (3 if level == 3 else 1)))

    def dump(self, *, with_note: bool = False, virtual: int | None = None) -> bytes:
        """The file; ``virtual``: its p_vaddr, None: the physical address, as newer QEMU has it."""
        notes = note(b"CORE", b"\0" * 392, 1)
        if with_note:
            notes += note(b"VMCOREINFO", TEXT.encode())
        at = 64 + 2 * 56
        va = RAM if virtual is None else virtual
        size = len(self.memory)
        rows = struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(notes), 0, 0)
        rows += struct.pack("<IIQQQQQQ", PT_LOAD, 0, at + len(notes), va, RAM, size, size, 0)
        return header(count=2) + rows + notes + bytes(self.memory)
