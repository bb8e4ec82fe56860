# SPDX-License-Identifier: GPL-2.0-only
"""Places the hot-plugged regions of a recording anew, below another end of physical memory.

Promises: a place is what the kernel's search finds beside what /proc/iomem of the recording and
regions that stay take; where that is not known, or more than ``SEARCHED`` would be searched, there
is no place and never a guess. Time and memory are bounded whatever a recording holds.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from recordings.analysis.relocation import Regions, Relocation
from recordings.ledger.columns import COLUMNS, U64
from tracers.formulas import WindowError
from tracers.machine import Machine
from tracers.placement import place
from tracers.window import Window

if TYPE_CHECKING:
    from recordings.format.parts import Readable

#: Regions relocated, and busy ranges searched; a forged recording can hold any number.
SEARCHED: Final = 1024
#: Regions without a known place that are listed beside those.
LISTED: Final = 4096


@dataclass(frozen=True, slots=True)
class Placements:
    """Regions that reach above the end, ascending: the lowest are listed."""

    listed: tuple[Relocation, ...]
    lost: U64  # [first, end) pfns of all others, u64[N, 2]: none has a known place
    total: int  # regions: those listed and those that are not; at least, with ``beyond``
    beyond: int | None  # from this pfn on regions were not kept, so no place is known there

    @property
    def full(self) -> int:
        """How many have no place: the driver's request would fail."""
        return sum(1 for relocation in self.listed if relocation.full)

    @property
    def unknown(self) -> int:
        """How many may have a place that is not known."""
        settled = sum(1 for relocation in self.listed if relocation.to is not None)
        return self.total - settled - self.full


NO_PLACEMENTS: Final = Placements((), np.zeros((0, 2), np.uint64), 0, None)


def place_regions(recording: "Readable", last: int) -> Placements:
    """Place the regions that reach above ``last``, each in a place of its own, top down.

    Raises:
        WindowError: the recording's window or a size of it is not known.
    """
    machine = recording.header.machine
    window = machine.window
    if window is None:
        raise WindowError("the recording says no page size: its regions cannot be placed anew")
    shift, align = window.page_shift, window.section_pages << window.page_shift
    regions = Regions(window)
    for batch in recording.batches(columns=COLUMNS):
        regions.fold(batch.events)
    pfns, beyond = regions.regions, regions.beyond
    reaches = pfns[:, 1] > np.uint64((last + 1) >> shift)
    above = pfns[reaches]
    taken = _taken(machine, pfns[~reaches], window)
    known = has_iomem(machine) and len(taken) <= SEARCHED
    # regions that stay and were not kept would take room, too
    known = known and not (beyond[:, 0] <= np.uint64(last >> shift)).any()
    busy = [(first, end) for first, end in taken[:SEARCHED].tolist()]
    listed: list[Relocation] = []
    for number, (first, end) in enumerate(above[:LISTED].tolist()):
        size = (end - first) << shift
        searched = known and number < SEARCHED
        at = place(size, align, last, busy) if searched else None
        to = None if at is None else at >> shift
        listed.append(Relocation(first, end - first, to, full=searched and at is None))
        if at is not None:
            busy.append((at, at + size - 1))
    return Placements(
        tuple(listed),
        np.concatenate((above[LISTED:], beyond)),
        len(above),
        int(beyond[0, 0]) if len(beyond) else None,
    )


def has_iomem(machine: Machine) -> bool:
    """Say whether /proc/iomem is known; read without root it is all 0s."""
    return any((first, last) != (0, 0) for first, last, _ in machine.iomem)


def _taken(machine: Machine, staying: U64, window: Window) -> U64:
    """Return what is busy, [first, last] bytes u64[N, 2] ascending.

    Ranges that leave no room for a section between them are joined. ``staying``: regions, pfns.
    """
    shift, one = np.uint64(window.page_shift), np.uint64(1)
    section = np.uint64(window.section_pages) << shift
    entries = [(first, last) for first, last, _ in machine.iomem if (first, last) != (0, 0)]
    busy = np.concatenate(
        (
            np.array(entries, np.uint64).reshape(-1, 2),
            np.stack((staying[:, 0] << shift, (staying[:, 1] << shift) - one), axis=1),
        )
    )
    if not len(busy):
        return busy
    busy = busy[np.lexsort((busy[:, 1], busy[:, 0]))]
    first, reach = busy[:, 0], np.maximum.accumulate(busy[:, 1])
    heads = np.ones(len(busy), np.bool_)
    heads[1:] = (first[1:] > reach[:-1]) & (first[1:] - reach[:-1] > section)
    edges = np.flatnonzero(heads)
    return np.stack((first[edges], np.maximum.reduceat(busy[:, 1], edges)), axis=1)
