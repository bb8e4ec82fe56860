# SPDX-License-Identifier: GPL-2.0-only
"""The reduced kernels' calls and symbols according to objdump (binutils 2.40 for aarch64).

``CALLS``: kernel -> function -> the places of the ``bl`` that lead to it; a star: some other
branch leads to the instruction behind. In the whole kernels (the seven whose vmlinux we had) these
functions have no other direct calls or jumps to them in the text: all callers are kept here.
"""

from pathlib import Path

from elftools.elf.elffile import ELFFile

from tests.kernels.files import kernel

CALLS = {
    "clang-6.12.117-64k": {
        "sparse_add_section": "__add_pages+0xdc",
        "vmemmap_populate": "__populate_section_memmap+0x48 sparse_add_section+0x238",
        "vmemmap_free": "section_deactivate+0x1f8 section_deactivate+0x22c*",
        "sparse_remove_section": "__remove_pages+0x8c",
        "section_deactivate": "sparse_add_section+0x278* sparse_remove_section+0x44",
        "__add_pages": "arch_add_memory+0x8c",
        "__remove_pages": "arch_remove_memory+0x20",
    },
    "clang-6.12.117-lto-kasan": {
        "sparse_add_section": "__add_pages+0xdc",
        "vmemmap_populate": "__populate_section_memmap+0x4c sparse_add_section+0x214",
        "vmemmap_free": "section_deactivate+0x194 section_deactivate+0x1c4*",
        "sparse_remove_section": "__remove_pages+0x90",
        "section_deactivate": "sparse_add_section+0x254* sparse_remove_section+0x44",
        "__add_pages": "arch_add_memory+0xa0",
        "__remove_pages": "arch_remove_memory+0x24",
    },
    "debian-5.10.0-32-48bit-4k": {
        "sparse_add_section": "__add_pages+0xa4",
        "vmemmap_populate": "__populate_section_memmap+0x4c",
        "vmemmap_free": (
            "section_deactivate+0xd0 section_deactivate+0x13c* section_deactivate+0x17c"
        ),
        "sparse_remove_section": "__remove_pages+0xc0",
        "section_deactivate": "sparse_remove_section+0xc0 sparse_add_section+0x188",
        "__add_pages": "arch_add_memory+0x108",
        "__remove_pages": "arch_remove_memory+0x2c",
    },
    "debian-6.1.0-56-48bit-4k": {
        "sparse_add_section": "__add_pages+0x9c",
        "vmemmap_populate": "__populate_section_memmap+0x44",
        "vmemmap_free": (
            "section_deactivate+0x184* section_deactivate+0x1b0 section_deactivate+0x1fc"
        ),
        "sparse_remove_section": "__remove_pages+0xc0",
        "section_deactivate": "sparse_remove_section+0x54 sparse_add_section+0x164",
        "__add_pages": "arch_add_memory+0xc0",
        "__remove_pages": "arch_remove_memory+0x28",
    },
    "debian-6.12.117-16k": {
        "sparse_add_section": "__add_pages+0xac",
        "vmemmap_populate": "__populate_section_memmap+0x64",
        "vmemmap_free": "section_deactivate.isra.0+0x1bc* section_deactivate.isra.0+0x214",
        "sparse_remove_section": "__remove_pages+0x6c",
        "section_deactivate": "sparse_add_section+0x2ac* sparse_remove_section+0x60",
        "__add_pages": "arch_add_memory+0xc0 memremap_pages+0x3d8",
        "__remove_pages": "arch_remove_memory+0x28 memunmap_pages+0x208",
    },
    "debian-6.12.117-52bit-4k": {
        "sparse_add_section": "__add_pages+0xac",
        "vmemmap_populate": "__populate_section_memmap+0x64",
        "vmemmap_free": "section_deactivate.isra.0+0x1bc* section_deactivate.isra.0+0x210",
        "sparse_remove_section": "__remove_pages+0x6c",
        "section_deactivate": "sparse_add_section+0x2a8* sparse_remove_section+0x60",
        "__add_pages": "arch_add_memory+0xc0 memremap_pages+0x3d8",
        "__remove_pages": "arch_remove_memory+0x28 memunmap_pages+0x210",
    },
    "debian-7.2.13-16k": {
        "sparse_add_section": "__add_pages+0xb4",
        "vmemmap_populate": "__populate_section_memmap+0x44",
        "vmemmap_free": "section_deactivate+0x1b4* section_deactivate+0x274",
        "sparse_remove_section": "__remove_pages+0x70",
        "section_deactivate": "sparse_add_section+0x2c0* sparse_remove_section+0x60",
        "__add_pages": "arch_add_memory+0x124 memremap_pages+0x3a8",
        "__remove_pages": "arch_remove_memory+0x28 memunmap_pages+0x1a4",
    },
    "debian-7.2.13-4k": {
        "sparse_add_section": "__add_pages+0xb4",
        "vmemmap_populate": "__populate_section_memmap+0x44",
        "vmemmap_free": "section_deactivate+0x1b4* section_deactivate+0x270",
        "sparse_remove_section": "__remove_pages+0x70",
        "section_deactivate": "sparse_add_section+0x2c0* sparse_remove_section+0x60",
        "__add_pages": "arch_add_memory+0x124 memremap_pages+0x3a8",
        "__remove_pages": "arch_remove_memory+0x28 memunmap_pages+0x1a4",
    },
    "lab-6.1.192-39bit-4k": {
        "sparse_add_section": "__add_pages+0xac",
        "vmemmap_populate": "__populate_section_memmap+0x40",
        "vmemmap_free": (
            "section_deactivate+0x14c* section_deactivate+0x188 section_deactivate+0x1e0"
        ),
        "sparse_remove_section": "__remove_pages+0xd4",
        "section_deactivate": "sparse_remove_section+0x1c sparse_add_section+0x148",
        "__add_pages": "arch_add_memory+0xbc memremap_pages+0x368",
        "__remove_pages": "arch_remove_memory+0x24 memunmap_pages+0x1f0",
    },
    "lab-6.12.117-48bit-4k": {
        "sparse_add_section": "__add_pages+0xa8",
        "vmemmap_populate": "__populate_section_memmap+0x5c",
        "vmemmap_free": "section_deactivate.isra.0+0x16c* section_deactivate.isra.0+0x1d0",
        "sparse_remove_section": "__remove_pages+0x6c",
        "section_deactivate": "sparse_add_section+0x2e4* sparse_remove_section+0x4c",
        "__add_pages": "arch_add_memory+0xbc memremap_pages+0x36c",
        "__remove_pages": "arch_remove_memory+0x24 memunmap_pages+0x1fc",
    },
}


def symbols(name: str) -> dict[str, tuple[int, int]]:
    """Return address and size of each symbol of a reduced kernel."""
    with kernel(name).open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {s.name: (s["st_value"], s["st_size"]) for s in table.iter_symbols() if s.name}


def address(place: str, names: dict[str, tuple[int, int]]) -> int:
    """Return where ``symbol+0x…`` lies."""
    symbol, _, offset = place.rstrip("*").partition("+")
    return names[symbol][0] + int(offset or "0", 16)


def kallsyms(path: Path, name: str, slide: int = 0) -> Path:
    """Write what the kernel would show in /proc/kallsyms, ``slide`` bytes from its file."""
    lines = sorted((va + slide, symbol) for symbol, (va, _) in symbols(name).items() if va)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{va % 2**64:016x} T {symbol}\n" for va, symbol in lines))
    return path
