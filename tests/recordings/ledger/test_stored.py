# SPDX-License-Identifier: GPL-2.0-only
"""Figures stored and read again, true ones and lies."""

import copy
import itertools
import json
from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.format.final_numbers import Numbers
from recordings.format.header import Header
from recordings.format.reader import RecordingError, open_recording
from recordings.ledger import (
    faults,
    newest_calls,
    operation_totals,
    operations,
    ranges,
    requests,
    series,
    spans,
    stored,
    warn_sites,
)
from recordings.ledger.figures import Case, Figures
from recordings.ledger.ledger import Ledger, folded
from recordings.ledger.stored import LISTS, figures_of, numbers_of
from recordings.ledger.whole import fold, kept
from recordings.reports.recording_json import report_dict
from recordings.samples import sample_names, sample_path
from tests.recordings import plain, traces
from tests.recordings.format import forge
from tests.recordings.numbered import changed, counted, leaves, put, true_numbers, with_numbers
from tracers.batch import Losses
from tracers.layout import layout_for
from tracers.machine import Machine
from tracers.regimes import REGIMES
from tracers.region_rows import MAX_ERRNO
from tracers.window import Window

LAB = Window(start=traces.WINDOW[0], end=traces.WINDOW[1], page_size=4096, struct_page=64)
MACHINE = Machine(window=LAB, layout=layout_for(LAB))
QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(st.data())
def test_both_ways_give_the_same_numbers_of_any_events(tmp_path_factory, data) -> None:
    rows = data.draw(traces.ROWS)
    places = data.draw(traces.cuts(len(rows)))
    losses = data.draw(st.sampled_from([{}, {"lost": 2}, {"rejected": 1, "lost_unknown": 3}]))
    machine = data.draw(st.sampled_from([MACHINE, Machine(), Machine(window=LAB, arch="x86_64")]))
    batches = [plain.batch(rows[a:b]) for a, b in itertools.pairwise(places)]
    batches.append(plain.batch([], **losses))
    path = tmp_path_factory.mktemp("any") / "a.arrows"
    counted(path, batches, Header(machine=machine))
    with open_recording(path) as recording:
        snapshot = folded(recording).snapshot(final=True)
        assert kept(recording) == snapshot
        assert fold(recording) == fold(recording, recount=True) == snapshot


@settings(QUICK, max_examples=60)
@given(forge.recordings())
def test_no_events_make_numbers_that_contradict_each_other(tmp_path_factory, data) -> None:
    """Whatever a file holds: what is claimed of all figures is true of every ledger's."""
    path = tmp_path_factory.mktemp("forged") / "a.arrows"
    path.write_bytes(data)
    try:
        recording = open_recording(path)
    except RecordingError:
        return
    with recording:
        case = Case.of(recording.header).ended(recording.at_end)
        ledger = Ledger.of(recording.header)
        for batch in recording.batches():
            ledger.fold(batch)
        ledger.end_with(recording.at_end)
    numbers = numbers_of(ledger.figures(), ledger.losses)
    stored_as = json.loads(json.dumps(dict(numbers.values)))
    figures = figures_of(Numbers(numbers.version, stored_as, numbers.contents), case)
    assert case.snapshot(figures, ledger.losses, final=True) == ledger.snapshot(final=True)


@pytest.mark.parametrize("name", sample_names())
def test_every_sample_has_them_and_they_are_those_of_its_events(name) -> None:
    """Where this fails, what is counted has changed: raise ``VERSION``, make the samples anew."""
    with open_recording(sample_path(name)) as recording:
        numbers = recording.numbers()
        assert numbers is not None
        assert numbers.version == stored.VERSION
        ledger = folded(recording)
        assert numbers.values == numbers_of(ledger.figures(), Losses()).values
        assert kept(recording) == ledger.snapshot(final=True)


def test_every_capture_imported_has_the_numbers_of_its_events(captures, tmp_path) -> None:
    from recordings.capture.importing import import_log  # noqa: PLC0415

    folder = captures / "6.1.192-vmemlab-39bit"
    scenes = ("hole.ftrace.txt", "regions.ftrace.txt", "below.dmesg.txt", "trace-cmd-lost.dat",
              "ring.dmesg.txt.xz", "booted-overrun.ftrace.txt.xz", "wrap.console.txt")  # fmt: skip
    for scene in scenes:
        path = tmp_path / f"{scene}.arrows"
        import_log(folder / scene, path, machine_dir=folder)
        with open_recording(path) as recording:
            found = kept(recording)
            assert found is not None, scene
            assert found == folded(recording).snapshot(final=True)


def test_the_lists_are_as_long_as_the_ledgers_budgets() -> None:
    budgets = {
        "sites": warn_sites.SITES + 1,  # and what all others share
        "operations": operations.LISTED,
        "totals": len(operation_totals.ADDS + operation_totals.REMOVES),
        "tasks": operation_totals.LISTED,
        "reaches": len(REGIMES),
        "unfinished": spans.LISTED,
        "newest": newest_calls.LISTED,
        "extents": ranges.LISTED,
        "faults": faults.LISTED,
        "requests": requests.LISTED,
    }
    assert {name: most for name, (_, most) in LISTS.items()} == budgets
    assert (stored._BINS, stored._ERRORS) == (series.BINS, MAX_ERRNO)


