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
        ``registers``: some of their values, None where they cannot be read, as may be of one of
        two prints.
        """
        seen = self._seen
        for name in names:
            if (name_hash := hash(name)) in seen and (
                registers is None
                or hash((name, registers)) in seen
                or hash((name, None)) in seen  # of the one before they could not be read
            ):
                self.count += 1
                return True
            if self._left > 0:
                self._left -= 1
                seen.add(name_hash)
                seen.add(hash((name, registers)))
        return False
