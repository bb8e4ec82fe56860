# SPDX-License-Identifier: GPL-2.0-only
"""What-if: judges a recording under another window, placement or handling of the WARN.

Promises: the result is about the recorded pages, and is marked as hypothetical by its type: it is
no ``Snapshot`` and never takes the place of the recording's own verdict. Losses and contradictions
of the recording make this verdict inconclusive as well. Times saved are lower bounds from the WARNs
that were timed; no time is predicted for what was not measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from recordings.analysis.placements import (
    NO_PLACEMENTS,
    SEARCHED,
    Placements,
    has_iomem,
    place_regions,
)
from recordings.analysis.refused_calls import RefusedCalls, RefusedCounter
from recordings.analysis.relocation import Relocation, Relocator
from recordings.format.header import HITS_ONLY
from recordings.ledger.columns import COLUMNS, I64, codeset, ranges
from recordings.ledger.ledger import Ledger
from recordings.ledger.operation_totals import ADDS
from recordings.ledger.operations import OPEN
from recordings.ledger.ranges import KEPT
from recordings.ledger.snapshot import Extent, Regimes, Snapshot, Verdict
from recordings.ledger.verdict import MMU_C
from recordings.ledger.warn_shares import warn_shares
from recordings.wording.units import count
from tracers.codes import codes
from tracers.events import Kind, Phase, Source
from tracers.formulas import WindowError
from tracers.layout import Layout
from tracers.machine import Machine
from tracers.placement import physmem_end
from tracers.regimes import warns
from tracers.window import Window

if TYPE_CHECKING:
    from recordings.format.parts import Readable

_CALLS: Final = codeset((Kind.POPULATE, Kind.FREE), (Phase.ENTRY, Phase.POINT))
_STILL: Final = "Whether the kernel would still have failed (Oops) is not known."
_PARTIAL: Final = (
    "Calls inside the recording's own window are not in it: where they would lie is not known."
)


class Warn(StrEnum):
    """What the kernel does with a range out of its window."""

    ALWAYS = "always"  # WARN_ON, as upstream
    ONCE = "once"  # WARN_ON_ONCE, the patch of the thread
    ERROR = "error"  # vmemmap_populate() fails, as Ard Biesheuvel would have it


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The conditions. ``window`` None: the recording's own; ``whose`` says what it is of."""

    window: Window | None = None
    layout: Layout | None = None
    whose: str = ""  # may hold a file's name: escape before showing
    physmem_end: int | None = None  # last address request_free_mem_region() may give
    warn: Warn | None = None


@dataclass(frozen=True, slots=True)
class Saving:
    """WARN time of one side that would not have been spent, at least."""

    what: str  # "hot-add" or "hot-remove"
    saved_ns: int
    total_ns: int  # what that side took in the recording


@dataclass(frozen=True, slots=True)
class Fired:
    """WARNs of the window: those recorded, and those that would fire."""

    recorded: int
    would: int
    saved_ns: int | None  # at least; None: more would fire, or none was timed
    more_ns: int | None  # what more would cost at the mean of those timed: an estimate
    timed: int  # WARNs that these times rest on
    savings: tuple[Saving, ...]


@dataclass(frozen=True, slots=True)
class WhatIfResult:
    """The result of a what-if: everything here is hypothetical."""

    asked: WhatIf
    verdict: Verdict
    reasons: tuple[str, ...]
    window: Window | None
    layout: Layout | None
    populate: int
    free: int
    regimes: Regimes
    fault_regimes: Regimes  # of the Oopses, wherever their pages' struct pages would lie
    extents: tuple[Extent, ...]
    extents_total: int
    would_warn: int
    silent: int
    fired: Fired | None  # None: the conditions do not decide how often the kernel warns
    refused: RefusedCalls | None
    calls_beyond: int  # on ranges that the ledger has no row for: ``Snapshot.calls_beyond``
    placements: Placements

    @property
    def relocations(self) -> tuple[Relocation, ...]:
        """The regions that would be elsewhere, those that are listed."""
        return self.placements.listed


