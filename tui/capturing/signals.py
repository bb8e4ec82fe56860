# SPDX-License-Identifier: GPL-2.0-only
"""Signals that ask a capture to stop, taken as events and never in the middle of anything.

Promises: from entering to leaving, none of them ends the process; each can be waited for. What
was ignored from outside (``nohup``, ``cmd &`` in a script) stays ignored.
"""

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Final, Self

STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """A context: SIGTERM, SIGINT and SIGHUP are noted, SIGCHLD wakes ``wait``.

    To be entered by the main thread.
    """

    def __init__(self) -> None:
        self._read = self._write = -1
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (*STOPPING, signal.SIGCHLD):
            if signal.getsignal(number) is signal.SIG_IGN and number is not signal.SIGCHLD:
                continue
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """Return what becomes readable when ``take`` has something."""
        return self._read

    def take(self) -> signal.Signals | None:
        """Return the next signal that asks to stop, ``None`` if there is none now."""
        with contextlib.suppress(BlockingIOError):
            while noted := os.read(self._read, 1):
                if noted[0] in STOPPING:
                    return signal.Signals(noted[0])
        return None

    def wait(self, timeout_s: float) -> signal.Signals | None:
        """Wait for a signal, of a child's end too; return as ``take``."""
        select.select([self._read], [], [], max(0.0, timeout_s))
        return self.take()

    def _note(self, number: int, _: FrameType | None) -> None:
        with contextlib.suppress(BlockingIOError):  # a full pipe says enough
            os.write(self._write, bytes([number]))
