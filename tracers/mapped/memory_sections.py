# SPDX-License-Identifier: GPL-2.0-only
"""Reads a kernel's mem_section: which physical memory has struct pages, and where they begin.

Promises: every present section is there, up to ``SECTIONS_CAP``, or it is said that not all are;
a section of which the subsections could not be read counts whole, and that is said, too. Nothing
here looks at page tables or at a formula: the kernel's own number of where pfn 0 would have its
struct page is in each section.

Source: include/linux/mmzone.h (SECTION_* flags; sparse_encode_mem_map() of mm/sparse.c), VMCOREINFO
(kernel/vmcore_info.c); the value of the pointer, since a0b1280368d1 ("kdump: write correct address
of mem_section into vmcoreinfo", 4.15). ``struct mem_section_usage`` got a member in front of the
map with 5ec8e8ea8b77 (6.8, and stable kernels): only BTF says where it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from tracers.constants.errors import ConstantsError
from tracers.families import PAGE_SIZES
from tracers.machine_files import number
from tracers.mapped.reading import Read

if TYPE_CHECKING:
    from tracers.constants.btf import Btf

U64 = npt.NDArray[np.uint64]
#: As many sections as are kept: of 128 MiB each they are 512 TiB.
SECTIONS_CAP: Final = 1 << 22
#: As many sections with less than all of their subsections are looked into.
_PARTIAL_CAP: Final = 1 << 16
_ROOTS_CAP: Final = 1 << 20  # pointers to pages of sections: MAX_PHYSMEM_BITS 52 has 2^17
_READ: Final = 1 << 20
_PRESENT, _HAS_MEM_MAP, _ONLINE = 1, 2, 4
#: SECTION_MAP_LAST_BIT has been 3 to 6; the struct page of a section begins at a multiple of more.
_FLAGS: Final = 0x3F
_SUBSECTION: Final = 2 << 20  # bytes of memory (SUBSECTION_SHIFT, 5.3)


@dataclass(frozen=True, slots=True)
class Run:
    """Memory in one piece that has struct pages: pfns [first, first + pages)."""

    first: int
    pages: int
    online: bool  # the page allocator's; else a device's, or memory that is offline


@dataclass(frozen=True, slots=True)
class MemorySections:
    """The present sections. ``section_pages``: PAGES_PER_SECTION."""

    runs: tuple[Run, ...]
    present: int
    section_pages: int
    bases: tuple[int, ...]  # where pfn 0 has its struct page, as the sections say: one, or torn
    problems: tuple[str, ...] = ()

    @property
    def pages(self) -> int:
        """Pages that have a struct page."""
        return sum(run.pages for run in self.runs)


def read_sections(read: Read, notes: Mapping[str, str], btf: "Btf | None") -> MemorySections:
    """Read all sections, by the kernel's VMCOREINFO ``notes``.

    Raises:
        ConstantsError: the note does not say where they are, or the memory cannot be read.
    """
    facts = _Facts.of(notes)
    roots = _roots(read, facts)
    problems: list[str] = []
    present = _sections(read, facts, roots, problems)
    if not len(present.number):
        raise ConstantsError("mem_section has no present section: not of this kernel, or torn")
    bases = np.unique(present.coded & ~np.uint64(_FLAGS))
    if len(bases) > 1:
        problems.append("memory sections disagree on where pfn 0 has its struct page: torn")
    at = btf.offset("mem_section_usage", "subsection_map") if btf else None
    runs = _runs(_Maps(read, at, facts), present, problems)
    return MemorySections(
        tuple(runs), len(present.number), facts.pages, tuple(bases[:16].tolist()), tuple(problems)
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    table: int  # address of the pointers to pages of sections
    roots: int
    size: int  # sizeof(struct mem_section)
    coded: int  # offset of section_mem_map
    page_size: int
    pages: int  # of a section
    most: int  # sections that there can be

    @classmethod
    def of(cls, notes: Mapping[str, str]) -> "_Facts":
        def said(key: str, prefix: str = "") -> int:
            value = number(prefix + notes.get(key, "").removeprefix("0x" if prefix else ""))
            if value is None:
                raise ConstantsError(f"VMCOREINFO does not say {key}")
            return value

        page, bits = said("PAGESIZE"), said("NUMBER(SECTION_SIZE_BITS)")
        size = said("SIZE(mem_section)")
        most = said("NUMBER(MAX_PHYSMEM_BITS)") - bits
        sane = page in PAGE_SIZES and 21 <= bits <= 36 and 16 <= size <= 64 and 0 < most <= 31
        if not sane:
            raise ConstantsError("VMCOREINFO has numbers of sections that no arm64 kernel has")
        return cls(
            said("SYMBOL(mem_section)", "0x"),
            said("LENGTH(mem_section)"),
            size,
            said("OFFSET(mem_section.section_mem_map)"),
            page,
            (1 << bits) // page,
            1 << most,
        )

    @property
    def per_root(self) -> int:
        return self.page_size // self.size


def _roots(read: Read, facts: _Facts) -> U64:
    """Return the addresses of the pages of sections, 0 where there is none."""
    if not 0 < facts.roots <= _ROOTS_CAP:
        raise ConstantsError(f"VMCOREINFO says mem_section has {facts.roots} roots")
    parts = []
    for at in range(0, 8 * facts.roots, _READ):
        data = read(facts.table + at, min(_READ, 8 * facts.roots - at))
        if data is None:
            raise ConstantsError("the memory of mem_section cannot be read")
        parts.append(data)
    return np.frombuffer(b"".join(parts), "<u8").astype(np.uint64, copy=False)


@dataclass(frozen=True, slots=True)
class _Present:
    """The present sections: their numbers, section_mem_map and usage."""

    number: U64
    coded: U64
    usage: U64


def _sections(read: Read, facts: _Facts, roots: U64, problems: list[str]) -> _Present:
    step, count = facts.size // 8, facts.per_root
    found: list[tuple[U64, U64, U64]] = []
    kept = missing = 0
    for index in np.flatnonzero(roots).tolist():
        data = read(int(roots[index]), count * facts.size)
        if data is None:
            missing += 1
            continue
        words = np.frombuffer(data, "<u8").reshape(count, step)
        coded, usage = words[:, facts.coded // 8], words[:, (facts.coded // 8 + 1) % step]
        needed = np.uint64(_PRESENT | _HAS_MEM_MAP)
        present = np.flatnonzero((coded & needed) == needed)
        numbers = np.uint64(index * count) + present.astype(np.uint64)
        present = present[numbers < np.uint64(facts.most)]
        numbers = numbers[: len(present)]
        if kept + len(present) > SECTIONS_CAP:
            problems.append(f"only the first {kept:,} memory sections are kept")
            break
        kept += len(present)
        found.append((numbers, coded[present], usage[present]))
    if missing:
        problems.append(f"{missing:,} pages of memory sections cannot be read")
    columns = ([each[at] for each in found] for at in range(3))
    return _Present(
        *(np.concatenate([np.empty(0, np.uint64), *parts]).astype(np.uint64) for parts in columns)
    )


@dataclass(frozen=True, slots=True)
class _Maps:
    """Where each section's map of its subsections is. ``at``: its offset; None: not known."""

    read: Read
    at: int | None
    facts: _Facts

    @property
    def number(self) -> int:
        """Subsections of a section."""
        return self.facts.pages * self.facts.page_size // _SUBSECTION

    def bits(self, usage: int) -> npt.NDArray[np.uint8] | None:
        """Return a 1 for each subsection that is present, else 0; None: not known."""
        size = max(8, self.number // 8)
        data = None if self.at is None else self.read(usage + self.at, size)
        if data is None:
            return None
        return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: self.number]


