# SPDX-License-Identifier: GPL-2.0-only
"""Renders a report as GitHub's Markdown, with all foreign text escaped.

Promises: text of a kernel or a file is shown as code: no table cell ends in it, no HTML, link,
mention or emphasis begins in it. Our own text is escaped as well.
"""

import re
from collections.abc import Iterator
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

#: What Markdown or HTML may read as more than text.
_SPECIAL: Final = re.compile(r"([\\`*\[\]<>#|~&@!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
#: A backtick ends a code span, a bar ends a table's cell.
_UNSAFE_IN_CODE: Final = re.compile(r"[`|]")
_LONGEST: Final = 300


def markdown(document: Document) -> str:
    """Return the document as Markdown."""
    parts = ["\n".join(_draw(block)) for block in document]
    return "\n\n".join(part for part in parts if part) + "\n"


def _draw(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{'#' * (level + 1)} {inline(text)}"
        case Paragraph(text):
            yield inline(text)
        case Facts(rows):
            yield from _table(Table(("", ""), rows))
        case Table():
            yield from _table(block)
        case Items(items):
            yield from (f"- {inline(item)}" for item in items)
        case Lines(lines):
            shown = [printable(line) for line in lines]
            longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
            fence = "`" * max(3, longest + 1)
            yield f"{fence}text"
            yield from shown
            yield fence


def inline(text: str) -> str:
    """Return a text as Markdown shows it unchanged: ours as words, a ``Foreign`` as code."""
    shown = printable(text)
    if not isinstance(text, Foreign):
        return _SPECIAL.sub(r"\\\1", shown)
    if len(shown) > _LONGEST:
        shown = shown[: _LONGEST - 3] + "..."
    if not shown.strip():
        return "(empty)"  # "-" would begin a list within a list
    if _UNSAFE_IN_CODE.search(shown):
        # HTML character references are safe, in a table's cell too.
        code = "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in shown)
        return f"<code>{code}</code>"
    return f"`{shown}`"


def _table(table: Table) -> Iterator[str]:
    count = max(map(len, (table.heads, *table.rows)))
    yield _row(table.heads, count)
    yield _row(["---:" if at in table.right else "---" for at in range(count)], count, raw=True)
    yield from (_row(row, count) for row in table.rows)


def _row(cells: tuple[str, ...] | list[str], count: int, *, raw: bool = False) -> str:
    shown = cells if raw else [inline(cell) for cell in cells]
    return "| " + " | ".join(c for c, _ in zip_longest(shown, range(count), fillvalue="")) + " |"
