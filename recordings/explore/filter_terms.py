# SPDX-License-Identifier: GPL-2.0-only
"""What a filter's terms mean: each key with its values made into a test of whole columns.

``NAMED`` are keys of names, of which any may hold; ``RANGED`` those of numbers, which have an
order. Each makes, of values as they were typed, the columns it needs and the test, or raises a
``TermError`` that names the value. A value that a call does not have matches no term.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from recordings.explore import overlap
from recordings.explore.quantities import DECIMAL, SIZES, TIME_UNITS, integer, scaled
from recordings.explore.span_table import Flag
from recordings.ledger.columns import I64
from recordings.ledger.faults import CALLED_BY
from recordings.wording.escape import printable
from tracers import regimes
from tracers.events import Kind, Source
from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.kernel_functions import name as function
from tracers.layout import Layout
from tracers.window import Window

Columns = Mapping[str, NDArray[Any]]
Mask = NDArray[np.bool_]
Test = Callable[[Columns, "Names"], Mask]
#: What a term is made into: the names of the columns it needs, and its test.
Made = tuple[tuple[str, ...], Test]

#: Kinds that lists have.
LISTED: Final = (Kind.POPULATE, Kind.FREE, Kind.FAULT)
#: Regimes beside the kernel's: any but inside; hits that the kernel's own check lets pass.
OUTSIDE: Final = "outside"
SILENT: Final = "silent"
_QUANTITY: Final = re.compile(rf"({DECIMAL})([a-zµ\u03bc]*)")


class TermError(ValueError):
    """A value that is not one of its key; the message names it."""


class Names(Protocol):
    """The texts behind the codes of columns."""

    @property
    def comms(self) -> Sequence[str | None]:
        """Names of tasks by code, unescaped."""
        ...

    @property
    def sites(self) -> Sequence[str | None]:
        """Places of WARNs ("file:line") by code, unescaped."""
        ...

    @property
    def chains(self) -> Sequence[str | None]:
        """Chains of callers of Oopses by code, unescaped."""
        ...

    def positions(self, rows: I64) -> I64:
        """Return the position of the call that begins at each of ``rows``, ascending; -1: none."""
        ...

    def operations(self, most: int) -> I64:
        """Return the events that the first operations begin with, ``most`` of them at most."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What a filter needs to know of a recording to read pfns, regions and times."""

    window: Window | None = None
    layout: Layout | None = None
    first_ns: int | None = None


# -- terms of names ---------------------------------------------------------------------------


def _comm(values: tuple[str, ...], _: Facts) -> Made:
    def test(columns: Columns, names: Names) -> Mask:
        return _coded(columns["comm"], names.comms, lambda text: _like(text, values))

    return ("comm",), test


def _site(values: tuple[str, ...], _: Facts) -> Made:
    def fits(text: str) -> bool:
        tails = [text[at + 1 :] for at, char in enumerate(text) if char == "/"]
        ways = [text, *tails]
        ways += [way.rpartition(":")[0] for way in ways]
        return "any" in values or any(_like(way, values) for way in ways)

    def passes(chain: str) -> bool:
        frames = chain.split(CALLED_BY)
        ways = [*frames, *(frame.partition("+")[0] for frame in frames)]
        return any(_like(way, values) for way in ways)

    def test(columns: Columns, names: Names) -> Mask:
        mask = _coded(columns["site"], names.sites, fits)
        if "none" in values:
            mask |= columns["warns"] == 0
        fault = columns["kind"] == Kind.FAULT
        if fault.any():
            mask[fault] = _coded(columns["site"][fault], names.chains, passes)
        return mask

    return ("site", "warns", "kind"), test


def _regime(values: tuple[str, ...], _: Facts) -> Made:
    table = np.zeros(256, np.bool_)
    for value in values:
        if value == OUTSIDE:
            table[: len(regimes.REGIMES)] |= regimes.hits(
                np.arange(len(regimes.REGIMES), dtype=np.uint8)
            )
        elif value in regimes.REGIMES:
            table[regimes.REGIMES.index(value)] = True
        elif value != SILENT:
            known = ", ".join((*regimes.REGIMES, OUTSIDE, SILENT))
            raise TermError(f"{printable(value)} is none of {known}")

    def test(columns: Columns, _: Names) -> Mask:
        mask: Mask = table[columns["regime"]]
        silent = (columns["flags"] & np.uint8(Flag.SILENT)) != 0
        return mask | silent if SILENT in values else mask

    return ("regime", "flags"), test


