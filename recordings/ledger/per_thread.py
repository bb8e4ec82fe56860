# SPDX-License-Identifier: GPL-2.0-only
"""Forward fill, thread by thread: the value of the latest row that matches, at every row."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recordings.ledger.columns import I64, Bool, Chunk

_T = TypeVar("_T", bound=np.generic)


class ForwardFill:
    """Forward fill over rows that are sorted by thread."""

    def __init__(self, thread: I64) -> None:
        self._thread = thread
        self._at = np.arange(len(thread))
        new = np.ones(len(thread), np.bool_)
        new[1:] = thread[1:] != thread[:-1]
        self._first = np.maximum.accumulate(np.where(new, self._at, 0))
        self.last = np.flatnonzero(np.append(new[1:], True)[: len(thread)])

    def latest(
        self, event: Bool, value: NDArray[_T], initial: NDArray[_T]
    ) -> tuple[NDArray[_T], NDArray[_T]]:
        """Return ``value`` at the latest ``event`` row, before each row and after it.

        Where the thread has had no such row yet, that is ``initial`` of the thread.
        """
        after = np.maximum.accumulate(np.where(event, self._at, -1))
        before = np.append(-1, after[:-1])[: len(after)]
        default = initial[self._thread]
        return (
            np.where(before >= self._first, value[before], default),
            np.where(after >= self._first, value[after], default),
        )


def spread(chunk: Chunk, places: I64, after: I64, initial: I64) -> I64:
    """Give every row of the chunk the operation it is in.

    ``after``: the operation from each of ``places`` on; ``initial``: at each thread's first row.
    """
    size = len(chunk)
    starts = np.zeros(1, np.int64)
    if chunk.by_thread is not None:
        lengths = np.bincount(chunk.thread, minlength=len(chunk.threads))
        starts = np.cumsum(lengths) - lengths
    turns = np.concatenate((starts, places))
    order = np.argsort(turns, kind="stable")  # of a place at a start, the place counts
    turns = turns[order]
    value = np.concatenate((initial, after))[order]
    spread = np.repeat(value, np.diff(turns, append=size))
    if chunk.by_thread is None:
        return spread
    owner = np.empty(size, np.int64)
    owner[chunk.by_thread] = spread
    return owner
