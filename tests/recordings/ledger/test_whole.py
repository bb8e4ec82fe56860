# SPDX-License-Identifier: GPL-2.0-only
"""Numbers of whole recordings: when the closing record is believed, and when events are counted."""

from pathlib import Path

import pytest

from recordings.capture.drain import Capture
from recordings.capture.rotation import Limits, Rotation
from recordings.format.header import Header, RecordingError
from recordings.format.parts import Parts, sets_of
from recordings.format.reader import open_recording
from recordings.ledger.ledger import folded
from recordings.ledger.stored import numbers_of
from recordings.ledger.whole import fold, kept
from recordings.samples import sample_path
from tests.recordings.numbered import with_numbers
from tracers.batch import Batch
from tracers.kinds import Kind
from tracers.observer import Observer, ProbeCost

SAMPLE = sample_path("below-6.12")


def test_a_flipped_bit_anywhere_is_found(tmp_path) -> None:
    data = SAMPLE.read_bytes()
    path = tmp_path / "a.arrows"
    with open_recording(SAMPLE) as recording:
        truth = fold(recording)
        assert kept(recording) is not None
    for at in range(0, len(data), 17):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        try:
            recording = open_recording(path)
        except RecordingError:
            continue
        with recording:
            assert kept(recording) is None, at
            assert recording.losses.torn, at
            assert fold(recording) != truth


@pytest.mark.parametrize("kept_bytes", [-1, -8, -100, -2000])
def test_a_torn_recording_is_counted(tmp_path, kept_bytes) -> None:
    path = tmp_path / "a.arrows"
    path.write_bytes(SAMPLE.read_bytes()[:kept_bytes])
    with open_recording(path) as recording:
        assert kept(recording) is None
        assert fold(recording).losses.torn


def test_a_recording_without_numbers_is_counted(tmp_path) -> None:
    """Such as those of format 1.4 and before, and those of other programs."""
    with open_recording(with_numbers(SAMPLE, tmp_path / "a", None)) as recording:
        assert recording.packed_numbers is None
        assert kept(recording) is None
    with open_recording(SAMPLE) as recording:
        truth = fold(recording)
    with open_recording(tmp_path / "a") as recording:
        assert fold(recording) == truth


# -- the files of one capture -----------------------------------------------------------------


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """The storm, recorded in files of a few batches."""
    path = tmp_path / "storm.arrows"
    with open_recording(sample_path("storm")) as recording:
        out = Rotation(path, recording.header, Limits(size=20_000), fsync=False)
        for batch in recording.batches():
            out.write(batch)
            out.flush()
        ledger = folded(recording)
        out.close("command ended", numbers=numbers_of(ledger.figures(), ledger.losses))
    return sorted(tmp_path.glob("storm*"))


def one(paths: list[Path]) -> Parts:
    (found,) = sets_of(paths).values()
    assert isinstance(found, Parts)
    return found


def test_the_last_file_has_the_numbers_of_all(parts) -> None:
    assert len(parts) > 2
    with open_recording(sample_path("storm")) as recording:
        whole = fold(recording, recount=True)
    assert kept(one(parts)) == whole == fold(one(parts), recount=True)


def test_the_last_file_alone_is_counted(parts) -> None:
    alone = one(parts[-1:])
    assert kept(alone) is None
    assert fold(alone).events < 1544
    with open_recording(parts[-1]) as recording:
        assert recording.packed_numbers is not None
        assert kept(recording) is None


@pytest.mark.parametrize("missing", [0, 1, -1])
def test_without_one_of_the_files_the_others_are_counted(parts, missing) -> None:
    del parts[missing]
    assert kept(one(parts)) is None
    assert fold(one(parts)).losses.lost_unknown == 1


def test_with_a_damaged_file_all_are_counted(parts) -> None:
    with open_recording(parts[1]) as recording:
        info = recording.index[0]
    data = bytearray(parts[1].read_bytes())
    data[info.offset + info.size - 20] ^= 4
    parts[1].write_bytes(data)
    found = one(parts)
    assert kept(found) is None
    assert fold(found).losses.torn == 1


def test_files_of_another_order_are_of_other_numbers(parts) -> None:
    """Each with its checksums right: only all of them together are the capture."""
    with open_recording(parts[0]) as recording:
        header, batches = recording.header, list(recording.batches())
    parts[0].unlink()
    out = Rotation(parts[0], header, fsync=False)
    for batch in reversed(batches):
        out.write(batch)
    out.close("rotated")
    assert kept(one(parts)) is None


class _Feed:
    """A feed of a recording's batches."""

    notes, warn_sites, origin = (), (), {}
    observer = Observer({Kind.WARN: ProbeCost(12_000, 5_000, measured=True)})

    def __init__(self, header: Header, batches: list[Batch]) -> None:
        self.machine, self.probes, self.clock = header.machine, header.probes, header.clock
        self._batches = batches

    def start(self) -> None:
        """Nothing to enable."""

    def poll(self, _: float) -> Batch | None:
        return self._batches.pop(0) if self._batches else None

    def stop(self):
        yield from self._batches

    def closing(self) -> tuple[str, ...]:
        return ("the end",)

    def close(self) -> None:
        """Nothing to remove."""


@pytest.mark.parametrize("reason", ["SIGINT", "the kernel went away"])
def test_a_live_capture_ends_with_them_as_was_asked_for(tmp_path, reason) -> None:
    with open_recording(sample_path("storm")) as recording:
        feed = _Feed(recording.header, list(recording.batches()))
        header = recording.header
    out = Rotation(tmp_path / "a.arrows", header, fsync=False)
    capture = Capture(feed, out, header=header)
    capture.start()
    capture.stop(reason)
    with open_recording(tmp_path / "a.arrows") as recording:
        assert (kept(recording) is not None) == (reason == "SIGINT")
        assert fold(recording) == capture.snapshot() == fold(recording, recount=True)
