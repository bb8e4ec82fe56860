# SPDX-License-Identifier: GPL-2.0-only
"""A capture with a fake engine: what it reports as observed, derived and lost."""

import time

import pyarrow as pa
import pytest

from tests.tracers.live.fakes import WINDOW, Fake
from tracers.batch import Batch, Losses
from tracers.events import SCHEMA, Kind
from tracers.formulas import WindowError
from tracers.live.probes.calibration import RungCost
from tracers.live.probes.engine import Counts
from tracers.live.probes.ladder import Attached
from tracers.live.probes.points import Probe, ProbeAddress, Rung
from tracers.live.session import Live
from tracers.machine import Machine
from tracers.observer import Observer, ProbeCost
from tracers.window import Window

SECTION = 1 << 27 >> 12


def batch(*rows: dict, lost: int = 0) -> Batch:
    base = dict.fromkeys(SCHEMA.names) | {"source": "kprobe", "tid": 7}
    whole = [base | {"ts_ns": ts, **row} for ts, row in enumerate(rows)]
    return Batch(pa.RecordBatch.from_pylist(whole, schema=SCHEMA), Losses(lost=lost))


ADD = {"kind": "add_pages", "phase": "entry", "pfn": 0x5000000, "nr_pages": 3 * SECTION}
ADDED = {"kind": "add_pages", "phase": "exit", "ret": 0}


def ends(*kinds: Kind, derived: bool = False) -> list[Attached]:
    seen = [
        Attached(kind, kind.label, Probe(kind, Rung.KPROBE, kind.label, (ProbeAddress("f", 0, 0),)))
        for kind in kinds
    ]
    refused = ((Rung.KPROBE, "notrace"),)
    return [
        *seen,
        *[Attached(Kind.POPULATE, "vmemmap_populate", None, refused, (), True)][:derived],
    ]


# -- what comes out of it ------------------------------------------------------------------------


def test_populate_calls_nobody_could_see_are_derived():
    engine = Fake(batches=[batch(ADD), batch(ADDED, lost=5)])
    live = Live(engine, ends(Kind.ADD_PAGES, derived=True), Machine(window=WINDOW))
    assert live.probes["vmemmap_populate"] == "derived from __add_pages (kprobe: notrace)"
    live.start()
    first, second = live.poll(0.1), live.poll(0.1)
    assert first is not None
    assert first.events.num_rows == 1
    assert second is not None
    assert second.losses.lost == 5
    rows = second.events.to_pylist()
    assert [row["kind"] for row in rows] == ["populate"] * 3 + ["add_pages"]
    assert {row["source"] for row in rows[:3]} == {"derived"}
    # 3 sections of 128 MiB from 320 GiB on; VMEMMAP_START + (pfn - (0x40000000 >> 12)) * 64
    assert [row["start"] for row in rows[:3]] == [
        (0xFFFFFFFE00000000 + (0x5000000 + n * 32768 - 0x40000) * 64) % 2**64 for n in range(3)
    ]
    assert live.poll(0) is None


def test_observed_calls_are_left_as_they_are():
    given = batch(ADD, ADDED)
    live = Live(Fake(batches=[given]), ends(Kind.ADD_PAGES, Kind.POPULATE), Machine(window=WINDOW))
    assert live.poll(0) is given


def test_what_was_under_way_is_derived_from_too():
    live = Live(
        Fake(batches=[batch(ADD)], rest=batch(ADDED)),
        ends(Kind.ADD_PAGES, derived=True),
        Machine(window=WINDOW),
    )
    live.poll(0)
    (rest,) = live.stop()
    assert rest.events["kind"].to_pylist().count("populate") == 3
    assert live.closing() == ()


def test_an_operation_that_never_returned_is_reported_at_the_end():
    live = Live(
        Fake(batches=[batch(ADD)]), ends(Kind.ADD_PAGES, derived=True), Machine(window=WINDOW)
    )
    live.poll(0)
    assert list(live.stop()) == []
    (sentence,) = live.closing()
    assert "3 sections are unknown" in sentence


@pytest.mark.parametrize(
    ("counts", "lost"),
    [
        (Counts(warns=256, reported=256), []),
        (Counts(warns=250, reported=256), [6]),
        (Counts(warns=250, reported=256, lost={("vmemmap_free", 0): 0}), [6]),
        # where something was lost anyway, that may be the difference
        (Counts(warns=250, reported=256, lost={("__warn", 0): 2, ("__warn", 1): 3}), []),
        (Counts(warns=250, reported=256, lost={("__warn", 0): 6}), []),
        (Counts(warns=256, reported=255), []),  # the second one missed some: no loss of ours
        (Counts(warns=250, other_warns=6, reported=250, other_reported=9), []),
        (Counts(warns=None, reported=256), []),
        (Counts(warns=256, reported=None), []),
    ],
)
def test_a_warn_that_only_the_second_witness_saw_is_a_loss(counts, lost):
    live = Live(Fake(counts=counts), ends(Kind.WARN), Machine())
    batches = list(live.stop())
    assert [each.losses.lost for each in batches] == lost
    assert all(each.events.num_rows == 0 and each.events.schema == SCHEMA for each in batches)


