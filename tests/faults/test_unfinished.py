# SPDX-License-Identifier: GPL-2.0-only
"""An unfinished source is never clean: an import that is stopped, a source that breaks."""

import fcntl
import os
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from recordings.capture.importing import import_log
from recordings.format.header import Header
from recordings.format.writer import Writer
from tests.conftest import TESTS
from tests.recordings.made import PATIENCE_S, rows, wait_for
from tests.tui.commands.test_main import COMMAND, one_line, vmemscope
from tests.tui.processes import ROOT
from tracers.batch import Batch
from tracers.logs.input_files import Input
from tracers.logs.kprobe_text.text_log import LogError

LAB = TESTS / "captures" / "6.12.117-vmemlab-48bit"
TRACE = LAB / "in-range.ftrace.txt"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def fed(fifo: Path) -> int:
    """Feed the in-range capture of 6.12; return the open end: more may follow, say hits."""
    feed = os.open(fifo, os.O_WRONLY)
    os.write(feed, TRACE.read_bytes())
    wait_for(lambda: fcntl.ioctl(feed, termios.FIONREAD, bytes(4)) == bytes(4))
    time.sleep(0.3)  # for what it has read to be taken in
    return feed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_import_that_is_stopped_leaves_nothing(number, fifo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    args = [*COMMAND, "import", fifo, "-o", folder / "a.arrows", "--machine", LAB]
    with subprocess.Popen(args, cwd=ROOT, stderr=subprocess.PIPE) as process:
        feed = fed(fifo)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) in {128 + number, -number}
        assert b"Traceback" not in process.stderr.read()
    os.close(feed)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stream_that_is_stopped_reads_as_unfinished(number, fifo: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.arrows"
    args = [*COMMAND, "import", fifo, "-o", "-", "--machine", LAB]
    with path.open("wb") as out, subprocess.Popen(args, cwd=ROOT, stdout=out) as process:
        feed = fed(fifo)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) in {128 + number, -number}
    os.close(feed)
    done = vmemscope("check", path)
    assert done.returncode in {2, 3}  # 2: it was killed before there was anything
    assert "CLEAN" not in done.stdout
    if number is signal.SIGINT:
        assert "INCONCLUSIVE, The recording is unfinished" in done.stdout
        assert "ended early: ended by Stopped: SIGINT" in vmemscope("report", path).stderr


def test_a_stream_that_comes_to_its_end_is_the_file(tmp_path: Path) -> None:
    whole = tmp_path / "a.arrows"
    assert vmemscope("import", TRACE, "-o", whole, "--machine", LAB).returncode == 0
    done = subprocess.run(
        [*COMMAND, "import", TRACE, "-o", "-", "--machine", LAB], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, whole.read_bytes())
    assert done.stderr.startswith(b"stdout: ")


def test_a_source_that_breaks_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read1 = Input.read1
    given = 0

    def broken(self: Input, size: int) -> bytes:
        nonlocal given
        if given > 4096:
            raise OSError(5, "Input/output error")
        given += len(data := read1(self, min(size, 4096)))
        return data

    monkeypatch.setattr(Input, "read1", broken)
    monkeypatch.setattr(Input, "read", broken)
    with pytest.raises(LogError, match=f"{TRACE}: Input/output error"):
        import_log(TRACE, tmp_path / "a.arrows", machine_dir=LAB)
    assert given > 4096
    assert list(tmp_path.iterdir()) == []


def test_a_line_beyond_the_readers_limit_is_counted(tmp_path: Path) -> None:
    log, out = tmp_path / "long_line.txt", tmp_path / "a.arrows"
    log.write_bytes(TRACE.read_bytes() + b"x" * (2 << 20) + b"\n" + TRACE.read_bytes())
    assert vmemscope("import", log, "-o", out, "--machine", LAB).returncode == 3
    assert "1 unreadable lines" in vmemscope("check", out).stdout


@pytest.mark.parametrize("name", ["ftrace", "trace-cmd", "perf", "bpftrace", "dmesg"])
def test_what_is_not_the_format_that_was_named_leaves_nothing(name: str, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "a.arrows"
    log.write_bytes(b"x" * 70_000)
    done = vmemscope("import", log, "--format", name, "-o", out)
    assert (done.returncode == 2) == (not out.exists())
    if out.exists():  # a kernel log may hold anything: nothing of ours is in this one
        assert vmemscope("check", out).returncode == 3


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "a.arrows"
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 4; "$@"', "-", *COMMAND, "import", TRACE, "-o", out],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert one_line(done) == f"vmemscope: {out}: cannot be written: File too large"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "reason", ["ended by KeyboardInterrupt", "the source ended", "", "SIGKILL"]
)
def test_an_end_that_nobody_asked_for_is_never_clean(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.arrows"
    with Writer(path, Header()) as writer:
        writer.write(Batch(rows(3)))
        writer.close(reason)
    done = vmemscope("check", path)
    assert done.returncode == 3
    assert "The recording is unfinished" in done.stdout
