# SPDX-License-Identifier: GPL-2.0-only
"""Holds figures against themselves and against the file that they are kept in.

What the events say of one thing they say in several numbers: a figure that contradicts another one,
or the counts in the file's own batches, is not of these events.
"""

from collections.abc import Iterator

import numpy as np

from recordings.format.final_numbers import Contents
from recordings.ledger.figures import Figures
from recordings.ledger.histogram import Histogram, bin_range
from recordings.ledger.snapshot import Extent, Regimes, Series
from tracers.events import Kind

_LAST_BIN = 64 * 64


def check(figures: Figures, contents: Contents) -> None:
    """Raise ``ValueError`` for figures that cannot be of events like those in the file."""
    for number, holds in enumerate(_claims(figures, contents)):
        if not holds:
            raise ValueError(f"the numbers contradict each other or their file (claim {number})")


def _claims(figures: Figures, contents: Contents) -> Iterator[bool]:
    begun = {kind: figures.begun.get(kind, 0) for kind in Kind}
    calls = begun[Kind.POPULATE] + begun[Kind.FREE]
    spans = contents.first_ts, contents.last_ts
    # the file's own counts
    yield figures.events == contents.rows
    yield (figures.first_ns, figures.last_ns) == (spans if contents.rows else (None, None))
    # events
    ended = sum(each.count for each in figures.histograms.values())
    yield sum(begun.values()) + ended + sum(figures.orphans.values()) <= figures.events
    yield all(each.count <= begun[kind] for kind, each in figures.histograms.items())
    yield all(map(_is_histogram, figures.histograms.values()))
    yield sum(figures.failed.values()) <= figures.events
    yield figures.ended <= figures.unfinished_total <= figures.events
    yield len(figures.unfinished) == min(figures.unfinished_total, 100)
    # calls
    yield figures.regimes.total == calls
    yield figures.undecided <= figures.regimes.unknown
    yield figures.derived <= calls
    yield figures.would_warn_free <= figures.would_warn <= figures.regimes.hits
    yield figures.sections + figures.calls_beyond <= calls
    pairing = figures.pairing
    yield pairing.paired + pairing.never_populated <= begun[Kind.FREE]
    yield pairing.populated_twice + pairing.never_freed <= begun[Kind.POPULATE]
    yield pairing.held_outside <= pairing.never_freed <= figures.sections
    yield {each.regime for each in figures.reaches} >= _seen(figures.regimes) - {"unknown"}
    yield len(figures.newest) == min(calls + figures.fault_regimes.total, 500)
    yield all(each.row < figures.events for each in figures.newest)
    # stretches
    yield len(figures.extents) == min(figures.extents_total, 64)
    yield sum(each.populate + each.free for each in figures.extents) <= figures.regimes.hits
    yield sum(each.ranges for each in figures.extents) <= figures.sections
    yield all(map(_is_extent, figures.extents))
    # WARNs, Oopses, requests
    yield sum(site.count for site in figures.sites) == begun[Kind.WARN]
    yield all(site.untimed <= site.count for site in figures.sites)
    yield figures.fault_regimes.total <= begun[Kind.FAULT]
    yield figures.unproven <= figures.fault_regimes.unknown
    yield len(figures.faults) == min(figures.fault_regimes.total, 100)
    yield sum(number for _, number in figures.refused) <= figures.events
    # operations
    yield len(figures.operations) == min(figures.operations_total, 200)
    yield sum(total.operations for total in figures.totals) == figures.operations_total
    yield sum(total.warnings for total in figures.totals) <= begun[Kind.WARN]
    yield figures.operations_total <= figures.events
    # time
    yield (figures.series is None) == (not figures.events)
    if figures.series is not None:
        yield from _series_claims(figures, figures.series)


def _series_claims(figures: Figures, series: Series) -> Iterator[bool]:
    lists = (
        series.hits, series.warnings, series.timing_count, series.timing_ns, series.adds,
        series.removes,
    )  # fmt: skip
    yield len({len(each) for each in lists}) == 1
    yield series.bin_ns > 0 and series.bin_ns & (series.bin_ns - 1) == 0
    first, last = figures.first_ns or 0, figures.last_ns or 0
    yield series.start_ns <= first
    yield last < series.start_ns + len(series.hits) * series.bin_ns
    yield sum(series.hits) == figures.regimes.hits
    yield sum(series.warnings) == figures.begun.get(Kind.WARN, 0)
    histogram = figures.histograms.get(series.timing_kind)
    counted = (histogram.count, histogram.total) if histogram else (0, 0)
    yield (sum(series.timing_count), sum(series.timing_ns)) == counted


def _is_histogram(histogram: Histogram) -> bool:
    bins, counts = histogram.bins, histogram.counts
    if not len(bins) or len(bins) != len(counts) or not (counts > 0).all():
        return False
    if (np.diff(bins) <= 0).any() or bins[0] < 0 or bins[-1] > _LAST_BIN:
        return False
    low, high = histogram.low, histogram.high
    (first, first_end), (last, last_end) = bin_range(int(bins[0])), bin_range(int(bins[-1]))
    return (
        sum(counts.tolist()) == histogram.count
        and first <= low < first_end
        and last <= high < last_end
        and low * histogram.count <= histogram.total <= high * histogram.count
    )


def _is_extent(extent: Extent) -> bool:
    return extent.regime not in ("inside", "unknown") and extent.ranges > 0


def _seen(regimes: Regimes) -> set[str]:
    counts = {"inside", "below", "above", "wrapped", "straddling"}
    return {name for name in counts if getattr(regimes, name)}
