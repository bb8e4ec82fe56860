# SPDX-License-Identifier: GPL-2.0-only
"""What ``vmemscope explain`` is asked about, already understood."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """[start, end), end None for a single value."""

    text: str  # as it was written
    kind: str  # "addr", "pfn" or "phys"
    start: int
    end: int | None
    why: str  # how it was understood
