# SPDX-License-Identifier: GPL-2.0-only
"""Grows a real recording to any number of events, so that large ones are of real shape.

Copy after copy of the storm's events is laid behind the other: each copy starts 1 ms after the
one before ended, and its pfns and addresses are moved by 0 to 7 whole device regions, so that
eight times the storm's sections take turns and every call keeps its regime. The closing record has
the final numbers, as that of an import.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recordings.capture.counting import CountingWriter
from recordings.format.reader import open_recording
from tracers.batch import Batch
from tracers.events import SCHEMA

_ROWS = 65_536
_REGIONS = 8
_GAP_NS = 1_000_000


def grow(base: Path, out: Path, events: int) -> None:
    """Write a recording of ``events`` rows made of copies of ``base``."""
    with open_recording(base) as recording:
        whole = pa.Table.from_batches([batch.events for batch in recording.batches()])
        rows = whole.combine_chunks().to_batches()[0]
        header = recording.header
    window = header.machine.window
    ts = np.asarray(rows.column("ts_ns"))
    period = np.uint64(int(ts.max() - ts.min()) + _GAP_NS)
    pages = np.uint64(pc.max(rows.column("nr_pages")).as_py())
    struct_page = np.uint64(window.struct_page)
    with CountingWriter(out, header) as writer:
        for first in range(0, events, _ROWS):
            index = np.arange(first, min(first + _ROWS, events), dtype=np.uint64)
            copy, row = np.divmod(index, np.uint64(rows.num_rows))
            region = copy % np.uint64(_REGIONS) * pages
            taken = rows.take(pa.array(row))
            shift = {
                "ts_ns": copy * period,
                "pfn": region,
                "start": region * struct_page,
                "end": region * struct_page,
            }
            columns = [
                pc.add(taken.column(name), pa.array(shift[name]))
                if name in shift
                else taken.column(name)
                for name in SCHEMA.names
            ]
            writer.write(Batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA)))
