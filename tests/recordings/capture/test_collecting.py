# SPDX-License-Identifier: GPL-2.0-only
"""A recording of what a boot caught: whole, with its losses, or not there."""

from pathlib import Path

import pytest

from recordings.capture.collecting import collect
from recordings.format.header import RecordingError
from recordings.format.reader import open_recording
from recordings.ledger.snapshot import Verdict
from recordings.ledger.whole import fold
from tests.tracers.live.boot.planned import booted_machine
from tracers.batch import Losses
from tracers.errors import VmemscopeError
from tracers.live.boot.collect import Collected


@pytest.fixture
def machine(tmp_path: Path, captures: Path, monkeypatch) -> Path:
    """A lab 6.1 that was booted with our parameters."""
    return booted_machine(tmp_path / "root", captures, monkeypatch)


def test_the_file_has_all_that_was_told(machine, tmp_path):
    source = Collected(machine)
    path = tmp_path / "a.arrows"
    done = collect(source, path)
    # the kernel's: 256 WARNs for 128 sections added and 128 removed
    assert (done.snapshot.hits, done.snapshot.warnings) == (256, 256)
    assert done.snapshot.verdict is Verdict.OUT_OF_RANGE
    with open_recording(path) as recording:
        assert (recording.rows, recording.ended) == (done.events, "closed")
        assert recording.closing_notes == done.closing
        assert recording.header.origin["boot"]
        assert recording.header.probes == source.probes
        assert not sum((each.losses for each in recording.batches()), recording.losses)
        again = fold(recording)
    assert (again.hits, again.warnings) == (256, 256)


def test_a_lossy_ring_makes_no_clean_recording(machine, tmp_path):
    trace = machine / "sys/kernel/tracing/trace"
    lines = trace.read_text().splitlines(keepends=True)
    trace.write_text("".join(line for line in lines if "boot_free" not in line))
    path = tmp_path / "a.arrows"
    collect(Collected(machine), path)
    with open_recording(path) as recording:
        lost = sum((each.losses for each in recording.batches()), recording.losses)
    assert lost == Losses(lost=256)  # an entry and an exit of each free


def test_an_existing_file_stays(machine, tmp_path):
    path = tmp_path / "a.arrows"
    path.write_text("mine")
    with pytest.raises(RecordingError, match="exists"):
        collect(Collected(machine), path)
    assert path.read_text() == "mine"


def test_a_ring_that_cannot_be_read_leaves_no_file(machine, tmp_path):
    (machine / "sys/kernel/tracing/trace").unlink()
    with pytest.raises(VmemscopeError, match="cannot be read: No such file"):
        collect(Collected(machine), tmp_path / "a.arrows")
    assert not list(tmp_path.glob("*.arrows"))


def test_a_trace_that_counts_is_one_line(machine, tmp_path):
    trace = machine / "sys/kernel/tracing/trace"
    text = trace.read_text().replace(".", "")
    trace.write_text(text)
    with pytest.raises(VmemscopeError, match="times are counts"):
        collect(Collected(machine), tmp_path / "a.arrows")
    assert not list(tmp_path.glob("*.arrows"))
