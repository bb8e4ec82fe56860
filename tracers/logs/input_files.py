# SPDX-License-Identifier: GPL-2.0-only
"""Opens what a log is read from: a file, a pipe or stdin, packed or not.

Promises: one pass, in flat memory, whatever the size; nothing is read twice but a regular file's
bytes for its digest, and those only once somebody asks for it, who knows by ``peek`` what it is.
What has no log, or no end, is not read at all: a directory, a disk, /dev/zero, /proc/kmsg, a file
of holes. Packed data (gzip, zstd, xz; several members too) that is damaged or cut short gives
what could be unpacked until then, and ``torn`` says so; what gzip's checksum only shows at the end
was given by then.
"""

import errno
import hashlib
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from io import BytesIO, FileIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, Final, Protocol, Self

from tracers.logs.containers.table import DEEPEST, Contained, may_be_one, recognise
from tracers.packed import (
    MAGIC_BYTES,
    PIECE,
    DamagedError,
    PackedError,
    capped,
    packing,
    spool,
    unpacked,
)
from tracers.regular_files import consumed, of_kernel, what

HEAD_BYTES: Final = 64 << 10  # looked at to tell what a log is
_CONTAINER_BYTES: Final = 4096  # looked at to tell whether a log is in a container
#: Bytes looked at before reading, of what cannot be read twice.
AHEAD: Final = 64 << 20
_IN_MEMORY: Final = 8 << 20
STDIN: Final = Path("-")
#: A log may have holes where a file system lost its blocks or logrotate cut it; this is no log.
MOST_HOLES: Final = 1 << 30
_FD: Final = Path("/proc/self/fd/0")
_PATIENCE_S: Final = 0.05  # for more of a pipe, once something came
_MEMORY_DEVICES: Final = 1  # major number: null, zero, full, random, kmsg
_LOG_DEVICES: Final = (os.makedev(1, 3), os.makedev(1, 11))  # null, and kmsg: a record a read
_TRACE_PIPE: Final = "trace_pipe"  # who names it wants its text; it is a stream as a pipe is


class Input:
    """The unpacked bytes of a log, from the first one on; to be used as a context.

    ``name``: its path, or "stdin". ``sha256``: of the file as it is, packed or not; of what is no
    regular file, or made by the kernel, "" until all of it was read. ``packed``: "gz", "zst",
    "xz", "lzma" or None. ``head``: what ``peek`` has read so far.

    Raises:
        OSError: it cannot be opened or read.
        PackedError: packed in a way that we cannot unpack, here or further on.
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
        self._source: _Source = self._unpacked or self._raw
        self._contained: Contained | None = None
        self.head = b""
        self._spool: BinaryIO | None = None
        self._seen: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._raw.close()
        for file in (self._spool, self._seen):
            if file is not None:
                file.close()

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the bytes as they are, "" while it is not known.

        Of a regular file all of it is read now. Raises ``OSError``.
        """
        return self._raw.sha256

    @property
    def given(self) -> int:
        """How many bytes were read so far, of it as it is."""
        return self._raw.given

    @property
    def torn(self) -> bool:
        """Whether packed data ended in damage, or before its end; or what it is contained in."""
        packed = self._unpacked is not None and self._unpacked.torn
        return packed or (self._contained is not None and self._contained.torn)

    def take_out(self) -> None:
        """Go on with what is in the container that the bytes begin with, if it is one."""
        for _ in range(DEEPEST):
            head = self.peek(lambda head: len(head) >= _CONTAINER_BYTES or not may_be_one(head))
            container = recognise(head)
            if container is None:
                break
            self._contained = container.open(_Rest(BytesIO(self.head), self._source))
            self._source, self.head = self._contained, b""

    def peek(self, enough: Callable[[bytes], bool]) -> bytes:
        """Read ahead until ``enough(head)``, ``HEAD_BYTES`` or the end; return the head."""
        while len(self.head) < HEAD_BYTES and not (self.head and enough(self.head)):
            more = self._source.read1(HEAD_BYTES - len(self.head))
            if not more:
                break
            self.head += more
        return self.head

    @property
    def plain(self) -> bool:
        """Whether its bytes are a regular file's: it can be read twice."""
        return self._raw.regular and not self.packed and self._contained is None

    def ahead(self) -> Iterator[bytes]:
        """Yield what is to be read, which stays to be read.

        Of what is no plain file the first ``AHEAD`` bytes. Raises what ``read1`` does.
        """
        if self.plain:
            yield from self._raw.all()
            return
        if self._seen is None:
            self._seen = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 (as long as this)
            left = AHEAD
            while left > 0 and (data := self.read1(min(left, PIECE))):
                self._seen.write(data)
                left -= len(data)
            self._seen.seek(0)
            self._source = _Rest(self._seen, self._source)
        while data := self._seen.read(PIECE):
            yield data
        self._seen.seek(0)

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
        if self.plain:
            return self._raw.fileno()
        if self._spool is None:
            pieces = iter(lambda: self.read1(PIECE), b"")
            self._spool, _ = spool(pieces, lambda: capped(self.given))
        return self._spool.fileno()


class _Source(Protocol):
    """What bytes are read from."""

    def read1(self, size: int, /) -> bytes:
        """Return up to ``size`` of the next bytes, b"" at the end."""


