# SPDX-License-Identifier: GPL-2.0-only
"""The ledger's numbers at one moment: frozen values, shared by reports, exports and the screen.

A snapshot holds plain Python values, never an Arrow buffer and never a reference into the
ledger, and its size does not depend on how many events were folded. Every number that is not
known is ``None`` with its reason beside it, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from recordings.ledger.audited import Audited
from tracers.batch import Losses
from tracers.events import Kind, Source
from tracers.observer import Observer


class Verdict(Enum):
    """The verdict in one word; ``exit_code`` is the command's."""

    CLEAN = "clean"
    OUT_OF_RANGE = "out-of-range"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 clean, 1 out-of-range, 3 inconclusive (2 is kept for usage and unreadable input)."""
        return {Verdict.CLEAN: 0, Verdict.OUT_OF_RANGE: 1, Verdict.INCONCLUSIVE: 3}[self]


class Doubt(Enum):
    """What stands against "clean" or makes a number a lower bound: the code of a reason.

    ``recordings.reports.advice`` says what would settle each.
    """

    FOREIGN = "foreign"  # not an arm64 log
    CONTRADICTION = "contradiction"  # two sources disagree on the machine
    UNFINISHED = "unfinished"  # the recording has no end that was asked for
    LOSSES = "losses"  # events are missing
    WINDOW = "window"  # not known
    ARGUMENTS = "arguments"  # of calls, not known
    OOPS_PAGE = "oops-page"  # which struct page an Oops was at is not proven
    OOPS_INSIDE = "oops-inside"  # the kernel failed at a struct page of the window
    BITS_IN_USE = "bits-in-use"  # not known, and calls depend on them
    GIVEN_UP = "given-up"  # more calls open at once than are followed
    LOG_ONLY = "log-only"  # a live capture of what the kernel logs: only calls that warned
    NO_CALLS = "no-calls"  # no populate, no free
    NO_POPULATE = "no-populate"  # though pages were added
    FAILED = "failed"  # what populate calls are derived from
    NO_BEGINNING = "no-beginning"  # calls whose entry was not seen
    NO_END = "no-end"  # calls whose exit was not seen
    WARNED_INSIDE = "warned-inside"  # WARNs of the window's file, and no call outside


@dataclass(frozen=True, slots=True)
class Regimes:
    """Number of populate and free calls, or of Oopses, in each regime, by the window in use.

    ``unknown`` counts those whose addresses or whose window are not known, and those
    that are inside or not depending on the bits in use, where these are not known.
    """

    inside: int = 0
    below: int = 0
    above: int = 0
    wrapped: int = 0
    straddling: int = 0
    unknown: int = 0

    @property
    def hits(self) -> int:
        """Those known not to be inside."""
        return self.below + self.above + self.wrapped + self.straddling

    @property
    def total(self) -> int:
        """All, in whatever regime."""
        return self.inside + self.hits + self.unknown


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations of the finished calls of one kind, nanoseconds.

    Quantiles come from a log-linear histogram: each is off by at most ``error`` of its value
    (``min_ns``, ``max_ns`` and ``total_ns`` are exact). ``bins`` is the histogram itself,
    non-empty bins only, ascending: (low ns inclusive, high ns exclusive, count).
    """

    count: int
    total_ns: int
    min_ns: int
    max_ns: int
    p50_ns: int
    p99_ns: int
    error: float
    bins: tuple[tuple[int, int, int], ...]

    def shorter(self, duration_ns: int) -> float:
        """Return the share of the calls that took less: a lower bound, short by one bin's."""
        return sum(number for _, high, number in self.bins if high <= duration_ns) / self.count


@dataclass(frozen=True, slots=True)
class SiteCount:
    """One WARN in the source: ``site`` is "file:line" as the kernel names it, unescaped."""

    site: str
    count: int
    total_ns: int  # time inside finished __warn calls
    untimed: int  # WARNs whose end was not seen: counted, their time is unknown


@dataclass(frozen=True, slots=True)
class Operation:
    """One memremap_pages or memunmap_pages, or a bare __add_pages or __remove_pages; all in it."""

    kind: Kind
    pid: int | None  # thread group, or the thread where the log gives no group
    tid: int | None
    comm: str | None  # unescaped
    start_ns: int
    duration_ns: int | None  # None: still running, or its end was lost
    pfn: int | None  # lowest pfn of its __add_pages / __remove_pages
    nr_pages: int | None  # pages from that to the highest end
    sections: int  # populate + free calls inside
    derived: int  # of those, derived and not observed
    hits: int
    warnings: int
    warn_ns: int
    silent: int = 0  # of the hits, those that the kernel's own check lets pass

    @property
    def warn_share(self) -> float | None:
        """Share of the operation's duration spent inside __warn."""
        return self.warn_ns / self.duration_ns if self.duration_ns else None


