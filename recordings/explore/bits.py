# SPDX-License-Identifier: GPL-2.0-only
"""One bit for each position of a table: eight million calls are a megabyte."""

from typing import Final

import numpy as np

from recordings.ledger.columns import I64, Bool

_MASKS: Final = np.array([1 << bit for bit in range(8)], np.uint8)


class Bits:
    """A growing set of positions, empty at first."""

    def __init__(self) -> None:
        self._bytes = np.zeros(0, np.uint8)

    def grow(self, size: int) -> None:
        """Make room for positions below ``size``."""
        if (bytes_ := -(-size // 8)) > len(self._bytes):
            grown = np.zeros(max(bytes_, len(self._bytes) * 5 // 4), np.uint8)
            grown[: len(self._bytes)] = self._bytes
            self._bytes = grown

    def add(self, positions: I64) -> None:
        """Add positions."""
        np.bitwise_or.at(self._bytes, positions >> 3, _MASKS[positions & 7])

    def put(self, start: int, members: Bool) -> None:
        """Say of every position from ``start`` on whether it is a member."""
        stop = start + len(members)
        first, last = start // 8, -(-stop // 8)
        bits = np.unpackbits(self._bytes[first:last], bitorder="little")
        bits[start - first * 8 : stop - first * 8] = members
        self._bytes[first:last] = np.packbits(bits, bitorder="little")

    def has(self, positions: I64) -> Bool:
        """Return whether each position is a member."""
        found: Bool = (self._bytes[positions >> 3] & _MASKS[positions & 7]) != 0
        return found

    def between(self, start: int, stop: int) -> Bool:
        """Return the same of all positions from ``start`` to ``stop``."""
        first, last = start // 8, -(-stop // 8)
        bits = np.unpackbits(self._bytes[first:last], bitorder="little").view(np.bool_)
        return bits[start - first * 8 : stop - first * 8]
