# SPDX-License-Identifier: GPL-2.0-only
"""Splits a stream of text into blocks of whole lines, in constant memory.

Promises: every byte is given exactly once, except those of a line longer than any kernel writes,
which is dropped and reported; what follows the last line's end is kept separately.
"""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

BLOCK: Final = 4 << 20
#: Bytes of a line; the kernel's own limits are a trace_seq of 8 KiB and 1 KiB of a log's line.
LONGEST: Final = 64 << 10


class Readable(Protocol):
    """What a log is read from. ``read1``, where there is one, is used instead of ``read``."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` of the next bytes, b"" at the end."""


class Cut(Protocol):
    """Where lines end: at newlines, and where there are none perhaps elsewhere."""

    def __call__(self, data: bytes, /, *, first: bool = False) -> int:
        """Return where the last whole line of ``data`` ends, or the first; 0 if there is none."""


def at_newlines(data: bytes, /, *, first: bool = False) -> int:
    """See ``Cut``."""
    find: Callable[[bytes], int] = data.find if first else data.rfind
    return find(b"\n") + 1


class Blocks:
    """Iterates over (whole lines and ``padding``, whether a line too long came before them).

    Afterwards ``rest`` is what follows the last line; ``overlong`` says that it was too long and
    dropped.
    """

    def __init__(
        self,
        stream: Readable,
        size: int = BLOCK,
        cut: Cut = at_newlines,
        padding: bytes = b"",
    ) -> None:
        # A pipe's read waits until all bytes are there; read1 returns what is available.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._size = size
        self._cut = cut
        self._padding = padding
        self.rest = b""
        self.overlong = False

    def __iter__(self) -> Iterator[tuple[bytes, bool]]:
        """Raises ``OSError`` where the stream cannot be read."""
        while chunk := self._read(self._size):
            end = chunk.rfind(b"\n") + 1
            if end and not self.overlong:  # as a rule: copied once
                data = b"".join((self.rest, memoryview(chunk)[:end], self._padding))
                self.rest = chunk[end:]
                yield data, False
            else:
                data = self.rest + chunk
                end = self._cut(data)
                begin = self._cut(data, first=True) if self.overlong and end else 0
                self.rest = b"" if self.overlong and not end else data[end:]
                if end:
                    before, self.overlong = self.overlong, False
                    yield data[begin:end] + self._padding, before
            if len(self.rest) > LONGEST:
                self.rest, self.overlong = b"", True
