# SPDX-License-Identifier: GPL-2.0-only
"""Fills a ``SpanTable`` with what a ledger finds, chunk by chunk.

Promises: calls are paired, judged and attributed to operations exactly as in the ledger's numbers,
since they are the ledger's. What a call is inside of is told by ``recordings.explore.nesting``, and
where that was lost by the operation. A WARN's time counts to the calls around it only if nothing
was lost between its entry and its exit; to the operation always, as in the ledger.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recordings.explore.nesting import CALL, LEVEL, WARN, Nesting
from recordings.explore.span_table import NONE, NOT_JUDGED, Flag, SpanTable
from recordings.explore.texts import NO_TEXT, Texts
from recordings.ledger.columns import I64, U8, U64, Chunk, codeset, integers
from recordings.ledger.faults import CHAIN
from recordings.ledger.histogram import exact_sums
from recordings.ledger.sink import Found
from recordings.ledger.spans import Finished
from tracers import arrow
from tracers.arrow import numbers
from tracers.codes import codes
from tracers.events import Kind, Phase, Source
from tracers.regimes import hits

#: Chains of callers that are told apart.
CHAINS: Final = 1024
_BEGINS: Final = codeset(tuple(LEVEL), (Phase.ENTRY, Phase.POINT)) | codeset(
    (Kind.FAULT,), (Phase.POINT,)
)


class Filler:
    """A ledger's sink: ``ledger.fold(batch, Filler(table))``."""

    def __init__(self, table: SpanTable) -> None:
        self._table = table
        self._nesting = Nesting()
        self._comms = Texts()
        self._chains = Texts(most=CHAINS, longest=CHAIN)

    def take_in(self, chunk: Chunk, found: Found) -> None:
        """Add a chunk's calls, and what it says of earlier ones."""
        table = self._table
        rows = np.flatnonzero(_BEGINS.take(chunk.code))
        base, full = len(table), table.columns.full
        position = np.full(len(chunk), -1)
        if full:
            table.beyond += len(rows)
        else:
            position[rows] = np.arange(base, base + len(rows))
        warned = _warned(found.finished)
        inside, ends, ending = self._nesting.advance(chunk, position, rows, warned.exit)
        owner, last_owner = self._owners(chunk, found.owner, position, rows, warned.exit)
        new = _columns(chunk, rows)
        new["comm"] = self._comms.codes(chunk.column("comm"))[rows]
        new["owner"] = owner
        _judge(new, found, rows)
        self._chained(chunk, new, rows)
        counted = _Counted(base, new)
        _nest(counted, found.tags[rows], inside, owner)
        in_order = ending == self._positions(chunk, warned.entry, position)
        for opened in ends:
            counted.add("warn_ns", np.where(in_order & (opened != last_owner), opened, -1), warned)
        counted.add("warn_ns", last_owner, warned)
        with table.columns.lock:
            for ended in found.finished:
                self._end(chunk, ended, self._positions(chunk, ended.entry, position), counted)
            counted.apply(table)
            table.comms, table.sites = self._comms.texts, tuple(found.sites)
            table.chains = self._chains.texts
            if not full:
                table.columns.append(new)

    def _chained(self, chunk: Chunk, new: dict[str, NDArray[Any]], rows: I64) -> None:
        """Enter where the kernel failed, and its callers."""
        faults = np.flatnonzero(new["kind"] == Kind.FAULT)
        for first in range(0, len(faults), CHAINS):  # one piece, but for a forged file's
            at = faults[first : first + CHAINS]
            new["site"][at] = self._chains.codes(chunk.column("site").take(arrow.column(rows[at])))

    def _end(self, chunk: Chunk, ended: Finished, position: I64, counted: "_Counted") -> None:
        """Note when calls ended, and what they returned."""
        ret, valid = numbers(chunk.column("ret"))
        known = np.ones(len(position), np.bool_) if valid is None else valid[ended.exit]
        values = {
            "end_row": ended.exit + chunk.row,
            "duration": ended.duration,
            "ret": np.where(known, ret[ended.exit], 0),
            "flags": known.astype(np.uint8) * np.uint8(Flag.RET_KNOWN),  # added: it was not set
        }
        local = position >= counted.base
        carried = (position >= 0) & ~local
        for name, column in values.items():
            at = position[local] - counted.base
            if name == "flags":
                counted.new[name][at] |= column[local]
            else:
                counted.new[name][at] = column[local]
            if carried.any():
                change = self._table.columns.add if name == "flags" else self._table.columns.set
                change(name, position[carried], column[carried])

    def _owners(
        self, chunk: Chunk, owner: I64 | None, position: I64, *rows: I64
    ) -> tuple[I64, ...]:
        """Return the positions of the operations that rows of the chunk belong to, -1 for none."""
        if owner is None:
            return tuple(np.full(len(each), -1) for each in rows)
        return tuple(self._positions(chunk, owner[each], position) for each in rows)

    def _positions(self, chunk: Chunk, entries: I64, position: I64) -> I64:
        """Return the positions of calls by their entries, rows of the recording or -1."""
        local = entries >= chunk.row
        if local.all():
            return position[entries - chunk.row]
        out = np.where(local, position[np.maximum(entries - chunk.row, 0)], -1)
        carried = np.flatnonzero(~local & (entries >= 0))
        if len(carried):
            rows = entries[carried]
            distinct = np.unique(rows[np.flatnonzero(np.diff(rows, prepend=-1))])
            out[carried] = self._table.positions(distinct)[distinct.searchsorted(rows)]
        return out


