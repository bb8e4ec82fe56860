# SPDX-License-Identifier: GPL-2.0-only
"""Converts events to a pandas DataFrame without loss of precision.

Only imported when a DataFrame is asked for: pandas takes half a second to load.
"""

import pandas as pd
import pyarrow as pa

from recordings.format.header import RecordingError

#: pandas' default turns a column with nulls into float64, in which addresses lose bits.
_TYPES = {
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.utf8(): pd.StringDtype("pyarrow"),
}


def dataframe(table: pa.Table) -> pd.DataFrame:
    """Return the events of a table: nullable integers, text as string, names as categories.

    Raises ``RecordingError`` where a newer version's column holds what pandas cannot.
    """
    columns = [_distinct(column) for column in table.columns]
    distinct = pa.table(columns, names=table.schema.names)
    try:
        # Dates as datetime64: Python's own end with the year 9999.
        frame: pd.DataFrame = distinct.to_pandas(types_mapper=_TYPES.get, date_as_object=False)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise RecordingError(
            "a column of a newer format has a type or values that pandas has none of: name the "
            "columns you need"
        ) from error
    return frame


def _distinct(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of names whose dictionary holds each once and no null, as pandas needs."""
    if not pa.types.is_dictionary(column.type) or not column.num_chunks:
        return column
    names = column.chunk(0).dictionary  # the only one in a recording
    if pa.types.is_nested(names.type):
        return column
    if not names.null_count and len(names.unique()) == len(names):
        return column
    return column.cast(column.type.value_type).dictionary_encode()
