# SPDX-License-Identifier: GPL-2.0-only
"""What one method found out about a kernel's constants: numbers, and what they rest on.

A method that cannot say is `None`, one that knows only half says so with that half `None`: nothing
here is ever a guess. Agreement between methods is judged in `gather`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """One method's answer. Addresses are u64 ints, `end` is exclusive, sizes are bytes."""

    start: int | None
    end: int | None
    method: str
    detail: str
    """What it rests on, one line: instructions with their addresses, or the file and field."""
    va_bits: int | None = None
    page_size: int | None = None
    struct_page: int | None = None
    facts: tuple[tuple[str, int], ...] = ()
    """Further named numbers the same method read, e.g. ("VMALLOC_START", 0xffff800080000000)."""

    @property
    def window(self) -> tuple[int, int] | None:
        """(start, end) where both are known."""
        if self.start is None or self.end is None:
            return None
        return self.start, self.end
