"""JSON lines: one object an event, every column a key of every object, null where not known.

Promises: plain ASCII (what a kernel wrote is escaped, so it is harmless on a terminal too);
integers with all their digits; addresses as text, 0x and 16 digits, since readers that keep
numbers as doubles lose what is above 2^53.

Lines are joined column by column: an encoder called per row (orjson, msgspec) takes seven times
as long, nearly all of it to make Python objects of Arrow columns (docs/performance.md).
"""

import json
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from recordings.export import texts
from recordings.export.groups import Sink, groups
from recordings.outputs import Output

if TYPE_CHECKING:
    from recordings.reader import Recording

_ROWS: Final = 65_536


def write(recording: "Recording", sink: Output) -> tuple[str, ...]:
    """Write all events to ``sink``; return the columns left out. Raises ``OSError``."""
    whole = pa.schema([recording.schema.field(name) for name in recording.select()])
    columns, left_out = texts.held(whole)
    out = Sink(sink)
    for events in groups(recording, _ROWS, columns=columns):
        for piece in texts.pieces(events):
            _write_lines(piece, out)
    return left_out


def _write_lines(events: pa.RecordBatch, out: Sink) -> None:
    parts: list[pa.Array | pa.Scalar] = []
    for name, column in zip(events.schema.names, events.columns, strict=True):
        before = "," if parts else "{"
        parts += [_word(f"{before}{json.dumps(name)}:"), _values(name, column)]
    lines = pc.binary_join_element_wise(*parts, _word("}\n"), _word(""))
    data = lines.buffers()[2]
    if data is not None:
        out.write(data)


def _values(name: str, column: pa.Array) -> pa.Array:
    if name in texts.ADDRESSES:
        column = _quoted(texts.address(column))
    elif texts.is_text(column.type):
        column = texts.text(column, json.dumps)
    else:
        column = column.cast(texts.TEXT)
    return column.fill_null(_word("null")) if column.null_count else column


def _quoted(column: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(_word('"'), column, _word('"'), _word(""))


def _word(text: str) -> pa.Scalar:
    return pa.scalar(text, texts.TEXT)
