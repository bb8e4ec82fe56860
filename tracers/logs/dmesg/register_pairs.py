# SPDX-License-Identifier: GPL-2.0-only
"""Finds start and end among a splat's registers by arithmetic, when there is no vmlinux.

The proof. (1) At the WARN start and end are still in registers: the comparison has just read them
there, and the code after a WARN goes on to use them;
``tests/tracers/constants/dataflow/test_parameters.py`` reads this off every kernel in
tests/kernels. (2) Whatever the kernel passes is one section's struct pages, or a whole number of
sub-sections of one section (check_pfn_span, mm/memory_hotplug.c, since 7ea6216049ff, 5.3), and,
since the WARN fired, outside the window. (3) At one address of one kernel it is always the same
registers. So the true pair of registers fits (2) in every splat of that place; if only one pair of
values is left in a splat once every pair that fails in any of them is struck out, that is start and
end.

There is no proof, and no result, if more than one pair of values is left (a loop's neighbours, page
frame numbers that look like such addresses), if the sizes of struct page, page or section are not
known, or if registers are missing. It cannot detect that the window is of another kernel than the
log (unless the release differs), or that the WARN is not the window check. The other WARN of
vmemmap_populate, that a call covers more than a section, has a range within the window or longer
than a section; such pairs are counted as rivals. Part of a section from address 0 is not
considered: to the kernel a memmap at NULL is one that failed.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from tracers import regimes
from tracers.families import MASK
from tracers.formulas import WindowError, signed
from tracers.logs.byte_text import U64, Mask
from tracers.window import Window

#: SUBSECTION_SHIFT, include/linux/mmzone.h
_SUBSECTION: Final = 1 << 21
_FARTHEST: Final = 1 << 52  # bytes from VMEMMAP_START: struct pages of 52-bit physical addresses
_PLACES: Final = 1024  # of WARNs; a kernel has two or three
_RIVALS: Final = 1024  # sections; no caller asks for a longer range


@dataclass(frozen=True, slots=True)
class RangeRules:
    """Which ranges a kernel can pass to vmemmap_populate and vmemmap_free; all in bytes."""

    window: Window
    section: int  # struct pages of a section
    step: int  # struct pages of a sub-section

    @classmethod
    def of(cls, window: Window | None) -> Self | None:
        """Return the rules for the machine of ``window``; None if its sizes are not known."""
        if window is None:
            return None
        try:
            section = window.section_vmemmap
            pages = _SUBSECTION >> window.page_shift
        except WindowError:
            return None
        step = pages * section // window.section_pages
        return cls(window, section, step) if 0 < step <= section else None

    def fits(self, start: int, end: int) -> bool:
        """Whether [start, end) can be one call's: whole sub-sections of one section."""
        size = (end - start) & MASK
        first = self._ahead(start)
        return (
            0 < size <= self.section
            and size % self.step == 0
            and first is not None
            and first % self.step == 0
            and first // self.section == (first + size - 1) // self.section
        )

    def candidate(self, start: int, end: int) -> bool:
        """Whether [start, end) can be what the WARN fired for."""
        if start == 0 and (end - start) & MASK != self.section:
            return False
        return self.fits(start, end) and self.window.warns(start, end)

    def rival(self, start: int, end: int) -> bool:
        """Whether [start, end) can be what the other WARN fired for: more than one section."""
        bounds = (self.window.start, self.window.end)
        size = end - start
        if start in bounds and end in bounds:
            return False
        inside = bounds[0] <= start and end <= bounds[1]
        return inside and self.section < size <= _RIVALS * self.section and size % self.step == 0

    def all_fit(self, start: U64, end: U64) -> Mask:
        """Return ``fits`` of whole columns."""
        size = end - start
        section, step = np.int64(self.section), np.int64(self.step)
        sizes = np.where(size <= np.uint64(self.section), size, np.uint64(0)).view(np.int64)
        first = (start - np.uint64(self.window.start)).view(np.int64)
        there = (first >= -_FARTHEST) & (first <= _FARTHEST)
        first = np.where(there, first, 0)
        fit: Mask = there & (sizes > 0) & (sizes % step == 0) & (first % step == 0)
        fit &= first // section == (first + sizes - 1) // section
        return fit

    def candidates(self, start: U64, end: U64) -> Mask:
        """Return ``candidate`` of whole columns."""
        whole = (start != 0) | (end - start == np.uint64(self.section))
        found: Mask = whole & self.all_fit(start, end) & regimes.warns(start, end, self.window)
        return found

    def aligned(self, address: int) -> bool:
        """Whether a call's range can begin or end at ``address``."""
        ahead = self._ahead(address)
        return ahead is not None and ahead % self.step == 0

    def _ahead(self, address: int) -> int | None:
        """Return the bytes from VMEMMAP_START, signed; None if no struct page can be there.

        vmemmap itself is a whole number of sections away from it, memstart_addr being a multiple
        of a section (ARM64_MEMSTART_ALIGN): no boot's KASLR changes the remainders.
        """
        ahead = signed((address - self.window.start) & MASK)
        return ahead if -_FARTHEST <= ahead <= _FARTHEST else None


class RegisterPairs:
    """The pairs of registers that the splats so far leave possible, by place."""

    def __init__(self, rules: RangeRules) -> None:
        self._rules = rules
        self._left: dict[Hashable, frozenset[tuple[int, int]]] = {}
        self.contradicted = 0  # splats after which a place had no pair left

    def see(self, place: Hashable, registers: Sequence[int]) -> bool:
        """Strike out the pairs of x registers that do not fit this splat of ``place``.

        Returns whether that reduced the pairs left for splats that were seen earlier.
        """
        left = self._left.get(place)
        if left is None:
            if len(self._left) < _PLACES:
                self._left[place] = self._all(registers)
            return False
        kept = frozenset(
            (first, last) for first, last in left if self._may_be(registers[first], registers[last])
        )
        self._left[place] = kept
        self.contradicted += bool(left) and not kept
        return len(kept) < len(left)

    def range(self, place: Hashable, registers: Sequence[int]) -> tuple[int, int] | None:
        """Return start and end of a splat that was seen, if all pairs left agree on them."""
        values = {(registers[first], registers[last]) for first, last in self._left.get(place, ())}
        if len(values) != 1:
            return None
        start, end = values.pop()
        return (start, end) if self._rules.candidate(start, end) else None

    def ranges(self, place: Hashable, registers: U64) -> tuple[U64, U64] | None:
        """Return start and end of splats of ``place``, if they change nothing and are all known.

        ``registers``: [N, 30]. None: they are to be seen one by one.
        """
        left = self._left.get(place)
        if not left:
            return None
        start, end = (registers[:, number] for number in next(iter(left)))
        for pair in left:
            first, last = (registers[:, number] for number in pair)
            if (first != start).any() or (last != end).any():
                return None
        return (start, end) if self._rules.candidates(start, end).all() else None

    def exhausted(self, place: Hashable) -> bool:
        """Whether no further splat can decide this place."""
        return not self._left.get(place)

    def _all(self, registers: Sequence[int]) -> frozenset[tuple[int, int]]:
        aligned = [n for n, value in enumerate(registers) if self._rules.aligned(value)]
        return frozenset(
            (first, last)
            for first in aligned
            for last in aligned
            if self._may_be(registers[first], registers[last])
        )

    def _may_be(self, start: int, end: int) -> bool:
        return self._rules.candidate(start, end) or self._rules.rival(start, end)
