# SPDX-License-Identifier: GPL-2.0-only
"""Puts together what pstore kept of a dying kernel's log, which is in parts and backwards.

Promises: the parts of one dump come in the order they were printed in; a part that is missing is a
problem, and so is one that the kernel left packed (.enc.z).

Source: fs/pstore/platform.c (pstore_dump: each part begins with a line "Oops#1 Part2", and part 1
is the end of the log).
"""

import re
from collections.abc import Iterator
from typing import Final

from recordings.triage.content import Content
from recordings.wording.escape import printable

_HEAD: Final = re.compile(rb"([A-Za-z][A-Za-z ]{0,30})#(\d{1,9}) Part(\d{1,9})\n")
#: A backend's record has some KiB; ramoops' zones a MiB at most.
_RECORD: Final = 1 << 20
_ALL: Final = 64 << 20
_MOST: Final = 4096


class Records:
    """The records of all dumps."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._parts: dict[tuple[str, bytes, int], dict[int, bytes]] = {}  # folder, why, count
        self._names: dict[tuple[str, bytes, int], str] = {}
        self._size = self._number = 0

    def add(self, name: str, content: Content) -> None:
        """Take in one record."""
        if name.endswith(".enc.z"):
            self.problems.append(f"{printable(name)}: the kernel that booted then cannot unpack it")
            return
        data = content.most(_RECORD)
        self._size += len(data)
        self._number += 1
        if self._size > _ALL or self._number > _MOST:
            self.problems.append(f"{printable(name)}: more than is read of pstore's records")
            return
        folder = name.rpartition("/")[0]
        head = _HEAD.match(data)
        if head is None:
            self._put((name, b"", 0), 1, name, data)
            return
        key = (folder, head[1], int(head[2]))
        part = int(head[3])
        if part in self._parts.get(key, {}):  # of another crash: its counter began anew
            key = (name, head[1], int(head[2]))
        self._put(key, part, name, data[head.end() :])

    def _put(self, key: tuple[str, bytes, int], part: int, name: str, data: bytes) -> None:
        self._parts.setdefault(key, {})[part] = data
        self._names.setdefault(key, name)

    def dumps(self) -> Iterator[tuple[str, list[bytes], int]]:
        """Yield each dump: a name, its pieces in order, their size."""
        for key, parts in self._parts.items():
            name = self._names[key]
            if len(parts) > 1:
                name += f" ({len(parts)} parts)"
            missing = max(parts) - len(parts) if key[1] else 0
            if missing > 0:
                self.problems.append(f"{printable(name)}: {missing} parts of it are missing")
            pieces = [parts[part] for part in sorted(parts, reverse=True)]
            yield name, pieces, sum(map(len, pieces))
