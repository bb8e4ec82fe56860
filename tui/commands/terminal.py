# SPDX-License-Identifier: GPL-2.0-only
"""Says whether there is a terminal to draw on, for the commands that open the dashboard."""

import os
import sys
from typing import Final

import click

#: What terminals are called that cannot place text (terminfo has no ``cup`` for them).
_DUMB: Final = ("dumb", "unknown")


def require_terminal(command: str, otherwise: str) -> None:
    """Raise where ``command`` cannot draw, naming what does without: ``otherwise``."""
    # Textual draws on stderr: redirected, the screen would stay empty.
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise click.UsageError(f"{command} draws on a terminal; without one there is: {otherwise}")
    name = os.environ.get("TERM", "")
    if name.lower() in _DUMB:
        raise click.UsageError(
            f"{command} draws on a terminal that can place text, and TERM={name} cannot; "
            f"for this there is: {otherwise}"
        )
