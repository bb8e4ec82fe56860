# SPDX-License-Identifier: GPL-2.0-only
"""The share of hot-add and hot-remove spent in WARN, against a plain reading of the capture."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.grow import grow
from recordings.format.reader import open_recording
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.warn_shares import around, warn_shares
from recordings.ledger.whole import fold
from tests.recordings.plain import read_trace
from tracers.events import Kind


def snapshot(path: Path) -> Snapshot:
    with open_recording(path) as recording:
        return fold(recording)


@pytest.mark.parametrize("sample", ["storm", "storm-once"])
def test_shares_are_those_of_the_trace(traced: Path, captures: Path, sample: str) -> None:
    kernel = {"storm": "6.1.192-vmemlab-39bit", "storm-once": "6.1.192-vmemlab-once-39bit"}
    rows = read_trace(captures / kernel[sample] / "hole.ftrace.txt")
    took = {"add_pages": 0, "remove_pages": 0}
    warned = {"add_pages": 0, "remove_pages": 0}
    open_call, entered = "", {}
    for row in rows:
        if row["phase"] == "entry":
            entered[row["kind"]] = row["ts_ns"]
            open_call = row["kind"] if row["kind"] in took else open_call
        elif row["kind"] in took:
            took[row["kind"]] += row["ts_ns"] - entered[row["kind"]]
        elif row["kind"] == "warn":
            warned[open_call] += row["ts_ns"] - entered["warn"]
    found = warn_shares(snapshot(traced / f"{sample}.arrows"))
    assert [(part.what, part.kind.label) for part in found] == [
        ("hot-add", "add_pages"),
        ("hot-remove", "remove_pages"),
    ]
    assert {part.kind.label: part.total_ns for part in found} == took
    assert {part.kind.label: part.warn_ns for part in found} == warned


def test_nothing_is_said_without_warnings(samples: Path) -> None:
    assert warn_shares(snapshot(samples / "in-range-6.1.arrows")) == ()


def test_shares_are_of_all_operations_and_not_of_those_listed(samples: Path, tmp_path: Path):
    storm, copies = snapshot(samples / "storm.arrows"), 130
    grow(samples / "storm.arrows", tmp_path / "grown.arrows", copies * storm.events)
    grown = snapshot(tmp_path / "grown.arrows")
    assert grown.operations_total == 2 * copies > len(grown.operations)
    for one, many in zip(warn_shares(storm), warn_shares(grown), strict=True):
        assert (many.warn_ns, many.total_ns) == (copies * one.warn_ns, copies * one.total_ns)


def test_what_is_around_the_hotplug_is_that_of_the_trace(traced: Path, captures: Path) -> None:
    took = {}
    for row in read_trace(captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"):
        sign = 1 if row["phase"] == "exit" else -1
        took[row["kind"]] = took.get(row["kind"], 0) + sign * row["ts_ns"]
    storm = snapshot(traced / "storm.arrows")
    assert [(part.kind.label, part.total_ns, part.outside_ns) for part in around(storm)] == [
        ("memremap", took["memremap"], took["memremap"] - took["add_pages"]),
        ("memunmap", took["memunmap"], took["memunmap"] - took["remove_pages"]),
    ]
    for losing in (Kind.MEMREMAP, Kind.MEMUNMAP):
        timings = {kind: each for kind, each in storm.timings.items() if kind is not losing}
        (left,) = around(replace(storm, timings=timings))
        assert left.kind is not losing
