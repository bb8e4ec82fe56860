# SPDX-License-Identifier: GPL-2.0-only
"""The sections that matching calls are of, in order of address: how many, how bad, how slow.

A call is of the section in which it starts: the kernel populates and frees the struct pages of one
section at most at once. Promises: the same numbers however the table grew; a call changed, only its
block is read again; memory is bounded whatever the addresses are. Of more than ``MOST`` sections
two share one place, or four, and so on: as few as are needed.

Sections are counted from the kernel half's start to 2^64 and on through the user half, which is how
addresses that run past the end go. They begin where this kernel's do (``Window.vmemmap``).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.explore.bits import Bits
from recordings.explore.matches import Matches, is_call
from recordings.explore.span_table import Flag
from recordings.ledger.columns import I64, U64, Bool
from tracers.families import HALF, MASK, TOP
from tracers.formulas import WindowError
from tracers.window import Regime, Window

#: Sections, or groups of as many as are needed, that are told apart.
MOST: Final = 32_768
#: Bytes of struct pages of a section, where the machine does not say: 128 MiB of 4-KiB pages.
USUAL: Final = 2 << 20
#: From the best to the worst: with a hit in it, a section is not in order.
SEVERITY: Final = (
    Regime.INSIDE, Regime.UNKNOWN, Regime.STRADDLING, Regime.BELOW, Regime.ABOVE, Regime.WRAPPED,
)  # fmt: skip
#: Empty cells in a row that are drawn; more are one mark.
BLANKS: Final = 6

_COLUMNS: Final = ("start", "regime", "flags", "duration", "end_row")
#: Places in a block that are counted in a table, without sorting.
_DENSE: Final = 1 << 18
_RANK: Final = np.zeros(256, np.uint8)
_RANK[[regime.code for regime in SEVERITY]] = np.arange(len(SEVERITY))


@dataclass(frozen=True, slots=True)
class Cell:
    """Sections side by side, with what their calls came to; ``calls`` 0: none was touched."""

    start: int  # first address
    size: int  # bytes of addresses; start + size may run past 2^64
    calls: int = 0
    regime: str = ""  # the worst
    silent: bool = False  # a call is a hit that the kernel's own check lets pass
    longest_ns: int | None = None  # None: of no call both ends were seen
    gap: bool = False  # an empty stretch, drawn shorter than it is


@dataclass(frozen=True, slots=True)
class Cells:
    """A strip as drawn."""

    cells: tuple[Cell, ...]
    sections: int  # that a cell stands for


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """The sections that were touched, as arrays in order of address; equal only to itself."""

    size: int  # bytes of struct pages of a section
    known: bool  # whether that is this machine's
    base: int  # where the first whole section of the kernel half begins, less HALF
    level: int  # each place stands for 1 << level sections
    places: U64
    calls: I64
    ranks: NDArray[np.uint8]  # of the worst regime, in SEVERITY
    silent: Bool
    longest: U64
    timed: Bool
    unplaced: int  # calls whose start is not known

    def __len__(self) -> int:
        return len(self.places)

    def regimes(self) -> tuple[tuple[str, int], ...]:
        """Return the worst regimes there are with their numbers of places, the worst first."""
        counts = np.bincount(self.ranks, minlength=len(SEVERITY)).tolist()
        found = [(regime.value, count) for regime, count in zip(SEVERITY, counts, strict=True)]
        return tuple((regime, count) for regime, count in reversed(found) if count)

    def cells(self, width: int) -> Cells:
        """Return at most ``width`` cells of as few sections each as fit, long gaps collapsed."""
        if not len(self) or width < 1:
            return Cells((), 1 << self.level)
        for by in _steps():
            bins = self.places // np.uint64(by)
            heads = np.flatnonzero(np.append(True, bins[1:] != bins[:-1]))
            blanks = np.diff(bins[heads]) - np.uint64(1)
            drawn = np.where(blanks > BLANKS, 1, np.minimum(blanks, BLANKS))
            if len(heads) + int(drawn.sum()) <= width or len(heads) == 1:
                break
        return Cells(tuple(self._cells(bins, heads, by)), by << self.level)

    def _cells(self, bins: U64, heads: I64, by: int) -> list[Cell]:
        rows = zip(
            bins[heads].tolist(),
            np.add.reduceat(self.calls, heads).tolist(),
            np.maximum.reduceat(self.ranks, heads).tolist(),
            np.logical_or.reduceat(self.silent, heads).tolist(),
            np.maximum.reduceat(self.longest, heads).tolist(),
            np.logical_or.reduceat(self.timed, heads).tolist(),
            strict=True,
        )
        cells: list[Cell] = []
        at: int | None = None
        for number, calls, rank, silent, longest, timed in rows:
            if at is not None and number - at > BLANKS:
                cells.append(Cell(*self._range(at, number, by), gap=True))
            elif at is not None:
                cells += [Cell(*self._range(empty, empty + 1, by)) for empty in range(at, number)]
            where = self._range(number, number + 1, by)
            regime = SEVERITY[rank].value
            cells.append(Cell(*where, calls, regime, silent, longest if timed else None))
            at = number + 1
        return cells

    def _range(self, first: int, end: int, by: int) -> tuple[int, int]:
        """Return start and size of the addresses of bins of ``by`` places."""
        low, high = (
            min(TOP, max(0, ((number * by << self.level) - 1) * self.size + self.base))
            for number in (first, end)
        )
        return (low + HALF) & MASK, high - low


class Sections:
    """What becomes a strip: ``update`` takes in what ``matches`` has gained."""

    def __init__(self, matches: Matches, window: Window | None, *, most: int = MOST) -> None:
        self._matches = matches
        self._most = most
        self._size, self._known = _section(window)
        self._base = _begin(window, self._size)
        self._clear()
        self._strip: Strip | None = None

    def update(self) -> None:
        """Look at the blocks that have changed since; call it after ``matches.update``."""
        table = self._matches.table
        self._in.grow(self._matches.size)
        number = 0
        while (first := number * table.block) < self._matches.size:
            stop = min(first + table.block, self._matches.size)
            seen = self._matches.seen[number]
            if number == len(self._seen):
                self._seen.append((-1, 0))
            if self._seen[number] != seen:
                now = self._matches.listed.between(first, stop)
                now &= is_call(table.read(first, stop, ("kind",))["kind"])
                if (self._in.between(first, stop) & ~now).any():  # one matches no longer
                    self._clear()
                    self._in.grow(self._matches.size)
                    number = 0
                    continue
                self._fold(first, stop, now)
                self._seen[number] = seen
                self._strip = None
            number += 1

    def strip(self) -> Strip:
        """Return what there is, the same value until there is more."""
        if self._strip is None:
            self._strip = Strip(
                self._size,
                self._known,
                self._base,
                self._level,
                self._places,
                self._calls,
                self._ranks,
                self._silent,
                self._longest,
                self._timed,
                self._unplaced,
            )
        return self._strip

    def _clear(self) -> None:
        self._seen: list[tuple[int, int]] = []  # by block: its version, and its end then
        self._in = Bits()  # calls that were counted
        self._level = 0
        self._unplaced = 0
        self._places: U64 = np.zeros(0, np.uint64)
        self._calls: I64 = np.zeros(0, np.int64)
        self._ranks = np.zeros(0, np.uint8)
        self._silent: Bool = np.zeros(0, np.bool_)
        self._longest: U64 = np.zeros(0, np.uint64)
        self._timed: Bool = np.zeros(0, np.bool_)

    def _fold(self, first: int, stop: int, now: Bool) -> None:
        """Count the matches of a block that were not, and take in how long all of them took."""
        columns = self._matches.table.read(first, stop, _COLUMNS)
        fresh = now & ~self._in.between(first, stop)
        self._in.put(first, now)
        known = (columns["flags"] & np.uint8(Flag.START_KNOWN)) != 0
        self._unplaced += int(np.count_nonzero(fresh & ~known))
        at = np.flatnonzero(now & known)
        if not len(at):
            return
        place = self._place(columns["start"][at])
        low, high = place.min(), place.max()
        if high - low < _DENSE:
            inverse = (place - low).astype(np.int64)
            touched = np.zeros(int(high - low) + 1, np.bool_)
            touched[inverse] = True
            rows = np.flatnonzero(touched)
            places = rows.astype(np.uint64) + low
            size = len(touched)
        else:
            places, inverse = np.unique(place, return_inverse=True)
            size = len(places)
            rows = np.arange(size)
        ended = columns["end_row"][at] >= 0
        ranks, longest = np.zeros(size, np.uint8), np.zeros(size, np.uint64)
        timed, silent = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        np.maximum.at(ranks, inverse, _RANK[columns["regime"][at]])
        np.maximum.at(longest, inverse[ended], columns["duration"][at][ended])
        timed[inverse[ended]] = True
        silent[inverse[(columns["flags"][at] & np.uint8(Flag.SILENT)) != 0]] = True
        calls = np.bincount(inverse[fresh[at]], minlength=size)
        self._join(
            places,
            {
                "_calls": calls[rows],
                "_ranks": ranks[rows],
                "_silent": silent[rows],
                "_longest": longest[rows],
                "_timed": timed[rows],
            },
        )

    def _place(self, start: U64) -> U64:
        """Return the place of each address."""
        key = start ^ np.uint64(HALF)  # the kernel half first
        base, size = np.uint64(self._base), np.uint64(self._size)
        place = np.where(key < base, np.uint64(0), (key - base) // size + np.uint64(1))
        return place >> np.uint64(self._level)

    def _join(self, places: U64, columns: dict[str, NDArray[Any]]) -> None:
        """Add places, and halve what can be told apart while they are too many."""
        merged = np.concatenate((self._places, places))
        order = np.argsort(merged, kind="stable")
        merged = merged[order]
        heads = np.flatnonzero(np.append(True, merged[1:] != merged[:-1]))
        while len(heads) > self._most:
            self._level += 1
            merged >>= np.uint64(1)
            heads = np.flatnonzero(np.append(True, merged[1:] != merged[:-1]))
        self._places = merged[heads]
        for name, column in columns.items():
            both = np.concatenate((getattr(self, name), column))[order]
            add = np.add if name == "_calls" else np.maximum  # of booleans: either
            setattr(self, name, add.reduceat(both, heads))


def _steps() -> list[int]:
    """Return the numbers of places that a cell can stand for, ascending."""
    return [1, *(by for power in range(1, 64) for by in (1 << power, 3 << power - 1))]


def _section(window: Window | None) -> tuple[int, bool]:
    """Return the bytes of a section's struct pages, and whether they are known."""
    try:
        return (USUAL, False) if window is None else (window.section_vmemmap, True)
    except WindowError:
        return USUAL, False


def _begin(window: Window | None, size: int) -> int:
    """Return where the first whole section begins, from the start of the kernel half."""
    if window is None:
        return 0
    try:
        at = window.vmemmap
    except WindowError:
        at = window.start
    return ((at - HALF) & MASK) % size
