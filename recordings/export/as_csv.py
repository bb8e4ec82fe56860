# SPDX-License-Identifier: GPL-2.0-only
"""CSV export: one header line, one line an event, quoted as in RFC 4180, lines ended by LF.

Promises: integers in decimal with all their digits, addresses as text (0x and 16 digits), text
in quotes, null as nothing (an empty text is ``""``). Text that a spreadsheet would take for a
formula has a ``'`` before it, and so has text that begins with ``'`` itself: removing one leading
``'`` gives the original.
"""

import unicodedata
from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyarrow import csv

from recordings.export import judged, texts
from recordings.export.groups import Sink, groups
from recordings.format.output_files import Output
from recordings.ledger.verdict import judging

if TYPE_CHECKING:
    from recordings.format.reader import Recording

_ROWS: Final = 65_536
#: OWASP, "CSV Injection": what opens a formula, in full width, too, and behind blanks and what
#: is not seen: a tab, a byte order mark.
_FORMULA: Final = frozenset("=+-@\N{MINUS SIGN}")
_BLANK: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_GUARD: Final = "'"


def guarded(name: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    if name.isalnum() or not name:
        return name
    if unicodedata.category(name[0]) in _BLANK or name[0] == _GUARD:
        return _GUARD + name
    return _GUARD + name if unicodedata.normalize("NFKC", name[0])[0] in _FORMULA else name


def write(recording: "Recording", sink: Output) -> tuple[str, ...]:
    """Write all events to ``sink``; return the columns left out. Raises ``OSError``."""
    whole = pa.schema([recording.schema.field(name) for name in recording.select()])
    columns, left_out = texts.split_columns(whole)
    window = judging(recording.header.machine)
    kept = pa.schema([whole.field(name) for name in columns])
    fields = [*kept, *judged.fields(kept)]
    schema = pa.schema([(guarded(field.name), _type(field)) for field in fields])
    # Arrow quotes all text and no number, in the header too.
    with csv.CSVWriter(pa.PythonFile(Sink(sink), "w"), schema) as writer:
        for events in groups(recording, _ROWS, columns=columns):
            for piece in map(partial(judged.with_judgement, window=window), texts.pieces(events)):
                cells = [_cells(field, piece.column(field.name)) for field in fields]
                writer.write_batch(pa.RecordBatch.from_arrays(cells, schema=schema))
    return left_out


def _type(field: pa.Field) -> pa.DataType:
    is_text = field.name in texts.ADDRESSES or texts.is_text(field.type)
    return texts.TEXT if is_text else field.type


def _cells(field: pa.Field, column: pa.Array) -> pa.Array:
    if field.name in texts.ADDRESSES:
        return texts.address(column)
    return texts.text(column, guarded) if texts.is_text(field.type) else column
