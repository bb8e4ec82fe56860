# SPDX-License-Identifier: GPL-2.0-only
"""The captures that a command line names: by files, ``sample:NAME`` and folders.

Promises: a file that cannot be read is named with the reason and hides no other one; the files that
one capture was rotated into are one capture, wherever they stand on the command line.
"""

# ruff: noqa: PLC0415

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tracers.errors import VmemscopeError

if TYPE_CHECKING:
    from pathlib import Path

    from recordings.format.parts import Parts

#: Help of the option of ``report`` and ``check``.
RECOUNT: Final = "Count all events anew, whatever the closing record says: if its maker may lie."


def captures_of(names: Sequence[str]) -> Iterator[tuple[str, "Parts | str"]]:
    """Yield each capture under the name of its first file, or why a file cannot be read."""
    from recordings.api import path_of
    from recordings.format.parts import Parts, recordings_in, sets_of

    named: list[tuple[str, Path | str]] = []
    for name in names:
        try:
            path = path_of(name)
            if path.is_dir():
                named += ((str(each), each) for each in recordings_in(path))
            else:
                named.append((name, path))
        except VmemscopeError as error:
            named.append((name, str(error)))
    found = sets_of(path for _, path in named if not isinstance(path, str))
    for name, what in named:
        if isinstance(what, str):
            yield name, what
            continue
        capture = found.pop(what, None)  # none: its capture stands under an earlier name
        if isinstance(capture, Parts):
            number = len(capture.paths)
            yield f"{name} ({number} parts)" if number > 1 else name, capture
        elif capture is not None:
            yield name, str(capture)
