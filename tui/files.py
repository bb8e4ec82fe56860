"""FILE of a command line: a recording, or sample:NAME for one of those that ship with the tool."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from recordings.reader import Recording


def opened(file: str) -> "Recording":
    """Open what FILE names.

    Raises:
        RecordingError: it is no recording.
        click.UsageError: there is no such sample.
    """
    from recordings.reader import open_recording  # noqa: PLC0415 (pyarrow: --help needs none)
    from recordings.samples import PREFIX, sample_names, sample_path  # noqa: PLC0415

    if not file.startswith(PREFIX):
        return open_recording(Path(file))
    try:
        return open_recording(sample_path(file.removeprefix(PREFIX)))
    except KeyError:
        raise click.UsageError(f"no such sample; there are {', '.join(sample_names())}") from None
