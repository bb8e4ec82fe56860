# SPDX-License-Identifier: GPL-2.0-only
"""Attributes calls and WARNs to the operation they happen in, thread by thread.

An operation is the outermost memremap_pages or memunmap_pages of a thread, or an add_pages or
__remove_pages outside those (memory hotplug). Everything the thread does between its entry and
its exit belongs to it: two CPUs adding memory at once stay apart. memremap_pages calls
memunmap_pages on its own error path (mm/memremap.c), so that one is no operation of its own.

Where exits are lost: the next outermost entry of the thread ends the attribution, and the
operation before it has no duration. Memory is bounded by ``LISTED`` and the operations open, of
which ``prune`` keeps the newest ``OPEN``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import numpy as np

from recordings.ledger import spans
from recordings.ledger.columns import (
    I64,
    U8,
    U64,
    Bool,
    Chunk,
    Columns,
    Objects,
    among,
    codeset,
    integers,
    texts,
)
from recordings.ledger.histogram import exact_sums
from recordings.ledger.operation_totals import COUNTED, REMOVING, Tasks, Totals
from recordings.ledger.per_thread import ForwardFill, spread
from recordings.ledger.snapshot import Operation, OperationTotal
from recordings.ledger.spans import Finished
from tracers.arrow import numbers
from tracers.events import Kind, Phase

#: Operations kept, the newest.
LISTED: Final = 200
#: Threads kept that are inside one. More of them are more open calls of one of the four kinds than
#: ``spans.OPEN``, which counts what is then given up.
OPEN: Final = 4 * spans.OPEN

_SIDES: Final = codeset(
    (Kind.MEMREMAP, Kind.MEMUNMAP, Kind.ADD_PAGES, Kind.REMOVE_PAGES), (Phase.ENTRY, Phase.EXIT)
)
_RANGES: Final = codeset((Kind.ADD_PAGES, Kind.REMOVE_PAGES), (Phase.ENTRY, Phase.POINT))
_TOP: Final = np.uint64((1 << 64) - 1)
_NONE: Final = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Events:
    """Events to attribute: rows of the chunk, and arrays parallel to them."""

    calls: I64  # entries of populate and free
    derived: Bool  # per call
    hit: Bool  # per call
    silent: Bool  # per call: a hit that the kernel's own check lets pass
    warnings: I64 = field(default_factory=lambda: np.zeros(0, np.int64))  # entries of __warn
    ended: Sequence[Finished] = ()  # the calls that ended, kind by kind

    @property
    def warned(self) -> Finished | None:
        """The __warn calls that ended."""
        return next((ended for ended in self.ended if ended.kind is Kind.WARN), None)


class Sides(NamedTuple):
    """Operations that begin in a chunk, or that end in it."""

    ts: U64
    removes: Bool  # which of them remove memory; the others add it
    ended: bool


@dataclass(frozen=True, slots=True)
class _Threads(Columns):
    """State of each thread that is inside an operation, or inside a call of the outer kinds."""

    key: U64
    remap: Bool
    unmap: Bool
    owner: I64  # row of the operation's entry, -1 for none


@dataclass(frozen=True, slots=True)
class Owners:
    """The operations of one chunk: those open before it, then those that begin in it."""

    rows: I64  # row of each one's entry in the recording
    begins: I64  # for those that begin here: that row in the chunk
    owner: I64  # per row of the chunk: number of its operation, -1 for none
    ended: I64  # numbers of those that end here
    ended_ts: U64
    dropped: I64  # numbers of those whose end was lost, known by the next one of their thread
    dropped_ts: U64
    kind: U8  # of each operation, and 0 behind them, for none

    def sides(self, chunk: Chunk) -> tuple[Sides, Sides]:
        """Return the operations that begin in the chunk, and those that end in it."""
        removes = REMOVING.take(self.kind)
        carried = len(self.rows) - len(self.begins)
        ends = np.concatenate((self.ended, self.dropped))
        return (
            Sides(chunk.ts[self.begins], removes[carried:-1], ended=False),
            Sides(np.concatenate((self.ended_ts, self.dropped_ts)), removes[ends], ended=True),
        )

    def entries(self) -> I64:
        """Return the row of the recording of each row's operation's entry, or -1."""
        return np.append(self.rows, -1)[self.owner]


@dataclass(frozen=True, slots=True)
class _Table(Columns):
    """Operations as columns, by row of their entry."""

    row: I64
    kind: U8
    pid: I64
    tid: I64
    comm: Objects
    start: U64
    ended: Bool
    end: U64
    low: U64  # pfns
    high: U64
    calls: I64
    derived: I64
    hits: I64
    silent: I64
    warnings: I64
    warn_low: U64  # nanoseconds, low and high 32 bits summed apart
    warn_high: U64

    @classmethod
    def made(cls, row: I64, kind: U8, who: tuple[I64, I64, Objects], ts: U64) -> Self:
        """Make operations without any calls yet."""
        none, times = np.zeros(len(row), np.int64), np.zeros(len(row), np.uint64)
        return cls(
            row=row,
            kind=kind,
            pid=who[0],
            tid=who[1],
            comm=who[2],
            start=ts,
            ended=np.zeros(len(row), np.bool_),
            end=times,
            low=np.full(len(row), _TOP),
            high=times,
            calls=none,
            derived=none,
            hits=none,
            silent=none,
            warnings=none,
            warn_low=times,
            warn_high=times,
        )

    @classmethod
    def empty(cls) -> Self:
        none = np.zeros(0, np.int64)
        who = (none, none, np.zeros(0, np.object_))
        return cls.made(none, np.zeros(0, np.uint8), who, np.zeros(0, np.uint64))

    @classmethod
    def begun(cls, chunk: Chunk, rows: I64) -> Self:
        """Make the operations that begin at ``rows`` of the chunk."""
        pid, tid = (integers(chunk.column(name), rows) for name in ("pid", "tid"))
        who = (np.where(pid < 0, tid, pid), tid, texts(chunk.column("comm"), rows))
        return cls.made(rows + chunk.row, chunk.code[rows] >> np.uint8(2), who, chunk.ts[rows])

    def add(self, place: I64, owners: Owners, events: Events, chunk: Chunk) -> None:
        """Add the events of a chunk; ``place`` gives the row of each of ``owners``, -1 none.

        Writes to the arrays: only for a table whose columns share none, as one from ``joined``.
        """
        size = len(place)
        listed = place >= 0
        rows = place[listed]
        owner = owners.owner[events.calls] + 1  # 0: outside of any operation

        def counted(numbers: I64) -> I64:
            return np.bincount(numbers, minlength=size + 1)[1:][listed]

        self.calls[rows] += counted(owner)
        self.derived[rows] += counted(owner[events.derived])
        self.hits[rows] += counted(owner[events.hit])
        self.silent[rows] += counted(owner[events.silent])
        self.warnings[rows] += counted(owners.owner[events.warnings] + 1)
        if events.warned is not None:
            exits = owners.owner[events.warned.exit] + 1
            low, high = exact_sums(exits, events.warned.duration, size + 1)
            self.warn_low[rows] += low[1:][listed]
            self.warn_high[rows] += high[1:][listed]
        low, high = _pfns(chunk, owners)
        self.low[rows] = np.minimum(self.low[rows], low[listed])
        self.high[rows] = np.maximum(self.high[rows], high[listed])
        at = place[owners.ended]
        self.end[at[at >= 0]] = owners.ended_ts[at >= 0]
        self.ended[at[at >= 0]] = True

    def operations(self) -> Iterator[Operation]:
        for (
            _, kind, pid, tid, comm, start, ended, end, low, high,
            calls, derived, hits, silent, warnings, warn_low, warn_high,
        ) in self.values():  # fmt: skip
            yield Operation(
                kind=Kind(kind),
                pid=None if pid < 0 else pid,
                tid=None if tid < 0 else tid,
                comm=comm,
                start_ns=start,
                duration_ns=max(0, end - start) if ended else None,
                pfn=low if low <= high else None,
                nr_pages=high - low if low <= high else None,
                sections=calls,
                derived=derived,
                hits=hits,
                silent=silent,
                warnings=warnings,
                warn_ns=warn_low + (warn_high << 32),
            )


class Operations:
    """The newest operations, those open, and how many there were."""

    def __init__(self, *, budget: int = OPEN) -> None:
        self._budget = budget
        self.total = 0
        self.tasks = Tasks()
        self._totals = Totals()
        self._table = _Table.empty()
        none = np.zeros(0, np.bool_)
        self._threads = _Threads(np.zeros(0, np.uint64), none, none, np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Return how many are kept: the newest and the open ones."""
        return len(self._table)

    def newest(self) -> tuple[Operation, ...]:
        """Return the newest ``LISTED`` operations in order of their entries."""
        return tuple(self._table.pick(slice(-LISTED, None)).operations())

    def totals(self) -> tuple[OperationTotal, ...]:
        """Return the sums over all operations, by kind."""
        return self._totals.totals()

    def fold(self, chunk: Chunk, events: Events) -> Owners | None:
        """Take in a chunk; return which operation each row is in, ``None`` if no row is."""
        owners = self._advance(chunk)
        if owners is None:
            return None
        size, carried = len(owners.rows), len(owners.rows) - len(owners.begins)
        self.total += len(owners.begins)
        old, table, fresh = len(self._table), self._table, _NONE
        if len(owners.begins):
            running = among(owners.rows[carried:], self._threads.owner)
            running[-LISTED:] = True
            fresh = np.flatnonzero(running)
            table = table.joined(_Table.begun(chunk, owners.begins[fresh]))
        # Where in the table each operation of the chunk is; -1: more than LISTED have come since.
        place = np.full(size, -1, np.int64)
        place[:carried] = table.row[:old].searchsorted(owners.rows[:carried])
        place[carried + fresh] = old + np.arange(len(fresh))
        table.add(place, owners, events, chunk)
        self._keep(table)
        if len(owners.begins):
            self._totals.begin(owners.kind[carried:-1])
            self.tasks.begin(chunk, owners.begins)
        self._totals.warn(owners.kind[owners.owner[events.warnings]])
        for finished in events.ended:
            if finished.kind in COUNTED:
                self._totals.end(finished, owners.kind[owners.owner[finished.exit]])
        return owners

    def prune(self) -> None:
        """Give up the threads that have been inside an operation longest, beyond the budget."""
        if (extra := len(self._threads) - self._budget) > 0:
            self._threads = self._threads.pick(np.argsort(self._threads.owner)[extra:])
            self._keep(self._table)

    def _keep(self, table: _Table) -> None:
        """Keep the newest operations and those that are open."""
        if len(table) > LISTED:
            keep = among(table.row, self._threads.owner)
            keep[-LISTED:] = True
            table = table.pick(keep)
        self._table = table

    def _advance(self, chunk: Chunk) -> Owners | None:
        """Move every thread's state over the chunk; ``None`` if no row has an operation."""
        code = chunk.sorted(chunk.code)
        places = np.flatnonzero(_SIDES.take(code))
        state, here = self._here(chunk)
        if not len(places) and not (state.owner >= 0).any():
            return None
        carried = np.flatnonzero(state.owner >= 0)
        number = np.full(len(chunk.threads), -1, np.int64)  # by thread, at the chunk's start
        number[carried] = np.arange(len(carried))
        rows = chunk.rows(places)
        thread = chunk.thread[rows].astype(np.int64)
        side = chunk.code[rows]
        kind, entry = side >> 2, (side & 3) == Phase.ENTRY
        fill = ForwardFill(thread)
        remap, unmap = kind == Kind.MEMREMAP, kind == Kind.MEMUNMAP
        in_remap, remap_after = fill.latest(remap, entry, state.remap)
        in_unmap, unmap_after = fill.latest(remap | unmap, entry & unmap, state.unmap)
        head = entry & (remap | (~in_remap & (unmap | ~in_unmap)))
        begins = np.sort(rows[head])
        own = np.full(len(rows), -1, np.int64)
        own[head] = len(carried) + begins.searchsorted(rows[head])
        owner_before, owner = fill.latest(head, own, number)
        first_kinds = self._table.kind[self._table.row.searchsorted(state.owner[carried])]
        kinds = np.append(np.concatenate((first_kinds, chunk.code[begins] >> 2)), 0)
        # An operation ends at the first exit of its kind; later ones are orphans.
        exits = ~entry & (owner >= 0) & (kind == kinds[owner])
        was_open, is_open = fill.latest(head | exits, head, number >= 0)
        ending = exits & was_open
        dropping = head & was_open
        after = np.where(is_open, owner, -1)
        numbers_rows = np.concatenate((state.owner[carried], begins + chunk.row))
        last = fill.last
        ended_owner = np.append(numbers_rows, -1)
        for column, values in (
            (state.remap, remap_after),
            (state.unmap, unmap_after),
            (state.owner, ended_owner[after]),
        ):
            column[thread[last]] = values[last]
        self._threads = _joined(self._threads, ~here, chunk.threads, state)
        return Owners(
            rows=numbers_rows,
            begins=begins,
            owner=spread(chunk, places, after, number),
            ended=owner[ending],
            ended_ts=chunk.ts[rows[ending]],
            dropped=owner_before[dropping],
            dropped_ts=chunk.ts[rows[dropping]],
            kind=kinds.astype(np.uint8),
        )

    def _here(self, chunk: Chunk) -> tuple[_Threads, Bool]:
        """Return the state by the chunk's threads, and which carried threads are among them."""
        carried = self._threads
        size = len(chunk.threads)
        state = _Threads(
            chunk.threads, np.zeros(size, np.bool_), np.zeros(size, np.bool_), np.full(size, -1)
        )
        order = np.argsort(chunk.threads)
        threads = chunk.threads[order]
        place = np.minimum(threads.searchsorted(carried.key), size - 1)
        here = threads[place] == carried.key
        at = order[place[here]]
        state.remap[at] = carried.remap[here]
        state.unmap[at] = carried.unmap[here]
        state.owner[at] = carried.owner[here]
        return state, here


