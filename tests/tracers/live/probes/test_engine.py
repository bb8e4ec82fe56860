# SPDX-License-Identifier: GPL-2.0-only
"""How a reader paces itself: at once after a quiet moment, then ever less often."""

import pytest

from tracers.live.probes import engine
from tracers.live.probes.engine import PACE_S, Pace


class Clock:
    """time, as it is looked at and slept."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(engine, "time", made)
    return made


def test_the_first_events_are_read_at_once_and_those_of_a_storm_ten_times_a_second(clock) -> None:
    pace = Pace()
    pace.wait(1.0)
    assert clock.slept == []
    for _ in range(6):
        pace.read(some=True)
        pace.wait(1.0)
    assert clock.slept == pytest.approx([0.02, 0.04, 0.08, *[PACE_S[1]] * 3])
    pace.read(some=False)  # quiet
    clock.now += 1
    pace.wait(1.0)
    assert len(clock.slept) == 6
    pace.read(some=True)
    pace.wait(1.0)
    assert clock.slept[-1] == pytest.approx(PACE_S[0])


def test_nobody_waits_longer_than_asked(clock) -> None:
    pace = Pace()
    for _ in range(4):
        pace.read(some=True)
    pace.wait(0.01)
    assert clock.slept == [0.01]
