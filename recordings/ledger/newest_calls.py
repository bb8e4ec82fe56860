# SPDX-License-Identifier: GPL-2.0-only
"""Keeps the newest calls and Oopses as columns; makes ``Call`` values only on request."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from recordings.ledger.columns import I64, U8, U64, Bool, Chunk, Columns, Objects, integers, texts
from recordings.ledger.sink import Judged
from recordings.ledger.snapshot import Call
from recordings.ledger.spans import Finished
from tracers.events import Kind, Source
from tracers.layout import Layout
from tracers.regimes import REGIMES, region_codes

#: Calls kept.
LISTED: Final = 500


@dataclass(frozen=True, slots=True)
class _Calls(Columns):
    row: I64
    ts: U64
    kind: U8
    source: U8
    tid: I64  # -1 for null, as cpu
    comm: Objects
    cpu: I64
    start: U64
    end: U64
    known: U8  # bit 0: start is known, bit 1: end is
    regime: U8
    silent: Bool


class NewestCalls:
    """The newest calls, as columns."""

    def __init__(self) -> None:
        u8, u64, i64 = np.zeros(0, np.uint8), np.zeros(0, np.uint64), np.zeros(0, np.int64)
        none = np.zeros(0, np.object_)
        flags = np.zeros(0, np.bool_)
        self._read = _Calls(i64, u64, u8, u8, i64, none, i64, u64, u64, u8, u8, flags)
        #: All that is kept, where one chunk had that many: its columns are read when asked for.
        self._unread: tuple[Chunk, Judged] | None = None
        self._ended: I64 = i64  # rows of those that ended
        self._lasted: U64 = u64

    def fold(self, chunk: Chunk, calls: Judged) -> None:
        """Take in the calls and Oopses of a chunk."""
        newest = slice(-LISTED, None)
        calls = calls.pick(newest)
        if len(calls) == LISTED:
            self._unread = chunk, calls
        else:
            self._read, self._unread = self._calls.joined(_read(chunk, calls)).pick(newest), None

    @property
    def _calls(self) -> _Calls:
        """What is kept."""
        if self._unread is not None:
            self._read, self._unread = _read(*self._unread), None
        return self._read

    def end(self, finished: Finished) -> None:
        """Note how long calls lasted, those still kept."""
        if self._unread is not None:
            chunk, calls = self._unread
            rows = calls.rows + chunk.row
        else:
            rows = self._read.row
        if not len(rows):
            return
        new = finished.entry >= rows[0]
        entries = np.concatenate((self._ended, finished.entry[new]))
        lasted = np.concatenate((self._lasted, finished.duration[new]))
        kept = entries >= rows[0]
        self._ended, self._lasted = entries[kept], lasted[kept]

    def calls(self, layout: Layout | None) -> tuple[Call, ...]:
        """Return the calls in order of occurrence."""
        durations = dict(zip(self._ended.tolist(), self._lasted.tolist(), strict=True))
        kept = self._calls
        lands = lands_on(layout, kept.start, kept.end)
        return tuple(
            Call(
                row=row,
                ts_ns=ts,
                kind=_KINDS[kind],
                source=_SOURCES[source],
                tid=None if tid < 0 else tid,
                comm=comm,
                cpu=None if cpu < 0 else cpu,
                start=start if known & 1 else None,
                end=end if known & 2 else None,
                regime=REGIMES[regime],
                silent=silent,
                lands_on=region if known == 3 else None,
                duration_ns=durations.get(row),
            )
            for (
                row,
                ts,
                kind,
                source,
                tid,
                comm,
                cpu,
                start,
                end,
                known,
                regime,
                silent,
            ), region in zip(kept.values(), lands, strict=True)
        )


def _read(chunk: Chunk, calls: Judged) -> _Calls:
    rows = calls.rows
    return _Calls(
        row=rows + chunk.row,
        ts=chunk.ts[rows],
        kind=chunk.code[rows] >> np.uint8(2),
        source=calls.source,
        tid=integers(chunk.column("tid"), rows),
        comm=texts(chunk.column("comm"), rows),
        cpu=integers(chunk.column("cpu"), rows),
        start=calls.start,
        end=calls.end,
        known=calls.known,
        regime=calls.regime,
        silent=calls.silent,
    )


_KINDS: Final = tuple(Kind)
_SOURCES: Final = tuple(Source)


def lands_on(layout: Layout | None, start: U64, end: U64) -> list[str | None]:
    """Name where each range lands; ranges of the same first and last region share the name."""
    if layout is None or not len(start):
        return [None] * len(start)
    first, last = region_codes(layout, start, end)
    wraps = (end < start) & (end != 0)
    keys = (first.astype(np.int64) << 32) | (last.astype(np.int64) << 1) | wraps
    _, at, index = np.unique(keys, return_index=True, return_inverse=True)
    names = [layout.lands_on(int(start[place]), int(end[place])) for place in at]
    return [names[number] for number in index.tolist()]
