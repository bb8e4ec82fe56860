# SPDX-License-Identifier: GPL-2.0-only
"""Pairs exits with entries, so that a filter on arguments keeps or drops whole calls.

An exit has no arguments, so it is paired with its entry, per thread and probe, last in first out,
across batches. Promises: an exit is kept if and only if its entry was; an exit without an entry is
dropped.
"""

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]

_MOST_OPEN = 1 << 16  # calls whose exit may still come; only lost exits make it grow


class EntryExitPairs:
    """The entries whose exits have not come yet, and whether each was kept."""

    def __init__(self) -> None:
        self._key: Keys = np.zeros(0, np.int64)
        self._kept: Mask = np.zeros(0, np.bool_)

    def choose(self, key: Keys, entry: Mask, wanted: Mask) -> Mask:
        """Return which rows to keep; they are given in order of time.

        ``key``: thread and probe; ``wanted``: is used at entries only.
        """
        key = np.concatenate([self._key, key])
        entry = np.concatenate([np.ones(len(self._key), np.bool_), entry])
        kept = np.concatenate([self._kept, wanted & entry[len(self._key) :]])
        waiting = len(self._key)
        order = np.argsort(key, kind="stable")
        group, level, orphan = _levels(key[order], entry[order])
        nested = np.lexsort((np.arange(len(order)), level, group))
        nested = nested[~orphan[nested]]
        row = order[nested]
        # within a level of a thread, entries and exits alternate, beginning with an entry
        leaves = np.flatnonzero(~entry[row])
        kept[row[leaves]] = kept[row[leaves - 1]]
        returned = np.zeros(len(key), np.bool_)
        returned[row[leaves - 1]] = True
        still = np.flatnonzero(entry & ~returned)[-_MOST_OPEN:]
        self._key, self._kept = key[still], kept[still]
        return kept[waiting:]


def _levels(key: Keys, entry: Mask) -> tuple[Keys, Keys, Mask]:
    """Return each row's group (of equal keys, adjacent), its depth, and exits without entry."""
    count = len(key)
    new = np.ones(count, np.bool_)
    new[1:] = key[1:] != key[:-1]
    group = np.cumsum(new) - 1
    step = np.where(entry, 1, -1)
    total = np.cumsum(step)
    total -= (total - step)[np.flatnonzero(new)][group] if count else 0
    # the running minimum of each group alone: a later group lies below all earlier ones
    below = group * -2 * (count + 1)
    floor = np.minimum.accumulate(np.minimum(total, 0) + below) - below
    before = np.where(new, 0, np.append(0, floor[:-1])) if count else floor
    orphan = ~entry & (floor < before)
    level = total - floor + np.where(entry, 0, 1)
    return group, level, orphan
