# SPDX-License-Identifier: GPL-2.0-only
"""What was called, which side of the call a row is, and how it came to be known: codes and names.

Promises: names here only ever grow. Without Arrow: the window of a kernel needs the names alone.
"""

from enum import IntEnum


class Kind(IntEnum):
    """What was called. The code is in-process only; files carry the lower-case name.

    Source of each function: mm/memremap.c, mm/memory_hotplug.c, mm/sparse.c,
    arch/arm64/mm/mmu.c, kernel/resource.c and kernel/panic.c of the kernel.
    """

    UNKNOWN = 0  # a kind named by a newer writer: kept, never counted as something else
    MEMREMAP = 1  # memremap_pages(pgmap, nid)
    MEMUNMAP = 2  # memunmap_pages(pgmap)
    ADD_PAGES = 3  # __add_pages(nid, pfn, nr_pages, …)
    REMOVE_PAGES = 4  # __remove_pages(pfn, nr_pages, …)
    SECTION_ADD = 5  # sparse_add_section(nid, pfn, nr_pages, …)
    SECTION_REMOVE = 6  # sparse_remove_section / section_deactivate(pfn, nr_pages, …)
    POPULATE = 7  # vmemmap_populate(start, end, nid, …)
    FREE = 8  # vmemmap_free(start, end, …)
    WARN = 9  # __warn(file, line, …): a WARN that really fired
    FAULT = 10  # an Oops: the kernel failed at a struct page, or at what should have been one
    REQUEST_REGION = 11  # request_free_mem_region(base, size, name): a region, or an error
    DEVM_REQUEST_REGION = 12  # devm_request_free_mem_region(dev, base, size)

    @property
    def label(self) -> str:
        """The name as it stands in files and on screen."""
        return self.name.lower()


class Phase(IntEnum):
    """Which side of a call a row is. POINT rows have no other side and are never unfinished."""

    UNKNOWN = 0
    ENTRY = 1
    EXIT = 2
    POINT = 3

    @property
    def label(self) -> str:
        """The name as it stands in files and on screen."""
        return self.name.lower()


class Source(IntEnum):
    """How a row came to be known: the event's provenance."""

    UNKNOWN = 0
    KPROBE = 1  # the function's own entry/return probe
    CALLSITE = 2  # a probe on the call instruction in a traceable caller
    BREAKPOINT = 3  # a hardware breakpoint
    TRACEPOINT = 4
    DERIVED = 5  # computed from __add_pages or sparse_add_section arguments: not observed
    DMESG = 6  # read off a WARN splat
    FENTRY = 7  # a BPF trampoline on the function's entry and return

    @property
    def label(self) -> str:
        """The name as it stands in files and on screen."""
        return self.name.lower()
