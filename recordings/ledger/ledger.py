# SPDX-License-Identifier: GPL-2.0-only
"""Folds events into numbers: one pass, no events kept, the same for any cut into batches.

A ``Ledger`` takes batches in the order of their source and gives its numbers at any moment as a
frozen ``Snapshot``. Memory is bounded whatever the events are: every part has a budget
(docs/limits.md), and what is beyond it is counted.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from recordings.format.ahead import ahead
from recordings.ledger.audited import Audited
from recordings.ledger.columns import CHUNK, COLUMNS, Chunk, chunks, codeset
from recordings.ledger.faults import Faults
from recordings.ledger.figures import Case, Figures
from recordings.ledger.histogram import Histogram
from recordings.ledger.newest_calls import NewestCalls
from recordings.ledger.operations import Events, Operations
from recordings.ledger.ranges import RangeTable
from recordings.ledger.requests import CODES as REQUEST_CODES
from recordings.ledger.requests import Requests
from recordings.ledger.series import TimeBins
from recordings.ledger.sink import Found, Judged, Sink
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.spans import Finished, Spans
from recordings.ledger.verdict import is_arm64
from recordings.ledger.warn_sites import Sites
from tracers.arrow import numbers
from tracers.batch import Batch, Losses
from tracers.codes import codes
from tracers.events import Kind, Phase, Source
from tracers.layout import Layout
from tracers.observer import Observer
from tracers.regimes import UNKNOWN, classify, hits
from tracers.window import Window

if TYPE_CHECKING:
    from recordings.format.header import AtEnd, Header
    from recordings.format.parts import Readable

_BEGINS: Final = (Phase.ENTRY, Phase.POINT)
_FAULT: Final = Kind.FAULT * 4 + Phase.POINT
_JUDGED: Final = codeset((Kind.POPULATE, Kind.FREE), _BEGINS)
_JUDGED[_FAULT] = True
_ADDS: Final = (Kind.ADD_PAGES, Kind.SECTION_ADD)
_WARNINGS: Final = codeset((Kind.WARN,), _BEGINS)


class Ledger:
    """The numbers so far.

    ``window``: ``None`` leaves every regime unknown. ``layout``: names the regions, may be
    ``None``. ``probes``: the header's, to tell "not probed" from
    "not called". ``agree``: the machine's; ``False`` makes every verdict inconclusive. ``arch``:
    the machine's; of another than arm64 nothing is judged. ``before``: what it had mapped when
    the recording began. ``observer``: what watching a call cost.
    """

    def __init__(
        self,
        window: Window | None,
        layout: Layout | None,
        *,
        probes: Mapping[str, str] | None = None,
        agree: bool = True,
        arch: str | None = None,
        before: Audited | None = None,
        observer: Observer | None = None,
    ) -> None:
        if not is_arm64(arch):
            window = layout = None
        self._case = Case(
            window,
            layout,
            dict(probes or {}),
            agree,
            arch,
            before=before or Audited(),
            observer=observer or Observer(),
        )
        self._events = 0
        self._first: int | None = None
        self._last: int | None = None
        self._codes = np.zeros(64, np.int64)  # rows by kind * 4 + phase
        self._derived = 0
        self._failed = dict.fromkeys(_ADDS, 0)  # ended, but not with a result of 0
        self._losses = Losses()
        self._histograms: dict[Kind, Histogram] = {}
        self._spans = Spans()
        self._sections = RangeTable(window, layout)
        self._operations = Operations()
        self._sites = Sites()
        self._faults = Faults(window, layout)
        self._newest = NewestCalls()
        self._requests = Requests()
        self._timeline = TimeBins()

    @classmethod
    def of(cls, header: "Header") -> "Ledger":
        """Return an empty ledger for the events of a recording with this header."""
        case = Case.of(header)
        return cls(
            case.window,
            case.layout,
            probes=case.probes,
            agree=case.agree,
            arch=case.arch,
            before=case.before,
            observer=case.observer,
        )

    def fold(self, batch: Batch | pa.RecordBatch, sink: Sink | None = None) -> None:
        """Take in the next batch; of a ``Batch`` also the losses that its source reports.

        Columns: those of ``recordings.ledger.columns.COLUMNS`` are needed, others are ignored.
        ``sink`` gets what is found in it.
        """
        if isinstance(batch, Batch):
            self.add_losses(batch.losses)
            batch = batch.events
        for chunk in chunks(batch, self._events):
            self._fold(chunk, sink)

    def add_losses(self, losses: Losses) -> None:
        """Add losses that no batch reports, such as a file's torn tail."""
        self._losses += losses

    @property
    def losses(self) -> Losses:
        """What is known to be missing so far."""
        return self._losses

    def end_with(self, at_end: "AtEnd") -> None:
        """Take in what was known only when the recording had ended, as it is kept."""
        self._case = self._case.ended(at_end)

    def counts(self) -> tuple[int, int, int]:
        """Return calls, hits and WARNs so far: what a snapshot says of them, at no cost."""
        begun = self._codes.reshape(-1, 4)[:, 1::2].sum(axis=1).tolist()
        calls = begun[Kind.POPULATE] + begun[Kind.FREE]
        return calls, self._sections.regimes.hits, begun[Kind.WARN]

    def snapshot(self, *, final: bool = False, lists: bool = True) -> Snapshot:
        """Return all numbers as of now. ``final``: nothing follows, so open calls never ended.

        Without ``lists`` the newest calls and operations are left out, which cost most.
        """
        return self._case.snapshot(self.figures(lists=lists), self._losses, final=final)

    def figures(self, *, lists: bool = True) -> Figures:
        """Return all numbers as of now, not yet judged; ``lists`` as of ``snapshot``."""
        unfinished, unfinished_total = self._spans.unfinished()
        extents, extents_total = self._sections.extents()
        return Figures(
            events=self._events,
            first_ns=self._first,
            last_ns=self._last,
            begun={kind: int(self._codes[kind * 4 + 1 : kind * 4 + 4 : 2].sum()) for kind in Kind},
            derived=self._derived,
            failed=dict(self._failed),
            orphans=dict(self._spans.orphans),
            regimes=self._sections.regimes,
            undecided=self._sections.undecided,
            would_warn=self._sections.would_warn,
            would_warn_free=self._sections.would_warn_free,
            sections=len(self._sections),
            calls_beyond=self._sections.beyond,
            given_up=self._spans.given_up,
            ended=self._spans.ended_count,
            unfinished_total=unfinished_total,
            operations_total=self._operations.total,
            tasks_beyond=self._operations.tasks.beyond,
            extents_total=extents_total,
            pairing=self._sections.pairing,
            fault_regimes=self._faults.regimes,
            unproven=self._faults.unproven,
            histograms=dict(self._histograms),
            sites=self._sites.sites(),
            operations=self._operations.newest() if lists else (),
            totals=self._operations.totals(),
            tasks=self._operations.tasks.listed,
            reaches=self._sections.reaches(),
            unfinished=unfinished,
            newest=self._newest.calls(self._case.layout) if lists else (),
            extents=extents,
            faults=self._faults.newest(),
            requests=self._requests.newest,
            refused=self._requests.refused,
            series=self._timeline.series(),
        )

    def _fold(self, chunk: Chunk, sink: Sink | None) -> None:
        self._events += len(chunk)
        first, last = int(chunk.ts.min()), int(chunk.ts.max())
        self._first = first if self._first is None else min(first, self._first)
        self._last = last if self._last is None else max(last, self._last)
        self._timeline.cover(first, last)
        self._codes += chunk.counts
        self._count_failures(chunk)
        judged, events = self._judge(chunk)
        warnings = np.flatnonzero(_WARNINGS.take(chunk.code))
        self._timeline.add_warnings(chunk.ts[warnings])
        tags = self._sites.begin(chunk, warnings)
        finished = self._spans.fold(chunk, tags)
        for ended in finished:
            self._finish(chunk, ended)
        if chunk.counts[REQUEST_CODES].any():
            self._requests.fold(chunk, finished)
        owners = self._operations.fold(chunk, replace(events, warnings=warnings, ended=finished))
        for side in owners.sides(chunk) if owners is not None else ():
            self._timeline.add_operations(side.ts, side.removes, ended=side.ended)
        if sink is not None:
            owner = None if owners is None else owners.entries()
            sites = self._sites.names
            sink.take_in(chunk, Found(judged, warnings, tags, sites, finished, owner))
        if self._events % CHUNK == 0:  # at the same rows however batches were cut
            self._spans.prune()
            self._operations.prune()
            self._requests.prune()

    def _judge(self, chunk: Chunk) -> tuple[Judged | None, Events]:
        """Judge what is to be judged; return it, and its calls as ``Events`` without the WARNs."""
        rows = np.flatnonzero(_JUDGED.take(chunk.code))
        if not len(rows):
            none = np.zeros(0, np.bool_)
            return None, Events(rows, none, none, none)
        known = np.full(len(rows), 3, np.uint8)
        addresses = {}
        for bit, name in ((1, "start"), (2, "end")):
            values, valid = numbers(chunk.column(name))
            addresses[name] = values.take(rows).astype(np.uint64, copy=False)
            if valid is not None:
                known[~valid[rows]] &= ~np.uint8(bit)
        regime, silent = np.full(len(rows), UNKNOWN, np.uint8), np.zeros(len(rows), np.bool_)
        source = codes(chunk.column("source"), Source)[rows]
        start, end = addresses["start"], addresses["end"]
        judged = Judged(rows, source, start, end, known, regime, silent)
        calls = judged
        if chunk.counts[_FAULT]:
            fault = chunk.code[rows] == _FAULT
            faults, calls = judged.pick(fault), judged.pick(~fault)
            self._fold_faults(chunk, faults)
            regime[fault] = faults.regime
            self._fold_calls(chunk, calls)
            regime[~fault], silent[~fault] = calls.regime, calls.silent
        else:
            self._fold_calls(chunk, calls)
        self._newest.fold(chunk, judged)
        derived = calls.source == Source.DERIVED
        self._derived += int(np.count_nonzero(derived))
        hit = hits(calls.regime)
        self._timeline.add_hits(chunk.ts[calls.rows[hit]])
        return judged, Events(calls.rows, derived, hit, calls.silent)

    def _fold_calls(self, chunk: Chunk, calls: Judged) -> None:
        """Judge populate and free calls, in place, and count them by their ranges."""
        known = calls.known == 3
        whole = slice(None) if known.all() else known
        some = calls.pick(whole)
        self._sections.add_unknown(len(calls) - len(some))
        free = chunk.code[some.rows] >> 2 == Kind.FREE
        judged = self._sections.fold(some.start, some.end, free, some.rows + chunk.row)
        calls.regime[whole], calls.silent[whole] = judged

    def _fold_faults(self, chunk: Chunk, faults: Judged) -> None:
        """Judge Oopses, in place."""
        whole = faults.known == 3
        faults.regime[whole] = classify(faults.start[whole], faults.end[whole], self._case.window)
        self._faults.fold(chunk, faults)

    def _count_failures(self, chunk: Chunk) -> None:
        for kind in _ADDS:
            code = kind * 4 + Phase.EXIT
            if chunk.counts[code]:
                exits = np.flatnonzero(chunk.code == code)
                ret, valid = numbers(chunk.column("ret"))
                failed = ret[exits] != 0
                if valid is not None:
                    failed |= ~valid[exits]
                self._failed[kind] += int(np.count_nonzero(failed))

    def _finish(self, chunk: Chunk, ended: Finished) -> None:
        if not len(ended.entry):
            return
        kind = ended.kind
        self._histograms[kind] = self._histograms.get(kind, Histogram()).added(ended.duration)
        self._timeline.add_finished(kind, chunk.ts[ended.exit], ended.duration)
        if kind is Kind.WARN:
            self._sites.end(ended)
        elif kind in (Kind.POPULATE, Kind.FREE):
            self._newest.end(ended)


def folded(recording: "Readable") -> Ledger:
    """Fold a whole recording, with the losses of the file itself."""
    ledger = Ledger.of(recording.header)
    for batch in ahead(recording.batches(columns=COLUMNS)):
        ledger.fold(batch)
    ledger.add_losses(recording.losses)
    ledger.end_with(recording.at_end)
    return ledger
