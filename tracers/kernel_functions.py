# SPDX-License-Identifier: GPL-2.0-only
"""The kernel functions we watch: one table, from which probes, log readers and reports take them.

Promises: every function has one row and one name that people see, the kernel's own; what a function
is called on other releases, its parameters and its return value stand nowhere else.

Source: mm/memremap.c, mm/memory_hotplug.c, mm/sparse.c, arch/arm64/mm/mmu.c, kernel/resource.c and
kernel/panic.c of 5.4 to 7.3. Signatures that moved: sparse_add_section gained pgmap
(e3246d8f52173, 5.19), sparse_remove_section lost ms and map_offset between 6.1 and 6.12.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tracers.kinds import Kind

#: Name of a parameter, on any release -> the column of the event schema that it is.
COLUMNS: Final[Mapping[str, str]] = {
    "start": "start",
    "end": "end",
    "pfn": "pfn",
    "start_pfn": "pfn",
    "phys_start_pfn": "pfn",
    "nr_pages": "nr_pages",
    "nid": "nid",
    "node": "nid",
    "file": "site",
    "line": "line",
    "size": "nr_pages",  # bytes, in a register
    "name": "site",
}
#: Names that are those of no other functions' parameters, whatever their column is.
OWN_NAMES: Final = frozenset({"size", "name"})


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """A probe point: one thing that kernels do, by whatever functions."""

    kind: Kind
    functions: tuple[str, ...]  # newest first; static ones may have a compiler's suffix (".isra.0")
    parameters: tuple[str, ...]  # the first ones, as the kernel names them
    #: Whether ``parameters`` are in the same registers on every release since 5.4; else only BTF
    #: tells which.
    fixed: bool = True
    ret: str | None = None  # "int" (32 bits, signed), "pointer", or None for void
    exported: bool = False  # modules call it, too, so it is never inlined away
    #: Whether it is worth one of the few hardware breakpoints.
    breakpoints: bool = True
    option: str = "CONFIG_ZONE_DEVICE"  # without which a kernel has no exported one
    shown: str | None = None  # what people call it, if not by the function's name

    @property
    def name(self) -> str:
        """The one name that people see."""
        return self.shown or self.functions[0]

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the event schema that its parameters are."""
        return frozenset(COLUMNS[each] for each in self.parameters if each in COLUMNS)


#: In order of importance: breakpoint slots are few.
TABLE: Final = (
    KernelFunction(Kind.POPULATE, ("vmemmap_populate",), ("start", "end", "node"), ret="int"),
    KernelFunction(Kind.FREE, ("vmemmap_free",), ("start", "end")),
    KernelFunction(
        Kind.SECTION_ADD, ("sparse_add_section",), ("nid", "start_pfn", "nr_pages"), ret="int"
    ),
    KernelFunction(
        Kind.SECTION_REMOVE,
        ("sparse_remove_section", "section_deactivate"),
        ("pfn", "nr_pages"),
        fixed=False,
    ),
    KernelFunction(Kind.WARN, ("__warn",), ("file", "line", "caller"), shown="WARN"),
    KernelFunction(Kind.ADD_PAGES, ("__add_pages",), ("nid", "pfn", "nr_pages"), ret="int"),
    KernelFunction(Kind.REMOVE_PAGES, ("__remove_pages",), ("pfn", "nr_pages")),
    KernelFunction(
        Kind.MEMREMAP, ("memremap_pages",), ("pgmap", "nid"), ret="pointer", exported=True
    ),
    KernelFunction(Kind.MEMUNMAP, ("memunmap_pages",), ("pgmap",), exported=True),
    KernelFunction(
        Kind.REQUEST_REGION,
        ("request_free_mem_region",),
        ("base", "size", "name"),
        ret="pointer",
        exported=True,
        breakpoints=False,
        option="CONFIG_GET_FREE_REGION",
    ),
    KernelFunction(
        Kind.DEVM_REQUEST_REGION,
        ("devm_request_free_mem_region",),
        ("dev", "base", "size"),
        ret="pointer",
        exported=True,
        breakpoints=False,
        option="CONFIG_GET_FREE_REGION",
    ),
)
#: Those that ask for a free physical region and return it.
REQUESTS: Final = (Kind.REQUEST_REGION, Kind.DEVM_REQUEST_REGION)
#: Every function's name -> what it is.
KINDS: Final[Mapping[str, Kind]] = {name: each.kind for each in TABLE for name in each.functions}
#: Those whose WARN compares with the window, the one that every release has first.
CHECKED: Final = ("vmemmap_free", "vmemmap_populate")
#: On the way of a populate or free, not watched themselves: a WARN in one of them is of interest.
ON_THE_WAY: Final = (
    "vmemmap_populate_hugepages",
    "free_empty_tables",
    "__populate_section_memmap",
    "arch_add_memory",
    "arch_remove_memory",
)
#: An Oops is no function: what people call it.
OOPS: Final = "Oops"
_NAMES: Final = {**{each.kind: each.name for each in TABLE}, Kind.FAULT: OOPS}


def name(kind: Kind) -> str:
    """Return the one name of a kind that people see: the kernel's own."""
    return _NAMES.get(kind, kind.label)
