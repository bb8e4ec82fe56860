# SPDX-License-Identifier: GPL-2.0-only
"""The events of a Perfetto trace, a chunk at a time: what ``as_perfetto`` draws on the threads.

Each row makes one packet, a hit one more; before them stand the track of a thread that is new and
the ends of calls that have none.

Promises: every integer is exact; text is as the recording's reader gives it; memory is that of a
chunk and of the distinct threads.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from recordings.export import perfetto_forms as forms
from recordings.export.packets import Form, Pieces, Texts, distinct, grouped, width_for
from recordings.export.perfetto_forms import (
    COUNTERS,
    HITS,
    MAY_HAVE,
    SILENT,
    THREADS,
    WARN_NS,
    WARNS,
)  # fmt: skip
from recordings.export.slices import LATEST, Drawn, Slices
from recordings.ledger.columns import I64, U64, Bool, Chunk, integers, shortened, texts
from recordings.ledger.faults import physical
from recordings.ledger.histogram import exact_sum
from recordings.ledger.sink import Found
from tracers import arrow
from tracers.arrow import numbers
from tracers.codes import codes
from tracers.events import Kind, Phase, Source
from tracers.formulas import WindowError
from tracers.regimes import REGIMES, hits, page_to_pfn
from tracers.window import Window

# Places of what a row makes, in order.
_DESCRIPTOR, _UNFINISHED, _EVENT, _NAMED, _COMM, _TAIL, _CALLERS, _HIT = range(8)
_PLACES: Final = 8

_BOTH: Final = 3  # of Judged.known: start and end
_NO_LINE: Final = 1 << 32
_HALF, _LOW_HALF = np.uint64(32), np.uint64((1 << 32) - 1)


class Row(NamedTuple):
    """Whose a thread's first event is."""

    tid: int | None
    pid: int | None
    cpu: int | None
    comm: str | None


class Events:
    """Makes the packets of each chunk; a sink of the ledger.

    ``describe``: gives the packets that make the track of a thread, by its key and first row.
    """

    def __init__(self, window: Window | None, describe: Callable[[int, Row], bytes]) -> None:
        self._window = window
        self._describe = describe
        self._slices = Slices()
        self._comms: dict[int, str | None] = {}  # by thread, what its track is called
        self._ready: list[memoryview] = []
        #: The counters, by the uuid of their track.
        self.totals = dict.fromkeys(COUNTERS, 0)

    def take_in(self, chunk: Chunk, found: Found) -> None:
        """Make the packets of a chunk."""
        rows, made = _Rows(chunk, found, self._slices.fold(chunk), self._window), Pieces()
        self._begin_threads(chunk, made)
        self._count(rows)
        rows.put_unfinished(made)
        rows.put_texts(made, self._comms)
        rows.put_events(made)
        rows.put_hits(made)
        self._ready.append(made.joined())

    def taken(self) -> list[memoryview]:
        """Return the packets so far, once."""
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> memoryview:
        """Return the ends of all calls that are still open."""
        made = Pieces()
        threads = self._slices.finish()
        if threads:
            calls = np.array([calls for _, calls in threads])
            tracks = np.array([THREADS + thread for thread, _ in threads], np.uint64)
            ts = np.full(len(threads), self._slices.last, np.uint64)
            _put_unfinished(made, np.repeat(np.arange(len(threads)), calls), ts, tracks)
        return made.joined()

    def _begin_threads(self, chunk: Chunk, made: Pieces) -> None:
        """Make the tracks of the threads that are new."""
        keys = chunk.threads.tolist()
        new = [number for number, key in enumerate(keys) if key not in self._comms]
        if not new:
            return
        first = np.empty(len(keys), np.int64)
        first[chunk.thread[::-1]] = np.arange(len(chunk))[::-1]  # the last one written stays
        at = first[new]
        who = (integers(chunk.column(name), at).tolist() for name in ("tid", "pid", "cpu"))
        ready = []
        for number, *ids, comm in zip(new, *who, texts(chunk.column("comm"), at), strict=True):
            self._comms[keys[number]] = comm
            tid, pid, cpu = (None if each < 0 else each for each in ids)
            ready.append(self._describe(keys[number], Row(tid, pid, cpu, comm)))
        made.texts(at * _PLACES + _DESCRIPTOR, Texts.of(ready, np.arange(len(ready))))

    def _count(self, rows: "_Rows") -> None:
        """Take the counters over the rows: what they are behind each."""
        spent = rows.warn_ns()
        for uuid, key, steps in (
            (HITS, "hits", rows.hit),
            (SILENT, "silent_hits", rows.hit & rows.silent),
            (WARNS, "warns", rows.warned),
            (WARN_NS, "warn_ns", spent),
        ):
            rows.values[key] = _summed(self.totals[uuid], steps.astype(np.uint64))
            self.totals[uuid] += exact_sum(steps.astype(np.uint64))


