# SPDX-License-Identifier: GPL-2.0-only
"""A temporary folder for what has to be a file: members of archives, recordings made of logs.

Promises: it is gone when the block ends, whatever ends it; names in it are ours but for the last,
which is cut to harmless characters; all of it together takes no more than ``SPOOL_CAP``, nor half
of the free room.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tracers.packed import SPOOL_CAP, PackedError, capped

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+=-]")


class Workplace:
    """The folder; a context."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vmemscope-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)
        system = os.statvfs(self.path)
        self._left = min(SPOOL_CAP, system.f_bavail * system.f_frsize // 2)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

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
        with path.open("xb", buffering=0) as file:
            for piece in pieces:
                total += len(piece)
                self._left -= len(piece)
                if self._left < 0 or total > capped(given()):
                    self._left += total
                    path.unlink()
                    raise PackedError(
                        f"takes more than {(total - len(piece)) >> 20} MiB unpacked, or than half"
                        f" of the free room in {tempfile.gettempdir()}: make it a file first, and"
                        " give that"
                    )
                left = memoryview(piece)
                while left:
                    left = left[file.write(left) :]
        return path
