# SPDX-License-Identifier: GPL-2.0-only
"""Every call of every watched function: one row each, in order of their entries.

Promises: the same table for any cut of the events into batches; one thread fills it
(``recordings.explore.filler``) while any others read; memory that does not depend on the number of
calls (``recordings.explore.blocks``). What has no room is counted (``beyond``), never dropped in
silence.

An Oops is a row, too. A *position* is the number of a call in the table. ``calls``, ``hits``,
``faults``, ``warns`` and ``warn_ns`` count what is inside a call at any depth; of an operation they
are the ledger's own numbers.
"""

from enum import IntFlag
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.explore.blocks import Blocks
from recordings.explore.span import Span
from recordings.explore.texts import NO_TEXT
from recordings.ledger.columns import I64
from tracers.events import Kind, Source
from tracers.regimes import REGIMES

#: What stands where a duration, pfn or number of pages is not known. A forged file can hold this
#: very number, so whether it is known say ``end_row`` and ``flags``.
NONE: Final = (1 << 64) - 1
#: Regime of what is neither a populate nor free call nor an Oops.
NOT_JUDGED: Final = 255

#: The columns. -1 in a signed one is "none".
DTYPES: Final[dict[str, type[np.integer[Any]]]] = {
    "row": np.int64,  # number of the entry or point event in the recording
    "end_row": np.int64,  # that of the exit; none: no end was seen, or a point
    "ts": np.uint64,
    "duration": np.uint64,  # nanoseconds, NONE where ``end_row`` is -1
    "kind": np.uint8,
    "source": np.uint8,
    "flags": np.uint8,  # Flag
    "regime": np.uint8,  # code of tracers.regimes, of calls and Oopses; or NOT_JUDGED
    "cpu": np.int32,
    "pid": np.int64,
    "tid": np.int64,
    "comm": np.uint32,  # code into ``comms``, or NO_TEXT
    #: Code into ``sites``, or NO_TEXT; of a call that of the first WARN inside. Of an Oops into
    #: ``chains``.
    "site": np.uint32,
    "start": np.uint64,
    "end": np.uint64,
    "pfn": np.uint64,
    "nr_pages": np.uint64,
    "ret": np.int64,
    "parent": np.int64,  # position of the innermost call around it
    "owner": np.int64,  # position of its operation; an operation is its own
    "calls": np.uint32,  # populate and free calls inside
    "hits": np.uint32,  # of these, those out of the window
    "faults": np.uint32,  # Oopses inside
    "warns": np.uint32,  # WARNs inside
    "warn_ns": np.uint64,  # time in those that ended, modulo 2^64
}
NAMES: Final = tuple(DTYPES)
#: Those that change after a call has begun.
LATE: Final = (
    "end_row", "duration", "flags", "site", "ret", "calls", "hits", "faults", "warns",
    "warn_ns",
)  # fmt: skip


class Flag(IntFlag):
    """Bits of the column ``flags``."""

    START_KNOWN = 1
    END_KNOWN = 2
    SILENT = 4  # a hit that the kernel's own check lets pass
    POINT = 8  # one moment: it has no end
    RET_KNOWN = 16
    PFN_KNOWN = 32
    PAGES_KNOWN = 64


