# SPDX-License-Identifier: GPL-2.0-only
"""What a probe costs, as it is kept: back as it was, and nothing that no probe costs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.errors import VmemscopeError
from tracers.kinds import Kind
from tracers.observer import Observer, ProbeCost

TIMES = st.integers(0, 10**9)
COSTS = st.builds(ProbeCost, TIMES, st.none() | TIMES, st.booleans())


@given(st.dictionaries(st.sampled_from(Kind), COSTS))
def test_it_comes_back_as_it_was(costs: dict[Kind, ProbeCost]) -> None:
    kept = json.loads(json.dumps(Observer(costs).to_dict()))
    assert Observer.from_dict(kept) == Observer(costs)
    assert bool(Observer.from_dict(kept)) is bool(costs)


def test_what_a_newer_writer_knows_is_passed_over() -> None:
    kept = {"a kind of tomorrow": {"whole_ns": 1}, "warn": {"whole_ns": 5, "other": {}}, "free": 3}
    assert Observer.from_dict(kept) == Observer({Kind.WARN: ProbeCost(5, None)})


@pytest.mark.parametrize("time", [-1, 10**9 + 1, 2**70, "5", 5.0, True, None, {}])
def test_what_no_probe_costs_is_refused(time: object) -> None:
    with pytest.raises(VmemscopeError):
        Observer.from_dict({"warn": {"whole_ns": time}})
    with pytest.raises(VmemscopeError):
        Observer.from_dict({"warn": {"whole_ns": 1, "inside_ns": [] if time is None else time}})