def _joined(carried: _Threads, keep: Bool, keys: U64, state: _Threads) -> _Threads:
    """Return the threads that are inside a call or an operation."""
    busy = state.remap | state.unmap | (state.owner >= 0)
    return _Threads(
        np.concatenate((carried.key[keep], keys[busy])),
        np.concatenate((carried.remap[keep], state.remap[busy])),
        np.concatenate((carried.unmap[keep], state.unmap[busy])),
        np.concatenate((carried.owner[keep], state.owner[busy])),
    )


def _pfns(chunk: Chunk, owners: Owners) -> tuple[U64, U64]:
    """Return each operation's lowest pfn and highest end, 2^64 - 1 and 0 where it has none."""
    size = len(owners.rows)
    low, high = np.full(size, _TOP), np.zeros(size, np.uint64)
    rows = np.flatnonzero(_RANGES.take(chunk.code))
    rows = rows[owners.owner[rows] >= 0]
    (pfn, pfn_known), (pages, pages_known) = (
        numbers(chunk.column(name)) for name in ("pfn", "nr_pages")
    )
    for known in (pfn_known, pages_known):
        if known is not None:
            rows = rows[known[rows]]
    first = pfn[rows].astype(np.uint64)
    end = first + pages[rows].astype(np.uint64)
    np.minimum.at(low, owners.owner[rows], first)
    np.maximum.at(high, owners.owner[rows], np.where(end >= first, end, _TOP))
    return low, high
