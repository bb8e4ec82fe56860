# SPDX-License-Identifier: GPL-2.0-only
"""vmemscope for other people's programs: open a recording, read its events and its numbers.

Promises: this package is all that a program imports; numbers are those of ``vmemscope report``;
names only ever come to ``__all__``, none goes; every error is a ``VmemscopeError``. Importing it
costs nothing: Arrow is loaded with the first recording, pandas with the first DataFrame.

>>> import vmemscope
>>> with vmemscope.open("sample:storm") as recording:
...     print(recording.verdict.value, recording.snapshot.hits, recording.rows)
out-of-range 256 1544
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tracers import __version__
from tracers.errors import VmemscopeError

if TYPE_CHECKING:
    from recordings.api import OpenRecording
    from recordings.format.header import RecordingError
    from recordings.ledger.snapshot import Verdict
    from tracers.events import Kind

__all__ = [
    "Kind",
    "OpenRecording",
    "RecordingError",
    "Verdict",
    "VmemscopeError",
    "__version__",
    "open",
]

_LATER: Final = {
    "Kind": "tracers.events",
    "OpenRecording": "recordings.api",
    "RecordingError": "recordings.format.header",
    "Verdict": "recordings.ledger.snapshot",
}  # name -> where it stands; each of them loads Arrow


def open(path: str | os.PathLike[str]) -> "OpenRecording":  # noqa: A001 (vmemscope.open)
    """Open a recording, or ``sample:NAME`` for one of those that ship with the tool.

    Every batch's checksum is verified first; what is missing is in the recording's ``losses``
    and ``problems``.

    Raises:
        RecordingError: it cannot be read, or is no recording: one line that says why.
    """
    from recordings.api import open_recording_or_sample  # noqa: PLC0415 (Arrow is slow to import)

    return open_recording_or_sample(path)


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