@dataclass(frozen=True, slots=True)
class OperationTotal:
    """All operations of one kind together, however many there were."""

    kind: Kind
    operations: int = 0
    warnings: int = 0  # WARNs inside
    warn_ns: int = 0  # the time of those that ended
    inner_ns: int = (
        0  # time of finished __add_pages and __remove_pages calls inside (not the operation)
    )


@dataclass(frozen=True, slots=True)
class Task:
    """A thread that made operations."""

    comm: str | None  # unescaped
    tid: int | None
    removes: bool  # memunmap_pages or __remove_pages; else memremap_pages or __add_pages


@dataclass(frozen=True, slots=True)
class Call:
    """One populate or free call, or one Oops, for lists."""

    row: int  # number of its entry (or point) event in the recording, from 0
    ts_ns: int
    kind: Kind
    source: Source
    tid: int | None
    comm: str | None  # unescaped
    cpu: int | None
    start: int | None
    end: int | None
    regime: str  # of tracers.regimes
    lands_on: str | None  # region name, None where no layout is known
    duration_ns: int | None
    silent: bool = False  # a hit that the kernel's own check lets pass


@dataclass(frozen=True, slots=True)
class Fault:
    """One Oops: the kernel failed at a struct page. What could not be proven is ``None``."""

    row: int  # number of its event in the recording, from 0
    ts_ns: int
    source: Source
    cpu: int | None
    pid: int | None
    tid: int | None
    comm: str | None  # unescaped
    start: int | None  # of the one struct page
    end: int | None
    regime: str  # of tracers.regimes
    lands_on: str | None  # region name, None where no layout is known
    pfn: int | None
    phys: int | None  # None also where the page size is not known
    chain: str | None  # "function+0x2c <- caller <- …"; unescaped
    operation: Kind | None  # the innermost watched function of the chain

    @property
    def outside(self) -> bool:
        """Whether the struct page is known to be out of the window."""
        return self.regime not in ("inside", "unknown")


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a free physical region, and what came of it."""

    row: int  # number of its entry in the recording, from 0
    ts_ns: int
    kind: Kind
    tid: int | None
    comm: str | None  # unescaped
    name: str | None  # the region's in /proc/iomem; unescaped
    asked: int | None  # pages
    pfn: int | None  # where the kernel put it
    nr_pages: int | None  # of the region
    error: int | None  # errno of a refusal
    known: bool  # whether it is known how it ended


@dataclass(frozen=True, slots=True)
class Extent:
    """Adjacent out-of-window ranges of one regime and region, merged: where the hits lie."""

    start: int
    end: int  # exclusive, modulo 2^64
    regime: str
    lands_on: str | None
    populate: int  # calls
    free: int  # calls
    ranges: int = 0  # distinct ranges merged
    silent: bool = False  # the kernel's own check lets them pass
    row: int = 0  # number of the first call's event in the recording


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the calls of one regime reach: of all of them, however many ranges there are.

    Meaningful where no call of the regime goes past 2^64: inside, below and above.
    """

    regime: str
    start: int  # lowest address
    last: int  # highest address, inclusive


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which ranges were populated and freed, by exact (start, end)."""

    paired: int = 0  # frees that closed a populate seen in this recording
    never_freed: int = 0
    never_populated: int = 0  # freed, but populated before the recording or by a lost call
    populated_twice: int = 0
    held_outside: int = 0  # of ``never_freed``, those outside the window
    held_outside_bytes: int = 0  # their sizes together


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A call whose end is not in the recording: still running, crashed inside, or lost."""

    kind: Kind
    ts_ns: int
    tid: int | None
    comm: str | None


