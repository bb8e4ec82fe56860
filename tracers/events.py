# SPDX-License-Identifier: GPL-2.0-only
"""The vocabulary: one row per thing a kernel did, in one Arrow schema for every source.

A row is an entry into, an exit from, or a moment of a kernel function we watch. Spans are
derived later by pairing entries and exits per thread, so that a crash in the middle of a call
leaves its entry on record. This module promises that names and types here only ever grow.

Units: ``ts_ns`` nanoseconds of the trace's own clock; ``start``/``end`` kernel virtual
addresses modulo 2^64, end exclusive; ``pfn`` page frame numbers; ``nr_pages`` pages.
"""

from enum import IntEnum
from typing import Final

import pyarrow as pa

from tracers.arrow import strings


class Kind(IntEnum):
    """What was called. The code is in-process only; files carry the lower-case name.

    Source of each function: mm/memremap.c, mm/memory_hotplug.c, mm/sparse.c,
    arch/arm64/mm/mmu.c and kernel/panic.c of the kernel.
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

    @property
    def label(self) -> str:
        """The name as it stands in files and on screen."""
        return self.name.lower()


def _names(codes: type[Kind] | type[Phase] | type[Source]) -> pa.Array:
    return strings([code.label.encode() for code in codes])


#: The dictionaries every writer uses, whole and in this order, so that they never change
#: within a stream (foreign readers need not know delta dictionaries).
KIND_NAMES: Final = _names(Kind)
PHASE_NAMES: Final = _names(Phase)
SOURCE_NAMES: Final = _names(Source)

_CODE: Final = pa.dictionary(pa.int8(), pa.utf8())

SCHEMA: Final = pa.schema(
    [
        pa.field("ts_ns", pa.uint64(), nullable=False),
        pa.field("kind", _CODE, nullable=False),
        pa.field("phase", _CODE, nullable=False),
        pa.field("cpu", pa.uint16()),
        pa.field("pid", pa.uint32()),  # thread group; null where the log does not give it
        pa.field("tid", pa.uint32()),  # thread; ftrace and dmesg call this one PID
        pa.field("comm", pa.utf8()),  # as the kernel wrote it: escape before showing
        pa.field("start", pa.uint64()),
        pa.field("end", pa.uint64()),
        pa.field("pfn", pa.uint64()),
        pa.field("nr_pages", pa.uint64()),
        pa.field("nid", pa.int32()),
        pa.field("ret", pa.int64()),  # pointers as the signed value of their bits
        pa.field("site", pa.utf8()),  # WARN rows: source file as the kernel names it
        pa.field("line", pa.uint32()),  # WARN rows: line in that file
        pa.field("source", _CODE, nullable=False),
    ]
)
"""The event schema, version 1. Integers only: addresses stay u64, time stays nanoseconds."""