def _kind(values: tuple[str, ...], _: Facts) -> Made:
    kinds = {kind.label: kind for kind in LISTED} | {function(kind): kind for kind in LISTED}
    for value in values:
        if value not in kinds:
            known = ", ".join(kind.label for kind in LISTED)
            raise TermError(f"{printable(value)} is none of {known}")
    wanted = [int(kinds[value]) for value in values]
    return ("kind",), lambda columns, _: np.isin(columns["kind"], wanted)


def _known(values: tuple[str, ...], _: Facts) -> Made:
    sources = {source.label: source for source in Source}
    for value in values:
        if value not in sources:
            raise TermError(f"{printable(value)} is none of {', '.join(sources)}")
    wanted = [int(sources[value]) for value in values]
    return ("source",), lambda columns, _: np.isin(columns["source"], wanted)


def _lands(values: tuple[str, ...], facts: Facts) -> Made:
    layout = facts.layout
    if layout is None:
        raise TermError("the regions of this kernel's address space are not known")
    names = [printable(region.name) for region in layout.regions]
    wanted = np.array([_like(name, values) for name in names], np.bool_)
    if not wanted.any():
        raise TermError(f"no region is named so; there are {', '.join(names)}")
    # Of a call over several regions each counts: sums of the wanted ones up to each border.
    before = np.concatenate(([0], np.cumsum(wanted)))

    def test(columns: Columns, _: Names) -> Mask:
        start, end, known = overlap.known_ranges(columns)
        first, last = regimes.region_codes(layout, start, end)
        first, last = first.astype(np.int64), last.astype(np.int64)
        some: Mask = before[last + 1] > before[first]
        around = last < first  # past the top: to the last region, and from the first
        some |= around & (before[-1] > before[first])
        some |= around & (before[last + 1] > 0)
        return some & known

    return overlap.NAMES, test


def _integers(name: str) -> Callable[[tuple[str, ...], Facts], Made]:
    def make(values: tuple[str, ...], _: Facts) -> Made:
        wanted = [_number(value) for value in values]
        if max(wanted) >= 1 << 32:
            raise TermError("that is beyond 32 bits")
        return (name,), lambda columns, _: np.isin(columns[name], wanted)

    return make


def _pid(values: tuple[str, ...], facts: Facts) -> Made:
    """A process; where the log names threads alone, the thread, as everywhere."""
    _, by_thread = _integers("tid")(values, facts)

    def test(columns: Columns, names: Names) -> Mask:
        pid = columns["pid"]
        return by_thread({"tid": np.where(pid < 0, columns["tid"], pid)}, names)

    return ("pid", "tid"), test


def _op(values: tuple[str, ...], _: Facts) -> Made:
    """An operation, by the number of the event that it begins with."""
    rows = np.array(sorted({_event_number(value) for value in values}), np.int64)

    def test(columns: Columns, names: Names) -> Mask:
        found = names.positions(rows)
        return np.isin(columns["owner"], found[found >= 0])

    return ("owner",), test


def _event_number(text: str) -> int:
    value = _number(text.removeprefix("#"))
    if value >= 1 << 63:
        raise TermError(f"{printable(text)} is no number of an event")
    return value


NAMED: Final[Mapping[str, Callable[[tuple[str, ...], Facts], Made]]] = {
    "comm": _comm,
    "pid": _pid,
    "tid": _integers("tid"),
    "cpu": _integers("cpu"),
    "kind": _kind,
    "regime": _regime,
    "lands": _lands,
    "site": _site,
    "op": _op,
    "known": _known,
}


def _like(text: str, patterns: Iterable[str]) -> bool:
    return any(text == pattern or fnmatchcase(text, pattern) for pattern in patterns)


def _coded(
    codes: NDArray[np.generic], texts: Sequence[str | None], fits: Callable[[str], bool]
) -> Mask:
    """Ask each text once, then look the rows up; a code beyond the texts fits nothing."""
    table = np.array([text is not None and fits(printable(text)) for text in texts], np.bool_)
    table = np.append(table, False)
    places = np.minimum(codes.astype(np.int64), len(table) - 1)
    mask: Mask = table[places]
    return mask


# -- terms of numbers -------------------------------------------------------------------------


