# SPDX-License-Identifier: GPL-2.0-only
"""Aligns two recordings: operations by size and order, sections by their position.

Promises: nothing is aligned by time. The n-th hot-add of so many pages in one recording is the
n-th of as many in the other, wherever the pages lie; a section belongs to the hot-add or
hot-remove that its thread is in and whose pages hold it. Calls without a counterpart are left out
and counted.
"""

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
_TURN_BITS: Final = 63 - _PLACE_BITS
_MOST: Final = 1 << _TURN_BITS  # more than are kept of any recording


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
    (first, left), (second, right) = _turns(a), _turns(b)
    _, at, there = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    order = np.argsort(at)
    matches = (np.full(len(a), -1, np.int64), np.full(len(b), -1, np.int64))
    matches[0][first[at[order]]] = matches[1][second[there[order]]] = np.arange(len(order))
    return matches


def _turns(calls: Calls) -> tuple[I64, I64]:
    """Return which calls are of known pages, and of each these pages and its turn among as many."""
    known = calls.known & (calls.nr_pages > 0) & (calls.nr_pages < 1 << _PLACE_BITS)
    rows = np.flatnonzero(known)[:_MOST]
    pages = calls.nr_pages[rows].astype(np.int64)
    order = np.argsort(pages, kind="stable")
    heads = np.flatnonzero(np.diff(pages[order], prepend=0))
    turn = np.arange(len(rows)) - np.repeat(heads, np.diff(heads, append=len(rows)))
    keys = np.empty(len(rows), np.int64)
    keys[order] = pages[order] << _TURN_BITS | turn
    return rows, keys


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
