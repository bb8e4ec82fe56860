# SPDX-License-Identifier: GPL-2.0-only
"""Rows of request_free_mem_region() and its devm_ twin: from what registers hold to the schema.

The kernel counts in bytes: the size asked for in a register, the region that it found in struct
resource, which begins with start, end and name (include/linux/ioport.h). Promises: a size becomes
whole pages, rounded up; a region is read only where the result is one; where the page size is not
known, what would need it is null.
"""

from typing import Final

import numpy as np
import pyarrow as pa

from tracers import arrow
from tracers.codes import codes
from tracers.events import Kind, Phase
from tracers.kernel_functions import REQUESTS

#: Names of the fetch arguments of struct resource's members -> the column they wait in.
RESULT: Final = {"first": "start", "last": "end"}
#: The highest errno (include/linux/err.h): larger results are error pointers.
MAX_ERRNO: Final = 4095
_FAULT: Final = b"(fault)"  # ftrace, of a string that it could not read


def in_pages(events: pa.RecordBatch, page_size: int | None) -> pa.RecordBatch:
    """Return the rows with those of requests in pages; all others as they are.

    Before: ``nr_pages`` of an entry and ``start`` and ``end`` of an exit are bytes, the end
    inclusive. After: ``nr_pages`` of an entry is what was asked for, ``pfn`` and ``nr_pages`` of
    an exit what was found; ``site`` is the region's name.
    """
    mine = np.isin(codes(events.column("kind"), Kind), REQUESTS)
    if not mine.any():
        return events
    exits = codes(events.column("phase"), Phase) == Phase.EXIT
    ret, start, end, pages, pfn = (
        _numbers(events.column(name)) for name in ("ret", "start", "end", "nr_pages", "pfn")
    )
    result = ret[0].view(np.uint64)
    found = mine & exits & ret[1] & (result != 0) & (result < np.uint64((1 << 64) - MAX_ERRNO))
    shift = np.uint64(0 if page_size is None else page_size.bit_length() - 1)
    known = page_size is not None
    region = found & start[1] & end[1] & (end[0] >= start[0]) & known
    asked = mine & ~exits & pages[1] & known
    below = (np.uint64(1) << shift) - np.uint64(1)
    whole = (pages[0] >> shift) + ((pages[0] & below) != 0)
    got = ((end[0] - start[0]) >> shift) + np.uint64(1)
    columns = {
        "start": (start[0], start[1] & ~mine),
        "end": (end[0], end[1] & ~mine),
        "pfn": (np.where(region, start[0] >> shift, pfn[0]), np.where(mine, region, pfn[1])),
        "nr_pages": (
            np.where(asked, whole, np.where(region, got, pages[0])),
            np.where(mine, asked | region, pages[1]),
        ),
    }
    arrays = {name: arrow.masked(values, valid) for name, (values, valid) in columns.items()}
    named = ~mine | ((found | ~exits) & _named(events.column("site")))
    arrays["site"] = events.column("site").take(
        arrow.masked(np.arange(len(mine), dtype=np.int64), named)
    )
    return pa.RecordBatch.from_arrays(
        [arrays.get(name, events.column(name)) for name in events.schema.names],
        schema=events.schema,
    )


def _named(column: pa.Array) -> np.ndarray:
    import pyarrow.compute as pc  # noqa: PLC0415 (rows of requests are few)

    fault = arrow.strings([_FAULT])[0]
    return ~arrow.true(pc.equal(column, fault))


def _numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    values, valid = arrow.numbers(column)
    return np.ascontiguousarray(values), np.ones(len(values), np.bool_) if valid is None else valid