def _runs(maps: _Maps, present: _Present, problems: list[str]) -> list[Run]:
    """Return what the sections have, neighbours joined; of those not online by subsections."""
    pages = maps.facts.pages
    online = (present.coded & np.uint64(_ONLINE)) != 0
    sub = np.uint64(pages // maps.number)
    pieces: list[tuple[U64, U64]] = []
    guessed = 0
    partial = np.flatnonzero(~online)
    whole = np.ones(len(online), np.bool_)
    for index in partial[:_PARTIAL_CAP].tolist():
        bits = maps.bits(int(present.usage[index]))
        if bits is None:
            guessed += 1
            continue
        if bits.all():
            continue
        whole[index] = False
        edges = np.flatnonzero(np.diff(np.concatenate(([0], bits, [0])).astype(np.int8)))
        first = np.uint64(int(present.number[index]) * pages)
        begins, ends = edges[::2].astype(np.uint64), edges[1::2].astype(np.uint64)
        pieces.append((first + begins * sub, (ends - begins) * sub))
    guessed += max(0, len(partial) - _PARTIAL_CAP)
    if guessed:
        problems.append(
            f"{guessed:,} memory sections count whole: which subsections they have is not known"
        )
    pieces.insert(
        0,
        (
            present.number[whole] * np.uint64(pages),
            np.full(int(whole.sum()), pages, np.uint64),
        ),
    )
    firsts, lengths = (np.concatenate([piece[at] for piece in pieces]) for at in (0, 1))
    flags = np.zeros(len(firsts), np.bool_)
    flags[: len(pieces[0][0])] = online[whole]
    return _joined(firsts, lengths, flags)


def _joined(first: U64, pages: U64, online: npt.NDArray[np.bool_]) -> list[Run]:
    order = np.argsort(first)
    first, pages, online = first[order], pages[order], online[order]
    if not len(first):
        return []
    end = first + pages
    begins = np.concatenate(
        ([True], (first[1:] != end[:-1]) | (online[1:] != online[:-1]))
    ).nonzero()[0]
    ends = np.concatenate((begins[1:], [len(first)])) - 1
    return [
        Run(a, b - a, flag)
        for a, b, flag in zip(
            first[begins].tolist(), end[ends].tolist(), online[begins].tolist(), strict=True
        )
    ]
