# SPDX-License-Identifier: GPL-2.0-only
"""Output that cannot be written: full disks, closed pipes and closed streams."""

import subprocess
import sys
from pathlib import Path

import pytest

from tui.streams import say

EMIT = (
    "import sys\n"
    "from tui.streams import open_streams, say, write\n"
    "from tracers.errors import VmemscopeError\n"
    "open_streams()\n"
    "try:\n"
    "    write(lambda: sys.stdout.write('x' * 200_000))\n"
    "except VmemscopeError as error:\n"
    "    say(f'error: {error}')\n"
    "    sys.exit(2)\n"
    "sys.exit(7)\n"
)


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = f'"{sys.executable}" -c "$EMIT" {line}'
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={"EMIT": EMIT, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )


def test_a_reader_that_has_gone_away_changes_nothing() -> None:
    done = shell('| head -c 1; echo " ${PIPESTATUS[0]}"')
    assert (done.stdout, done.stderr) == ("x 7\n", "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (">/dev/full", "error: stdout: No space left on device\n"),
        (">&-", "error: stdout is closed"),
    ],
)
def test_a_stdout_that_takes_nothing_is_an_error(line: str, message: str) -> None:
    done = shell(line)
    assert done.returncode == 2
    assert done.stderr.startswith(message)


@pytest.mark.parametrize("line", [">/dev/full 2>/dev/full", ">/dev/full 2>&-"])
def test_nobody_listening_on_stderr_is_no_error(line: str) -> None:
    assert shell(line).returncode == 2


def test_a_message_stays_one_line_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31m\nb\u202e\u05d0\udcff: 3 events")
    assert capsys.readouterr().err == "a\\x1b[31m\\x0ab\\u202e\\u05d0\\udcff: 3 events\n"
