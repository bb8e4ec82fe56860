# SPDX-License-Identifier: GPL-2.0-only
"""NumPy columns as Arrow columns and back, without a copy and without loading pandas.

``pyarrow.array`` and ``numpy.asarray`` do the same, but import pandas on the way: a third of a
second at every start, ten in an emulated guest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def column(values: npt.NDArray[Any]) -> pa.Array:
    """Return an Arrow array over the memory of ``values``: integers of any width, no nulls."""
    memory = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, memory])


def masked(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> pa.Array:
    """Return an Arrow array over the memory of ``values``, null where not ``valid``."""
    whole = column(values)
    if valid.all():
        return whole
    bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    missing = int(np.count_nonzero(~valid))
    return pa.Array.from_buffers(whole.type, len(values), [bits, whole.buffers()[1]], missing)


def strings(texts: Sequence[bytes], kind: pa.DataType | None = None) -> pa.Array:
    """Return ``texts`` as utf8 (then they must be), or as ``kind``, pa.binary()."""
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    return pa.Array.from_buffers(
        kind or pa.utf8(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))]
    )


def flags(values: npt.NDArray[np.bool_], valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Return an Arrow array of booleans, null where not ``valid``; no nulls without it."""
    bits, known = (
        None if bools is None else pa.py_buffer(np.packbits(bools, bitorder="little"))
        for bools in (values, valid)
    )
    return pa.Array.from_buffers(pa.bool_(), len(values), [known, bits])


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of no rows."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def numbers(column: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Return an integer column's values, and which of them are valid (``None``: all)."""
    dtype = np.dtype(column.type.to_pandas_dtype())
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        values: npt.NDArray[Any] = np.zeros(len(column), dtype)
    else:
        values = np.frombuffer(buffer, dtype, len(column), column.offset * dtype.itemsize)
    return values, valid(column) if column.null_count else None


def filled(column: pa.Array, default: int) -> npt.NDArray[Any]:
    """Return an integer column's values, ``default`` where it is null."""
    values, known = numbers(column)
    return values if known is None else np.where(known, values, values.dtype.type(default))


def valid(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Return which rows are not null."""
    if not column.null_count:
        return np.ones(len(column), np.bool_)
    if column.buffers()[0] is None:  # of type null, or nulls without a bitmap
        return np.zeros(len(column), np.bool_)
    return _bits(column, 0)


def true(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Return which rows of a boolean column are true; null is not."""
    if not len(column):
        return np.zeros(0, np.bool_)
    return _bits(column, 1) & valid(column)


def _bits(column: pa.Array, buffer: int) -> npt.NDArray[np.bool_]:
    """Unpack a buffer of bits, one byte a row."""
    first, bit = divmod(column.offset, 8)
    length = -(-(bit + len(column)) // 8)
    packed = np.frombuffer(column.buffers()[buffer], np.uint8, length, first)
    bits = np.unpackbits(packed, bitorder="little")[bit : bit + len(column)]
    return bits.view(np.bool_)