class SpanTable:
    """The calls so far."""

    def __init__(self, columns: Blocks | None = None) -> None:
        self.columns = Blocks(DTYPES, LATE) if columns is None else columns
        self.comms: tuple[str, ...] = ()  # names of tasks by code; unescaped, as sites
        self.sites: tuple[str, ...] = ()  # "file:line" by code
        self.chains: tuple[str, ...] = ()  # of Oopses, "function+0x2c <- caller <- …" by code
        self.beyond = 0  # calls that there was no room for

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def block(self) -> int:
        """Number of calls in each block but the last."""
        return self.columns.block

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.columns.count

    def read(self, start: int, stop: int, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """Return columns of the calls from position ``start`` to ``stop``, or to the last.

        The arrays are the caller's own. Raises ``KeyError`` for a column that is not there.
        """
        return self.columns.read(max(0, start), min(stop, len(self)), names)

    def take(self, positions: I64, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """Return columns of the calls at ``positions``, in that order.

        Raises:
            IndexError: a position that is not in the table.
            KeyError: a column that is not there.
        """
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError("no such call")
        return self.columns.take(positions, names)

    def span(self, position: int) -> Span:
        """Return one call. Raises ``IndexError``."""
        return self.spans(np.array([position]))[0]

    def spans(self, positions: I64) -> list[Span]:
        """Return calls, in the order asked for. Raises ``IndexError``."""
        found = self.take(positions, NAMES)
        rows = zip(*(found[name].tolist() for name in NAMES), strict=True)
        return [
            self._span(position, dict(zip(NAMES, row, strict=True)))
            for position, row in zip(positions.tolist(), rows, strict=True)
        ]

    def children(self, position: int) -> I64:
        """Return the positions of the calls right inside one, ascending. Raises ``IndexError``."""
        last = int(self.take(np.array([position]), ("end_row",))["end_row"][0])
        found = []
        for number in range(position // self.block, self.blocks):
            parents = self.columns.between(number, "parent")
            rows = self.columns.between(number, "row")
            if rows and 0 <= last < rows[0]:
                break
            if parents and not parents[0] <= position <= parents[1]:
                continue
            first = number * self.block
            parent = self.read(first, first + self.block, ("parent",))["parent"]
            found.append(np.flatnonzero(parent == position) + first)
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def operations(self, most: int) -> I64:
        """Return the events that the first operations begin with, ``most`` of them at most."""
        found = [np.zeros(0, np.int64)]
        for number in range(self.blocks):
            first = number * self.block
            owners = self.columns.between(number, "owner")
            if owners and owners[1] < first:
                continue  # all its calls are of operations before it
            part = self.read(first, first + self.block, ("row", "owner"))
            own = part["owner"] == np.arange(first, first + len(part["owner"]))
            found.append(part["row"][own])
            if sum(map(len, found)) >= most:
                break
        return np.concatenate(found)[:most]

    def position_of(self, row: int) -> int | None:
        """Return the position of the call that begins at this event, ``None`` if none does."""
        position = int(self.positions(np.array([row]))[0])
        return None if position < 0 else position

    def before(self, row: int) -> int:
        """Return how many calls begin before this event."""
        first = max(0, self._blocks_before(row) - 1) * self.block
        rows = self.read(first, first + self.block, ("row",))["row"]
        return first + int(rows.searchsorted(row))

    def positions(self, rows: I64) -> I64:
        """Return the position of the call that begins at each of ``rows``, ascending; -1: none."""
        out = np.full(len(rows), -1)
        done = 0
        while done < len(rows):
            number = self._blocks_before(int(rows[done]) + 1)
            upto = len(rows)
            if number < self.blocks:
                upto = int(rows.searchsorted(self._first_row(number)))
            first = max(0, number - 1) * self.block
            listed = self.read(first, first + self.block, ("row",))["row"]
            if len(listed):
                at = np.minimum(listed.searchsorted(rows[done:upto]), len(listed) - 1)
                out[done:upto] = np.where(listed[at] == rows[done:upto], first + at, -1)
            done = upto
        return out

    def _blocks_before(self, row: int) -> int:
        """Return how many blocks have a first call that begins before ``row``."""
        low, high = 0, self.blocks
        while low < high:
            middle = (low + high) // 2
            if self._first_row(middle) < row:
                low = middle + 1
            else:
                high = middle
        return low

    def _first_row(self, number: int) -> int:
        known = self.columns.between(number, "row")
        if known:
            return known[0]
        first = number * self.block
        return int(self.read(first, first + 1, ("row",))["row"][0])

    def _span(self, position: int, row: dict[str, int]) -> Span:
        flags, regime, kind = Flag(row["flags"]), row["regime"], Kind(row["kind"])
        return Span(
            position=position,
            row=row["row"],
            end_row=_signed(row["end_row"]),
            ts_ns=row["ts"],
            duration_ns=row["duration"] if row["end_row"] >= 0 else None,
            kind=kind,
            source=Source(row["source"]),
            regime=None if regime == NOT_JUDGED else REGIMES[regime],
            silent=Flag.SILENT in flags,
            point=Flag.POINT in flags,
            cpu=_signed(row["cpu"]),
            pid=_signed(row["pid"]),
            tid=_signed(row["tid"]),
            comm=_text(self.comms, row["comm"]),
            site=_text(self.chains if kind is Kind.FAULT else self.sites, row["site"]),
            start=row["start"] if Flag.START_KNOWN in flags else None,
            end=row["end"] if Flag.END_KNOWN in flags else None,
            pfn=row["pfn"] if Flag.PFN_KNOWN in flags else None,
            nr_pages=row["nr_pages"] if Flag.PAGES_KNOWN in flags else None,
            ret=row["ret"] if Flag.RET_KNOWN in flags else None,
            parent=_signed(row["parent"]),
            owner=_signed(row["owner"]),
            calls=row["calls"],
            hits=row["hits"],
            faults=row["faults"],
            warns=row["warns"],
            warn_ns=row["warn_ns"],
        )


def _signed(value: int) -> int | None:
    return None if value < 0 else value


def _text(texts: tuple[str, ...], code: int) -> str | None:
    return None if code == NO_TEXT else texts[code]
