# SPDX-License-Identifier: GPL-2.0-only
"""Calls that a hard error would have refused, compared with a row-by-row reference."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis import refused_calls
from recordings.analysis.refused_calls import RefusedCalls, RefusedCounter
from recordings.ledger import columns
from tests.recordings import made, plain
from tests.recordings.oracle import regime
from tests.recordings.traces import ROWS, WINDOW, cuts
from tracers.events import Kind, Phase
from tracers.machine import read_machine
from tracers.window import Window

LAB = Window(*WINDOW)


def tell(rows):
    """The rules of the module, one row after the other."""
    inside, adds, denied = {}, [], set()
    refused = not_made = freed = silent = 0
    for row in rows:
        thread = row.get("tid") or ("cpu", row.get("cpu"))
        begins = row["phase"] in ("entry", "point")
        where = regime(row.get("start"), row.get("end"), WINDOW)
        known = row.get("start") is not None and row.get("end") is not None
        out = where not in ("inside", "unknown")
        hit = out and (
            row["start"] < WINDOW[0] or row["end"] > WINDOW[1]
        )  # what the check compares
        if row["kind"] == "add_pages" and row["phase"] == "entry":
            inside[thread] = {"sections": 0, "refused": None}
            adds.append(inside[thread])
        elif row["kind"] == "add_pages" and row["phase"] == "exit":
            inside[thread] = None
        elif row["kind"] == "populate" and begins:
            add = inside.get(thread)
            behind = bool(add) and add["refused"] is not None
            if add:
                if hit and not behind:
                    add["refused"] = add["sections"]
                add["sections"] += 1
            refused += hit and not behind
            not_made += behind
            silent += out and not hit and not behind
            if known and (hit or behind):
                denied.add(row["start"])
        elif row["kind"] == "free" and begins:
            gone = hit or (known and row["start"] in denied)
            freed += gone
            silent += out and not hit and not gone
    return RefusedCalls(
        adds=sum(1 for add in adds if add["sections"]),
        adds_refused=sum(1 for add in adds if add["refused"] is not None),
        at_first=sum(1 for add in adds if add["refused"] == 0),
        populate_refused=refused,
        populate_not_made=not_made,
        free_not_made=freed,
        silent_made=silent,
    )


@given(st.data(), ROWS)
def test_the_rules_hold_for_any_trace_and_any_cut(data, rows):
    found = RefusedCounter(LAB)
    places = data.draw(cuts(len(rows)))
    for first, end in zip(places, [*places[1:], len(rows)], strict=True):
        found.fold(plain.batch(rows[first:end]).events)
    assert found.refused() == tell(rows)


def test_the_storm(captures):
    folder = captures / "6.1.192-vmemlab-39bit"
    rows = plain.derived(
        plain.read_trace(folder / "hole.ftrace.txt"), plain.read_note(folder / "kcore-vmcoreinfo")
    )
    found = RefusedCounter(LAB)
    found.fold(plain.batch(rows).events)
    frees = sum(row["kind"] == "free" and row["phase"] == "entry" for row in rows)
    assert found.refused() == RefusedCalls(1, 1, 1, 1, 127, frees, 0)
    assert found.refused().not_made == 255


def test_a_region_that_runs_out_of_the_window_stops_at_the_border():
    start, end = WINDOW
    step = 1 << 21
    who = {"tid": 7, "source": "kprobe", "ts_ns": 1}
    ranges = [(end - 2 * step + i * step) % 2**64 for i in range(5)]
    rows = [
        {"kind": "add_pages", "phase": "entry"} | who,
        *({"kind": "populate", "phase": "entry", "start": at, "end": at + step} | who
          for at in ranges),
        {"kind": "add_pages", "phase": "exit", "ret": 0} | who,
        *({"kind": "free", "phase": "entry", "start": at, "end": at + step} | who
          for at in (*ranges, start)),
    ]  # fmt: skip
    found = RefusedCounter(LAB)
    found.fold(plain.batch(rows).events)
    assert found.refused() == RefusedCalls(1, 1, 0, 1, 2, 3, 0)


def test_what_the_check_lets_pass_is_mapped_all_the_same(captures):
    folder = captures / "7.3.4-vmemlab-64k-52bit-on-48bit"
    window = read_machine(folder).window
    found = RefusedCounter(window)
    found.fold(plain.batch(plain.read_trace(folder / "below.ftrace.txt")).events)
    assert found.refused() == RefusedCalls(1, 0, 0, 0, 0, 0, silent_made=2)


# -- beyond the budget --------------------------------------------------------------------------


@pytest.mark.parametrize(("ranges", "threads"), [(0, 100), (1, 100), (2, 1), (100, 0), (100, 1)])
@given(data=st.data(), rows=ROWS)
def test_beyond_the_budget_what_is_told_is_a_lower_bound(ranges, threads, data, rows):
    with pytest.MonkeyPatch.context() as patch:
        for module in (columns, refused_calls):
            patch.setattr(module, "CHUNK", 8)  # where threads are given up
        told = []
        for places in (data.draw(cuts(len(rows))), [0]):
            found = RefusedCounter(LAB, budget=ranges, open_budget=threads)
            for first, end in zip(places, [*places[1:], len(rows)], strict=True):
                found.fold(plain.batch(rows[first:end]).events)
            told.append(found.refused())
    lower, true = asdict(told[0]), asdict(tell(rows))
    assert told[1] == told[0]  # whatever the cut
    unsure = lower["unsure"]
    for name in ("adds", "adds_refused", "at_first"):
        assert lower[name] <= true[name]
    for name in ("populate_refused", "populate_not_made", "free_not_made", "silent_made"):
        assert lower[name] <= true[name] <= lower[name] + unsure
    if not unsure and threads >= len(rows):
        assert lower == true


def inside(count):
    """Ranges of one page each within the window, in order."""
    return np.uint64(WINDOW[0]) + np.arange(count, dtype=np.uint64) * np.uint64(64)


def calls(starts, kind, **more):
    ends = starts + np.uint64(64)
    return made.events(len(starts), kind, Phase.POINT, start=starts, end=ends, **more)


def test_frees_of_ranges_that_are_not_kept_are_unsure():
    """A hot-add refused at its first section; then more ranges than are kept, all freed."""
    count = refused_calls.KEPT + 1000
    found = RefusedCounter(LAB)
    one = np.array([WINDOW[1]], np.uint64)
    for batch in (
        made.events(1, Kind.ADD_PAGES, Phase.ENTRY, tid=[7]),
        calls(one, Kind.POPULATE, tid=[7]),
        calls(inside(count), Kind.POPULATE, tid=np.full(count, 7, np.uint32)),
        calls(inside(count), Kind.FREE),
        calls(one, Kind.FREE),
    ):
        found.fold(batch)
    kept = refused_calls.KEPT - 1  # the one outside is kept, too
    assert found.refused() == RefusedCalls(
        adds=1, adds_refused=1, at_first=1, populate_refused=1, populate_not_made=count,
        free_not_made=kept + 1, silent_made=0, unsure=count - kept,
    )  # fmt: skip
    assert len(found._denied) == refused_calls.KEPT


def test_hits_beyond_the_budget_are_refused_without_a_doubt():
    """The storm's way: the check itself is true for what is freed."""
    count = refused_calls.KEPT + 1000
    out = np.uint64(WINDOW[1]) + inside(count) - np.uint64(WINDOW[0])
    found = RefusedCounter(LAB)
    found.fold(calls(out, Kind.POPULATE))
    found.fold(calls(out, Kind.FREE))
    assert found.refused() == RefusedCalls(0, 0, 0, count, 0, count, 0, unsure=0)


