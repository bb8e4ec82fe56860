# SPDX-License-Identifier: GPL-2.0-only
"""The members of a folder or a tar, one after the other, as streams.

Promises: nothing is extracted to a path; a link, a device, a FIFO, and a name that is absolute,
leads upwards or is longer than any path are passed over and counted; memory is flat, whatever the
number of members, their sizes and the headers between them; what a tar unpacks to is bounded by
what was read of it, so that a bomb ends there. What came before damage was given, and ``problems``
says that there was more.

Source: POSIX.1-2001 pax and GNU tar, as Python's ``tarfile`` reads them in its stream mode.
"""

import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self, cast

from recordings.wording.escape import printable
from recordings.wording.units import count
from tracers.errors import VmemscopeError
from tracers.packed import PackedError, Read
from tracers.regular_files import open_regular

#: Members looked at; a sosreport has some ten thousand.
MOST: Final = 1_000_000
_LONGEST: Final = 4096  # PATH_MAX
#: What a header may take: long names, and what pax says of times, owners and holes.
_HEADER: Final = 1 << 20
#: What a tar may unpack to: zeros give some 1,000 (gzip) to 10,000 (xz), logs 10 to 50.
_RATIO, _FLOOR = 256, 1 << 30
_PIECE: Final = 64 << 10
_USTAR: Final = (b"ustar\0", b"ustar ")
#: What ``tarfile`` raises of bytes that are none, in one version or another.
_TAR_ERRORS: Final = (tarfile.TarError, ValueError, EOFError, OverflowError, IndexError, KeyError)


class DamagedArchiveError(VmemscopeError):
    """An archive that is damaged, or that is made to do harm; the text does not name it."""


@dataclass(slots=True)
class PassedOver:
    """What was not looked at, and why; ``problems``: what should have been."""

    links: int = 0
    special: int = 0  # devices, pipes, sockets
    unsafe: int = 0  # names
    problems: list[str] = field(default_factory=list)

    def remarks(self) -> Iterator[str]:
        """Say what was left out on purpose."""
        kinds = (
            (self.links, "link", "links"),
            (self.special, "device or pipe", "devices and pipes"),
            (self.unsafe, "name that leads out of it", "names that lead out of it"),
        )
        told = [f"{count(n)} {one if n == 1 else more}" for n, one, more in kinds if n]
        if told:
            yield f"passed over: {', '.join(told)}"


@dataclass(slots=True)
class Member:
    """One regular file: its name with "/" between folders, and its bytes, to be read now.

    ``path``: where it can be read again, None: nowhere.
    """

    name: str
    read: Read
    path: Path | None = None


def is_tar(head: bytes) -> bool:
    """Return whether what begins so is a tar."""
    return head[257:263] in _USTAR


def of_folder(folder: Path, passed: PassedOver) -> Iterator[Member]:
    """Yield the files below a folder, sorted.

    Raises:
        OSError: the folder itself cannot be read.
    """
    seen = 0
    waiting = [("", folder)]
    while waiting:
        prefix, path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise
            passed.problems.append(f"{printable(prefix)}: {error.strerror}")
            continue
        below = []
        for entry in listed:
            seen += 1
            if seen > MOST:
                passed.problems.append(f"only the first {count(MOST)} files were looked at")
                return
            name = f"{prefix}{entry.name}"
            match _kind(entry):
                case "folder":
                    below.append((f"{name}/", Path(entry.path)))
                case "file":
                    with _opened(Path(entry.path)) as read:
                        yield Member(name, read, Path(entry.path))
                case "link":
                    passed.links += 1
                case _:
                    passed.special += 1
        waiting += reversed(below)


