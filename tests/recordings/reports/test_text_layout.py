# SPDX-License-Identifier: GPL-2.0-only
"""Layout of text reports: plain where piped, wrapped under itself, never read as markup."""

import io

from rich.console import Console
from rich.text import Text

from recordings.reports import text_layout


def written(*parts, width: int = 40, terminal: bool = False) -> str:
    out = io.StringIO()
    colours = "truecolor" if terminal else None
    console = Console(file=out, width=width, force_terminal=terminal, color_system=colours)
    text_layout.emit(console, parts)
    return out.getvalue()


def test_a_text_wraps_under_itself_and_not_under_its_label() -> None:
    text = written(text_layout.line("label", "word " * 10), width=31)
    assert (
        text
        == "".join(f"{start:<11}{'word ' * 4}".rstrip() + "\n" for start in ("label", ""))
        + " " * 11
        + "word word\n"
    )


def test_a_table_gives_way_in_one_column_only() -> None:
    rows = [("0xffffffff00000000", "1", "a long name"), ("x", "10,000", "b")]
    text = written(text_layout.table(rows, wide=2, right=1), width=46)
    assert text.splitlines() == [
        "  0xffffffff00000000       1  a long name",
        "  x                   10,000  b",
    ]
    narrow = written(text_layout.table(rows, wide=2, right=1), width=36)
    assert narrow.splitlines()[0] == "  0xffffffff00000000       1  a long"
    assert max(map(len, narrow.splitlines())) <= 36


def test_nothing_is_markup_and_nothing_is_coloured_when_piped() -> None:
    parts = (text_layout.heading("[bold]x"), Text("[red]y :smile:", "red"))
    assert written(*parts) == "\n[bold]x\n[red]y :smile:\n"
    assert "\x1b[31m" in written(*parts, terminal=True)
