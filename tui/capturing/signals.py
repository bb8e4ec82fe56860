# SPDX-License-Identifier: GPL-2.0-only
"""Turns the signals that stop a capture into events, so that they never interrupt it midway.

Promises: within the context none of them ends the process; each can be waited for. What was
ignored from outside (``nohup``, ``cmd &`` in a script) stays ignored.
"""

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Final, Self

STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class Signals:
    """A context manager: queues the signals in ``STOPPING``; SIGCHLD too wakes ``wait``.

    The main thread must enter it.
    """

    def __init__(self) -> None:
        self._read = self._write = -1
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (*STOPPING, signal.SIGCHLD):
            if signal.getsignal(number) is signal.SIG_IGN and number is not signal.SIGCHLD:
                continue
            self._before[number] = signal.signal(number, self._enqueue)
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
        """Return a file descriptor that is readable when ``take`` has a signal."""
        return self._read

    def take(self) -> signal.Signals | None:
        """Return the next signal that asks to stop, ``None`` if there is none now."""
        with contextlib.suppress(BlockingIOError):
            while queued := os.read(self._read, 1):
                if queued[0] in STOPPING:
                    return signal.Signals(queued[0])
        return None

    def wait(self, timeout_s: float) -> signal.Signals | None:
        """Wait for a signal, SIGCHLD included; return as ``take``."""
        select.select([self._read], [], [], max(0.0, timeout_s))
        return self.take()

    def _enqueue(self, number: int, _: FrameType | None) -> None:
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes the reader as well
            os.write(self._write, bytes([number]))
