# SPDX-License-Identifier: GPL-2.0-only
"""Requests for regions in logs by hand: against what the module that asked for them printed."""

import re

import pytest

from recordings.capture.importing import import_log
from recordings.format.reader import open_recording
from recordings.ledger.whole import fold

LAB = "6.1.192-vmemlab-39bit"
ERANGE = 34


def printed(captures):
    """(MiB, first, last or None) of one run, as region.ko says: plain requests, then devm_."""
    text = (captures / LAB / "regions.dmesg.txt").read_text()
    found = re.findall(r"region: (\d+) MiB: (?:0x(\w+)-0x(\w+)|error (-\d+))", text)
    runs = [
        (int(mib), int(first, 16), int(last, 16)) if first else (int(mib), None, int(error))
        for mib, first, last, error in found
    ]
    assert runs[:8] * (len(runs) // 8) == runs  # every run got the same
    return runs[:8]


@pytest.mark.parametrize("log", ["ftrace", "trace-cmd", "bpftrace"])
def test_what_was_asked_for_and_what_came_of_it(captures, tmp_path, log):
    out = tmp_path / "regions.arrows"
    folder = captures / LAB
    done = import_log(folder / f"regions.{log}.txt", out, machine_dir=folder)
    assert (done.events, done.derived) == (16, 0)
    with open_recording(out) as recording:
        snapshot = fold(recording)
        rows = [row for batch in recording.batches() for row in batch.events.to_pylist()]
    expected = printed(captures)
    entries = [row for row in rows if row["phase"] == "entry"]
    exits = [row for row in rows if row["phase"] == "exit"]
    assert [row["kind"] for row in entries] == ["request_region"] * 4 + ["devm_request_region"] * 4
    assert [row["nr_pages"] for row in entries] == [mib << 8 for mib, _, _ in expected]
    assert [row["site"] for row in entries] == ["region"] * 4 + [None] * 4
    for row, (_, first, last) in zip(exits, expected, strict=True):
        if first is None:
            assert (row["ret"], row["pfn"], row["nr_pages"]) == (last, None, None)
        else:
            assert (row["pfn"], row["nr_pages"]) == (first >> 12, (last + 1 - first) >> 12)
    assert not any(row["start"] or row["end"] for row in rows)
    assert snapshot.refused == ((ERANGE, 2),)
    assert snapshot.requests_total == 8


def test_without_the_machine_sizes_are_not_known_and_errors_are(captures, tmp_path):
    out = tmp_path / "regions.arrows"
    import_log(captures / LAB / "regions.ftrace.txt", out)
    with open_recording(out) as recording:
        snapshot = fold(recording)
    assert snapshot.refused == ((ERANGE, 2),)
    assert {(each.asked, each.pfn) for each in snapshot.requests} == {(None, None)}
