# SPDX-License-Identifier: GPL-2.0-only
"""Calls that a hard error would have refused, compared with a row-by-row reference."""

from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis.refused_calls import RefusedCalls, RefusedCounter
from tests.recordings import plain
from tests.recordings.oracle import regime
from tests.recordings.traces import ROWS, WINDOW, cuts
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
