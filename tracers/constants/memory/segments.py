# SPDX-License-Identifier: GPL-2.0-only
"""Where in a file the memory of some addresses lies.

Promises: an address is in one place only, that of the segment which begins first (of those that
begin together, the one named first); reading goes across segments that touch; nothing is read
that no segment has. A segment past 2^64 is cut there.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final

_TOP: Final = 1 << 64


class Segments:
    """Disjoint ranges of addresses, and where in a file each begins."""

    def __init__(self, segments: Iterable[tuple[int, int, int]]) -> None:
        """``segments``: address, offset in the file, size; in any order, overlapping or not."""
        self._starts: list[int] = []
        self._rows: list[tuple[int, int, int]] = []  # start, end, offset
        end = 0
        for start, offset, size in sorted(segments, key=lambda segment: segment[0]):
            stop = min(start + size, _TOP)
            begin = max(start, end)
            if begin < stop:
                self._starts.append(begin)
                self._rows.append((begin, stop, offset + begin - start))
                end = stop

    def find(self, address: int) -> tuple[int, int] | None:
        """Return where ``address`` is in the file and how many bytes follow on; None: nowhere."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, end, offset = self._rows[index]
        return (offset + address - start, end - address) if address < end else None

    def read(self, read_at: Callable[[int, int], bytes], address: int, size: int) -> bytes | None:
        """Return ``size`` bytes at ``address``, None where they are not; ``read_at``: the file."""
        parts: list[bytes] = []
        while size > 0:
            found = self.find(address)
            if found is None:
                return None
            offset, there = found
            part = read_at(offset, min(size, there))
            if len(part) < min(size, there):
                return None
            parts.append(part)
            address += len(part)
            size -= len(part)
        return b"".join(parts)

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Return [start, end) of what is there, ascending; ranges that touch are one."""
        joined: list[tuple[int, int]] = []
        for start, end, _ in self._rows:
            if joined and joined[-1][1] == start:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((start, end))
        return tuple(joined)
