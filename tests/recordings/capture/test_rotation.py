# SPDX-License-Identifier: GPL-2.0-only
"""Rotation: where files end, which names they get, what is kept, and that no event is lost."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recordings.capture.rotation import Limits, Rotation, part_path
from recordings.format.header import Header, RecordingError
from recordings.format.reader import open_recording
from tests.recordings.made import PATIENCE_S, rows
from tracers.batch import Batch

HOURS = 3600.0


class Clock:
    """Seconds, as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def rotation(path: Path, clock: Clock, **limits) -> Rotation:
    return Rotation(path, Header(), Limits(**limits), fsync=False, clock=clock)


def write(out: Rotation, first: int, count: int = 23) -> None:
    out.write(Batch(rows(count, first)))
    out.flush()


def times(path: Path) -> list[int]:
    with open_recording(path) as recording:
        assert not recording.losses, recording.problems
        return [t for batch in recording.batches() for t in batch.events["ts_ns"].to_pylist()]


def test_without_limits_there_is_one_file(tmp_path):
    clock = Clock()
    out = rotation(tmp_path / "a.arrows", clock)
    for number in range(5):
        clock.now += HOURS
        write(out, 23 * number)
    out.close("SIGTERM", ("a note",))
    assert [path.name for path in tmp_path.iterdir()] == ["a.arrows"]
    with open_recording(tmp_path / "a.arrows") as recording:
        assert (recording.rows, recording.ended, recording.closing_notes) == (
            115,
            "SIGTERM",
            ("a note",),
        )
    (part,) = out.parts
    assert (part.name, part.events) == (str(tmp_path / "a.arrows"), 115)
    assert part.size == out.size == (tmp_path / "a.arrows").stat().st_size


def test_size_ends_a_file_with_the_batch_that_reaches_it(tmp_path):
    out = rotation(tmp_path / "a.arrows", Clock(), size=64 << 10)
    for number in range(60):
        write(out, 1000 * number, 1000)
    out.close()
    paths = sorted(tmp_path.iterdir())
    assert len(paths) > 2
    found = []
    for path in paths[:-1]:
        assert path.stat().st_size >= 64 << 10
        with open_recording(path) as recording:
            # one batch fewer would have been below the size
            assert recording.index[-1].offset < 64 << 10
            assert recording.ended == "rotated"
    for path in paths:
        found += times(path)
    assert found == list(range(1000, 61_000))
    assert out.rows == 60_000


def test_every_file_is_a_whole_recording_that_says_which_it_is(tmp_path):
    out = Rotation(
        tmp_path / "a.arrows",
        Header(origin={"live": "feed"}, probes={"vmemmap_free": "kprobe"}),
        Limits(size=1),
        fsync=False,
    )
    for number in range(3):
        write(out, 23 * number)
    out.close()
    headers = []
    for path in sorted(tmp_path.iterdir()):
        with open_recording(path) as recording:
            headers.append(recording.header)
            assert recording.header.probes == {"vmemmap_free": "kprobe"}
    assert [h.origin["part"] for h in headers] == ["1", "2", "3"]
    assert {h.origin["first_part"] for h in headers} == {"a.arrows"}
    assert len({h.origin["capture"] for h in headers}) == 1
    assert headers[0].created_ns < headers[1].created_ns < headers[2].created_ns
    with open_recording(tmp_path / "a.arrows") as first:
        assert first.closing_notes == ("continued in a.part000002.arrows",)


