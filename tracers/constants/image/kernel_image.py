# SPDX-License-Identifier: GPL-2.0-only
"""Reads an arm64 kernel's bytes by virtual address and by symbol, whatever file it comes in.

Promises: vmlinux, raw Image, both packed, EFI zboot, a memory dump's ELF and a .BTF blob open the
same way; anything else is a ``ConstantsError`` saying what it is. What the file does not hold is
None. Addresses are u64 and those the kernel was linked for, not those KASLR chose.
"""

import re
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from tracers.constants.errors import ConstantsError
from tracers.constants.image import compressed, raw_header
from tracers.constants.image.elf import (
    ET_CORE,
    KERNEL_HALF,
    SECTION_CAP,
    Elf,
    Note,
    Region,
    parse_notes,
)
from tracers.constants.image.file_bytes import FileBytes
from tracers.constants.image.kallsyms import Memory, built_in
from tracers.constants.image.patched import Originals, untraced
from tracers.constants.image.symbols import Symbol, SymbolTable, from_elf, read_map

__all__ = ["Code", "ConstantsError", "KernelImage", "Symbol", "open_kernel"]

#: No function we decode is longer; a size beyond it is damage or a hand-written blob.
CODE_CAP: Final = 64 << 10
_HEAD: Final = 4096
_PIECE: Final = 1 << 20
_BANNER: Final = re.compile(rb"Linux version ([0-9][!-~]{1,64}) ")
_BANNER_SIZE: Final = 512
_NT_BUILD_ID: Final = 3
_VMCOREINFO: Final = "VMCOREINFO"
#: Where a dump says its text begins (kernel/crash_core.c).
_TEXT_SYMBOL: Final = re.compile(rb"^SYMBOL\(_stext\)=([0-9a-f]+)$", re.MULTILINE)
#: How a raw Image's BTF (version 1, a header of 24 bytes) begins.
_BTF: Final = struct.pack("<HBBI", 0xEB9F, 1, 0, 24)


@dataclass(frozen=True, slots=True)
class Code:
    """A whole function: the symbol's name, u64 address of its first byte, and its bytes."""

    name: str
    va: int
    bytes: bytes


