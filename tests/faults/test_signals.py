# SPDX-License-Identifier: GPL-2.0-only
"""Signals at random moments of every command that works for a while: 250 runs.

Whatever the moment: a documented exit code, no file that reads better than it is, the terminal as
it was, no child left, no temporary file left.
"""

import atexit
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from recordings.api import open_recording_or_sample
from recordings.ledger.snapshot import Verdict
from tests.conftest import TESTS
from tests.recordings.made import PATIENCE_S
from tests.tui.commands.test_main import COMMAND
from tests.tui.processes import ENDLESS, ROOT, command
from tracers.logs import line_blocks

#: A SIGINT before ``main`` that Python's own import drops: it came as a lock's last user went.
SWALLOWED = re.compile(
    r"Exception ignored in: <function _get_module_lock\..*\nTraceback .*\n"
    r'(?:  File "<frozen importlib\._bootstrap>", .*\n)+KeyboardInterrupt: *\n'
)
LAB = TESTS / "captures" / "6.1.192-vmemlab-39bit"
RUNS = 10  # a command and signal: 250 in all
POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNALS = (*POLITE, signal.SIGKILL)


@dataclass
class Run:
    """One run in folders of its own, in a session of its own."""

    folder: Path
    terminal: bool = False
    code: int = 0
    shown: bytes = b""
    _opened: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("out", "tmp"):
            (self.folder / name).mkdir(parents=True)
        self._errors = self.folder / "stderr"

    def start(self, args: list[str | Path]) -> subprocess.Popen[bytes]:
        streams = dict.fromkeys(("stdin", "stdout"), subprocess.DEVNULL)
        if self.terminal:
            self._opened = list(pty.openpty())
            termios.tcsetwinsize(self._opened[1], (40, 120))
            self.settings = termios.tcgetattr(self._opened[1])
            streams = dict.fromkeys(streams, self._opened[1])
        environment = {"TMPDIR": str(self.folder / "tmp"), "TERM": "xterm-256color"}
        with self._errors.open("wb") as errors:
            return subprocess.Popen(
                list(map(str, args)),
                stderr=self._opened[1] if self.terminal else errors,
                cwd=ROOT,
                env=os.environ | environment,
                start_new_session=True,
                **streams,
            )

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for its end; what it draws meanwhile is read, as a terminal does."""
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None:
            self._read()
            assert time.monotonic() < deadline, "never ended"
            time.sleep(0.002)
        self._read()
        self.code = process.returncode
        self.errors = errors = self._errors.read_text()
        if "Fatal Python error: init" in errors:
            assert self.code == 1
            self.code = -signal.SIGINT  # Python had not come to any code of ours
        elif self.code != -signal.SIGINT:  # nor to ``main`` here
            assert "Traceback" not in SWALLOWED.sub("", errors)

    def _read(self) -> None:
        if self.terminal:
            os.set_blocking(self._opened[0], False)
            with suppress(BlockingIOError):
                while data := os.read(self._opened[0], 1 << 16):
                    self.shown += data

    def left(self) -> list[str]:
        """Return the names of the files it left, temporary ones too."""
        return sorted(path.name for path in self.folder.glob("*/*"))

    def close(self) -> None:
        for each in self._opened:
            os.close(each)


def session_of(pid: int) -> list[str]:
    """Return the names of the processes that a session still has, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            state, _, _, session, *_ = rest.split()
            if int(session) == pid and state != "Z":
                found.append(name)
    return found


Arguments = Callable[[Path], list[str | Path]]


@cache
def long_log() -> Path:
    """Return a log that is read by several threads: a capture, again and again."""
    lines = (LAB / "hole.ftrace.txt").read_bytes()
    folder = Path(tempfile.mkdtemp(prefix="long-log-"))
    atexit.register(shutil.rmtree, folder)
    path = folder / "ftrace.txt"
    path.write_bytes(lines * (6 * line_blocks.BLOCK // len(lines)))
    return path


COMMANDS: dict[str, Arguments] = {
    "import in threads": lambda out: [
        *COMMAND, "import", long_log(), "--machine", LAB, "-o", out
    ],
    "import": lambda out: [
        *COMMAND, "import", LAB / "ring.ftrace.txt.xz", "--machine", LAB, "-o", out
    ],
    "import trace.dat": lambda out: [
        *COMMAND, "import", LAB / "trace-cmd-hole.dat", "--machine", LAB, "-o", out
    ],
    "export": lambda out: [*COMMAND, "export", "sample:storm", "--to", "perfetto", "-o", out],
    "triage": lambda out: [*COMMAND, "triage", LAB / "wrap.console.txt", "-o", out],
    "compare": lambda _: [*COMMAND, "compare", "sample:storm", "sample:storm-once"],
}  # fmt: skip


def moments(name: str, number: int, length_s: float) -> list[float]:
    """Return random moments of a run of that length, the same every time."""
    rng = random.Random(f"{name} {number}")  # noqa: S311 (no secret)
    return [rng.uniform(0, length_s) for _ in range(RUNS)]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_is_whole_or_not_there(name: str, number: signal.Signals, tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole")
    began = time.monotonic()
    whole.end(whole.start(COMMANDS[name](whole.folder / "out" / "file")))
    expected = {path.name: path.read_bytes() for path in (whole.folder / "out").iterdir()}
    for at, moment in enumerate(moments(name, number, time.monotonic() - began)):
        run = Run(tmp_path / str(at))
        process = run.start(COMMANDS[name](run.folder / "out" / "file"))
        time.sleep(moment)
        process.send_signal(number)
        run.end(process)
        assert run.code in {whole.code, 128 + number, -number}, run.errors
        # A signal that comes after the file has got its name ends the program all the same.
        found = {path.name: path.read_bytes() for path in (run.folder / "out").iterdir()}
        assert found in ({}, expected)
        if run.code == whole.code:
            assert found == expected
        left = run.left()
        if number is signal.SIGKILL:  # the next triage removes what a killed one left
            left = [name for name in left if not name.startswith("vmemscope-triage-")]
        assert left == sorted(found)
        wait_until_gone(process.pid)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while left := session_of(pid):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_capture_never_reads_better_than_it_is(number: signal.Signals, tmp_path: Path) -> None:
    spec = ENDLESS | {"sample": "in-range-6.12"}
    for at, moment in enumerate(moments("record", number, 2.0)):
        run = Run(tmp_path / str(at))
        path = run.folder / "out" / "a.arrows"
        process = run.start(command(spec, "record", "-o", path, "--duration", "60s"))
        time.sleep(moment)
        before = on_disk(path)
        process.send_signal(number)
        run.end(process)
        wait_until_gone(process.pid)
        assert set(run.left()) <= {"a.arrows"}
        if not path.exists():  # it had not begun
            assert run.code in {2, 128 + number, -number}
            continue
        if number is signal.SIGKILL and not path.stat().st_size:  # between making and writing it
            continue
        with open_recording_or_sample(path) as recording:
            assert recording.rows >= before
            assert recording.verdict is Verdict.INCONCLUSIVE
            assert recording.losses.without_end == 1
            if number is not signal.SIGKILL:
                assert recording.ended == f"{number.name} before its time was over"
        assert run.code in {3, -number}


def on_disk(path: Path) -> int:
    """Return how many events a reader finds now."""
    if not path.exists() or not path.stat().st_size:
        return 0
    with open_recording_or_sample(path) as recording:
        return recording.rows
