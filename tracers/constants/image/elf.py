# SPDX-License-Identifier: GPL-2.0-only
"""Reads the ELF file of an arm64 kernel: sections, bytes by virtual address, notes.

Promises: only little-endian AArch64 is accepted, for anything else the error says what it is;
tables are read only where the file really has them, and no count or size in a header is trusted
beyond the file's own bytes.

pyelftools reads the headers, through a stream of only what the file has; whatever it raises on a
damaged one becomes one line. Notes are read here: kcore's come without a file.
"""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from elftools.elf.elffile import ELFFile

from tracers.constants.errors import ConstantsError
from tracers.constants.image.file_bytes import FileBytes

#: No section is read whole beyond this: the largest we need, .symtab of an LTO build, has 30 MiB.
SECTION_CAP: Final = 64 << 20
_NOTES_CAP: Final = 1 << 20
_HEADERS_CAP: Final = 4096  # sections, segments: a kernel has about forty

_EHDR_SIZE: Final = 64
_NHDR: Final = struct.Struct("<III")
AARCH64: Final = 183
MACHINES: Final = {
    3: "32-bit x86",
    8: "MIPS",
    20: "32-bit PowerPC",
    21: "PowerPC",
    22: "s390",
    40: "32-bit ARM",
    62: "x86-64",
    243: "RISC-V",
    258: "LoongArch",
}
ET_CORE: Final = "ET_CORE"
_SHF_ALLOC: Final = 2
_SHF_COMPRESSED: Final = 0x800
#: Kernel addresses are in the upper half: every arm64 kernel since 3.7.
KERNEL_HALF: Final = 1 << 63
_HINT: Final = "give an arm64 kernel's vmlinux or Image"


@dataclass(frozen=True, slots=True)
class Section:
    """One section header; sizes and offsets in bytes, ``addr`` a u64 virtual address."""

    name: str
    kind: str | int  # "SHT_…", the number where pyelftools has no name
    flags: int
    addr: int
    offset: int
    size: int
    link: int

    @property
    def has_bytes(self) -> bool:
        """Whether the file holds the section's bytes as they are."""
        return self.kind not in ("SHT_NULL", "SHT_NOBITS") and not self.flags & _SHF_COMPRESSED


@dataclass(frozen=True, slots=True)
class Note:
    """One ELF note."""

    name: str
    kind: int
    desc: bytes


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes of the file that lie at a virtual address."""

    va: int
    offset: int
    size: int


class Elf:
    """The headers of one ELF file; ``origin`` names it in errors."""

    def __init__(self, source: FileBytes, origin: str) -> None:
        """Read the headers.

        Raises:
            ConstantsError: not the ELF file of an arm64 kernel, or one cut short or damaged.
        """
        self._source = source
        self._origin = origin
        head = source.read(0, _EHDR_SIZE)
        _check_machine(head, origin)
        if len(head) < _EHDR_SIZE:
            raise ConstantsError(f"{origin}: an ELF file cut short: its header is not whole")
        try:
            self._read_headers()
        except ConstantsError:
            raise
        # pyelftools documents none: ELFError, construct's, KeyError, ValueError, RecursionError…
        except Exception as error:
            reason = ascii(str(error) or type(error).__name__)[1:-1][:80]
            raise ConstantsError(f"{origin}: damaged ELF headers: {reason}") from error
        self.regions = self._find_regions()
        if self.kind != ET_CORE and not any(region.va >= KERNEL_HALF for region in self.regions):
            raise ConstantsError(f"{origin}: {self._describe()}; {_HINT}")

    def section(self, name: str) -> Section | None:
        """Return the first section of that name."""
        return next((section for section in self.sections if section.name == name), None)

    def content(self, section: Section) -> bytes:
        """Return a section's bytes, empty if the file does not hold them.

        Raises:
            ConstantsError: the section is larger than any we need, or than the file.
        """
        if not section.has_bytes:
            return b""
        shown = ascii(section.name[:40])
        if section.size > SECTION_CAP:
            raise ConstantsError(
                f"{self._origin}: section {shown} claims {section.size} bytes: damaged"
            )
        data = self._source.read(section.offset, section.size)
        if len(data) != section.size:
            raise ConstantsError(f"{self._origin}: cut short: section {shown} is not all there")
        return data

    def stream(self, section: Section) -> io.BufferedReader | None:
        """Return a section as a file of its own, of any size; None if its bytes are not there."""
        if not section.has_bytes or section.offset + section.size > self._source.size:
            return None
        return io.BufferedReader(_Stream(self._source, section.offset, section.size))

    def read(self, va: int, size: int) -> bytes | None:
        """Return ``size`` bytes at a virtual address, None where the file has none."""
        if size < 0 or size > SECTION_CAP:
            return None
        for region in self.regions:
            ahead = va - region.va
            if ahead >= 0 and ahead + size <= region.size:
                data = self._source.read(region.offset + ahead, size)
                return data if len(data) == size else None
        return None

    def memory(self) -> "LoadedRegions":
        """Return the file's parts laid out as the kernel is in memory, gaps as zeros."""
        return LoadedRegions(self._source, [r for r in self.regions if r.va >= KERNEL_HALF])

    def notes(self) -> Iterator[Note]:
        """Yield the notes of the note sections, or of the note segments if there is none."""
        spans = [(s.offset, s.size) for s in self.sections if s.kind == "SHT_NOTE"]
        if not spans:
            spans = [
                (offset, size) for kind, offset, _, size in self._segments if kind == "PT_NOTE"
            ]
        left = _NOTES_CAP
        for offset, size in spans:
            data = self._source.read(offset, min(size, left))
            left -= len(data)
            yield from parse_notes(data)

    def _read_headers(self) -> None:
        elf = ELFFile(io.BufferedReader(_Stream(self._source)))
        header = elf.header
        self.kind: str | int = header.e_type
        if self.kind == "ET_REL":
            raise ConstantsError(
                f"{self._origin}: a kernel module or object file, not a kernel; {_HINT}"
            )
        self._check_table("section", header.e_shoff, header.e_shentsize, 64, elf.num_sections())
        self._check_table("program", header.e_phoff, header.e_phentsize, 56, elf.num_segments())
        self.sections = [
            Section(
                # no longer name is looked for
                section.name[:256],
                section["sh_type"],
                section["sh_flags"],
                section["sh_addr"],
                section["sh_offset"],
                section["sh_size"],
                section["sh_link"],
            )
            for section in (elf.iter_sections() if header.e_shoff else ())
        ]
        # type, offset in the file, virtual address, bytes in the file
        self._segments: list[tuple[str | int, int, int, int]] = [
            (segment["p_type"], segment["p_offset"], segment["p_vaddr"], segment["p_filesz"])
            for segment in (elf.iter_segments() if header.e_phoff else ())
        ]

    def _check_table(
        self, what: str, offset: int, entry_size: int, expected: int, count: int
    ) -> None:
        """Raise for a header table that is damaged or not all there, before it is read."""
        if offset == 0 or count == 0:
            return
        if entry_size != expected or count > _HEADERS_CAP:
            raise ConstantsError(
                f"{self._origin}: damaged ELF header: {count} {what} headers of {entry_size} bytes"
            )
        if offset + count * entry_size > self._source.size:
            raise ConstantsError(f"{self._origin}: cut short: its {what} headers are not all there")

    def _find_regions(self) -> list[Region]:
        # Sections first: a file of debug information alone keeps the program headers of the
        # kernel it came from, but marks the sections NOBITS.
        regions = [
            Region(s.addr, s.offset, s.size)
            for s in self.sections
            if s.flags & _SHF_ALLOC and s.size and s.has_bytes and s.kind != "SHT_NOTE"
        ]
        if not any(s.flags & _SHF_ALLOC for s in self.sections):
            regions = [
                Region(va, offset, size)
                for kind, offset, va, size in self._segments
                if kind == "PT_LOAD" and size
            ]
        if len(regions) > _HEADERS_CAP:
            raise ConstantsError(f"{self._origin}: damaged: {len(regions)} parts with an address")
        # What lies beyond the file's end is not there.
        end = self._source.size
        return [
            Region(r.va, r.offset, min(r.size, end - r.offset)) for r in regions if r.offset < end
        ]

    def _describe(self) -> str:
        if any(s.flags & _SHF_ALLOC and s.addr >= KERNEL_HALF for s in self.sections):
            return "the debug information of an arm64 kernel without its code"
        return "an arm64 program, not a kernel: nothing of it has a kernel address"


