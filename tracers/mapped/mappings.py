# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel addresses are mapped, as columns, whoever said so.

Promises: ranges are in order and disjoint; neighbours of one kind are one range. Addresses are
modulo 2^64: a range may end at 2^64, and a question may go past it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from tracers.families import MASK

U64 = npt.NDArray[np.uint64]
Kinds = npt.NDArray[np.uint8]

#: How memory is mapped: as normal memory, which struct pages are, or as a device's registers.
NORMAL: Final = 0
DEVICE: Final = 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """One range of mapped addresses, [start, start + size)."""

    start: int
    size: int
    device: bool = False

    @property
    def end(self) -> int:
        """Where it ends, modulo 2^64."""
        return (self.start + self.size) & MASK


@dataclass(frozen=True, slots=True)
class Mappings:
    """``first`` and ``last``: u64, both inclusive. ``kind``: ``NORMAL`` or ``DEVICE``.

    ``unseen``: (start, size) of kernel addresses of which it is not known whether they are mapped.
    """

    first: U64
    last: U64
    kind: Kinds
    unseen: tuple[tuple[int, int], ...] = field(default=())

    @classmethod
    def of(cls, first: U64, last: U64, kind: Kinds, unseen: Sequence[tuple[int, int]] = ()) -> Self:
        """Bring ranges into order and join neighbours. What overlaps counts once."""
        order = np.lexsort((last, first))
        first, last, kind = first[order], last[order], kind[order]
        if len(first):
            reach = np.maximum.accumulate(last)
            # the range before ends right before this one, or has all of it
            joined = np.zeros(len(first), np.bool_)
            follows = first[1:] <= reach[:-1] + np.uint64(reach[:-1] != np.uint64(MASK))
            joined[1:] = follows & (kind[1:] == kind[:-1])
            begins = np.flatnonzero(~joined)
            first, kind = first[begins], kind[begins]
            last = np.maximum.reduceat(last, begins)
            first[1:] = np.maximum(
                first[1:], np.minimum(last[:-1], np.uint64(MASK - 1)) + np.uint64(1)
            )
            whole = first <= last
            first, last, kind = first[whole], last[whole], kind[whole]
        return cls(first, last, kind, tuple(unseen))

    @classmethod
    def all_of(cls, parts: Sequence["Mappings"], unseen: Sequence[tuple[int, int]] = ()) -> Self:
        """Bring what ``parts`` have together; of their own ``unseen`` nothing is kept."""
        return cls.of(
            np.concatenate([np.empty(0, np.uint64), *(part.first for part in parts)]),
            np.concatenate([np.empty(0, np.uint64), *(part.last for part in parts)]),
            np.concatenate([np.empty(0, np.uint8), *(part.kind for part in parts)]),
            unseen,
        )

    def __len__(self) -> int:
        """Return how many ranges there are."""
        return len(self.first)

    def within(self, start: int, size: int) -> "Mappings":
        """Return what is mapped of [start, start + size), cut to it; may go past 2^64."""
        parts = [self._cut(first, last) for first, last in _pieces(start, size)]
        return Mappings.all_of(parts, self._unseen_of(start, size))

    def without(self, ranges: Sequence[tuple[int, int]]) -> "Mappings":
        """Return what is mapped outside of ``ranges``, (start, size) each."""
        pieces = sorted(piece for start, size in ranges for piece in _pieces(start, size))
        kept: list[Mappings] = []
        at = 0
        for first, last in pieces:
            if first > at:
                kept.append(self._cut(at, first - 1))
            at = max(at, last + 1)
        if at <= MASK:
            kept.append(self._cut(at, MASK))
        return Mappings.all_of(kept, self.unseen)

    @property
    def size(self) -> int:
        """Bytes that are mapped."""
        return sum(part.size for part in self.stretches())

    def of_kind(self, kind: int) -> "Mappings":
        """Return those of one kind."""
        chosen = self.kind == kind
        return Mappings(self.first[chosen], self.last[chosen], self.kind[chosen], self.unseen)

    def stretches(self) -> Iterator[Stretch]:
        """Yield the ranges one by one."""
        columns = (self.first.tolist(), self.last.tolist(), self.kind.tolist())
        for first, last, kind in zip(*columns, strict=True):
            yield Stretch(first, last - first + 1, kind == DEVICE)

    def seen(self, start: int, size: int) -> bool:
        """Say whether it is known of all of [start, start + size) what is mapped."""
        return not self._unseen_of(start, size)

    def _unseen_of(self, start: int, size: int) -> tuple[tuple[int, int], ...]:
        asked = list(_pieces(start, size))
        return tuple(
            (begin, length)
            for begin, length in self.unseen
            for first, last in _pieces(begin, length)
            if any(first <= b and a <= last for a, b in asked)
        )

    def _cut(self, first: int, last: int) -> "Mappings":
        low, high = np.uint64(first), np.uint64(last)
        begin = int(np.searchsorted(self.last, low, "left"))
        end = int(np.searchsorted(self.first, high, "right"))
        return Mappings(
            np.maximum(self.first[begin:end], low),
            np.minimum(self.last[begin:end], high),
            self.kind[begin:end],
        )


def _pieces(start: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield [start, start + size) as (first, last), in two where it goes past 2^64."""
    if size <= 0:
        return
    start, end = start & MASK, (start & MASK) + size
    yield start, min(end - 1, MASK)
    if end > MASK + 1:
        yield 0, min(end - MASK - 2, start - 1)
