# SPDX-License-Identifier: GPL-2.0-only
"""Side files of the lab's 6.1 as text, to be changed and read."""

from collections.abc import Mapping
from pathlib import Path

from tracers.machine import Machine, read_machine

# From 6.1.192-vmemlab-39bit's own notes
NOTES = """\
OSRELEASE=6.1.192-vmemlab
BUILD-ID=3efcb224608b9fa782cc10ffbd19238962524dc0
PAGESIZE=4096
NUMBER(SECTION_SIZE_BITS)=27
SIZE(page)=64
NUMBER(VA_BITS)=39
NUMBER(VMALLOC_END)=0xfffffffdf0000000
NUMBER(VMEMMAP_START)=0xfffffffe00000000
NUMBER(VMEMMAP_END)=0xffffffff00000000
NUMBER(PHYS_OFFSET)=0x40000000
NUMBER(TCR_EL1_T1SZ)=0x19
"""
CONFIG = "CONFIG_ARM64_4K_PAGES=y\nCONFIG_ARM64_VA_BITS=39\n# CONFIG_RANDOMIZE_BASE is not set\n"
UNAME = "Linux (none) 6.1.192-vmemlab #1 SMP Sun Nov 22 19:13:26 UTC 2026 aarch64 GNU/Linux\n"
IOMEM = (
    "08000000-0800ffff : GICD\n40000000-bfffffff : System RAM\n  40210000-4113ffff : Kernel code\n"
)


def read(folder: Path, files: Mapping[str, str | bytes]) -> Machine:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    return read_machine(folder)


def without(text: str, *keys: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.split("=")[0] not in keys)
