# SPDX-License-Identifier: GPL-2.0-only
"""A running kernel's files in a folder, made from a reduced kernel with a KASLR offset."""

import struct
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tests.kernels.files import kernel
from tests.tracers.constants.btfs import functions
from tests.tracers.constants.cores import kcore
from tests.tracers.live.oracle import kallsyms

SLIDE = 0x21BEB3800000  # of a booted 6.12
#: As pfunct -F btf shows them of both kernels; what differs comes last.
_ALIKE = (
    ("vmemmap_populate", "start end node altmap", "value"),
    ("vmemmap_free", "start end altmap", "void"),
    ("sparse_add_section", "nid start_pfn nr_pages altmap pgmap", "value"),
    ("__add_pages", "nid pfn nr_pages params", "value"),
    ("__remove_pages", "pfn nr_pages altmap", "void"),
    ("__warn", "file line caller taint regs args", "void"),
    ("memremap_pages", "pgmap nid", "pointer"),
    ("memunmap_pages", "pgmap", "void"),
)
BTF_6_1 = functions(*_ALIKE, ("sparse_remove_section", "ms pfn nr_pages map_offset altmap", "void"))
BTF_6_12 = functions(*_ALIKE, ("sparse_remove_section", "pfn nr_pages altmap pgmap", "void"))


def running(
    root: Path,
    name: str,
    *,
    slide: int = SLIDE,
    btf: bytes | None = None,
    core: bool = True,
    note: str = "OSRELEASE=made\n",
) -> Path:
    """Fill ``root`` with kallsyms, notes, BTF and, with ``core``, kcore; ``note``: VMCOREINFO."""
    kallsyms(root / "proc/kallsyms", name, slide)
    with kernel(name).open("rb") as file:
        elf = ELFFile(file)
        notes = elf.get_section_by_name(".notes").data()
        memory = [
            ((segment["p_vaddr"] + slide) % 2**64, segment.data())
            for segment in elf.iter_segments("PT_LOAD")
        ]
    (root / "sys/kernel").mkdir(parents=True)
    (root / "sys/kernel/notes").write_bytes(notes)
    if btf is not None:
        (root / "sys/kernel/btf").mkdir()
        (root / "sys/kernel/btf/vmlinux").write_bytes(btf)
    if core:
        (root / "proc/kcore").write_bytes(kcore(note, memory))
    return root


def other_build(root: Path) -> None:
    """Have ``root`` run another build than its files are of."""
    note = struct.pack("<III4s", 4, 20, 3, b"GNU\0") + bytes(range(20))
    (root / "sys/kernel/notes").write_bytes(note)
