"""Middle floor: keeps, measures, compares and exports what tracers observe. Draws nothing.

For programs: ``recordings.open(path)`` (``recordings.api``, docs/python.md).
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recordings.api import OpenRecording


def open(path: str | os.PathLike[str]) -> "OpenRecording":  # noqa: A001 (recordings.open)
    """Open a recording, or ``sample:NAME``: see ``recordings.api.OpenRecording``.

    Every batch's checksum is verified first. Raises ``recordings.format.reader.RecordingError``.
    """
    from recordings.api import open_named  # noqa: PLC0415 (Arrow is slow to import)

    return open_named(path)
