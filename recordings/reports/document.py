# SPDX-License-Identifier: GPL-2.0-only
"""Document model of a report: blocks that are rendered as mail text or Markdown.

Promises: text of a kernel, a file or a user is a ``Foreign`` and nothing else is, so that a
renderer knows what it must escape; every other string is ours, ASCII but for "µ" and "†".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias


class Foreign(str):
    """Text of a kernel, a file or a user; renderers escape it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; ``level`` 1 only for the first, which is the verdict."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or several, ours."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and values; a row with an empty label continues the one above."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in columns; the columns in ``right`` are right-aligned, ``wide`` is shortened first."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()
    wide: int = -1


@dataclass(frozen=True, slots=True)
class Lines:
    """Arithmetic, a step a line; may hold names out of a file."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences, each ours or foreign as a whole."""

    items: tuple[str, ...]


Block: TypeAlias = Heading | Paragraph | Facts | Table | Lines | Items
Document: TypeAlias = Iterable[Block]
