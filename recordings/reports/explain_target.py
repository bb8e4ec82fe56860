# SPDX-License-Identifier: GPL-2.0-only
"""The parsed argument of ``vmemscope explain``: an address, a pfn or a physical address."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """[start, end), end None for a single value."""

    text: str  # as it was written
    kind: str  # "addr", "pfn" or "phys"
    start: int
    end: int | None
    why: str  # why it was parsed so
