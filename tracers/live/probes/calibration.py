# SPDX-License-Identifier: GPL-2.0-only
"""Measures what one watched call costs, by each rung in use, on a harmless function.

The function is called many times with a probe on it and without: the difference is the whole cost,
exceptions, programs and records together. What of it lies between the call's two time stamps is
what its events say it lasted. Promises: it takes a few milliseconds of calls a rung; nothing of it
is left; a rung that cannot be tried is left out.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tracers.batch import Batch
from tracers.codes import codes
from tracers.kinds import Phase
from tracers.live.probes.engine import AttachError, Engine, LiveError
from tracers.live.probes.ladder import Attached
from tracers.live.probes.points import Probe, Rung
from tracers.observer import Observer, ProbeCost

#: Calls a trial.
CALLS: Final = 200
#: Read between two calls: the kernel formats it anew each time, as it formats what a WARN prints. A
#: probe hit after that costs what it costs in a capture, several times what it does in a loop.
_BETWEEN: Final = "/proc/self/status"


@dataclass(frozen=True, slots=True)
class RungCost:
    """What a call watched by a rung costs, nanoseconds."""

    whole_ns: float
    inside_ns: float
    program_ns: float | None  # of the whole: the programs alone, where the kernel counts it


def calibrate(engine: Engine, probes: Mapping[Rung, Probe]) -> dict[Rung, RungCost]:
    """Return what each rung costs; one that engine or kernel does not try is left out."""
    costs = {}
    bare = _typical()
    for rung, probe in probes.items():
        took: list[float] = []
        try:
            trial = engine.trial(probe, lambda: took.append(_typical()))  # noqa: B023 (called here)
        except (AttachError, LiveError, OSError):
            continue
        inside = _inside(trial.batch)
        if inside is None or not took:
            continue
        programs = None if trial.program_ns is None else trial.program_ns / CALLS
        whole = max(took[0] - bare, inside, programs or 0)
        costs[rung] = RungCost(whole, inside, programs)
    return costs


def _typical() -> float:
    """Return what a call takes, nanoseconds: the median of many."""
    call, now = os.getppid, time.perf_counter_ns
    took = []
    with Path(_BETWEEN).open("rb", buffering=0) as file:
        for _ in range(CALLS):
            os.pread(file.fileno(), 4096, 0)
            began = now()
            call()
            took.append(now() - began)
    return float(np.median(took))


def _inside(batch: Batch | None) -> float | None:
    """Return the median time between an entry and the exit that follows it."""
    if batch is None:
        return None
    events = batch.events
    mine = events.column("tid").to_numpy(zero_copy_only=False) == threading.get_native_id()
    times = events.column("ts_ns").to_numpy().astype(np.int64)[mine]
    phases = codes(events.column("phase"), Phase)[mine]
    ends = np.flatnonzero((phases[1:] == Phase.EXIT) & (phases[:-1] == Phase.ENTRY))
    if len(ends) < CALLS // 2:
        return None
    return float(np.median(times[ends + 1] - times[ends]))


def observer(
    attached: Sequence[Attached],
    calibrated: Mapping[Rung, RungCost],
    times: Mapping[int, tuple[int, int]],
) -> Observer:
    """Return what a call of each kind costs.

    ``times``: (runs, nanoseconds) of each attached probe's programs, in the order of ``attached``;
    where there are some, they stand in place of what the programs took when they were tried.
    """
    costs = {}
    probes = [point.probe for point in attached if point.probe is not None]
    for index, probe in enumerate(probes):
        cost = calibrated.get(probe.rung)
        if cost is None:
            continue
        sides = 2 if probe.timed else 1
        whole, (runs, ns) = cost.whole_ns, times.get(index, (0, 0))
        measured = bool(runs) and cost.program_ns is not None
        if runs and cost.program_ns is not None:
            whole += 2 * ns / runs - cost.program_ns
        inside = round(cost.inside_ns) if probe.timed else None
        costs[probe.kind] = ProbeCost(max(round(whole * sides / 2), inside or 0), inside, measured)
    return Observer(costs)
