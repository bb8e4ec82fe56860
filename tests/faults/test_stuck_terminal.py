# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard on a terminal that takes no output: nothing waits for it, and it can be left.

Nobody reads what is drawn (a frozen window, a network that has gone), or the output is stopped, as
``tcflow`` and a serial line do it.
"""

import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.test_terminal import SHOWN, assert_given_back, live, replay
from tests.recordings.made import wait_for
from tests.tui.processes import whole
from tests.tui.terminals import Terminal

#: What it may take to leave: what the dashboard waits for the terminal, and a busy machine.
GONE_S = 4.0


def unread(terminal: Terminal) -> None:
    terminal.ignore_output()


def stopped(terminal: Terminal) -> None:
    flow(terminal, termios.TCOOFF)


def flow(terminal: Terminal, action: int) -> None:
    side = os.open(terminal.name, os.O_RDWR | os.O_NOCTTY)
    termios.tcflow(side, action)
    os.close(side)


def fill(terminal: Terminal) -> None:
    """Have it draw far more than the terminal and any queue take: a whole screen a key."""
    for _ in range(10):
        terminal.send(b"t" * 20)
        time.sleep(0.3)


def until_idle(terminal: Terminal) -> None:
    """Wait until it has handled all keys: paused, it then uses no processor."""

    def used() -> int:
        fields = Path(f"/proc/{terminal.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # user and system

    before = -1
    while (now := used()) > before + 1:
        before = now
        time.sleep(1.5)  # more than it waits for the terminal


def leave(terminal: Terminal, how: str | signal.Signals) -> None:
    if isinstance(how, signal.Signals):
        terminal.process.send_signal(how)
    else:
        terminal.send(how.encode())
    try:
        terminal.process.wait(GONE_S)
    except subprocess.TimeoutExpired:
        pytest.fail("it waits for the terminal")


STUCK = pytest.mark.parametrize("stuck", [unread, stopped])
LEAVE = pytest.mark.parametrize(
    "how", ["q", "\x03", signal.SIGTERM, signal.SIGQUIT], ids=["q", "ctrl+c", "SIGTERM", "SIGQUIT"]
)


@STUCK
@LEAVE
def test_replay_ends(stuck: Callable[[Terminal], None], how: str | signal.Signals) -> None:
    with replay() as terminal:
        stuck(terminal)
        fill(terminal)
        leave(terminal, how)
        assert terminal.process.returncode == (128 + how if isinstance(how, signal.Signals) else 0)
        assert terminal.as_it_was()


@STUCK
@LEAVE
def test_a_live_capture_ends_with_a_whole_file(
    tmp_path: Path, stuck: Callable[[Terminal], None], how: str | signal.Signals
) -> None:
    path = tmp_path / "a.arrows"
    with live("-o", path) as terminal:
        stuck(terminal)
        fill(terminal)
        recorded = path.stat().st_size
        wait_for(lambda: path.stat().st_size > recorded)  # it records all the same
        leave(terminal, how)
        assert terminal.process.returncode == 1  # the verdict's
        assert terminal.as_it_was()
    assert whole(path).ended == (how.name if isinstance(how, signal.Signals) else "closed")


@STUCK
def test_a_terminal_that_is_stuck_from_the_start_can_be_left(
    stuck: Callable[[Terminal], None],
) -> None:
    with replay() as terminal:
        stuck(terminal)  # and nothing waits to be drawn
        leave(terminal, "q")
        assert terminal.process.returncode == 0
        assert terminal.as_it_was()


@STUCK
def test_all_is_drawn_again_when_it_takes_output(stuck: Callable[[Terminal], None]) -> None:
    with replay() as terminal:
        stuck(terminal)
        fill(terminal)
        until_idle(terminal)
        terminal.send(b"?")
        until_idle(terminal)
        flow(terminal, termios.TCOON)
        terminal.ignore_output()
        terminal.read()
        terminal.until(b"pause and go on")
        drawn = len(terminal.output)
        terminal.send(b"q")  # of the help
        terminal.until_still()
        assert SHOWN in terminal.output[drawn:]
        terminal.send(b"q")
        assert terminal.ended() == 0
        assert_given_back(terminal)
