# SPDX-License-Identifier: GPL-2.0-only
"""A dump as makedumpfile writes it into a pipe ("flattened"), read as the file it stands for.

Promises: of what was written twice the later one counts, as makedumpfile -R has it; the number of
pieces is capped; what the stream promises and has not ends it there.

Source: makedumpfile's makedumpfile.h (struct makedumpfile_header, makedumpfile_data_header); QEMU's
dump.c writes its kdumps so (write_start_flat_header).
"""

import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from tracers.constants.errors import ConstantsError

SIGNATURE: Final = b"makedumpfile"
_HEAD: Final = 4096
_ENTRY: Final = struct.Struct(">qq")  # offset in the file, size; the data follow
_MOST: Final = 1 << 21
_MOST_BACK: Final = 1 << 14  # pieces that are not behind all others
_END: Final = -1


class Flattened:
    """The file that the stream stands for."""

    def __init__(self, read_at: Callable[[int, int], bytes]) -> None:
        """Find the pieces; ``read_at``: (offset, size) of the stream.

        Raises:
            ConstantsError: there are too many; the text does not name the file.
        """
        self._read_at = read_at
        self._starts: list[int] = []
        self._pieces: list[tuple[int, int, int]] = []  # start, end, place in the stream
        at = _HEAD
        back = 0
        for _ in range(_MOST):
            entry = read_at(at, _ENTRY.size)
            if len(entry) < _ENTRY.size:
                return  # cut short: what is there counts
            offset, size = _ENTRY.unpack(entry)
            at += _ENTRY.size
            if offset == _END or offset < 0 or size <= 0:
                return
            if self._pieces and offset < self._pieces[-1][1]:
                back += 1
                if back > _MOST_BACK:
                    break
                self._over(offset, offset + size, at)
            else:
                self._starts.append(offset)
                self._pieces.append((offset, offset + size, at))
            at += size
        raise ConstantsError("a flattened dump of too many pieces: rearrange it (makedumpfile -R)")

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end; what was never written is zeros."""
        parts: list[bytes] = []
        end = min(offset + size, self._pieces[-1][1] if self._pieces else 0)
        index = max(bisect_right(self._starts, offset) - 1, 0)
        while offset < end:
            start, stop, place = self._pieces[index]
            if stop <= offset:
                index += 1
                continue
            if offset < start:
                gap = min(start, end) - offset
                parts.append(bytes(gap))
                offset += gap
                continue
            part = self._read_at(place + offset - start, min(stop, end) - offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def _over(self, start: int, end: int, place: int) -> None:
        """Put a piece over those that were written before it."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = bisect_right(self._starts, end)
        kept: list[tuple[int, int, int]] = []
        for begin, stop, at in self._pieces[first:last]:
            if begin < start:
                kept.append((begin, min(stop, start), at))
            if stop > end:
                kept.append((max(begin, end), stop, at + max(0, end - begin)))
        kept = sorted([*kept, (start, end, place)])
        self._pieces[first:last] = kept
        self._starts[first:last] = [begin for begin, _, _ in kept]