class KernelImage:
    """An open kernel; a context manager. Made by ``open_kernel``."""

    def __init__(
        self,
        path: Path,
        source: FileBytes,
        kind: str,
        packed: str | None,
        *,
        elf: Elf | None = None,
        header_page_size: int | None = None,
    ) -> None:
        """Take over ``source``; ``elf`` holds its headers if it has some."""
        self.path = path
        self.kind = kind
        self.compressed = packed
        #: Bytes, as an Image's header names it; None for the other kinds.
        self.header_page_size = header_page_size
        self._source = source
        self._elf = elf
        self._base: int | None = None  # of a raw Image: the address of its first byte
        self._table: SymbolTable | None = None
        self._named = False
        self._release: str | None = None
        self._release_known = False
        self._originals: Originals | None = None

    def __enter__(self) -> Self:
        """Return the open kernel."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read any more."""
        self._source.close()

    @property
    def names(self) -> str | None:
        """Where the names come from: symtab, the path of a System.map, kallsyms; None: nowhere."""
        table = self._symbol_table()
        return table.origin if table else None

    @property
    def table(self) -> SymbolTable | None:
        """All its names; None where there are none."""
        return self._symbol_table()

    @property
    def regions(self) -> tuple[Region, ...]:
        """The parts of the file that have a kernel address."""
        if self._elf:
            return tuple(self._elf.regions)
        if self._base is None:
            return ()
        return (Region(self._base, 0, self._source.size),)

    @property
    def release(self) -> str | None:
        """The kernel's release (uname -r), from its banner."""
        if not self._release_known:
            self._release = self._find_release()
            self._release_known = True
        return self._release

    @property
    def build_id(self) -> str | None:
        """The linker's build id, lower-case hex."""
        for note in self.notes():
            if note.name == "GNU" and note.kind == _NT_BUILD_ID and 8 <= len(note.desc) <= 64:
                return note.desc.hex()
        return None

    def notes(self) -> tuple[Note, ...]:
        """Return the ELF notes, a dump's VMCOREINFO among them; a raw Image's by their names."""
        if self._elf:
            return tuple(self._elf.notes())
        ends = self.symbols(["__start_notes", "__stop_notes"])
        if len(ends) < 2:
            return ()  # not searched for: the vDSO inside has notes, too
        size = ends["__stop_notes"].va - ends["__start_notes"].va
        data = self.read(ends["__start_notes"].va, size) if 0 < size < _PIECE else None
        return tuple(parse_notes(data or b""))

    def read(self, va: int, size: int) -> bytes | None:
        """Return ``size`` bytes at a kernel address, None if they are not all there."""
        if self._elf:
            data = self._elf.read(va, size)
            return self._originals.put_back(va, data) if self._originals and data else data
        if self._base is None or size < 0 or va < self._base:
            return None
        data = self._source.read(va - self._base, size)
        return data if len(data) == size else None

    def read_some(self, va: int, most: int) -> bytes:
        """Return up to ``most`` bytes at a kernel address: fewer where the file's part ends."""
        ends = [r.va + r.size for r in self.regions if r.va <= va < r.va + r.size]
        return (self.read(va, min(most, ends[0] - va)) or b"") if ends else b""

    def symbol(self, name: str) -> Symbol | None:
        """Return ``name``, exact or as the compiler renamed it (.isra.0, .constprop.0, .llvm.N)."""
        return self.symbols([name]).get(name)

    def symbols(self, names: Iterable[str]) -> dict[str, Symbol]:
        """Return those of ``names`` the kernel has. One the table has twice is left out."""
        table = self._symbol_table()
        return table.find(names) if table else {}

    def function(self, name: str) -> Code | None:
        """Return a function's whole code: its symbol's size, else up to the next symbol.

        None if it is absent, empty, or its bytes are not in the file. At most 64 KiB. Of memory:
        as it is while nobody traces the function.
        """
        symbol = self.symbol(name)
        if not symbol:
            return None
        start, end = self.extent(symbol)
        code = self.read(start, min(end - start, CODE_CAP) & ~3)
        if code and self.kind == "vmcore":
            code = untraced(code)
        return Code(symbol.name, start, code) if code else None

    def extent(self, symbol: Symbol) -> tuple[int, int]:
        """Return [start, end) of a symbol: by its size, else up to the next symbol or gap."""
        start = symbol.va
        if symbol.size:
            return start, min(start + symbol.size, (1 << 64) - 1)
        table = self._symbol_table()
        end = table.next_after(start) if table else None
        if end is None:
            return start, start
        ends = [r.va + r.size for r in self.regions if r.va <= start < r.va + r.size]
        return start, min([end, *ends[:1]])

    def begins(self, va: int) -> bool:
        """Whether a symbol begins at ``va``."""
        table = self._symbol_table()
        return table is not None and table.next_after(va - 1) == va

    def find(self, pattern: bytes) -> int | None:
        """Return the address of the first place that holds ``pattern``; a dump is not searched."""
        for region in () if self.kind == "vmcore" else self.regions:
            at = self._search(pattern, region.offset, region.size)
            if at is not None:
                return region.va + at - region.offset
        return None

    def has_section(self, name: str) -> bool:
        """Whether the file has a section of that name; a raw Image has none."""
        return bool(self._elf and self._elf.section(name))

    def section(self, name: str) -> bytes | None:
        """Return a section's bytes, None if the file does not hold them.

        Raises:
            ConstantsError: the section is absurdly large, or the file cut short.
        """
        section = self._elf.section(name) if self._elf else None
        if not self._elf or not section or not section.has_bytes:
            return None
        return self._elf.content(section)

    def stream(self, name: str) -> BinaryIO | None:
        """Return a section as a file, read where it is looked at; None if its bytes are not there.

        It is open only as long as this image is.
        """
        section = self._elf.section(name) if self._elf else None
        return self._elf.stream(section) if self._elf and section else None

    def section_va(self, name: str) -> tuple[int, int] | None:
        """Return the address and size in bytes of a section."""
        section = self._elf.section(name) if self._elf else None
        return (section.addr, section.size) if section else None

    def btf(self) -> bytes | None:
        """Return the kernel's BTF: the .BTF section, the blob itself, or what a raw Image holds.

        Raises:
            ConstantsError: the section is absurdly large, or the file cut short.
        """
        if self.kind == "btf":
            return self._source.read(0, SECTION_CAP)
        if self._elf:
            return self.section(".BTF")
        at = self._search(_BTF)  # no names needed: its header says how long it is
        if at is None:
            return None
        parts = struct.unpack("<4I", self._source.read(at + 8, 16).ljust(16, b"\0"))
        size = 24 + max(parts[0] + parts[1], parts[2] + parts[3])
        data = self._source.read(at, min(size, SECTION_CAP))
        return data if len(data) == size else None

    def use_names(self, table: SymbolTable) -> None:
        """Take names from ``table``: a System.map's, for a file that has none of its own.

        Raises:
            ConstantsError: they are not this kernel's.
        """
        symbols = table.find(["_text", "_stext", "linux_banner"])
        # A kernel without KALLSYMS_ALL (Debian's 6.1) lists what lies in its text sections alone.
        text = symbols.get("_text") or (symbols.get("_stext") if self._elf else None)
        if not text or text.va < KERNEL_HALF:
            raise ConstantsError(
                f"{table.origin}: not an arm64 kernel's symbols: _text is missing (Debian's"
                " System.map is in the -dbg package)"
            )
        if not self._elf:
            self._base = text.va
        if not self._agrees(symbols):
            raise ConstantsError(
                f"{table.origin}: the symbols of another kernel than {self.path}, where neither"
                " linux_banner nor its own word on _stext is what they say"
            )
        self._table = table
        self._named = True

    def use_originals(self, originals: Originals) -> None:
        """Read a running kernel's text as it was before it was patched."""
        self._originals = originals

    def _agrees(self, symbols: Mapping[str, Symbol]) -> bool:
        """Whether these symbols are this kernel's: by its banner, or by a dump's SYMBOL(_stext)."""
        banner, text = symbols.get("linux_banner"), symbols.get("_stext")
        if banner:
            return self.read(banner.va, 14) == b"Linux version "
        stexts = (
            _TEXT_SYMBOL.search(note.desc) for note in self.notes() if note.name == _VMCOREINFO
        )
        return any(match and text and int(match[1], 16) == text.va for match in stexts)

    def _search(self, pattern: bytes, start: int = 0, size: int | None = None) -> int | None:
        """Return where in the file ``pattern`` first is."""
        end = self._source.size if size is None else start + size
        for at in range(start, end, _PIECE):
            data = self._source.read(at, min(_PIECE + len(pattern) - 1, end - at))
            index = data.find(pattern)
            if index >= 0:
                return at + index
        return None

    def _symbol_table(self) -> SymbolTable | None:
        if not self._named:
            self._named = True
            self._table = self._own_names()
        return self._table

    def _own_names(self) -> SymbolTable | None:
        elf = self._elf
        if not elf:
            return self._built_in_names(self._source) if self.kind != "btf" else None
        symtab = elf.section(".symtab")
        if not symtab or not symtab.has_bytes:
            return self._built_in_names(elf.memory()) if elf.kind != ET_CORE else None
        if symtab.link >= len(elf.sections):
            return None
        strtab = elf.sections[symtab.link]
        return from_elf(elf.content(symtab), elf.content(strtab))

    def _built_in_names(self, memory: Memory) -> SymbolTable | None:
        decoded = built_in(memory)
        if not decoded or (self._elf and self.read(decoded[1], 1) is None):
            return None
        table, self._base = decoded
        return table

    def _find_release(self) -> str | None:
        banner = self.symbol("linux_banner")
        if banner:
            match = _BANNER.match(self.read(banner.va, banner.size or 200) or b"")
            if match:
                return match[1].decode("ascii")
        # A dump is as large as the machine's memory: not searched.
        return None if self.kind in ("btf", "vmcore") else self._scan_release()

    def _scan_release(self) -> str | None:
        """Look for the banner through the read-only data, or through the whole Image."""
        spans = [(0, self._source.size)]
        if self._elf:
            rodata = self._elf.section(".rodata")
            spans = [(r.offset, r.size) for r in self._elf.regions]
            if rodata and rodata.has_bytes:
                spans = [(rodata.offset, rodata.size)]
        for start, size in spans:
            end = min(start + size, self._source.size)
            for at in range(start, end, _PIECE):
                data = self._source.read(at, min(_PIECE + _BANNER_SIZE, end - at))
                match = _BANNER.search(data)
                if match:
                    return match[1].decode("ascii")
        return None


