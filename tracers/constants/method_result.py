# SPDX-License-Identifier: GPL-2.0-only
"""The result of one method of reading a kernel's constants: numbers, and the evidence for them.

A method that cannot tell gives `None`, one that knows only one bound gives that bound and `None`
for the other: no number here is ever a guess. `gather` judges whether the methods agree.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method's result. Addresses are u64 ints, `end` is exclusive, sizes are bytes."""

    start: int | None
    end: int | None
    method: str
    detail: str
    """The evidence, one line: instructions with their addresses, or the file and field."""
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
