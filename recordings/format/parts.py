# SPDX-License-Identifier: GPL-2.0-only
"""Reads the files of one capture, as rotation leaves them, as one recording.

Promises: events come in the order of the parts, so that a call which spans two files is whole; a
part that is not there is a loss and a problem, so that a verdict without it is never "clean";
whatever the number of files, one is open at a time.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

from recordings.format.final_numbers import Contents, Numbers, unpacked
from recordings.format.header import AtEnd, Header, RecordingError
from recordings.format.reader import Recording, open_recording
from recordings.wording.escape import printable
from tracers.batch import Batch, Losses

#: Keys of ``Header.origin`` in every file of a capture that rotates: the same random text, the
#: number of the file from 1, the first one's name, and ``--keep``.
CAPTURE: Final = "capture"
PART: Final = "part"
FIRST_PART: Final = "first_part"
KEEP: Final = "keep"

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
#: A recording's name: by its suffix, or as a part of one that has none (then group 1 is its name).
_NAME: Final = re.compile(r"(?!\.)(?:.+\.arrows|(.+)\.part[0-9]{6})", re.ASCII | re.DOTALL)


class Readable(Protocol):
    """What numbers are made of: an open recording, or the parts of one."""

    @property
    def header(self) -> Header: ...  # noqa: D102 (as of ``Recording``; so are the next three)

    @property
    def losses(self) -> Losses: ...  # noqa: D102

    @property
    def problems(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def closing_notes(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def at_end(self) -> AtEnd: ...  # noqa: D102

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield every readable batch with the losses it carries."""
        ...

    def numbers(self) -> Numbers | None:
        """Return the final numbers, every byte verified; None if there are none of all that."""
        ...


@dataclass(slots=True)
class _Part:
    """One file, as it was found when last read."""

    path: Path
    number: int
    header: Header
    rotated: bool  # ended because the next file began
    losses: Losses
    problems: tuple[str, ...]
    closing_notes: tuple[str, ...]
    at_end: AtEnd
    numbered: bool  # has final numbers, of this file or of all before it, too

    def update(self, recording: Recording) -> None:
        """Take over what is known now; damage may show only when a batch is read."""
        self.losses, self.problems = recording.losses, recording.problems


