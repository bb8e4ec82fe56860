# SPDX-License-Identifier: GPL-2.0-only
"""Bins over time: exact totals, the same whatever the order and the cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.ledger.series import BINS, TimeBins
from tracers.events import Kind

TIMES = st.lists(
    st.one_of(st.integers(0, 10**6), st.integers(0, 10**12), st.integers(0, 2**64 - 1)), min_size=1
)
U64 = st.integers(0, 2**64 - 1)


def folded(pieces):
    timeline = TimeBins()
    for times in pieces:
        if times:
            ts = np.array(times, np.uint64)
            timeline.cover(min(times), max(times))
            timeline.add_hits(ts)
            timeline.add_warnings(ts[::2])
            timeline.add_finished(Kind.FREE, ts, ts)
    return timeline.series()


@settings(deadline=None)
@given(TIMES)
def test_bins_are_the_narrowest_multiples_that_fit(times):
    series = folded([times])
    width = series.bin_ns
    assert width & (width - 1) == 0
    assert series.start_ns == min(times) // width * width
    assert len(series.hits) == max(times) // width - min(times) // width + 1 <= BINS
    assert width == 1024 or max(times) // (width // 2) - min(times) // (width // 2) >= BINS


@settings(deadline=None)
@given(TIMES)
def test_every_event_is_in_its_bin(times):
    series = folded([times])
    hits, timing = [0] * len(series.hits), [0] * len(series.hits)
    for ts in times:
        hits[(ts - series.start_ns) // series.bin_ns] += 1
        timing[(ts - series.start_ns) // series.bin_ns] += ts
    assert list(series.hits) == hits == list(series.timing_count)
    assert list(series.timing_ns) == timing
    assert sum(series.warnings) == len(times[::2])


@settings(deadline=None)
@given(TIMES, st.data())
def test_cuts_change_nothing(times, data):
    at = data.draw(st.integers(0, len(times) // 2)) * 2  # even: the warnings take every other one
    assert folded([times[:at], times[at:]]) == folded([times])


def test_no_events_no_series():
    assert TimeBins().series() is None


def test_the_timing_is_of_the_finest_call_seen():
    timeline = TimeBins()
    timeline.cover(0, 10)
    ts = np.array([5], np.uint64)
    assert timeline.series().timing_kind is Kind.ADD_PAGES
    for kind in (Kind.FREE, Kind.ADD_PAGES, Kind.SECTION_ADD):
        timeline.add_finished(kind, ts, ts)
        assert timeline.series().timing_kind is kind
    timeline.add_finished(Kind.MEMREMAP, ts, ts)  # not among those shown over time
    assert timeline.series().timing_count == (1,)
