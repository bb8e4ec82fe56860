# SPDX-License-Identifier: GPL-2.0-only
"""Duplicate hits of a breakpoint are dropped, and nothing else."""

import numpy as np

from tracers.events import Phase
from tracers.live.bcc.duplicate_hits import TIMED, UNTIMED, DuplicateHits
from tracers.live.records import RAW

WITHIN = [TIMED, 0]  # probe 0 is a breakpoint, probe 1 is none


def records(*hits: tuple[int, int, Phase, int]) -> np.ndarray:
    """Make records of (probe, tid, phase, first argument), a nanosecond apart."""
    made = np.zeros(len(hits), RAW)
    for i, (probe, tid, phase, argument) in enumerate(hits):
        made[i]["ts_ns"] = i
        made[i]["probe"], made[i]["tid"], made[i]["phase"] = probe, tid, phase
        made[i]["args"][0] = argument
    return made


ENTRY, EXIT = Phase.ENTRY, Phase.EXIT


def kept(duplicates: DuplicateHits, *hits: tuple[int, int, Phase, int]) -> list[int]:
    """Return which of the records stay; every batch is a microsecond after the one before."""
    batch = records(*hits)
    began = kept.clock = getattr(kept, "clock", 0) + 1000
    batch["ts_ns"] += np.uint64(began)
    return [int(ts) - began for ts in duplicates.drop(batch, WITHIN)["ts_ns"]]


def test_the_second_hit_of_a_thread_goes_even_with_other_threads_between() -> None:
    duplicates = DuplicateHits()
    hits = [(0, 7, ENTRY, 5), (1, 8, ENTRY, 5), (0, 7, ENTRY, 5), (0, 7, EXIT, 0), (0, 7, EXIT, 0)]
    assert kept(duplicates, *hits) == [0, 1, 3]
    assert duplicates.dropped == 2


def test_calls_that_differ_in_anything_stay() -> None:
    duplicates = DuplicateHits()
    hits = [
        (0, 7, ENTRY, 5),
        (0, 7, ENTRY, 6),  # argument
        (0, 8, ENTRY, 6),  # thread
        (0, 8, EXIT, 6),  # side
        (0, 8, ENTRY, 6),
        (1, 8, ENTRY, 6),  # probe
        (0, 8, ENTRY, 6),  # something else of this thread was between
    ]
    assert kept(duplicates, *hits) == list(range(7))
    assert duplicates.dropped == 0


def test_probes_that_are_no_breakpoints_may_repeat_themselves() -> None:
    assert kept(DuplicateHits(), (1, 7, ENTRY, 5), (1, 7, ENTRY, 5)) == [0, 1]


def test_from_one_batch_to_the_next() -> None:
    duplicates = DuplicateHits()
    assert kept(duplicates, (0, 7, ENTRY, 5), (0, 8, ENTRY, 9)) == [0, 1]
    assert kept(duplicates) == []
    assert kept(duplicates, (0, 8, EXIT, 0), (0, 7, ENTRY, 5)) == [0]
    assert kept(duplicates, (0, 7, ENTRY, 5), (1, 8, ENTRY, 1), (0, 8, EXIT, 0)) == [1, 2]


def test_another_probe_s_batch_between_is_remembered() -> None:
    duplicates = DuplicateHits()
    assert kept(duplicates, (0, 7, ENTRY, 5), (0, 8, ENTRY, 5)) == [0, 1]
    assert kept(duplicates, (1, 7, ENTRY, 5)) == [0]
    assert kept(duplicates, (0, 7, ENTRY, 5), (0, 8, ENTRY, 5)) == [0]


def test_without_exits_only_what_is_close_together_is_one_call() -> None:
    hits = records((0, 7, ENTRY, 5), (0, 7, ENTRY, 5), (0, 7, ENTRY, 5))
    hits["ts_ns"] = [1000, 2_000_000, 2_000_000_000]
    assert DuplicateHits().drop(hits, [UNTIMED])["ts_ns"].tolist() == [1000, 2_000_000_000]
    assert DuplicateHits().drop(hits, [TIMED])["ts_ns"].tolist() == [1000]
