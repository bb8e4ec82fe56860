# SPDX-License-Identifier: GPL-2.0-only
"""Turns each thread's events into nested slices: a begin per entry, an end per begin.

Promises: on every thread begins and ends nest and their times never go back, whatever the rows
are. An exit ends the latest entry of its kind; calls still open inside that one end with it, and a
call that the thread enters a second time ends before: both unfinished, since their own exit is
missing. Calls open at the end of the recording end unfinished at its last event.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from recordings.ledger.columns import I64, U64, Bool, Chunk, codeset
from tracers.events import Kind, Phase

#: Perfetto's reader keeps times and counters as s64.
LATEST: Final = (1 << 63) - 1

_KINDS: Final = tuple(kind for kind in Kind if kind not in {Kind.UNKNOWN, Kind.FAULT})
_ENTRIES: Final = codeset(_KINDS, (Phase.ENTRY,))
_SIDES: Final = codeset(_KINDS, (Phase.ENTRY, Phase.EXIT))


@dataclass(frozen=True, slots=True)
class Drawn:
    """How each row of a chunk is drawn. What neither begins nor ends is an instant."""

    ts: U64  # where; at most ``LATEST``
    begins: Bool
    ends: Bool
    since: U64  # of what ends: its entry's own time
    unfinished: I64  # how many calls of its thread end before it, without an exit


class _Open(NamedTuple):
    """A call that has begun: kind, the row's own time, its number in the recording."""

    kind: int
    ts: int
    row: int


class Slices:
    """The calls open in every thread."""

    def __init__(self) -> None:
        self._open: dict[int, list[_Open]] = {}
        self._now: dict[int, int] = {}  # by thread: the time of its last event
        self.last = 0  # the time of the last event of all

    def fold(self, chunk: Chunk) -> Drawn:
        """Take in the next rows."""
        size = len(chunk)
        drawn = Drawn(
            self._times(chunk),
            np.zeros(size, np.bool_),
            np.zeros(size, np.bool_),
            np.zeros(size, np.uint64),
            np.zeros(size, np.int64),
        )
        _Nesting(chunk, self._open).draw(drawn)
        return drawn

    def finish(self) -> list[tuple[int, int]]:
        """Return the threads in which calls are open, and how many, the longest open first."""
        left = sorted(self._open.items(), key=lambda item: item[1][0].row)
        self._open.clear()
        return [(thread, len(opened)) for thread, opened in left]

    def _times(self, chunk: Chunk) -> U64:
        """Return where to draw each row: not before what its thread did last."""
        ts = np.minimum(chunk.ts, np.uint64(LATEST))
        order = chunk.by_thread
        own = ts if order is None else ts.take(order)
        lengths = np.bincount(chunk.thread, minlength=len(chunk.threads))
        ends = np.cumsum(lengths)
        starts = ends - lengths
        threads = chunk.threads.tolist()
        before = np.array([self._now.get(thread, 0) for thread in threads], np.uint64)
        back = own[1:] < own[:-1]
        back[starts[1:] - 1] = False  # another thread
        late = before > own[starts]
        if back.any() or late.any():
            own = own.copy()
            own[starts] = np.maximum(own[starts], before)
            own = _latest(own, np.repeat(np.arange(len(threads)), lengths))
            if order is None:
                ts = own
            else:
                ts[order] = own
        self._now.update(zip(threads, own[ends - 1].tolist(), strict=True))
        self.last = max(self.last, int(ts.max()))
        return ts


def _latest(values: U64, thread: I64) -> U64:
    """Return the largest value so far within each thread; ``thread`` ascends."""
    distinct, rank = np.unique(values, return_inverse=True)
    rank += thread * len(distinct)
    return distinct[np.maximum.accumulate(rank) - thread * len(distinct)]


