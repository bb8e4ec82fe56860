# SPDX-License-Identifier: GPL-2.0-only
"""The files of one capture, read as one: whole, with parts missing, mixed with others."""

from dataclasses import replace
from pathlib import Path

import pytest

from recordings.api import open_recording_or_sample
from recordings.capture.rotation import Limits, Rotation
from recordings.format.header import Header, RecordingError
from recordings.format.parts import Parts, recordings_in, sets_of
from recordings.format.writer import Writer
from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.ledger.whole import fold
from tests.recordings.made import record, rows
from tracers.batch import Batch, Losses

ROWS = 40  # of in-range-6.12, which has 104: the cuts lie inside calls


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A real capture of 6.12, all in range, as rotation leaves it in three files."""
    folder = tmp_path / "capture"
    folder.mkdir()
    rotated(folder / "a.arrows")
    found = sorted(folder.iterdir())
    assert len(found) == 3
    return found


def rotated(path: Path, reason: str = "SIGTERM", keep: int | None = None) -> None:
    with open_recording_or_sample("sample:in-range-6.12") as whole:
        out = Rotation(path, whole.header, Limits(size=1, keep=keep), fsync=False)
        for batch in whole.batches():
            for at in range(0, batch.events.num_rows, ROWS):
                out.write(Batch(batch.events.slice(at, ROWS)))
                out.flush()
        out.close(reason, ("a note",))


def only(paths) -> Parts:
    (found,) = sets_of(paths).values()
    assert isinstance(found, Parts)
    return found


def numbers(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, verdict=None, verdict_reasons=(), losses=Losses())


def test_the_parts_are_the_whole(files: list[Path]) -> None:
    with open_recording_or_sample("sample:in-range-6.12") as whole:
        expected = fold(whole)
    assert expected.verdict is Verdict.CLEAN
    for order in (files, files[::-1]):
        capture = only(order)
        assert fold(capture) == expected
        assert capture.paths == tuple(files)
        assert (capture.problems, capture.missing) == ((), ())
        assert capture.closing_notes == ("a note",)


def test_one_of_them_alone_cuts_calls_in_two(files: list[Path]) -> None:
    # What reading each file by itself says of a capture that is whole.
    unfinished = [fold(only([file])).unfinished_total for file in files]
    assert any(unfinished)


@pytest.mark.parametrize(
    ("left", "missing"),
    [
        ((0, 1), "what follows part 2 is missing: it says that it is continued"),
        ((0, 2), "part 2 is missing"),
        ((1, 2), "part 1 is missing"),
        ((2,), "parts 1 to 2 are missing"),
    ],
)
def test_a_missing_part_is_said_and_never_clean(files, left, missing) -> None:
    capture = only([files[at] for at in left])
    assert capture.missing == (missing,)
    assert missing in capture.problems
    assert capture.losses == Losses(lost_unknown=1)
    assert fold(capture).verdict is Verdict.INCONCLUSIVE


def test_what_keep_deleted_is_missing_with_its_reason(tmp_path: Path) -> None:
    rotated(tmp_path / "a.arrows", keep=2)
    capture = only(sorted(tmp_path.iterdir()))
    assert capture.missing == ("part 1 is missing, as --keep 2 asked for",)
    assert fold(capture).verdict is Verdict.INCONCLUSIVE


def test_a_part_with_a_torn_end_is_named(files: list[Path]) -> None:
    files[2].write_bytes(files[2].read_bytes()[:-200])
    capture = only(files)
    assert capture.losses == Losses(torn=1, without_end=1)
    assert capture.problems[0].startswith("a.part000003.arrows: ends without its closing record")
    assert fold(capture).verdict is Verdict.INCONCLUSIVE


def test_damage_that_shows_only_when_a_batch_is_read_counts(files: list[Path]) -> None:
    capture = only(files)
    data = bytearray(files[1].read_bytes())
    data[-600] ^= 0xFF  # after it was verified
    files[1].write_bytes(bytes(data))
    assert fold(capture).verdict is Verdict.INCONCLUSIVE
    assert capture.losses.torn >= 1


def test_two_captures_and_a_plain_file_are_three(files: list[Path], tmp_path: Path) -> None:
    rotated(tmp_path / "b.arrows")
    record(tmp_path / "plain.arrows", [Batch(rows(3))])
    others = [*files, *tmp_path.glob("*.arrows")]
    found = sets_of(sorted(others, key=lambda path: path.name[::-1]))
    assert sorted(len(capture.paths) for capture in found.values()) == [1, 3, 3]
    assert all(capture.missing == () for capture in found.values())


def test_a_copy_of_a_part_is_left_out_and_said(files: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.arrows"
    copy.write_bytes(files[1].read_bytes())
    capture = only([*files, copy])
    assert capture.paths == tuple(files)
    assert capture.missing == ("copy.arrows is part 2 as a.part000002.arrows is: left out",)


def test_what_cannot_be_read_hides_nothing(files: list[Path], tmp_path: Path) -> None:
    files[1].write_bytes(b"no recording")
    found = sets_of(files)
    assert isinstance(found[files[1]], RecordingError)
    assert found[files[0]].missing == ("part 2 is missing",)


@pytest.mark.parametrize("part", ["0", "-1", "1e9", "٣", "9" * 400, "two", ""])
def test_a_forged_number_is_none(part: str, tmp_path: Path) -> None:
    with Writer(tmp_path / "a.arrows", Header(origin={"part": part})) as writer:
        writer.write(Batch(rows(1)))
    assert only([tmp_path / "a.arrows"]).missing == ()


def test_parts_written_before_they_carried_their_captures_name(files: list[Path]) -> None:
    for number, file in enumerate(files, 1):
        with open_recording_or_sample(file) as part:
            origin = {} if number == 1 else {"part": str(number), "first_part": "a.arrows"}
            batches, reason = list(part.batches()), part.ended
            header = replace(part.header, origin=origin)
        file.unlink()
        with Writer(file, header) as writer:
            for batch in batches:
                writer.write(batch)
            writer.close(reason)
    assert only(files).missing == ()
    assert only(files[:2]).missing == (
        "what follows part 2 is missing: it says that it is continued",
    )


def test_a_folder_gives_what_has_a_recordings_name(tmp_path: Path) -> None:
    for name in (
        "b.arrows",
        "a",
        "a.part000002",
        "c.part1",
        "notes",
        ".vmemscope-x.part",
        ".a.arrows",
    ):
        (tmp_path / name).touch()
    (tmp_path / "folder.arrows").mkdir()
    assert [path.name for path in recordings_in(tmp_path)] == ["a", "a.part000002", "b.arrows"]


def test_a_folder_without_any_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no recording"):
        recordings_in(tmp_path)
