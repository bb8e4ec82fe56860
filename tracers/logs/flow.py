# SPDX-License-Identifier: GPL-2.0-only
"""Finds the operations that map memory in a run of events, and what happened inside each.

Promises: everything is decided per thread from earlier rows, never from later ones, in whole
columns. An operation is an __add_pages call, or a sparse_add_section call.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.codes import codes
from tracers.events import Kind, Phase

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_WARN_FILE: Final = "arch/arm64/mm/mmu.c"


@dataclass(frozen=True, slots=True)
class Flow:
    """The operations (one element each) and their warnings, as indices of the rows given."""

    row: Index  # the entry that begins the operation
    many: Mask  # __add_pages: one populate call per section; else one in total
    end: Index  # the row that ended it, -1 while it is open
    done: Mask  # ended, and all of it was reached
    seen: Mask  # __add_pages whose sparse_add_section calls are operations themselves
    warning: Index  # rows of vmemmap warnings, by operation and then in order
    warned: Index  # the operation of each
    kept: Index  # rows that the open operations depend on, in order
    first_populate: int  # first row that is an observed populate call, else the number of rows

    @classmethod
    def of(cls, rows: pa.RecordBatch) -> Self:
        """Follow the threads through ``rows`` (of the event schema, in file order)."""
        kind, phase = codes(rows["kind"], Kind), codes(rows["phase"], Phase)
        populates = np.flatnonzero(kind == Kind.POPULATE)
        first_populate = int(populates[0]) if len(populates) else len(kind)
        tid = arrow.filled(rows["tid"], 0)
        relevant = np.isin(kind, (Kind.ADD_PAGES, Kind.SECTION_ADD, Kind.FREE, Kind.WARN))
        # Once populate calls are observed, nothing more is derived.
        relevant[first_populate:] = False
        relevant &= arrow.valid(rows["tid"])
        order = np.flatnonzero(relevant)
        order = order[np.argsort(tid[order], kind="stable")]
        kind, exits, tid = kind[order], phase[order] == Phase.EXIT, tid[order]
        thread = _Threads(tid)

        add, section, free = (kind == k for k in (Kind.ADD_PAGES, Kind.SECTION_ADD, Kind.FREE))
        add_entry, section_entry = add & ~exits, section & ~exits
        # Open now: the last entry or exit before this row was an entry.
        in_add = thread.before(add, add_entry)
        in_section = thread.before(add | section, section_entry)
        any_section = thread.before(section, section)
        in_free = thread.before(free, free & ~exits) > np.maximum(in_add, in_section)
        ours = (in_add >= 0) & (any_section > in_add)  # sections of this __add_pages were seen

        ok = np.equal(arrow.filled(rows["ret"], -1), 0)[order] & exits
        begins = np.flatnonzero(add_entry | section_entry)
        end = np.full(len(order), -1, np.int64)
        done, seen = np.zeros((2, len(order)), np.bool_)
        _close(end, done, add & (in_add >= 0), in_add, ok)
        # The loop stops at the first error: the next section proves the one before.
        goes_on = section_entry & (in_section > in_add) & (in_add >= 0)
        _close(end, done, (add | section) & (in_section >= 0), in_section, ok | goes_on)
        seen[in_add[section & (in_add >= 0)]] = True

        site = pc.ends_with(rows["site"], pattern=_WARN_FILE)
        warn = (kind == Kind.WARN) & ~exits & ~in_free
        warn &= arrow.true(site)[order]
        inside = np.where(in_section >= 0, in_section, np.where(ours, -1, in_add))
        warning = np.flatnonzero(warn & (inside >= 0))
        number = np.cumsum(add_entry | section_entry) - 1
        warned = number[inside[warning]]
        by_operation = np.argsort(warned, kind="stable")
        return cls(
            row=order[begins],
            many=add[begins],
            end=np.where(end[begins] >= 0, order[end[begins]], -1),
            done=done[begins],
            seen=seen[begins],
            warning=order[warning[by_operation]],
            warned=warned[by_operation],
            kept=np.sort(order[thread.kept(add, section, free, exits)]),
            first_populate=first_populate,
        )


def _close(end: Index, done: Mask, closes: Mask, what: Index, ok: Mask) -> None:
    rows = np.flatnonzero(closes)
    end[what[rows]] = rows
    done[what[rows]] = ok[rows]


class _Threads:
    """Rows sorted by thread; finds the last row of some kind before each, within its thread."""

    def __init__(self, tid: npt.NDArray[np.uint32]) -> None:
        self._at = np.arange(len(tid))
        first = np.append(True, tid[1:] != tid[:-1])[: len(tid)]
        self._first = np.maximum.accumulate(np.where(first, self._at, 0))
        self._last = np.flatnonzero(np.append(first[1:], True)[: len(tid)])

    def latest(self, rows: Mask) -> Index:
        """Return, at each row, the last of ``rows`` up to and including it; -1 if none."""
        last = np.maximum.accumulate(np.where(rows, self._at, -1))
        return np.where(last >= self._first, last, -1)

    def before(self, rows: Mask, which: Mask) -> Index:
        """Return, at each row, the last of ``rows`` before it if it is of ``which``, else -1."""
        last = np.append(-1, self.latest(rows)[:-1])[: len(rows)]
        last = np.where(last >= self._first, last, -1)
        return np.where((last >= 0) & which[last], last, -1)

    def kept(self, add: Mask, section: Mask, free: Mask, exits: Mask) -> Index:
        """Return the rows needed to continue each thread's open operation in the next batch."""
        last_add, last_section, last_free = (
            self.latest(rows)[self._last] for rows in (add, section, free)
        )
        open_add = (last_add >= 0) & ~exits[last_add]
        fresh = last_section > last_add
        open_section = fresh & ~exits[last_section]
        behind = np.maximum(np.where(open_add, last_add, -1), np.where(fresh, last_section, -1))
        busy = open_add | open_section
        keep_free = busy & (last_free > behind) & ~exits[last_free]
        return np.concatenate(
            [
                last_add[open_add],
                last_section[fresh & busy],
                last_free[keep_free],
            ]
        )
