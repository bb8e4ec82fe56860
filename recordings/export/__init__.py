# SPDX-License-Identifier: GPL-2.0-only
"""Exports recordings to other formats: Parquet, CSV, JSON lines, Perfetto traces.

Promises: every event that can be read is exported, in the recording's order and with its exact
numbers; memory does not grow with the recording; columns that a format cannot hold are named,
never silently dropped. A format's module (as_NAME.py) and its library are loaded on first use.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from recordings.format.output_files import Output
    from recordings.format.reader import Recording
    from tracers.batch import Losses

Write = Callable[["Recording", "Output"], tuple[str, ...]]
"""Each format's ``write``: returns the columns that the format has no way to hold, by name."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format to export to; its module is ``as_NAME`` in this folder."""

    name: str
    binary: bool
    help: tuple[str, ...]  # lines of at most 68 columns


#: A new format is a row here and its module.
FORMATS: Final = (
    ExportFormat(
        "parquet",
        True,
        (
            "types as they are (u64 stays u64); the file's metadata has the",
            "recording's header, window, verdict and losses",
        ),
    ),
    ExportFormat(
        "csv",
        False,
        (
            "start and end as text, 0x and 16 digits; text that a",
            "spreadsheet would run has a ' before it; an empty cell is null",
        ),
    ),
    ExportFormat(
        "jsonl",
        False,
        ("an object a line, ASCII; start and end as text, 0x and 16 digits",),
    ),
    ExportFormat(
        "perfetto",
        True,
        (
            "for ui.perfetto.dev: calls and WARNs as nested slices of their",
            "threads, hits as instants, counters (needs vmemscope[perfetto])",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did, for the messages on stderr."""

    rows: int
    losses: "Losses"  # of the recording: reported by its sources, or torn
    left_out: tuple[str, ...]  # columns of a newer format that this one cannot hold; unescaped


def export(recording: "Recording", to: str, sink: "Output") -> Exported:
    """Write all events of ``recording`` to ``sink`` as ``to``, the name of one of ``FORMATS``.

    Raises:
        RecordingError: the format needs a package that is not there.
        OSError: ``sink`` takes no more; it then holds a part of the export.
    """
    write: Write = import_module(f"recordings.export.as_{to}").write
    left_out = write(recording, sink)
    return Exported(recording.rows, total_losses(recording), left_out)


def total_losses(recording: "Recording") -> "Losses":
    """Return all known losses: those of its batches, and those of the file itself."""
    losses = recording.losses
    for info in recording.index:
        losses += info.losses
    return losses
