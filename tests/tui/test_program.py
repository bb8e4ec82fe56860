# SPDX-License-Identifier: GPL-2.0-only
"""Whatever ends the program, its exit code is a documented one: crashes, streams, signals."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.commands.test_main import COMMAND, one_line

ROOT = Path(__file__).resolve().parents[2]


def running(body: str, *, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program with a command ``boom`` that does ``body``."""
    code = (
        "import os, signal, sys, time\n"
        f"{before}\n"
        "from tui.commands.main import cli\n"
        "@cli.command()\n"
        "def boom():\n"
        f"    {body}\n"
        "sys.argv = ['vmemscope', 'boom']\n"
        "from tui.program import main\nmain()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise MemoryError", "MemoryError"),
        ("raise OSError(5, 'Input/output error')", "OSError: [Errno 5] Input/output error"),
        ("raise BrokenPipeError(32, 'Broken pipe')", "BrokenPipeError: [Errno 32] Broken pipe"),
        ("raise ValueError('\\x1b[31m\\n' + 'x' * 9999)", "ValueError: \\x1b[31m\\nxxx"),
        ("raise EOFError", ""),
        ("boom.callback()", "RecursionError: maximum recursion depth"),
        ("raise BaseException('odd')", "BaseException: odd"),
    ],
)
def test_a_crash_is_one_line_and_never_a_verdict(body: str, text: str) -> None:
    done = running(body)
    assert done.returncode == 2
    line = done.stderr.strip()
    assert len(line.splitlines()) == 1
    assert len(line) < 700
    assert line.startswith(f"vmemscope: unexpected error, please report it: {text}")
    assert line.endswith("(VMEMSCOPE_TRACEBACK=1 shows where)")


def test_a_traceback_is_there_for_who_asks() -> None:
    done = running("1 / 0", VMEMSCOPE_TRACEBACK="1")
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback")
    assert "unexpected error" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("body", "code"),
    [("sys.exit('text')", 2), ("sys.exit()", 0), ("sys.exit(3)", 3), ("return 1.5", 0)],
)
def test_only_a_number_is_a_commands_exit_code(body: str, code: int) -> None:
    assert running(body).returncode == code


def test_a_package_that_is_broken_is_no_verdict_either() -> None:
    code = "import sys; sys.modules['click'] = None\nfrom tui.program import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "unexpected error" in one_line(done)


CLEAN = "sample:in-range-6.12"
WRITING = (
    ("check", CLEAN),
    ("report", CLEAN),
    ("report", CLEAN, "--json"),
    ("report", CLEAN, "--format", "lkml"),
    ("compare", CLEAN, CLEAN),
    ("export", CLEAN, "--to", "csv", "-o", "-"),
    ("export", CLEAN, "--to", "parquet", "-o", "-"),
    ("window", "--va-bits", "48", "--page-size", "4K", "--struct-page", "64"),
    ("doctor",),
    ("--help",),
    ("--version",),
    ("check", "--help"),
    ("import", "--bpftrace-script"),
)


@pytest.mark.parametrize("args", WRITING, ids=" ".join)
@pytest.mark.parametrize("stdout", [">&-", ">/dev/full", "</dev/null 1<&0"])
def test_a_stdout_that_takes_nothing_is_no_verdict(args: tuple[str, ...], stdout: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"$@" {stdout}', "-", *COMMAND, *args],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith("vmemscope: stdout")


@pytest.mark.parametrize("args", WRITING[:-3], ids=" ".join)
def test_a_reader_that_is_gone_changes_no_code(args: tuple[str, ...]) -> None:
    listening = subprocess.run([*COMMAND, *args], capture_output=True, check=False, cwd=ROOT)
    gone = subprocess.run(
        ["bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "-", *COMMAND, *args],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (gone.returncode, gone.stderr) == (listening.returncode, "")


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-", ">/dev/full 2>/dev/full"])
def test_closed_streams_never_become_a_file(closed: str, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "-", *COMMAND, "export", CLEAN, "--to", "csv", "-o", out],
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0
    assert len(out.read_text().splitlines()) == 105


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_unwinds(number: signal.Signals) -> None:
    # A handler of another name for each: what the with statement and finally do must be done.
    body = (
        "exec(\"try:\\n os.kill(os.getpid(), %d)\\n time.sleep(9)\\nfinally:\\n print('undone')\")"
    )
    done = running(body % number)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "undone\n", "")


def test_a_signal_that_comes_in_a_destructor_ends_it_too() -> None:
    body = "type('T', (), {'__del__': lambda self: os.kill(os.getpid(), 15)})(); time.sleep(20)"
    done = running(body)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")


def test_an_ignored_signal_stays_ignored() -> None:
    before = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    assert running("os.kill(os.getpid(), 1)", before=before).returncode == 0


def test_without_a_command_the_help_is_shown_as_it_is() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: vmemscope [OPTIONS] COMMAND [ARGS]...\n\n")
    assert "\n  check " in done.stderr


def test_a_signal_is_one_whatever_python_makes_of_it() -> None:
    """An exception out of __set_name__ becomes a RuntimeError, before Python 3.12."""
    kill = "'__set_name__': lambda *_: (os.kill(os.getpid(), 15), time.sleep(9))"
    done = running(f"type('Made', (), {{'name': type('Named', (), {{{kill}}})()}})")
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")
