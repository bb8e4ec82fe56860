# SPDX-License-Identifier: GPL-2.0-only
"""Reads the VMCOREINFO note and memory of a kernel: /proc/kcore, a vmcore, or the note as text.

Memory is read by the kernel's addresses or by physical ones. Of a file that has one kind alone (a
dump made by QEMU has physical ones, an old kcore the kernel's) the other follows from the note.
Promises: how much is read is bounded by caps, never by what a header claims; if the note cannot be
had, one ``ConstantsError`` line says why and what to do instead.

Source: fs/proc/kcore.c (the note: 23c85094fe18, 4.19; p_paddr: 464920104bf7, 4.11), kernel/
vmcore_info.c, include/uapi/linux/elf.h. Addresses in the note are of the running kernel, KASLR
included.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TypeVar

from tracers.constants.errors import ConstantsError
from tracers.constants.image.elf import AARCH64, MACHINES
from tracers.constants.memory import flattened, kdump
from tracers.constants.memory.address_map import AddressMap
from tracers.constants.memory.find_note import find_note
from tracers.constants.memory.flattened import Flattened
from tracers.constants.memory.kdump import Kdump
from tracers.constants.memory.segments import Segments
from tracers.machine_files import CAPS, read_notes
from tracers.regular_files import open_regular

KCORE: Final = Path("/proc/kcore")
_TEXT_CAP: Final = CAPS["kcore-vmcoreinfo"]
_NOTES_CAP: Final = 16 << 20  # all notes: a dump has about 1.5 KB for every CPU
_HEADERS_CAP: Final = 65535  # e_phnum's most; dumps with more have their notes first, too
_READ_CAP: Final = 1 << 20  # of memory, at once
_ET_CORE: Final = 4
_PT_LOAD: Final = 1
_PT_NOTE: Final = 4
_ELF_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_NOTE: Final = struct.Struct("<III")
#: No segment of the kernel's addresses begins below: of a dump made from outside all do.
_KERNEL: Final = 0xFFF0_0000_0000_0000
_MOST_PHYSICAL: Final = 1 << 52
_DISKDUMP: Final = b"DISKDUMP"
_PACKED: Final = (kdump.SIGNATURE, flattened.SIGNATURE, _DISKDUMP)
_HINT: Final = "or read its vmlinux or Image instead"


_T = TypeVar("_T")


class Core:
    """An open core file: the text of its VMCOREINFO note, and memory.

    ``vmcoreinfo_at``: the physical address where the note was found, of a dump without it; None:
    it is in the file's own place for it.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path`` and find the note.

        Raises:
            ConstantsError: unreadable, not of an arm64 kernel, damaged, or without the note.
        """
        self.path = path
        self.vmcoreinfo_at: int | None = None
        self._virtual = Segments(())
        self._physical = Segments(())
        self._kdump: Kdump | None = None
        self._map: AddressMap | None = None
        self._bytes = self._read_file
        self._handle = _opened(path)
        try:
            head = self._read_at(0, _ELF_HEADER.size)
            if head.startswith(flattened.SIGNATURE):
                self._bytes = self._named(lambda: Flattened(self._read_file)).read_at
                head = self._read_at(0, _ELF_HEADER.size)
            packed = head.startswith(kdump.SIGNATURE)
            self.is_memory = packed or head.startswith(b"\x7fELF")
            if packed:
                self.vmcoreinfo = self._read_kdump()
            else:
                self.vmcoreinfo = self._read_elf(head) if self.is_memory else self._read_text(head)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; memory can no longer be read."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def physical_ranges(self) -> tuple[tuple[int, int], ...]:
        """The physical memory that the file has, as [start, end), ascending and disjoint."""
        return self._kdump.ranges() if self._kdump else self._physical.ranges()

    def read_physical(self, pa: int, size: int) -> bytes | None:
        """Return ``size`` bytes at physical ``pa``, None where the file does not have them all."""
        if not 0 < size <= _READ_CAP:
            return None
        with suppress(ConstantsError):
            if self._kdump:
                return self._kdump.read(pa, size)
            return self._physical.read(self._read_at, pa, size)
        return None

    def read(self, va: int, size: int) -> bytes | None:
        """Return ``size`` bytes at kernel address ``va``, None where there is no such memory."""
        if not 0 < size <= _READ_CAP:
            return None
        with suppress(ConstantsError):
            data = self._virtual.read(self._read_at, va, size)
            return self._read_mapped(va, size) if data is None else data
        return None

    def read_u64(self, va: int) -> int | None:
        """Return the little-endian u64 at ``va``, None where the file has no such memory."""
        data = self.read(va, 8)
        return None if data is None else int.from_bytes(data, "little")

    def _read_mapped(self, va: int, size: int) -> bytes | None:
        """Read by physical addresses."""
        parts: list[bytes] = []
        while self._map is not None and size:
            found = self._map.find(va)
            if found is None:
                return None
            pa, there = found
            part = self.read_physical(pa, min(size, there))
            if part is None:
                return None
            parts.append(part)
            va += len(part)
            size -= len(part)
        return b"".join(parts) if parts else None

    def _read_at(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end of the file."""
        return self._bytes(offset, size)

    def _read_file(self, offset: int, size: int) -> bytes:
        """Read the file as it is."""
        parts: list[bytes] = []
        while size:
            try:
                part = os.pread(self._handle, size, offset)
            except (OSError, OverflowError) as error:  # an offset past 2^63
                reason = getattr(error, "strerror", None) or "an impossible offset"
                raise ConstantsError(f"{self.path}: reading failed: {reason}; {_HINT}") from error
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def _read_text(self, head: bytes) -> str:
        if head.startswith(_DISKDUMP) or self._bytes != self._read_file:
            raise ConstantsError(
                f"{self.path} is a dump of a form that is not read: make it an ELF file with"
                f" makedumpfile -E, {_HINT}"
            )
        text = self._read_at(0, _TEXT_CAP).decode("utf-8", "backslashreplace")
        if not any(key in text for key in ("OSRELEASE=", "NUMBER(", "PAGESIZE=")):
            raise ConstantsError(
                f"{self.path} is neither a core file nor the text of a VMCOREINFO note"
                " (lines such as NUMBER(VA_BITS)=48)"
            )
        return text

    def _read_elf(self, head: bytes) -> str:
        if len(head) < _ELF_HEADER.size:
            raise ConstantsError(f"{self.path}: ends inside its ELF header")
        table, count = self._checked(head)
        headers = self._read_at(table, min(count, _HEADERS_CAP) * _SEGMENT.size)
        whole = len(headers) // _SEGMENT.size * _SEGMENT.size
        notes: list[tuple[int, int]] = []
        loads: list[tuple[int, int, int, int]] = []  # virtual, physical, offset, size
        for segment, _, offset, va, pa, size, _, _ in _SEGMENT.iter_unpack(headers[:whole]):
            if segment == _PT_LOAD:
                loads.append((va, pa, offset, size))
            elif segment == _PT_NOTE:
                notes.append((offset, size))
        self._virtual = Segments((va, at, size) for va, _, at, size in loads if va >= _KERNEL)
        named = any(pa for _, pa, _, _ in loads)  # none in a kcore before 4.11
        if named or not any(va >= _KERNEL for va, _, _, _ in loads):
            self._physical = Segments(
                (pa, at, size) for _, pa, at, size in loads if pa + size <= _MOST_PHYSICAL
            )
        text = self._find_vmcoreinfo(notes, outside=any(va < _KERNEL for va, _, _, _ in loads))
        self._map = AddressMap(read_notes(text, []), self.read_physical)
        if not named:
            self._add_linear(loads)
        return text

    def _read_kdump(self) -> str:
        self._kdump = dump = self._named(lambda: Kdump(self._read_at))
        text = dump.vmcoreinfo
        if text is None:
            text = self._find_vmcoreinfo([], outside=True)
        self._map = AddressMap(read_notes(text, []), self.read_physical)
        return text

    def _named(self, make: Callable[[], _T]) -> _T:
        """Return what ``make`` returns; an error of it names the file."""
        try:
            return make()
        except ConstantsError as error:
            text = str(error).removeprefix(f"{self.path}: ")
            raise ConstantsError(f"{self.path}: {text}") from error

    def _checked(self, head: bytes) -> tuple[int, int]:
        """Return where the program headers are, and how many."""
        ident, kind, machine, _, _, table, _, _, _, entry, count, *_ = _ELF_HEADER.unpack(head)
        if machine != AARCH64 or ident[4:6] != b"\2\1":
            what = MACHINES.get(machine, f"machine {machine}")
            if ident[5:6] == b"\2":
                what = "a big-endian machine"
            elif machine == AARCH64:
                what = "a 32-bit program"
            raise ConstantsError(
                f"{self.path} is of {what}: the vmemmap window exists on 64-bit little-endian"
                " arm64 only; give a file of such a kernel"
            )
        if kind != _ET_CORE:
            raise ConstantsError(f"{self.path} is no core file: give it as the vmlinux")
        if entry != _SEGMENT.size:
            raise ConstantsError(f"{self.path}: program headers of {entry} bytes: damaged")
        return table, count

    def _add_linear(self, loads: list[tuple[int, int, int, int]]) -> None:
        """Find by the linear map where the memory is whose place the headers do not name."""
        linear = self._map.linear_range() if self._map else None
        if linear is None or self._physical.ranges():
            return
        start, end, distance = linear
        self._physical = Segments(
            ((va + distance) % (1 << 64), at, min(size, end - va))
            for va, _, at, size in loads
            if start <= va < end
        )

    def _find_vmcoreinfo(self, segments: list[tuple[int, int]], *, outside: bool) -> str:
        """Return the note's text. ``outside``: not the kernel made the file, it may lack it."""
        left = _NOTES_CAP
        for offset, size in segments:
            data = self._read_at(offset, min(size, left))
            for name, content in iter_notes(data):
                if name == b"VMCOREINFO":
                    return content[:_TEXT_CAP].decode("utf-8", "backslashreplace")
            left -= len(data)
            if left <= 0:
                break
        found = find_note(self.physical_ranges, self.read_physical) if outside else None
        if found is not None:
            self.vmcoreinfo_at, text = found
            return text[:_TEXT_CAP]
        raise ConstantsError(
            f"{self.path} has no VMCOREINFO note (a kernel before 4.19, CONFIG_VMCORE_INFO=n, or a"
            f" dump made without it): {_HINT.removeprefix('or ')}"
        )