def test_hot_adds_that_are_over_leave_numbers_alone():
    """As many threads as are kept add a section outside and end, ten times; none is kept."""
    count = 10 * refused_calls.OPEN
    found = RefusedCounter(LAB)
    out = np.full(refused_calls.OPEN, WINDOW[1], np.uint64)
    for turn in range(10):
        tids = np.arange(1, len(out) + 1, dtype=np.uint32) + turn % 3 * len(out)
        found.fold(made.events(len(out), Kind.ADD_PAGES, Phase.ENTRY, tid=tids))
        found.fold(calls(out, Kind.POPULATE, tid=tids))
        found.fold(made.events(len(out), Kind.ADD_PAGES, Phase.EXIT, tid=tids))
        assert len(found._open) == 0
    assert found.refused() == RefusedCalls(count, count, count, count, 0, 0, 0)


def test_threads_inside_a_hot_add_are_bounded():
    count = 2 * columns.CHUNK
    tids = np.arange(1, count + 1, dtype=np.uint32)
    found = RefusedCounter(LAB)
    found.fold(made.events(count, Kind.ADD_PAGES, Phase.ENTRY, tid=tids))
    assert len(found._open) == refused_calls.OPEN
    newest, oldest = tids[-refused_calls.OPEN :], tids[:100]
    for some in (oldest, newest):
        found.fold(calls(np.full(len(some), WINDOW[1], np.uint64), Kind.POPULATE, tid=some))
    told = found.refused()
    assert (told.adds, told.adds_refused) == (refused_calls.OPEN, refused_calls.OPEN)
    assert (told.populate_refused, told.unsure) == (refused_calls.OPEN, 100)
