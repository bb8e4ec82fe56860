# SPDX-License-Identifier: GPL-2.0-only
"""Which calls a row is inside of, thread by thread, across any batch border.

The kernel nests what we watch in this order: memremap_pages > memunmap_pages (its own error path) >
__add_pages, __remove_pages > a section > vmemmap_populate, vmemmap_free > __warn. The rule: an
entry opens its level; every entry and every exit ends what its thread still has open at its own
level and inside of it, for a kernel cannot have left that open. So a lost exit costs the calls that
come until the next row of its level, and nothing after it. Points open and end nothing.

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
#: Level of populate and free, and of a WARN.
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
        size, threads = len(chunk), len(chunk.threads)
        level = chunk.sorted(_LEVELS.take(chunk.code))
        if chunk.by_thread is None:
            opens, places = position, None
        else:
            opens = position[chunk.by_thread]
            places = np.empty(size, np.int64)
            places[chunk.by_thread] = np.arange(size)
        lengths = np.bincount(chunk.thread, minlength=threads)
        lasts = np.cumsum(lengths) - 1
        firsts = lasts - lengths + 1
        asked = np.concatenate((begins, exits))
        asked = np.concatenate((asked if places is None else places[asked], lasts))
        state = self._of(chunk.threads)
        entry = chunk.sorted(chunk.code & np.uint8(3)) == Phase.ENTRY
        at = np.arange(size, dtype=np.int32)
        reset = np.zeros(size, np.bool_)
        reset[firsts] = True
        latest = np.maximum.accumulate(np.where(reset, at, 0))
        found = np.empty((LEVELS, len(asked)), np.int64)
        value = np.empty(size, np.int64)
        for number in range(LEVELS):
            here = level == number
            if here.any():
                latest = np.maximum(latest, np.maximum.accumulate(np.where(here, at, 0)))
            value.fill(-1)
            fresh = firsts[level[firsts] > number]
            value[fresh] = state[level[firsts] > number, number]
            opened = np.flatnonzero(here & entry)
            value[opened] = opens[opened]
            found[number] = value[latest[asked]]
        # After the last level ``latest`` and ``value`` are those of a WARN.
        ends = asked[len(begins) : len(begins) + len(exits)]
        ending = value[latest[np.maximum(ends - 1, 0)]]
        first = reset[ends]
        ending[first] = state[chunk.thread[exits[first]], WARN]
        self._keep(chunk, found[:, len(begins) + len(exits) :].T)
        inside = found[:WARN]
        return Around(inside[:, : len(begins)], inside[:, len(begins) :][:, : len(exits)], ending)

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
