# SPDX-License-Identifier: GPL-2.0-only
"""What had happened at a position, told by a table of calls that may still grow.

For events that are happening now, where no recording can be read yet. A position is a number of
events; times are those of the events that begin a call or are one moment, since a table has no
others. Promises: the counts are the ledger's own of the events before a position; only blocks that
are new are looked at, and one more for each question.
"""

from typing import Final

import numpy as np

from recordings.explore.matches import is_call
from recordings.explore.span_table import SpanTable
from recordings.ledger.columns import I64, Bool
from tracers.events import Kind
from tracers.families import MASK
from tracers.regimes import hits

#: What ``next_hit`` and ``previous_hit`` stop at, in ``_flags``.
_STOPS: Final = 3


class Past:
    """The past of one table. For one thread; another may fill the table."""

    def __init__(self, table: SpanTable) -> None:
        self._table = table
        self._size = 0  # of the table when it was last looked at
        self._before: I64 = np.zeros((1, 4), np.int64)  # each block, and behind all

    def counts(self, row: int) -> tuple[int, int, int]:
        """Return how many calls, hits and WARNs began before an event."""
        self._update()
        block, rest = divmod(min(self._table.before(row), self._size), self._table.block)
        told = self._before[block]
        if rest:
            first = block * self._table.block
            told = told + self._flags(first, first + rest).sum(axis=1)
        calls, out, warnings, _ = told.tolist()
        return calls, out, warnings

    def row_at(self, time_ns: int) -> int:
        """Return the position right behind the last of the events up to a moment; 0: none."""
        table, latest = self._table, 0
        for number in range(table.blocks):
            known = table.columns.between(number, "ts")
            # A forged time of all ones counts as -1 there, and the greatest is then not known.
            if known and known[0] >= 0 and known[1] <= time_ns and latest <= time_ns:
                latest = max(latest, known[1])
                continue
            first = number * table.block
            columns = table.read(first, first + table.block, ("ts", "row"))
            clock = np.maximum.accumulate(columns["ts"])
            # A clock that went back between CPUs stands still.
            np.maximum(clock, np.uint64(latest), out=clock)
            at = first + int(np.searchsorted(clock, np.uint64(min(time_ns, MASK)), side="right"))
            if at < first + len(clock):
                return self._behind(at)
            latest = int(clock[-1]) if len(clock) else latest
        return self._behind(len(table))

    def time_of(self, row: int) -> int | None:
        """Return the moment of the last of the events before a position; ``None``: none is."""
        at = self._table.before(row)
        return int(self._table.read(at - 1, at, ("ts",))["ts"][0]) if at else None

    def next_hit(self, row: int) -> int | None:
        """Return the event with which the first hit or Oops at or after an event begins."""
        self._update()
        return self._first(self._table.before(row))

    def previous_hit(self, row: int) -> int | None:
        """Return the event with which the last hit or Oops before an event begins."""
        self._update()
        at = min(self._table.before(row), self._size)
        for number in range((at - 1) // self._table.block, -1, -1):
            if self._before[number + 1][_STOPS] > self._before[number][_STOPS]:
                first = number * self._table.block
                stop = min(at, first + self._table.block)
                found = np.flatnonzero(self._flags(first, stop)[_STOPS])
                if len(found):
                    return self._row(first + int(found[-1]))
        return None

    def _first(self, at: int) -> int | None:
        block = self._table.block
        for number in range(at // block, len(self._before) - 1):
            if self._before[number + 1][_STOPS] > self._before[number][_STOPS]:
                first = max(at, number * block)
                stop = min((number + 1) * block, self._size)
                found = np.flatnonzero(self._flags(first, stop)[_STOPS])
                if len(found):
                    return self._row(first + int(found[0]))
        return None

    def _update(self) -> None:
        size, block = len(self._table), self._table.block
        if size == self._size:
            return
        first = self._size // block
        sums = [*self._before[: first + 1]]
        for number in range(first, -(-size // block)):
            flags = self._flags(number * block, min((number + 1) * block, size))
            sums.append(sums[-1] + flags.sum(axis=1))
        self._before, self._size = np.array(sums, np.int64), size

    def _flags(self, start: int, stop: int) -> Bool:
        """Return which of the spans are calls, hits, WARNs, and hits or Oopses: bool[4, n]."""
        columns = self._table.read(start, stop, ("kind", "regime"))
        call = is_call(columns["kind"])
        out = call & hits(columns["regime"])
        kind = columns["kind"]
        stops = out | (kind == Kind.FAULT)
        return np.array((call, out, kind == Kind.WARN, stops), np.bool_)

    def _behind(self, position: int) -> int:
        return self._row(position - 1) + 1 if position else 0

    def _row(self, position: int) -> int:
        return int(self._table.read(position, position + 1, ("row",))["row"][0])