def test_time_ends_a_file_even_if_nothing_follows_but_not_an_empty_one(tmp_path):
    clock = Clock()
    out = rotation(tmp_path / "a.arrows", clock, seconds=60)
    clock.now = 1000
    out.tick()
    assert len(list(tmp_path.iterdir())) == 1  # it holds no event
    write(out, 0)
    clock.now = 1059
    out.tick()
    out.tick()
    # the first event came when its time was over long ago: it has a file to itself
    assert [part.events for part in out.parts] == [23]
    clock.now = 1070
    write(out, 23)
    clock.now = 1118
    out.tick()
    assert len(out.parts) == 1
    clock.now = 1119
    out.tick()
    assert [part.events for part in out.parts] == [23, 23]
    out.close()
    assert times(tmp_path / "a.part000002.arrows") == list(range(1023, 1046))


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("name", ["storm.arrows", "storm", "storm.rec", "a-b_c.arrows", ".arrows"])
def test_a_shell_sorts_the_names_by_time(tmp_path, name, locale):
    paths = [part_path(tmp_path / name, number) for number in (1, 2, 3, 10, 11, 100, 999_999)]
    for path in paths:
        path.touch()
    listed = subprocess.run(
        ["sh", "-c", "LC_ALL=$0; export LC_ALL; ls -A", locale],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert listed == [path.name for path in paths]
    # Most other locales look at letters and digits first, digits before letters.
    assert sorted(listed, key=lambda name: re.sub("[^a-z0-9]", "", name)) == listed


def test_keep_deletes_the_oldest_of_this_run_only(tmp_path):
    (tmp_path / "b.arrows").write_bytes(b"another's")
    (tmp_path / "a.part.arrows").write_bytes(b"another's")
    out = rotation(tmp_path / "a.arrows", Clock(), size=1, keep=3)
    for number in range(7):
        write(out, 23 * number)
        assert len(list(tmp_path.glob("a.*arrows"))) <= 3 + 1
    out.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.part.arrows",
        "a.part000005.arrows",
        "a.part000006.arrows",
        "a.part000007.arrows",
        "b.arrows",
    ]
    assert [part.deleted for part in out.parts] == [True] * 4 + [False] * 3
    assert out.rows == 161
    kept = [t for part in out.parts if not part.deleted for t in times(Path(part.name))]
    assert kept == list(range(1000 + 4 * 23, 1000 + 7 * 23))


def test_an_earlier_runs_files_are_refused_before_anything_is_made(tmp_path):
    (tmp_path / "a.part000007.arrows").touch()
    with pytest.raises(RecordingError, match=r"part000007.*earlier run"):
        rotation(tmp_path / "a.arrows", Clock(), size=1)
    assert not (tmp_path / "a.arrows").exists()
    rotation(tmp_path / "a.arrows", Clock()).close()  # without rotation it is not in the way


def test_a_place_that_takes_no_new_file_loses_no_event(tmp_path):
    clock = Clock()
    out = rotation(tmp_path / "a.arrows", clock, size=1)
    write(out, 0)
    blocker = tmp_path / "a.part000002.arrows"
    blocker.mkdir()
    write(out, 23)
    assert "goes on" in out.problem
    assert str(blocker) in out.problem
    blocker.rmdir()
    write(out, 46)  # not tried again at once
    assert len(out.parts) == 0
    clock.now += 60
    write(out, 69)
    assert out.problem == ""
    out.close()
    assert times(tmp_path / "a.arrows") == list(range(1000, 1069))
    assert times(tmp_path / "a.part000002.arrows") == list(range(1069, 1092))


def test_a_stream_never_rotates(tmp_path):
    path = tmp_path / "a.arrows"
    with path.open("wb", buffering=0) as stream:
        out = Rotation(stream, Header(), Limits(size=1))
        for number in range(3):
            write(out, 23 * number)
        out.close()
    assert times(path) == list(range(1000, 1069))
    assert (out.name, out.size) == ("the output", path.stat().st_size)


def test_discard_leaves_no_file(tmp_path):
    rotation(tmp_path / "a.arrows", Clock()).discard()
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_written_is_counted_over_all_files(tmp_path):
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import resource, sys
from pathlib import Path
from recordings.format.header import Header, RecordingError
from recordings.capture.rotation import Limits, Rotation
from tests.recordings.made import rows
from tracers.batch import Batch
clock = [0.0]
out = Rotation(Path(sys.argv[1]), Header(), Limits(seconds=10), clock=lambda: clock[0])
out.write(Batch(rows(23)))
out.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (out.size, resource.RLIM_INFINITY))
try:
    out.write(Batch(rows(46, 23)))
    out.flush()
except RecordingError:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
clock[0] = 11.0
out.write(Batch(rows(5, 69)))  # a new file: the disk has room again
out.close()
print(out.rows, out.unwritten, [part.events for part in out.parts])
""",
            str(tmp_path / "a.arrows"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert (process.stdout, process.stderr) == ("28 46 [23, 5]\n", "")
    assert times(tmp_path / "a.part000002.arrows") == list(range(1069, 1074))


def test_every_file_and_flush_is_durable_by_default(tmp_path, monkeypatch):
    synced = []
    call = os.fdatasync

    def spy(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        call(fd)

    monkeypatch.setattr(os, "fdatasync", spy)
    out = Rotation(tmp_path / "a.arrows", Header(), Limits(size=1))
    assert synced == ["a.arrows"]
    write(out, 0)
    assert synced == ["a.arrows"] * 2
    write(out, 23)  # opens the next, ends the first with its closing record
    second = "a.part000002.arrows"
    assert synced == ["a.arrows", "a.arrows", second, "a.arrows", second]
    out.close()
    assert synced[5:] == [second]
