# SPDX-License-Identifier: GPL-2.0-only
"""Converts columns to text, for CSV and JSON lines: numbers, addresses and names.

Promises: vectorised (a name is converted once, however many rows have it); nulls stay nulls;
addresses are 0x and 16 digits; a piece of text never takes much more than ``_BYTES`` of memory,
whatever a file claims its names to be.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from tracers import arrow

#: Text whose offsets cannot overflow: a hostile name may have a gigabyte.
TEXT: Final = pa.large_utf8()
#: Columns of addresses: as hexadecimal text, since many readers make 2^64 a float.
ADDRESSES: Final = frozenset({"start", "end"})

_BYTES: Final = 64 << 20
_ROW_BYTES: Final = 512  # a row's numbers, and the keys around them in JSON
_HEX_DIGITS: Final = np.array([b"%02x" % byte for byte in range(256)]).view(np.uint16)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column of this type holds names or other text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column's values are the same literals in CSV and JSON."""
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def split_columns(schema: pa.Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the columns that text can hold, and of those it cannot.

    Every column of ``tracers.events.SCHEMA`` is among the former. A newer version's may be of
    any type; only integers, booleans and text are certain to read back the same.
    """
    kept = tuple(field.name for field in schema if is_number(field.type) or is_text(field.type))
    return kept, tuple(name for name in schema.names if name not in kept)


def pieces(events: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch where its text would need too much memory at once."""
    widest = _ROW_BYTES + sum(_longest(column) for column in events.columns if is_text(column.type))
    rows = max(1, _BYTES // widest)
    for first in range(0, events.num_rows, rows):
        yield events.slice(first, rows)


def text(column: pa.Array, change: Callable[[str], str], null: str | None = None) -> pa.Array:
    """Return a column of names with each distinct one changed, null as ``null``."""
    # A dictionary's names are distinct already; one much longer than the rows is hostile.
    ready = pa.types.is_dictionary(column.type) and len(column.dictionary) <= len(column)
    if not ready or column.dictionary.null_count:
        column = column.cast(TEXT).dictionary_encode()
    changed = [change(name).encode() for name in column.dictionary.to_pylist()]
    indices = column.indices
    if null is not None and indices.null_count:
        indices = arrow.column(arrow.filled(indices.cast(pa.int32()), len(changed)))
        changed.append(null.encode())
    return pa.DictionaryArray.from_arrays(indices, _strings(changed)).cast(TEXT)


def address(column: pa.Array, quote: bytes = b"") -> pa.Array:
    """Return a column of u64 as text, 0x%016x between quotes."""
    values, known = arrow.numbers(column)
    before = np.frombuffer(quote + b"0x", np.uint8)
    digits = np.empty((len(values), len(before) + 16 + len(quote)), np.uint8)
    digits[:, : len(before)] = before
    octets = values.astype(">u8").view(np.uint8)
    digits[:, len(before) : len(before) + 16] = _HEX_DIGITS[octets].view(np.uint8).reshape(-1, 16)
    if quote:
        digits[:, -1] = quote[0]
    bits = None if known is None else pa.py_buffer(np.packbits(known, bitorder="little"))
    offsets = np.arange(len(values) + 1, dtype=np.int64) * digits.shape[1]
    return pa.Array.from_buffers(
        TEXT, len(values), [bits, pa.py_buffer(offsets), pa.py_buffer(digits)]
    )


def word(text: str) -> pa.Scalar:
    """Return one text; ``pyarrow.scalar`` would load pandas."""
    return _strings([text.encode()])[0]


def _strings(texts: list[bytes]) -> pa.Array:
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return pa.Array.from_buffers(
        TEXT, len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))]
    )


def _longest(column: pa.Array) -> int:
    """Return the bytes of the longest text of a column."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary
    if not len(column):
        return 0
    width = np.dtype(np.int64 if pa.types.is_large_string(column.type) else np.int32)
    first = column.offset * width.itemsize
    return int(np.diff(np.frombuffer(column.buffers()[1], width, len(column) + 1, first)).max())
