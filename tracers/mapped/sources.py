# SPDX-License-Identifier: GPL-2.0-only
"""Asks every source that there is what a kernel has mapped: the running one, a folder, a dump.

Promises: a source that cannot be read is left out with its reason in ``missing``; what the others
say stays. What changes while it is read is read again, and if it goes on changing, that is said.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from tracers.constants.btf import Btf
from tracers.constants.core_file import KCORE, Core
from tracers.constants.errors import ConstantsError
from tracers.constants.gather import gather
from tracers.constants.image.symbols import SymbolTable
from tracers.constants.resources import iomem_text
from tracers.constants.running import RunningFiles
from tracers.layout import Layout
from tracers.machine import Machine, assemble, side_files
from tracers.machine_files import CAPS, SideFiles, read_notes
from tracers.mapped.btf_in_memory import btf_in_memory
from tracers.mapped.device_pages import DevicePages, PageMap, module_of
from tracers.mapped.kernel_lists import Area, Resource, areas, modules, resources
from tracers.mapped.mappings import Mappings
from tracers.mapped.memory_sections import MemorySections, read_sections
from tracers.mapped.page_table_dump import mapped_in_dump
from tracers.mapped.page_walk import TABLES_CAP, PageTables
from tracers.mapped.reading import Read, either
from tracers.mapped.vmalloc_areas import read_areas
from tracers.regular_files import read_regular

#: The sources of what is mapped.
DUMP: Final = "kernel_page_tables"
WALK: Final = "swapper_pg_dir"
SECTIONS: Final = "mem_section"
IOMEM: Final = "iomem"
AREAS: Final = "vmalloc areas"

_DUMP_PATH: Final = "sys/kernel/debug/kernel_page_tables"
_DUMP_CAP: Final = 256 << 20
_LIST_CAP: Final = 64 << 20
_TRIES: Final = 4
#: Where other code maps and unmaps all the time.
_BUSY: Final = ("vmalloc", "modules", "fixmap")
#: Where every address is mapped, by design.
FULL: Final = ("linear map", "KASAN shadow")


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory that has struct pages and is not the page allocator's: pfns [first, first + pages)."""

    first: int
    pages: int
    map: PageMap | None = None
    module: str | None = None


@dataclass(frozen=True)
class Sources:
    """What each source says; ``None`` or empty where it could not be asked."""

    machine: Machine
    tables: Mapping[str, Mappings] = field(default_factory=dict)  # by ``DUMP`` and ``WALK``
    sections: MemorySections | None = None
    devices: tuple[DeviceMemory, ...] = ()  # of the sections, by their page maps
    resources: tuple[Resource, ...] = ()
    areas: tuple[Area, ...] = ()
    said: Mapping[str, str] = field(default_factory=dict)  # source -> what it read
    missing: Mapping[str, str] = field(default_factory=dict)  # source -> why there is nothing
    problems: tuple[str, ...] = ()


def ask_folder(folder: Path) -> Sources:
    """Ask the side files of a machine: kernel_page_tables, iomem and vmallocinfo.

    Raises:
        MachineError: no such directory, or none of the files in it.
    """
    files = side_files(folder)
    asked = Asked(assemble(files))
    asked.missing[SECTIONS] = asked.missing[WALK] = "a folder has no memory of the kernel"
    asked.dump(files.texts.get("kernel_page_tables"), "no file kernel_page_tables")
    asked.lists(
        files.texts.get("iomem"), _text(folder / "vmallocinfo", CAPS["iomem"]), "no file {}"
    )
    return asked.sources()


