# SPDX-License-Identifier: GPL-2.0-only
"""The unpacked bytes of one member of a bug report, read once, from the first on.

Promises: flat memory; packed data (a rotated ``kern.log.2.gz``) is unpacked on the way, and
``torn`` says that it ended in damage; what looks at the beginning takes nothing away.
"""

from collections.abc import Iterator
from typing import Final

from tracers.packed import MAGIC_BYTES, PIECE, DamagedError, Read, packing, unpacked

HEAD: Final = 64 << 10


class Content:
    """One pass over the bytes that ``read`` gives; ``given``: how many it gave.

    Raises ``PackedError`` and what ``read`` raises, here and further on.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._raw = b""  # read ahead, not yet given
        self.given = 0
        self.torn = False
        self._head = b""  # unpacked, looked at
        while len(self._raw) < MAGIC_BYTES and (more := self._next(PIECE)):
            self._raw += more
        packed = packing(self._raw)
        self.packed = packed is not None
        self._pieces = self._unpacked(packed) if packed else self._plain()

    def peek(self, size: int = HEAD) -> bytes:
        """Return the first ``size`` bytes, fewer at the end; they are given again."""
        while len(self._head) < size and (piece := next(self._pieces, b"")):
            self._head += piece
        return self._head[:size]

    def pieces(self) -> Iterator[bytes]:
        """Yield all bytes."""
        head, self._head = self._head, b""
        if head:
            yield head
        yield from self._pieces

    def most(self, size: int) -> bytes:
        """Return all bytes, or the first ``size``."""
        pieces, have = [], 0
        for piece in self.pieces():
            pieces.append(piece)
            have += len(piece)
            if have >= size:
                break
        return b"".join(pieces)[:size]

    def _plain(self) -> Iterator[bytes]:
        while piece := self._take(PIECE):
            yield piece

    def _unpacked(self, packed: str) -> Iterator[bytes]:
        try:
            yield from filter(None, unpacked(self._take, packed))
        except DamagedError:
            self.torn = True

    def _take(self, size: int) -> bytes:
        data, self._raw = self._raw[:size], self._raw[size:]
        return data or self._next(size)

    def _next(self, size: int) -> bytes:
        data = self._read(size)
        self.given += len(data)
        return data
