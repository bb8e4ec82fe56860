# SPDX-License-Identifier: GPL-2.0-only
"""Matches compared with a plain list of the calls that a filter lets through."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.explore.blocks import Blocks
from recordings.explore.filler import Filler
from recordings.explore.matches import By, Everything, Matches
from recordings.explore.span_table import DTYPES, LATE, SpanTable
from recordings.ledger.ledger import Ledger
from tests.recordings import plain, traces
from tests.recordings.explore.test_span_table import LAB, filled
from tests.recordings.ledger.test_ledger import read


class Comm:
    """A filter for a task by name."""

    names = ("comm",)

    def __init__(self, name):
        self.name = name

    def mask(self, columns, table):
        assert set(columns) >= set(self.names)
        codes = [code for code, name in enumerate(table.comms) if name == self.name]
        return np.isin(columns["comm"], codes)


class Longer:
    """A filter for calls that took longer than some time."""

    names = ("duration", "end_row")

    def __init__(self, ns):
        self.ns = ns

    def mask(self, columns, table):
        return (columns["end_row"] >= 0) & (columns["duration"] > self.ns)


FILTERS = st.sampled_from([Everything(), Comm("insmod"), Longer(1000)])


def plainly(table, let):
    """The calls and Oopses that a filter lets through, one by one."""
    calls = []
    for span in table.spans(np.arange(len(table))):
        if span.kind.label not in ("populate", "free", "fault"):
            continue
        if isinstance(let, Comm) and span.comm != let.name:
            continue
        if isinstance(let, Longer) and not (span.duration_ns or 0) > let.ns:
            continue
        calls.append(span)
    return calls


@settings(deadline=None)
@given(rows=traces.ROWS, let=FILTERS, block=st.sampled_from([1, 3, 8, 65_536]))
def test_every_match_in_every_order(rows, let, block):
    table, _ = filled(rows, LAB, (), block)
    matches, calls = Matches(table, let), plainly(table, let)
    at = [call.position for call in calls]
    assert len(matches) == len(at)
    assert matches.positions().tolist() == at
    assert [matches.position(number) for number in range(len(at))] == at
    assert matches.positions(1, 4).tolist() == at[1:4]
    for number in (-1, len(at)):
        with pytest.raises(IndexError):
            matches.position(number)
    for row in range(len(rows) + 2):
        before = [call.position for call in calls if call.row < row]
        after = [call.position for call in calls if call.row >= row]
        assert matches.before(row) == len(before)
        assert matches.preceding(row) == (before[-1] if before else None)
        assert matches.following(row) == (after[0] if after else None)
    owners = Counter(call.owner for call in calls if call.owner is not None)
    at, counts = matches.operations()
    assert list(zip(at.tolist(), counts.tolist(), strict=True)) == sorted(owners.items())

    def listed(key):
        known = [call for call in calls if key(call) is not None]
        known.sort(key=lambda call: -key(call))
        return [c.position for c in known] + [c.position for c in calls if key(c) is None]

    assert matches.order(By.TIME).tolist() == [
        call.position for call in sorted(calls, key=lambda call: call.ts_ns)
    ]
    assert matches.order(By.DURATION).tolist() == listed(lambda call: call.duration_ns)
    assert matches.order(By.WARN_SHARE).tolist() == listed(lambda call: call.warn_share)


def test_the_slowest_frees_of_the_storm(captures):
    """The worst calls, as the kernel's own text times them."""
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    table, _ = filled(rows, window)
    frees = plain.lasted(captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt", "free")
    matches = Matches(table, Comm("rmmod"))
    slowest = table.spans(matches.order(By.DURATION))
    assert [span.duration_ns for span in slowest] == sorted(frees, reverse=True)


def test_update_while_the_table_grows(captures):
    """Whatever was seen before, what ended since included."""
    rows, window = read(captures, "6.1.192-vmemlab-39bit", "hole")
    table = SpanTable(Blocks(DTYPES, LATE, block=64, most_late=3))
    filler, ledger = Filler(table), Ledger(window, None)
    lets = (Everything(), Comm("rmmod"), Longer(600_000))
    growing = [Matches(table, let) for let in lets]
    for first in range(0, len(rows), 33):
        ledger.fold(plain.batch(rows[first : first + 33]), filler)
        for matches, let in zip(growing, lets, strict=True):
            assert matches.update()
            assert not matches.update()
            at = [call.position for call in plainly(table, let)]
            assert matches.positions().tolist() == at
            assert matches.before(first + 33) == len(at)