def open_kernel(path: Path, *, system_map: Path | None = None) -> KernelImage:
    """Open a kernel: vmlinux, Image, either packed (gz, zst, xz), EFI zboot, vmcore, .BTF blob.

    ``system_map``, a System.map or /proc/kallsyms, names the addresses where the file has no symbol
    table; without it the names built into the kernel do, which may be of functions alone.

    Raises:
        ConstantsError: none of these, not arm64 or not little-endian, damaged, or unreadable.
    """
    source = FileBytes.open(path)
    try:
        image = _identify(path, source)
    except BaseException:
        source.close()
        raise
    try:
        if system_map and not image.has_section(".symtab"):
            image.use_names(read_map(system_map))
    except BaseException:
        image.close()
        raise
    return image


def _identify(path: Path, source: FileBytes) -> KernelImage:
    origin = str(path)
    head = source.read(0, _HEAD)
    if not head.startswith(b"\x7fELF"):  # whose debug information may be large, or memory dumped
        _check_size(source.size, origin)
    packed = compressed.packing(head, origin)
    kind = "Image"
    payload = compressed.zboot(head, source, origin)
    if payload:
        kind = "zboot"
        source.close()
        source, packed = payload
    if packed:
        outer = source
        try:
            source = compressed.unpack(outer, packed, origin)
        finally:
            outer.close()
        head = source.read(0, _HEAD)
    try:
        if head.startswith(b"\x7fELF"):
            elf = Elf(source, origin)
            if elf.kind != ET_CORE:
                _check_size(sum(region.size for region in elf.regions), origin)
            return KernelImage(
                path, source, "vmcore" if elf.kind == ET_CORE else "vmlinux", packed, elf=elf
            )
        if head.startswith(b"\x9f\xeb\x01") and not packed:
            return KernelImage(path, source, "btf", packed)
        return KernelImage(
            path, source, kind, packed, header_page_size=raw_header.page_size(head, origin)
        )
    except BaseException:
        with suppress(OSError):
            source.close()
        raise


def _check_size(size: int, origin: str) -> None:
    if size > compressed.SIZE_CAP:
        raise ConstantsError(
            f"{origin}: larger than {compressed.SIZE_CAP >> 30} GiB, as no kernel is; give an arm64"
            " kernel's vmlinux or Image"
        )
