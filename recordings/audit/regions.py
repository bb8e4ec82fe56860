# SPDX-License-Identifier: GPL-2.0-only
"""Joins what the sources say to one row a region of memory that has struct pages.

A row begins with whoever knows the memory: its sections, else a resource of /proc/iomem whose
struct pages are where they must lie, else the page tables alone. Then every other source is asked
about the same range.

Promises: each source stands for itself in a row, with "not known" apart from "no"; what is mapped
where nothing but struct pages of somewhere else can be is a row, whoever knows of it. Memory of
the page allocator inside the window is summed up, not listed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from tracers.families import MASK
from tracers.layout import GUARD_HOLE, UNUSED, Layout
from tracers.mapped.kernel_lists import SYSTEM_RAM, Resource
from tracers.mapped.mappings import DEVICE, NORMAL, Mappings
from tracers.mapped.sources import DUMP, FULL, DeviceMemory, Sources
from tracers.window import Regime, Window

#: Physical granule of ZONE_DEVICE (SUBSECTION_SIZE).
_SUBSECTION: Final = 2 << 20
#: Regions of a layout where the kernel maps nothing at all.
_FREE: Final = frozenset({"unused", "unknown", GUARD_HOLE, UNUSED})
_PCI: Final = "PCI I/O"
_ROWS: Final = 4096


@dataclass(frozen=True, slots=True)
class Region:
    """Memory that has struct pages, and where those lie.

    ``mapped``: source -> bytes of its struct pages that are mapped there; missing: not asked or
    not all seen. ``present``: pages that the memory sections have; None: not asked. ``also``: what
    else has those addresses.
    """

    name: str
    owner: str  # "" if nothing says it
    start: int  # physical; of a ``stray`` where its pfns would be
    end: int
    page_start: int
    page_size: int  # bytes of its struct pages
    regime: Regime
    silent: bool = False
    lands_on: str = ""
    ram: bool = False
    stray: bool = False  # mapped, and no source knows whose it is
    resource: bool | None = None  # whether /proc/iomem has it
    present: int | None = None
    mapped: "dict[str, int]" = field(default_factory=dict)
    also: tuple[str, ...] = ()
    mapped_at: int | None = None  # where its low bits lead in the kernel's tables, if not there
    mapped_on: str = ""  # what lies at ``mapped_at``
    unsure: bool = False  # mapped where it would be, which may be somebody else's mapping

    @property
    def page_end(self) -> int:
        """Where its struct pages end, modulo 2^64."""
        return (self.page_start + self.page_size) & MASK

    @property
    def hit(self) -> bool:
        """Whether its struct pages are known to lie outside the window in use."""
        return self.regime not in (Regime.INSIDE, Regime.UNKNOWN) and not self.unsure


class Regions:
    """The rows of ``sources``, which must have a window with memstart_addr and its sizes."""

    def __init__(self, sources: Sources, window: Window, layout: Layout) -> None:
        self._sources = sources
        self._window = window
        self._layout = layout
        self._page = window.page_size or 4096
        self._struct_page = window.struct_page or 64

    def rows(self) -> list[Region]:
        """Return all, in order of physical address; at most ``_ROWS``."""
        found = [self._of_memory(device) for device in self._sources.devices]
        found += self._ram_outside()
        if self._sources.sections is None:
            found += self._of_resources(found)
        found += self._strays(found)
        found = [self._asked(each) for each in found[:_ROWS]]
        return sorted(found, key=lambda each: (each.stray, each.start))

    def _row(self, name: str, owner: str, first: int, pages: int) -> Region:
        """Return the row of pfns [first, first + pages)."""
        start = self._window.pfn_to_page(first & MASK)
        size = pages * self._struct_page
        end = (start + size) & MASK
        return Region(
            name,
            owner,
            first * self._page,
            (first + pages) * self._page,
            start,
            size,
            self._window.regime(start, end),
            self._window.silent(start, end),
            self._layout.lands_on(start, end),
        )

    def _of_memory(self, device: DeviceMemory) -> Region:
        resource = self._resource(device.first * self._page, device.pages * self._page)
        kind = device.map.type if device.map else "not online"
        owner = f"{kind}, module {device.module}" if device.module else kind
        name = resource.name if resource else "(no resource)"
        if resource and resource.ram:
            owner = "offline memory"
        return replace(self._row(name, owner, device.first, device.pages), present=device.pages)

    def _ram_outside(self) -> Iterator[Region]:
        """Yield memory of the page allocator that is outside: more RAM than the window covers."""
        sections = self._sources.sections
        if sections is not None:
            runs = [(run.first, run.pages) for run in sections.runs if run.online]
        else:
            runs = [
                (each.start // self._page, (each.end - each.start) // self._page)
                for each in self._sources.resources
                if each.ram and not each.in_ram
            ]
        for first, pages in runs:
            row = self._row(SYSTEM_RAM, "page allocator", first, pages)
            if row.regime is not Regime.INSIDE:
                yield replace(row, ram=True, present=pages if sections else None)

    def _of_resources(self, known: list[Region]) -> Iterator[Region]:
        """Yield resources whose struct pages are mapped where they must lie, without sections."""
        tables = self._tables()
        if tables is None:
            return
        taken = [(each.start, each.end) for each in known]
        # the innermost name first
        for each in sorted(self._sources.resources, key=lambda r: -len(r.above)):
            inner = -(-each.start // _SUBSECTION) * _SUBSECTION
            size = each.end // _SUBSECTION * _SUBSECTION - inner
            if size <= 0 or each.ram or each.in_ram:
                continue
            if any(start < inner + size and inner < end for start, end in taken):
                continue
            row = self._row(
                each.name, " / ".join(each.above), inner // self._page, size // self._page
            )
            theirs = self._all_mapped(tables, row)
            if theirs is not False:
                taken.append((row.start, row.end))
                yield replace(row, unsure=theirs is None)

    def _all_mapped(self, tables: Mappings, row: Region) -> bool | None:
        """Say whether all of a range is mapped; None: it is, perhaps for somebody else."""
        unsure = False
        for start in self._places(row):
            part = tables.within(start, row.page_size).of_kind(NORMAL)
            if part.size < row.page_size:
                continue
            if row.regime is Regime.INSIDE and start == row.page_start:
                return True
            names = set(self._layout.lands_on(start, (start + row.page_size) & MASK).split(" + "))
            if names <= _FREE | {_PCI, "vmemmap"}:
                return True
            if "vmalloc" in names and self._sources.areas:
                if not self._areas(start, row.page_size):
                    return True
            elif names.isdisjoint(FULL):
                unsure = True
        return None if unsure else False

    def _places(self, row: Region) -> tuple[int, ...]:
        """Return where a row's struct pages may be found in the kernel's tables.

        vmemmap_populate() takes the entry of the kernel's table that the low bits of an address
        lead to (pgd_offset_k()), and so maps what has wrapped into the user half in the kernel's.
        """
        bits = self._window.vabits_actual or self._window.va_bits
        alias = row.page_start | (MASK >> bits << bits & MASK) if bits else row.page_start
        return tuple(dict.fromkeys((row.page_start, alias)))

    def _strays(self, known: list[Region]) -> Iterator[Region]:
        """Yield what is mapped as normal memory where nothing is but struct pages gone astray."""
        tables = self._tables()
        if tables is None:
            return
        places = [(at, row.page_size) for row in known for at in self._places(row)]
        rest = tables.of_kind(NORMAL).without(places)
        for region in self._layout.regions:
            if not region.start >> 63 or region.name not in (*_FREE, _PCI):
                continue
            for part in rest.within(region.start, region.end - region.start).stretches():
                first = self._window.page_to_pfn(part.start)
                pages = part.size // self._struct_page
                row = self._row("(unknown)", "", first, pages)
                yield replace(row, stray=True, start=row.start & MASK, end=row.end & MASK)

    def _asked(self, row: Region) -> Region:
        """Return the row with what every source says of it."""
        mapped: dict[str, int] = {}
        elsewhere: int | None = None
        for name, tables in self._sources.tables.items():
            sizes = [
                (tables.within(at, row.page_size).of_kind(NORMAL).size, at)
                for at in self._places(row)
                if tables.seen(at, row.page_size)
            ]
            if sizes:
                size, at = max(sizes, key=lambda each: each[0])
                mapped[name] = size
                if size and at != row.page_start:
                    elsewhere = at
        resource = None
        if self._sources.resources and not row.stray:
            resource = self._resource(row.start, row.end - row.start) is not None
        also: list[str] = []
        for at in self._places(row):
            also += self._areas(at, row.page_size)
            if (best := self._tables()) is not None:
                registers = best.within(at, row.page_size).of_kind(DEVICE)
                also += [
                    f"0x{each.start:016x} - 0x{each.end:016x} a device's registers"
                    for each in registers.stretches()
                ]
        on = ""
        if elsewhere is not None:
            on = self._layout.lands_on(elsewhere, (elsewhere + row.page_size) & MASK)
        return replace(
            row,
            mapped=mapped,
            mapped_at=elsewhere,
            mapped_on=on,
            resource=resource,
            also=tuple(also[:8]),
        )

    def _areas(self, start: int, size: int) -> list[str]:
        """Return what else has addresses of [start, start + size)."""
        end = start + size
        return [
            f"0x{each.start:016x} - 0x{each.end:016x} {each.what}"
            for each in self._sources.areas
            if each.start < end and start < each.end
        ]

    def _tables(self) -> Mappings | None:
        """Return the tables by the kernel's own dump, else by our walk."""
        tables = self._sources.tables
        return tables.get(DUMP) or next(iter(tables.values()), None)

    def _resource(self, start: int, size: int) -> Resource | None:
        """Return the innermost resource that has all of a physical range, else touches it."""
        end = start + size
        whole = [r for r in self._sources.resources if r.start <= start and end <= r.end]
        if whole:
            return max(whole, key=lambda each: len(each.above))
        parts = [r for r in self._sources.resources if r.start < end and start < r.end]
        return max(parts, key=lambda r: min(r.end, end) - max(r.start, start), default=None)


def contradictions(rows: Iterable[Region], sources: Sources, window: Window) -> Iterator[str]:
    """Yield what two sources say of the same that cannot both be true, a line each."""
    if sources.sections is not None:
        for base in sources.sections.bases:
            if base != window.vmemmap:
                yield (
                    f"mem_section has the struct page of pfn 0 at 0x{base:016x}, the window's"
                    f" vmemmap is 0x{window.vmemmap:016x}"
                )
    for row in rows:
        for name, size in row.mapped.items():
            # where others are, vmemmap_populate() leaves what it finds, and maps the rest
            if row.present and size < row.page_size and not row.also:
                yield (
                    f"mem_section has struct pages of 0x{row.start:x} - 0x{row.end - 1:x} at"
                    f" 0x{row.page_start:016x}, {name} has {size:#x} of {row.page_size:#x} bytes"
                    " mapped there"
                )
        if len(set(row.mapped.values())) > 1:
            said = ", ".join(f"{name} {size:#x}" for name, size in row.mapped.items())
            yield f"of the struct pages at 0x{row.page_start:016x} are mapped: {said} bytes"
