# SPDX-License-Identifier: GPL-2.0-only
"""What of a recorded time was the probes', counted by hand on the bundled storm."""

from dataclasses import replace
from pathlib import Path

import pytest

from recordings.format.reader import open_recording
from recordings.ledger.ours import INSIDE, observer_of, ours
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.warn_shares import warn_shares
from recordings.ledger.whole import fold
from tracers.events import Kind
from tracers.observer import Observer, ProbeCost

US = 1000
COSTS = {
    Kind.ADD_PAGES: ProbeCost(10 * US, 6 * US),
    Kind.REMOVE_PAGES: ProbeCost(10 * US, 6 * US),
    Kind.SECTION_ADD: ProbeCost(8 * US, 3 * US),
    Kind.SECTION_REMOVE: ProbeCost(8 * US, 3 * US),
    Kind.POPULATE: ProbeCost(20 * US, 9 * US),
    Kind.FREE: ProbeCost(7 * US, None),  # its end not watched
    Kind.WARN: ProbeCost(12 * US, 5 * US),
}


@pytest.fixture
def storm(samples: Path) -> Snapshot:
    with open_recording(samples / "storm.arrows") as recording:
        return replace(fold(recording), observer=Observer(COSTS))


def without(snapshot: Snapshot, kind: Kind) -> Snapshot:
    costs = {each: cost for each, cost in snapshot.observer.costs.items() if each is not kind}
    return replace(snapshot, observer=Observer(costs))


def test_every_probe_inside_counts_whole_and_the_calls_own_by_what_lies_between_its_stamps(storm):
    # 128 sections, each populated with one WARN, and freed with another
    own = ours(storm, Kind.ADD_PAGES)
    assert own is not None
    assert own.in_calls_ns == (6 + 128 * (8 + 20 + 12)) * US
    assert own.in_warns_ns == 128 * 5 * US
    assert (own.calls, own.each_ns) == (1, own.in_calls_ns)
    removed = ours(storm, Kind.REMOVE_PAGES)
    assert removed is not None
    assert removed.in_calls_ns == (6 + 128 * (8 + 7 + 12)) * US
    section = ours(storm, Kind.SECTION_ADD)
    assert section is not None
    assert (section.calls, section.each_ns) == (128, (3 + 20 + 12) * US)


def test_shares_are_without_it(storm):
    for part in warn_shares(storm):
        assert part.corrected
        assert part.ours is not None
        assert part.spent_ns == part.warn_ns - 128 * 5 * US
        assert part.whole_ns == part.total_ns - part.ours.in_calls_ns
        assert part.share == part.spent_ns / part.whole_ns > part.warn_ns / part.total_ns


@pytest.mark.parametrize("kind", [Kind.ADD_PAGES, Kind.SECTION_ADD, Kind.POPULATE, Kind.WARN])
def test_a_cost_that_is_not_known_leaves_all_unknown(storm, kind):
    snapshot = without(storm, kind)
    assert ours(snapshot, Kind.ADD_PAGES) is None
    (added, _) = warn_shares(snapshot)
    assert not added.corrected
    assert added.share == added.warn_ns / added.total_ns


def test_a_derived_call_costs_nothing(storm):
    derived = replace(without(storm, Kind.POPULATE), derived=storm.populate)
    own = ours(derived, Kind.ADD_PAGES)
    assert own is not None
    assert own.in_calls_ns == (6 + 128 * (8 + 12)) * US


def test_more_than_all_of_it_is_no_figure(storm):
    dear = dict.fromkeys(COSTS, ProbeCost(10**9, 10**9))
    snapshot = replace(storm, observer=Observer(dear))
    assert [ours(snapshot, kind) for kind in INSIDE] == [None] * len(INSIDE)
    assert not any(part.corrected for part in warn_shares(snapshot))


def test_nobody_knows_of_an_import(samples: Path):
    with open_recording(samples / "storm.arrows") as recording:
        snapshot = fold(recording)
    assert snapshot.observer == Observer()
    assert [ours(snapshot, kind) for kind in INSIDE] == [None] * len(INSIDE)


@pytest.mark.parametrize("kept", [{}, {"warn": {"whole_ns": -1}}, {"warn": {}}, {"warn": 3}])
def test_whatever_a_file_holds_it_is_read(kept):
    assert observer_of(kept) == Observer()