class _Rest:
    """Bytes that were looked at, and those that follow."""

    def __init__(self, seen: IO[bytes], source: "_Source") -> None:
        self._seen = seen
        self._source = source

    def read1(self, size: int, /) -> bytes:
        """Return up to ``size`` of the next bytes, b"" at the end."""
        return self._seen.read(size) or self._source.read1(size)

    read = read1


class _Raw:
    """The bytes as they are, with their digest."""

    def __init__(self, path: Path) -> None:
        self._file = _opened(path)
        try:
            status = os.fstat(self.fileno())
            # Of a file that the kernel makes on reading, the size says nothing.
            self.regular = (
                stat.S_ISREG(status.st_mode) and status.st_size > 0 and not of_kernel(status)
            )
            self._ends_dry = status.st_rdev in _LOG_DEVICES  # /dev/kmsg: it waits for news
            self._begin = self._file.tell() if self.regular else 0  # stdin may stand anywhere
            self._digest = hashlib.sha256()
            self._sha256 = ""
            self._looked = b""
            self.given = 0  # bytes read so far
            self._ended = False
            if self.regular:
                _check_holes(self.fileno(), status)
        except OSError:
            self.close()
            raise

    @property
    def sha256(self) -> str:
        """See ``Input``."""
        if self.regular and not self._sha256:
            for piece in self.all():
                self._digest.update(piece)
            self._sha256 = self._digest.hexdigest()
        return self._sha256

    def all(self) -> Iterator[bytes]:
        """Yield all bytes of a regular file, wherever reading has come to."""
        at = self._begin
        while piece := os.pread(self.fileno(), PIECE, at):
            yield piece
            at += len(piece)

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close it; standard input stays open."""
        self._file.close()

    def look(self, size: int) -> bytes:
        """Return the first ``size`` bytes, fewer at the end; they are read again."""
        while len(self._looked) < size and (more := self._next(PIECE)):
            self._looked += more
        return self._looked[:size]

    def read1(self, size: int) -> bytes:
        """Return up to ``size`` of the next bytes: of a pipe those that come without waiting."""
        data, self._looked = self._looked[:size], self._looked[size:]
        if data:
            return data
        if self.regular:
            return self._next(size)
        data = self._next(PIECE)  # for less than a record /dev/kmsg has an error
        pieces, have = [data], len(data)
        until = time.monotonic() + _PATIENCE_S
        while data and have < size and (left := until - time.monotonic()) > 0:
            if not select.select([self._file], [], [], left)[0]:
                break
            data = self._next(PIECE)
            pieces.append(data)
            have += len(data)
        data = b"".join(pieces)
        self._looked = data[size:]
        return data[:size]

    def _next(self, size: int) -> bytes:
        data = b"" if self._ended else self._file.read(size)
        while data is None:  # a descriptor that does not wait, with nothing to give
            if self._ends_dry:
                data = b""
            else:
                select.select([self._file], [], [])
                data = self._file.read(size)
        self.given += len(data)
        if not self.regular:
            self._digest.update(data)
            if not data and not self._ended:
                self._sha256 = self._digest.hexdigest()
        self._ended = not data
        return data


def _opened(path: Path) -> FileIO:
    """Return the log, open; a pipe is waited for.

    Raises:
        OSError: it cannot be opened; or it is nothing that can have a log, or of which reading
            would have no end or take a log away.
    """
    if path == STDIN:
        _check(os.fstat(0), _FD)
        return FileIO(0, "rb", closefd=False)
    status = path.stat()
    _check(status, path)
    if stat.S_ISFIFO(status.st_mode):
        return FileIO(path, "rb")
    # Nothing but a pipe's writer is waited for, such as a modem's carrier.
    return FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb")


def _check(status: os.stat_result, path: Path) -> None:
    """Raise ``OSError`` for what is not to be read."""
    mode, device = status.st_mode, status.st_rdev
    if stat.S_ISDIR(mode) or stat.S_ISBLK(mode) or (stat.S_ISSOCK(mode) and path != _FD):
        raise OSError(errno.EINVAL, f"no log but {what(mode)}")
    if stat.S_ISCHR(mode) and os.major(device) == _MEMORY_DEVICES and device not in _LOG_DEVICES:
        raise OSError(errno.EINVAL, "no log but a device without an end")
    if consumed(status, path) not in {None, _TRACE_PIPE}:
        raise OSError(
            errno.EINVAL,
            "not read: what is read there is gone for the log daemon and all others; give the"
            " output of dmesg, or /dev/kmsg",
        )


def _check_holes(file: int, status: os.stat_result) -> None:
    """Raise ``OSError`` for a regular file of which too much was never written."""
    if status.st_size - status.st_blocks * 512 <= MOST_HOLES:  # packed blocks are few, too
        return
    at, end, holes = os.lseek(file, 0, os.SEEK_CUR), 0, 0
    try:
        while end < status.st_size and holes <= MOST_HOLES:
            begin = os.lseek(file, end, os.SEEK_HOLE)
            holes += status.st_size - begin  # unless there is data behind the hole
            end = os.lseek(file, begin, os.SEEK_DATA)
            holes -= status.st_size - end
    except OSError:  # no more data; a file system that does not tell has said so at first
        pass
    finally:
        os.lseek(file, at, os.SEEK_SET)
    if holes > MOST_HOLES:
        raise OSError(
            errno.EINVAL,
            f"more than {MOST_HOLES >> 30} GiB of it were never written (a sparse file): no log is"
            " like that; copy what is one out of it",
        )


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
            except DamagedError:
                self.torn = True
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