@dataclass(frozen=True, slots=True)
class Series:
    """Counts over time in equal bins of ``bin_ns``, the first starting at ``start_ns``.

    ``timing_ns``/``timing_count``: total duration and number of the calls of ``timing_kind``
    that ended in the bin. At most 256 bins, whatever the length of the recording.
    """

    start_ns: int
    bin_ns: int
    hits: tuple[int, ...]
    warnings: tuple[int, ...]
    timing_kind: Kind
    timing_count: tuple[int, ...]
    timing_ns: tuple[int, ...]
    #: Operations that begin and end in the bin: those that add memory, and those that remove it.
    adds: tuple[tuple[int, int], ...] = ()
    removes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All numbers at one moment."""

    events: int
    first_ns: int | None
    last_ns: int | None
    populate: int
    free: int
    derived: int  # of populate + free, those derived
    regimes: Regimes
    would_warn: int  # calls for which the kernel's own comparison is true
    would_warn_free: int  # of those, vmemmap_free's
    warnings: int
    warn_ns: int
    sites: tuple[SiteCount, ...]  # most frequent first
    timings: dict[Kind, Timing]  # kinds with at least one finished call
    section_add_reason: str | None  # why there is no timing of SECTION_ADD, else None
    operations: tuple[Operation, ...]  # in order of start, the newest 200
    operations_total: int
    totals: tuple[OperationTotal, ...]  # of all operations, by kind, those that occurred
    tasks: tuple[Task, ...]  # whose operations they are, the first 64 in order of appearance
    tasks_beyond: bool  # there were others
    reaches: tuple[Reach, ...]  # by regime, those that occurred
    pairing: Pairing
    losses: Losses
    unfinished: tuple[Unfinished, ...]  # the newest 100
    unfinished_total: int
    orphan_exits: int  # exits whose entry is not in the recording
    newest: tuple[Call, ...]  # in order of occurrence, the newest 500, Oopses among them
    extents: tuple[Extent, ...]  # by start address, the 64 with most calls
    extents_total: int
    series: Series | None
    verdict: Verdict
    verdict_reasons: tuple[str, ...]  # plain sentences, the most important first
    sections: int = field(default=0)  # distinct ranges seen; at least, with ``calls_beyond``
    #: Calls on ranges beyond the first that are kept (``ranges.KEPT``): judged and counted, but in
    #: no ``pairing`` and no extent, whose numbers are then at least what is said.
    calls_beyond: int = 0
    #: Calls open beyond ``spans.OPEN`` and no longer followed: their ends are orphan exits.
    given_up: int = 0
    fault_regimes: Regimes = field(default_factory=Regimes)  # of all Oopses, by their struct page
    faults: tuple[Fault, ...] = ()  # in order of occurrence, the newest 100
    requests: tuple[Request, ...] = ()  # for free regions, in order of their ends, the newest 100
    requests_total: int = 0  # that began
    refused: tuple[tuple[int, int], ...] = ()  # (errno, requests), the most frequent first
    #: The code of each reason that is a doubt, in their order: see ``doubted``.
    doubts: tuple[Doubt, ...] = ()
    #: What the machine had outside when the recording began, and when it ended.
    before: Audited = field(default_factory=Audited)
    after: Audited = field(default_factory=Audited)
    #: Calls that began, of the kinds of ``recordings.ledger.ours.INSIDE``, those that occurred.
    inner_calls: Mapping[Kind, int] = field(default_factory=dict)
    #: What watching a call cost; empty where nobody knows. See ``recordings.ledger.ours``.
    observer: Observer = field(default_factory=Observer)

    @property
    def faults_total(self) -> int:
        """Oopses: they are no calls, and no hits."""
        return self.fault_regimes.total

    @property
    def refusals(self) -> int:
        """Requests for a free region that got an error."""
        return sum(number for _, number in self.refused)

    @property
    def hits(self) -> int:
        """Calls known to be out of the window."""
        return self.regimes.hits

    @property
    def silent(self) -> int:
        """Hits that the kernel's own check lets pass; where it is true, the call is a hit."""
        return self.hits - self.would_warn

    @property
    def doubted(self) -> tuple[tuple[Doubt, str], ...]:
        """Each doubt with its reason; reasons that are a fact or a remark are left out."""
        first = 1 if self.verdict is Verdict.OUT_OF_RANGE else 0  # that reason is the fact
        return tuple(zip(self.doubts, self.verdict_reasons[first:], strict=False))

    @property
    def suppressed(self) -> int:
        """Calls that the kernel's check is true for and that did not WARN beside others that did.

        A WARN_ON_ONCE fires once. 0 where a WARN may be among what was lost, and where none was
        seen: whether the kernel has the check, and whether anybody looked, is then not known.
        """
        unseen = self.losses or not self.warnings
        return 0 if unseen else max(0, self.would_warn - self.warnings)
