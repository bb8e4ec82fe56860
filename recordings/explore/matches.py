# SPDX-License-Identifier: GPL-2.0-only
"""The calls and Oopses of a table that a filter lets through, in any order: what is listed.

Promises: only the columns that the filter names are read, block by block; memory is two bits for
each call of the table, and eight bytes for each match while it is listed in an order that is not
the table's. ``update`` looks only at blocks that changed, so it is cheap while a table grows.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from recordings.explore.bits import Bits
from recordings.explore.span_table import SpanTable
from recordings.ledger.columns import I64, Bool
from tracers.events import Kind


class Filter(Protocol):
    """What decides which spans are let through."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that ``mask`` needs."""
        ...

    def mask(self, columns: dict[str, NDArray[Any]], table: SpanTable) -> Bool:
        """Return which of the spans, given by ``columns``, are let through."""
        ...


class Everything:
    """The filter that is none."""

    names: tuple[str, ...] = ()

    def mask(self, columns: dict[str, NDArray[Any]], table: SpanTable) -> Bool:
        """Let every span through."""
        return np.ones(len(next(iter(columns.values()))), np.bool_)


class By(Enum):
    """What calls and operations are ordered by; the last two the greatest first."""

    TIME = "time"
    DURATION = "duration"
    WARN_SHARE = "warn share"


_COLUMNS: Final = {
    By.TIME: ("ts",),
    By.DURATION: ("duration", "end_row"),
    By.WARN_SHARE: ("warn_ns", "duration", "end_row"),
}