class _Rows:
    """The rows of a chunk on their way to packets: what each has, and the numbers of that.

    ``values`` and ``_has`` have an array of the chunk's length for each hole of ``MAY_HAVE``.
    """

    def __init__(self, chunk: Chunk, found: Found, drawn: Drawn, window: Window | None) -> None:
        self._chunk = chunk
        self._drawn = drawn
        self._window = window
        size = len(chunk)
        kind, phase = chunk.code >> np.uint8(2), chunk.code & np.uint8(3)
        self._kind, self._exit = kind, phase == Phase.EXIT
        self._told = ~drawn.ends  # what has all its arguments
        self.warned = (kind == Kind.WARN) & (drawn.begins | (phase == Phase.POINT))
        self.hit, self.silent = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        self._behind = np.zeros(size, np.int64)  # bytes of text behind each event's numbers
        self._named = np.zeros(size, np.bool_)  # by such a text
        types = np.full(size, forms.INSTANT, np.uint64)
        types[drawn.begins], types[drawn.ends] = forms.BEGIN, forms.END
        self.values: dict[str, U64] = {
            "ts": drawn.ts,
            "track": (chunk.threads + np.uint64(THREADS)).take(chunk.thread),
            "type": types,
            "name": kind.astype(np.uint64) + np.uint64(1),
            "recorded_ts_ns": chunk.ts,
            "source": codes(chunk.column("source"), Source).astype(np.uint64) + np.uint64(1),
        }
        self._has: dict[str, Bool] = {"recorded_ts_ns": drawn.ts != chunk.ts}
        for key in ("start", "end", "pfn", "nr_pages", "nid", "cpu", "ret"):
            values, known = numbers(chunk.column(key))
            # A varint has negative numbers in two's complement of 64 bits.
            values = values.astype(np.int64) if values.dtype.kind == "i" else values
            self.values[key] = values.astype(np.uint64, copy=False)
            self._has[key] = np.ones(size, np.bool_) if known is None else known
        self._judge(found)

    def warn_ns(self) -> U64:
        """Return how long the WARN took that a row ends, 0 where it ends none."""
        ends = np.flatnonzero(self._drawn.ends & (self._kind == Kind.WARN))
        spent = np.zeros(len(self._chunk), np.uint64)
        since, until = self._drawn.since[ends], self._chunk.ts[ends]
        spent[ends] = np.where(until > since, until - since, np.uint64(0))
        return spent

    def put_unfinished(self, made: Pieces) -> None:
        """Put the ends of calls that have none, before the rows by which they are known."""
        rows = np.flatnonzero(self._drawn.unfinished)
        if len(rows):
            rows = np.repeat(rows, self._drawn.unfinished[rows])
            _put_unfinished(made, rows, self.values["ts"], self.values["track"])

    def put_texts(self, made: Pieces, comms: Mapping[int, str | None]) -> None:
        """Put what has no fixed size, or stands behind it: names, other comms, callers."""
        column = self._chunk.column("site")
        sites = arrow.valid(column) & self._told
        self._put_names(made, np.flatnonzero(sites & (self._kind == Kind.WARN)))
        self._put_comms(made, comms)
        lone = np.flatnonzero(self._told & self._exit)
        if len(lone):
            said = Texts.of([forms.said("exit_without_entry")], np.zeros(len(lone), np.int64))
            self._put(made, lone, _TAIL, said)
        faults = np.flatnonzero(self._told & ~self._exit & (self._kind == Kind.FAULT))
        if len(faults):
            self._put_physical(made, faults[self._has["pfn"][faults]])
            faults = faults[sites[faults]]
            names, index = _named(column, faults)
            callers = [forms.quoted("callers", name) for name in names]
            self._put(made, faults, _CALLERS, Texts.of(callers, index))

    def put_events(self, made: Pieces) -> None:
        """Put a begin, end or instant for each row."""
        told = self._told
        has = {key: self._has[key] & told for key in ("start", "end", "pfn", "nr_pages", "nid")}
        has |= {key: self._has[key] & told for key in ("cpu", "regime")}
        has |= {"name": told & ~self._named, "source": told, "silent": self.silent}
        has |= {"warns": self.warned, "warn_ns": ~told & (self._kind == Kind.WARN)}
        has |= {"ret": self._has["ret"] & ~told, "recorded_ts_ns": self._has["recorded_ts_ns"]}
        self._put_events(made, np.arange(len(self._chunk)), _EVENT, has)

    def put_hits(self, made: Pieces) -> None:
        """Put an instant for each hit."""
        rows = np.flatnonzero(self.hit)
        if not len(rows):
            return
        size = len(self._chunk)
        every = np.ones(len(rows), np.bool_)
        has = {key: self._has[key][rows] for key in ("start", "end", "pfn", "recorded_ts_ns")}
        has |= dict.fromkeys(("name", "hits", "regime", "source"), every)
        has |= dict.fromkeys(("silent", "silent_hits"), self.silent[rows])
        named = forms.FIRST_HIT + self.silent.astype(np.uint64) * np.uint64(len(REGIMES))
        named += self.values["regime"] - np.uint64(forms.FIRST_REGIME)
        self.values |= {"type": np.full(size, forms.INSTANT, np.uint64), "name": named}
        self._behind = np.zeros(size, np.int64)
        self._put_events(made, rows, _HIT, has)

    def _judge(self, found: Found) -> None:
        """Take over what the ledger found of calls and Oopses."""
        size = len(self._chunk)
        self._has["regime"] = np.zeros(size, np.bool_)
        self.values["regime"] = np.zeros(size, np.uint64)
        judged = found.judged
        if judged is None:
            return
        self._has["regime"][judged.rows] = True
        self.values["regime"][judged.rows] = judged.regime + np.uint64(forms.FIRST_REGIME + 1)
        call = self._kind[judged.rows] != Kind.FAULT
        self.hit[judged.rows] = hits(judged.regime) & call
        self.silent[judged.rows] = judged.silent & call
        known = call & (judged.known == _BOTH)
        if self._window is None or not known.any():
            return
        with contextlib.suppress(WindowError):  # memstart or sizeof(struct page) is not known
            pfn = page_to_pfn(judged.start[known], self._window)
            rows = judged.rows[known]
            self.values["pfn"], self._has["pfn"] = (
                self.values["pfn"].copy(),
                self._has["pfn"].copy(),
            )
            self.values["pfn"][rows], self._has["pfn"][rows] = pfn, True

    def _put_names(self, made: Pieces, rows: I64) -> None:
        """Put the names of WARNs: where they are in the source."""
        if not len(rows):
            return
        names, index = _named(self._chunk.column("site"), rows)
        lines, known = numbers(self._chunk.column("line"))
        line = lines[rows].astype(np.int64)
        if known is not None:
            line[~known[rows]] = _NO_LINE
        places, index = distinct(index << 33 | line)
        ready = []
        for place in places.tolist():
            line_number = place & (1 << 33) - 1
            colon = "" if line_number == _NO_LINE else f":{line_number}"
            ready.append(forms.named(f"WARN {names[place >> 33]}{colon}"))
        self._named[rows] = True
        self._put(made, rows, _NAMED, Texts.of(ready, index))

    def _put_comms(self, made: Pieces, comms: Mapping[int, str | None]) -> None:
        """Put the comm of each event that has another than its thread's track."""
        encoded = self._chunk.column("comm").dictionary_encode()
        names = [*texts(encoded.dictionary, np.arange(len(encoded.dictionary))).tolist(), None]
        numbered: dict[str | None, int] = {}  # what is cut may be alike
        same = np.array([numbered.setdefault(name, len(numbered)) for name in names])
        code = same[arrow.filled(encoded.indices, -1)]
        tracks = np.array([numbered.get(comms[key], -1) for key in self._chunk.threads.tolist()])
        rows = np.flatnonzero((code != tracks.take(self._chunk.thread)) & self._told)
        if len(rows):
            ready = [forms.quoted("comm", name or "") for name in numbered]
            self._put(made, rows, _COMM, Texts.of(ready, code[rows]))

    def _put_physical(self, made: Pieces, rows: I64) -> None:
        """Put the physical address of each Oops's page."""
        page = physical(self._window, 1)
        if page is None or not len(rows):
            return
        values = {"physical": self.values["pfn"] * np.uint64(page)}
        form = Form(forms.PHYSICAL(width_for(values["physical"])))
        made.block(rows * _PLACES + _TAIL, form, rows, values)
        self._behind[rows] += form.size

    def _put(self, made: Pieces, rows: I64, place: int, said: Texts) -> None:
        """Put texts behind the events of ``rows``."""
        made.texts(rows * _PLACES + place, said)
        self._behind[rows] += said.sizes[said.which]

    def _put_events(self, made: Pieces, rows: I64, place: int, has: Mapping[str, Bool]) -> None:
        """Put an event for each of ``rows``; ``has``: per row, what is in it."""
        behind = self._behind.astype(np.uint64)
        most = int(behind.max())
        textual = len(MAY_HAVE)  # the bit that says text is behind it
        mask = (self._behind[rows] > 0).astype(np.int64) << textual
        for bit, key in enumerate(MAY_HAVE):
            if key in has:
                mask |= has[key].astype(np.int64) << bit
        widths = {key: width_for(values) for key, values in self.values.items()}
        for form, places in grouped(mask):
            keys = [key for bit, key in enumerate(MAY_HAVE) if form >> bit & 1]
            content = forms.event(keys, widths)
            if form >> textual:
                packet, event_size, packet_size = forms.sized(content, widths["ts"], most)
                self.values["event_size"] = behind + np.uint64(event_size)
                self.values["packet_size"] = behind + np.uint64(packet_size)
            else:
                packet = forms.whole(content, widths["ts"])
            at = rows[places]
            made.block(at * _PLACES + place, Form(packet), at, self.values)


