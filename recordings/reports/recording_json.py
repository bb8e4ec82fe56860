# SPDX-License-Identifier: GPL-2.0-only
"""A snapshot as a JSON dictionary: ``vmemscope report --json``.

Promises: keys are added, never removed; addresses are "0x" and 16 digits, times whole
nanoseconds; what is not known is null with a reason beside it; no NaN or infinity. Text of
kernels and files stands as it is: JSON's own escapes keep it harmless.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from recordings.format.header import Header
from recordings.ledger.histogram import ERROR
from recordings.ledger.ours import ours
from recordings.ledger.snapshot import Extent, Operation, Series, Snapshot, Timing
from recordings.ledger.warn_shares import warn_shares
from recordings.reports.faults import faults_dict
from recordings.reports.requests import requests_dict
from recordings.wording.units import address
from tracers.events import Kind
from tracers.kernel_functions import name
from tracers.window import Window

#: 2: kinds go by the kernel's names of the functions.
VERSION: Final = 2


def report_dict(
    header: Header, snapshot: Snapshot, *, closing: Sequence[str] = ()
) -> dict[str, Any]:
    """Return everything a report says, ready for ``json.dumps``.

    ``closing``: the closing record's notes.
    """
    machine = header.machine
    pairing, losses = snapshot.pairing, snapshot.losses
    section_add = snapshot.timings.get(Kind.SECTION_ADD)
    return {
        "version": VERSION,
        "kernel": machine.release,
        "build_id": machine.build_id,
        "window": _window(machine.window),
        "verdict": snapshot.verdict.value,
        "verdict_reasons": list(snapshot.verdict_reasons),
        "doubts": [doubt.value for doubt in snapshot.doubts],
        "events": snapshot.events,
        "first_ns": snapshot.first_ns,
        "last_ns": snapshot.last_ns,
        "calls": {"populate": snapshot.populate, "free": snapshot.free},
        "derived": snapshot.derived,
        "hits": snapshot.hits,
        "silent": snapshot.silent,
        "would_warn": snapshot.would_warn,
        "suppressed": snapshot.suppressed,
        "regimes": asdict(snapshot.regimes),
        "faults": faults_dict(snapshot),
        "requests": requests_dict(snapshot, machine),
        "extents": extents_list(snapshot.extents),
        "extents_total": snapshot.extents_total,
        "sections": snapshot.sections,
        "calls_beyond": snapshot.calls_beyond,
        "warnings": {
            "total": snapshot.warnings,
            "total_ns": snapshot.warn_ns,
            "sites": [
                {
                    "site": site.site,
                    "count": site.count,
                    "total_ns": site.total_ns,
                    "untimed": site.untimed,
                }
                for site in snapshot.sites
            ],
        },
        "warn_shares": [
            {
                "of": part.what,
                "kind": name(part.kind),
                "warn_ns": part.warn_ns,
                "total_ns": part.total_ns,
                "share": part.share,
                "corrected": part.corrected,
                "ours_ns": part.ours.in_calls_ns if part.ours else None,
                "ours_in_warn_ns": part.ours.in_warns_ns if part.ours else None,
            }
            for part in warn_shares(snapshot)
        ],
        "section_add": None if section_add is None else _timed(snapshot, Kind.SECTION_ADD),
        "section_add_reason": snapshot.section_add_reason,
        "timings": {name(kind): _timed(snapshot, kind) for kind in snapshot.timings},
        "timing_error": ERROR,
        "operations": [_operation(operation) for operation in snapshot.operations],
        "operations_total": snapshot.operations_total,
        "pairing": {
            "paired": pairing.paired,
            "never_freed": pairing.never_freed,
            "never_populated": pairing.never_populated,
            "populated_twice": pairing.populated_twice,
        },
        "unfinished": [
            {"kind": name(call.kind), "ts_ns": call.ts_ns, "tid": call.tid, "comm": call.comm}
            for call in snapshot.unfinished
        ],
        "unfinished_total": snapshot.unfinished_total,
        "orphan_exits": snapshot.orphan_exits,
        "given_up": snapshot.given_up,
        "series": _series(snapshot.series),
        "losses": {
            "lost": losses.lost,
            "lost_unknown": losses.lost_unknown,
            "torn": losses.torn,
            "rejected": losses.rejected,
            "without_end": losses.without_end,
        },
        "probes": dict(header.probes),
        "origin": dict(header.origin),
        "problems": list(machine.problems),
        "notes": list(header.notes),
        "closing_notes": list(closing),
        "audit": {
            "before": snapshot.before.to_dict() or None,
            "after": snapshot.after.to_dict() or None,
        },
    }


def extents_list(extents: Sequence[Extent]) -> list[dict[str, Any]]:
    """Return the extents of the hits, JSON-safe."""
    return [asdict(e) | {"start": address(e.start), "end": address(e.end)} for e in extents]


def _window(window: Window | None) -> dict[str, Any] | None:
    return None if window is None else window.to_dict()


def _timed(snapshot: Snapshot, kind: Kind) -> dict[str, Any]:
    """Return the times of a kind as recorded, and how much of a call was ours, null: not known."""
    own = ours(snapshot, kind)
    each = own.each_ns if own else None
    return _timing(snapshot.timings[kind]) | {"corrected": False, "ours_each_ns": each}


def _timing(timing: Timing) -> dict[str, Any]:
    return {
        "count": timing.count,
        "total_ns": timing.total_ns,
        "min_ns": timing.min_ns,
        "max_ns": timing.max_ns,
        "p50_ns": timing.p50_ns,
        "p99_ns": timing.p99_ns,
        "bins": [list(interval) for interval in timing.bins],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "kind": name(operation.kind),
        "pid": operation.pid,
        "tid": operation.tid,
        "comm": operation.comm,
        "start_ns": operation.start_ns,
        "duration_ns": operation.duration_ns,
        "pfn": operation.pfn,
        "nr_pages": operation.nr_pages,
        "sections": operation.sections,
        "derived": operation.derived,
        "hits": operation.hits,
        "silent": operation.silent,
        "warnings": operation.warnings,
        "warn_ns": operation.warn_ns,
        "warn_share": operation.warn_share,
    }


def _series(series: Series | None) -> dict[str, Any] | None:
    if series is None:
        return None
    return {
        "start_ns": series.start_ns,
        "bin_ns": series.bin_ns,
        "hits": list(series.hits),
        "warnings": list(series.warnings),
        "timing_kind": name(series.timing_kind),
        "timing_count": list(series.timing_count),
        "timing_ns": list(series.timing_ns),
    }
