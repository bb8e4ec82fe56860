# SPDX-License-Identifier: GPL-2.0-only
"""Which exit ends which entry."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.ledger.columns import chunks
from recordings.ledger.spans import Spans
from tests.recordings import oracle, plain, traces
from tracers.events import Kind


def folded(rows, cuts=()):
    """Pair rows; return (the spans, every finished call as kind, entry row, exit row, ns)."""
    spans, finished = Spans(), []
    places = [0, *cuts, len(rows)]
    for first, last in itertools.pairwise(places):
        for chunk in chunks(plain.batch(rows[first:last]).events, first):
            tags = chunk.ts.astype("int64")  # any tag: here the entry's own time
            for ended in spans.fold(chunk, tags):
                columns = zip(
                    ended.entry.tolist(), ended.exit.tolist(), ended.site.tolist(),
                    ended.duration.tolist(), strict=True,
                )  # fmt: skip
                finished += [
                    (ended.kind.label, entry, end + first, ns) for entry, end, _, ns in columns
                ]
                assert all(tag == rows[entry]["ts_ns"] for entry, _, tag, _ in zip(
                    ended.entry.tolist(), ended.exit.tolist(), ended.site.tolist(),
                    ended.duration.tolist(), strict=True,
                ) if rows[entry]["ts_ns"] < 2**63)  # fmt: skip
    return spans, sorted(finished)


def row(ts, phase, kind="free", **who):
    return {"ts_ns": ts, "kind": kind, "phase": phase, "source": "kprobe"} | (who or {"tid": 5})


def test_an_exit_ends_the_entry_before_it():
    spans, finished = folded([row(10, "entry"), row(17, "exit")])
    assert finished == [("free", 0, 1, 7)]
    assert spans.unfinished() == ((), 0)


def test_an_entry_after_an_entry_leaves_the_first_unfinished():
    spans, finished = folded([row(1, "entry"), row(4, "entry"), row(9, "exit")])
    assert finished == [("free", 1, 2, 5)]
    assert [(call.kind, call.ts_ns, call.tid) for call in spans.unfinished()[0]] == [
        (Kind.FREE, 1, 5)
    ]
    assert (spans.ended_count, spans.open_count) == (1, 0)


def test_an_exit_without_entry_is_an_orphan():
    spans, finished = folded([row(1, "exit"), row(2, "exit")])
    assert finished == []
    assert spans.orphans == {Kind.FREE: 2}


def test_threads_and_kinds_do_not_mix():
    rows = [row(1, "entry", tid=1), row(2, "entry", tid=2), row(3, "exit", kind="warn", tid=1),
            row(4, "exit", tid=1), row(6, "exit", tid=2)]  # fmt: skip
    spans, finished = folded(rows)
    assert finished == [("free", 0, 3, 3), ("free", 1, 4, 4)]
    assert spans.orphans == {Kind.WARN: 1}


def test_idle_tasks_are_told_apart_by_their_cpu():
    """Every CPU's idle task has tid 0; a log without tids has only the CPU."""
    for tid in (0, None):
        rows = [row(1, "entry", tid=tid, cpu=0), row(2, "entry", tid=tid, cpu=1),
                row(5, "exit", tid=tid, cpu=0), row(9, "exit", tid=tid, cpu=1)]  # fmt: skip
        assert folded(rows)[1] == [("free", 0, 2, 4), ("free", 1, 3, 7)]


def test_a_cpu_is_no_thread():
    rows = [row(1, "entry", tid=1, cpu=7), row(2, "exit", tid=0, cpu=1)]
    assert folded(rows)[1] == []


def test_a_point_has_no_other_side():
    spans, finished = folded([row(1, "entry"), row(2, "point"), row(3, "exit")])
    assert finished == [("free", 0, 2, 2)]
    assert spans.unfinished()[1] == 0


def test_a_clock_that_runs_back_lasts_nothing():
    assert folded([row(9, "entry"), row(4, "exit")])[1] == [("free", 0, 1, 0)]


def test_only_the_newest_unfinished_are_listed():
    rows = [row(n, "entry", tid=1) for n in range(250)]
    spans, _ = folded(rows, cuts=[60, 61, 130])
    calls, total = spans.unfinished()
    assert total == 250
    assert [call.ts_ns for call in calls] == list(range(150, 250))


@settings(max_examples=100, deadline=None)
@given(rows=traces.ROWS, data=st.data())
def test_as_retold_for_any_cut(rows, data):
    spans, finished = folded(rows)
    told = oracle.tell(rows, None)
    assert sorted((kind, ns) for kind, _, _, ns in finished) == sorted(
        (kind, ns) for kind, values in told["durations"].items() for ns in values
    )
    cuts = data.draw(traces.cuts(len(rows)))
    again, same = folded(rows, cuts[1:-1])
    assert same == finished
    assert again.unfinished() == spans.unfinished()
    assert again.orphans == spans.orphans


def test_the_oldest_open_calls_are_given_up_beyond_the_budget():
    spans = Spans(budget=3)
    rows = [row(n, "entry", tid=tid) for n, tid in enumerate((9, 2, 7, 4, 5))]
    rows.append(row(9, "entry", "populate", tid=1))  # another kind, a budget of its own
    (chunk,) = chunks(plain.batch(rows).events, 0)
    spans.fold(chunk, chunk.ts.astype("int64"))
    assert (spans.open_count, spans.given_up) == (6, 0)
    spans.prune()
    spans.prune()
    assert (spans.open_count, spans.given_up) == (4, 2)
    assert [call.tid for call in spans.unfinished()[0]] == [7, 4, 5, 1]
    exits = [row(20, "exit", tid=tid) for tid in (9, 2, 7, 4, 5)]
    (chunk,) = chunks(plain.batch(exits).events, len(rows))
    (finished,) = spans.fold(chunk, chunk.ts.astype("int64"))
    assert sorted(finished.entry.tolist()) == [2, 3, 4]
    assert spans.orphans == {Kind.FREE: 2}
