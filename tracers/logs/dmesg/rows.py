# SPDX-License-Identifier: GPL-2.0-only
"""Converts what splats and Oopses say to rows of the event schema."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracers.arrow import column, masked, strings
from tracers.events import KIND_NAMES, PHASE_NAMES, SCHEMA, SOURCE_NAMES, Kind, Phase, Source
from tracers.logs.byte_text import U64, Mask
from tracers.logs.dmesg.shapes import Alike

Known = tuple[U64, U64, Mask]

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


def batch_of(pieces: Sequence[Row | pa.RecordBatch]) -> pa.RecordBatch:
    """Return rows, some of them in batches, as one batch of ``SCHEMA``."""
    batches: list[pa.RecordBatch] = []
    rows: list[Row] = []
    for piece in pieces:
        if isinstance(piece, Row):
            rows.append(piece)
            continue
        if rows:
            batches.append(_of_rows(rows))
            rows = []
        batches.append(piece)
    if rows:
        batches.append(_of_rows(rows))
    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def alike_rows(splats: Alike, kinds: npt.NDArray[np.int8], known: Known) -> pa.RecordBatch:
    """Return the rows of splats that are alike: each one's call, if its kind is not 0, and WARN.

    ``known``: start and end of the calls, and which of them are known.
    """
    call = kinds != 0
    of = np.repeat(np.arange(len(splats)), 1 + call)
    warn = np.ones(len(of), np.bool_)
    warn[np.cumsum(1 + call)[call] - 2] = False
    shape = splats.shape[of]
    start, end, is_known = known
    is_known = is_known[of] & ~warn
    lines = [each.splat.line for each in splats.shapes]
    made = {
        "ts_ns": column(splats.ts_ns[of]),
        "kind": _named(np.where(warn, np.int8(Kind.WARN), kinds[of]).astype(np.int8), KIND_NAMES),
        "cpu": column(np.array([each.splat.cpu for each in splats.shapes], np.uint16)[shape]),
        "tid": column(np.array([each.splat.tid for each in splats.shapes], np.uint32)[shape]),
        "comm": _texts([each.splat.comm for each in splats.shapes]).take(column(shape)),
        "site": _texts([each.splat.file for each in splats.shapes]).take(masked(shape, warn)),
        "line": masked(
            np.array([line or 0 for line in lines], np.uint32)[shape] * warn,
            np.array([line is not None for line in lines], np.bool_)[shape] & warn,
        ),
        "start": masked(np.where(is_known, start[of], 0).astype(np.uint64), is_known),
        "end": masked(np.where(is_known, end[of], 0).astype(np.uint64), is_known),
    }
    return _points(made, len(of))


def _of_rows(rows: Sequence[Row]) -> pa.RecordBatch:
    size = len(rows)
    made: dict[str, pa.Array] = {
        "ts_ns": column(np.array([row.ts_ns for row in rows], np.uint64)),
        "kind": _named(np.array([row.kind for row in rows], np.int8), KIND_NAMES),
        "comm": _texts([row.comm for row in rows]),
        "site": _texts([row.site for row in rows]),
    }
    for name, dtype in _TYPES.items():
        values = [getattr(row, name) for row in rows]
        known = np.array([value is not None for value in values], np.bool_)
        made[name] = masked(np.array([value or 0 for value in values], dtype), known)
    return _points(made, size)


def _points(made: dict[str, pa.Array], size: int) -> pa.RecordBatch:
    """Return rows of ``SCHEMA``, all of them points from a log."""
    made["phase"] = _named(np.full(size, Phase.POINT, np.int8), PHASE_NAMES)
    made["source"] = _named(np.full(size, Source.DMESG, np.int8), SOURCE_NAMES)
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
