# SPDX-License-Identifier: GPL-2.0-only
"""The numbers of a snapshot, of the calls alone that a filter lets through.

Promises: without a filter they are the ledger's own; whatever the position they are asked for, at
most a stretch of the table is read, and memory is bounded (``KEPT`` moments are kept). What a
filter does not concern stays: events, losses, calls without an end, the verdict and its reasons.

What matches besides calls: what a call is inside of, if one of the calls inside matches (an
operation, a section); a WARN inside a call, if that call does; one outside of any call, if what it
is right inside of does. Where no call is to be asked, the filter decides on the span itself.

Without a filter two numbers differ from the ledger's where a log contradicts itself. An end that is
stamped before its entry counts in the entry's bin of time. Of an operation that ends only after the
thread has begun the next, the duration is known here, and the time of a WARN across that border is
the first one's.

A ``Tally`` is of the table as it is when it is made. One thread advances it and asks it.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.explore.bits import Bits
from recordings.explore.matches import Matches, is_call
from recordings.explore.span import Span
from recordings.explore.span_table import Flag
from recordings.explore.sums import COLUMNS, OperationSums, Sums
from recordings.explore.texts import NO_TEXT
from recordings.ledger import newest_calls
from recordings.ledger.columns import I64, Bool
from recordings.ledger.newest_calls import lands_on
from recordings.ledger.ranges import RangeTable
from recordings.ledger.snapshot import Call, Operation, Regimes, Snapshot, Task
from tracers.events import Kind
from tracers.machine import Machine
from tracers.regimes import REGIMES, hits

#: Moments whose sums are kept: the ends of so many stretches of blocks.
KEPT: Final = 128

_ALL: Final = (*COLUMNS, "parent", "calls", "start", "end", "row")
_BOTH: Final = np.uint8(Flag.START_KNOWN | Flag.END_KNOWN)


@dataclass(frozen=True, slots=True)
class Passed:
    """What matches and begins before a position of the recording."""

    calls: int = 0
    hits: int = 0
    warnings: int = 0


class Tally:
    """The numbers of ``matches``; complete once ``advance`` has returned ``False``.

    ``whole``: the snapshot that says what the filter does not concern. ``machine``: the header's.
    """

    def __init__(
        self, matches: Matches, whole: Snapshot, machine: Machine, *, kept: int = KEPT
    ) -> None:
        self._matches = matches
        self._table = matches.table
        self._whole = whole
        self._window = machine.window
        self._layout = machine.layout
        self._size = matches.size
        self._blocks = -(-self._size // self._table.block)
        self._stride = max(1, -(-self._blocks // kept))
        self._marked = 0  # blocks whose calls have marked what they are in
        self.around = Bits()  # spans that a matching call is inside of
        self.around.grow(self._size)
        self._matched = Bits()
        self._matched.grow(self._size)
        self._passed = [Passed()]  # by block: before it
        self._sums = Sums.of(whole.first_ns, whole.last_ns)
        self._moments = [self._sums]  # before every ``stride``-th block
        self._ranges = self._no_ranges()
        self._upto = (0, self._no_ranges())  # those before a position

    @property
    def done(self) -> bool:
        """Whether the numbers are complete."""
        return len(self._passed) > self._blocks

    def advance(self) -> bool:
        """Look at the next block; return whether there may be more to do."""
        if self._marked < self._blocks:
            self._mark(*self._bounds(self._marked))
            self._marked += 1
        elif not self.done:
            self._count(*self._bounds(len(self._passed) - 1))
        return not self.done

    def passed(self, row: int) -> Passed:
        """Return what matches and begins before an event: cheap enough for every tick."""
        position = min(self._table.before(row), self._size)
        number = min(position // self._table.block, len(self._passed) - 1)
        first = number * self._table.block
        columns = self._table.read(first, max(first, position), ("kind", "regime"))
        matched = self._matched.between(first, first + len(columns["kind"]))
        return _passed(self._passed[number], columns, matched)

    def snapshot(self, upto: int | None = None) -> Snapshot:
        """Return the numbers; with ``upto`` those of what begins before that event.

        The bins of time are those of the whole recording, and at its end so is what is still mapped
        outside of the window. How long a call took counts with its
        entry, so it may end later.
        """
        if upto is None or (position := self._table.before(upto)) >= self._size:
            made, held = self._made(self._sums, self._ranges, self._size), self._whole.pairing
            # What one task maps another may free: whether a range is held, no filter can tell.
            pairing = replace(
                made.pairing,
                held_outside=held.held_outside,
                held_outside_bytes=held.held_outside_bytes,
            )
            return replace(made, pairing=pairing)
        moment = min(position // self._table.block // self._stride, len(self._moments) - 1)
        sums = self._moments[moment]
        for first, stop in self._stretches(moment * self._stride * self._table.block, position):
            columns = self._read(first, stop, COLUMNS)
            sums = sums.added(columns, first, self._matched.between(first, stop))
        return self._made(sums, self._ranges_before(position), position)

    # -- counting ----------------------------------------------------------------------------

    def _bounds(self, number: int) -> tuple[int, int]:
        first = number * self._table.block
        return first, min(first + self._table.block, self._size)

    def _stretches(self, first: int, stop: int) -> list[tuple[int, int]]:
        block = self._table.block
        edges = [first, *range((first // block + 1) * block, stop, block), stop]
        return [(low, high) for low, high in pairwise(edges) if low < high]

    def _mark(self, first: int, stop: int) -> None:
        """Mark what the matching calls of a block are inside of."""
        calls = np.flatnonzero(self._matches.calls.between(first, stop))
        if not len(calls):
            return
        columns = self._table.read(first, stop, ("parent", "owner"))
        self.around.add(_distinct(columns["owner"][calls]))
        inside = _distinct(columns["parent"][calls])
        while len(inside):  # once for each level of nesting at most
            self.around.add(inside)
            inside = _distinct(self._of(inside, first, columns, "parent"))

    def _count(self, first: int, stop: int) -> None:
        columns = self._read(first, stop, _ALL)
        matched = self._judge(columns, first, stop)
        self._matched.put(first, matched)
        self._sums = self._sums.added(columns, first, matched)
        _fold_ranges(self._ranges, columns, matched)
        self._passed.append(_passed(self._passed[-1], columns, matched))
        if (len(self._passed) - 1) % self._stride == 0:
            self._moments.append(self._sums)

    def _read(self, first: int, stop: int, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        columns = self._table.read(first, stop, names)
        owner = columns["owner"]
        kind = np.zeros(len(owner), np.uint8)
        inside = np.flatnonzero(owner >= 0)
        kind[inside] = self._of(owner[inside], first, columns, "kind")
        return columns | {"owner_kind": kind}

    def _judge(self, columns: dict[str, NDArray[Any]], first: int, stop: int) -> Bool:
        """Return which spans of a block match."""
        matched = self._matches.let.between(first, stop).copy()
        around = columns["calls"] > 0
        matched[around] = self.around.between(first, stop)[around]
        warns = np.flatnonzero((columns["kind"] == Kind.WARN) & (columns["parent"] >= 0))
        parent = columns["parent"][warns]
        call = is_call(self._of(parent, first, columns, "kind"))
        matched[warns[call]] = self._matches.calls.has(parent[call])
        around = self._of(parent, first, columns, "calls") > 0
        matched[warns[around]] = self.around.has(parent[around])
        return matched

    def _of(
        self, positions: I64, first: int, columns: dict[str, NDArray[Any]], name: str
    ) -> NDArray[Any]:
        """Return a column at positions up to those of a block, whose columns are given."""
        found = columns[name][np.maximum(positions - first, 0)]
        before = np.flatnonzero(positions < first)
        if len(before):
            distinct = _distinct(positions[before])
            values = self._table.take(distinct, (name,))[name]
            found[before] = values[distinct.searchsorted(positions[before])]
        return found

    def _no_ranges(self) -> RangeTable:
        return RangeTable(self._window, self._layout)

    def _ranges_before(self, position: int) -> RangeTable:
        """Return the ranges of what matches before a position: quick when it only moves on."""
        at, ranges = self._upto
        if position < at:
            at, ranges = 0, self._no_ranges()
        for first, stop in self._stretches(at, position):
            columns = self._table.read(first, stop, ("kind", "start", "end", "flags", "row"))
            _fold_ranges(ranges, columns, self._matched.between(first, stop))
        self._upto = position, ranges
        return ranges

    # -- the numbers as a snapshot -------------------------------------------------------------

    def _made(self, sums: Sums, ranges: RangeTable, position: int) -> Snapshot:
        timings = {
            kind: timing
            for kind in Kind
            if (histogram := sums.timings.get(kind)) and (timing := histogram.timing())
        }
        regimes = Regimes(**dict(zip(REGIMES, sums.regimes.tolist(), strict=True)))
        sites = sums.site_counts(self._table.sites)
        extents, extents_total = ranges.extents()
        reason = self._whole.section_add_reason or "no sparse_add_section call matches"
        return replace(
            self._whole,
            populate=sums.populate,
            free=sums.free,
            derived=sums.derived,
            regimes=regimes,
            would_warn=regimes.hits - sums.silent,
            would_warn_free=ranges.would_warn_free,
            warnings=sum(site.count for site in sites),
            warn_ns=sum(site.total_ns for site in sites),
            sites=sites,
            timings=timings,
            section_add_reason=None if Kind.SECTION_ADD in timings else reason,
            operations=self._operations(sums.operations),
            operations_total=sums.operations_total,
            totals=sums.kinds.totals(),
            tasks=tuple(
                Task(self._comm(code), None if tid < 0 else tid, removes)
                for code, tid, removes in sums.tasks.listed
            ),
            tasks_beyond=sums.tasks.beyond,
            reaches=ranges.reaches(),
            pairing=ranges.pairing,
            newest=self._newest(position),
            extents=extents,
            extents_total=extents_total,
            series=sums.series.series(),
            sections=len(ranges),
            calls_beyond=ranges.beyond,
        )

    def _comm(self, code: int) -> str | None:
        return None if code == NO_TEXT else self._table.comms[code]

    def _operations(self, sums: OperationSums) -> tuple[Operation, ...]:
        spans = self._table.spans(sums.at)
        columns = [getattr(sums, name).tolist() for name in sums.__slots__[1:]]
        return tuple(
            Operation(
                kind=span.kind,
                pid=span.tid if span.pid is None else span.pid,
                tid=span.tid,
                comm=span.comm,
                start_ns=span.ts_ns,
                duration_ns=span.duration_ns,
                pfn=low if low <= high else None,
                nr_pages=high - low if low <= high else None,
                sections=calls,
                derived=derived,
                hits=hit,
                silent=silent,
                warnings=warns,
                warn_ns=warn_low + (warn_high << 32),
            )
            for span, calls, derived, hit, silent, warns, warn_low, warn_high, low, high in zip(
                spans, *columns, strict=True
            )
        )

    def _newest(self, position: int) -> tuple[Call, ...]:
        last = self._matches.number(position)
        at = self._matches.positions(max(0, last - newest_calls.LISTED), last)
        columns = self._table.take(at, ("start", "end"))
        regions = lands_on(self._layout, columns["start"], columns["end"])
        return tuple(map(call_of, self._table.spans(at), regions))


def call_of(span: Span, region: str | None) -> Call:
    """Return a populate or free call as snapshots have it; ``region``: where its range lies."""
    return Call(
        row=span.row,
        ts_ns=span.ts_ns,
        kind=span.kind,
        source=span.source,
        tid=span.tid,
        comm=span.comm,
        cpu=span.cpu,
        start=span.start,
        end=span.end,
        regime=span.regime or "",
        lands_on=None if span.start is None or span.end is None else region,
        duration_ns=span.duration_ns,
        silent=span.silent,
    )


def _passed(before: Passed, columns: dict[str, NDArray[Any]], matched: Bool) -> Passed:
    call = matched & is_call(columns["kind"])
    return Passed(
        before.calls + int(np.count_nonzero(call)),
        before.hits + int(np.count_nonzero(hits(columns["regime"][call]))),
        before.warnings + int(np.count_nonzero(matched & (columns["kind"] == Kind.WARN))),
    )


def _fold_ranges(ranges: RangeTable, columns: dict[str, NDArray[Any]], matched: Bool) -> None:
    calls = np.flatnonzero(matched & is_call(columns["kind"]))
    known = calls[columns["flags"][calls] & _BOTH == _BOTH]
    ranges.fold(
        columns["start"][known],
        columns["end"][known],
        columns["kind"][known] == Kind.FREE,
        columns["row"][known],
    )


def _distinct(positions: I64) -> I64:
    """Return the distinct positions that are some; most come in runs."""
    heads = positions[np.flatnonzero(np.diff(positions, prepend=-2))]
    return np.unique(heads[heads >= 0])
