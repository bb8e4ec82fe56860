# SPDX-License-Identifier: GPL-2.0-only
"""Makes rows of the event schema from the records of kprobe events.

Promises: those of ``tracers.logs.kprobe_text.rows``, for numbers that no text stands between: an
argument is read only if its name is known for that function; functions are found as
``tracers.logs.kprobe_text.function_names`` says, one question for an event and an address; columns
are read in whole, an event's format at a time.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.events import SCHEMA
from tracers.kernel_functions import KINDS
from tracers.logs import byte_text
from tracers.logs.byte_text import PAD, U64, Bytes, Index, Mask
from tracers.logs.kprobe_text import lines
from tracers.logs.kprobe_text.function_names import FunctionNames
from tracers.logs.kprobe_text.rows import ARGUMENTS, NO_ROWS, NUMBERS, assembled, typed
from tracers.logs.trace_dat.event_formats import EventFormat, Field
from tracers.logs.trace_dat.pages import numbers

_FUNCTIONS: Final = tuple(KINDS)
_UNKNOWN: Final = b"<...>"  # the name of a thread that nobody noted
_IDLE: Final = b"<idle>"
_SITE_BITS: Final = np.uint64(16)  # of a string's place: its offset; above them, its length
_FAULT: Final = b"(fault)"  # what the kernel has for a string that it could not read


class Records:
    """Reads the records of one file; its counts grow as it does.

    ``commands``: thread → its name. ``events``: records seen; ``midway``: of those, in probes
    inside our functions; ``rejected``: too short for what they should be.
    """

    def __init__(
        self,
        formats: Mapping[int, EventFormat],
        names: FunctionNames,
        commands: Mapping[int, bytes],
        order: str,
    ) -> None:
        self._formats = tuple(formats.values())
        self._names = names
        self._order = order
        types = {(each.type.offset, each.type.size) for each in self._formats}
        # One place for all, as the kernel has it; else no record could be told from another.
        self._type = min(types, default=(0, 2))[0]
        self._which = np.full(1 << 16, -1, np.int64)
        for index, each in enumerate(self._formats):
            if each.type.offset == self._type:
                self._which[each.number] = index
        known = {0: _IDLE} | {tid: name for tid, name in commands.items() if 0 < tid < 1 << 32}
        self._tids = np.array(sorted(known), np.uint32)
        texts = [known[tid] for tid in self._tids.tolist()]
        self._comms = byte_text.readable(arrow.strings([*texts, _UNKNOWN], pa.binary()))
        self._seen: dict[str, set[str]] = {}
        self.events = self.midway = self.rejected = 0

    @property
    def probes(self) -> dict[str, str]:
        """Functions seen so far: "entry", "return" or "entry+return"."""
        return {name: "+".join(sorted(sides)) for name, sides in self._seen.items()}

    def notes(self) -> Iterator[str]:
        """Yield what the reader of the recording should know, a sentence each."""
        if not self._seen:
            yield f"no event of a function we watch in {self.events:,} events"
        if self.midway:
            yield f"{self.midway:,} events of probes inside our functions, not at entry: left out"
        yield from self._names.notes

    def read(
        self, buffer: Bytes, at: Index, length: Index, ts: U64, cpu: int | None
    ) -> tuple[pa.RecordBatch, Index, int]:
        """Return rows, which of the records they are, and how many of ours could not be read.

        ``at``, ``length``: where the records are in ``buffer``, which ends with a padding.
        """
        self.events += len(at)
        index = self._which[self._kinds(buffer, at)]
        index[length < self._type + 2] = -1
        mine = np.flatnonzero(index >= 0)
        if not len(mine):
            return NO_ROWS, mine, 0
        columns = _Columns(buffer, at[mine], length[mine], self._order)
        function = np.full(len(mine), -1, np.int8)
        side = np.full(len(mine), lines.FOREIGN, np.int8)
        formats = [
            (self._formats[number], np.flatnonzero(index[mine] == number))
            for number in np.flatnonzero(np.bincount(index[mine])).tolist()
        ]
        for layout, rows in formats:
            function[rows], side[rows] = self._identify(columns, layout, rows)
        self.midway += int((side == lines.MIDWAY).sum())
        rejected = int((side == lines.UNREADABLE).sum())
        self.rejected += rejected
        ours = (side == lines.ENTRY) | (side == lines.EXIT)
        kind = lines.CODES[function]
        for layout, rows in formats:
            columns.read_arguments(layout, rows[ours[rows]], kind)
        keep = np.flatnonzero(ours)
        if not len(keep):
            return NO_ROWS, keep, rejected
        exits = side[keep] == lines.EXIT
        self._see(function[keep], exits)
        values = columns.arrays(keep, kind[keep], exits)
        tid = columns.tid[keep]
        values["tid"] = arrow.column(tid)
        values["comm"] = self._comm(tid)
        values["pid"] = pa.nulls(len(keep), pa.uint32())
        values["cpu"] = (
            pa.nulls(len(keep), pa.uint16())
            if cpu is None
            else arrow.column(np.full(len(keep), cpu, np.uint16))
        )
        picked = mine[keep]
        return assembled(ts[picked], kind[keep], exits, values), picked, rejected

    def _kinds(self, buffer: Bytes, at: Index) -> U64:
        return numbers(buffer, at + self._type, 2, self._order)

    def _identify(
        self, columns: "_Columns", layout: EventFormat, rows: Index
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return function and side of the records ``rows``, which have this layout."""
        fits = columns.length[rows] >= layout.size
        address = columns.field(layout.address, rows)
        columns.tid[rows] = columns.field(layout.pid, rows).astype(np.uint32)
        distinct, which = np.unique(address, return_inverse=True)
        found = np.array(
            [
                self._names.find(layout.name, each, returns=layout.returns)
                for each in distinct.tolist()
            ],
            np.int8,
        ).reshape(-1, 2)
        function, side = found[which].T
        ours = (side == lines.ENTRY) | (side == lines.EXIT)
        fits &= columns.tid[rows] <= np.uint32((1 << 31) - 1)  # no thread is below 0
        return function, np.where(ours & ~fits, lines.UNREADABLE, side)

    def _comm(self, tid: np.ndarray) -> pa.StringArray:
        place = np.searchsorted(self._tids, tid)
        there = self._tids[np.minimum(place, len(self._tids) - 1)] == tid
        return self._comms.take(arrow.column(np.where(there, place, len(self._tids))))

    def _see(self, function: np.ndarray, exits: Mask) -> None:
        pairs = np.bincount(function.astype(np.int64) * 2 + exits)
        for pair in np.flatnonzero(pairs).tolist():
            sides = self._seen.setdefault(_FUNCTIONS[pair // 2], set())
            sides.add("return" if pair % 2 else "entry")


class _Columns:
    """The fields of records, as columns over all of them."""

    def __init__(self, buffer: Bytes, at: Index, length: Index, order: str) -> None:
        self._buffer, self._at, self._order = buffer, at, order
        self.length = length
        self.tid = np.zeros(len(at), np.uint32)
        self._values: dict[str, tuple[U64, Mask]] = {}
        self._site = pa.nulls(len(at), pa.utf8())

    def field(self, field: Field, rows: Index) -> U64:
        """Return a field of the records ``rows``, a negative number as its two's complement."""
        # A record too short for it is rejected; its bytes are only not to be outside the buffer.
        at = np.minimum(self._at[rows] + field.offset, len(self._buffer) - PAD)
        values = numbers(self._buffer, at, field.size, self._order)
        if field.signed and field.size < 8:
            unused = np.uint64(64 - 8 * field.size)
            values = ((values << unused).view(np.int64) >> unused.astype(np.int64)).view(np.uint64)
        return values

    def read_arguments(self, layout: EventFormat, rows: Index, kind: Bytes) -> None:
        """Read the arguments of the records ``rows``, as far as their function has them."""
        if not len(rows):
            return
        for name, field in layout.arguments.items():
            column, kinds = ARGUMENTS.get(name, ("", None))
            mine = rows if kinds is None else rows[kinds[kind[rows]]]
            if column == "site" and field.string:
                self._read_site(field, mine)
            elif column in NUMBERS and not field.string:
                values, known = self._values.setdefault(
                    column,
                    (np.zeros(len(kind), np.uint64), np.zeros(len(kind), np.bool_)),
                )
                values[mine], known[mine] = self.field(field, mine), True

    def _read_site(self, field: Field, rows: Index) -> None:
        place = self.field(field, rows)
        offset = (place & np.uint64(0xFFFF)).astype(np.int64)
        offset += field.end if field.relative else 0
        size = (place >> _SITE_BITS).astype(np.int64) - 1  # without the zero at its end
        good = (size > 0) & (size <= PAD) & (offset + size < self.length[rows])
        begins, size, rows = (self._at[rows] + offset)[good], size[good], rows[good]
        if not len(rows):
            return
        codes, texts = byte_text.distinct(self._buffer, begins, size)
        usable = np.array(
            [b"\0" not in each and each != _FAULT for each in texts.to_pylist()], np.bool_
        )
        picked = np.full(len(self.length), -1, np.int64)
        picked[rows] = np.where(usable[codes], codes, -1)
        more = byte_text.readable(texts).take(arrow.masked(picked, picked >= 0))
        self._site = pc.coalesce(more, self._site)

    def arrays(self, keep: Index, kind: Bytes, exits: Mask) -> dict[str, pa.Array]:
        """Return the argument columns of the records ``keep``, typed as the schema has them."""
        arrays: dict[str, pa.Array] = {"site": self._site.take(arrow.column(keep))}
        for column in NUMBERS:
            if column not in self._values:
                arrays[column] = pa.nulls(len(keep), SCHEMA.field(column).type)
            else:
                values, known = self._values[column]
                arrays[column] = typed(column, values[keep], known[keep], kind, exits)
        return arrays
