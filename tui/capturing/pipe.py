# SPDX-License-Identifier: GPL-2.0-only
"""A stream to a reader that may be slow or hang: written in pieces, given up when told to.

Promises: after ``give_up`` no write lasts longer than its grace, so that a capture streaming to a
hung reader still ends and leaves no probe behind.
"""

import errno
import os
import select
import time
from typing import Final

#: POSIX: a pipe that polls writable takes so much at once (Linux: one page at least).
_PIECE: Final = select.PIPE_BUF
_LOOK_MS: Final = 200


class Pipe:
    """Writes to a file descriptor, which it owns, without a buffer."""

    name = "the output"

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._until = float("inf")

    def give_up(self, grace_s: float) -> None:
        """Let writes fail that take longer than this from now on."""
        self._until = time.monotonic() + grace_s

    def write(self, data: bytes | memoryview) -> int:
        """Write a piece of ``data``; return how much. Raises ``OSError``, ETIMEDOUT if given up."""
        while not self._poll.poll(_LOOK_MS):
            if time.monotonic() > self._until:
                raise OSError(errno.ETIMEDOUT, "its reader takes nothing more")
        return os.write(self._fd, data[:_PIECE])

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)
