# SPDX-License-Identifier: GPL-2.0-only
"""Tells reports that are in a log twice: a console's text, and dmesg's of the same boot behind it.

No thread prints two reports in one microsecond of the kernel's clock, so one that has time, thread,
place and registers of an earlier one is that one. Promises: such a report is counted once; memory
is bounded, beyond which reports are not remembered.
"""

from collections.abc import Hashable
from typing import Final

_KEPT: Final = 1 << 17  # reports


class Repeated:
    """The reports so far; ``count`` of them were repeated."""

    def __init__(self) -> None:
        self.count = 0
        self._seen: set[int] = set()
        self._left = _KEPT

    def is_one(self, what: Hashable, registers: Hashable | None) -> bool:
        """Return whether a report was there already; remember it.

        ``what``: its time, thread and place. ``registers``: None where they cannot be read, as may
        be of one of two prints.
        """
        any_registers, some = hash((what, None)), hash((what, True))
        exact = hash((what, registers))
        wanted = exact if registers is not None and some in self._seen else any_registers
        if wanted in self._seen:
            self.count += 1
            return True
        if self._left:
            self._left -= 1
            self._seen |= {any_registers, exact} | ({some} if registers is not None else set())
        return False
