# SPDX-License-Identifier: GPL-2.0-only
"""Recordings in the formats of other programs: Parquet, CSV, JSON lines, Perfetto traces.

Promises: every event that can be read is exported, in the recording's order and with its exact
numbers; memory does not grow with the recording; what a format cannot hold is named, never
dropped in silence. A format's own library is loaded when that format is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from recordings.format.output_files import Output
from tracers.batch import Losses

if TYPE_CHECKING:
    from recordings.format.reader import Recording

Write = Callable[["Recording", Output], tuple[str, ...]]
"""Each format's ``write``: returns the columns that the format has no way to hold, by name."""

FORMATS: Final = ("parquet", "csv", "jsonl", "perfetto")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did, for the narration on stderr."""

    rows: int
    losses: Losses  # of the recording: what its sources said is missing, and what is torn
    left_out: tuple[str, ...]  # columns of a newer format that this one cannot hold; unescaped


def export(recording: "Recording", to: str, sink: Output) -> Exported:
    """Write all events of ``recording`` to ``sink`` as ``to``, one of ``FORMATS``.

    Raises:
        RecordingError: the format needs a package that is not there.
        OSError: ``sink`` takes no more; it then holds a part of the export.
    """
    write: Write = import_module(f"recordings.export.as_{to}").write
    left_out = write(recording, sink)
    return Exported(recording.rows, total_losses(recording), left_out)


def total_losses(recording: "Recording") -> Losses:
    """Return all that is known to be missing: what its batches say, and what the file misses."""
    losses = recording.losses
    for info in recording.index:
        losses += info.losses
    return losses