def _kind(entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "special"


@contextmanager
def _opened(path: Path) -> Iterator[Read]:
    """Give what reads a file; it is opened by the first read."""
    with ExitStack() as opened:
        file: IO[bytes] | None = None

        def read(size: int) -> bytes:
            nonlocal file
            if file is None:
                file = opened.enter_context(os.fdopen(open_regular(path), "rb", buffering=0))
            return file.read(size) or b""

        yield read


def of_tar(read: Read, given: Callable[[], int], passed: PassedOver) -> Iterator[Member]:
    """Yield the files of a tar that ``read`` gives the unpacked bytes of.

    ``given``: how many packed bytes these are of, so far: what a bomb is measured by. Each
    member's bytes are there until the next one is asked for.
    """
    stream = _Bounded(read, given)
    seen = 0
    try:
        stream.header(on=True)  # the first one is read at once
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", tarinfo=_Header) as tar:
            while True:
                stream.header(on=True)
                info = tar.next()
                stream.header(on=False)
                if info is None:
                    return
                forget(tar)
                seen += 1
                if seen > MOST:
                    passed.problems.append(f"only the first {count(MOST)} members were looked at")
                    return
                if member := _member(tar, info, passed):
                    yield member
                _skip(tar)
    except _TAR_ERRORS as error:
        passed.problems.append(damaged("tar", error))
    except (DamagedArchiveError, PackedError, OSError) as error:
        passed.problems.append(str(getattr(error, "strerror", None) or error))


def forget(tar: tarfile.TarFile) -> None:
    """Have ``tarfile`` not keep every header it has read (3.13 has ``stream=True`` for that)."""
    del getattr(tar, "members", [])[:]


def _skip(tar: tarfile.TarFile) -> None:
    """Read up to the end of a member's data, so that what follows is the next header alone.

    Not by ``seek``: it goes on behind the end of a tar that is cut short, up to 2^63 bytes.
    """
    stream = tar.fileobj
    while stream is not None and (left := tar.offset - stream.tell()) > 0:
        if not stream.read(min(left, _PIECE)):
            raise DamagedArchiveError("the tar is cut short: what came before is used")


def damaged(what: str, error: Exception) -> str:
    """Say that an archive is damaged."""
    return f"the {what} is damaged or cut short: {printable(str(error))[:100]}"


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, passed: PassedOver) -> Member | None:
    if info.isdir():
        return None
    if info.issym() or info.islnk():
        passed.links += 1
        return None
    if not info.isreg():
        passed.special += 1
        return None
    if (name := name_of(info.name)) is None:
        passed.unsafe += 1
        return None
    file = tar.extractfile(info)
    if file is None:
        return None

    def read(size: int) -> bytes:
        try:
            return file.read(size)
        except _TAR_ERRORS:
            return b""  # what came before is used; the next header is then not found, and told

    return Member(name, read)


def name_of(name: str) -> str | None:
    """Return a member's name without "./", None if it is none to be read."""
    if len(name) > _LONGEST or name.startswith("/") or "\0" in name:
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(parts) if parts and ".." not in parts else None


class _Bounded:
    """The bytes of a tar: headers and the whole are bounded. The little that ``tarfile`` needs."""

    def __init__(self, read: Read, given: Callable[[], int]) -> None:
        self._read, self._given = read, given
        self._total = 0
        self._header: int | None = None  # bytes left for the header that is being read

    def header(self, *, on: bool) -> None:
        """Bound what is read from now on as a header, or no longer."""
        self._header = _HEADER if on else None

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = self._read(min(size, _PIECE))
        self._total += len(data)
        if self._total > max(_FLOOR, _RATIO * self._given()):
            raise DamagedArchiveError(
                f"it unpacks to more than {_RATIO} times its size: what came before is used"
            )
        if self._header is not None:
            self._header -= len(data)
            if self._header < 0:
                raise DamagedArchiveError(
                    f"a header in it takes more than {_HEADER >> 10} KiB: what came before is used"
                )
        return data


class _Header(tarfile.TarInfo):
    """A header; one that is damaged or missing is an error wherever it stands, no silent end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        """Return the header in 512 bytes."""
        if len(buf) != tarfile.BLOCKSIZE:
            raise DamagedArchiveError("the tar is cut short: what came before is used")
        if not any(buf):
            return super().frombuf(buf, encoding or "utf-8", errors)  # raises: it is the end
        try:
            found = super().frombuf(buf, encoding or "utf-8", errors)
        except tarfile.HeaderError as error:
            raise DamagedArchiveError(damaged("tar", error)) from error
        if found.size < 0:
            raise DamagedArchiveError("the tar is damaged: a member of a negative size")
        return found