def looks_like_core(head: bytes) -> bool:
    """Return whether a file that begins so is a dump of memory, of whatever machine and form."""
    elf = head[:4] == b"\x7fELF" and head[16:18] == _ET_CORE.to_bytes(2, "little")
    return elf or head.startswith(_PACKED)


def iter_notes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, content) of each whole ELF note in ``data``; a note cut short ends it."""
    at = 0
    while at + _NOTE.size <= len(data):
        name_size, size, _ = _NOTE.unpack_from(data, at)
        name_at = at + _NOTE.size
        content_at = name_at + (name_size + 3 & ~3)
        end = content_at + size
        if end > len(data):
            return
        yield data[name_at : name_at + name_size].rstrip(b"\0"), data[content_at:end]
        at = content_at + (size + 3 & ~3)


def _opened(path: Path) -> int:
    try:
        return open_regular(path)
    except (OSError, ValueError) as error:
        raise ConstantsError(_open_error(path, error)) from error


def _open_error(path: Path, error: OSError | ValueError) -> str:
    code = getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or str(error)
    if path != KCORE:
        return f"{path}: {reason}"
    if code == errno.ENOENT:
        return f"{path}: not there: the kernel has no CONFIG_PROC_KCORE; {_HINT}"
    if code in (errno.EPERM, errno.EACCES):
        if os.geteuid() != 0:
            return f"{path}: {reason}: run as root, {_HINT}"
        return (
            f"{path}: {reason}: the kernel is locked down (/sys/kernel/security/lockdown) or"
            f" CAP_SYS_RAWIO is missing: have either lifted, {_HINT}"
        )
    return f"{path}: {reason}: {_HINT}"
