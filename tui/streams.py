# SPDX-License-Identifier: GPL-2.0-only
"""Writes data to stdout and messages to stderr, for every command.

Promises: a reader that has gone away changes no exit code; a stdout that cannot be written to is
one ``VmemscopeError``; a closed stderr is no error.
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
    """Run ``emit``, which writes to stdout; that a reader has gone away (``| head``) is ignored."""
    if sys.stdout is None:
        raise VmemscopeError("stdout is closed: there is nowhere to write to")
    try:
        emit()
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if error.errno != errno.EPIPE:
            raise VmemscopeError(f"stdout: {error.strerror}") from error


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


def _discard(stream: TextIO) -> None:
    """Discard what is still buffered: Python would fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
