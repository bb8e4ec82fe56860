# SPDX-License-Identifier: GPL-2.0-only
"""``record`` as a process: its file, its messages and its exit code."""

import json
import os
import pty
import resource
import subprocess
import sys

import pytest

from recordings.format.reader import open_recording
from tests.tui.processes import ENDLESS, ROOT, command, early, record, until, whole


# The verdicts are the kernels' own: kernel-facts and the captures' ftrace text.
@pytest.mark.parametrize(
    ("sample", "code", "word"),
    [("storm", 1, "OUT OF RANGE: 256 of 256"), ("in-range-6.12", 0, "CLEAN: all 32 calls")],
)
def test_a_command_is_recorded_and_the_exit_code_is_the_verdict(tmp_path, sample, code, word):
    path = tmp_path / "a.arrows"
    script = f"{until(tmp_path)}; echo data; echo words >&2; exit 5"
    done = record(
        {"sample": sample, "done": f"{tmp_path}/done"}, "-o", path, "--", "sh", "-c", script
    )
    assert done.returncode == code
    assert done.stdout == "data\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "probes on (engine feed): all: kprobe" or "sparse" in lines[0]
    assert lines[1:3] == ["words", "sh ended with status 5"]
    recording = whole(path)
    assert lines[3].startswith(f"{path}: {recording.rows:,} events, ")
    assert lines[4].startswith(word)
    assert lines[-1] == f"{recording.rows} events were sent by the feed"
    assert recording.ended == "command ended"
    assert recording.closing_notes == (lines[-1],)
    report = subprocess.run(
        [sys.executable, "-m", "vmemscope", "report", path],
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert report.returncode == code


def test_a_stream_is_data_only(tmp_path):
    path = tmp_path / "a.arrows"
    with path.open("wb") as out:
        done = subprocess.run(
            command(
                {"done": f"{tmp_path}/done"},
                *("record", "-o", "-", "--", "sh", "-c", f"{until(tmp_path)}; echo data"),
            ),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[1] == "data"
    assert whole(path).rows == 1544


def test_a_stream_refuses_a_terminal_and_a_closed_stdout():
    main, side = pty.openpty()
    done = subprocess.run(
        command({}, "record", "-o", "-"),
        stdout=side,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
    )
    os.close(main)
    os.close(side)
    assert done.returncode == 2
    assert "not for a terminal" in done.stderr
    line = " ".join(f"'{part}'" for part in command({}, "record", "-o", "-"))
    done = subprocess.run(
        ["sh", "-c", f"{line} >&-"], stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "stdout is closed" in done.stderr


def test_nothing_seen_is_inconclusive(tmp_path):
    done = record({"held": 0}, "-o", tmp_path / "a.arrows", "--duration", "0.1")
    assert done.returncode == 3
    assert "INCONCLUSIVE: No populate or free call is in this recording." in done.stderr


def test_files_rotate_and_the_verdict_covers_those_deleted(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    path = folder / "a.arrows"
    spec = {"rounds": 60, "piece": 1544, "rate": 30_000, "done": f"{tmp_path}/done"}
    options = ("--rotate-size", "64k", "--keep", "2")
    done = record(spec, "-o", path, *options, "--", "sh", "-c", until(tmp_path))
    assert done.returncode == 1
    kept = sorted(folder.iterdir())
    assert len(kept) == 2
    assert not path.exists()
    lines = done.stderr.splitlines()
    deleted = int(lines[2].split(" events")[0].rpartition(" ")[2].replace(",", ""))
    assert "older files deleted" in lines[2]
    assert deleted + sum(whole(path).rows for path in kept) == 60 * 1544
    assert [line.partition(":")[0] for line in lines[3:5]] == [str(path) for path in kept]
    assert lines[5].startswith(f"OUT OF RANGE: {60 * 256:,} of {60 * 256:,} calls")


def test_a_full_disk_is_counted_and_gives_two(tmp_path):
    path = tmp_path / "a.arrows"
    done = record(
        ENDLESS,
        "-o",
        path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[-1].startswith(f"vmemscope: {path}: File too large")
    assert lines[-2].endswith("events could not be written")
    number = int(lines[-2].partition(" ")[0].replace(",", ""))
    assert number > 0
    with open_recording(path) as recording:
        if recording.ended is not None:  # there was room for the closing record
            assert recording.losses.lost == number
        assert recording.rows > 0


@pytest.mark.parametrize("fails", ["poll", "stop", "closing"])
def test_an_engine_that_breaks_leaves_a_whole_file_and_gives_two(tmp_path, fails):
    path = tmp_path / "a.arrows"
    done = record({"fails": fails}, "-o", path, "--duration", "0.2")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "vmemscope: OSError: [Errno 5] Input/output error"
    assert "Traceback" not in done.stderr
    assert early(path) == "OSError: [Errno 5] Input/output error"


def test_a_capture_that_cannot_start_leaves_no_file(tmp_path):
    path = tmp_path / "a.arrows"
    done = record({"fails": "start"}, "-o", path)
    assert done.returncode == 2
    assert done.stderr == "vmemscope: the capture cannot start: Input/output error\n"
    assert not path.exists()


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "a.arrows"
    path.write_bytes(b"precious")
    done = record({}, "-o", path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "exists already" in done.stderr
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("-o", "-", "--rotate-size", "1M"), "cannot be rotated"),
        (("-o", "x", "--keep", "3"), "--keep needs"),
        (("-o", "x", "--rotate-size", "1M", "--keep", "1"), "--keep"),
        (("-o", "x", "--rotate-size", "1"), "less than 64K"),
        (("-o", "x", "--rotate-size", "1 furlong"), "no size"),
        (("-o", "x", "--rotate-time", "soon"), "no time"),
        (("-o", "x", "--duration", "0"), "no time"),
        (("-o", "x", "--comm", "x" * 16), "1 to 15 bytes"),
        (("-o", "x", "--comm", ""), "1 to 15 bytes"),
        (("-o", "x", "--", "no-such-command-here"), "no such command"),
        ((), "--output"),
    ],
)
def test_usage_errors_are_one_line_and_make_nothing(tmp_path, args, message):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command({}, "record", *args),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_loads_neither_textual_nor_pandas(tmp_path):
    code = (
        "import sys, json, atexit\n"
        "names = lambda: {name.partition('.')[0] for name in sys.modules}\n"
        f"out = open({str(tmp_path / 'names')!r}, 'w')\n"
        "atexit.register(lambda: (json.dump(sorted(names()), out), out.flush()))\n"
        "from tests.tui.feed import install\n"
        "install({})\n"
        f"sys.argv = ['vmemscope', 'record', '-o', {str(tmp_path / 'a.arrows')!r}, '--', 'true']\n"
        "from tui.program import main\nmain()\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=ROOT)
    loaded = set(json.loads((tmp_path / "names").read_text()))
    assert {"pyarrow", "tracers", "recordings", "tui"} <= loaded
    assert not {"pandas", "textual"} & loaded