class _Nesting:
    """The entries and exits of a chunk, thread by thread, behind what is open before it.

    Of a thread and kind, a row ends the entry that comes right before it: an exit finishes it,
    another entry leaves it unfinished. If each of these is the innermost call at that moment, that
    is all there is to do, and columns do it. In a thread where one is not, exits are missing; its
    rows go through ``_walk``.
    """

    def __init__(self, chunk: Chunk, opened: dict[int, list[_Open]]) -> None:
        self._chunk, self._open = chunk, opened
        places = np.flatnonzero(_SIDES.take(chunk.sorted(chunk.code)))
        rows = chunk.rows(places)
        thread = chunk.thread.take(rows)
        carried = [
            (number, call)
            for number, key in enumerate(chunk.threads.tolist())
            for call in opened.get(key, ())
        ]
        code, ts, row = chunk.code.take(rows), chunk.ts.take(rows), rows + chunk.row
        if carried:
            entry = Phase.ENTRY
            thread = np.append(np.array([n for n, _ in carried], thread.dtype), thread)
            order = np.argsort(thread, kind="stable")
            before = np.array([call.kind * 4 + entry for _, call in carried], np.uint8)
            code = np.append(before, code)[order]
            ts = np.append(np.array([call.ts for _, call in carried], np.uint64), ts)[order]
            row = np.append(np.array([call.row for _, call in carried]), row)[order]
            thread = thread[order]
        self._thread, self._code, self._ts, self._row = thread, code, ts, row
        self._entry = _ENTRIES.take(code)

    def draw(self, drawn: Drawn) -> None:
        """Say how the rows are drawn, and what is open behind them."""
        if not len(self._thread):
            return
        partner = self._partners()
        closes = partner >= 0
        torn = self._torn(partner)
        here = self._row >= self._chunk.row  # not carried
        good = here if torn is None else here & ~torn[self._thread]
        rows = self._row[good] - self._chunk.row
        entry, closed = self._entry[good], closes[good]
        drawn.begins[rows] = entry
        drawn.ends[rows] = closed & ~entry
        drawn.unfinished[rows] = closed & entry
        drawn.since[rows] = self._ts.take(partner[good], mode="clip")
        left = self._entry.copy()
        left[partner[closes]] = False
        if torn is not None:
            left &= ~torn[self._thread]
        self._carry(np.flatnonzero(left), torn)
        if torn is not None:
            self._walk(np.flatnonzero(here & torn[self._thread]), drawn)

    def _partners(self) -> I64:
        """Return for each row the entry that it ends, -1 for none."""
        partner = np.full(len(self._thread), -1)
        kind = self._code >> np.uint8(2)
        for each in np.flatnonzero(np.bincount(kind)).tolist():
            places = np.flatnonzero(kind == each)
            thread = self._thread.take(places)
            ends = self._entry.take(places[:-1]) & (thread[1:] == thread[:-1])
            partner[places[1:][ends]] = places[:-1][ends]
        return partner

    def _torn(self, partner: I64) -> Bool | None:
        """Return for each thread whether what a row ends is ever not the innermost call."""
        closes = partner >= 0
        step = self._entry.astype(np.int64) - closes
        depth = np.cumsum(step)
        first = np.flatnonzero(np.append(True, self._thread[1:] != self._thread[:-1]))
        if len(first) > 1:
            lengths = np.diff(first, append=len(depth))
            depth -= np.repeat(depth[first] - step[first], lengths)
        # Depth in the thread of what begins or ends here, 1 for the outermost.
        level = depth + (closes & ~self._entry)
        wrong = closes & (level != depth.take(partner, mode="clip"))
        if not wrong.any():
            return None
        torn = np.zeros(len(self._chunk.threads), np.bool_)
        torn[self._thread[wrong]] = True
        return torn

    def _carry(self, left: I64, torn: Bool | None) -> None:
        """Keep what is still open in the threads that are not torn."""
        keys = self._chunk.threads.tolist()
        for number, key in enumerate(keys):
            if torn is None or not torn[number]:
                self._open.pop(key, None)
        kinds = (self._code[left] >> 2).tolist()
        for number, *call in zip(
            self._thread[left].tolist(), kinds, self._ts[left].tolist(), self._row[left].tolist(),
            strict=True,
        ):  # fmt: skip
            self._open.setdefault(keys[number], []).append(_Open(*call))

    def _walk(self, places: I64, drawn: Drawn) -> None:
        """Draw torn threads row by row: what ends depends on all that is open then."""
        keys, rows = self._chunk.threads.tolist(), self._row[places]
        entry = self._entry[places]
        stacks = {
            number: (opened := self._open.pop(keys[number], []), [call.kind for call in opened])
            for number in np.unique(self._thread[places]).tolist()
        }
        closed: list[tuple[int, int, int]] = []  # by which place, its entry's time, how many
        columns = (self._thread, self._code >> np.uint8(2), self._ts, self._row)
        for place, (number, *call, begins) in enumerate(
            zip(*(column[places].tolist() for column in columns), entry.tolist(), strict=True)
        ):
            opened, kinds = stacks[number]
            if call[0] in kinds:
                depth = kinds.index(call[0])
                closed.append((place, opened[depth].ts, len(kinds) - depth))
                del opened[depth:], kinds[depth:]
            if begins:
                opened.append(_Open(*call))
                kinds.append(call[0])
        self._open.update(
            (keys[number], opened) for number, (opened, _) in stacks.items() if opened
        )
        drawn.begins[rows - self._chunk.row] = entry
        if closed:
            numbered, since, calls = zip(*closed, strict=True)
            at = np.array(numbered)
            ends, at = ~entry[at], rows[at] - self._chunk.row
            drawn.since[at] = np.array(since, np.uint64)
            drawn.ends[at] = ends
            drawn.unfinished[at] = np.array(calls) - ends