class _Counted:
    """What a chunk adds to calls: to its own at once, to earlier ones by ``apply``."""

    def __init__(self, base: int, new: dict[str, NDArray[Any]]) -> None:
        self.base = base
        self.new = new
        self._earlier: list[tuple[str, I64, U64]] = []
        self._sites: tuple[I64, NDArray[np.uint32]] | None = None

    def add(self, name: str, at: I64, warned: Finished | None = None) -> None:
        """Add 1 for each position ``at``, or the time of the WARN beside it; -1 is nobody."""
        column = self.new[name]
        local = at >= self.base
        if local.any():
            places = at[local] - self.base
            if warned is None:
                column += np.bincount(places, minlength=len(column)).astype(column.dtype)
            else:
                low, high = exact_sums(places, warned.duration[local], len(column))
                column += low + (high << np.uint64(32))
        carried = np.flatnonzero((at >= 0) & ~local)
        if len(carried):
            times = np.ones(len(carried), np.uint64)
            distinct, total = _grouped(
                at[carried], times if warned is None else warned.duration[carried]
            )
            self._earlier.append((name, distinct, total.astype(column.dtype)))

    def warn_sites(self, at: I64, sites: NDArray[np.uint32]) -> None:
        """Note the place of each call's first WARN; both in order of the WARNs."""
        local = at >= self.base
        self.new["site"][at[local][::-1] - self.base] = sites[local][::-1]
        carried = np.flatnonzero((at >= 0) & ~local)
        if len(carried):
            distinct, first = np.unique(at[carried], return_index=True)
            self._sites = distinct, sites[carried[first]]

    def apply(self, table: SpanTable) -> None:
        """Change the earlier calls."""
        for name, at, total in self._earlier:
            table.columns.add(name, at, total)
        if self._sites is not None:
            at, sites = self._sites
            first = table.take(at, ("site",))["site"] == NO_TEXT
            table.columns.set("site", at[first], sites[first])


def _warned(finished: list[Finished]) -> Finished:
    """Return the WARNs that ended."""
    none = np.zeros(0, np.int64)
    return next(
        (ended for ended in finished if ended.kind is Kind.WARN),
        Finished(Kind.WARN, none, none, none, none.astype(np.uint64)),
    )


