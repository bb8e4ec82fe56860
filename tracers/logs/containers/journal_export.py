# SPDX-License-Identifier: GPL-2.0-only
"""Reads ``journalctl -o export`` as the kernel's lines, and fields of the journal as such a line.

Promises: only the kernel's own messages come out, if an entry says whose it is; their time is
printk's where the journal kept it, else that of the journal; a field with binary data is read by
its length, whatever is in it.

Source: systemd, "Journal Export Formats" and systemd.journal-fields(7).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from tracers.logs.containers.pieces import Pieces
from tracers.logs.containers.records import lines_of, since_1970, since_boot

_BEGINS: Final = re.compile(rb"(?:__CURSOR|__REALTIME_TIMESTAMP|__MONOTONIC_TIMESTAMP)=")
_MOST: Final = 1 << 20  # bytes of a field
_ENTRY: Final = 4 << 20  # of an entry
_KEPT: Final = frozenset(
    (
        b"MESSAGE",
        b"_TRANSPORT",
        b"_SOURCE_MONOTONIC_TIMESTAMP",
        b"__REALTIME_TIMESTAMP",
    )
)


def looks_like(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is such an export."""
    return _BEGINS.match(head.lstrip()) is not None


def kernel_lines(fields: Mapping[str, str]) -> bytes:
    """Return the lines of a journal entry; none if it is not the kernel's, or has no message."""
    message = fields.get("MESSAGE")
    if message is None or fields.get("_TRANSPORT", "kernel") != "kernel":
        return b""
    for name, prefix in (
        ("_SOURCE_MONOTONIC_TIMESTAMP", since_boot),
        ("__REALTIME_TIMESTAMP", since_1970),
    ):
        time = fields.get(name, "")
        if time.isascii() and time.isdigit() and len(time) <= 16:
            return lines_of(prefix(int(time)), message)
    return lines_of("", message)


class JournalExport(Pieces):
    """The kernel's lines of an export."""

    def _pieces(self) -> Iterator[bytes]:
        self._data, self._at = b"", 0
        fields: dict[str, str] = {}
        while (line := self._line()) is not None:
            if not line:
                yield kernel_lines(fields)
                fields = {}
                continue
            name, equals, value = line.partition(b"=")
            if not equals:
                size = self._take(8)
                if size is None:
                    break
                data = self._take(int.from_bytes(size, "little") + 1)
                if data is None:
                    break
                value = data[:-1]
            if name in _KEPT:
                fields[name.decode()] = value.decode("utf-8", "backslashreplace")
        yield kernel_lines(fields)

    def _line(self) -> bytes | None:
        """Return the next line; None at the end."""
        while (end := self._data.find(b"\n", self._at)) < 0:
            if not self._fill(_MOST):
                self.torn = self.torn or bool(self._data[self._at :])
                return None
        line = self._data[self._at : end]
        self._at = end + 1
        return line

    def _take(self, size: int) -> bytes | None:
        """Return so many bytes; None where there are no more, or they are too many."""
        while len(self._data) - self._at < size:
            if size > _MOST or not self._fill(_MOST + 9):
                self.torn = True
                return None
        data = self._data[self._at : self._at + size]
        self._at += size
        return data

    def _fill(self, most: int) -> bool:
        more = self._more() if len(self._data) - self._at <= most else b""
        self._data, self._at = self._data[self._at :] + more, 0
        return bool(more)
