# SPDX-License-Identifier: GPL-2.0-only
"""Reads debugfs kernel_page_tables: where its markers stand, and which kernel they can be of.

The dump does not say its page size; what lies at which level does: an entry of a level starts at a
multiple of what it maps, and contiguous entries at a multiple of what they map together.

Promises: a marker is no more exact than the kernel prints it. A window is that of the one kernel
whose every border fits; where several fit, or only an interval is known that none fits, there is
none and ``reason`` says so. Lines that are none of a dump (a shell's prompt) are passed over, and
where lines are missing beside a marker, it tells little.

Source: note_page() and address_markers, arch/arm64/mm/ptdump.c; PTRS_PER_* and CONT_* of
arch/arm64/include/asm/pgtable-hwdef.h. "vmemmap start" is that of the part in use from 6.9 on
(f9cca2444187), and the walk starts at PAGE_OFFSET of the bits in use; before, of VA_BITS.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from tracers.families import PAGE_SIZES, TOP, VA_BITS, Family, va_bits_min
from tracers.formulas import formula
from tracers.layout import marks
from tracers.window import Window

_LINE = re.compile(
    r"^[ \t]*(?:0x([0-9a-f]{16})-0x([0-9a-f]{16}) +\d+[KMGTPE] (PGD|P4D|PUD|PMD|PTE)\b(.*)"
    r"|---\[ (.{1,40}?) \]---[ \t]*\r?)$",
    re.MULTILINE,
)
_AT_MOST: Final = 64  # markers

#: ptdump's markers, lower case (their case changed over the releases) -> the kernel's macro.
MARKERS: Final[Mapping[str, str]] = {
    "linear mapping start": "PAGE_OFFSET",
    "linear mapping": "PAGE_OFFSET",  # until 5.3, when it was the last region
    "linear mapping end": "PAGE_END",
    "kasan shadow start": "KASAN_SHADOW_START",
    "kasan shadow end": "KASAN_SHADOW_END",
    "modules start": "MODULES_VADDR",
    "modules end": "MODULES_END",
    "vmalloc() area": "VMALLOC_START",
    "vmalloc() end": "VMALLOC_END",
    "fixmap start": "FIXADDR_START",
    "fixmap end": "FIXADDR_TOP",
    "pci i/o start": "PCI_IO_START",
    "pci i/o end": "PCI_IO_END",
    "vmemmap start": "VMEMMAP_START",
    "vmemmap end": "VMEMMAP_END",
}
#: The borders that no option moves.
_FIXED: Final = ("VMALLOC_END", "PCI_IO_START", "PCI_IO_END", "FIXADDR_TOP")
#: Contiguous entries: so many PTEs, and PMDs, have the CON bit together.
_CONTIGUOUS: Final = {4096: (16, 16), 16384: (128, 32), 65536: (32, 32)}
#: sizeof(struct page) that are worth a try where 64 does not fit.
_OTHER_SIZES: Final = (56, *range(72, 129, 8))


@dataclass(frozen=True, slots=True)
class Mark:
    """Where kernel_page_tables shows a marker: the border lies in (``low``, ``addr``]."""

    name: str  # the kernel's macro
    addr: int
    low: int | None  # None: not known how far below

    def exact(self, page_size: int) -> bool:
        """Say whether the border can only be ``addr`` itself."""
        return self.low is not None and self.addr - self.low <= page_size

    def agrees(self, border: int) -> bool:
        """Say whether the border can lie at ``border``."""
        return border <= self.addr and (self.low is None or border > self.low)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a kernel's page tables are built: CONFIG_ARM64_PAGE_SHIFT and PGTABLE_LEVELS."""

    page_size: int
    levels: int

    @classmethod
    def of(cls, page_size: int, va_bits: int) -> "Geometry":
        """Return that of a kernel built for ``va_bits``."""
        return cls(page_size, (va_bits - 4) // (page_size.bit_length() - 1 - 3))

    def entry(self, level: str) -> int | None:
        """Return the bytes that one entry maps at ``level``; None: there is no such level."""
        between = ("PTE", "PMD", "PUD", "P4D")[: self.levels - 1]
        names = [*between, "PGD"]
        if level not in names:
            return None
        return self.page_size << (self.page_size.bit_length() - 1 - 3) * names.index(level)


@dataclass(frozen=True, slots=True)
class _Printed:
    """A marker as it is printed: behind an entry of ``level`` that ends at ``addr``."""

    name: str
    addr: int
    level: str
    late: bool


@dataclass(frozen=True)
class Dump:
    """What a dump of page tables holds; falsy: nothing."""

    page_offset: int | None = None  # where the walk starts, if at the linear map
    printed: tuple[_Printed, ...] = ()
    #: level -> all addresses where its entries start or end, or'ed; of contiguous ones likewise
    edges: Mapping[str, int] = field(default_factory=dict)
    contiguous: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Say whether there is anything."""
        return bool(self.edges)

    def marks(self, page_size: int, va_bits: int) -> list[Mark]:
        """Return the markers with how well they tell the border, if built like that.

        A marker is printed at the first table entry at or past its border, so it is late by less
        than the entry before it maps; and two at most are printed at one entry, so that one after
        two others may be later still (note_page, arch/arm64/mm/ptdump.c).
        """
        geometry = Geometry.of(page_size, va_bits)
        found = []
        for each in self.printed:
            entry = geometry.entry(each.level) or geometry.entry("PGD") or 0
            found.append(Mark(each.name, each.addr, None if each.late else each.addr - entry))
        return found

    @cached_property
    def geometries(self) -> frozenset[Geometry]:
        """Those that the dump can be of."""
        every = {Geometry.of(page, bits) for page in PAGE_SIZES for bits in VA_BITS[page]}
        return frozenset(each for each in every if self._possible(each))

    def _possible(self, geometry: Geometry) -> bool:
        for level, edges in self.edges.items():
            entry = geometry.entry(level)
            if entry is None or edges % entry:
                return False
        counts = dict(zip(("PTE", "PMD"), _CONTIGUOUS[geometry.page_size], strict=True))
        return not any(
            edges % ((geometry.entry(level) or 1) * counts[level])
            for level, edges in self.contiguous.items()
            if level in counts
        )


def read_dump(text: str) -> Dump:
    """Read a dump; whatever the text is, this raises nothing."""
    edges: dict[str, int] = {}
    contiguous: dict[str, int] = {}
    printed: list[_Printed] = []
    waiting: list[_Printed] = []  # of the entry before: late or not is known, missing lines are not
    names: list[str] = []  # markers before any entry
    page_offset: int | None = None
    end, level, together, late = 0, "", 0, False
    for line in _LINE.finditer(text):
        first, last, found, flags, marker = line.groups()
        if marker is not None:
            together += 1
            name = MARKERS.get(marker.lower())
            if name is None:
                continue
            if not level:
                names.append(name)
            elif len(printed) + len(waiting) < _AT_MOST:
                waiting.append(_Printed(name, end or TOP, level, late))
            continue
        start, stop = int(first, 16), int(last, 16)
        if not level and names[:1] == ["PAGE_OFFSET"]:
            page_offset = start
        gap = start != end  # lines are missing here
        printed += (_Printed(m.name, m.addr, m.level, m.late or gap) for m in waiting)
        waiting.clear()
        late, together = together == 2, 0
        end, level = stop, found
        edges[found] = edges.get(found, 0) | start | stop
        if " CON " in flags:
            contiguous[found] = contiguous.get(found, 0) | start | stop
    printed += waiting
    return Dump(page_offset, tuple(printed), edges, contiguous)


@dataclass(frozen=True, slots=True)
class Found:
    """The window that a dump shows, or why it shows none."""

    window: Window | None
    reason: str = ""
    built_for: tuple[int, ...] = ()  # CONFIG_ARM64_VA_BITS as it can be; the window's is the first
    only_size: bool = False  # no other sizeof(struct page) fits; without a size: several do


def window_of_dump(
    dump: Dump,
    *,
    va_bits: int | None = None,
    page_size: int | None = None,
    struct_page: int | None = None,
    vabits_actual: int | None = None,
    family: Family | None = None,
) -> Found:
    """Return the window whose every border stands where ``dump`` has its marker.

    What is known from elsewhere narrows it down; ``family``: that of the release, which decides
    between several.
    """
    if not dump:
        return Found(None, "no page tables in it")
    shown = {each.name for each in dump.printed}
    if missing := [n for n in ("VMEMMAP_START", "VMEMMAP_END") if n not in shown]:
        return Found(None, f"no marker of {' or '.join(missing)}")
    known = (va_bits, page_size, vabits_actual)
    kernels = [
        (each, page, number, bits)
        for each in Family
        for page in PAGE_SIZES
        for number in VA_BITS[page]
        for bits in sorted({va_bits_min(each, number, page), number})
        if all(want in (None, have) for want, have in zip(known, (number, page, bits), strict=True))
        and (number <= 48 or page in each.value.pages_52)
        and Geometry.of(page, number) in dump.geometries
        and _walk_starts(dump, each, number, bits)
    ]
    if not kernels:
        return Found(None, "no kernel has such page tables")
    usual = (64,) if struct_page is None else (struct_page,)
    others = _OTHER_SIZES if struct_page is None else ()
    fitting, rest = _fitting(dump, kernels, usual), _fitting(dump, kernels, others)
    chosen = fitting or rest
    alike = _alike(chosen)
    if len(alike) > 1:
        alike = _alike(window for window in chosen if window.family is family) or alike
    if len(alike) > 1:  # built alike: only the bits in use are not known
        alike = _alike(replace(made[0], vabits_actual=None) for made in alike.values())
    if len(alike) == 1:
        windows = next(iter(alike.values()))
        one_size = len({window.struct_page for window in windows}) == 1
        return Found(
            windows[0] if one_size else replace(windows[0], struct_page=None),
            "",
            tuple(dict.fromkeys(window.va_bits or 0 for window in windows)),
            one_size and not (fitting and rest),
        )
    if alike:
        said = ", ".join(
            f"{made[0].family.label if made[0].family else ''} with {made[0].page_size} byte pages,"
            f" {made[0].vabits_actual} bits in use"
            for made in alike.values()
        )
        return Found(None, f"its markers fit more than one kernel: {said}")
    return Found(None, "its markers are not where any known layout has these borders")


def _walk_starts(dump: Dump, family: Family, va_bits: int, bits: int) -> bool:
    """Say whether a kernel's walk can start where this does: at its PAGE_OFFSET, since 5.4."""
    if family.value.linear_on_top:
        return dump.page_offset is None
    if dump.page_offset is None:  # the dump's first lines are missing
        return True
    able = {bits} if family.value.vmalloc_takes_unused else {bits, va_bits}
    return dump.page_offset in {TOP - (1 << number) for number in able}


def _fitting(
    dump: Dump, kernels: Collection[tuple[Family, int, int, int]], sizes: Iterable[int]
) -> list[Window]:
    windows = (
        Window(
            *formula(family, va_bits=number, page_size=page, struct_page=size),
            va_bits=number,
            page_size=page,
            struct_page=size,
            vabits_actual=bits,
            family=family,
        )
        for size in sizes
        for family, page, number, bits in kernels
    )
    return [window for window in windows if _fits(dump, window)]


def _fits(dump: Dump, window: Window) -> bool:
    made = marks(window)
    borders: dict[str, tuple[int, ...]] = {n: (made[n],) for n in _FIXED if n in made}
    borders["VMEMMAP_END"] = (window.end,)
    borders["VMEMMAP_START"] = (window.used[0],)
    if not window.vmalloc_takes_unused:
        borders["VMEMMAP_START"] = (window.start,)
    if window.family is not None and window.family.value.linear_on_top:
        borders["PAGE_OFFSET"] = (made["PAGE_OFFSET"],)
    return all(
        any(mark.agrees(border) for border in borders.get(mark.name, (mark.addr,)))
        for mark in dump.marks(window.page_size or 0, window.va_bits or 0)
    )


def _alike(windows: Iterable[Window]) -> dict[tuple[object, ...], list[Window]]:
    """Group windows in use that are the same, whatever the kernel was built for."""
    found: dict[tuple[object, ...], list[Window]] = {}
    for window in windows:
        where = window.used if window.use_known else (window.start, window.end)
        key = (where, window.family, window.page_size, window.vabits_actual)
        found.setdefault(key, []).append(window)
    return found
