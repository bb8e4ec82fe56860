# SPDX-License-Identifier: GPL-2.0-only
"""``vmemscope export``: writes a recording for other programs, to a new file or to stdout.

This is only the command line: the work is in ``recordings.export``. The exit code says whether the
export is complete, not what is in it: for the verdict there is ``vmemscope report``.
"""

# ruff: noqa: PLC0415

import codecs
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from recordings.export import FORMATS
from tui.commands.completing import files, files_or_samples
from tui.streams import say, say_problems, write

if TYPE_CHECKING:
    from recordings.export import Exported
    from recordings.format.reader import Recording

_F = TypeVar("_F", bound=Callable[..., Any])
EXIT_INCOMPLETE: Final = 3
#: Column at which the lines of a format begin in the help text.
_INDENT: Final = 2 + max(len(known.name) for known in FORMATS)


def _described(function: _F) -> _F:
    """Put what each format is into the help text."""
    lines = "\n".join(
        f"    {known.name if at == 0 else '':{_INDENT}}{line}"
        for known in FORMATS
        for at, line in enumerate(known.help)
    )
    function.__doc__ = (function.__doc__ or "").replace("    FORMATS", lines)
    return function


@click.command(
    short_help="Write a recording as Parquet, CSV, JSON lines or Perfetto.",
    epilog="Exit codes: 0 exported whole, 3 exported, but the recording misses something (events "
    "lost, or its end torn off), 2 usage, unreadable input or an output that takes no more.",
)
@click.argument("file", shell_complete=files_or_samples)
@click.option(
    "--to",
    type=click.Choice([known.name for known in FORMATS]),
    required=True,
    help="What to write.",
)
@click.option(
    "-o", "--output", required=True, shell_complete=files, help="New file; - streams to stdout."
)
@_described
def export(file: str, to: str, output: str) -> None:
    """Write the events of FILE, a recording or sample:NAME, for other programs.

    \b
    FORMATS

    An existing file is never overwritten, and an export that fails leaves none. CSV and JSON
    lines are data only: what the recording misses is said on stderr and by the exit code.
    """  # noqa: D301 (click's mark for lines to be left as they are)
    from recordings.api import open_recording_or_sample

    with open_recording_or_sample(file) as recording:
        done = _to_stdout(recording, to) if output == "-" else _to_file(recording, to, output)
        say_problems(file, recording.problems)
    _report_gaps(done)
    if done.losses:
        sys.exit(EXIT_INCOMPLETE)


def _to_file(recording: "Recording", to: str, output: str) -> "Exported":
    from recordings.export import export as export_to
    from recordings.format.new_file import new_file

    with new_file(Path(output)) as sink:
        done = export_to(recording, to, sink)
    say(f"{output}: {done.rows} events")
    return done


def _to_stdout(recording: "Recording", to: str) -> "Exported":
    from recordings.export import Exported, total_losses
    from recordings.export import export as export_to

    terminal = sys.stdout.isatty()
    if terminal and next(known.binary for known in FORMATS if known.name == to):
        raise click.UsageError(f"{to} is binary, no text for a terminal: name a file with -o")
    done = Exported(recording.rows, total_losses(recording), ())

    def emit() -> None:
        nonlocal done
        done = export_to(recording, to, _EscapedTerminal() if terminal else sys.stdout.buffer)

    write(emit)
    return done


def _report_gaps(done: "Exported") -> None:
    for name in done.left_out:
        say(f"note: column {name} has a type that this format cannot hold: left out")
    if done.losses:
        say(f"missing from the recording: {done.losses.describe()}")


class _EscapedTerminal:
    """A terminal: escapes what a kernel wrote before it is shown."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: memoryview) -> None:
        """Write text, every control character but the ends of lines made visible."""
        from recordings.wording.escape import printable

        lines = self._decoder.decode(bytes(data)).split("\n")
        sys.stdout.write("\n".join(map(printable, lines)))

    def flush(self) -> None:
        """The caller flushes stdout."""