class Parts:
    """The parts of one capture that were found, in order; of what never rotated, the one file."""

    def __init__(self, parts: Sequence[_Part], doubles: Sequence[str] = ()) -> None:
        self._parts = parts
        #: What is wrong with them as a set, a line each, safe to show.
        self.missing: Final = (*doubles, *_missing(parts))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in order."""
        return tuple(part.path for part in self._parts)

    @property
    def header(self) -> Header:
        """Of the first part there is: but for its number and time it is that of every other."""
        return self._parts[0].header

    @property
    def losses(self) -> Losses:
        """What is missing beyond what the batches carry: of every file, and the missing files."""
        gaps = Losses(lost_unknown=len(self.missing))
        return sum((part.losses for part in self._parts), start=gaps)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, a line each, safe to show."""
        if len(self._parts) == 1:
            return (*self._parts[0].problems, *self.missing)
        each = (
            f"{printable(part.path.name)}: {text}" for part in self._parts for text in part.problems
        )
        return (*each, *self.missing)

    @property
    def closing_notes(self) -> tuple[str, ...]:
        """What the writer noted at the end of each file, once; unescaped."""
        notes = (note for part in self._parts if not part.rotated for note in part.closing_notes)
        return tuple(dict.fromkeys(notes))

    @property
    def at_end(self) -> AtEnd:
        """What was known only at the end of the last file."""
        return self._parts[-1].at_end

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield every readable batch of every part; see ``Recording.batches``."""
        for part in self._parts:
            with open_recording(part.path, verify=False) as recording:
                yield from recording.batches(columns)
                part.update(recording)

    def numbers(self) -> Numbers | None:
        """Return the final numbers of the last part, which are of all; see ``Recording.numbers``.

        None, too, if a part is missing.
        """
        if self.missing or not self._parts[-1].numbered:
            return None
        contents, packed = Contents(), None
        for part in self._parts:
            with open_recording(part.path) as recording:
                part.update(recording)
                if not recording.whole:
                    return None
                contents = contents.followed_by(recording.contents)
                packed = recording.packed_numbers
        return None if packed is None else unpacked(packed, contents)


def recordings_in(folder: Path) -> tuple[Path, ...]:
    """Return the files in ``folder`` with a recording's name, sorted.

    Raises ``RecordingError`` when there are none, or the folder cannot be read.
    """
    try:
        names = {path.name for path in folder.iterdir() if path.is_file()}
    except OSError as error:
        raise RecordingError(f"{folder}: cannot be read: {error.strerror or error}") from error
    found = set[str]()
    for match in filter(None, map(_NAME.fullmatch, names)):
        found |= {match[0], match[1] if match[1] in names else match[0]}
    if not found:
        raise RecordingError(f"{folder}: holds no recording (*.arrows, *.part000002)")
    return tuple(folder / name for name in sorted(found))


def sets_of(paths: Iterable[Path]) -> dict[Path, "Parts | RecordingError"]:
    """Open every file; return the captures they are, or why a file cannot be read.

    Each capture stands under the first of its files in ``paths``. Its batches are verified when
    they are read: damage in them is among ``losses`` and ``problems`` from then on.
    """
    parts: dict[object, dict[int, _Part]] = {}
    doubles: dict[object, list[str]] = {}
    first: dict[Path, object] = {}  # -> the capture's key, or the error
    for path in dict.fromkeys(paths):
        try:
            with open_recording(path, verify=False) as recording:
                part, key = _part(recording), _key(recording) or path
        except RecordingError as error:
            first[path] = error
            continue
        if key not in parts:
            first[path] = key
        there = parts.setdefault(key, {}).setdefault(part.number, part)
        if there is not part:
            text = f"{path.name} is part {part.number} as {there.path.name} is: left out"
            doubles.setdefault(key, []).append(printable(text))
    return {
        path: key
        if isinstance(key, RecordingError)
        else Parts([parts[key][number] for number in sorted(parts[key])], doubles.get(key, ()))
        for path, key in first.items()
    }


def _part(recording: Recording) -> _Part:
    return _Part(
        path=recording.path,
        number=_number(recording.header.origin) or 1,
        header=recording.header,
        rotated=recording.ended == "rotated",
        losses=recording.losses,
        problems=recording.problems,
        closing_notes=recording.closing_notes,
        at_end=recording.at_end,
        numbered=recording.packed_numbers is not None,
    )


def _number(origin: Mapping[str, str]) -> int | None:
    text = origin.get(PART, "")
    return int(text) if _NUMBER.fullmatch(text) else None


def _key(recording: Recording) -> object:
    """Return what all files of its capture have in common, None if it is one of a kind."""
    origin = recording.header.origin
    if capture := origin.get(CAPTURE):
        return capture
    # Before format 1.3: the parts name the first one, which says nothing but its end.
    folder = recording.path.absolute().parent
    if _number(origin) is not None:
        return folder, origin.get(FIRST_PART)
    return (folder, recording.path.name) if recording.ended == "rotated" else None


def _missing(parts: Sequence[_Part]) -> Iterator[str]:
    """Yield a sentence for each gap in the numbers of the parts."""
    first, last = parts[0], parts[-1]
    if first.number > 1:
        keep = first.header.origin.get(KEEP)
        why = f", as --keep {printable(keep)} asked for" if keep else ""
        yield f"{_range(1, first.number - 1)} missing{why}"
    for before, after in pairwise(parts):
        if after.number > before.number + 1:
            yield f"{_range(before.number + 1, after.number - 1)} missing"
    if last.rotated:
        yield f"what follows part {last.number} is missing: it says that it is continued"


def _range(first: int, last: int) -> str:
    return f"part {first} is" if first == last else f"parts {first} to {last} are"
