# SPDX-License-Identifier: GPL-2.0-only
"""Which calls a row is inside of, thread by thread, across any batch border.

The kernel nests what we watch in this order: memremap_pages > memunmap_pages (its own error path) >
__add_pages, __remove_pages > a section > vmemmap_populate, vmemmap_free > __warn. The rule: an
entry opens its level; every entry and every exit ends what its thread still has open at its own
level and inside of it, for a kernel cannot have left that open. So a lost exit costs the calls that
come until the next row of its level, and nothing after it. Points open and end nothing. An Oops is
a point at the level of populate and free: it is listed beside them.

Memory is bounded: at every ``CHUNK`` rows the ``OPEN`` threads are kept that entered a call last.
"""

from typing import Final, NamedTuple

import numpy as np

from recordings.ledger.columns import CHUNK, I64, U8, U64, Bool, Chunk
from recordings.ledger.operations import OPEN
from tracers.events import Kind, Phase

LEVELS: Final = 6
LEVEL: Final = {
    Kind.MEMREMAP: 0,
    Kind.MEMUNMAP: 1,
    Kind.ADD_PAGES: 2,
    Kind.REMOVE_PAGES: 2,
    Kind.SECTION_ADD: 3,
    Kind.SECTION_REMOVE: 3,
    Kind.POPULATE: 4,
    Kind.FREE: 4,
    Kind.WARN: 5,
}
#: Level of populate and free (and of an Oops beside them), and of a WARN.
CALL: Final = LEVEL[Kind.POPULATE]
WARN: Final = LEVEL[Kind.WARN]

_NEVER: Final = 255  # level of rows that neither open nor end anything


def _levels() -> U8:
    """Return the level by ``Chunk.code``."""
    levels = np.full(64, _NEVER, np.uint8)
    for kind, level in LEVEL.items():
        levels[[kind * 4 + Phase.ENTRY, kind * 4 + Phase.EXIT]] = level
    return levels


_LEVELS: Final = _levels()


class Around(NamedTuple):
    """What rows are inside of: positions by level, -1 where nothing is open there."""

    begins: I64  # [WARN level, entries or points asked for]
    exits: I64  # [WARN level, exits asked for]
    ending: I64  # per exit: the innermost call open right before it, if that is a WARN


class Nesting:
    """The calls open in every thread, as positions in some list of them."""

    def __init__(self) -> None:
        self._threads: U64 = np.zeros(0, np.uint64)  # ascending
        self._open: I64 = np.zeros((0, LEVELS), np.int64)  # by thread and level

    def advance(self, chunk: Chunk, position: I64, begins: I64, exits: I64) -> Around:
        """Take in a chunk and say what rows of it are inside of.

        ``position``: per row of the chunk, that of the call that it opens. ``begins``: rows that
        open or are a call; ``exits``: rows that end a WARN.
        """
        size = len(chunk)
        level = chunk.sorted(_LEVELS.take(chunk.code))
        entry = chunk.sorted(chunk.code & np.uint8(3)) == Phase.ENTRY
        # From here on rows are told by their places in the thread-by-thread order.
        opens, at = position, np.concatenate((begins, exits))
        if chunk.by_thread is not None:
            place = np.empty(size, np.int64)
            place[chunk.by_thread] = np.arange(size)
            opens, at = position[chunk.by_thread], place[at]
        lengths = np.bincount(chunk.thread, minlength=len(chunk.threads))
        firsts = np.cumsum(lengths) - lengths
        state = self._of(chunk.threads)
        after = np.empty_like(state)
        inside = np.empty((LEVELS, len(at)), np.int64)
        turns = np.zeros(size, np.bool_)
        turns[firsts] = True
        for number in range(LEVELS):
            here = level == number
            turns |= here
            value = np.where(here & entry, opens, -1)
            fresh = level[firsts] > number
            value[firsts[fresh]] = state[fresh, number]
            turn = np.flatnonzero(turns)
            opened = np.repeat(value[turn], np.diff(turn, append=size))
            inside[number] = opened[at]
            after[:, number] = opened[firsts + lengths - 1]
        # ``opened`` is now what each row leaves open as a WARN.
        ends = at[len(begins) :]
        ending = opened[np.maximum(ends - 1, 0)]
        first = np.isin(ends, firsts)
        ending[first] = state[chunk.thread[exits[first]], WARN]
        self._keep(chunk, after)
        return Around(inside[:WARN, : len(begins)], inside[:WARN, len(begins) :], ending)

    def _of(self, threads: U64) -> I64:
        """Return what each of ``threads`` has open, by level."""
        state = np.full((len(threads), LEVELS), -1, np.int64)
        if len(self._threads):
            place, here = self._find(threads)
            state[here] = self._open[place[here]]
        return state

    def _find(self, threads: U64) -> tuple[I64, Bool]:
        place = np.minimum(self._threads.searchsorted(threads), len(self._threads) - 1)
        return place, self._threads[place] == threads

    def _keep(self, chunk: Chunk, state: I64) -> None:
        rest = np.ones(len(self._threads), np.bool_)
        if len(rest):
            place, here = self._find(chunk.threads)
            rest[place[here]] = False
        busy = (state >= 0).any(axis=1)
        threads = np.concatenate((self._threads[rest], chunk.threads[busy]))
        opened = np.concatenate((self._open[rest], state[busy]))
        if (chunk.row + len(chunk)) % CHUNK == 0 and len(threads) > OPEN:
            newest = np.argsort(opened.max(axis=1))[-OPEN:]
            threads, opened = threads[newest], opened[newest]
        order = np.argsort(threads)
        self._threads, self._open = threads[order], opened[order]
