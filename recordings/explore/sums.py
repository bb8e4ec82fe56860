# SPDX-License-Identifier: GPL-2.0-only
"""Numbers of a stretch of the table that add up, and of the operations in it.

Promises: what is added up stretch by stretch is the same as over all of it at once, and adding
makes new values: every moment's sums can be kept.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from recordings.explore.span_table import Flag
from recordings.ledger.columns import I64, U64, Bool
from recordings.ledger.histogram import Histogram, exact_sums
from recordings.ledger.operation_totals import ADDS, REMOVES
from recordings.ledger.operation_totals import LISTED as TASKS
from recordings.ledger.operations import LISTED
from recordings.ledger.series import TIMED, TimeBins
from recordings.ledger.snapshot import OperationTotal, SiteCount
from recordings.ledger.warn_sites import SITES
from tracers.events import Kind, Source
from tracers.regimes import REGIMES, hits

#: What ``Sums.added`` reads, beside ``owner_kind``: the kind of each span's operation, 0 for none.
COLUMNS: Final = (
    "kind", "regime", "flags", "source", "ts", "duration", "end_row", "site", "owner", "pfn",
    "nr_pages", "comm", "tid",
)  # fmt: skip
_KINDS: Final = len(Kind)
_PLACES: Final = SITES + 1
_TOP: Final = np.uint64((1 << 64) - 1)
_HOTPLUG: Final = (Kind.ADD_PAGES, Kind.REMOVE_PAGES)
_NO_ROWS: Final[I64] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class OperationSums:
    """What matched in the newest ``LISTED`` operations, by position."""

    at: I64
    calls: I64
    derived: I64
    hits: I64
    silent: I64
    warns: I64
    warn_low: U64  # nanoseconds, low and high 32 bits summed apart
    warn_high: U64
    low: U64  # pfns
    high: U64

    @classmethod
    def of(cls, at: I64) -> Self:
        """Return operations in which nothing was counted yet."""
        none, times = np.zeros(len(at), np.int64), np.zeros(len(at), np.uint64)
        return cls(at, none, none, none, none, none, times, times, np.full(len(at), _TOP), times)

    def joined(self, at: I64) -> "OperationSums":
        """Return these and newer ones, the newest ``LISTED``."""
        fresh = OperationSums.of(at)
        return OperationSums(
            *(
                np.concatenate((getattr(self, name), getattr(fresh, name)))[-LISTED:]
                for name in self.__slots__
            )
        )

    def added(self, columns: dict[str, NDArray[Any]], calls: I64, warns: I64) -> "OperationSums":
        """Return them with the matching calls and WARNs of a stretch, given by rows of it."""
        if not len(self.at):
            return self
        owner = columns["owner"]
        place = np.minimum(self.at.searchsorted(owner), len(self.at) - 1)
        inside = self.at[place] == owner
        size = len(self.at)

        def counted(rows: I64) -> I64:
            return np.bincount(place[rows[inside[rows]]], minlength=size)

        out = calls[hits(columns["regime"][calls])]
        ended = warns[inside[warns] & (columns["end_row"][warns] >= 0)]
        low, high = exact_sums(place[ended], columns["duration"][ended], size)
        pages = _ranges(columns, inside)
        first = columns["pfn"][pages]
        end = first + columns["nr_pages"][pages]
        lowest, highest = self.low.copy(), self.high.copy()
        np.minimum.at(lowest, place[pages], first)
        np.maximum.at(highest, place[pages], np.where(end >= first, end, _TOP))
        return replace(
            self,
            calls=self.calls + counted(calls),
            derived=self.derived + counted(calls[columns["source"][calls] == Source.DERIVED]),
            hits=self.hits + counted(out),
            silent=self.silent + counted(out[columns["flags"][out] & Flag.SILENT != 0]),
            warns=self.warns + counted(warns),
            warn_low=self.warn_low + low,
            warn_high=self.warn_high + high,
            low=lowest,
            high=highest,
        )


@dataclass(frozen=True, slots=True)
class KindSums:
    """What matched in all operations, by the kind of each."""

    operations: I64
    warns: I64
    warn_low: U64  # nanoseconds, low and high 32 bits summed apart
    warn_high: U64
    inner_low: U64  # of __add_pages and __remove_pages inside
    inner_high: U64

    @classmethod
    def none(cls) -> Self:
        """Return the sums of nothing."""
        counts, times = np.zeros(_KINDS, np.int64), np.zeros(_KINDS, np.uint64)
        return cls(counts, counts, times, times, times, times)

    def added(
        self, columns: dict[str, NDArray[Any]], begun: I64, warns: I64, over: dict[Kind, I64]
    ) -> "KindSums":
        """Return them with the matching spans of a stretch, given by rows; ``over``: ended ones."""
        kind, owner, duration = (columns[name] for name in ("kind", "owner_kind", "duration"))
        ended = over.get(Kind.WARN, _NO_ROWS)
        hotplug = np.concatenate([over.get(one, _NO_ROWS) for one in _HOTPLUG])
        inner = np.setdiff1d(hotplug, begun, assume_unique=True)
        warn_low, warn_high = exact_sums(owner[ended].astype(np.int64), duration[ended], _KINDS)
        low, high = exact_sums(owner[inner].astype(np.int64), duration[inner], _KINDS)
        return KindSums(
            self.operations + np.bincount(kind[begun], minlength=_KINDS),
            self.warns + np.bincount(owner[warns], minlength=_KINDS),
            self.warn_low + warn_low,
            self.warn_high + warn_high,
            self.inner_low + low,
            self.inner_high + high,
        )

    def totals(self) -> tuple[OperationTotal, ...]:
        """Return the sums of the kinds that occurred."""
        counts = [getattr(self, name).tolist() for name in self.__slots__]
        return tuple(
            OperationTotal(kind, operations, warns, low + (high << 32), inner + (more << 32))
            for kind in (*ADDS, *REMOVES)
            for operations, warns, low, high, inner, more in [[each[kind] for each in counts]]
            if operations
        )


@dataclass(frozen=True, slots=True)
class TaskList:
    """The threads that made operations, as (code of the name it had first, tid, removes)."""

    listed: tuple[tuple[int, int, bool], ...] = ()
    beyond: bool = False  # there were others

    def joined(self, comm: NDArray[np.uint32], tid: I64, removes: Bool) -> "TaskList":
        """Return these with those of operations that begin, in their order."""
        _, first = np.unique(tid * 2 + removes, return_index=True)
        first.sort()
        known = {task[1:] for task in self.listed}
        fresh = [
            task
            for task in zip(
                *(each[first[: TASKS + len(known)]].tolist() for each in (comm, tid, removes)),
                strict=True,
            )
            if task[1:] not in known
        ]
        room = TASKS - len(self.listed)
        beyond = self.beyond or len(fresh) > room or len(first) > TASKS
        return TaskList((*self.listed, *fresh[:room]), beyond)


@dataclass(frozen=True, slots=True)
class Passed:
    """What matches and begins before a position of the recording."""

    calls: int = 0
    hits: int = 0
    warnings: int = 0


@dataclass(frozen=True, slots=True)
class Sums:
    """Numbers of the spans that match."""

    populate: int
    free: int
    derived: int
    silent: int
    regimes: I64  # by code
    faults: I64  # Oopses, likewise
    timings: dict[Kind, Histogram]
    sites: I64  # WARNs by place
    timed: I64  # of these, those that ended
    time_low: U64
    time_high: U64
    series: TimeBins
    operations: OperationSums
    operations_total: int
    kinds: KindSums
    tasks: TaskList

    @classmethod
    def of(cls, first_ns: int | None, last_ns: int | None) -> Self:
        """Return the numbers of nothing, over the time of the recording."""
        series = TimeBins()
        if first_ns is not None and last_ns is not None:
            series.cover(first_ns, last_ns)
        counts, times = np.zeros(_PLACES, np.int64), np.zeros(_PLACES, np.uint64)
        return cls(
            populate=0,
            free=0,
            derived=0,
            silent=0,
            regimes=np.zeros(len(REGIMES), np.int64),
            faults=np.zeros(len(REGIMES), np.int64),
            timings={},
            sites=counts,
            timed=counts,
            time_low=times,
            time_high=times,
            series=series,
            operations=OperationSums.of(np.zeros(0, np.int64)),
            operations_total=0,
            kinds=KindSums.none(),
            tasks=TaskList(),
        )

    @property
    def passed(self) -> Passed:
        """How many calls, hits and WARNs these are."""
        out = hits(np.arange(len(REGIMES), dtype=np.uint8))
        return Passed(
            self.populate + self.free, int(self.regimes[out].sum()), int(self.sites.sum())
        )

    def covering(self, first_ns: int | None, last_ns: int | None) -> "Sums":
        """Return these with room in the bins of time for more."""
        if first_ns is None or last_ns is None:
            return self
        series = self.series.copy()
        series.cover(first_ns, last_ns)
        return replace(self, series=series)

    def added(self, columns: dict[str, NDArray[Any]], positions: I64) -> "Sums":
        """Return these with the spans at ascending ``positions``: with all of a stretch that match.

        The bins of time must cover them.
        """
        kind = columns["kind"]
        of = _by_kind(kind)
        over = {one: at[columns["end_row"][at] >= 0] for one, at in of.items()}
        populate, free = of.get(Kind.POPULATE, _NO_ROWS), of.get(Kind.FREE, _NO_ROWS)
        calls = np.concatenate((populate, free))
        warns, warned = of.get(Kind.WARN, _NO_ROWS), over.get(Kind.WARN, _NO_ROWS)
        faults = of.get(Kind.FAULT, _NO_ROWS)
        begun = np.flatnonzero(columns["owner"] == positions)
        regime = columns["regime"][calls]
        out = calls[hits(regime)]
        site = columns["site"][warns].astype(np.int64)
        over_site = columns["site"][warned].astype(np.int64)
        low, high = exact_sums(over_site, columns["duration"][warned], _PLACES)
        return replace(
            self,
            populate=self.populate + len(populate),
            free=self.free + len(free),
            derived=self.derived
            + int(np.count_nonzero(columns["source"][calls] == Source.DERIVED)),
            silent=self.silent + int(np.count_nonzero(columns["flags"][out] & Flag.SILENT)),
            regimes=self.regimes + np.bincount(regime, minlength=len(REGIMES)),
            faults=self.faults + np.bincount(columns["regime"][faults], minlength=len(REGIMES)),
            timings=self._timed(columns["duration"], over),
            sites=self.sites + np.bincount(site, minlength=_PLACES),
            timed=self.timed + np.bincount(over_site, minlength=_PLACES),
            time_low=self.time_low + low,
            time_high=self.time_high + high,
            series=self._over_time(columns, (out, warns, begun), over),
            operations=self.operations.joined(positions[begun]).added(columns, calls, warns),
            operations_total=self.operations_total + len(begun),
            kinds=self.kinds.added(columns, begun, warns, over),
            tasks=self.tasks.joined(
                columns["comm"][begun], columns["tid"][begun], np.isin(kind[begun], REMOVES)
            ),
        )

    def site_counts(self, names: tuple[str, ...]) -> tuple[SiteCount, ...]:
        """Return the places of WARNs, most frequent first, then by name."""
        columns = (self.sites, self.timed, self.time_low, self.time_high)
        counts = [
            SiteCount(name, count, low + (high << 32), count - timed)
            for name, count, timed, low, high in zip(
                names, *(column[: len(names)].tolist() for column in columns), strict=True
            )
            if count
        ]
        return tuple(sorted(counts, key=lambda site: (-site.count, site.site)))

    def _timed(self, duration: U64, over: dict[Kind, I64]) -> dict[Kind, Histogram]:
        timings = dict(self.timings)
        for one, at in over.items():
            if len(at):
                timings[one] = timings.get(one, Histogram()).added(duration[at])
        return timings

    def _over_time(
        self, columns: dict[str, NDArray[Any]], rows: tuple[I64, I64, I64], over: dict[Kind, I64]
    ) -> TimeBins:
        out, warns, begun = rows
        series = self.series.copy()
        ts, duration = columns["ts"], columns["duration"]
        if len(out):
            series.add_hits(ts[out])
        if len(warns):
            series.add_warnings(ts[warns])
        for one in TIMED:
            if one in over:
                at = over[one]
                series.add_finished(one, ts[at] + duration[at], duration[at])
        removes = np.isin(columns["kind"][begun], REMOVES)
        series.add_operations(ts[begun], removes, ended=False)
        ended = columns["end_row"][begun] >= 0
        at = begun[ended]
        series.add_operations(ts[at] + duration[at], removes[ended], ended=True)
        return series


def _by_kind(kind: NDArray[np.uint8]) -> dict[Kind, I64]:
    """Return the rows of each kind that occurs, ascending."""
    order = np.argsort(kind, kind="stable")
    ends = np.cumsum(np.bincount(kind)).tolist()
    parts = zip([0, *ends], ends, strict=False)
    return {Kind(number): order[low:high] for number, (low, high) in enumerate(parts) if low < high}


def _ranges(columns: dict[str, NDArray[Any]], inside: Bool) -> I64:
    """Return the rows of add_pages and remove_pages whose pages are known."""
    both = np.uint8(Flag.PFN_KNOWN | Flag.PAGES_KNOWN)
    known = inside & (columns["flags"] & both == both)
    kind = columns["kind"]
    return np.flatnonzero(known & ((kind == Kind.ADD_PAGES) | (kind == Kind.REMOVE_PAGES)))
