# SPDX-License-Identifier: GPL-2.0-only
"""Converts what splats and Oopses say to rows of the event schema."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from tracers.arrow import column, masked, strings
from tracers.events import KIND_NAMES, PHASE_NAMES, SCHEMA, SOURCE_NAMES, Kind, Phase, Source

_TYPES: Final = {
    "cpu": np.uint16,
    "tid": np.uint32,
    "start": np.uint64,
    "end": np.uint64,
    "pfn": np.uint64,
    "nr_pages": np.uint64,
    "line": np.uint32,
}


@dataclass(slots=True)
class Row:
    """One row; None is null. ``start`` and ``end`` are both known or both not."""

    ts_ns: int
    kind: Kind
    cpu: int | None
    tid: int | None
    comm: bytes | None
    start: int | None = None
    end: int | None = None
    site: bytes | None = None
    line: int | None = None
    pfn: int | None = None
    nr_pages: int | None = None


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return ``rows`` as a batch of ``SCHEMA``, all of them points from a log."""
    size = len(rows)
    made: dict[str, pa.Array] = {
        "ts_ns": column(np.array([row.ts_ns for row in rows], np.uint64)),
        "kind": _named(np.array([row.kind for row in rows], np.int8), KIND_NAMES),
        "phase": _named(np.full(size, Phase.POINT, np.int8), PHASE_NAMES),
        "source": _named(np.full(size, Source.DMESG, np.int8), SOURCE_NAMES),
        "comm": _texts([row.comm for row in rows]),
        "site": _texts([row.site for row in rows]),
    }
    for name, dtype in _TYPES.items():
        values = [getattr(row, name) for row in rows]
        known = np.array([value is not None for value in values], np.bool_)
        made[name] = masked(np.array([value or 0 for value in values], dtype), known)
    for name in SCHEMA.names:
        if name not in made:
            made[name] = pa.nulls(size, SCHEMA.field(name).type)
    return pa.RecordBatch.from_arrays([made[name] for name in SCHEMA.names], schema=SCHEMA)


def _named(codes: np.ndarray[Any, Any], names: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(column(codes), names)


def _texts(texts: Sequence[bytes | None]) -> pa.Array:
    r"""Return texts as UTF-8, invalid bytes as ``\xNN``; there are few distinct ones."""
    numbers: dict[bytes, int] = {}
    index = [-1 if text is None else numbers.setdefault(text, len(numbers)) for text in texts]
    if not numbers:
        return pa.nulls(len(texts), pa.utf8())
    readable = [text.decode("utf-8", "backslashreplace").encode() for text in numbers]
    picked = np.array(index, np.int32)
    return strings(readable).take(masked(picked, picked >= 0))
