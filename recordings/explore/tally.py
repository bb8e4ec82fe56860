# SPDX-License-Identifier: GPL-2.0-only
"""The numbers of a snapshot, of the calls alone that a filter lets through.

Promises: without a filter they are the ledger's own; while a table grows only its end, and what has
changed, is counted anew; memory is bounded. What a filter does not concern stays: events, losses,
calls without an end, the verdict and its reasons.

What matches besides calls and Oopses: what they are inside of, if one of those inside matches (an
operation, a section); a WARN inside a call, if that call does; one outside of any call, if what it
is right inside of does. Where no call is to be asked, the filter decides on the span itself.

Without a filter two numbers differ from the ledger's where a log contradicts itself. An end that is
stamped before its entry counts in the entry's bin of time. Of an operation that ends only after the
thread has begun the next, the duration is known here, and the time of a WARN across that border is
the first one's.

A ``Tally`` is of the matches as they were at its last ``refresh``. One thread drives it.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.explore.bits import Bits
from recordings.explore.matches import Matches, holds, is_call
from recordings.explore.span import Span
from recordings.explore.span_table import Flag
from recordings.explore.sums import COLUMNS, OperationSums, Passed, Sums
from recordings.explore.texts import NO_TEXT
from recordings.ledger import newest_calls
from recordings.ledger.columns import I64, Bool
from recordings.ledger.newest_calls import lands_on
from recordings.ledger.ranges import RangeTable
from recordings.ledger.snapshot import Call, Fault, Operation, Regimes, Snapshot, Task
from recordings.ledger.verdict import is_arm64, judging
from tracers.events import Kind
from tracers.kernel_functions import REQUESTS
from tracers.machine import Machine
from tracers.regimes import REGIMES, hits

_RANGES: Final = ("kind", "start", "end", "flags", "row")
_ALL: Final = tuple(dict.fromkeys((*COLUMNS, *_RANGES, "parent", "calls", "faults")))
_BOTH: Final = np.uint8(Flag.START_KNOWN | Flag.END_KNOWN)
#: Blocks at the end that are not expected to stay as they are when more comes.
_UNSETTLED: Final = 2


@dataclass(frozen=True, slots=True)
class _Base:
    """What was counted of the first blocks, to go on from; never changed."""

    blocks: int
    sums: Sums
    ranges: RangeTable


class Tally:
    """The numbers of ``matches``; complete when ``advance`` returns ``False``.

    ``machine``: the header's.
    """

    def __init__(self, matches: Matches, machine: Machine) -> None:
        self._matches = matches
        self._table = matches.table
        self._window = judging(machine)
        self._layout = machine.layout if is_arm64(machine.arch) else None
        self._size = 0
        self._seen: list[tuple[int, int]] = []  # as ``Matches.seen``, of what is counted here
        self._changes = 0  # of the matches, then
        self._marked = 0  # blocks whose calls have marked what they are in
        self._around = Bits()  # spans that a matching call is inside of
        self._matched = Bits()
        self._passed = [Passed()]  # by block: before it
        self._base = self._nothing()
        self._settle = 0  # blocks that make a new base once they are counted
        self._sums, self._ranges = self._base.sums, self._base.ranges

    @property
    def done(self) -> float:
        """How much of the matches is counted, 0 to 1."""
        blocks = len(self._seen)
        return (self._marked + self._counted) / (2 * blocks) if blocks else 1.0

    @property
    def around(self) -> Bits | None:
        """The spans that a matching call is inside of; ``None`` while not all are known."""
        return self._around if self._marked == len(self._seen) else None

    @property
    def _counted(self) -> int:
        return len(self._passed) - 1

    def refresh(self, whole: Snapshot) -> None:
        """Take the matches as they are now. ``whole``: the numbers of everything."""
        if self._changes == self._matches.changes:
            return
        self._changes = self._matches.changes
        seen, before = self._matches.seen, self._seen
        changed = [at for at in range(len(seen)) if seen[at : at + 1] != before[at : at + 1]]
        self._size, self._seen = self._matches.size, list(seen)
        first = min(self._outermost(at) for at in changed)
        self._settle = first if before else max(0, len(seen) - _UNSETTLED)
        if self._base.blocks > first:
            self._base = self._nothing()
        self._sums = self._base.sums.covering(whole.first_ns, whole.last_ns)
        self._ranges = self._base.ranges.copy()
        del self._passed[self._base.blocks + 1 :]
        self._marked = min(self._marked, first)
        self._around.grow(self._size)
        self._around.put(first * self._table.block, self._none(first))
        self._matched.grow(self._size)

    def advance(self) -> bool:
        """Look at the next block; return whether there may be more to do."""
        if self._marked < len(self._seen):
            self._mark(*self._bounds(self._marked))
            self._marked += 1
        elif self._counted < len(self._seen):
            self._count(*self._bounds(self._counted))
        return self._counted < len(self._seen)

    def passed(self, row: int) -> Passed:
        """Return what matches and begins before an event: cheap enough for every tick."""
        position = min(self._table.before(row), self._size)
        number = min(position // self._table.block, self._counted)
        first = number * self._table.block
        columns = self._table.read(first, max(first, position), ("kind", "regime"))
        kind, regime = columns["kind"], columns["regime"]
        matched = self._matched.between(first, first + len(kind))
        call = matched & is_call(kind)
        before = self._passed[number]
        return Passed(
            before.calls + int(np.count_nonzero(call)),
            before.hits + int(np.count_nonzero(hits(regime[call]))),
            before.warnings + int(np.count_nonzero(matched & (kind == Kind.WARN))),
        )

    def snapshot(self, whole: Snapshot) -> Snapshot:
        """Return the numbers of what is counted. ``whole``: those of everything.

        What is still mapped outside of the window is the whole's: what one task maps another may
        free, so whether a range is held, no filter can tell.
        """
        sums, ranges = self._sums.covering(whole.first_ns, whole.last_ns), self._ranges
        timings = {
            kind: timing
            for kind in Kind
            if (histogram := sums.timings.get(kind)) and (timing := histogram.timing())
        }
        regimes = _regimes(sums.regimes)
        sites = sums.site_counts(self._table.sites)
        extents, extents_total = ranges.extents()
        # requests are no calls, and of no operation: no filter chooses among them
        timings |= {kind: whole.timings[kind] for kind in REQUESTS if kind in whole.timings}
        reason = whole.section_add_reason or "no sparse_add_section call matches"
        return replace(
            whole,
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
            pairing=replace(
                ranges.pairing,
                held_outside=whole.pairing.held_outside,
                held_outside_bytes=whole.pairing.held_outside_bytes,
            ),
            newest=self._newest(),
            extents=extents,
            extents_total=extents_total,
            series=sums.series.series(),
            sections=len(ranges),
            calls_beyond=ranges.beyond,
            fault_regimes=_regimes(sums.faults),
            faults=self._faults(whole),
        )

    # -- counting ----------------------------------------------------------------------------

    def _nothing(self) -> _Base:
        return _Base(0, Sums.of(None, None), RangeTable(self._window, self._layout))

    def _none(self, block: int) -> Bool:
        """Return ``False`` for every position from a block on."""
        return np.zeros(max(0, self._size - block * self._table.block), np.bool_)

    def _bounds(self, number: int) -> tuple[int, int]:
        first = number * self._table.block
        return first, min(first + self._table.block, self._size)

    def _outermost(self, number: int) -> int:
        """Return the first block that what is in a block is inside of."""
        first, stop = self._bounds(number)
        columns = self._table.read(first, stop, ("parent", "owner"))
        lowest, inside = first, _distinct(np.concatenate((columns["parent"], columns["owner"])))
        while len(inside := inside[inside < first]):  # once for each level of nesting at most
            lowest = min(lowest, int(inside[0]))
            inside = _distinct(self._table.take(inside, ("parent",))["parent"])
        return lowest // self._table.block

    def _mark(self, first: int, stop: int) -> None:
        """Mark what the matching calls and Oopses of a block are inside of."""
        listed = np.flatnonzero(self._matches.listed.between(first, stop))
        if not len(listed):
            return
        columns = self._table.read(first, stop, ("parent", "owner"))
        self._around.add(_distinct(columns["owner"][listed]))
        inside = _distinct(columns["parent"][listed])
        while len(inside):  # once for each level of nesting at most
            self._around.add(inside)
            inside = _distinct(self._of(inside, first, columns, "parent"))

    def _count(self, first: int, stop: int) -> None:
        columns = self._table.read(first, stop, _ALL)
        owner = columns["owner"]
        columns["owner_kind"] = np.zeros(len(owner), np.uint8)
        inside = np.flatnonzero(owner >= 0)
        columns["owner_kind"][inside] = self._of(owner[inside], first, columns, "kind")
        matched = self._judge(columns, first, stop)
        self._matched.put(first, matched)
        rows = np.flatnonzero(matched)
        if len(rows) < len(matched):
            columns = {name: column[rows] for name, column in columns.items()}
        self._sums = self._sums.added(columns, rows + first)
        _fold_ranges(self._ranges, columns)
        self._passed.append(self._sums.passed)
        if self._counted == self._settle > self._base.blocks:
            self._base = _Base(self._settle, self._sums, self._ranges.copy())

    def _judge(self, columns: dict[str, NDArray[Any]], first: int, stop: int) -> Bool:
        """Return which spans of a block match."""
        matched = self._matches.let.between(first, stop).copy()
        around = holds(columns)
        matched[around] = self._around.between(first, stop)[around]
        warns = np.flatnonzero((columns["kind"] == Kind.WARN) & (columns["parent"] >= 0))
        parent = columns["parent"][warns]
        call = is_call(self._of(parent, first, columns, "kind"))
        matched[warns[call]] = self._matches.listed.has(parent[call])
        of = {name: self._of(parent, first, columns, name) for name in ("calls", "faults")}
        around = holds(of)
        matched[warns[around]] = self._around.has(parent[around])
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

    def _faults(self, whole: Snapshot) -> tuple[Fault, ...]:
        """Return those Oopses of the listed that match and are counted."""
        at = self._table.positions(np.array([fault.row for fault in whole.faults], np.int64))
        end = min(self._counted * self._table.block, self._size)
        here = (at >= 0) & (at < end)
        here[here] = self._matched.has(at[here])
        return tuple(fault for fault, one in zip(whole.faults, here, strict=True) if one)

    def _newest(self) -> tuple[Call, ...]:
        last = self._matches.number(self._counted * self._table.block)
        at = self._matches.positions(max(0, last - newest_calls.LISTED), last)
        columns = self._table.take(at, ("start", "end"))
        regions = lands_on(self._layout, columns["start"], columns["end"])
        return tuple(map(call_of, self._table.spans(at), regions))


def _regimes(counts: I64) -> Regimes:
    return Regimes(**dict(zip(REGIMES, counts.tolist(), strict=True)))


def call_of(span: Span, region: str | None) -> Call:
    """Return a call or an Oops as snapshots have it; ``region``: where its range lies."""
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


def _fold_ranges(ranges: RangeTable, columns: dict[str, NDArray[Any]]) -> None:
    calls = np.flatnonzero(is_call(columns["kind"]))
    known = calls[columns["flags"][calls] & _BOTH == _BOTH]
    ranges.fold(
        columns["start"][known],
        columns["end"][known],
        columns["kind"][known] == Kind.FREE,
        columns["row"][known],
    )


def _distinct(positions: I64) -> I64:
    """Return the distinct positions that are some, ascending; most come in runs."""
    heads = positions[np.flatnonzero(np.diff(positions, prepend=-2))]
    heads = np.sort(heads[heads >= 0])  # NumPy's unique() hashes integers: slower on so many runs
    distinct: I64 = heads[np.flatnonzero(np.diff(heads, prepend=-1))]
    return distinct
