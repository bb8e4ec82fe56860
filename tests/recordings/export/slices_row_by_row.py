# SPDX-License-Identifier: GPL-2.0-only
"""Each thread's events as nested slices, row by row, to compare recordings.export.slices with.

Promises: on every thread begins and ends nest and their times never go back, whatever the rows
are. An exit ends the latest entry of its kind; calls still open inside that one end with it, and a
call that the thread enters a second time ends before: both unfinished, since their own exit is
missing. Calls open at the end of the recording end unfinished at its last event.
"""

import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from recordings.export.judged import judged
from recordings.ledger.columns import Chunk, Objects, chunks, texts
from tracers import arrow
from tracers.codes import codes
from tracers.events import Kind, Phase, Source
from tracers.formulas import WindowError
from tracers.regimes import INSIDE, UNKNOWN, page_to_pfn
from tracers.window import Window

#: Perfetto's reader keeps times and counters as s64.
LATEST: Final = (1 << 63) - 1


class Row(NamedTuple):
    """One event, ``None`` where a column is null. ``regime``: of a call's begin, or of an Oops."""

    ts: int
    kind: int
    phase: int
    thread: int  # key of recordings.ledger.columns: the tid, or the CPU beyond 32 bits
    tid: int | None
    pid: int | None
    cpu: int | None
    comm: str | None
    start: int | None
    end: int | None
    pfn: int | None  # of a call: that of its first struct page
    nr_pages: int | None
    nid: int | None
    ret: int | None
    site: str | None
    line: int | None
    source: int
    regime: int | None
    silent: bool | None  # of a call: a hit that the kernel's own check lets pass

    @property
    def hit(self) -> bool:
        """Whether it is a call known to be outside the window."""
        return self.silent is not None and self.regime not in (INSIDE, UNKNOWN)


class Open(NamedTuple):
    """A call that has begun. ``ts`` is the row's own, for its duration."""

    kind: int
    ts: int


class Track(Protocol):
    """Receives the slices, in order of time on each thread. ``ts`` is where to draw."""

    def begin(self, ts: int, row: Row) -> None:
        """Draw an entry."""
        ...

    def end(self, ts: int, thread: int, opened: Open, row: Row | None) -> None:
        """Draw an end; ``row`` is its exit, ``None`` where there is none."""
        ...

    def instant(self, ts: int, row: Row) -> None:
        """Draw a point, an Oops, an exit without entry, or an event of a newer version's kind."""
        ...


class Slices:
    """The calls open in every thread."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._open: dict[int, list[Open]] = {}
        self._now: dict[int, int] = {}  # by thread: the time of its last event
        self._last = 0

    def take(self, row: Row) -> None:
        """Take in the next row."""
        thread = row.thread
        ts = min(max(row.ts, self._now.get(thread, 0)), LATEST)
        self._now[thread] = ts
        self._last = max(self._last, ts)
        if row.phase == Phase.ENTRY and row.kind and row.kind != Kind.FAULT:
            self._close(ts, row, None)
            self._open.setdefault(thread, []).append(Open(row.kind, row.ts))
            self._track.begin(ts, row)
        elif row.phase != Phase.EXIT or not self._close(ts, row, row):
            self._track.instant(ts, row)

    def finish(self) -> None:
        """End all open calls."""
        for thread, opened in self._open.items():
            for call in reversed(opened):
                self._track.end(self._last, thread, call, None)
        self._open.clear()

    def _close(self, ts: int, row: Row, ended: Row | None) -> bool:
        """End the thread's open call of the row's kind, if there is one, and all inside it."""
        opened = self._open.get(row.thread, [])
        kinds = [call.kind for call in opened]
        if row.kind not in kinds:
            return False
        while (call := opened.pop()).kind != row.kind:
            self._track.end(ts, row.thread, call, None)
        self._track.end(ts, row.thread, call, ended)
        if not opened:
            del self._open[row.thread]
        return True


def rows(events: pa.RecordBatch, window: Window | None) -> Iterator[Row]:
    """Yield the rows of a batch."""
    for chunk in chunks(events, 0):
        regime, silent, pfn = _placed(chunk, window)
        yield from map(
            Row._make,
            zip(
                chunk.ts.tolist(),
                (chunk.code >> np.uint8(2)).tolist(),
                (chunk.code & np.uint8(3)).tolist(),
                chunk.threads[chunk.thread].tolist(),
                *(_integers(chunk.column(name)) for name in ("tid", "pid", "cpu")),
                _texts(chunk.column("comm")),
                *(_integers(chunk.column(name)) for name in ("start", "end")),
                pfn,
                *(_integers(chunk.column(name)) for name in ("nr_pages", "nid", "ret")),
                _texts(chunk.column("site")),
                _integers(chunk.column("line")),
                codes(chunk.column("source"), Source).tolist(),
                regime,
                silent,
                strict=True,
            ),
        )


def _placed(
    chunk: Chunk, window: Window | None
) -> tuple[list[int | None], list[bool | None], list[int | None]]:
    """Return each regime, whether a call is silent, and the pfn of its first struct page.

    Where that pfn is not known, and for other rows, it is the row's own.
    """
    rows, call, known, codes, quiet = judged(chunk.batch, window)
    known &= call
    regime: Objects = np.full(len(chunk), None, np.object_)
    silent = regime.copy()
    regime[rows], silent[call] = codes[rows].tolist(), quiet[call].tolist()
    pfn: Objects = np.array([*_integers(chunk.column("pfn")), None], np.object_)[:-1]
    if window is not None and known.any():
        start = arrow.filled(chunk.column("start"), 0).astype(np.uint64)
        with contextlib.suppress(WindowError):  # memstart or sizeof(struct page) is not known
            pfn[known] = page_to_pfn(start[known], window).tolist()
    return regime.tolist(), silent.tolist(), pfn.tolist()


def _integers(column: pa.Array) -> list[int | None]:
    values, known = arrow.numbers(column)
    integers: list[int | None] = values.tolist()
    if known is not None:
        for row in np.flatnonzero(~known).tolist():
            integers[row] = None
    return integers


def _texts(column: pa.Array) -> list[str | None]:
    """Return text as Python strings, one object for each distinct one."""
    encoded = column.dictionary_encode()
    names = texts(encoded.dictionary, np.arange(len(encoded.dictionary))).tolist()
    names.append(None)
    return [names[place] for place in arrow.filled(encoded.indices, -1).tolist()]
