# SPDX-License-Identifier: GPL-2.0-only
"""Runs ``window`` and ``explain`` in this process and returns their output."""

import json
from pathlib import Path

import click
from click.testing import CliRunner, Result

from tracers.errors import VmemscopeError
from tui.commands.window import window


def run(command: click.Command, *args: str | Path) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=True)


def stdout_of(command: click.Command, *args: str | Path, code: int = 0) -> str:
    done = run(command, *args)
    assert (done.exit_code, done.stderr) == (code, ""), done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    return done.stdout


def as_json(*args: str | Path, code: int = 0) -> dict:
    done = run(window, *args, "--json")
    assert (done.exit_code, done.stderr) == (code, ""), done.output
    return json.loads(done.stdout)


def error_of(command: click.Command, *args: str | Path) -> str:
    """Return the error for bad input: nothing on stdout, code 2 or our own error."""
    done = run(command, *args)
    assert done.stdout == ""
    if isinstance(done.exception, VmemscopeError):  # main() makes this one line and code 2
        assert len(str(done.exception).splitlines()) == 1
        return str(done.exception)
    assert done.exit_code == 2, done.output
    return " ".join(done.stderr.split())
