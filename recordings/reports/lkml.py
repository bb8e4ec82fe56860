# SPDX-License-Identifier: GPL-2.0-only
"""Renders a report as mail text for a kernel list: plain ASCII, at most 75 columns.

Promises: no line is wider than 75 columns, whatever kernels and files wrote; what is cut ends
with "..."; what is not ours never begins a line, so it can be no "From ", "---", diff or
quotation. ASCII alone: "µ" is u, all else a visible escape.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from recordings.reports.document import (
    Block,
    Document,
    Facts,
    Foreign,
    Heading,
    Items,
    Lines,
    Paragraph,
    Table,
)
from recordings.wording.escape import printable

#: What Documentation/process asks of a commit message, and mail quotes well.
WIDTH: Final = 75
_GAP: Final = 2
_LEAST: Final = 4  # columns of a cell: one character and the mark
_MARK: Final = "..."
#: Foreign text in sentences is cut at this length, as a file can hold megabytes of it.
_LONGEST: Final = 300
#: A number stays on the line of its unit.
_UNITS: Final = re.compile(r"([0-9]) ((?:[num]?s|%|(?:[KMGTPE]i)?B)(?![A-Za-z]))")


def lkml(document: Document) -> str:
    """Return the document as a mail's text."""
    lines: list[str] = []
    joins = True  # whether the next block stands right under the line before it
    for block in document:
        drawn = [line.rstrip() for line in _draw(block)]
        if drawn and not joins:
            lines.append("")
        lines += drawn
        joins = isinstance(block, Heading) and block.level > 1
    return "".join(f"{line}\n" for line in lines)


def _draw(block: Block) -> Iterator[str]:
    match block:
        case Heading(text):
            yield from _wrapped(text, "", "")
        case Paragraph(text):
            yield from _wrapped(text, "", "")
        case Facts(rows):
            width = min(max((len(label) for label, _ in rows), default=0), 20) + 2
            for label, text in rows:
                yield from _wrapped(text, f"  {_cut(_ascii(label), width - 2):<{width}}")
        case Lines(lines):
            for line in lines:
                yield from _wrapped(Foreign(line), "  ", "      ")
        case Items(items):
            for item in items:
                yield from _wrapped(item, "  - ")
        case Table():
            yield from _table(block)


def _wrapped(text: str, lead: str, rest: str | None = None) -> list[str]:
    """Wrap a text behind ``lead``, its further lines behind ``rest`` (blanks of that width)."""
    shown = _ascii(text)
    if isinstance(text, Foreign):
        shown = _cut(shown, _LONGEST)
    rest = " " * len(lead) if rest is None else rest
    shown = _UNITS.sub("\\1\0\\2", shown)
    lines = textwrap.wrap(
        shown, WIDTH, initial_indent=lead, subsequent_indent=rest, break_on_hyphens=False
    )
    return [line.replace("\0", " ") for line in lines] or [lead]


def _table(table: Table) -> Iterator[str]:
    rows = [tuple(map(_ascii, row)) for row in (table.heads, *table.rows)]
    columns = list(zip_longest(*rows, fillvalue=""))
    widths = _fitted([max(map(len, column)) for column in columns], table.wide)
    for row in rows:
        cells = [
            f"{_cut(cell, width):{'>' if at in table.right else '<'}{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + (" " * _GAP).join(cells)


def _fitted(widths: Sequence[int], wide: int) -> list[int]:
    """Return widths that fit: column ``wide`` is narrowed first, then whichever is the widest."""
    fit = list(widths)
    room = WIDTH - 2 - _GAP * (len(fit) - 1)
    if wide >= 0 and sum(fit) > room:
        fit[wide] = max(_LEAST, fit[wide] - (sum(fit) - room))
    while sum(fit) > room:
        widest = fit.index(max(fit))
        others = sum(fit) - fit[widest]
        second = max((width for at, width in enumerate(fit) if at != widest), default=0)
        fit[widest] = max(_LEAST, min(fit[widest] - 1, max(second, room - others)))
        if max(fit) <= _LEAST:
            break
    return fit


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - len(_MARK))] + _MARK


def _ascii(text: str) -> str:
    """Return printable ASCII on one line, blanks run together."""
    shown = printable(text).replace("µ", "u").replace("†", "*").replace("…", "...")
    shown = re.sub(r"\s+", " ", shown)
    return shown.encode("ascii", "backslashreplace").decode("ascii")