class Matches:
    """The matches so far: ``update`` takes in what the table has gained."""

    def __init__(self, table: SpanTable, let: Filter) -> None:
        self.table = table
        self.filter = let
        self.let = Bits()  # every span that the filter lets through
        self.listed = Bits()  # of these, the calls and Oopses: the matches
        self.size = 0  # of the table when it was last looked at
        self.changes = 0  # how often that was something new
        #: By block: its version when it was last looked at, and its end then.
        self.seen: list[tuple[int, int]] = []
        self._before = np.zeros(1, np.int64)  # matches before each block
        self._order: tuple[By, I64] | None = None
        self.update()

    def __len__(self) -> int:
        return int(self._before[-1])

    def update(self) -> bool:
        """Look at what is new or has changed in the table; return whether there was anything."""
        table, names = self.table, tuple({*self.filter.names, "kind"})
        size, counts = len(table), np.diff(self._before).tolist()
        self.let.grow(size)
        self.listed.grow(size)
        changed = False
        for number in range(-(-size // table.block)):
            first = number * table.block
            stop = min(first + table.block, size)
            seen = table.columns.version(number), stop
            if number == len(self.seen):
                self.seen.append((-1, 0))
                counts.append(0)
            elif self.seen[number] == seen:
                continue
            columns = table.read(first, stop, names)
            let = self.filter.mask(columns, table)
            listed = let & is_listed(columns["kind"])
            self.let.put(first, let)
            self.listed.put(first, listed)
            self.seen[number], counts[number] = seen, int(np.count_nonzero(listed))
            changed = True
        self.size = size
        if changed:
            self.changes += 1
            self._before = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
            self._order = None
        return changed

    def positions(self, start: int = 0, stop: int | None = None) -> I64:
        """Return the positions of the matches from number ``start`` to ``stop``, ascending."""
        stop = len(self) if stop is None else min(stop, len(self))
        start = max(0, start)
        if start >= stop:
            return np.zeros(0, np.int64)
        first = int(self._before.searchsorted(start, side="right")) - 1
        last = int(self._before.searchsorted(stop))
        found = [self._of(number) for number in range(first, last)]
        skip = start - int(self._before[first])
        return np.concatenate(found)[skip : skip + stop - start]

    def position(self, number: int) -> int:
        """Return the position of one match, numbered from 0.

        Raises:
            IndexError: there are not as many.
        """
        if not 0 <= number < len(self):
            raise IndexError("no such match")
        return int(self.positions(number, number + 1)[0])

    def before(self, row: int) -> int:
        """Return how many matches begin before an event: the number of the first that does not."""
        return self.number(self.table.before(row))

    def number(self, position: int) -> int:
        """Return how many matches are before a position."""
        block, rest = divmod(position, self.table.block)
        if block >= len(self._before) - 1:
            return len(self)
        first = block * self.table.block
        return int(self._before[block]) + int(
            np.count_nonzero(self.listed.between(first, first + rest))
        )

    def following(self, row: int) -> int | None:
        """Return the position of the first match that begins at or after an event."""
        number = self.before(row)
        return self.position(number) if number < len(self) else None

    def preceding(self, row: int) -> int | None:
        """Return the position of the last match that begins before an event."""
        number = self.before(row)
        return self.position(number - 1) if number else None

    def order(self, by: By) -> I64:
        """Return the positions of all matches in an order; see ``ordered``."""
        if self._order is None or self._order[0] is not by:
            self._order = by, ordered(self.table, self.positions(), by)
        return self._order[1]

    def operations(self) -> tuple[I64, I64]:
        """Return the positions of the operations with a match, ascending, and how many each has."""
        found, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number in range(len(self._before) - 1):
            first = number * self.table.block
            at = self._of(number)
            if len(at):
                owner = self.table.read(first, int(at[-1]) + 1, ("owner",))["owner"][at - first]
                heads = np.flatnonzero(np.diff(owner, prepend=-2))
                found.append(owner[heads])
                counts.append(np.diff(heads, append=len(owner)))
        operations, which = np.unique(np.concatenate(found), return_inverse=True)
        sums = np.zeros(len(operations), np.int64)
        np.add.at(sums, which, np.concatenate(counts))
        return operations[operations >= 0], sums[operations >= 0]

    def _of(self, number: int) -> I64:
        """Return the positions of a block's matches."""
        first = number * self.table.block
        stop = min(first + self.table.block, self.size)
        return np.flatnonzero(self.listed.between(first, stop)) + first


def ordered(table: SpanTable, positions: I64, by: By) -> I64:
    """Return ascending ``positions`` in an order; what is equal stays in the table's.

    By time: of the entry. By duration or share of it spent in WARN: the greatest first, then those
    whose duration (or, for the share, any) is not known.
    """
    columns = _columns(table, positions, _COLUMNS[by])
    if by is By.TIME:
        ts = columns["ts"]
        if (ts[1:] >= ts[:-1]).all():
            return positions
        return positions[np.argsort(ts, kind="stable")]
    known = columns["end_row"] >= 0
    if by is By.WARN_SHARE:
        known &= columns["duration"] > 0
        share = columns["warn_ns"][known] / columns["duration"][known]
        order = np.argsort(-share, kind="stable")
    else:
        order = np.argsort(~columns["duration"][known], kind="stable")
    return np.concatenate((positions[known][order], positions[~known]))


def is_call(kind: NDArray[np.uint8]) -> Bool:
    """Return which kinds are populate or free."""
    calls: Bool = (kind == Kind.POPULATE) | (kind == Kind.FREE)
    return calls


def is_listed(kind: NDArray[np.uint8]) -> Bool:
    """Return which kinds lists have: populate, free and Oopses."""
    listed: Bool = is_call(kind) | (kind == Kind.FAULT)
    return listed


def holds(columns: Mapping[str, NDArray[Any]]) -> Bool:
    """Return which spans have something inside that lists have; columns calls and faults."""
    some: Bool = (columns["calls"] > 0) | (columns["faults"] > 0)
    return some


def _columns(table: SpanTable, positions: I64, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return columns at ascending positions that may be all of the table's."""
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    edges = positions.searchsorted(np.arange(table.blocks + 1) * table.block)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        at = positions[low:high]
        first, last = (int(at[0]), int(at[-1]) + 1) if len(at) else (0, 0)
        for name, column in table.read(first, last, names).items():
            parts[name].append(column[at - first])
    none = table.read(0, 0, names)
    return {name: np.concatenate([none[name], *found]) for name, found in parts.items()}
