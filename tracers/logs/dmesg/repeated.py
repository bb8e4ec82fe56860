# SPDX-License-Identifier: GPL-2.0-only
"""Tells reports that are in a log twice: a console's text, and dmesg's of the same boot behind it.

No thread prints two reports in one microsecond of the kernel's clock, so one that has time, thread,
place and registers of an earlier one is that one. Promises: such a report is counted once; memory
is bounded, beyond which reports are not remembered.
"""

from collections.abc import Collection, Hashable
from typing import Final

_KEPT: Final = 1 << 17  # reports


class Repeated:
    """The reports so far; ``count`` of them were repeated."""

    def __init__(self) -> None:
        self.count = 0
        self._seen: set[int] = set()
        self._left = _KEPT

    def is_one(self, names: Collection[Hashable], registers: Hashable | None = None) -> bool:
        """Return whether a report was there already; remember it.

        ``names``: its time, thread and place; of a report with several, any will do.
        ``registers``: None where they cannot be read, as may be of one of two prints.
        """
        wanted = {self._wanted(name, registers) for name in names}
        if not wanted.isdisjoint(self._seen):
            self.count += 1
            return True
        if self._left:
            self._left -= 1
            for name in names:
                self._seen |= {hash((name, None)), hash((name, registers))}
                self._seen |= {hash((name, True))} if registers is not None else set()
        return False

    def _wanted(self, name: Hashable, registers: Hashable | None) -> int:
        exact = registers is not None and hash((name, True)) in self._seen
        return hash((name, registers if exact else None))
