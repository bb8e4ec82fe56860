# SPDX-License-Identifier: GPL-2.0-only
"""Checks batches against the event schema, and converts those of other producers to it.

Promises: vectorised; a column that does not fit the schema is an error that names it; a name that
is not in our vocabularies becomes ``unknown``, never another name.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracers import arrow
from tracers.codes import codes
from tracers.events import (
    KIND_NAMES,
    PHASE_NAMES,
    SCHEMA,
    SOURCE_NAMES,
    Kind,
    Phase,
    Source,
)

_Vocabulary = type[Kind] | type[Phase] | type[Source]

_CODED: Final[dict[str, tuple[_Vocabulary, pa.Array]]] = {
    "kind": (Kind, KIND_NAMES),
    "phase": (Phase, PHASE_NAMES),
    "source": (Source, SOURCE_NAMES),
}


def empty() -> pa.RecordBatch:
    """Return a batch without rows that has our whole dictionaries."""
    return blank(0)


def blank(rows: int) -> pa.RecordBatch:
    """Return a batch of empty events: kind ``unknown``, time 0."""
    zeros = np.zeros(rows, np.uint8)
    columns = []
    for field in SCHEMA:
        if field.name in _CODED:
            columns.append(_named(zeros, field.name))
        elif field.nullable:
            columns.append(pa.nulls(rows, field.type))
        else:
            columns.append(arrow.column(zeros.astype(field.type.to_pandas_dtype())))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def to_schema(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with exactly ``SCHEMA``'s columns, its dictionaries our vocabularies.

    Raises ``ValueError`` when a column is missing, has another type, is null where the schema
    allows none, or holds what no reader would take (text that is not UTF-8).
    """
    check_schema(batch.schema)
    batch.validate(full=True)
    check_nulls(batch)
    columns = []
    for field in SCHEMA:
        column = batch.column(field.name)
        if field.name in _CODED:
            vocabulary, names = _CODED[field.name]
            if column.type != field.type or not column.dictionary.equals(names):
                column = _named(codes(column, vocabulary), field.name)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def check_schema(schema: pa.Schema) -> None:
    """Raise ``ValueError`` unless all of ``SCHEMA``'s columns are there, in types we read.

    ``kind``, ``phase`` and ``source`` may be plain text or have any index width; other columns
    may stand beside ours.
    """
    names = schema.names
    if len(set(names)) != len(names):
        raise ValueError("two of its columns have one name")
    for field in SCHEMA:
        if field.name not in names:
            raise ValueError(f"column {field.name} is missing")
        kind = schema.field(field.name).type
        if field.name in _CODED:
            if not _holds_names(kind):
                raise ValueError(f"column {field.name} is {kind}, not names")
        elif kind != field.type:
            raise ValueError(f"column {field.name} is {kind}, not {field.type}")


def check_nulls(batch: pa.RecordBatch) -> None:
    """Raise ``ValueError`` if one of ``SCHEMA``'s columns is null where it must not be."""
    for field in SCHEMA:
        if not field.nullable and field.name in batch.schema.names:
            column = batch.column(field.name)
            names_null = field.name in _CODED and (
                pa.types.is_dictionary(column.type) and column.dictionary.null_count
            )
            if column.null_count or names_null:
                raise ValueError(f"column {field.name} has nulls")


def _holds_names(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _named(values: npt.NDArray[np.uint8], column: str) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(arrow.column(values.view(np.int8)), _CODED[column][1])
