# SPDX-License-Identifier: GPL-2.0-only
"""stdout is data, stderr is narration: how every command writes to either.

Promises: a reader that has gone away changes no exit code; a stdout that cannot be written to is
one ``VmemscopeError``; nobody listening on stderr is no error.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

import click

from recordings.wording.escape import printable
from tracers.errors import VmemscopeError


def write(emit: Callable[[], object]) -> None:
    """Emit to stdout; a reader that has gone away (``| head``) does not change the verdict."""
    if sys.stdout is None:
        raise VmemscopeError("stdout is closed: there is nowhere to write to")
    try:
        emit()
        sys.stdout.flush()
    except OSError as error:
        _drop(sys.stdout)
        if error.errno != errno.EPIPE:
            raise VmemscopeError(f"stdout: {error.strerror}") from error


def say(line: str) -> None:
    """Narrate on stderr; nobody listening is no error."""
    try:
        click.echo(line, err=True)
    except OSError:
        _drop(sys.stderr)


def say_problems(file: str, problems: Iterable[str]) -> None:
    """Say what is wrong with a recording that can be read all the same."""
    for problem in problems:
        say(f"vmemscope: {printable(file)}: {problem}")


def _drop(stream: TextIO) -> None:
    """Let what is still buffered go nowhere: Python would fail on it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
