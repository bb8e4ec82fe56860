# SPDX-License-Identifier: GPL-2.0-only
"""The writer on a disk that is full and in a process that is killed, both real."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from recordings.format.header import Header, RecordingError
from recordings.format.reader import open_recording
from recordings.format.writer import Writer
from tests.recordings.made import PATIENCE_S, record, rows, seen, wait_for
from tracers.batch import Batch, Losses

ROOT = Path(__file__).resolve().parents[3]


def child(body: str, *arguments: object) -> subprocess.Popen:
    code = f"""
import os, resource, signal, sys, time
from recordings.format.header import Header, RecordingError
from recordings.format.writer import Writer
from tests.recordings.made import rows
from tracers.batch import Batch, Losses
{body}
"""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_full_device_is_one_line():
    with (
        Path("/dev/full").open("wb", buffering=0) as out,
        pytest.raises(RecordingError, match="No space left on device"),
    ):
        Writer(out, Header())


def test_no_room_for_the_header_leaves_no_file(tmp_path):
    path = tmp_path / "a.arrows"
    done = child(
        """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    Writer(sys.argv[1], Header())
except RecordingError as error:
    print(error)
""",
        path,
    ).communicate(timeout=PATIENCE_S)
    assert done == (f"{path}: File too large\n", "")
    assert not path.exists()


# The limit leaves room for the closing record, or, written to the last byte, does not.
@pytest.mark.parametrize("slack", [4000, 0])
def test_full_disk_keeps_whole_batches_and_counts_the_rest(tmp_path, slack):
    path = tmp_path / "a.arrows"
    sizes = record(tmp_path / "model", [Batch(rows(200, 200 * i)) for i in range(5)])
    out, err = child(
        """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
writer = Writer(sys.argv[1], Header())
told = []
for number in range(30):
    try:
        writer.write(Batch(rows(200, 200 * number), Losses(lost=1)))
        writer.flush()
    except RecordingError as error:
        told.append(str(error))
writer.close()  # has been told
print(writer.rows, writer.unwritten, len(told), told[0], told[-1], sep="\\n")
""",
        path,
        sizes[3] + slack,
    ).communicate(timeout=PATIENCE_S)
    assert err == ""
    written, unwritten, refused, first, last = out.splitlines()
    batches = int(written) // 200
    assert batches >= 3
    assert int(written) + int(unwritten) == 200 * 30
    # From the failing one on, every write or its flush says so.
    assert int(refused) >= 30 - batches
    assert "File too large" in first
    assert last.endswith(f"{unwritten} events are missing")
    with open_recording(path) as recording:
        found = pa.Table.from_batches([b.events for b in recording.batches()])["ts_ns"].to_pylist()
        assert found == list(range(1000, 1000 + int(written)))
        assert recording.problems
        if recording.ended is None:
            assert recording.losses.torn == 1
        else:
            assert recording.ended == "File too large"
            # What could not be written, and what the source said was lost around it.
            assert recording.losses == Losses(lost=int(unwritten) + 30 - batches, without_end=1)
    assert (recording.ended is not None) == bool(slack)


def test_a_failure_at_the_end_is_told_by_close(tmp_path):
    path = tmp_path / "a.arrows"
    out, err = child(
        """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = Writer(sys.argv[1], Header())
size = os.stat(sys.argv[1]).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
writer.write(Batch(rows(23)))
try:
    writer.close()
except RecordingError as error:
    print(error)
""",
        path,
    ).communicate(timeout=PATIENCE_S)
    assert (out, err) == (
        f"{path}: File too large: it ends at its last whole batch, 23 events are missing\n",
        "",
    )
    assert seen(path).losses.torn == 1


def test_killed_writer_leaves_what_was_flushed(tmp_path):
    path = tmp_path / "a.arrows"
    process = child(
        """
writer = Writer(sys.argv[1], Header())
writer.write(Batch(rows(23)))
writer.flush()
print("written", flush=True)
time.sleep(3600)
""",
        path,
    )
    try:
        assert process.stdout.readline() == "written\n"
    finally:
        process.kill()
        process.communicate()
    with open_recording(path) as recording:
        assert recording.read(0).equals(rows(23))
        assert recording.losses == Losses(torn=1, without_end=1)
        assert "killed" in recording.problems[0]


def test_killed_in_the_middle_leaves_a_prefix(tmp_path):
    for number in range(5):
        path = tmp_path / f"{number}.arrows"
        process = child(
            """
writer = Writer(sys.argv[1], Header(), max_rows=64)
batch = [rows(23, 23 * i) for i in range(400)]
print("go", flush=True)
for piece in batch:
    writer.write(Batch(piece))
time.sleep(3600)
""",
            path,
        )
        try:
            assert process.stdout.readline() == "go\n"
            wait_for(lambda path=path, n=number: seen(path).rows > 500 * n)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        with open_recording(path) as recording:
            found = [t for b in recording.batches() for t in b.events["ts_ns"].to_pylist()]
            assert found == list(range(1000, 1000 + recording.rows))
            assert recording.losses.torn == 1


def test_fsync_covers_every_flush_and_the_name(tmp_path, monkeypatch):
    synced = []
    for name in ("fsync", "fdatasync"):
        call = getattr(os, name)

        def spy(fd: int, name: str = name, call=call) -> None:
            synced.append((name, str(Path(f"/proc/self/fd/{fd}").readlink())))
            call(fd)

        monkeypatch.setattr(os, name, spy)
    path = tmp_path / "a.arrows"
    with Writer(path, Header(), fsync=True) as writer:
        assert synced == [("fdatasync", str(path)), ("fsync", str(tmp_path))]
        writer.write(Batch(rows(2)))
        writer.flush()
        assert synced[2:] == [("fdatasync", str(path))]
    assert synced[3:] == [("fdatasync", str(path))]
