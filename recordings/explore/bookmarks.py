# SPDX-License-Identifier: GPL-2.0-only
"""Bookmarks of a recording, in a file beside it: ``storm.arrows.marks.json``.

A mark is a position with a note and the filter that was on. Promises: the file is replaced whole
or not at all, and only one that is ours and this recording's; marks of another recording are never
taken for this one's, since the file names the recording by what it came from and its first events;
any file becomes marks or a ``MarksError`` of one line; what is kept is bounded. Two programs that
keep marks of one recording do not lose each other's: every change is made to what is there then.

docs/format.md describes the file.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from recordings.format.header import RecordingError
from recordings.format.new_file import new_file
from recordings.wording.escape import printable
from tracers.errors import VmemscopeError
from tracers.regular_files import read_regular

if TYPE_CHECKING:
    from recordings.format.reader import Recording

#: What follows the recording's name.
SUFFIX: Final = ".marks.json"
FORMAT: Final = "1.0"
#: Marks of a recording, characters of a note and of a filter, bytes of a file.
MOST_MARKS: Final = 1000
MOST_NOTE: Final = 200
MOST_FILTER: Final = 2000
MOST_BYTES: Final = 16 << 20

_JSON_ERRORS: Final = (ValueError, RecursionError, KeyError, TypeError)


class MarksError(VmemscopeError):
    """Marks cannot be read or kept: one line."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One position. The texts are unescaped: escape before showing."""

    row: int  # position: the events that have happened
    time_ns: int  # of the trace's clock
    note: str = ""
    filter: str = ""


class Bookmarks:
    """The marks of one recording, in order of their positions."""

    def __init__(self, path: Path | None, identity: str, marks: tuple[Mark, ...] = ()) -> None:
        self.path = path  # None: they are not kept
        self.marks = marks
        self._identity = identity

    @classmethod
    def of(cls, recording: "Recording") -> Self:
        """Return the marks kept beside a recording; none where there is no file.

        Raises:
            MarksError: there is a file that is not this recording's marks.
        """
        path = recording.path.with_name(recording.path.name + SUFFIX)
        marks = cls(path, identity(recording))
        marks.marks = marks._read()
        return marks

    def add(self, mark: Mark) -> None:
        """Set a mark, in place of one at its position.

        Raises:
            MarksError: there are too many, or a text is too long: it is not set. Or the file cannot
                be written: then it is set until the program ends.
        """
        if len(mark.note) > MOST_NOTE or len(mark.filter) > MOST_FILTER:
            raise MarksError(f"a note has at most {MOST_NOTE} characters, a filter {MOST_FILTER}")
        if len([*self._without(mark.row)(self.marks)]) >= MOST_MARKS:
            raise MarksError(f"there are {MOST_MARKS} marks, which is the most: delete some first")
        self._change(lambda marks: [*self._without(mark.row)(marks), mark])

    def delete(self, row: int) -> None:
        """Take the mark at a position away. Raises ``MarksError``: it may be back another time."""
        self._change(self._without(row))

    @staticmethod
    def _without(row: int) -> Callable[[tuple[Mark, ...]], list[Mark]]:
        return lambda marks: [mark for mark in marks if mark.row != row]

    def _change(self, change: Callable[[tuple[Mark, ...]], list[Mark]]) -> None:
        if self.path is None:
            self.marks = tuple(sorted(change(self.marks)))
            return
        try:
            there = self._read()
        except MarksError:
            self.marks = tuple(sorted(change(self.marks)))
            raise
        # Those that could not be written are not there: they stay ours.
        rows = {mark.row for mark in self.marks}
        merged = (*(mark for mark in there if mark.row not in rows), *self.marks)
        self.marks = tuple(sorted(change(merged)))[:MOST_MARKS]
        self._write(self.path)

    def _read(self) -> tuple[Mark, ...]:
        path = self.path
        if path is None or not os.path.lexists(path):
            return ()
        try:
            text = read_regular(path, MOST_BYTES + 1)
        except OSError as error:
            raise MarksError(f"{path.name}: cannot be read: {error.strerror or error}") from error
        try:
            if len(text) > MOST_BYTES:
                raise ValueError("larger than any of ours")
            values = json.loads(text.decode())
            if str(values["format"]).partition(".")[0] != FORMAT.partition(".")[0]:
                raise ValueError("of another version")
            name = values["recording"]
            marks = tuple(sorted({mark.row: mark for mark in _marks(values["marks"])}.values()))
        except _JSON_ERRORS as error:
            why = printable(f"{error!s:.80}")
            raise MarksError(f"{path.name}: no bookmarks of ours ({why}): left alone") from error
        if name != self._identity:
            raise MarksError(f"{path.name}: bookmarks of another recording: left alone")
        return marks

    def _write(self, path: Path) -> None:
        values = {
            "format": FORMAT,
            "recording": self._identity,
            "marks": [asdict(mark) for mark in self.marks],
        }
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.unlink(missing_ok=True)  # of a process of that number that was killed
            with new_file(part) as file:
                file.write(json.dumps(values, indent=1).encode() + b"\n")
            part.replace(path)
        except (RecordingError, OSError) as error:
            reason = error.__cause__ if isinstance(error, RecordingError) else error
            why = getattr(reason, "strerror", None) or error
            raise MarksError(f"kept only until you leave: {path.name}: {why}") from error


def identity(recording: "Recording") -> str:
    """Return what tells a recording from every other: hex digits of its origin and first events.

    It stays the same while events are appended.
    """
    header = recording.header
    first = next((info for info in recording.index if info.rows), None)
    values = {
        "origin": dict(sorted(header.origin.items())),
        "created_ns": header.created_ns,
        "first": None if first is None else [first.seq, first.rows, first.first_ts, first.last_ts],
    }
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).hexdigest()


def _marks(values: object) -> Iterator[Mark]:
    if not isinstance(values, list) or len(values) > MOST_MARKS:
        raise ValueError(f"marks is no list of at most {MOST_MARKS}")
    for value in values:
        row, time_ns = value["row"], value["time_ns"]
        note, text = value.get("note", ""), value.get("filter", "")
        if type(row) is not int or not 0 <= row < 1 << 63:
            raise ValueError("a row is none")
        if type(time_ns) is not int or not 0 <= time_ns < 1 << 64:
            raise ValueError("a time is none")
        if not (isinstance(note, str) and isinstance(text, str)):
            raise TypeError("a text is none")
        if len(note) > MOST_NOTE or len(text) > MOST_FILTER:
            raise ValueError("a text is too long")
        yield Mark(row, time_ns, note, text)