def _columns(chunk: Chunk, rows: I64) -> dict[str, NDArray[Any]]:
    """Return what the entries themselves say."""
    size = len(rows)
    flags = (chunk.code[rows] & np.uint8(3) == Phase.POINT) * np.uint8(Flag.POINT)
    pfn = _unsigned(chunk.column("pfn"), rows, flags, Flag.PFN_KNOWN)
    nr_pages = _unsigned(chunk.column("nr_pages"), rows, flags, Flag.PAGES_KNOWN)
    return {
        "row": rows + chunk.row,
        "end_row": np.full(size, -1),
        "ts": chunk.ts[rows],
        "duration": np.full(size, NONE, np.uint64),
        "kind": chunk.code[rows] >> np.uint8(2),
        "source": codes(chunk.column("source"), Source)[rows],
        "flags": flags,
        "regime": np.full(size, NOT_JUDGED, np.uint8),
        "cpu": integers(chunk.column("cpu"), rows).astype(np.int32),
        "pid": integers(chunk.column("pid"), rows),
        "tid": integers(chunk.column("tid"), rows),
        "site": np.full(size, NO_TEXT, np.uint32),
        "start": np.zeros(size, np.uint64),
        "end": np.zeros(size, np.uint64),
        "pfn": pfn,
        "nr_pages": nr_pages,
        "ret": np.zeros(size, np.int64),
        "calls": np.zeros(size, np.uint32),
        "hits": np.zeros(size, np.uint32),
        "faults": np.zeros(size, np.uint32),
        "warns": np.zeros(size, np.uint32),
        "warn_ns": np.zeros(size, np.uint64),
    }


def _unsigned(column: pa.Array, rows: I64, flags: U8, flag: Flag) -> U64:
    """Return a column at ``rows``, ``NONE`` where it is null; set ``flag`` elsewhere."""
    taken = np.full(len(rows), NONE, np.uint64)
    if column.null_count < len(column):
        values, valid = numbers(column)
        known = np.ones(len(rows), np.bool_) if valid is None else valid[rows]
        np.copyto(taken, values[rows], where=known)
        flags |= known * np.uint8(flag)
    return taken


def _judge(new: dict[str, NDArray[Any]], found: Found, rows: I64) -> None:
    """Enter what the ledger knows of the calls and Oopses."""
    calls = found.judged
    if calls is None:
        return
    at = np.flatnonzero(_LEVEL.take(new["kind"]) == CALL)  # all of ``calls``, in their order
    new["start"][at] = np.where(calls.known & Flag.START_KNOWN, calls.start, np.uint64(0))
    new["end"][at] = np.where(calls.known & Flag.END_KNOWN, calls.end, np.uint64(0))
    new["regime"][at] = calls.regime
    new["flags"][at] |= calls.known | calls.silent * np.uint8(Flag.SILENT)


def _nest(counted: _Counted, tags: I64, inside: I64, owner: I64) -> None:
    """Enter what calls are inside of, and count them there."""
    new = counted.new
    level = _LEVEL.take(new["kind"])
    itself = owner >= counted.base
    itself &= owner == counted.base + np.arange(len(owner))
    parent = np.where(itself, -1, owner)
    for number, opened in enumerate(inside):
        np.copyto(parent, opened, where=(opened >= 0) & (level > number))
    new["parent"] = parent
    fault = new["kind"] == Kind.FAULT
    call, warn = np.flatnonzero((level == CALL) & ~fault), np.flatnonzero(level == WARN)
    out = call[hits(new["regime"][call])]
    new["site"][warn] = tags[warn]
    counted.warn_sites(inside[CALL][warn], new["site"][warn])
    for name, which, depth in (
        ("calls", call, CALL),
        ("hits", out, CALL),
        ("warns", warn, WARN),
        ("faults", np.flatnonzero(fault), CALL),
    ):
        own = owner[which]
        counted.add(name, own)
        for opened in inside[:depth]:
            counted.add(name, np.where(opened[which] == own, -1, opened[which]))


def _level_by_kind() -> NDArray[np.uint8]:
    table = np.zeros(16, np.uint8)
    for kind, level in (*LEVEL.items(), (Kind.FAULT, CALL)):
        table[kind] = level
    return table


_LEVEL: Final = _level_by_kind()


def _grouped(at: I64, values: U64) -> tuple[I64, U64]:
    """Return the distinct positions and the sum of the values of each; most come in runs."""
    heads = np.flatnonzero(np.diff(at, prepend=-1))
    distinct, index = np.unique(at[heads], return_inverse=True)
    total = np.zeros(len(distinct), np.uint64)
    np.add.at(total, index, np.add.reduceat(values, heads))
    return distinct, total
