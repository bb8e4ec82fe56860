# SPDX-License-Identifier: GPL-2.0-only
"""Aligns two recordings: operations by size and order, sections by their position.

Promises: nothing is aligned by time. The n-th hot-add of so many pages in one recording is the
n-th of as many in the other, wherever the pages lie; a section belongs to the hot-add or
hot-remove that its thread is in and whose pages hold it. Calls without a counterpart are left out
and counted.
"""

from collections import Counter
from typing import Final, NamedTuple

import numpy as np

from recordings.analysis.durations import Calls, Durations
from recordings.ledger.columns import I64, U64
from tracers.events import Kind

#: The kind of call that calls of one section are part of.
WITHIN: Final = {
    Kind.SECTION_ADD: Kind.ADD_PAGES,
    Kind.POPULATE: Kind.ADD_PAGES,
    Kind.SECTION_REMOVE: Kind.REMOVE_PAGES,
    Kind.FREE: Kind.REMOVE_PAGES,
}
_PLACE_BITS: Final = 40  # pages into an operation; above them the number of its match
_MOST: Final = 1 << (63 - _PLACE_BITS)


class Aligned(NamedTuple):
    """Durations of the same calls in both, u64[N] nanoseconds each, in A's order."""

    a: U64
    b: U64


def aligned(a: Durations, b: Durations, kind: Kind) -> Aligned:
    """Return the durations of calls of one kind that both have and that ended in both."""
    none = np.zeros(0, np.uint64)
    outer = WITHIN.get(kind, kind)
    calls = [side.calls.get(kind) for side in (a, b)]
    outers = [side.calls.get(outer) for side in (a, b)]
    sides = [(c, o) for c, o in zip(calls, outers, strict=True) if c is not None and o is not None]
    if len(sides) < 2:
        return Aligned(none, none)
    numbers = _matches(sides[0][1], sides[1][1])
    keyed = []
    for (own, operations), number in zip(sides, numbers, strict=True):
        if kind is outer:
            key = np.where(number >= 0, number << _PLACE_BITS, -1)
        else:
            key = _places(own, operations, number)
        at = np.flatnonzero((key >= 0) & own.ended)
        keyed.append((key[at], own.duration[at]))
    (left, took), (right, spent) = keyed
    _, at, there = np.intersect1d(left, right, return_indices=True)
    order = np.argsort(at)
    return Aligned(took[at[order]], spent[there[order]])


def _matches(a: Calls, b: Calls) -> tuple[I64, I64]:
    """Number the operations that have a counterpart, the same in both; -1 for those without."""
    indices: list[dict[tuple[int, int], int]] = []
    for calls in (a, b):
        turns: Counter[int] = Counter()
        index = {}
        for at, (pages, known) in enumerate(
            zip(calls.nr_pages.tolist(), calls.known.tolist(), strict=True)
        ):
            if known and 0 < pages < 1 << _PLACE_BITS:
                index[pages, turns[pages]] = at
                turns[pages] += 1
        indices.append(index)
    numbers = (np.full(len(a), -1, np.int64), np.full(len(b), -1, np.int64))
    shared = [key for key in indices[0] if key in indices[1]][:_MOST]
    for number, key in enumerate(shared):
        for column, index in zip(numbers, indices, strict=True):
            column[index[key]] = number
    return numbers


def _places(calls: Calls, operations: Calls, number: I64) -> I64:
    """Return each call's place: the number of its operation's match and the pages into it."""
    threads = np.unique(operations.thread)
    order = np.lexsort((operations.row, operations.thread))
    keys = _keys(threads, operations)[order]
    at = keys.searchsorted(_keys(threads, calls), side="right") - 1
    owner = order[np.maximum(at, 0)]
    inside = (at >= 0) & (operations.thread[owner] == calls.thread) & calls.known
    into = calls.pfn - operations.pfn[owner]
    inside &= (into < operations.nr_pages[owner]) & (number[owner] >= 0)
    return np.where(inside, number[owner] << _PLACE_BITS | into.view(np.int64), -1)


def _keys(threads: U64, calls: Calls) -> I64:
    """Return numbers that order calls by thread, then by row."""
    return (threads.searchsorted(calls.thread).astype(np.int64) << 40) + calls.row