def judge_what_if(recording: "Readable", asked: WhatIf, own: Snapshot) -> WhatIfResult:
    """Judge a recording under ``asked``; ``own`` is what it says as it is (``ledger.fold``).

    Raises:
        WindowError: memstart_addr or a size of the other layout is not known, or a size of the
            recording's own that regions are placed by.
    """
    header = recording.header
    machine = header.machine
    window = asked.window or machine.window
    layout = asked.layout if asked.window is not None else machine.layout
    placements = (
        NO_PLACEMENTS if asked.physmem_end is None else place_regions(recording, asked.physmem_end)
    )
    relocator = (
        Relocator(machine.window, asked.window, placements.listed, placements.lost)
        if asked.window or placements.listed or len(placements.lost)
        else None
    )
    ledger = Ledger(window, layout, probes=header.probes, agree=machine.agree, arch=machine.arch)
    refused_counter = (
        RefusedCounter(window) if asked.warn is Warn.ERROR and window is not None else None
    )
    warning_calls = np.zeros(2, np.int64)
    # calls inside the recording's window may be missing: another window may not hold them
    partial = asked.window is not None and HITS_ONLY in header.origin
    for batch in recording.batches(columns=COLUMNS):
        events = batch.events
        if relocator is not None:
            events = relocator.relocate(events)
            ledger.fold(replace(batch, events=events))
        warning_calls += _warning_calls(events, window)
        partial |= asked.window is not None and _from_splats(events)
        if refused_counter is not None:
            refused_counter.fold(events)
    snapshot = own  # without relocation every call lies where it lay
    if relocator is not None:
        ledger.add_losses(recording.losses)
        snapshot = ledger.snapshot(final=True)
    refused = refused_counter.refused() if refused_counter is not None else None
    verdict, reasons = _verdict(snapshot, refused, placements, machine, partial=partial)
    return WhatIfResult(
        asked=asked,
        verdict=verdict,
        reasons=reasons,
        window=window,
        layout=layout,
        populate=snapshot.populate,
        free=snapshot.free,
        regimes=snapshot.regimes,
        fault_regimes=snapshot.fault_regimes,
        extents=snapshot.extents,
        extents_total=snapshot.extents_total,
        would_warn=snapshot.would_warn,
        silent=snapshot.silent,
        fired=_fired(asked, own, (int(warning_calls[0]), int(warning_calls[1]))),
        refused=refused,
        calls_beyond=snapshot.calls_beyond,
        placements=placements,
    )


def remedies(recording: "Readable", own: Snapshot) -> list[tuple[str, WhatIfResult]]:
    """Return the what-ifs of the patches discussed, by name; none for a recording without hits."""
    if own.verdict is not Verdict.OUT_OF_RANGE:
        return []
    asked = {
        "WARN_ON_ONCE in place of WARN_ON": WhatIf(warn=Warn.ONCE),
        "An error in place of the WARN": WhatIf(warn=Warn.ERROR),
    }
    results = [(name, judge_what_if(recording, what, own)) for name, what in asked.items()]
    window = recording.header.machine.window
    try:
        end = physmem_end(window) if window is not None else None
        if end is not None:
            capped = judge_what_if(recording, WhatIf(physmem_end=end), own)
            results.append((f"Device regions up to PHYSMEM_END 0x{end:x} only", capped))
    except WindowError:
        pass  # no memstart_addr or size: where the linear map ends is not known
    return results


def warning_once(own: Snapshot) -> Fired | None:
    """Return what a WARN_ON_ONCE in place of the WARN would save; needs no events.

    The same as ``judge_what_if`` says of the recording whose numbers these are.
    """
    populate = own.would_warn - own.would_warn_free
    return _fired(WhatIf(warn=Warn.ONCE), own, (populate, own.would_warn_free))


def _warning_calls(events: pa.RecordBatch, window: Window | None) -> I64:
    """Count the populate and free calls that the kernel's comparison is true for."""
    kind = codes(events.column("kind"), Kind)
    phase = codes(events.column("phase"), Phase)
    rows = np.flatnonzero(_CALLS.take((kind << np.uint8(2)) | phase))
    if window is None or not len(rows):
        return np.zeros(2, np.int64)
    start, end, known = ranges(events, rows)
    warning = known & warns(start, end, window)
    return np.bincount(kind[rows[warning]] == Kind.FREE, minlength=2)


def _from_splats(events: pa.RecordBatch) -> bool:
    """Say whether calls are known by their WARNs alone: those that did not warn are missing."""
    return bool((codes(events.column("source"), Source) == Source.DMESG).any())


