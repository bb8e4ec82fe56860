# SPDX-License-Identifier: GPL-2.0-only
"""The calls and Oopses that match, and the operations they are in: sequences read page by page.

Each is a frozen look at a table: its length and order do not change while the table grows. Only the
pages that somebody looks at are read, so that a list costs the same however long it is. Two are
equal while they would show the same.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Final, Generic, TypeVar, overload

import numpy as np

from recordings.explore.bits import Bits
from recordings.explore.matches import By, Matches, holds, is_listed, ordered
from recordings.explore.span import Span
from recordings.explore.span_table import Flag
from recordings.explore.tally import call_of
from recordings.ledger.columns import I64
from recordings.ledger.newest_calls import lands_on
from recordings.ledger.snapshot import Call
from tracers.events import Kind
from tracers.layout import Layout

ItemT = TypeVar("ItemT")

#: Rows read at once, and pages kept.
_PAGE: Final = 64
_PAGES: Final = 8


class Paged(Sequence[ItemT], Generic[ItemT]):
    """A sequence whose subclasses read stretches of it (``_load``); those lately read are kept."""

    def __init__(self, size: int, same: Hashable) -> None:
        self._size = size
        self._same = same  # equal where the sequence is
        self._pages: dict[int, list[ItemT]] = {}

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, at: int) -> ItemT: ...
    @overload
    def __getitem__(self, at: slice) -> list[ItemT]: ...
    def __getitem__(self, at: int | slice) -> ItemT | list[ItemT]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(self._size))]
        if at < 0:
            at += self._size
        if not 0 <= at < self._size:
            raise IndexError("no such row")
        number, place = divmod(at, _PAGE)
        page = self._pages.get(number)
        if page is None:
            while len(self._pages) >= _PAGES:
                del self._pages[next(iter(self._pages))]
            first = number * _PAGE
            page = self._pages[number] = self._load(first, min(first + _PAGE, self._size))
        return page[place]

    def __iter__(self) -> Iterator[ItemT]:
        return (self[number] for number in range(self._size))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._same == other._same

    def __hash__(self) -> int:
        return hash(self._same)

    def find(self, key: Hashable) -> int | None:
        """Return where the row of this key is, ``None`` if it is not here."""
        raise NotImplementedError

    def _load(self, start: int, stop: int) -> list[ItemT]:
        raise NotImplementedError


class Calls(Paged[Call]):
    """What matches: the newest first, or the greatest first. A key is an event's number."""

    def __init__(self, matches: Matches, lock: RLock, layout: Layout | None, by: By) -> None:
        with lock:
            order = None if by is By.TIME else matches.order(by)
            super().__init__(len(matches), (id(matches), matches.changes, by))
        self._matches, self._lock = matches, lock
        self._layout = layout
        self._order = order

    def find(self, key: Hashable) -> int | None:
        """Return the place of the call that begins at this event."""
        if not isinstance(key, int) or not self._size:
            return None
        with self._lock:
            position = self._matches.table.position_of(key)
            if position is None or not self._matches.listed.has(np.array([position]))[0]:
                return None
            if self._order is not None:
                return int(np.flatnonzero(self._order == position)[0])
            return self._size - 1 - self._matches.number(position)

    def before(self, row: int) -> int | None:
        """Return the place of the newest call that began before an event, in order of time."""
        if self._order is not None or not row:
            return None
        with self._lock:
            passed = self._matches.before(row)
        return self._size - passed if 0 < passed <= self._size else None

    def neighbour(self, row: int, by: int) -> int | None:
        """Return the place of the first call in time after an event, with ``by`` -1 before it."""
        with self._lock:
            number = self._matches.before(row + 1) if by > 0 else self._matches.before(row) - 1
            if not 0 <= number < self._size:
                return None
            if self._order is None:
                return self._size - 1 - number
            found = np.flatnonzero(self._order == self._matches.position(number))
        return int(found[0]) if len(found) else None

    def span(self, row: int) -> Span | None:
        """Return all that is known of the call that begins at an event, ``None`` if none does."""
        with self._lock:
            position = self._matches.table.position_of(row)
            return None if position is None else self._matches.table.span(position)

    def _load(self, start: int, stop: int) -> list[Call]:
        with self._lock:
            if self._order is not None:
                at = self._order[start:stop]
            else:
                at = self._matches.positions(self._size - stop, self._size - start)[::-1]
            spans = self._matches.table.spans(at)
            ends = self._matches.table.take(at, ("start", "end"))
        regions = lands_on(self._layout, ends["start"], ends["end"])
        return [call_of(span, region) for span, region in zip(spans, regions, strict=True)]


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of the tree: a span, how deep it is, whether it holds others and shows them."""

    span: Span
    depth: int
    holds: bool
    opened: bool
    silent: bool  # a populate or free call in it is a silent hit
    #: Of what is listed of it. None: all does, as there is no filter, or it has none.
    matching: int | None = None


class Tree(Paged[Branch]):
    """The operations with a match, and what is in those that are open. A key is a position.

    Order: that of the calls' list, also among those inside one. Calls that do not match are left
    out, and so is what holds only such. The numbers of a line are those of its span, all of it, but
    for ``matching``.
    """

    def __init__(
        self,
        matches: Matches,
        lock: RLock,
        by: By,
        *,
        filtered: bool = False,
        around: Bits | None = None,
        opened: frozenset[int] = frozenset(),
        roots: tuple[I64, I64] | None = None,
    ) -> None:
        self._matches, self._lock, self._by = matches, lock, by
        self.filtered = filtered  # whether some calls may not match
        self._around = around  # what holds a match; ``None``: whatever holds a call does
        self._opened = opened
        with lock:
            self._roots = matches.operations() if roots is None else roots
            size, whole = matches.size, around is not None
            known = (id(matches), matches.changes, by, opened, whole)
        self.roots = len(self._roots[0])
        self._parts = list(self._flat(self._sorted(self._roots[0]), 0)) if size else []
        self._starts = np.cumsum([0, *(len(part) for part, _ in self._parts)])
        super().__init__(int(self._starts[-1]), known)

    def with_open(self, opened: frozenset[int]) -> "Tree":
        """Return the same with other branches open."""
        return Tree(
            self._matches,
            self._lock,
            self._by,
            filtered=self.filtered,
            around=self._around,
            opened=opened,
            roots=self._roots,
        )

    def find(self, key: Hashable) -> int | None:
        """Return the place of the span at this position of the table."""
        for (part, _), start in zip(self._parts, self._starts.tolist(), strict=False):
            at = np.flatnonzero(part == key)
            if len(at):
                return int(start + at[0])
        return None

    def operation(self, span: Span) -> int | None:
        """Return the event that the operation begins with that a span is in, if it is in one."""
        if span.owner is None or span.operation:
            return None if span.owner is None else span.row
        with self._lock:
            return self._matches.table.span(span.owner).row

    def _sorted(self, positions: I64) -> I64:
        if self._by is By.TIME:
            return positions
        with self._lock:
            return ordered(self._matches.table, positions, self._by)

    def _flat(self, positions: I64, depth: int) -> Iterator[tuple[I64, int]]:
        """Yield stretches of positions of one depth, each opened one followed by what it holds."""
        opened = np.fromiter(self._opened, np.int64, len(self._opened))
        begin = 0
        for at in np.flatnonzero(np.isin(positions, opened)).tolist():
            yield positions[begin : at + 1], depth
            begin = at + 1
            yield from self._flat(self._sorted(self._inside(int(positions[at]))), depth + 1)
        yield positions[begin:], depth

    def _inside(self, position: int) -> I64:
        with self._lock:
            inside = self._matches.table.children(position)
            columns = self._matches.table.take(inside, ("kind", "calls", "faults"))
            left_out = is_listed(columns["kind"]) & ~self._matches.listed.has(inside)
            if self._around is not None:
                left_out |= holds(columns) & ~self._around.has(inside)
            return inside[~left_out]

    def _load(self, start: int, stop: int) -> list[Branch]:
        first = int(self._starts.searchsorted(start, side="right")) - 1
        branches: list[Branch] = []
        while start < stop:
            part, depth = self._parts[first]
            at = part[start - self._starts[first] :][: stop - start]
            with self._lock:
                spans = self._matches.table.spans(at)
                matching = self._matching(spans) if self.filtered else {}
            branches += [self._branch(span, depth, matching.get(span.position)) for span in spans]
            start += len(at)
            first += 1
        return branches

    def _branch(self, span: Span, depth: int, matching: int | None) -> Branch:
        some = bool(span.listed or span.warns) and span.kind is not Kind.WARN
        opened = span.position in self._opened
        return Branch(span, depth, some, opened, self._silent(span), matching)

    def _matching(self, spans: list[Span]) -> dict[int, int]:
        """Return how many calls match in each span that holds calls.

        Operations have been counted. What holds all calls of its operation, as add_pages does, has
        the same number; only for the others, sections as a rule, are calls looked at.
        """
        table, (roots, counts) = self._matches.table, self._roots
        spans = [span for span in spans if span.listed]
        owners = sorted({span.owner for span in spans if span.owner is not None})
        columns = table.take(np.array(owners, np.int64), ("calls", "faults"))
        both = columns["calls"].astype(np.int64) + columns["faults"]
        whole = dict(zip(owners, both.tolist(), strict=True))
        found: dict[int, int] = {}
        rest: list[Span] = []
        for span in spans:
            if span.owner is not None and span.listed == whole[span.owner]:
                at = int(roots.searchsorted(span.owner))
                known = at < len(roots) and int(roots[at]) == span.owner
                found[span.position] = int(counts[at]) if known else 0
            else:
                rest.append(span)
        return found | self._counted(rest)

    def _counted(self, spans: list[Span]) -> dict[int, int]:
        """Return the same by looking at every match from the first of the spans to the last."""
        if not spans:
            return {}
        matches, table = self._matches, self._matches.table
        wanted = np.array(sorted(span.position for span in spans))
        ends = [None if span.end_row is None else table.before(span.end_row) for span in spans]
        last = max(matches.size if end is None else end for end in ends)
        counts = np.zeros(len(wanted), np.int64)
        upto = matches.number(min(last, matches.size))
        for number in range(matches.number(int(wanted[0])), upto, table.block):
            around = matches.positions(number, min(number + table.block, upto))
            while len(around):  # once for each level of nesting
                around = table.take(around, ("parent",))["parent"]
                around = around[around >= wanted[0]]
                place = np.minimum(wanted.searchsorted(around), len(wanted) - 1)
                counts += np.bincount(place[wanted[place] == around], minlength=len(wanted))
        return dict(zip(wanted.tolist(), counts.tolist(), strict=True))

    def _silent(self, span: Span) -> bool:
        """Return whether a call of an operation is a silent hit."""
        if span.operation and span.hits > span.warns and span.end_row is not None:
            with self._lock:
                table = self._matches.table
                stop = table.before(span.end_row)
                for first in range(span.position, stop, table.block):
                    last = min(first + table.block, stop)
                    found = table.read(first, last, ("owner", "flags"))
                    own = found["owner"] == span.position
                    if (found["flags"][own] & np.uint8(Flag.SILENT)).any():
                        return True
        return span.silent
