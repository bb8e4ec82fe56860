# SPDX-License-Identifier: GPL-2.0-only
"""Outputs of a recording: a new file, or an open stream.

Promises: a file is always newly created, and can be cut back to its last whole batch; a stream
cannot be cut, so after a half-written batch it takes no more.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final, Protocol

from recordings.format.header import RecordingError

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def exists_already(path: Path) -> RecordingError:
    """Return the error for a ``path`` that exists."""
    return RecordingError(
        f"{path}: exists already; recordings are never overwritten: name another file"
    )


class Output(Protocol):
    """An open stream that ``Writer`` can write to: binary, buffered or not."""

    def write(self, data: memoryview, /) -> int | None:
        """Take some of ``data``; return how much."""
        ...

    def flush(self) -> None:
        """Write out what is buffered."""
        ...


class File:
    """A new regular file. Written by position: an unfinished write is overwritten."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self.name = str(path)
        self._path = path
        self._fsync = fsync
        self.size = 0  # bytes, of whole batches
        try:
            self._fd = os.open(path, _FLAGS, 0o600)
        except FileExistsError as error:
            raise exists_already(path) from error
        except (OSError, ValueError) as error:
            text = getattr(error, "strerror", None) or error
            raise RecordingError(f"{path}: cannot be created: {text}") from error

    def put(self, data: bytes) -> None:
        """Append; raises ``OSError``."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, self.size + len(data) - len(view))
            view = view[done:]
        if self._fsync:
            os.fdatasync(self._fd)
            if not self.size:
                _sync_folder(self._path.parent)
        self.size += len(data)

    def cut(self) -> None:
        """Truncate to the last whole batch."""
        # If even that fails, a torn tail stays, which readers report.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self.size)

    def close(self) -> None:
        """Close; raises ``OSError`` where the disk reports a late error."""
        self.cut()
        fd, self._fd = self._fd, -1
        os.close(fd)  # may report a late write error (NFS, quota)

    def discard(self, *, keep: bool = False) -> None:
        """Give up: close, and remove the file unless it holds a recording (``keep``)."""
        if self._fd >= 0:
            self.cut()
            os.close(self._fd)
        if not keep:
            self._path.unlink(missing_ok=True)


class Stream:
    """An open binary stream, such as standard output: what was written cannot be taken back."""

    def __init__(self, stream: Output) -> None:
        name = getattr(stream, "name", None)
        self.name = name if isinstance(name, str) else "the output"  # a number says nothing
        self._stream = stream
        self._whole = True
        self.size = 0  # bytes, of whole batches

    def put(self, data: bytes) -> None:
        """Append and flush; raises ``OSError``."""
        if not self._whole:
            raise OSError(errno.EIO, "the output ends in the middle of a batch")
        self._whole = False
        view = memoryview(data)
        while view:
            done = self._stream.write(view)  # an unbuffered stream may take a part only
            if not done:
                raise BlockingIOError(errno.EAGAIN, "the output takes no more")
            view = view[done:]
        self._stream.flush()
        self._whole = True
        self.size += len(data)

    def cut(self) -> None:
        """A reader reports the torn tail."""

    def close(self) -> None:
        """It is the caller's to close."""

    def discard(self, *, keep: bool = False) -> None:
        """It is the caller's to close."""


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
