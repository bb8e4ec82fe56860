# SPDX-License-Identifier: GPL-2.0-only
"""Finds the VMCOREINFO note in a kernel's memory, for dumps made from outside without it.

The kernel writes it as an ELF note into a page of its own while booting, for whoever dumps it.
Promises: how much is searched is capped; a note is taken only if by its own numbers the kernel's
name of its release (init_uts_ns) is found and is the one the note has: what another boot left in
memory, or a file in the page cache of another kernel, is passed over.

Source: kernel/crash_core.c (vmcoreinfo_note, crash_save_vmcoreinfo_init), init/version.c.
"""

import struct
from collections.abc import Iterator
from typing import Final

from tracers.constants.memory.address_map import AddressMap, Physical
from tracers.machine_files import number, read_notes

SEARCH_CAP: Final = 8 << 30
_PIECE: Final = 1 << 20
_NAME: Final = b"VMCOREINFO\0\0OSRELEASE="
_HEADER: Final = struct.Struct("<III")
_PAGE: Final = 4096
_TEXT_CAP: Final = 1 << 16  # the kernel's own: a page of 4 to 64 KiB
_TRIES: Final = 64
_RELEASE_AT: Final = 2 * 65  # in struct new_utsname, behind sysname and nodename


def find_note(ranges: tuple[tuple[int, int], ...], physical: Physical) -> tuple[int, str] | None:
    """Return the physical address and the text of the note in the memory of ``ranges``."""
    for tried, address in enumerate(_places(ranges, physical)):
        if tried == _TRIES:
            break
        text = _text(address, physical)
        if text is not None and _of_this_kernel(text, physical):
            return address, text
    return None


def _places(ranges: tuple[tuple[int, int], ...], physical: Physical) -> Iterator[int]:
    """Yield the addresses of pages that begin with such a note."""
    left = SEARCH_CAP
    for start, end in ranges:
        for at in range(start, end, _PIECE):
            size = min(_PIECE, end - at, left)
            if size <= 0:
                return
            left -= size
            data = physical(at, size)
            if data is None:
                continue
            found = data.find(_NAME)
            while found >= 0:
                place = at + found - _HEADER.size
                if place % _PAGE == 0:
                    yield place
                found = data.find(_NAME, found + 1)


def _text(address: int, physical: Physical) -> str | None:
    head = physical(address, _HEADER.size)
    if head is None:
        return None
    name_size, size, _ = _HEADER.unpack(head)
    if name_size != 11 or not 0 < size <= _TEXT_CAP:
        return None
    data = physical(address + _HEADER.size + 12, size)
    return None if data is None else data.decode("utf-8", "backslashreplace")


def _of_this_kernel(text: str, physical: Physical) -> bool:
    notes = read_notes(text, [])
    names = number("0x" + notes.get("SYMBOL(init_uts_ns)", ""))
    ahead = number(notes.get("OFFSET(uts_namespace.name)", ""))
    release = notes.get("OSRELEASE", "").encode()
    if names is None or ahead is None or not release:
        return False
    found = AddressMap(notes, physical).find((names + ahead + _RELEASE_AT) % (1 << 64))
    return found is not None and physical(found[0], len(release) + 1) == release + b"\0"
