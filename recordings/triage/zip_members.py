# SPDX-License-Identifier: GPL-2.0-only
"""The members of a zip, such as Android's bugreport, as streams.

Promises: those of ``recordings.triage.members``; a list of members too long to be kept, and a
zip64, are refused before they are read.

Source: PKWARE APPNOTE.TXT 4.3.15, 4.3.16.
"""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Final

from recordings.triage.members import DamagedArchiveError, Member, PassedOver, damaged, name_of
from recordings.wording.escape import printable
from tracers.packed import Read

_MAGIC: Final = b"PK\x03\x04"
_END: Final = struct.Struct("<4s4H2LH")  # the end of the list of members
_COMMENT: Final = 1 << 16
_LOCATOR: Final = b"PK\x06\x07"  # of zip64, 20 bytes before that end
_LIST: Final = 16 << 20  # some 200,000 members
#: What all members may unpack to: deflate packs zeros 1,000 to 1.
_RATIO, _FLOOR = 256, 1 << 30
_ERRORS: Final = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError)
_MORE: Final = (*_ERRORS, ValueError, OverflowError, struct.error, IndexError)


def is_zip(head: bytes) -> bool:
    """Return whether what begins so is a zip."""
    return head.startswith(_MAGIC)


def of_zip(file: IO[bytes], passed: PassedOver) -> Iterator[Member]:
    """Yield the files of a zip.

    Raises:
        DamagedArchiveError: nothing of it can be read.
    """
    size = file.seek(0, os.SEEK_END)
    _check(file, size)
    try:
        archive = zipfile.ZipFile(file)
    except _MORE as error:
        raise DamagedArchiveError(damaged("zip", error)) from error
    left = [max(_FLOOR, _RATIO * size)]
    with archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            name = name_of(info.filename)
            if stat.S_IFMT(info.external_attr >> 16) == stat.S_IFLNK:
                passed.links += 1
            elif name is None:
                passed.unsafe += 1
            elif info.flag_bits & 1:
                passed.problems.append(f"{printable(name)}: encrypted")
            else:
                with ExitStack() as opened:
                    yield Member(name, _unzipping(archive, info, left, opened))


def _check(file: IO[bytes], size: int) -> None:
    """Raise ``DamagedArchiveError`` unless the list of members is one to be kept."""
    begin = max(0, size - _COMMENT - _END.size - len(_LOCATOR) - 16)
    file.seek(begin)
    tail = file.read(size - begin)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise DamagedArchiveError("the zip is damaged or cut short: it has no list of members")
    length = _END.unpack_from(tail, at)[5]
    if _LOCATOR in tail[:at][-20:] or length > _LIST:
        raise DamagedArchiveError("a zip of so many members: unpack it and give the folder")


def _unzipping(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, left: list[int], opened: ExitStack
) -> Read:
    """Return what reads a member, opened by the first read; ``left``: bytes for all of them."""
    file: IO[bytes] | None = None

    def read(size: int) -> bytes:
        nonlocal file
        try:
            if file is None:
                file = opened.enter_context(archive.open(info))
            data = file.read(size)
        except _MORE as error:
            raise DamagedArchiveError(damaged("zip", error)) from error
        left[0] -= len(data)
        if left[0] < 0:
            raise DamagedArchiveError(f"the zip unpacks to more than {_RATIO} times its size")
        return data

    return read
