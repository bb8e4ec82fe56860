# SPDX-License-Identifier: GPL-2.0-only
"""Layout of text reports: labelled lines and tables without rules.

Promises: piped output is plain, without trailing blanks and at most as wide as the console (80
columns there); nothing is read as markup. Text of kernels and files goes through ``printable``
before it comes here.
"""

from collections.abc import Iterable
from typing import Final

from rich.console import Console, ConsoleRenderable
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_LABEL: Final = 11  # columns of a label and the blank behind it


def emit(console: Console, parts: Iterable[ConsoleRenderable]) -> None:
    """Print the parts; colours and trailing blanks only on a terminal."""
    if console.is_terminal:
        _print(console, parts)
        return
    with console.capture() as captured:
        _print(console, parts)
    lines = captured.get().splitlines()
    console.file.write("".join(f"{line.rstrip()}\n" for line in lines))


def _print(console: Console, parts: Iterable[ConsoleRenderable]) -> None:
    for part in parts:
        console.print(part, highlight=False, markup=False, emoji=False)


def line(label: str, text: str | Text, *, width: int = _LABEL) -> ConsoleRenderable:
    """Return a dim label before a text that wraps under itself."""
    return hanging(Text(label, "dim"), text, width=width)


def hanging(label: Text, text: str | Text, *, width: int | None = None) -> ConsoleRenderable:
    """Return a label before a text that wraps under itself."""
    grid = Table.grid()
    grid.add_column(width=len(label) + 2 if width is None else width, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(label, Text(text) if isinstance(text, str) else text)
    return grid


def heading(text: str) -> ConsoleRenderable:
    """Return a heading with an empty line above."""
    return Padding(Text(text, "bold"), (1, 0, 0, 0))


def table(rows: Iterable[Iterable[str | Text]], *, wide: int, right: int = -1) -> Padding:
    """Return rows in columns; column ``wide`` may wrap, column ``right`` is right-aligned."""
    listed = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    grid = Table.grid(padding=(0, 2, 0, 0))
    for at in range(max(map(len, listed), default=0)):
        grid.add_column(
            justify="right" if at == right else "left", no_wrap=at != wide, overflow="fold"
        )
    for row in listed:
        grid.add_row(*row)
    return Padding(grid, (0, 0, 0, 2))