def test_every_figure_is_stored_under_its_name() -> None:
    values = numbers_of(Ledger(None, None).figures(), Losses()).values
    assert list(values) == [each.name for each in fields(Figures)]
    assert json.loads(json.dumps(values)) == values


def test_another_version_is_counted_anew(tmp_path) -> None:
    true = true_numbers(sample_path("storm"))
    later = Numbers(stored.VERSION + 1, true.values, true.contents)
    with open_recording(with_numbers(sample_path("storm"), tmp_path / "a", later)) as recording:
        assert recording.numbers() is not None
        assert kept(recording) is None
        assert fold(recording) == fold(recording, recount=True)


# -- lies -------------------------------------------------------------------------------------

CONTRADICTIONS = {
    "events": lambda v: v.update(events=v["events"] - 1),
    "times": lambda v: v.update(last_ns=v["last_ns"] + 1),
    "hits": lambda v: v["regimes"].update(above=0, inside=256),
    "calls": lambda v: v["begun"].update(populate=v["begun"]["populate"] + 1),
    "warnings": lambda v: v["begun"].update(warn=1),
    "a site": lambda v: v["sites"]["count"].__setitem__(0, 1),
    "silent": lambda v: v.update(would_warn=257),
    "a list": lambda v: [column.pop() for column in v["newest"].values()],
    "a column": lambda v: v["newest"]["row"].pop(),
    "more than a list has": lambda v: v["tasks"].update(
        {name: column * 33 for name, column in v["tasks"].items()}
    ),
    "operations": lambda v: v.update(operations_total=3),
    "durations": lambda v: v["histograms"]["warn"].update(max_ns=1),
    "a bin": lambda v: v["histograms"]["warn"]["bins"].__setitem__(0, 9999),
    "order of bins": lambda v: v["histograms"]["warn"]["bins"].reverse(),
    "time": lambda v: v["series"]["hits"].__setitem__(0, 10**6),
    "width of time": lambda v: v["series"].update(bin_ns=3),
    "a regime": lambda v: v["extents"]["regime"].__setitem__(0, "beside"),
    "a kind": lambda v: v["newest"]["kind"].__setitem__(0, "from the future"),
    "a text": lambda v: v["newest"]["comm"].__setitem__(0, "x" * 5000),
    "64 bits": lambda v: v["newest"]["start"].__setitem__(0, 2**64),
    "a stretch": lambda v: v["extents"]["populate"].__setitem__(0, 10**9),
    "nothing of it": lambda v: v.clear(),
}


@pytest.mark.parametrize("lie", CONTRADICTIONS)
def test_numbers_that_contradict_each_other_or_the_file_are_not_believed(tmp_path, lie) -> None:
    with open_recording(sample_path("storm")) as recording:
        truth = folded(recording).snapshot(final=True)
    path = changed(sample_path("storm"), tmp_path / "a", CONTRADICTIONS[lie])
    with open_recording(path) as recording:
        assert recording.packed_numbers is not None
        assert kept(recording) is None
        assert fold(recording) == truth


def test_a_lie_that_contradicts_nothing_is_found_by_counting_anew(tmp_path) -> None:
    """The checksum finds accidents, not forgery; so does what is held against the file."""
    path = changed(
        sample_path("storm"), tmp_path / "a", lambda v: v["tasks"]["comm"].__setitem__(0, "liar")
    )
    with open_recording(path) as recording:
        truth = fold(recording, recount=True)
        told = fold(recording)
        assert told.tasks[0].comm == "liar"
        assert truth.tasks[0].comm == "insmod"
        assert (told.hits, told.verdict) == (truth.hits, truth.verdict)


_STORM = true_numbers(sample_path("storm"))
_PLACES = sorted(leaves(dict(_STORM.values)), key=str)
_VALUES = st.one_of(
    st.none(), st.booleans(), st.sampled_from([0, 1, 255, 256, 4095, 2**63, 2**64 - 1, 2**90]),
    st.integers(0, 2**64), st.text(max_size=5), st.just([]), st.just({}), st.just([[]]),
)  # fmt: skip


@QUICK
@given(st.lists(st.tuples(st.sampled_from(_PLACES), _VALUES), min_size=1, max_size=3))
def test_whatever_stands_there_is_refused_or_can_be_reported(changes) -> None:
    values = copy.deepcopy(dict(_STORM.values))
    for place, value in changes:
        put(values, place, value)
    with open_recording(sample_path("storm")) as recording:
        case = Case.of(recording.header)
        header = recording.header
    try:
        figures = figures_of(Numbers(_STORM.version, values, _STORM.contents), case)
    except ValueError:
        return
    snapshot = case.snapshot(figures, Losses(), final=True)
    told = report_dict(header, snapshot)
    assert sum(told["regimes"].values()) == snapshot.populate + snapshot.free
    json.dumps(told, allow_nan=False)
