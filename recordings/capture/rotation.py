# SPDX-License-Identifier: GPL-2.0-only
"""Rotates the files of one capture: FILE, then numbered parts, each a whole recording.

Promises: at every moment exactly one file is being written; a file that holds an event ends with
the batch that reaches the size, or when its time is over; the next one is open before the one
before is closed, so no event is lost where no new file can be made; ``keep`` deletes files of this
run only; sorted as a shell does, names are in order of time.
"""

import glob
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import uuid4

from recordings.format.final_numbers import Contents, Numbers
from recordings.format.header import AtEnd, Header, RecordingError
from recordings.format.output_files import Output
from recordings.format.parts import CAPTURE, FIRST_PART, KEEP, PART
from recordings.format.writer import Writer
from tracers.batch import Batch

SUFFIX: Final = ".arrows"
#: Seconds until a file that could not be opened is tried again.
_RETRY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Part:
    """One ended file."""

    name: str
    events: int
    size: int  # bytes
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file ends and how many are kept; ``None`` is without end."""

    size: int | None = None  # bytes
    seconds: float | None = None
    keep: int | None = None  # files, the one being written among them: at least 2

    def __bool__(self) -> bool:
        return self.size is not None or self.seconds is not None


def part_path(path: Path, number: int) -> Path:
    """Return the name of part ``number``, from 1.

    ``part`` sorts behind ``arrows`` in every locale, so the name without a number stays first;
    with another suffix the number goes behind it, and a name sorts before its continuations.
    """
    if number == 1:
        return path
    if path.suffix == SUFFIX:
        return path.with_name(f"{path.stem}.part{number:06}{SUFFIX}")
    return path.with_name(f"{path.name}.part{number:06}")


class Rotation:
    """Writes a capture to one or more files, or to an open stream, which cannot rotate.

    To be used by one thread at a time. Raises ``RecordingError`` when the first file cannot be
    made, or a file of an earlier run has the name of a part.
    """

    def __init__(
        self,
        target: Path | Output,
        header: Header,
        limits: Limits = Limits(),
        *,
        fsync: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._header = header
        self._capture = uuid4().hex
        self._limits = limits
        self._fsync = fsync
        self._clock = clock
        self._number = 1
        self._parts: list[Part] = []
        self._unwritten = 0  # of the ended files
        self._contents = Contents()  # of the ended files
        self.problem = ""  # why the last rotation did not succeed
        if limits and isinstance(target, Path):
            _refuse_earlier_parts(target)
        self._writer: Writer | None = self._open(target, self._numbered(1))
        self._opened = self._try_at = clock()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The ended files in order; after ``close`` all."""
        return tuple(self._parts)

    @property
    def name(self) -> str:
        """The file being written."""
        if not isinstance(self._target, Path):
            return "the output"
        return str(part_path(self._target, self._number))

    @property
    def rows(self) -> int:
        """Events written, in all files."""
        return sum(p.events for p in self._parts) + (self._writer.rows if self._writer else 0)

    @property
    def size(self) -> int:
        """Bytes written, in all files."""
        return sum(p.size for p in self._parts) + (self._writer.size if self._writer else 0)

    @property
    def unwritten(self) -> int:
        """Events that were given and could not be written."""
        return self._unwritten + (self._writer.unwritten if self._writer else 0)

    def write(self, batch: Batch) -> None:
        """Take a batch; errors as ``Writer.write``."""
        self.tick()
        if self._writer is None:
            raise ValueError("this recording is closed")
        self._writer.write(batch)

    def flush(self) -> None:
        """Write what is buffered; errors as ``Writer.flush``."""
        if self._writer is not None:
            self._writer.flush()

    def tick(self) -> None:
        """Begin the next file if it is time; to be called now and then when no batches come."""
        now = self._clock()
        if isinstance(self._target, Path) and now >= self._try_at and self._due(now):
            self._rotate(self._target, now)

    def warm_up(self) -> None:
        """Warm up for the first batch: see ``Writer.warm_up``."""
        if self._writer is not None:
            self._writer.warm_up()

    def close(
        self,
        reason: str = "closed",
        notes: Sequence[str] = (),
        at_end: AtEnd = AtEnd(),  # noqa: B008 (frozen)
        numbers: Numbers | None = None,
    ) -> None:
        """End the last file; errors as ``Writer.close``. Again: does nothing.

        ``numbers`` are of all files.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close(reason, notes, at_end, numbers, earlier=self._contents)
        finally:
            self._contents = self._contents.followed_by(writer.contents)
            self._unwritten += writer.unwritten
            self._parts.append(Part(self.name, writer.rows, writer.size))

    def discard(self) -> None:
        """End the last file and remove it: nothing was recorded."""
        self.close()
        if isinstance(self._target, Path):
            Path(self.name).unlink(missing_ok=True)

    def _due(self, now: float) -> bool:
        if self._writer is None or not self._writer.rows:
            return False
        size, seconds = self._limits.size, self._limits.seconds
        if size is not None and self._writer.size >= size:
            return True
        return seconds is not None and now - self._opened >= seconds

    def _rotate(self, target: Path, now: float) -> None:
        self._delete_oldest()
        path = part_path(target, self._number + 1)
        try:
            following = self._open(path, self._numbered(self._number + 1))
        except RecordingError as error:
            self.problem = f"{error}; {self.name} goes on"
            self._try_at = now + _RETRY_S
            return
        self.problem = ""
        try:
            self.close("rotated", (f"continued in {path.name}",))
        except RecordingError as error:
            self.problem = str(error)
        self._number += 1
        self._writer, self._opened = following, now

    def _numbered(self, number: int) -> Header:
        """Return the header of file ``number``: by it the files of a capture are told together."""
        if not self._limits or not isinstance(self._target, Path):
            return self._header
        origin = {CAPTURE: self._capture, PART: str(number), FIRST_PART: self._target.name}
        if self._limits.keep is not None:
            origin[KEEP] = str(self._limits.keep)
        return replace(self._header, origin=dict(self._header.origin) | origin)

    def _delete_oldest(self) -> None:
        """Delete files so that one more is within ``keep``."""
        keep = self._limits.keep
        there = [at for at, part in enumerate(self._parts) if not part.deleted]
        for at in there[: 0 if keep is None else max(0, len(there) + 2 - keep)]:
            Path(self._parts[at].name).unlink(missing_ok=True)
            self._parts[at] = replace(self._parts[at], deleted=True)

    def _open(self, target: Path | Output, header: Header) -> Writer:
        header = replace(header, created_ns=time.time_ns())
        fsync = self._fsync and isinstance(target, Path)
        return Writer(target, header, fsync=fsync)


def _refuse_earlier_parts(path: Path) -> None:
    """Raise ``RecordingError`` where a part of an earlier run has a name that this one needs."""
    second = part_path(path, 2)
    pattern = glob.escape(second.name).replace("000002", "[0-9]" * 6)
    earlier = min(path.parent.glob(pattern), default=None)
    if earlier is not None:
        raise RecordingError(
            f"{earlier}: exists already, of an earlier run: name another FILE, or move it away"
        )
