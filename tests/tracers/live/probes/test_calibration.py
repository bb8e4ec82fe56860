# SPDX-License-Identifier: GPL-2.0-only
"""What a probe costs: tried on calls of getppid that a fake engine delays by a known time."""

import os
import threading
import time
from dataclasses import replace

import pytest

from tests.recordings.plain import batch
from tracers.kinds import Kind
from tracers.live.probes import calibration
from tracers.live.probes.calibration import CALLS, RungCost, calibrate, observer
from tracers.live.probes.engine import AttachError, Trial
from tracers.live.probes.ladder import Attached
from tracers.live.probes.points import Probe, ProbeAddress, Rung
from tracers.observer import Observer, ProbeCost

PLACE = (ProbeAddress("__arm64_sys_getppid", 0, 0x1000),)
PROBE = Probe(Kind.SECTION_ADD, Rung.KPROBE, "__arm64_sys_getppid", PLACE)
DELAY_NS, INSIDE_NS, PROGRAM_NS = 3_000_000, 2_000_000, 1_000_000


class Delaying:
    """An engine whose probe takes ``DELAY_NS`` of each call, ``INSIDE_NS`` between the stamps."""

    def __init__(self, monkeypatch, *, program_ns: int | None = None, other: bool = False) -> None:
        self.calls = 0
        self.program_ns = program_ns
        self.tid = threading.get_native_id() + other
        self.delayed = False
        real = os.getppid

        def getppid() -> int:
            if self.delayed:
                self.calls += 1
                end = time.perf_counter_ns() + DELAY_NS
                while time.perf_counter_ns() < end:
                    pass
            return real()

        monkeypatch.setattr(os, "getppid", getppid)

    def trial(self, probe, work) -> Trial:
        self.delayed = True
        work()
        self.delayed = False
        call = {"kind": "section_add", "source": "kprobe", "tid": self.tid}
        events = []
        for at in range(0, self.calls * 10_000_000, 10_000_000):
            events += [
                call | {"phase": "entry", "ts_ns": at},
                call | {"phase": "exit", "ts_ns": at + INSIDE_NS},
            ]
        program_ns = None if self.program_ns is None else self.program_ns * self.calls
        return Trial(batch(events), program_ns)


def test_the_whole_is_what_a_call_takes_more_and_the_inside_what_its_events_say(monkeypatch):
    monkeypatch.setattr(calibration, "CALLS", 20)
    engine = Delaying(monkeypatch, program_ns=PROGRAM_NS)
    (cost,) = calibrate(engine, {Rung.KPROBE: PROBE}).values()
    assert engine.calls == 20
    assert cost.inside_ns == INSIDE_NS
    assert cost.program_ns == PROGRAM_NS
    assert cost.whole_ns >= 0.9 * DELAY_NS  # the delay is a floor: a loaded machine adds to it


def test_another_threads_calls_are_none_of_the_trials(monkeypatch):
    monkeypatch.setattr(calibration, "CALLS", 20)
    assert calibrate(Delaying(monkeypatch, other=True), {Rung.KPROBE: PROBE}) == {}


def test_a_rung_that_cannot_be_tried_is_left_out():
    class Refusing:
        def trial(self, probe, work) -> Trial:
            raise AttachError("no slot")

    assert calibrate(Refusing(), {Rung.BREAKPOINT: PROBE}) == {}


# -- and of it the cost of each kind ---------------------------------------------------------------


def attached(kind: Kind, rung: Rung, *, timed: bool = True) -> Attached:
    probe = Probe(kind, rung, kind.label, PLACE, timed=timed)
    return Attached(kind, kind.label, probe)


TRIED = {Rung.KPROBE: RungCost(10_000, 4_000, 2_000), Rung.CALLSITE: RungCost(6_000, 3_000, None)}
POINTS = (
    attached(Kind.WARN, Rung.KPROBE),
    Attached(Kind.POPULATE, "vmemmap_populate", None, derived=True),
    attached(Kind.SECTION_ADD, Rung.CALLSITE),
    attached(Kind.FREE, Rung.KPROBE, timed=False),
    attached(Kind.SECTION_REMOVE, Rung.FENTRY),  # was not tried
)


def test_before_a_capture_the_costs_are_those_of_the_trial():
    assert observer(POINTS, TRIED, {}) == Observer(
        {
            Kind.WARN: ProbeCost(10_000, 4_000),
            Kind.SECTION_ADD: ProbeCost(6_000, 3_000),
            Kind.FREE: ProbeCost(5_000, None),  # its entry alone
        }
    )


def test_what_the_kernel_counted_stands_in_place_of_what_was_tried():
    # programs ran 200 times for 100 calls, 3 µs each: 6 µs a call and not 2
    found = observer(POINTS, TRIED, {0: (200, 600_000), 1: (200, 0), 2: (0, 0)})
    assert found.costs[Kind.WARN] == ProbeCost(14_000, 4_000, measured=True)
    assert found.costs[Kind.SECTION_ADD] == ProbeCost(6_000, 3_000)  # nobody counted in its trial
    assert found.costs[Kind.FREE] == ProbeCost(5_000, None)  # did not run


def test_a_call_costs_at_least_what_lies_between_its_stamps():
    tried = {Rung.KPROBE: replace(TRIED[Rung.KPROBE], program_ns=9_000)}
    found = observer(POINTS, tried, {0: (200, 200)})  # 2 ns a call
    assert found.costs[Kind.WARN] == ProbeCost(4_000, 4_000, measured=True)


@pytest.mark.parametrize("rung", [Rung.KPROBE, Rung.BREAKPOINT])
def test_nothing_is_claimed_of_what_was_not_tried(rung: Rung):
    assert observer((attached(Kind.WARN, rung),), {}, {0: (5, 5)}) == Observer()


def test_calls_are_enough_for_a_median():
    assert CALLS >= 100
