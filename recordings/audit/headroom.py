# SPDX-License-Identifier: GPL-2.0-only
"""How much physical memory could still get struct pages in the window, and where.

Promises: what is said to be free has no struct pages and no resource, by the sources that there
are; it is counted in whole sections, as memory is added.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tracers.formulas import WindowError
from tracers.mapped.sources import Sources
from tracers.window import Window


@dataclass(frozen=True, slots=True)
class Headroom:
    """Physical addresses and bytes."""

    covered_start: int  # memory whose struct pages are in the window in use
    covered_end: int
    taken: int  # of it, what resources and struct pages have, in whole sections
    largest_start: int  # the largest free piece
    largest: int

    @property
    def free(self) -> int:
        """Bytes that could be added, in pieces."""
        return self.covered_end - self.covered_start - self.taken


def headroom(sources: Sources, window: Window) -> Headroom | None:
    """Return it; None where memstart_addr or a size is not known, or nothing says what is taken."""
    try:
        first, end = window.phys_range
        section = window.section_pages << window.page_shift
    except WindowError:
        return None
    if not sources.resources or end <= first:
        return None
    page = 1 << window.page_shift
    busy = [(each.start, each.end) for each in sources.resources if not each.above]
    if sources.sections is not None:
        busy += [
            (run.first * page, (run.first + run.pages) * page) for run in sources.sections.runs
        ]
    first = -(-first // section) * section
    end = end // section * section
    taken, at, largest = 0, first, (first, 0)
    for low, high in _whole(busy, section):
        start, stop = max(low, first), min(high, end)
        if start >= stop:
            continue
        taken += stop - start
        largest = max(largest, (at, start - at), key=lambda each: each[1])
        at = stop
    largest = max(largest, (at, end - at), key=lambda each: each[1])
    return Headroom(first, end, taken, *largest)


def _whole(ranges: Iterable[tuple[int, int]], section: int) -> list[tuple[int, int]]:
    """Return ranges rounded out to sections, joined, in order."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        start, end = low // section * section, -(-high // section) * section
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
