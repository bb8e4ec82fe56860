# SPDX-License-Identifier: GPL-2.0-only
"""A triage as text: the report as ``vmemscope report`` prints it, and what a triage adds.

Promises: those of ``recordings.reports.text_layout``; commands stand on lines of their own, to be
copied.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Console, ConsoleRenderable
from rich.padding import Padding
from rich.text import Text

from recordings.ledger.headline import WORDS
from recordings.reports.document import Block, Heading, Items, Lines, Paragraph
from recordings.reports.recording_text import render
from recordings.reports.text_layout import emit, hanging, heading
from recordings.reports.triage_document import beside_the_report, overall
from recordings.triage.triage import Triaged
from recordings.wording.escape import printable

_INDENT: Final = 2


def render_triage(console: Console, told: Triaged, *, name: bool) -> None:
    """Print one FILE's report; ``name``: say first which it is, and its verdict."""
    first = told.first
    if name:
        word = WORDS[told.verdict] if told.verdict else "UNREADABLE"
        console.file.write(f"== {printable(told.file)}: {word}\n\n")  # a path is not wrapped
    if text := overall(told):
        emit(console, [Text(text, "bold"), Text()])
    if first is not None:
        render(console, first.header, first.snapshot, closing=first.closing)
    emit(console, _drawn(beside_the_report(told)))
    if name:
        console.file.write("\n")


def _drawn(blocks: Iterable[Block]) -> Iterator[ConsoleRenderable]:
    indent = _INDENT
    for block in blocks:
        match block:
            case Heading(text):
                indent = _INDENT
                yield heading(printable(text))
            case Paragraph(text):
                yield Padding(Text(printable(text)), (0, 0, 0, indent))
            case Items(items):
                for item in items:
                    row = hanging(Text("-"), printable(item), width=2)
                    yield Padding(row, (0, 0, 0, _INDENT))
                indent = 2 * _INDENT  # what follows belongs to the item
            case Lines(lines):
                for line in lines:
                    yield Padding(Text(printable(line), overflow="fold"), (0, 0, 0, 3 * _INDENT))
            case _:
                raise TypeError(f"no text for {type(block).__name__}")
