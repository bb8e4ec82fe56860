# SPDX-License-Identifier: GPL-2.0-only
"""Sums of all operations, by kind, and whose they are: what the newest few cannot tell.

Promises: the sums are of every operation, however many there were; memory is that of the kinds and
of ``LISTED`` tasks, the first in order of appearance.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from recordings.ledger.columns import I64, U8, Chunk, codeset, integers, texts
from recordings.ledger.histogram import exact_sum
from recordings.ledger.snapshot import OperationTotal, Task
from recordings.ledger.spans import Finished
from tracers.events import Kind, Phase

#: Kinds of operations, those that add memory and those that remove it.
ADDS: Final = (Kind.MEMREMAP, Kind.ADD_PAGES)
REMOVES: Final = (Kind.MEMUNMAP, Kind.REMOVE_PAGES)
REMOVING: Final = codeset(REMOVES, (Phase.UNKNOWN,))[::4].copy()  # by kind
#: Tasks that are listed.
LISTED: Final = 64

#: Calls whose time is counted.
COUNTED: Final = (Kind.WARN, Kind.ADD_PAGES, Kind.REMOVE_PAGES)


class Totals:
    """Operations, and the time of WARNs and of add_pages and remove_pages in them, by kind."""

    def __init__(self) -> None:
        self._sums = {kind: OperationTotal(kind) for kind in (*ADDS, *REMOVES)}

    def begin(self, kind: U8) -> None:
        """Count operations of these kinds."""
        for each, number in _counts(kind):
            total = self._sums[each]
            self._sums[each] = replace(total, operations=total.operations + number)

    def warn(self, kind: U8) -> None:
        """Count WARNs inside operations of these kinds; 0: inside none."""
        for each, number in _counts(kind):
            total = self._sums[each]
            self._sums[each] = replace(total, warnings=total.warnings + number)

    def end(self, finished: Finished, kind: U8) -> None:
        """Count calls that ended inside operations of these kinds, of each the ``kind``; 0: none.

        Only those of ``COUNTED``.
        """
        for each, _ in _counts(kind):
            spent = exact_sum(finished.duration[kind == each])
            total = self._sums[each]
            if finished.kind is Kind.WARN:
                self._sums[each] = replace(total, warn_ns=total.warn_ns + spent)
            else:
                self._sums[each] = replace(total, inner_ns=total.inner_ns + spent)

    def totals(self) -> tuple[OperationTotal, ...]:
        """Return the sums of the kinds that occurred."""
        return tuple(total for total in self._sums.values() if total.operations)


class Tasks:
    """The threads that made operations, each with the name it had first."""

    def __init__(self) -> None:
        self.listed: tuple[Task, ...] = ()
        self.beyond = False  # there were others

    def begin(self, chunk: Chunk, rows: I64) -> None:
        """Take in operations that begin at ``rows``, ascending."""
        tid = integers(chunk.column("tid"), rows)
        removes = REMOVING.take(chunk.code[rows] >> 2)
        _, first = np.unique(tid * 2 + removes, return_index=True)
        first.sort()
        self.beyond |= len(first) > LISTED
        first = first[:LISTED]
        known = {(-1 if task.tid is None else task.tid, task.removes) for task in self.listed}
        who = zip(tid[first].tolist(), removes[first].tolist(), strict=True)
        new = [place for place, task in zip(first.tolist(), who, strict=True) if task not in known]
        self.beyond |= len(new) > LISTED - len(self.listed)
        new = new[: LISTED - len(self.listed)]
        if new:
            names = texts(chunk.column("comm"), rows[new])
            self.listed += tuple(
                Task(
                    comm, None if (number := int(tid[place])) < 0 else number, bool(removes[place])
                )
                for comm, place in zip(names, new, strict=True)
            )


def _counts(kind: U8) -> list[tuple[Kind, int]]:
    """Return how often each kind is there, 0 left out."""
    counts = enumerate(np.bincount(kind).tolist())
    return [(Kind(each), number) for each, number in counts if each and number]