class _Stream(io.RawIOBase):
    """A file, or ``size`` bytes of it from ``start`` on, as the stream pyelftools wants."""

    def __init__(self, source: FileBytes, start: int = 0, size: int | None = None) -> None:
        super().__init__()
        self._source = source
        self._start = start
        self._size = source.size if size is None else size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._size - self._at)
        data = self._source.read(self._start + self._at, size)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class LoadedRegions:
    """Parts of a file as one range of bytes, from the lowest address on."""

    def __init__(self, source: FileBytes, regions: list[Region]) -> None:
        """Take ``regions`` of ``source``."""
        self._source = source
        self._start = min((region.va for region in regions), default=0)
        self._regions = regions
        self.size = max((region.va + region.size for region in regions), default=0) - self._start

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes at ``offset``, fewer at the end."""
        size = min(size, self.size - offset)
        if offset < 0 or size <= 0:
            return b""
        out = bytearray(size)
        for region in self._regions:
            at = region.va - self._start
            first, end = max(at, offset), min(at + region.size, offset + size)
            if first < end:
                data = self._source.read(region.offset + first - at, end - first)
                out[first - offset : first - offset + len(data)] = data
        return bytes(out)


def _check_machine(head: bytes, origin: str) -> None:
    """Raise unless ``head`` begins a little-endian 64-bit AArch64 file."""
    if len(head) < 20:
        raise ConstantsError(f"{origin}: an ELF file cut short: its header is not whole")
    wide, order = head[4], head[5]
    machine = int.from_bytes(head[18:20], "big" if order == 2 else "little")
    if machine != AARCH64:
        name = MACHINES.get(machine, f"another machine (ELF machine {machine})")
        raise ConstantsError(f"{origin}: a file for {name}, not arm64; {_HINT}")
    if order != 1:
        raise ConstantsError(
            f"{origin}: a big-endian arm64 kernel, which is not supported; {_HINT}"
        )
    if wide != 2:
        raise ConstantsError(f"{origin}: a 32-bit (ILP32) file, not a kernel; {_HINT}")


def parse_notes(data: bytes) -> Iterator[Note]:
    """Yield the notes in ``data``, up to the first that is not all there."""
    at = 0
    while at + _NHDR.size <= len(data):
        name_size, desc_size, kind = _NHDR.unpack_from(data, at)
        name_at = at + _NHDR.size
        desc_at = name_at + (name_size + 3 & ~3)
        at = desc_at + (desc_size + 3 & ~3)
        if desc_at + desc_size > len(data):
            return
        name = data[name_at : name_at + min(name_size, 64)].split(b"\0", 1)[0]
        yield Note(
            name.decode("ascii", "backslashreplace"), kind, data[desc_at : desc_at + desc_size]
        )
