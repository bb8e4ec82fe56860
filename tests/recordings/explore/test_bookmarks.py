# SPDX-License-Identifier: GPL-2.0-only
"""Bookmarks: kept beside the recording, never of another one, never over what is not ours."""

import json
import os
import shutil
import stat

import pytest

from recordings.explore.bookmarks import (
    MOST_BYTES,
    MOST_FILTER,
    MOST_MARKS,
    MOST_NOTE,
    SUFFIX,
    Bookmarks,
    Mark,
    MarksError,
)
from recordings.format.reader import open_recording

HOSTILE = "\x1b]0;x\x07[bold]\ud800"


@pytest.fixture
def path(tmp_path, traced):
    return shutil.copy(traced / "storm.arrows", tmp_path / "storm.arrows")


@pytest.fixture
def side(path):
    return path.with_name(path.name + SUFFIX)


def marks_of(path):
    with open_recording(path) as recording:
        return Bookmarks.of(recording)


def test_they_are_there_the_next_time(path, side):
    marks = marks_of(path)
    assert marks.marks == ()
    assert not side.exists()
    later, earlier = Mark(898, 5_408_390_000, "worst of all", "comm:rmmod"), Mark(3, 4_479_527_000)
    marks.add(later)
    marks.add(earlier)
    assert marks.marks == marks_of(path).marks == (earlier, later)
    assert stat.S_IMODE(side.stat().st_mode) == 0o600
    marks.add(Mark(898, 5_408_390_000, "again"))
    assert [mark.note for mark in marks_of(path).marks] == ["", "again"]
    marks.delete(3)
    assert [mark.row for mark in marks_of(path).marks] == [898]
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name, side.name]


def test_the_file_is_what_the_format_says(path, side):
    marks_of(path).add(Mark(898, 5_408_390_000, "ä", "regime:above"))
    told = json.loads(side.read_text())
    assert set(told) == {"format", "recording", "marks"}
    assert told["format"] == "1.0"
    assert len(told["recording"]) == 64
    wanted = {"row": 898, "time_ns": 5_408_390_000, "note": "ä", "filter": "regime:above"}
    assert told["marks"] == [wanted]


def test_two_programs_keep_each_others(path):
    one, other = marks_of(path), marks_of(path)
    one.add(Mark(1, 10))
    other.add(Mark(2, 20))
    assert [mark.row for mark in marks_of(path).marks] == [1, 2]


def test_marks_of_another_recording_are_refused_and_left_alone(path, side, samples):
    marks_of(path).add(Mark(1, 10))
    before = side.read_bytes()
    path.unlink()
    shutil.copy(samples / "below-6.1.arrows", path)
    with pytest.raises(MarksError, match="of another recording: left alone"):
        marks_of(path)
    assert side.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 5000,
        b'{"format":"2.0","recording":"","marks":[]}',
        b'{"format":7,"recording":"","marks":[]}',
        b'{"format":"1.0","recording":"","marks":{}}',
        b'{"format":"1.0","recording":"","marks":[7]}',
        b'{"format":"1.0","recording":"","marks":[{"row":-1,"time_ns":0}]}',
        b'{"format":"1.0","recording":"","marks":[{"row":true,"time_ns":0}]}',
        b'{"format":"1.0","recording":"","marks":[{"row":0,"time_ns":1.5}]}',
        b'{"format":"1.0","recording":"","marks":[{"row":0,"time_ns":18446744073709551616}]}',
        b'{"format":"1.0","recording":"","marks":[{"row":0,"time_ns":0,"note":7}]}',
        b'{"format":"1.0","recording":"","marks":[{"row":0,"time_ns":0,"note":"%s"}]}'
        % (b"x" * (MOST_NOTE + 1)),
        b'{"format":"1.0","recording":"","marks":[%s]}'
        % b",".join([b'{"row":0,"time_ns":0}'] * (MOST_MARKS + 1)),
        b'{"format":"\x1b[2J","recording":"","marks":[]}',
    ],
    ids=range(18),
)
def test_what_is_not_ours_is_refused_in_a_line_and_left_alone(path, side, content):
    marks = marks_of(path)
    side.write_bytes(content)
    for use in (lambda: marks_of(path), lambda: marks.add(Mark(1, 10))):
        with pytest.raises(MarksError, match="left alone") as error:
            use()
        assert str(error.value).isprintable()
    assert side.read_bytes() == content
    assert marks.marks == (Mark(1, 10),)  # until the program ends


def test_no_file_is_too_large_or_no_file(path, side):
    with side.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(MarksError, match="larger than any of ours"):
        marks_of(path)
    side.unlink()
    os.mkfifo(side)
    with pytest.raises(MarksError, match="a pipe"):
        marks_of(path)
    side.unlink()
    side.mkdir()
    with pytest.raises(MarksError, match="a directory"):
        marks_of(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_in_a_folder_that_cannot_be_written_they_are_kept_until_the_end(path):
    check_unkept(path, lambda: path.parent.chmod(0o500), lambda: path.parent.chmod(0o700))


def test_where_no_file_can_be_made_they_are_kept_until_the_end(path):
    """For root, too: the folder is gone."""
    moved = path.parent.with_name("moved")
    check_unkept(path, lambda: path.parent.rename(moved), lambda: moved.rename(path.parent))


def check_unkept(path, break_it, mend):
    marks = marks_of(path)
    break_it()
    try:
        with pytest.raises(MarksError, match="kept only until you leave") as error:
            marks.add(Mark(1, 10, "first"))
        assert "\n" not in str(error.value)
        assert marks.marks == (Mark(1, 10, "first"),)
    finally:
        mend()
    marks.add(Mark(2, 20))  # what could not be kept is kept with it
    assert [mark.row for mark in marks_of(path).marks] == [1, 2]


def test_bounds(path):
    marks = marks_of(path)
    for mark in (Mark(1, 1, "x" * (MOST_NOTE + 1)), Mark(1, 1, "", "x" * (MOST_FILTER + 1))):
        with pytest.raises(MarksError, match="at most 200 characters"):
            marks.add(mark)
    assert marks.marks == ()
    texts = "\U0001f600" * MOST_NOTE, "\x00" * MOST_FILTER
    marks.marks = tuple(Mark(row, 2**64 - 1, *texts) for row in range(MOST_MARKS - 1))
    marks.add(Mark(10**18, 1, *texts))
    assert len(marks_of(path).marks) == MOST_MARKS  # the largest that there may be is readable
    with pytest.raises(MarksError, match="delete some first"):
        marks.add(Mark(7777, 1))
    marks.add(Mark(7, 1, "in place of one"))
    assert len(marks_of(path).marks) == MOST_MARKS


def test_any_text_comes_back(path):
    marks_of(path).add(Mark(1, 10, HOSTILE, HOSTILE))
    assert marks_of(path).marks == (Mark(1, 10, HOSTILE, HOSTILE),)


def test_it_is_the_same_recording_while_it_grows(path):
    marks_of(path).add(Mark(1, 10))
    path.write_bytes(path.read_bytes()[:-300])  # as if its end were still to come
    assert marks_of(path).marks == (Mark(1, 10),)