def ask_running(root: Path = Path("/"), machine: Machine | None = None) -> Sources:
    """Ask the running kernel, by its files under ``root``; ``machine``: where it is known before.

    Raises:
        ConstantsError: it is not arm64.
    """
    files = RunningFiles(root)
    asked = Asked(machine or gather(live=True, running=files, root=root).machine())
    why = "hidden from all but root" if os.geteuid() else "its addresses are hidden or hashed"
    asked.lists(
        _text(root / "proc/iomem", _LIST_CAP), _text(root / "proc/vmallocinfo", _LIST_CAP), why
    )
    asked.modules = modules(_text(root / "proc/modules", _LIST_CAP) or "")
    path = root / _DUMP_PATH
    asked.dump(
        _text(path, _DUMP_CAP),
        "no CONFIG_PTDUMP_DEBUGFS, or debugfs is not mounted or locked down"
        if not os.access(path, os.R_OK)
        else "it could not be read: lockdown",
        again=lambda: _text(path, _DUMP_CAP),
    )
    try:
        btf = files.types
    except (OSError, ConstantsError):
        btf = None
    try:
        names = files.names
    except ConstantsError:
        names = None
    try:
        with Core(root / KCORE.relative_to("/")) as core:
            asked.memory(core, btf, names, changes=True)
    except ConstantsError as error:
        asked.missing[WALK] = asked.missing[SECTIONS] = str(error)
    return asked.sources()


def ask_dump(core: Core) -> Sources:
    """Ask a dump of a kernel's memory.

    Raises:
        ConstantsError: it is the text of a note alone, or nothing in it describes the kernel.
    """
    if not core.is_memory:
        raise ConstantsError(
            f"{core.path} has no memory, only a note: give it in a folder, --machine"
        )
    iomem = iomem_text(core)
    files = SideFiles(texts={"kcore-vmcoreinfo": core.vmcoreinfo})
    if iomem:
        files.texts["iomem"] = iomem
    asked = Asked(assemble(files))
    asked.missing[DUMP] = "a dump has no debugfs"
    asked.lists(iomem, None, "its {} is not in memory as this version knows it")
    asked.memory(core, btf_in_memory(core), None, changes=False)
    return asked.sources()