def _took(sign: str, value: str, _: Facts) -> Made:
    low, high = _bounds(sign, value, _duration)

    def test(columns: Columns, _: Names) -> Mask:
        ended: Mask = columns["end_row"] >= 0
        return ended & _within(columns["duration"], low, high)

    return ("duration", "end_row"), test


def _time(sign: str, value: str, facts: Facts) -> Made:
    if facts.first_ns is None:
        raise TermError("there is no first event yet")
    low, high = _bounds(sign, value, _seconds)
    low, high = (min(each + facts.first_ns, MASK + 1) for each in (low, high))
    return ("ts",), lambda columns, _: _within(columns["ts"], low, high)


def _event(sign: str, value: str, _: Facts) -> Made:
    low, high = _bounds(sign, value, _number)
    return ("row",), lambda columns, _: _within(columns["row"].astype(np.uint64), low, high)


def _addr(sign: str, value: str, _: Facts) -> Made:
    return _overlap(*_bounds(sign, value, _number))


def _pfn(sign: str, value: str, facts: Facts) -> Made:
    low, high = _bounds(sign, value, _number)
    return _frames(low, high, facts)


def _phys(sign: str, value: str, facts: Facts) -> Made:
    low, high = _bounds(sign, value, _bytes)
    try:
        page = 1 << facts.window.page_shift if facts.window else 1
    except WindowError as error:
        raise TermError(f"{error}: ask for addr:") from None
    return _frames(low // page, -(-high // page), facts)


def _frames(low: int, high: int, facts: Facts) -> Made:
    try:
        return _overlap(*overlap.struct_pages(low, high, facts.window))
    except WindowError as error:
        raise TermError(f"{error}: ask for addr:") from None


def _overlap(low: int, high: int) -> Made:
    """Calls whose range, modulo 2^64, meets [low, high)."""
    return overlap.NAMES, lambda columns, _: overlap.overlaps(columns, low, high)


RANGED: Final[Mapping[str, Callable[[str, str, Facts], Made]]] = {
    "took": _took,
    "time": _time,
    "event": _event,
    "pfn": _pfn,
    "phys": _phys,
    "addr": _addr,
}


def _within(values: NDArray[np.uint64], low: int, high: int) -> Mask:
    """Return where low <= value < high; the bounds may lie outside of u64."""
    if low > MASK or high <= low:
        return np.zeros(len(values), np.bool_)
    mask = np.greater_equal(values, np.uint64(max(0, low)))
    return mask & np.less(values, np.uint64(high)) if high <= MASK else mask


def _bounds(sign: str, text: str, read: Callable[[str], int]) -> tuple[int, int]:
    """Return [low, high) of ``A..B``, ``A+LENGTH``, ``A``, or of a comparison with A."""
    first, dots, last = text.partition("..")
    if sign != ":":
        value = read(text)
        return {
            ">": (value + 1, MASK + 1),
            ">=": (value, MASK + 1),
            "<": (0, value),
            "<=": (0, value + 1),
        }[sign]
    if dots:
        low, high = read(first) if first else 0, read(last) if last else MASK + 1
    elif "+" in text:
        first, _, length = text.partition("+")
        low = read(first)
        high = low + read(length)
    else:
        low = read(text)
        high = low + 1
    if high <= low:
        raise TermError(f"{printable(text)} is empty: its end is not behind its start")
    return low, high


def _number(text: str) -> int:
    value = integer(text.lower())
    if value is None or value > MASK + 1:  # an end may be the top itself
        raise TermError(f"{printable(text)!r} is no number")
    return value


def _duration(text: str) -> int:
    match = _QUANTITY.fullmatch(text.lower())
    if match is None or match[2] not in TIME_UNITS:
        raise TermError(f"{printable(text)!r} is no time with ns, us, ms or s")
    return scaled(match[1], TIME_UNITS[match[2]])


def _seconds(text: str) -> int:
    match = _QUANTITY.fullmatch(text.lower())
    if match is None or match[2] not in {"", *TIME_UNITS}:
        raise TermError(f"{printable(text)!r} is no number of seconds")
    return scaled(match[1], TIME_UNITS[match[2] or "s"])


def _bytes(text: str) -> int:
    if integer(text.lower()) is not None:
        return _number(text)
    match = _QUANTITY.fullmatch(text.lower())
    unit = re.sub("i?b$", "", match[2]) if match else "?"
    if match is None or unit not in SIZES:
        raise TermError(f"{printable(text)!r} is no physical address")
    return scaled(match[1], 1 << SIZES[unit])
