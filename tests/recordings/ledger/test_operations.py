# SPDX-License-Identifier: GPL-2.0-only
"""Which calls and WARNs belong to which operation."""

import numpy as np

from recordings.ledger.columns import chunks
from recordings.ledger.ledger import Ledger
from recordings.ledger.operations import Events, Operations
from tests.recordings import plain, traces
from tracers.events import Kind
from tracers.window import Window

LAB = Window(start=traces.WINDOW[0], end=traces.WINDOW[1])
OUT = {"start": traces.WINDOW[1], "end": traces.WINDOW[1] + 2**21}


def row(ts, kind, phase="entry", tid=7, **more):
    who = {"tid": tid, "cpu": 0, "comm": f"task{tid}", "source": "kprobe"}
    return {"ts_ns": ts, "kind": kind, "phase": phase} | who | more


def operations(*rows):
    ledger = Ledger(LAB, None)
    ledger.fold(plain.batch(list(rows)))
    return ledger.snapshot().operations


def test_memremap_holds_its_add_pages():
    (only,) = operations(
        row(1, "memremap"),
        row(2, "add_pages", pfn=64, nr_pages=32),
        row(3, "free", **OUT),
        row(4, "add_pages", "exit"),
        row(5, "add_pages", pfn=16, nr_pages=8),
        row(6, "add_pages", "exit"),
        row(9, "memremap", "exit"),
    )
    assert (only.kind, only.duration_ns, only.sections, only.hits) == (Kind.MEMREMAP, 8, 1, 1)
    assert (only.pfn, only.nr_pages) == (16, 80)  # from the lowest pfn to the highest end


def test_hotplug_is_an_operation_of_its_own():
    one, two = operations(
        row(1, "add_pages", pfn=0, nr_pages=8),
        row(2, "add_pages", "exit"),
        row(3, "free", **OUT),  # outside of any operation
        row(4, "remove_pages", pfn=0, nr_pages=8),
        row(5, "free", **OUT),
        row(7, "remove_pages", "exit"),
    )
    assert (one.kind, one.sections, one.duration_ns) == (Kind.ADD_PAGES, 0, 1)
    assert (two.kind, two.sections, two.duration_ns) == (Kind.REMOVE_PAGES, 1, 3)


def test_memremaps_own_error_path_is_part_of_it():
    """mm/memremap.c: memremap_pages() undoes a failure by memunmap_pages()."""
    (only,) = operations(
        row(1, "memremap"),
        row(2, "memunmap"),
        row(3, "free", **OUT),
        row(4, "memunmap", "exit"),
        row(5, "warn", site="a.c", line=1),
        row(6, "memremap", "exit"),
    )
    assert (only.kind, only.sections, only.warnings, only.duration_ns) == (Kind.MEMREMAP, 1, 1, 5)


def test_a_new_operation_ends_one_whose_exit_was_lost():
    first, second = operations(
        row(1, "memunmap"),
        row(2, "free", **OUT),
        row(5, "memremap"),
        row(6, "free", **OUT),
        row(8, "memremap", "exit"),
        row(9, "free", **OUT),
    )
    assert (first.sections, first.duration_ns) == (1, None)
    assert (second.sections, second.duration_ns) == (1, 3)


def test_a_pid_is_the_thread_group_where_it_is_known():
    one, two = operations(
        row(1, "memremap", tid=8, pid=7),
        row(2, "memremap", "exit", tid=8),
        row(3, "memremap", tid=9),
    )
    assert (one.pid, one.tid, two.pid, two.tid) == (7, 8, 9, 9)


def test_what_is_not_said_is_not_known():
    (only,) = operations(row(1, "add_pages", tid=None, comm=None))
    assert (only.pid, only.tid, only.comm, only.pfn, only.nr_pages) == (None,) * 5
    assert (only.duration_ns, only.warn_share) == (None, None)


def test_pages_beyond_the_last_pfn_do_not_wrap():
    (only,) = operations(row(1, "add_pages", pfn=2**64 - 8, nr_pages=100))
    assert (only.pfn, only.nr_pages) == (2**64 - 8, 7)


def test_time_in_warn_is_that_of_the_operations_thread():
    one, two = operations(
        row(1, "memremap", tid=1),
        row(1, "memremap", tid=2),
        row(2, "warn", tid=1, site="a.c", line=1),
        row(3, "warn", tid=2, site="a.c", line=1),
        row(7, "warn", "exit", tid=1),
        row(11, "memremap", "exit", tid=1),
        row(13, "warn", "exit", tid=2),
        row(21, "memremap", "exit", tid=2),
    )
    assert (one.warn_ns, one.warn_share) == (5, 0.5)
    assert (two.warn_ns, two.warn_share) == (10, 0.5)


def test_the_newest_are_kept_and_all_are_counted():
    rows = []
    for n in range(450):
        rows += [row(10 * n, "memremap"), row(10 * n + 1 + n, "memremap", "exit")]
    first = row(0, "memunmap", tid=1)
    whole, parts = Ledger(LAB, None), Ledger(LAB, None)
    whole.fold(plain.batch([first, *rows]))
    parts.fold(plain.batch([first, *rows[:301]]))
    parts.fold(plain.batch(rows[301:]))
    snapshot = whole.snapshot()
    assert snapshot == parts.snapshot()
    assert snapshot.operations_total == 451
    assert [op.duration_ns for op in snapshot.operations] == list(range(251, 451))
    # the one still open is older than the newest 200, and its end does no harm
    whole.fold(plain.batch([row(9999, "memunmap", "exit", tid=1)]))
    assert whole.snapshot().operations == snapshot.operations


def test_threads_inside_an_operation_are_given_up_beyond_the_budget():
    kept = Operations(budget=2)
    none = np.zeros(0, np.bool_)

    def fold(rows, first):
        for chunk in chunks(plain.batch(rows).events, first):
            kept.fold(chunk, Events(np.zeros(0, np.int64), none, none, none))

    begins = [row(n, "memremap", tid=tid) for n, tid in enumerate((9, 2, 7, 4))]
    fold(begins, 0)
    kept.prune()
    fold([row(20, "memremap", "exit", tid=tid) for tid in (9, 2, 7, 4)], len(begins))
    assert kept.total == 4
    assert [(op.tid, op.duration_ns) for op in kept.newest()] == [
        (9, None), (2, None), (7, 18), (4, 17)
    ]  # fmt: skip


def test_operations_given_up_leave_the_table():
    kept = Operations(budget=300)
    none = np.zeros(0, np.bool_)
    rows = [row(n, "memremap", tid=n + 1) for n in range(1000)]
    for chunk in chunks(plain.batch(rows).events, 0):
        kept.fold(chunk, Events(np.zeros(0, np.int64), none, none, none))
    assert len(kept) == 1000
    kept.prune()
    assert len(kept) == 300
