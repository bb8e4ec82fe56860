# SPDX-License-Identifier: GPL-2.0-only
"""Base of the readers of containers: text that comes in pieces, read as a stream."""

from collections.abc import Iterator

from tracers.logs.line_blocks import Readable

READ = 1 << 18  # bytes at once


class Pieces:
    """Reads what ``_pieces`` yields. ``torn``: something could not be read."""

    def __init__(self, stream: Readable) -> None:
        self.torn = False
        self._next = getattr(stream, "read1", stream.read)
        self._left = self._pieces()
        self._rest = b""

    def _pieces(self) -> Iterator[bytes]:
        """Yield the text."""
        raise NotImplementedError

    def _more(self) -> bytes:
        """Return the next bytes of what is read, b"" at the end."""
        data: bytes = self._next(READ)
        return data

    def _all(self, most: int) -> bytes:
        """Return what is read, up to ``most`` bytes; ``torn`` if there is more."""
        data = bytearray()
        while len(data) <= most and (more := self._more()):
            data += more
        self.torn = len(data) > most
        return bytes(data[:most])

    def read1(self, size: int, /) -> bytes:
        """Return up to ``size`` of the next bytes, b"" at the end."""
        while not self._rest:
            piece = next(self._left, None)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def read(self, size: int, /) -> bytes:
        """Return ``size`` of the next bytes, fewer only at the end."""
        pieces = []
        while size > 0 and (piece := self.read1(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)
