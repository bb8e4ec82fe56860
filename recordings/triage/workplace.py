# SPDX-License-Identifier: GPL-2.0-only
"""A temporary folder for what has to be a file: members of archives, recordings made of logs.

Promises: it is gone when the block ends, whatever ends it; after SIGKILL the next one removes it.
Names in it are ours but for the last, which is cut to harmless characters; all of it together takes
no more than ``SPOOL_CAP``, nor than half of the free room.
"""

import fcntl
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tracers.errors import VmemscopeError
from tracers.packed import SPOOL_CAP, PackedError, capped

_PREFIX: Final = "vmemscope-triage-"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+=-]")
#: A folder younger than this may be one whose owner is about to lock it.
_YOUNG_S: Final = 60


class WorkplaceError(VmemscopeError):
    """There can be no temporary folder."""


class Workplace:
    """The folder; it is there while its block runs.

    Not ``TemporaryDirectory``: a signal's exception between making and keeping it, or while it is
    removed, would leave it.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"{_PREFIX}{secrets.token_hex(8)}"
        self._lock = self._left = -1
        self._number = 0

    def __enter__(self) -> Self:
        """Make it.

        Raises:
            WorkplaceError: there is no room for it.
        """
        try:
            _sweep()
            self.path.mkdir(0o700)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            system = os.statvfs(self.path)
            self._left = min(SPOOL_CAP, system.f_bavail * system.f_frsize // 2)
        except OSError as error:
            self._remove()
            raise WorkplaceError(f"{self.path}: {error.strerror or error}") from error
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._remove()
        finally:
            self._remove()  # a signal, of which the first one alone is an exception, came meanwhile

    def _remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            os.close(lock)

    def new(self, name: str) -> Path:
        """Return a path that is nobody's, whose last part is like that of ``name``."""
        self._number += 1
        folder = self.path / str(self._number)
        folder.mkdir()
        return folder / (_UNSAFE.sub("_", name.rsplit("/", 1)[-1])[:100].lstrip(".") or "log")

    def spool(self, pieces: Iterable[bytes], name: str, given: Callable[[], int]) -> Path:
        """Write the pieces to a new file and return it; ``given``: bytes they are unpacked from.

        Raises:
            PackedError: they are too many, for what was read of them or for the room there is.
            OSError: no room after all.
        """
        path = self.new(name)
        total = 0
        try:
            with path.open("xb", buffering=0) as file:
                for piece in pieces:
                    total += len(piece)
                    _check(total, min(self._left, capped(given())))
                    left = memoryview(piece)
                    while left:
                        left = left[file.write(left) :]
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._left -= total
        return path


def _check(total: int, most: int) -> None:
    if total > most:
        raise PackedError(
            f"takes more than {most >> 20} MiB, which is more than it should or than there is room"
            f" for in {tempfile.gettempdir()}"
        )


def _sweep() -> None:
    """Remove the folders whose owners were killed: nobody locks those any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                status = os.fstat(lock)
                if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _YOUNG_S:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
