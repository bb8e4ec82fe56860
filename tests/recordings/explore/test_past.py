# SPDX-License-Identifier: GPL-2.0-only
"""What had happened at a position, compared with the rows of the kernels' own text."""

from bisect import bisect_right
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.explore.past import Past
from tests.recordings import oracle, traces
from tests.recordings.explore.test_span_table import LAB, filled
from tests.recordings.ledger.test_ledger import SCENES, read


def begins(rows):
    """Numbers of the rows that begin a call or are one moment."""
    known = ("populate", "free", "warn", "memremap", "memunmap", "add_pages", "remove_pages",
             "section_add", "section_remove")  # fmt: skip
    return [
        at
        for at, row in enumerate(rows)
        if (row["kind"] in known and row["phase"] in ("entry", "point"))
        or (row["kind"], row["phase"]) == ("fault", "point")
    ]


def hits_of(rows, window):
    calls = [at for at in begins(rows) if rows[at]["kind"] in ("populate", "free")]
    out = []
    for at in calls:
        told = oracle.regime(rows[at].get("start"), rows[at].get("end"), window)
        if told not in ("inside", "unknown"):
            out.append(at)
    return calls, out


def check(rows, window, table):
    """Every position of rows, and every moment."""
    past = Past(table)
    calls, out = hits_of(rows, (window.start, window.end))
    began = begins(rows)
    warns = [at for at in began if rows[at]["kind"] == "warn"]
    stops = sorted([*out, *(at for at in began if rows[at]["kind"] == "fault")])
    clock = list(accumulate((rows[at]["ts_ns"] for at in began), max))
    for row in range(len(rows) + 1):
        told = tuple(sum(at < row for at in found) for found in (calls, out, warns))
        assert past.counts(row) == told
        assert past.next_hit(row) == next((at for at in stops if at >= row), None)
        assert past.previous_hit(row) == next((at for at in reversed(stops) if at < row), None)
        before = [at for at in began if at < row]
        assert past.time_of(row) == (rows[before[-1]]["ts_ns"] if before else None)
    for moment in {0, 2**64 - 2, *(ts + by for ts in clock for by in (-1, 0, 1) if ts + by >= 0)}:
        count = bisect_right(clock, moment)
        assert past.row_at(moment) == (began[count - 1] + 1 if count else 0)


@pytest.mark.parametrize(("kernel", "scene"), SCENES[:3])
def test_the_kernels_text(captures, kernel, scene):
    rows, window = read(captures, kernel, scene)
    for block in (65_536, 37):
        check(rows, window, filled(rows, window, block=block)[0])


@settings(max_examples=60, deadline=None)
@given(traces.ROWS, st.sampled_from([1, 2, 7, 65_536]))
def test_whatever_the_rows(rows, block):
    check(rows, LAB, filled(rows, LAB, block=block)[0])


def test_it_grows(captures):
    """Asked while rows are added, it says the same as at the end."""
    rows, window = read(captures, *SCENES[0])
    whole = Past(filled(rows, window)[0])
    for size in (1, 100, 129, 700, len(rows)):
        table, _ = filled(rows[:size], window, block=16)
        past = Past(table)
        assert past.counts(size // 2) == whole.counts(size // 2)
        assert past.counts(size) == whole.counts(size)
