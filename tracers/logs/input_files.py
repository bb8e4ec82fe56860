# SPDX-License-Identifier: GPL-2.0-only
"""Opens what a log is read from: a file, a pipe or stdin, packed or not.

Promises: one pass, in flat memory, whatever the size; nothing is read twice but a regular file's
bytes for its digest. Packed data (gzip, zstd, xz; several members too) that is damaged or cut
short gives what could be unpacked until then, and ``torn`` says so; what gzip's checksum only
shows at the end was given by then.
"""

import hashlib
import os
import select
import stat
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, Self

from tracers.packed import MAGIC_BYTES, PIECE, PackedError, capped, packing, spool, unpacked

HEAD_BYTES: Final = 64 << 10  # looked at to tell what a log is
STDIN: Final = Path("-")
_PATIENCE_S: Final = 0.05  # for more of a pipe, once something came


class Input:
    """The unpacked bytes of a log, from the first one on; to be used as a context.

    ``name``: its path, or "stdin". ``sha256``: of the file as it is, packed or not; of what is no
    regular file "" until all of it was read. ``packed``: "gz", "zst", "xz", "lzma" or None.
    ``head``: what ``peek`` has read so far.

    Raises:
        OSError: it cannot be opened or read.
        PackedError: packed in a way that we cannot unpack.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``, or standard input for ``STDIN``."""
        self.name = "stdin" if path == STDIN else str(path)
        self._raw = _Raw(path)
        try:
            self.packed = packing(self._raw.look(MAGIC_BYTES))
        except PackedError:
            self._raw.close()
            raise
        self._unpacked = _Unpacked(self._raw, self.packed) if self.packed else None
        self._source: _Raw | _Unpacked = self._unpacked or self._raw
        self.head = b""
        self._spool: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._raw.close()
        if self._spool is not None:
            self._spool.close()

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the bytes as they are, "" while it is not known."""
        return self._raw.sha256

    @property
    def torn(self) -> bool:
        """Whether packed data ended in damage, or before its end."""
        return self._unpacked is not None and self._unpacked.torn

    def peek(self, enough: Callable[[bytes], bool]) -> bytes:
        """Read ahead until ``enough(head)``, ``HEAD_BYTES`` or the end; return the head."""
        while len(self.head) < HEAD_BYTES and not (self.head and enough(self.head)):
            more = self._source.read1(HEAD_BYTES - len(self.head))
            if not more:
                break
            self.head += more
        return self.head

    def read1(self, size: int) -> bytes:
        """Return up to ``size`` of the next bytes, b"" at the end."""
        if self.head:
            data, self.head = self.head[:size], self.head[size:]
            return data
        return self._source.read1(size)

    read = read1

    def file(self) -> int:
        """Return a descriptor of a regular file that holds it all: a temporary one if need be.

        Raises:
            PackedError: it would be far larger than what it was unpacked from.
        """
        if self._raw.regular and not self.packed:
            return self._raw.fileno()
        if self._spool is None:
            pieces = iter(lambda: self.read1(PIECE), b"")
            self._spool, _ = spool(pieces, lambda: capped(self._raw.given))
        return self._spool.fileno()


class _Raw:
    """The bytes as they are, with their digest."""

    def __init__(self, path: Path) -> None:
        self._file = FileIO(0, "rb", closefd=False) if path == STDIN else FileIO(path, "rb")
        try:
            self.regular = stat.S_ISREG(os.fstat(self.fileno()).st_mode)
            self._digest = hashlib.sha256()
            self._looked = b""
            self.given = 0  # bytes read so far
            self._ended = False
            self.sha256 = ""
            if self.regular:
                at = self._file.tell()  # stdin may stand anywhere
                self.sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()
                self._file.seek(at)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close it; standard input stays open."""
        self._file.close()

    def look(self, size: int) -> bytes:
        """Return the first ``size`` bytes, fewer at the end; they are read again."""
        while len(self._looked) < size and (more := self._next(size - len(self._looked))):
            self._looked += more
        return self._looked

    def read1(self, size: int) -> bytes:
        """Return up to ``size`` of the next bytes: of a pipe those that come without waiting."""
        data, self._looked = self._looked[:size], self._looked[size:]
        if data:
            return data
        data = self._next(size)
        if self.regular or not data:
            return data
        pieces, have = [data], len(data)
        until = time.monotonic() + _PATIENCE_S
        while have < size and (left := until - time.monotonic()) > 0:
            if not select.select([self._file], [], [], left)[0]:
                break
            data = self._next(size - have)
            if not data:
                break
            pieces.append(data)
            have += len(data)
        return b"".join(pieces)

    def _next(self, size: int) -> bytes:
        data = b"" if self._ended else self._file.read(size)
        if data is None:  # a descriptor that does not wait, with nothing to give
            select.select([self._file], [], [])
            return self._next(size)
        self.given += len(data)
        if not self.regular:
            self._digest.update(data)
            if not data and not self._ended:
                self.sha256 = self._digest.hexdigest()
        self._ended = not data
        return data


class _Unpacked:
    """The unpacked bytes of a packed source."""

    def __init__(self, raw: _Raw, packed: str) -> None:
        self.torn = False
        self._pieces = unpacked(raw.read1, packed)
        self._rest = b""

    def read1(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" at the end, which damage is, too."""
        while not self._rest and not self.torn:
            try:
                self._rest = next(self._pieces)
            except StopIteration:
                return b""
            except PackedError:
                self.torn = True
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
