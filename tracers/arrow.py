"""NumPy columns as Arrow columns and back, without a copy and without loading pandas.

``pyarrow.array`` and ``numpy.asarray`` do the same, but import pandas on the way: a third of a
second at every start, ten in an emulated guest.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def column(values: npt.NDArray[Any]) -> pa.Array:
    """Return an Arrow array over the memory of ``values``: integers of any width, no nulls."""
    memory = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, memory])


def numbers(column: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Return an integer column's values, and which of them are valid (``None``: all)."""
    dtype = np.dtype(column.type.to_pandas_dtype())
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        values: npt.NDArray[Any] = np.zeros(len(column), dtype)
    else:
        values = np.frombuffer(buffer, dtype, len(column), column.offset * dtype.itemsize)
    return values, _valid(column) if column.null_count else None


def _valid(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Unpack the validity bits, one byte a row."""
    first, bit = divmod(column.offset, 8)
    length = -(-(bit + len(column)) // 8)
    packed = np.frombuffer(column.buffers()[0], np.uint8, length, first)
    bits = np.unpackbits(packed, bitorder="little")[bit : bit + len(column)]
    return bits.view(np.bool_)
