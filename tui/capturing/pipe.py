# SPDX-License-Identifier: GPL-2.0-only
"""Writes a stream to a pipe whose reader may be slow or hang, and gives up when told to.

Promises: after ``give_up`` no write lasts longer than its grace, so that a capture streaming to a
hung reader still ends and leaves no probe behind.
"""

import errno
import os
import select
import time
from typing import Final

#: POSIX: a pipe that polls writable takes at least this much (Linux: one page).
_PIECE: Final = select.PIPE_BUF
_POLL_MS: Final = 200


class Pipe:
    """Writes to a file descriptor, which it owns, without a buffer."""

    name = "the output"

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._deadline = float("inf")

    def give_up(self, grace_s: float) -> None:
        """From now on, let writes fail that take longer than ``grace_s`` from now."""
        self._deadline = time.monotonic() + grace_s

    def write(self, data: bytes | memoryview) -> int:
        """Write a piece of ``data``; return how much. Raises ``OSError``, ETIMEDOUT if given up."""
        while not self._poll.poll(_POLL_MS):
            if time.monotonic() > self._deadline:
                raise OSError(errno.ETIMEDOUT, "its reader takes nothing more")
        return os.write(self._fd, data[:_PIECE])

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)
