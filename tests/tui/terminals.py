# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command on a pseudo-terminal: a real one, with a size, settings, signals and a hangup."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from typing import Self

from tests.recordings.made import PATIENCE_S, wait_for
from tests.tui.processes import ROOT

Size = tuple[int, int]
#: Ours, but for the size of our own terminal, which pytest-xdist hands to what it runs.
ENVIRONMENT = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}


class Terminal:
    """``command`` on a terminal of its own, 80x24 as a rule; ``output`` has all it wrote there.

    ``leads``: the terminal is that of its session, as for what a shell starts; else the kernel
    sends no SIGHUP, as to what ``make`` starts. ``ignored`` is a signal ignored from outside,
    ``environment`` what is other than here.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        size: Size = (80, 24),
        leads: bool = True,
        ignored: signal.Signals | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.main, side = pty.openpty()
        self.name = os.ttyname(side)
        self.resize(size)
        self._before = termios.tcgetattr(self.main)
        self.output = bytearray()

        def prepare() -> None:
            if leads:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignored:
                signal.signal(ignored, signal.SIG_IGN)

        self.process = subprocess.Popen(
            command,
            stdin=side,
            stdout=side,
            stderr=side,
            cwd=ROOT,
            start_new_session=True,
            env=ENVIRONMENT | {"TERM": "xterm-256color"} | (environment or {}),
            preexec_fn=prepare,  # noqa: PLW1509
        )
        os.close(side)
        self._stop_reading = threading.Event()
        self.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.ignore_output()
        if self.main >= 0:
            os.close(self.main)

    def read(self) -> None:
        """Read what is written, from now on."""
        self._stop_reading.clear()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ignore_output(self) -> None:
        """Read no more: soon the terminal takes no output."""
        self._stop_reading.set()
        self._reader.join()

    def _read(self) -> None:
        while not self._stop_reading.is_set():
            if select.select([self.main], [], [], 0.02)[0]:
                try:
                    self.output += os.read(self.main, 1 << 16)
                except OSError:  # EIO: nobody has the other side open any more
                    return

    def until(self, text: bytes) -> None:
        """Wait until ``text`` was written."""
        wait_for(lambda: text in self.output or not self._reader.is_alive())
        assert text in self.output, self.output[-2000:]

    def until_still(self, seconds: float = 0.5) -> None:
        """Wait until nothing was written for some time."""
        deadline = time.monotonic() + PATIENCE_S
        before = -1
        while len(self.output) != before:
            assert time.monotonic() < deadline, "it draws without end"
            before = len(self.output)
            time.sleep(seconds)

    def send(self, data: bytes) -> None:
        """Type ``data``; the terminal takes it only as fast as it is read."""
        deadline = time.monotonic() + PATIENCE_S
        os.set_blocking(self.main, False)
        while data and self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not read what is typed"
            if select.select([], [self.main], [], 0.1)[1]:
                data = data[os.write(self.main, data[:4096]) :]

    def resize(self, size: Size) -> None:
        """Change the size; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def hang_up(self) -> None:
        """Close the terminal, as its window is closed."""
        self.ignore_output()
        os.close(self.main)
        self.main = -1

    def ended(self) -> int:
        """Wait for the end of the process, and of its output; return the exit code."""
        code = self.process.wait(PATIENCE_S)
        if self.main >= 0 and not self._stop_reading.is_set():
            self._reader.join(PATIENCE_S)
        return code

    def as_it_was(self) -> bool:
        """Whether the settings are those from before the process."""
        return termios.tcgetattr(self.main) == self._before
