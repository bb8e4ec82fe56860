# SPDX-License-Identifier: GPL-2.0-only
"""Numbers and strings of a trace-cmd file, one after the other, from the file or a part of it.

Promises: nothing is read beyond what is there, nor more at once than ``MOST`` bytes, whatever a
size in the file says; what is missing is a ``CutError``.
"""

import os
import struct
from typing import Final, Protocol, Self

from tracers.logs.kprobe_text.text_log import LogError

#: Bytes of one part of the headers; the symbols of a large kernel are 10 MiB.
MOST: Final = 64 << 20
_STRING: Final = 4096  # bytes of a string that ends with a zero


class CutError(LogError):
    """The file ends, or a part of it does, before what it should hold."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the trace-cmd file is cut short or damaged: {what}")


class Bytes(Protocol):
    """Bytes that can be read anywhere."""

    size: int

    def read(self, at: int, size: int) -> bytes:
        """Return ``size`` bytes from ``at`` on, fewer at the end."""


class File:
    """The bytes of an open regular file."""

    def __init__(self, file: int) -> None:
        self.size = os.fstat(file).st_size
        self._file = file

    def read(self, at: int, size: int) -> bytes:
        """See ``Bytes``. Raises ``OSError``."""
        pieces = []
        size = min(size, self.size - at)
        while size > 0 and (piece := os.pread(self._file, size, at)):
            pieces.append(piece)
            at += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Memory:
    """Bytes that were unpacked."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read(self, at: int, size: int) -> bytes:
        """See ``Bytes``."""
        return self._data[at : at + size]


class Fields:
    """Reads on from ``at``. ``order``: "<" or ">", as the traced machine has its numbers."""

    def __init__(self, source: Bytes, order: str = "<", at: int = 0) -> None:
        self.source = source
        self.order = order
        self.at = at

    def seek(self, at: int) -> Self:
        """Go on from ``at``."""
        self.at = at
        return self

    def part(self, size: int) -> "Fields":
        """Read the next bytes as fields of their own."""
        return Fields(Memory(self.take(size)), self.order)

    def take(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            CutError: there are fewer, or they are too many.
        """
        if size > min(self.source.size - self.at, MOST):
            raise CutError(f"{size:,} bytes should follow at {self.at:,}")
        data = self.source.read(self.at, size)
        if len(data) < size:  # the file became shorter
            raise CutError(f"it ends at {self.at + len(data):,}")
        self.at += size
        return data

    def rest(self) -> bytes:
        """Return what is left. Raises ``CutError``."""
        return self.take(max(self.source.size - self.at, 0))

    def skip(self, size: int) -> None:
        """Leave out the next bytes. Raises ``CutError``."""
        if size > self.source.size - self.at:
            raise CutError(f"{size:,} bytes should follow at {self.at:,}")
        self.at += size

    def number(self, size: int) -> int:
        """Return the next unsigned number, of 2, 4 or 8 bytes. Raises ``CutError``."""
        form = {2: "H", 4: "I", 8: "Q"}[size]
        number: int = struct.unpack(self.order + form, self.take(size))[0]
        return number

    def string(self) -> bytes:
        """Return the bytes up to the next zero, which is left out. Raises ``CutError``."""
        text, zero, _ = self.source.read(self.at, _STRING).partition(b"\0")
        if not zero:
            raise CutError(f"a string at {self.at:,} has no end")
        self.at += len(text) + 1
        return text

    def expect(self, text: bytes) -> None:
        """Read ``text``. Raises ``CutError`` if something else is there."""
        if self.take(len(text)) != text:
            raise CutError(f"expected {text.decode(errors='replace').strip(chr(0))!r}")
