# SPDX-License-Identifier: GPL-2.0-only
"""What a breakpoint says twice is left out, and nothing else."""

import numpy as np

from tracers.events import Phase
from tracers.live.bcc.breakpoint_repeats import TIMED, UNTIMED, Doubles
from tracers.live.rows import RAW

WITHIN = [TIMED, 0]  # probe 0 is a breakpoint, probe 1 is none


def records(*told: tuple[int, int, Phase, int]) -> np.ndarray:
    """Make records of (probe, tid, phase, first argument), a nanosecond apart."""
    made = np.zeros(len(told), RAW)
    for i, (probe, tid, phase, argument) in enumerate(told):
        made[i]["ts_ns"] = i
        made[i]["probe"], made[i]["tid"], made[i]["phase"] = probe, tid, phase
        made[i]["args"][0] = argument
    return made


ENTRY, EXIT = Phase.ENTRY, Phase.EXIT


def kept(doubles: Doubles, *told: tuple[int, int, Phase, int]) -> list[int]:
    """Return which of the records stay; every batch is a microsecond after the one before."""
    batch = records(*told)
    began = kept.clock = getattr(kept, "clock", 0) + 1000
    batch["ts_ns"] += np.uint64(began)
    return [int(ts) - began for ts in doubles.leave_out(batch, WITHIN)["ts_ns"]]


def test_the_second_hit_of_a_thread_goes_even_with_other_threads_between() -> None:
    doubles = Doubles()
    told = [(0, 7, ENTRY, 5), (1, 8, ENTRY, 5), (0, 7, ENTRY, 5), (0, 7, EXIT, 0), (0, 7, EXIT, 0)]
    assert kept(doubles, *told) == [0, 1, 3]
    assert doubles.left_out == 2


def test_calls_that_differ_in_anything_stay() -> None:
    doubles = Doubles()
    told = [
        (0, 7, ENTRY, 5),
        (0, 7, ENTRY, 6),  # argument
        (0, 8, ENTRY, 6),  # thread
        (0, 8, EXIT, 6),  # side
        (0, 8, ENTRY, 6),
        (1, 8, ENTRY, 6),  # probe
        (0, 8, ENTRY, 6),  # something else of this thread was between
    ]
    assert kept(doubles, *told) == list(range(7))
    assert doubles.left_out == 0


def test_probes_that_are_no_breakpoints_may_repeat_themselves() -> None:
    assert kept(Doubles(), (1, 7, ENTRY, 5), (1, 7, ENTRY, 5)) == [0, 1]


def test_from_one_batch_to_the_next() -> None:
    doubles = Doubles()
    assert kept(doubles, (0, 7, ENTRY, 5), (0, 8, ENTRY, 9)) == [0, 1]
    assert kept(doubles) == []
    assert kept(doubles, (0, 8, EXIT, 0), (0, 7, ENTRY, 5)) == [0]
    assert kept(doubles, (0, 7, ENTRY, 5), (1, 8, ENTRY, 1), (0, 8, EXIT, 0)) == [1, 2]


def test_another_probe_s_batch_between_is_remembered() -> None:
    doubles = Doubles()
    assert kept(doubles, (0, 7, ENTRY, 5), (0, 8, ENTRY, 5)) == [0, 1]
    assert kept(doubles, (1, 7, ENTRY, 5)) == [0]
    assert kept(doubles, (0, 7, ENTRY, 5), (0, 8, ENTRY, 5)) == [0]


def test_without_exits_only_what_is_close_together_is_one_call() -> None:
    told = records((0, 7, ENTRY, 5), (0, 7, ENTRY, 5), (0, 7, ENTRY, 5))
    told["ts_ns"] = [1000, 2_000_000, 2_000_000_000]
    assert Doubles().leave_out(told, [UNTIMED])["ts_ns"].tolist() == [1000, 2_000_000_000]
    assert Doubles().leave_out(told, [TIMED])["ts_ns"].tolist() == [1000]
