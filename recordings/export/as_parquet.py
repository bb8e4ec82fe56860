# SPDX-License-Identifier: GPL-2.0-only
"""Parquet export: the recording's own columns and types plus ``judged.FIELDS``, zstd.

Promises: u64 is UINT_64, names are dictionaries, null is null. The schema's metadata is the
recording's, so that ``vmemscope`` there is its header with window, machine and probes; beside
it ``vmemscope:export`` says the verdict, the losses and how many events there should be.
"""

import json
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import parquet

from recordings.export import judged
from recordings.export.groups import Sink, groups
from recordings.export.texts import is_text
from recordings.format.header import RecordingError
from recordings.format.output_files import Output
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.verdict import judging
from recordings.wording.escape import printable
from tracers.events import SCHEMA

if TYPE_CHECKING:
    from recordings.format.reader import Recording

#: Rows of a row group: what duckdb and others hand to a thread (they ask for 100,000 and more).
_ROWS: Final = 131_072
#: Columns that go up by small steps: delta encoded; all others have a dictionary.
_STEPS: Final = ("ts_ns", "start", "end", "pfn")
_META: Final = "vmemscope:export"


def write(recording: "Recording", sink: Output) -> tuple[str, ...]:
    """Write all events to ``sink``; return the columns left out.

    Raises ``OSError``; ``RecordingError`` for a newer version's column that lies of itself.
    """
    names = recording.select()
    columns = tuple(name for name in names if _supported(recording.schema.field(name)))
    own = [_field(recording.schema.field(name)) for name in columns]
    window = judging(recording.header.machine)
    schema = pa.schema([*own, *judged.fields(pa.schema(own))], recording.metadata)
    ledger = Ledger.of(recording.header)
    with parquet.ParquetWriter(
        pa.PythonFile(Sink(sink), "w"),
        schema,
        compression="zstd",
        use_dictionary=[field.name for field in schema if field.name not in _STEPS],
        column_encoding=dict.fromkeys(_STEPS, "DELTA_BINARY_PACKED"),
    ) as writer:
        for events in groups(recording, _ROWS, columns=columns, ledger=ledger):
            try:
                piece = judged.with_judgement(events, window).cast(schema)
                writer.write_batch(piece, row_group_size=max(1, piece.num_rows))
            except pa.ArrowException as error:
                raise RecordingError(
                    f"{recording.path}: a column of a newer format cannot be written as Parquet: "
                    "its content is not what its type says; CSV and JSON lines leave it out"
                ) from error
        metadata = summary(recording, ledger.snapshot(final=True))
        writer.add_key_value_metadata({_META: json.dumps(metadata)})
    return tuple(name for name in names if name not in columns)


def summary(recording: "Recording", snapshot: Snapshot) -> dict[str, Any]:
    """Return verdict, losses and notes, which are not in the events, ready for ``json.dumps``."""
    losses = snapshot.losses
    return {
        "events": snapshot.events,
        "verdict": snapshot.verdict.value,
        "verdict_reasons": list(snapshot.verdict_reasons),
        "hits": snapshot.hits,
        "silent": snapshot.silent,
        "faults": snapshot.faults_total,
        "warnings": snapshot.warnings,
        "losses": {
            "lost": losses.lost,
            "lost_unknown": losses.lost_unknown,
            "torn": losses.torn,
            "rejected": losses.rejected,
            "without_end": losses.without_end,
        },
        "ended": recording.ended and printable(recording.ended),
        "problems": list(recording.problems),
        "closing_notes": list(map(printable, recording.closing_notes)),
    }


def _field(field: pa.Field) -> pa.Field:
    """Return how a column is written; that one not ours has no null, nobody has checked."""
    return field if field.name in SCHEMA.names else field.with_nullable(True)


def _supported(field: pa.Field) -> bool:
    """Tell whether Parquet can hold a column; it can hold all of ours."""
    if field.name in SCHEMA.names or is_text(field.type):
        return True
    try:
        parquet.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
    except pa.ArrowException:
        return False
    return True
