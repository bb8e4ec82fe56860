# SPDX-License-Identifier: GPL-2.0-only
"""JSON lines export: one object an event, with every column as a key, null where not known.

Promises: plain ASCII (what a kernel wrote is escaped, so it is harmless on a terminal too);
integers with all their digits; addresses as text, 0x and 16 digits, since readers that parse
numbers as float64 lose digits above 2^53.

Lines are joined column by column: an encoder called per row (orjson, msgspec) takes more than
six times as long, nearly all of it to make Python objects of Arrow columns (docs/performance.md).
"""

import json
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from recordings.export import judged, texts
from recordings.export.groups import Sink, groups
from recordings.format.output_files import Output
from recordings.ledger.verdict import judging

if TYPE_CHECKING:
    from recordings.format.reader import Recording

_ROWS: Final = 65_536
_NULL: Final = texts.word("null")


def write(recording: "Recording", sink: Output) -> tuple[str, ...]:
    """Write all events to ``sink``; return the columns left out. Raises ``OSError``."""
    whole = pa.schema([recording.schema.field(name) for name in recording.select()])
    columns, left_out = texts.split_columns(whole)
    out, window = Sink(sink), judging(recording.header.machine)
    for events in groups(recording, _ROWS, columns=columns):
        for piece in texts.pieces(events):
            _write_lines(judged.with_judgement(piece, window), out)
    return left_out


def _write_lines(events: pa.RecordBatch, out: Sink) -> None:
    parts: list[pa.Array | pa.Scalar] = []
    prefix = "{"  # text before the next value, the same in every line
    for name, column in zip(events.schema.names, events.columns, strict=True):
        prefix += ("" if prefix == "{" else ",") + f"{json.dumps(name)}:"
        if column.null_count == len(column):
            prefix += "null"
        elif texts.is_text(column.type):
            parts.append(texts.text(column, _Prefixed(prefix), f"{prefix}null"))
            prefix = ""
        else:
            parts += [texts.word(prefix), _numbers(name, column)]
            prefix = ""
    lines = pc.binary_join_element_wise(*parts, texts.word(f"{prefix}}}\n"), texts.word(""))
    data = lines.buffers()[2]
    if data is not None:
        out.write(data)


class _Prefixed:
    """Formats a string as a JSON value, behind ``prefix``."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __call__(self, name: str) -> str:
        return self._prefix + json.dumps(name)


def _numbers(name: str, column: pa.Array) -> pa.Array:
    column = texts.address(column, b'"') if name in texts.ADDRESSES else column.cast(texts.TEXT)
    return column.fill_null(_NULL) if column.null_count else column
