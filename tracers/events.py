# SPDX-License-Identifier: GPL-2.0-only
"""The vocabulary: one row per thing a kernel did, in one Arrow schema for every source.

A row is an entry into, an exit from, or a moment of a kernel function we watch. Spans are
derived later by pairing entries and exits per thread, so that a crash in the middle of a call
leaves its entry on record. This module promises that names and types here only ever grow.

Units: ``ts_ns`` nanoseconds of the trace's own clock; ``start``/``end`` kernel virtual
addresses modulo 2^64, end exclusive; ``pfn`` page frame numbers; ``nr_pages`` pages.
"""

from typing import Final

import pyarrow as pa

from tracers.arrow import strings
from tracers.kinds import Kind, Phase, Source

__all__ = [
    "KIND_NAMES",
    "PHASE_NAMES",
    "SCHEMA",
    "SOURCE_NAMES",
    "Kind",
    "Phase",
    "Source",
]


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
        # WARN rows: source file as the kernel names it. FAULT rows: where, and its callers:
        # "function+0x2c <- caller <- …"; start, end, pfn are those of the one struct page.
        pa.field("site", pa.utf8()),
        pa.field("line", pa.uint32()),  # WARN rows: line in that file
        pa.field("source", _CODE, nullable=False),
    ]
)
"""The event schema, version 1. Integers only: addresses stay u64, time stays nanoseconds."""