def test_with_a_filter_the_witnesses_count_different_things():
    live = Live(Fake(counts=Counts(warns=1, reported=9)), ends(Kind.WARN), Machine(), filtered=True)
    assert list(live.stop()) == []


def test_the_closing_sentences(tmp_path):
    counter = tmp_path / "sys/kernel/warn_count"
    counter.parent.mkdir(parents=True)
    counter.write_text("40\n")
    counts = Counts(
        lost={("vmemmap_free", 1): 7, ("vmemmap_free", 0): 2, ("__warn", 0): 0},
        missed_returns={"__add_pages": 3, "__warn": 0},
        warns=256,
        other_warns=2,
        reported=256,
        other_reported=0,
    )
    live = Live(Fake(counts=counts), ends(Kind.WARN), Machine(), root=tmp_path)
    live.start()
    counter.write_text("298\n")
    assert list(live.stop()) == []
    assert live.closing() == (
        "lost 2 events of vmemmap_free on cpu 0",
        "lost 7 events of vmemmap_free on cpu 1",
        "3 returns of __add_pages were missed: no free kretprobe instance",
        "WARNs by witness: __warn 256 (and 2 elsewhere), error_report_end 256, warn_count 258",
    )


def test_without_witnesses_nothing_is_reported(tmp_path):
    live = Live(Fake(), ends(Kind.FREE), Machine(), root=tmp_path)
    live.start()
    assert list(live.stop()) == []
    assert live.closing() == ()


@pytest.mark.parametrize("content", ["", "many\n"])
def test_an_odd_warn_count_is_no_witness(tmp_path, content):
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/warn_count").write_text(content)
    live = Live(Fake(), ends(Kind.WARN), Machine(), root=tmp_path)
    live.start()
    list(live.stop())
    assert live.closing() == ()


def test_the_clock_leads_to_the_time_of_day():
    live = Live(Fake(), ends(Kind.FREE), Machine())
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + live.clock["offset_ns"]
    assert abs(now - time.time_ns()) < 3600 * 10**9
    assert live.clock["name"] == "mono"


def test_it_closes_its_engine_whatever_happens():
    engine = Fake()
    live = Live(engine, ends(Kind.FREE), Machine())

    def broken():
        with live:
            live.start()
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert engine.done == ["start", "close"]


def test_a_window_without_a_section_size_is_no_reason_to_fail():
    vague = Window(0xFFFFFFFE00000000, 0xFFFFFFFF00000000)
    with pytest.raises(WindowError):
        _ = vague.section_pages
    live = Live(
        Fake(batches=[batch(ADD), batch(ADDED)]),
        ends(Kind.ADD_PAGES, derived=True),
        Machine(window=vague),
    )
    live.poll(0)
    second = live.poll(0)
    assert second is not None
    assert second.events.num_rows == 1
    assert "the section size is not known" in live.closing()[0]


# -- what watching costs ---------------------------------------------------------------------------


def test_costs_are_tried_once_for_the_rungs_in_use_and_counted_afterwards(monkeypatch):
    probes = {rung: ends(Kind.ADD_PAGES)[0].probe for rung in Rung}
    tried = []

    def calibrate(engine, wanted):
        tried.append(set(wanted))
        return {rung: RungCost(10_000, 4_000, 2_000) for rung in wanted}

    monkeypatch.setattr("tracers.live.probes.calibration.calibrate", calibrate)
    engine = Fake()
    live = Live(engine, ends(Kind.ADD_PAGES, derived=True), Machine(), harmless=probes)
    assert live.observer == Observer({Kind.ADD_PAGES: ProbeCost(10_000, 4_000)})
    engine.times = {0: (20, 80_000)}
    assert live.observer == Observer({Kind.ADD_PAGES: ProbeCost(16_000, 4_000, measured=True)})
    assert tried == [{ends(Kind.ADD_PAGES)[0].probe.rung}]


def test_with_threads_left_out_nobody_knows():
    live = Live(Fake(), ends(Kind.ADD_PAGES), Machine(), filtered=True)
    assert live.observer == Observer()