class Asked:
    """What was said so far, source by source."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tables: dict[str, Mappings] = {}
        self.sections: MemorySections | None = None
        self.devices: tuple[DeviceMemory, ...] = ()
        self.resources: tuple[Resource, ...] = ()
        self.areas: tuple[Area, ...] = ()
        self.modules: tuple[tuple[str, int, int], ...] = ()
        self.said: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.problems: list[str] = []

    def sources(self) -> Sources:
        """Return all that was said."""
        return Sources(
            self.machine,
            self.tables,
            self.sections,
            self.devices,
            self.resources,
            self.areas,
            self.said,
            self.missing,
            tuple(self.problems),
        )

    def lists(self, iomem: str | None, vmallocinfo: str | None, why: str) -> None:
        """Take /proc/iomem and /proc/vmallocinfo."""
        self.resources = resources(iomem or "")
        self.areas = areas(vmallocinfo or "")
        told = ((IOMEM, "iomem", self.resources), (AREAS, "vmallocinfo", self.areas))
        for name, file, found in told:
            if found:
                self.said[name] = f"{len(found):,} lines of {file}"
            else:
                self.missing[name] = why.format(file)

    def dump(
        self, text: str | None, why: str, *, again: Callable[[], str | None] | None = None
    ) -> None:
        """Take the text of kernel_page_tables; ``again`` reads it once more."""
        found = mapped_in_dump(text or "")
        if found is None:
            self.missing[DUMP] = why
            return
        if again is not None:
            found = self._calm(DUMP, found, lambda: mapped_in_dump(again() or ""))
        self._mapped(DUMP, found)

    def memory(
        self, core: Core, btf: Btf | None, names: SymbolTable | None, *, changes: bool
    ) -> None:
        """Ask what lies in a kernel's memory; ``changes``: it is a running one's."""
        notes = read_notes(core.vmcoreinfo, [])
        tables = None
        try:
            tables = PageTables.of(core, notes, self.machine.window)
            self._mapped(WALK, self._walk(tables, again=changes))
        except ConstantsError as error:
            self.missing[WALK] = str(error)
        read = either(core.read, tables.read) if tables else core.read
        if not self.areas:
            try:
                self.areas = read_areas(read, notes, btf, names)
                self.said[AREAS] = f"{len(self.areas):,} areas, by its own lists in memory"
                self.missing.pop(AREAS, None)
            except ConstantsError as error:
                self.missing[AREAS] += f"; {error}"
        try:
            self.sections = read_sections(read, notes, btf)
        except ConstantsError as error:
            self.missing[SECTIONS] = str(error)
            return
        self.problems += self.sections.problems
        self.said[SECTIONS] = (
            f"{self.sections.present:,} sections present, of"
            f" {self.sections.section_pages:,} pages each"
        )
        # Through vmalloc's addresses /proc/kcore shows vmalloc's areas alone, and zeros between.
        self._devices(either(tables.read, core.read) if tables else core.read, btf)

    def _walk(self, tables: PageTables, *, again: bool) -> Mappings:
        ranges = _without(self.machine.layout, FULL)
        found = tables.mapped(ranges)
        if not len(found):
            raise ConstantsError(
                "nothing is mapped by its tables: this file does not show them, or they are torn"
            )
        return self._calm(WALK, found, lambda: tables.mapped(ranges)) if again else found

    def _calm(self, name: str, found: Mappings, again: Callable[[], Mappings | None]) -> Mappings:
        """Return what is the same when read twice, where only struct pages are mapped."""
        busy = _of(self.machine.layout, _BUSY)
        for _ in range(_TRIES):
            then = again()
            if then is None:
                break
            before, after = found.without(busy), then.without(busy)
            if np.array_equal(before.first, after.first) and np.array_equal(
                before.last, after.last
            ):
                return then
            found = then
        self.problems.append(
            f"{name} changed while it was read, {_TRIES} times: memory comes or goes"
        )
        return replace(found, unseen=((0, 1 << 64),))

    def _mapped(self, name: str, found: Mappings) -> None:
        self.tables[name] = found
        self.said[name] = f"{len(found):,} ranges mapped"
        if found.unseen:
            size = sum(size for _, size in found.unseen)
            self.said[name] += f", of {size:#x} bytes of addresses not known"
            if name == WALK and size >= TABLES_CAP:
                self.problems.append(f"{name}: not all tables could be read")

    def _devices(self, read: Read, btf: Btf | None) -> None:
        window, sections = self.machine.window, self.sections
        if window is None or sections is None:
            return
        pages = None
        try:
            if btf is not None:
                pages = DevicePages(read, btf)
        except ConstantsError:
            pages = None  # no ZONE_DEVICE in this kernel
        found: list[DeviceMemory] = []
        page_size, size = window.page_size or 0, window.struct_page or 0
        base = sections.bases[0]
        for run in sections.runs:
            at, end = run.first, run.first + run.pages
            while at < end and not run.online:
                where = (base + at * size) & ((1 << 64) - 1)
                told = pages.page_map(where, at * page_size) if pages and page_size else None
                stop = end
                if told:
                    stop = min(
                        end,
                        *(
                            -(-last // page_size)
                            for first, last in told.ranges
                            if first <= at * page_size < last
                        ),
                    )
                module = module_of(told.code, self.modules) if told and told.code else None
                found.append(DeviceMemory(at, stop - at, told, module))
                at = stop
        self.devices = tuple(found)


def _of(layout: Layout | None, names: Sequence[str]) -> list[tuple[int, int]]:
    """Return (start, size) of the regions of those names."""
    regions = layout.regions if layout else ()
    return [(each.start, each.end - each.start) for each in regions if each.name in names]


def _without(layout: Layout | None, names: Sequence[str]) -> list[tuple[int, int]]:
    """Return (start, size) of the kernel half without the regions of those names."""
    if layout is None:
        return [(1 << 63, 1 << 63)]
    return [
        (each.start, each.end - each.start)
        for each in layout.regions
        if each.start >> 63 and each.name not in (*names, "non-canonical")
    ]


def _text(path: Path, cap: int) -> str | None:
    """Return a file's text, None if it cannot be read; files of /proc and debugfs, too."""
    try:
        return read_regular(path, cap).decode("utf-8", "backslashreplace")
    except (OSError, ValueError):
        return None