def _put_unfinished(made: Pieces, rows: I64, ts: U64, tracks: U64) -> None:
    """Put ends without an exit before ``rows``."""
    values = {"ts": ts, "track": tracks, "type": np.full(len(ts), forms.END, np.uint64)}
    form = Form(forms.whole(forms.event(("unfinished",), {}), width_for(ts)))
    made.block(rows * _PLACES + _UNFINISHED, form, rows, values)


def _named(column: pa.Array, rows: I64) -> tuple[list[str], I64]:
    """Return the distinct texts at ``rows``, none of them null, and each row's index."""
    encoded = shortened(column, rows).dictionary_encode()
    names = texts(encoded.dictionary, np.arange(len(encoded.dictionary))).tolist()
    return names, numbers(encoded.indices)[0].astype(np.int64)


def _summed(before: int, steps: U64) -> U64:
    """Return a counter behind each step; it stands still at ``LATEST``."""
    low = np.cumsum(steps & _LOW_HALF)
    high = np.cumsum(steps >> _HALF)
    before = min(before, LATEST)
    low += np.uint64(before & (1 << 32) - 1)
    high += np.uint64(before >> 32)
    high += low >> _HALF
    total: U64 = np.where(high >> np.uint64(31), np.uint64(LATEST), high << _HALF | low & _LOW_HALF)
    return total