def _verdict(
    snapshot: Snapshot,
    refused: RefusedCalls | None,
    placements: Placements,
    machine: Machine,
    *,
    partial: bool,
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the hypothetical verdict and its reasons."""
    facts = [*([_PARTIAL] if partial else []), *_unknown(refused, placements, machine)]
    if refused is not None and snapshot.faults_total:
        facts.append(_STILL)
    if snapshot.verdict is not Verdict.OUT_OF_RANGE:
        verdict = Verdict.INCONCLUSIVE if facts else snapshot.verdict
        return verdict, (*facts, *snapshot.verdict_reasons)
    hits, *doubts = snapshot.verdict_reasons
    if refused is None:
        return snapshot.verdict, (hits, *facts, *doubts)
    if refused.silent_made:
        calls = "1 call" if refused.silent_made == 1 else f"{count(refused.silent_made)} calls"
        made = f"The kernel's check lets {calls} out of the window pass: an error would stop none."
        return snapshot.verdict, (made, *facts, *doubts)
    fact = "No struct page would be mapped outside of the window: what asks for it is refused."
    if facts or doubts:
        return Verdict.INCONCLUSIVE, (*facts, *doubts, fact)
    return Verdict.CLEAN, (fact,)


def _unknown(
    refused: RefusedCalls | None, placements: Placements, machine: Machine
) -> Iterator[str]:
    """Yield what is not known of placements, and of calls that would be refused."""
    if full := placements.full:
        regions = "1 region has" if full == 1 else f"{count(full)} regions have"
        yield f"{regions} no place below that end: the driver's request would fail."
    if unknown := placements.unknown:
        where = "1 region is" if unknown == 1 else f"{count(unknown)} regions are"
        why = "no /proc/iomem is recorded"
        if has_iomem(machine):
            why = f"more than {count(SEARCHED)} regions or busy ranges are not searched"
        yield f"Where {where} placed instead is not known: {why}."
    if placements.beyond is not None:
        first = placements.beyond << (machine.window.page_shift if machine.window else 0)
        yield (
            f"Only the {count(KEPT)} lowest regions are kept: where those from physical"
            f" 0x{first:x} on are placed instead is not known."
        )
    if refused is not None and refused.unsure:
        calls = "1 call" if refused.unsure == 1 else f"{count(refused.unsure)} calls"
        yield (
            f"Whether {calls} would happen is not known, beyond the {count(KEPT)} ranges and"
            f" {count(OPEN)} threads that are kept: what is refused is a lower bound."
        )


def _fired(asked: WhatIf, own: Snapshot, warning_calls: tuple[int, int]) -> Fired | None:
    """Count the WARNs that would fire, populate's and free's, and what that saves."""
    if asked.warn is None and any(warning_calls):
        return None  # how often a kernel warns does not depend on its layout
    sites = [site for site in own.sites if MMU_C in site.site]
    recorded = sum(site.count for site in sites)
    spent = sum(site.total_ns for site in sites)
    timed = recorded - sum(site.untimed for site in sites)
    populate, free = warning_calls if _populate_checks(own) else (0, warning_calls[1])
    match asked.warn:
        case Warn.ERROR:
            populate = free = 0
        case Warn.ONCE:
            populate, free = min(populate, 1), min(free, 1)
        case _:
            pass
    would = populate + free
    timing = own.timings.get(Kind.WARN)
    dearest = timing.max_ns if timing else 0
    fewer = would <= recorded and timed > 0
    alone = recorded == own.warnings  # else the sides' shares hold other WARNs as well
    savings = tuple(
        Saving(part.what, max(0, part.spent_ns - kept * dearest), part.whole_ns)
        for part in warn_shares(own)
        for kept in [populate if part.kind is Kind.ADD_PAGES else free]
    )
    return Fired(
        recorded=recorded,
        would=would,
        saved_ns=max(0, spent - would * dearest) if fewer else None,
        more_ns=(would - recorded) * spent // timed if timed and would > recorded else None,
        timed=timed,
        savings=savings if fewer and alone else (),
    )


def _populate_checks(own: Snapshot) -> bool:
    """Say whether vmemmap_populate() compares at all: kernels before 5.12 only warn when freeing.

    What the recording shows decides; where it shows no WARN, a newer kernel is assumed.
    """
    warned = any(total.warnings for total in own.totals if total.kind in ADDS)
    freed = any(total.warnings for total in own.totals if total.kind not in ADDS)
    added_out = any(extent.populate for extent in own.extents)
    return warned or not (freed and added_out)
