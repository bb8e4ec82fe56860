# SPDX-License-Identifier: GPL-2.0-only
"""The share of hot-add and hot-remove spent in WARN, against a plain reading of the capture."""

from dataclasses import replace
from pathlib import Path

import pytest

from recordings.format.reader import open_recording
from recordings.ledger.ledger import fold
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.warn_shares import warn_shares
from tests.recordings.plain import read_trace


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


def test_nothing_is_said_without_warnings_or_of_unlisted_operations(samples: Path) -> None:
    assert warn_shares(snapshot(samples / "in-range-6.1.arrows")) == ()
    storm = snapshot(samples / "storm.arrows")
    assert warn_shares(replace(storm, operations_total=storm.operations_total + 1)) == ()
