# SPDX-License-Identifier: GPL-2.0-only
"""All numbers of a ledger, before they are judged: what events alone say, in plain values.

``Figures`` are what a recording's closing record keeps (``recordings.ledger.stored``): there are no
losses among them and no verdict. Whoever has them and knows the machine has the snapshot:
``Case.snapshot`` is the one way to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from recordings.ledger.audited import Audited
from recordings.ledger.histogram import Histogram
from recordings.ledger.ours import INSIDE, observer_of
from recordings.ledger.snapshot import (
    Call,
    Extent,
    Fault,
    Operation,
    OperationTotal,
    Pairing,
    Reach,
    Regimes,
    Request,
    Series,
    SiteCount,
    Snapshot,
    Task,
    Unfinished,
)
from recordings.ledger.verdict import Evidence, doubts_of, is_arm64, judge, section_add_reason
from tracers.batch import Losses
from tracers.events import Kind
from tracers.kernel_functions import REQUESTS
from tracers.layout import Layout
from tracers.live.kmsg import RUNG
from tracers.observer import Observer
from tracers.window import Window

if TYPE_CHECKING:
    from recordings.format.header import AtEnd, Header


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers. A name that ``Snapshot`` has, too, means the same there."""

    events: int
    first_ns: int | None
    last_ns: int | None
    begun: Mapping[Kind, int]  # entries and points by kind
    derived: int
    failed: Mapping[Kind, int]  # __add_pages, sparse_add_section: ended, not with a result of 0
    orphans: Mapping[Kind, int]  # exits without entry
    regimes: Regimes
    undecided: int  # of those unknown: inside or not as the bits in use decide, not known
    would_warn: int
    would_warn_free: int
    sections: int
    calls_beyond: int
    given_up: int
    ended: int  # of the unfinished calls: those that another one of the same thread followed
    unfinished_total: int
    operations_total: int
    tasks_beyond: bool
    extents_total: int
    pairing: Pairing
    fault_regimes: Regimes
    unproven: int  # Oopses: which struct page it was is not known
    histograms: Mapping[Kind, Histogram]  # of the durations of finished calls
    sites: tuple[SiteCount, ...]
    operations: tuple[Operation, ...]
    totals: tuple[OperationTotal, ...]
    tasks: tuple[Task, ...]
    reaches: tuple[Reach, ...]
    unfinished: tuple[Unfinished, ...]
    newest: tuple[Call, ...]
    extents: tuple[Extent, ...]
    faults: tuple[Fault, ...]
    requests: tuple[Request, ...]
    refused: tuple[tuple[int, int], ...]
    series: Series | None


@dataclass(frozen=True, slots=True)
class Case:
    """What a recording is judged by besides its events; see ``Ledger``."""

    window: Window | None
    layout: Layout | None
    probes: Mapping[str, str]
    agree: bool = True
    arch: str | None = None
    before: Audited = field(default_factory=Audited)
    after: Audited = field(default_factory=Audited)
    observer: Observer = field(default_factory=Observer)

    @classmethod
    def of(cls, header: "Header") -> "Case":
        """Return that of a recording with this header."""
        machine = header.machine
        judged = is_arm64(machine.arch)
        return cls(
            machine.window if judged else None,
            machine.layout if judged else None,
            header.probes,
            machine.agree,
            machine.arch,
            Audited.from_dict(header.audit),
            observer=observer_of(header.observer),
        )

    def ended(self, at_end: "AtEnd") -> "Case":
        """Return it with what was known only when the recording had ended."""
        observer = observer_of(at_end.observer) or self.observer
        return replace(self, after=Audited.from_dict(at_end.audit), observer=observer)

    def snapshot(self, figures: Figures, losses: Losses, *, final: bool) -> Snapshot:
        """Judge the numbers. ``final``: nothing follows, so open calls never ended."""
        begun = {kind: figures.begun.get(kind, 0) for kind in Kind}
        timings = {
            kind: timing
            for kind in Kind
            if (histogram := figures.histograms.get(kind)) and (timing := histogram.timing())
        }
        evidence = Evidence(
            window=self.window is not None,
            agree=self.agree,
            regimes=figures.regimes,
            silent=figures.regimes.hits - figures.would_warn,
            undecided=figures.undecided,
            begun=begun,
            derived=figures.derived,
            failed=figures.failed,
            sites=figures.sites,
            losses=losses,
            unfinished=figures.unfinished_total if final else figures.ended,
            orphans=figures.orphans,
            given_up=figures.given_up,
            beyond=figures.calls_beyond,
            arch=self.arch,
            faults=figures.fault_regimes,
            unproven=figures.unproven,
            before=self.before,
            after=self.after,
            log_only=any(how.startswith(f"{RUNG}:") for how in self.probes.values()),
        )
        verdict, reasons = judge(evidence)
        return Snapshot(
            events=figures.events,
            first_ns=figures.first_ns,
            last_ns=figures.last_ns,
            populate=begun[Kind.POPULATE],
            free=begun[Kind.FREE],
            derived=figures.derived,
            regimes=figures.regimes,
            would_warn=figures.would_warn,
            would_warn_free=figures.would_warn_free,
            warnings=begun[Kind.WARN],
            warn_ns=sum(site.total_ns for site in figures.sites),
            sites=figures.sites,
            timings=timings,
            section_add_reason=None
            if Kind.SECTION_ADD in timings
            else section_add_reason(
                begun[Kind.SECTION_ADD], Kind.ADD_PAGES in timings, self.probes
            ),
            operations=figures.operations,
            operations_total=figures.operations_total,
            totals=figures.totals,
            tasks=figures.tasks,
            tasks_beyond=figures.tasks_beyond,
            reaches=figures.reaches,
            pairing=figures.pairing,
            losses=losses,
            unfinished=figures.unfinished,
            unfinished_total=figures.unfinished_total,
            orphan_exits=sum(figures.orphans.values()),
            newest=figures.newest,
            extents=figures.extents,
            extents_total=figures.extents_total,
            series=figures.series,
            verdict=verdict,
            verdict_reasons=reasons,
            sections=figures.sections,
            calls_beyond=figures.calls_beyond,
            given_up=figures.given_up,
            fault_regimes=figures.fault_regimes,
            faults=figures.faults,
            requests=figures.requests,
            requests_total=sum(begun[kind] for kind in REQUESTS),
            refused=figures.refused,
            doubts=doubts_of(evidence),
            before=self.before,
            after=self.after,
            inner_calls={kind: begun[kind] for kind in INSIDE if begun[kind]},
            observer=self.observer,
        )
