# SPDX-License-Identifier: GPL-2.0-only
"""Writes data to stdout and messages to stderr, for every command.

Promises: a reader that has gone away changes no exit code; a stdout that is closed or takes no more
is one ``VmemscopeError``, whoever writes to it (click's help too); a closed stderr is no error; no
file opened later gets the number of a closed stream.
"""

import io
import os
import select
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from recordings.wording.escape import printable
from tracers.errors import VmemscopeError

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer

_CLOSED: Final = "stdout is closed: there is nowhere to write to"


class ReaderGoneError(Exception):
    """Nobody reads stdout any more (``| head``): there is nothing to write for, and no error."""


class Stdout(io.RawIOBase):
    """Descriptor 1: an error is told once, in our words; what comes after it is discarded.

    ``open``: whether it was when the program started.
    """

    def __init__(self, *, is_open: bool) -> None:
        self.open = is_open
        self._discarding = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write some of ``data``; raises ``ReaderGoneError``, ``VmemscopeError``."""
        if self._discarding:
            return memoryview(data).nbytes
        try:
            return self._write(data)
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            text = f"stdout: {error.strerror}" if self.open else _CLOSED
            raise VmemscopeError(text) from error

    def _write(self, data: "ReadableBuffer") -> int:
        try:
            return os.write(1, data)
        except BlockingIOError:  # somebody who shares it made it non-blocking
            select.select([], [1], [])
            return self._write(data)
        except OSError:
            self._discarding = True  # Python would try again at exit
            raise

    def fileno(self) -> int:
        """Return 1."""
        return 1

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(1)

    def writable(self) -> bool:
        """Return True."""
        return True


def open_streams() -> None:
    """Make ``sys.stdout`` one whose errors are ours; occupy the numbers of closed streams."""
    _occupied(0, os.O_WRONLY)
    is_open = _occupied(1, os.O_RDONLY)
    _occupied(2, os.O_RDWR)
    before = sys.stdout
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(Stdout(is_open=is_open)),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",  # a latin-1 terminal has no dagger
        line_buffering=os.isatty(1),
    )


def _occupied(number: int, access: int) -> bool:
    """Return whether a descriptor is open; else make it one whose use the other way round fails."""
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, access), True)  # takes the lowest free number
        return False
    return True


def stdout_is_open() -> bool:
    """Return whether stdout was open when the program started."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.open if isinstance(raw, Stdout) else sys.stdout is not None


def write(emit: Callable[[], object]) -> None:
    """Run ``emit``, which writes to stdout; that a reader has gone away is ignored."""
    with suppress(ReaderGoneError):
        emit()
        sys.stdout.flush()


def say(line: str) -> None:
    """Print a message on stderr, on one line whatever names it has; a closed one is no error."""
    try:
        click.echo(printable(line), err=True)
    except OSError:
        _discard(sys.stderr)


def say_problems(file: str, problems: Iterable[str]) -> None:
    """Print what is wrong with a recording that can be read all the same."""
    for problem in problems:
        say(f"vmemscope: {file}: {problem}")


def _discard(stream: "TextIO") -> None:
    """Discard what is still buffered: Python would fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
