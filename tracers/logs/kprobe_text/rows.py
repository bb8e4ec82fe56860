# SPDX-License-Identifier: GPL-2.0-only
"""Parses lines of kprobe events of our functions into rows of the event schema.

Promises: a line becomes a complete row or none; an argument is read only if its name is known for
that function, else the column is null; nothing is guessed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.events import KIND_NAMES, PHASE_NAMES, SCHEMA, SOURCE_NAMES, Kind, Phase, Source
from tracers.kernel_functions import COLUMNS, OWN_NAMES, REQUESTS, TABLE
from tracers.logs import byte_text
from tracers.logs.byte_text import U64, Bytes, Index, Mask
from tracers.logs.kprobe_text import lines
from tracers.region_rows import RESULT

NO_ROWS: Final = arrow.empty(SCHEMA)
_NAME: Final = 16  # bytes before "=" that an argument's name and its space fit in
_WIDEST_HEAD: Final = 128  # bytes before the time
_WIDEST_SITE: Final = 1000  # bytes of a source file's name
_NANOSECONDS: Final = np.uint64(10**9)
_MOST_SECONDS: Final = np.uint64((1 << 64) // 10**9 - 1)
_U32: Final = np.uint64((1 << 32) - 1)


def _having(kinds: tuple[Kind, ...]) -> Mask:
    table = np.zeros(256, np.bool_)
    table[list(kinds)] = True
    return table


def _kinds_with(column: str) -> Mask:
    return _having(tuple(function.kind for function in TABLE if column in function.columns))


#: Columns that are arguments and numbers.
NUMBERS: Final = ("start", "end", "pfn", "nr_pages", "nid", "ret", "line")
#: Fetch-argument name → (column, functions that have it). The names are those of the kernel's
#: parameters; an argument that a function does not have is ignored, and so are other names.
ARGUMENTS: Final = {
    **{
        name: (column, _having(REQUESTS) if name in OWN_NAMES else _kinds_with(column))
        for name, column in COLUMNS.items()
    },
    # what a request's result points at, in bytes: tracers.region_rows makes pages of them
    **{name: (column, _having(REQUESTS)) for name, column in RESULT.items()},
    "ret": ("ret", _having(tuple(function.kind for function in TABLE if function.ret))),
}
_WORDS: Final = {
    name.encode(): found for name, found in ARGUMENTS.items() if name != "phys_start_pfn"
}  # that one is longer than ``_NAME``
#: Functions that return an int: the upper half of the register means nothing.
_INTS: Final = _having(tuple(function.kind for function in TABLE if function.ret == "int"))


class CounterClockError(Exception):
    """The first of our lines has a count in place of its time."""


@dataclass(frozen=True, slots=True)
class LineFormat:
    """How a tracer's text writes the parts that all tracers' texts have."""

    #: Pattern of the text before the time. Groups: comm, tid, and any of cpu or bare, tgid or late.
    head: str
    decode: Callable[[pa.BinaryArray], pa.StringArray] = byte_text.readable
    #: None: source files are in quotes; else they end the line, and may be cut if longer.
    bare_site: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """Rows of the event schema, and how many of our lines could not be read."""

    rows: pa.RecordBatch
    rejected: int


def read_rows(
    buffer: Bytes,
    spans: Index,
    kind: Bytes,
    exits: Mask,
    line_format: LineFormat,
    *,
    counts_are_fatal: bool,
) -> ParsedRows:
    """Read lines; ``spans`` int64[4, N]: line start, end of time, end of location, line end.

    ``kind`` uint8[N] and ``exits`` bool[N] say what each line is. ``counts_are_fatal``: no line
    with a time was read before.

    Raises:
        CounterClockError: ``counts_are_fatal`` and the first line's time has no fraction.
    """
    total = spans.shape[1]
    if not total:
        return ParsedRows(NO_ROWS, 0)
    starts, time_end, location_end, ends = spans
    ts, head_end, good = _times(buffer, time_end)
    if counts_are_fatal and not good[0] and _is_count(buffer, int(time_end[0])):
        raise CounterClockError
    good &= head_end - starts <= _WIDEST_HEAD
    codes, heads = byte_text.distinct(buffer, starts, np.where(good, head_end - starts, 0))
    head, understood = _heads(heads, line_format)
    good &= understood[codes]

    columns = _Arguments(buffer, location_end, ends, kind, line_format)
    good &= ~columns.bad
    keep: Index | slice = slice(None) if good.all() else np.flatnonzero(good)
    picked = arrow.column(codes[keep])
    values = {name: column.take(picked) for name, column in head.items()}
    values |= columns.arrays(keep, exits)
    rows = assembled(ts[keep], kind[keep], exits[keep], values)
    return ParsedRows(rows, total - rows.num_rows)


def assembled(ts: U64, kind: Bytes, exits: Mask, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """Return rows of the event schema: what every kprobe event has, and its other ``columns``."""
    phase = np.where(exits, Phase.EXIT, Phase.ENTRY)
    source = np.full(len(ts), Source.KPROBE)
    values = columns | {
        "ts_ns": arrow.column(ts),
        "kind": pa.DictionaryArray.from_arrays(arrow.column(kind.astype(np.int8)), KIND_NAMES),
        "phase": pa.DictionaryArray.from_arrays(arrow.column(phase.astype(np.int8)), PHASE_NAMES),
        "source": pa.DictionaryArray.from_arrays(
            arrow.column(source.astype(np.int8)), SOURCE_NAMES
        ),
    }
    return pa.RecordBatch.from_arrays([values[name] for name in SCHEMA.names], schema=SCHEMA)


def typed(column: str, values: U64, known: Mask, kind: Bytes, exits: Mask) -> pa.Array:
    """Return an argument, as read from u64 registers, as the schema has it; null if not known."""
    schema_type = SCHEMA.field(column).type
    if column in {"nid", "line"}:
        values = values & _U32  # an int or u32: the register's upper half means nothing
    elif column == "ret":
        known = known & exits
        low = (values & _U32).astype(np.uint32).view(np.int32).astype(np.int64)
        values = np.where(_INTS[kind], low, values.view(np.int64)).view(np.uint64)
    narrow = values.astype(np.uint32) if schema_type.bit_width == 32 else values
    if pa.types.is_signed_integer(schema_type):
        return arrow.masked(
            narrow.view(np.int32 if schema_type.bit_width == 32 else np.int64), known
        )
    return arrow.masked(narrow, known)


def _times(buffer: Bytes, ends: Index) -> tuple[U64, Index, Mask]:
    """Read "seconds.fraction" ending at ``ends``: (ns u64[N], where it begins, good bool[N])."""
    micro = buffer[ends - 7] == ord(".")  # "%5lu.%06lu", trace_print_time
    nano = ~micro & (buffer[np.maximum(ends - 10, 0)] == ord("."))  # as other tools print it
    decimals = np.where(nano, 9, 6)
    dot = ends - decimals - 1
    fraction, bad = byte_text.decimals(buffer, ends, decimals)
    before = byte_text.gather(
        buffer, np.maximum(dot - byte_text.MOST_DECIMAL, 0), byte_text.MOST_DECIMAL
    )
    other = before - np.uint8(ord("0")) > 9
    digits = other[:, ::-1].argmax(axis=1).astype(np.int64)
    seconds, wrong = byte_text.decimals(buffer, dot, digits)
    good = (micro | nano) & ~bad & ~wrong & (seconds <= _MOST_SECONDS)
    begins = dot - digits
    good &= buffer[begins - 1] == byte_text.SPACE
    scale = np.where(nano, np.uint64(1), np.uint64(1000))
    return np.where(good, seconds, 0) * _NANOSECONDS + fraction * scale, begins, good


def _is_count(buffer: Bytes, end: int) -> bool:
    """Return whether the time that ends at ``end`` is a bare integer ("%12llu")."""
    word = buffer[max(end - byte_text.MOST_DECIMAL - 1, 0) : end].tobytes().rpartition(b" ")[2]
    return word.isdigit()


def _heads(heads: pa.BinaryArray, line_format: LineFormat) -> tuple[dict[str, pa.Array], Mask]:
    """Read the distinct heads of lines: columns, and which were understood."""
    groups = pc.extract_regex(heads, pattern=line_format.head)
    columns = {}
    good = arrow.valid(groups)
    for name, alternatives, kind in (
        ("tid", ("tid",), pa.uint32()),
        ("cpu", ("cpu", "bare"), pa.uint16()),
        ("pid", ("tgid", "late"), pa.uint32()),
    ):
        digits = _either(groups, alternatives)
        # A process that the kernel no longer knows is "(-------)" (trace_find_tgid).
        known = arrow.true(pc.match_substring_regex(digits, pattern=r"^\d"))
        values = pc.if_else(arrow.flags(known), digits, lines.ZERO)
        wide = pc.cast(pc.cast(values, pa.utf8()), pa.uint64())
        numbers = arrow.filled(wide, 0)
        fits = numbers <= np.uint64((1 << kind.bit_width) - 1)
        good &= fits
        columns[name] = arrow.masked(numbers.astype(f"u{kind.bit_width // 8}"), known & fits)
    # The kernel pads the name on the left: a name's own leading spaces cannot be distinguished.
    name = pc.extract_regex(groups.field("comm"), pattern=r"(?s)^ *(?P<comm>.*)$").field("comm")
    columns["comm"] = line_format.decode(name)
    return columns, good


def _either(groups: pa.StructArray, names: tuple[str, ...]) -> pa.BinaryArray:
    """Return the group of ``names`` that is not empty; a pattern need not have them all."""
    present = [name for name in names if groups.type.get_field_index(name) >= 0]
    if not present:
        return pc.if_else(arrow.flags(np.ones(len(groups), np.bool_)), lines.EMPTY, lines.EMPTY)
    result = groups.field(present[0])
    for name in present[1:]:
        result = pc.if_else(pc.not_equal(result, lines.EMPTY), result, groups.field(name))
    return result


class _Arguments:
    """The " name=value" pairs after the location, as columns over all lines."""

    def __init__(
        self, buffer: Bytes, begins: Index, ends: Index, kind: Bytes, line_format: LineFormat
    ) -> None:
        size = int(ends[-1])
        total = len(begins)
        self.bad = np.zeros(total, np.bool_)
        self._known: dict[str, Mask] = {}
        self._values: dict[str, U64] = {}
        self._site = pa.nulls(total, pa.utf8())
        self._kind = kind
        self._line_format = line_format
        equals = np.flatnonzero(buffer[:size] == ord("="))
        # Both are sorted: search for the fewer values.
        behind = np.append(np.searchsorted(equals, begins), len(equals))
        equals = equals[behind[0] :]
        row = np.repeat(np.arange(total), np.diff(behind))
        quotes = np.flatnonzero(buffer[:size] == ord('"'))
        inside = equals < ends[row]
        if len(quotes):
            # An "=" behind an odd number of quotes is in a string.
            if len(quotes) < len(equals):  # search for the fewer
                before = np.searchsorted(equals, quotes)
                count = np.cumsum(np.bincount(before, minlength=len(equals) + 1))[: len(equals)]
            else:
                count = np.searchsorted(quotes, equals)
            inside &= (count - np.searchsorted(quotes, begins)[row]) % 2 == 0
        equals, row = equals[inside], row[inside]
        names = byte_text.gather(buffer, equals - _NAME, _NAME).view(np.uint64)
        for name, (column, kinds) in _WORDS.items():
            mine = np.flatnonzero(_named(names, name))
            mine = mine[kinds[kind[row[mine]]]]
            at, lines_ = equals[mine] + 1, row[mine]
            if column == "site":
                self._read_site(buffer, at, lines_, ends, quotes)
            elif len(at):
                self._read_number(column, buffer, at, lines_)

    def _read_number(self, column: str, buffer: Bytes, at: Index, rows: Index) -> None:
        known = self._known.setdefault(column, np.zeros(len(self.bad), np.bool_))
        values = self._values.setdefault(column, np.zeros(len(self.bad), np.uint64))
        values[rows], known[rows], bad = byte_text.numbers(buffer, at)
        self.bad[rows] |= bad

    def _read_site(self, buffer: Bytes, at: Index, rows: Index, ends: Index, quotes: Index) -> None:
        bare = self._line_format.bare_site
        if bare is not None:
            begins, stops = at, ends[rows]
            unread = stops - begins > bare  # it may have been cut there
        else:
            quoted = buffer[at] == ord('"')  # else "(fault)", or a type other than string
            begins, rows = at[quoted] + 1, rows[quoted]
            stops = byte_text.following(quotes, begins, int(ends[-1]))
            unread = (stops >= ends[rows]) | (stops - begins > _WIDEST_SITE)
            unread |= ~byte_text.ends_value(buffer[stops + 1])
            self.bad[rows[unread]] = True
        begins, stops, rows = begins[~unread], stops[~unread], rows[~unread]
        if not len(rows):
            return
        codes, sites = byte_text.distinct(buffer, begins, stops - begins)
        picked = np.full(len(self.bad), -1, np.int64)
        picked[rows] = codes
        self._site = self._line_format.decode(sites).take(arrow.masked(picked, picked >= 0))

    def arrays(self, keep: Index | slice, exits: Mask) -> dict[str, pa.Array]:
        """Return the argument columns of the lines ``keep``, typed as the schema has them."""
        site = self._site if isinstance(keep, slice) else self._site.take(arrow.column(keep))
        arrays: dict[str, pa.Array] = {"site": site}
        exits, kind = exits[keep], self._kind[keep]
        for column in NUMBERS:
            if column not in self._known:
                arrays[column] = pa.nulls(len(kind), SCHEMA.field(column).type)
            else:
                known, values = self._known[column][keep], self._values[column][keep]
                arrays[column] = typed(column, values, known, kind, exits)
        return arrays


def _named(words: U64, name: bytes) -> Mask:
    """Compare the bytes before each "=", as two u64 words, with " name"."""
    tail = b" " + name
    want = np.frombuffer(tail.rjust(_NAME, b"\0"), np.uint64)
    mask = np.frombuffer((b"\xff" * len(tail)).rjust(_NAME, b"\0"), np.uint64)
    same: Mask = (words[:, 1] & mask[1]) == want[1]
    if mask[0]:
        same &= (words[:, 0] & mask[0]) == want[0]
    return same
