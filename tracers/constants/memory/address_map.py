# SPDX-License-Identifier: GPL-2.0-only
"""From a kernel's addresses to physical ones, in a dump that names physical ones alone.

Two ways: by arithmetic (the linear map, the kernel's image), and by the page tables, which lie in
the image. Promises: an address that the tables do not map is None; arithmetic is used only as far
as the tables agree with it, or where the dump has none; every walk ends, whatever a table says.

Source: arch/arm64/include/asm/memory.h (__lm_to_phys, __kimg_to_phys), pgtable-hwdef.h,
arch/arm64/mm/proc.S (TTBR1 of a 52-bit kernel on a 48-bit CPU), kernel/crash_core.c (the note).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from tracers.constants.memory.descriptors import Tables, is_leaf
from tracers.families import MASK, TOP, VA_BITS
from tracers.machine_files import number

_TABLES: Final = 512  # kept: a walk of memory in order needs a few
#: Behind the last symbol of the image that the note names: how far its data may go on.
_IMAGE_REST: Final = 32 << 20
_IMAGE_CAP: Final = 256 << 20
_HEADER: Final = 2 << 20  # before _stext

#: (address, size) -> physical memory, None where the dump has none.
Physical = Callable[[int, int], bytes | None]


class _Facts(NamedTuple):
    """What the note says."""

    made: Tables
    va_bits: int
    linear: tuple[int, int]  # [start, end)
    to_linear: int  # physical - linear, modulo 2^64
    image: tuple[int, int] | None
    image_offset: int
    tables: int | None  # swapper_pg_dir's physical address


class AddressMap:
    """One kernel's addresses, by its VMCOREINFO note."""

    def __init__(self, notes: Mapping[str, str], physical: Physical) -> None:
        """``notes``: of ``machine_files.read_notes``."""
        self._facts = facts = _facts(notes)
        self._physical = physical
        self._table = lru_cache(_TABLES)(self._read_table)
        self._walks = False
        self._linear = facts is not None
        if facts is not None and facts.tables is not None and facts.image is not None:
            alias = (facts.tables - facts.to_linear) & MASK
            image_va = (facts.tables + facts.image_offset) & MASK
            walked = self._walk(facts, image_va)
            self._walks = walked is not None and walked[0] == facts.tables
            if self._walks:
                walked = self._walk(facts, alias)
                self._linear = walked is not None and walked[0] == facts.tables

    def find(self, va: int) -> tuple[int, int] | None:
        """Return the physical address of ``va``, and how many bytes follow on; None: not mapped."""
        facts = self._facts
        if facts is None:
            return None
        if self._linear and facts.linear[0] <= va < facts.linear[1]:
            return (va + facts.to_linear) & MASK, facts.linear[1] - va
        if self._walks:
            return self._walk(facts, va)
        if facts.image and facts.image[0] <= va < facts.image[1]:
            return (va - facts.image_offset) & MASK, facts.image[1] - va
        return None

    def linear_range(self) -> tuple[int, int, int] | None:
        """Return [start, end) of the linear map, and what leads from there to physical."""
        return (*self._facts.linear, self._facts.to_linear) if self._facts else None

    def _walk(self, facts: _Facts, va: int) -> tuple[int, int] | None:
        """Look ``va`` up in the kernel's own tables: at most five reads."""
        tables, made = facts.tables, facts.made
        if tables is None or not (TOP - (1 << facts.va_bits)) <= va < TOP:
            return None
        for level in range(made.levels - 1, -1, -1):
            index = made.index(va, level)
            data = self._table(tables + (index >> 9) * 4096)
            if data is None:
                return None
            entry = int.from_bytes(data[(index & 511) * 8 : (index & 511) * 8 + 8], "little")
            if not entry & 1:
                return None
            if is_leaf(entry, level):
                size = 1 << made.reach(level)
                start = made.output(entry) & ~(size - 1)
                return start + (va & (size - 1)), size - (va & (size - 1))
            if not level:
                return None
            tables = made.output(entry)
        return None

    def _read_table(self, address: int) -> bytes | None:
        return self._physical(address, 4096)


def _facts(notes: Mapping[str, str]) -> _Facts | None:
    """Read the note; None where it lacks what all else rests on."""
    page_size, va_bits = (number(notes.get(key, "")) for key in ("PAGESIZE", "NUMBER(VA_BITS)"))
    offset, voffset = (
        number(notes.get(f"NUMBER({key})", "")) for key in ("PHYS_OFFSET", "kimage_voffset")
    )
    if page_size not in VA_BITS or va_bits not in VA_BITS[page_size] or offset is None:
        return None
    size = number(notes.get("NUMBER(TCR_EL1_T1SZ)", ""))
    in_use = min(64 - size, va_bits) if size is not None and 12 <= size <= 39 else va_bits
    symbols = {
        key: value
        for key, text in notes.items()
        if key.startswith("SYMBOL(") and (value := number(f"0x{text}")) is not None
    }
    stext = symbols.get("SYMBOL(_stext)")
    image = None
    if stext is not None:
        near = [va for va in symbols.values() if stext <= va < stext + _IMAGE_CAP]
        image = max(0, stext - _HEADER) & ~0xFFFF, min(max(near) + _IMAGE_REST, TOP)
    return _Facts(
        Tables.of(page_size, va_bits, in_use),
        va_bits,
        *_linear(notes, va_bits, in_use, stext, offset),
        image if voffset is not None else None,
        voffset or 0,
        _tables(symbols, voffset),
    )


def _linear(
    notes: Mapping[str, str], va_bits: int, in_use: int, stext: int | None, offset: int
) -> tuple[tuple[int, int], int]:
    """Return the linear map's range and its distance from physical addresses.

    It is the lower half of the kernel's addresses since 14c127c957c1 (5.4), the upper one before:
    the kernel's own text is in the other.
    """
    least = min(va_bits, 48)
    modules = number(notes.get("NUMBER(MODULES_VADDR)", ""))
    if stext is not None and stext < TOP - (1 << least - 1):
        return (TOP - (1 << va_bits - 1), TOP), (offset + (1 << va_bits - 1)) & MASK
    end = TOP - (1 << least - 1)
    if modules is not None and modules > TOP - (1 << 47):  # with 16K pages VA_BITS_MIN can be 47
        end = max(end, TOP - (1 << (TOP - modules - 1).bit_length()))
    return (TOP - (1 << va_bits), end), (offset + (1 << va_bits)) & MASK


def _tables(symbols: Mapping[str, int], voffset: int | None) -> int | None:
    tables = symbols.get("SYMBOL(swapper_pg_dir)")
    if tables is None or voffset is None or tables % 4096:
        return None
    return (tables - voffset) & MASK
