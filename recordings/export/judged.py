# SPDX-License-Identifier: GPL-2.0-only
"""Judges each call and Oops of a batch; exports have the result as two columns.

Promises: ``regime`` is null in every row that is neither an entry or point of a populate or free
call nor an Oops, and ``silent`` in an Oops as well, since no WARN compares it; ``regime`` is
"unknown" where the addresses or the window are not known. A
recording that has columns of these names already keeps its own, if the format can hold them.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recordings.ledger.columns import U8, Bool
from tracers import arrow
from tracers.codes import codes
from tracers.events import Kind, Phase
from tracers.regimes import REGIMES, UNKNOWN, classify, silent
from tracers.window import Window

#: What ``with_judgement`` adds.
FIELDS: Final = (
    pa.field("regime", pa.dictionary(pa.int8(), pa.string())),
    pa.field("silent", pa.bool_()),
)
_NAMES: Final = arrow.strings([name.encode() for name in REGIMES])


class Judged(NamedTuple):
    """Per row: whether it is judged, a call, of known range; regime code, silent hit."""

    judged: Bool  # a call or an Oops
    call: Bool
    known: Bool
    regime: U8
    silent: Bool


def judged(events: pa.RecordBatch, window: Window | None) -> Judged:
    """Judge calls and Oopses among ``events``; columns kind, phase, start and end are needed."""
    kind, phase = codes(events.column("kind"), Kind), codes(events.column("phase"), Phase)
    call = np.isin(kind, (Kind.POPULATE, Kind.FREE))
    call &= np.isin(phase, (Phase.ENTRY, Phase.POINT))
    rows = call | ((kind == Kind.FAULT) & (phase == Phase.POINT))
    known = rows.copy()
    columns = [events.column(name) for name in ("start", "end")]
    for column in columns:
        known &= arrow.valid(column)
    start, end = (_u64(column)[known] for column in columns)
    regime = np.full(len(call), UNKNOWN, np.uint8)
    quiet = np.zeros(len(call), np.bool_)
    regime[known] = classify(start, end, window)
    quiet[known] = silent(regime[known], start, end, window)
    return Judged(rows, call, known, regime, quiet & call)


def fields(schema: pa.Schema) -> tuple[pa.Field, ...]:
    """Return the fields of ``FIELDS`` that events with this schema do not have."""
    return tuple(field for field in FIELDS if field.name not in schema.names)


def with_judgement(events: pa.RecordBatch, window: Window | None) -> pa.RecordBatch:
    """Return the events with the columns of ``FIELDS`` appended."""
    result = judged(events, window)
    values = {
        "regime": pa.DictionaryArray.from_arrays(
            arrow.masked(result.regime.astype(np.int8), result.judged), _NAMES
        ),
        "silent": arrow.flags(result.silent, result.call),
    }
    new = fields(events.schema)
    return pa.RecordBatch.from_arrays(
        [*events.columns, *(values[field.name] for field in new)],
        schema=pa.schema([*events.schema, *new]),
    )


def _u64(column: pa.Array) -> npt.NDArray[np.uint64]:
    return arrow.filled(column, 0).astype(np.uint64)
