# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as a JSON dictionary: ``vmemscope compare --json``.

Promises: keys are added, never removed; times whole nanoseconds, ratios A / B; what is not known
is null with its reason beside it; no NaN or infinity.
"""

from typing import Any, Final

from recordings.analysis.compare import Comparison, Measure, Side
from recordings.analysis.confidence import DRAWS, LEVEL, Ratio
from recordings.reports.compare_text import headline
from tracers.kernel_functions import name

#: 2: kinds go by the kernel's names of the functions.
VERSION: Final = 2


def comparison_dict(comparison: Comparison) -> dict[str, Any]:
    """Return everything a comparison says, ready for ``json.dumps``."""
    return {
        "version": VERSION,
        "outcome": comparison.outcome.value,
        "answer": headline(comparison),
        "obstacles": list(comparison.obstacles),
        "differences": list(comparison.differences),
        "confidence": LEVEL,
        "draws": DRAWS,
        "a": _side(comparison.a),
        "b": _side(comparison.b),
        "measures": [_measure(measure) for measure in comparison.measures],
    }


def _side(side: Side) -> dict[str, Any]:
    snapshot, machine = side.snapshot, side.header.machine
    return {
        "file": side.name,
        "kernel": machine.release,
        "build_id": machine.build_id,
        "window": machine.window.to_dict() if machine.window else None,
        "section_bytes": side.section_bytes,
        "probes": dict(side.header.probes),
        "verdict": snapshot.verdict.value,
        "calls": {"populate": snapshot.populate, "free": snapshot.free},
        "calls_beyond": side.durations.beyond,
        "derived": snapshot.derived,
        "hits": snapshot.hits,
        "silent": snapshot.silent,
        "faults": snapshot.faults_total,
        "warnings": {"total": snapshot.warnings, "total_ns": snapshot.warn_ns},
        "warn_shares": {what: part.share for what, part in side.shares.items()},
        "warn_shares_corrected": {what: part.corrected for what, part in side.shares.items()},
        "sources": {
            name(kind): sorted(source.label for source in sources)
            for kind, sources in side.durations.sources.items()
        },
        "losses": {
            "lost": snapshot.losses.lost,
            "lost_unknown": snapshot.losses.lost_unknown,
            "torn": snapshot.losses.torn,
            "rejected": snapshot.losses.rejected,
            "without_end": snapshot.losses.without_end,
        },
    }


def _measure(measure: Measure) -> dict[str, Any]:
    return {
        "kind": name(measure.kind),
        "function": measure.function,
        "aligned": measure.paired,
        "a": {
            "measured": measure.counts[0],
            "ended": measure.ended[0],
            "total_ns": measure.totals[0],
            "per_section_ns": measure.per_section[0],
        },
        "b": {
            "measured": measure.counts[1],
            "ended": measure.ended[1],
            "total_ns": measure.totals[1],
            "per_section_ns": measure.per_section[1],
        },
        "ratio": _ratio(measure.ratio),
        "not_compared": measure.why_not,
        "corrected": measure.ours is not None,
        "ours_ns": measure.ours,
        "quantiles": [
            {"percent": q.percent, "a_ns": q.a, "b_ns": q.b, "ratio": _ratio(q.ratio)}
            for q in measure.quantiles
        ],
    }


def _ratio(ratio: Ratio | None) -> dict[str, Any] | None:
    """Return a ratio; ``interval`` null: too few calls."""
    if ratio is None:
        return None
    interval = None if ratio.low is None else [ratio.low, ratio.high]
    return {"value": ratio.value, "interval": interval, "differs": ratio.differs}
