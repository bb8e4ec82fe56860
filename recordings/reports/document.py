# SPDX-License-Identifier: GPL-2.0-only
"""A report as blocks without a look: what the mail and the Markdown of it share.

Promises: text that a kernel, a file or a person gave is a ``Foreign`` and nothing else is, so that
a renderer knows what it must make harmless; every other string is ours, ASCII but for "µ" and "†".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias


class Foreign(str):
    """Text that is not ours; escaped by whoever renders it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; ``level`` 1 only for the first, which is the answer."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or several, ours."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels with what is known of each; an empty label goes on with the one above."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in columns; the columns in ``right`` stand at the right, ``wide`` gives way first."""

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
