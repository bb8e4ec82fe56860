# SPDX-License-Identifier: GPL-2.0-only
"""Reads a file, or a part of one, only where it is needed.

Promises: only regular files are opened, and opening never waits; a read never returns, nor
allocates, more than the file has. Reads are pread, not mmap: a file cut short meanwhile gives
short reads instead of SIGBUS, and a 490 MB vmlinux costs only the pages looked at.
"""

import errno
import os
from pathlib import Path
from typing import Self

from tracers.constants.errors import ConstantsError
from tracers.regular_files import open_regular


class FileBytes:
    """Bytes [start, start + size) of an open file, addressed from 0."""

    def __init__(self, handle: int, size: int, start: int = 0) -> None:
        """Take over the file descriptor ``handle``; the part read begins at ``start``."""
        self._handle = handle
        self._start = start
        self.size = size

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a regular file.

        Raises:
            ConstantsError: it cannot be opened, or is something else than a regular file.
        """
        try:
            handle = open_regular(path)
        except (OSError, ValueError) as error:
            denied = getattr(error, "errno", 0) in (errno.EPERM, errno.EACCES)
            hint = " (as root?)" if denied and os.geteuid() != 0 else ""
            reason = getattr(error, "strerror", None) or error
            raise ConstantsError(f"{path}: cannot be read: {reason}{hint}") from error
        return cls(handle, os.fstat(handle).st_size)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes at ``offset``: fewer at the end or where reading fails."""
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        size = min(size, self.size - offset)
        try:
            data = os.pread(self._handle, size, self._start + offset)
            while data and len(data) < size:  # a page at a time, from some file systems
                more = os.pread(self._handle, size - len(data), self._start + offset + len(data))
                if not more:
                    break
                data += more
        except OSError:
            return b""
        return data

    def part(self, offset: int, size: int) -> "FileBytes":
        """Return the part at ``offset`` as its own FileBytes, open independently of this one."""
        offset = min(offset, self.size)
        size = min(size, self.size - offset)
        return FileBytes(os.dup(self._handle), size, self._start + offset)

    def close(self) -> None:
        """Close the file; further reads give nothing."""
        if self.size >= 0:
            os.close(self._handle)
            self.size = -1
