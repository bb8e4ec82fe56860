# SPDX-License-Identifier: GPL-2.0-only
"""The filter: one line that says which populate and free calls are meant, as people type it.

    comm:rmmod regime:above,below !site:mmu.c took>1ms time:0.5..0.9

Terms are separated by spaces and all of them must hold; ``!`` turns one around; of values with
commas any may hold. Ranges are ``A..B`` without B, or ``A+LENGTH``. A filter is a frozen value,
made once from its text and asked once a block of columns; names are compared as they are shown
(escaped), so that what is on the screen can be typed. A value that a call does not have (its end
was lost: no ``took``) matches no term, and so every ``!`` of it.

Raises ``FilterError`` with one line that says what is wrong and what would be right.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from recordings.explore.span_table import Flag
from recordings.wording.escape import printable
from tracers import regimes
from tracers.events import Kind, Source
from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.kernel_functions import name as function
from tracers.layout import Layout
from tracers.window import Window

__all__ = ["KEYS", "Facts", "Filter", "FilterError", "Names"]

Columns = Mapping[str, NDArray[Any]]
Mask = NDArray[np.bool_]
Test = Callable[[Columns, "Names"], Mask]

#: What there is to ask for, with an example and its meaning, in the order of the help.
KEYS: Final = {
    "comm": ("comm:rmmod", "name of the task; * and ? stand for anything"),
    "pid": ("pid:68", "process; the thread where only that is known"),
    "tid": ("tid:68", "thread"),
    "cpu": ("cpu:0", "CPU"),
    "kind": ("kind:free", "populate or free"),
    "regime": ("regime:above", "where it lies; also outside, silent"),
    "lands": ("lands:vmalloc", "region it lands on"),
    "site": ("site:mmu.c:1268", "place of the WARN inside it; none, any"),
    "known": ("known:derived", "how the call is known"),
    "took": ("took>1ms", "how long it took; ns, us, ms, s"),
    "time": ("time:0.5..0.9", "seconds after the first event"),
    "event": ("event:100..200", "number of its event"),
    "pfn": ("pfn:0x53f8000+0x8000", "page frames whose struct pages it maps"),
    "phys": ("phys:16G..32G", "the same as physical addresses"),
    "addr": ("addr:0xffffffff4ee00000", "address of struct pages"),
}
_OUTSIDE: Final = "outside"
_SILENT: Final = "silent"
_TERM: Final = re.compile(r"(!?)([a-z]+)(:|=|>=|<=|>|<)(.*)", re.DOTALL)
_TIME_UNITS: Final = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9}
_SIZES: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_NUMBER: Final = re.compile(r"0x[0-9a-f]{1,17}|[0-9]{1,20}")
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([a-zµ]*)")
_WORD: Final = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
_VALUE: Final = re.compile(r"""(?:"[^"]*"|'[^']*'|[^,"'])+""")
#: Terms of one filter, so that a pasted book is refused.
_MOST_TERMS: Final = 64
_KNOWN: Final = np.uint8(Flag.START_KNOWN | Flag.END_KNOWN)


class FilterError(ValueError):
    """A filter that cannot be read; the message is one line."""


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


@dataclass(frozen=True, slots=True)
class Facts:
    """What a filter needs to know of a recording to read pfns, regions and times."""

    window: Window | None = None
    layout: Layout | None = None
    first_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One condition."""

    text: str
    negated: bool
    names: tuple[str, ...]  # columns it needs
    test: Test = field(compare=False)

    def mask(self, columns: Columns, names: Names) -> Mask:
        """Return where it holds: bool[n]."""
        return self.test(columns, names) ^ self.negated


@dataclass(frozen=True, slots=True)
class Filter:
    """Which calls are meant. An empty one means all, and is false."""

    terms: tuple[Term, ...] = ()

    @classmethod
    def parse(cls, text: str, facts: Facts) -> Self:
        """Read a filter as it was typed.

        Raises:
            FilterError: what is wrong with it.
        """
        words = split(text)
        if len(words) > _MOST_TERMS:
            raise FilterError(f"{len(words)} terms; {_MOST_TERMS} is the most")
        return cls(tuple(_term(word, facts) for word in words))

    def __bool__(self) -> bool:
        return bool(self.terms)

    @property
    def text(self) -> str:
        """The line that gives this filter again."""
        return " ".join(term.text for term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that ``mask`` needs, one at least."""
        names = tuple(dict.fromkeys(name for term in self.terms for name in term.names))
        return names or ("kind",)

    def mask(self, columns: Columns, table: Names) -> Mask:
        """Return which rows of ``columns`` (those in ``names``, of one length) are meant."""
        mask = np.ones(len(next(iter(columns.values()))), np.bool_)
        for term in self.terms:
            mask &= term.mask(columns, table)
        return mask


def split(text: str) -> list[str]:
    """Cut a line at its spaces, but for those in quotes, which stay."""
    if (rest := _WORD.sub("", text)).strip():
        raise FilterError(f"a quote is not closed: {printable(rest.strip())}")
    return _WORD.findall(text)


def toggled(text: str, term: str) -> str:
    """Return a filter's line with ``term`` in place of others of its key, or without it.

    Without it if it is there already.
    """
    words = split(text)
    if term in words:
        return " ".join(word for word in words if word != term)
    return " ".join([*(word for word in words if _key(word) != _key(term)), term])


def _key(word: str) -> str:
    match = _TERM.fullmatch(word)
    return match[1] + match[2] if match else word


def complete(text: str, names: Names) -> list[str]:
    """Return the lines that ``text`` may become: its last word finished in each way there is."""
    try:
        words = split(text)
    except FilterError:
        return []
    last = "" if not text or text[-1].isspace() else words.pop()
    mark = "!" if last.startswith("!") else ""
    typed = last.removeprefix("!")
    key, colon, value = typed.partition(":")
    if colon:
        *before, value = value.split(",")
        start = "".join(f"{each}," for each in before)
        wanted = value.strip("\"'")
        ends = [
            f"{key}:{start}{_quoted(each)}"
            for each in _values(key, names)
            if each.startswith(wanted) and each != wanted
        ]
    else:
        ends = [
            example[: len(each) + 1]
            for each, (example, _) in KEYS.items()
            if each.startswith(typed)
        ]
    return [" ".join([*words, mark + end]) for end in ends]


def _values(key: str, names: Names) -> Iterable[str]:
    if key == "comm":
        return sorted({printable(comm) for comm in names.comms if comm})
    if key == "site":
        places = {printable(site) for site in names.sites if site}
        return (*sorted({place.rsplit("/", 1)[-1] for place in places}), "any", "none")
    if key == "regime":
        return (*regimes.REGIMES, _OUTSIDE, _SILENT)
    if key == "kind":
        return (Kind.POPULATE.label, Kind.FREE.label)
    if key == "known":
        return tuple(source.label for source in Source if source)
    return ()


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"[\s']", value) else value


def _term(word: str, facts: Facts) -> Term:
    match = _TERM.fullmatch(word)
    if match is None:
        plain = word.removeprefix("!").strip("\"'")
        raise FilterError(f"{printable(word)}: say of what, such as comm:{printable(plain)}")
    negation, key, sign, value = match.groups()
    if key not in KEYS:
        raise FilterError(f"{key}: no such key; there are {', '.join(KEYS)}")
    sign = ":" if sign == "=" else sign
    if not value.strip("\"'"):
        raise FilterError(f"{key}: a value is missing, such as {KEYS[key][0]}")
    if sign != ":" and key not in _RANGES:
        raise FilterError(f"{key} has no order: {KEYS[key][0]}")
    make = _RANGES.get(key)
    try:
        if make is not None:
            names, test = make(sign, value, facts)
        else:
            values = tuple(part.strip("\"'") for part in _VALUE.findall(value))
            names, test = _NAMES[key](values, facts)
    except _ValueUnreadableError as error:
        raise FilterError(f"{key}: {error}, such as {KEYS[key][0]}") from None
    return Term(f"{negation}{key}{sign}{value}", bool(negation), names, test)


class _ValueUnreadableError(ValueError):
    """A value that is not one; the message names it."""


# -- terms of names ---------------------------------------------------------------------------


def _comm(values: tuple[str, ...], _: Facts) -> tuple[tuple[str, ...], Test]:
    def test(columns: Columns, names: Names) -> Mask:
        return _coded(columns["comm"], names.comms, lambda text: _like(text, values))

    return ("comm",), test


def _site(values: tuple[str, ...], _: Facts) -> tuple[tuple[str, ...], Test]:
    def fits(text: str) -> bool:
        tails = [text[at + 1 :] for at, char in enumerate(text) if char == "/"]
        ways = [text, *tails]
        ways += [way.rpartition(":")[0] for way in ways]
        return "any" in values or any(_like(way, values) for way in ways)

    def test(columns: Columns, names: Names) -> Mask:
        mask = _coded(columns["site"], names.sites, fits)
        return mask | (columns["warns"] == 0) if "none" in values else mask

    return ("site", "warns"), test


def _regime(values: tuple[str, ...], _: Facts) -> tuple[tuple[str, ...], Test]:
    table = np.zeros(256, np.bool_)
    for value in values:
        if value == _OUTSIDE:
            table[: len(regimes.REGIMES)] |= regimes.hits(
                np.arange(len(regimes.REGIMES), dtype=np.uint8)
            )
        elif value in regimes.REGIMES:
            table[regimes.REGIMES.index(value)] = True
        elif value != _SILENT:
            known = ", ".join((*regimes.REGIMES, _OUTSIDE, _SILENT))
            raise _ValueUnreadableError(f"{printable(value)} is none of {known}")

    def test(columns: Columns, _: Names) -> Mask:
        mask: Mask = table[columns["regime"]]
        silent = (columns["flags"] & np.uint8(Flag.SILENT)) != 0
        return mask | silent if _SILENT in values else mask

    return ("regime", "flags"), test


def _kind(values: tuple[str, ...], _: Facts) -> tuple[tuple[str, ...], Test]:
    kinds = {kind.label: kind for kind in (Kind.POPULATE, Kind.FREE)}
    kinds |= {function(kind): kind for kind in (Kind.POPULATE, Kind.FREE)}
    for value in values:
        if value not in kinds:
            raise _ValueUnreadableError(f"{printable(value)} is neither populate nor free")
    wanted = [int(kinds[value]) for value in values]
    return ("kind",), lambda columns, _: np.isin(columns["kind"], wanted)


def _known(values: tuple[str, ...], _: Facts) -> tuple[tuple[str, ...], Test]:
    sources = {source.label: source for source in Source}
    for value in values:
        if value not in sources:
            raise _ValueUnreadableError(f"{printable(value)} is none of {', '.join(sources)}")
    wanted = [int(sources[value]) for value in values]
    return ("source",), lambda columns, _: np.isin(columns["source"], wanted)


def _lands(values: tuple[str, ...], facts: Facts) -> tuple[tuple[str, ...], Test]:
    layout = facts.layout
    if layout is None:
        raise _ValueUnreadableError("the regions of this kernel's address space are not known")
    names = [printable(region.name) for region in layout.regions]
    wanted = np.array([_like(name, values) for name in names], np.bool_)
    if not wanted.any():
        raise _ValueUnreadableError(f"no region is named so; there are {', '.join(names)}")
    # Of a call over several regions each counts: sums of the wanted ones up to each border.
    before = np.concatenate(([0], np.cumsum(wanted)))

    def test(columns: Columns, _: Names) -> Mask:
        start, end, known = _range_of(columns)
        first, last = regimes.region_codes(layout, start, end)
        first, last = first.astype(np.int64), last.astype(np.int64)
        some: Mask = before[last + 1] > before[first]
        around = last < first  # past the top: to the last region, and from the first
        some |= around & (before[-1] > before[first])
        some |= around & (before[last + 1] > 0)
        return some & known

    return ("start", "end", "flags"), test


def _integers(name: str) -> Callable[[tuple[str, ...], Facts], tuple[tuple[str, ...], Test]]:
    def make(values: tuple[str, ...], _: Facts) -> tuple[tuple[str, ...], Test]:
        wanted = [_number(value) for value in values]
        if max(wanted) >= 1 << 32:
            raise _ValueUnreadableError("that is beyond 32 bits")
        return (name,), lambda columns, _: np.isin(columns[name], wanted)

    return make


def _pid(values: tuple[str, ...], facts: Facts) -> tuple[tuple[str, ...], Test]:
    """A process; where the log names threads alone, the thread, as everywhere."""
    _, by_thread = _integers("tid")(values, facts)

    def test(columns: Columns, names: Names) -> Mask:
        pid = columns["pid"]
        return by_thread({"tid": np.where(pid < 0, columns["tid"], pid)}, names)

    return ("pid", "tid"), test


_NAMES: Final[Mapping[str, Callable[[tuple[str, ...], Facts], tuple[tuple[str, ...], Test]]]] = {
    "comm": _comm,
    "pid": _pid,
    "tid": _integers("tid"),
    "cpu": _integers("cpu"),
    "kind": _kind,
    "regime": _regime,
    "lands": _lands,
    "site": _site,
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


def _took(sign: str, value: str, _: Facts) -> tuple[tuple[str, ...], Test]:
    low, high = _bounds(sign, value, _duration, 1)

    def test(columns: Columns, _: Names) -> Mask:
        ended: Mask = columns["end_row"] >= 0
        return ended & _within(columns["duration"], low, high)

    return ("duration", "end_row"), test


def _time(sign: str, value: str, facts: Facts) -> tuple[tuple[str, ...], Test]:
    if facts.first_ns is None:
        raise _ValueUnreadableError("there is no first event yet")
    low, high = _bounds(sign, value, _seconds, 1)
    low, high = (min(each + facts.first_ns, MASK + 1) for each in (low, high))
    return ("ts",), lambda columns, _: _within(columns["ts"], low, high)


def _event(sign: str, value: str, _: Facts) -> tuple[tuple[str, ...], Test]:
    low, high = _bounds(sign, value, _number, 1)
    return ("row",), lambda columns, _: _within(columns["row"].astype(np.uint64), low, high)


def _addr(sign: str, value: str, _: Facts) -> tuple[tuple[str, ...], Test]:
    return _overlap(*_bounds(sign, value, _number, 1))


def _pfn(sign: str, value: str, facts: Facts) -> tuple[tuple[str, ...], Test]:
    low, high = _bounds(sign, value, _number, 1)
    return _frames(low, high, facts)


def _phys(sign: str, value: str, facts: Facts) -> tuple[tuple[str, ...], Test]:
    low, high = _bounds(sign, value, _bytes, 1)
    window = _with_vmemmap(facts)
    page = 1 << window.page_shift
    return _frames(low // page, -(-high // page), facts)


def _frames(low: int, high: int, facts: Facts) -> tuple[tuple[str, ...], Test]:
    """Calls on the struct pages of [low, high): more than all of the address space is all of it."""
    window = _with_vmemmap(facts)
    size = window.struct_page or 0
    if (high - low) * size > MASK:
        return _overlap(0, MASK + 1)
    start = window.vmemmap + low * size
    return _overlap(start, start + (high - low) * size)


def _with_vmemmap(facts: Facts) -> Window:
    window = facts.window
    if window is None:
        raise _ValueUnreadableError("the window is not known: ask for addr:")
    try:
        window.vmemmap  # noqa: B018 (raises what is missing)
    except WindowError as error:
        raise _ValueUnreadableError(f"{error}: ask for addr:") from None
    return window


def _overlap(low: int, high: int) -> tuple[tuple[str, ...], Test]:
    """Calls whose range, modulo 2^64, meets [low, high)."""
    first, length = np.uint64(low & MASK), min(high - low, MASK)

    def test(columns: Columns, _: Names) -> Mask:
        start, end, known = _range_of(columns)
        size = end - start
        meets = (first - start < size) | (start - first < np.uint64(length))
        return meets & known

    return ("start", "end", "flags"), test


_RANGES: Final[Mapping[str, Callable[[str, str, Facts], tuple[tuple[str, ...], Test]]]] = {
    "took": _took,
    "time": _time,
    "event": _event,
    "pfn": _pfn,
    "phys": _phys,
    "addr": _addr,
}


def _range_of(columns: Columns) -> tuple[NDArray[np.uint64], NDArray[np.uint64], Mask]:
    start, end = (columns[name].astype(np.uint64, copy=False) for name in ("start", "end"))
    return start, end, (columns["flags"] & _KNOWN) == _KNOWN


def _within(values: NDArray[np.uint64], low: int, high: int) -> Mask:
    """Return where low <= value < high; the bounds may lie outside of u64."""
    if low > MASK or high <= low:
        return np.zeros(len(values), np.bool_)
    mask = np.greater_equal(values, np.uint64(max(0, low)))
    return mask & np.less(values, np.uint64(high)) if high <= MASK else mask


def _bounds(sign: str, text: str, read: Callable[[str], int], unit: int) -> tuple[int, int]:
    """Return [low, high) of ``A..B``, ``A+LENGTH``, ``A``, or of a comparison with A."""
    first, dots, last = text.partition("..")
    if sign != ":":
        value = read(text)
        return {
            ">": (value + unit, MASK + 1),
            ">=": (value, MASK + 1),
            "<": (0, value),
            "<=": (0, value + unit),
        }[sign]
    if dots:
        low, high = read(first) if first else 0, read(last) if last else MASK + 1
    elif "+" in text:
        first, _, length = text.partition("+")
        low = read(first)
        high = low + read(length)
    else:
        low = read(text)
        high = low + unit
    if high <= low:
        raise _ValueUnreadableError(f"{printable(text)} is empty: its end is not behind its start")
    return low, high


def _number(text: str) -> int:
    text = text.lower()
    value = int(text, 16 if "x" in text else 10) if _NUMBER.fullmatch(text) else MASK + 2
    if value > MASK + 1:  # an end may be the top itself
        raise _ValueUnreadableError(f"{printable(text)!r} is no number")
    return value


def _duration(text: str) -> int:
    match = _QUANTITY.fullmatch(text.lower().replace("\u03bc", "µ"))
    if match is None or match[2] not in _TIME_UNITS:
        raise _ValueUnreadableError(f"{printable(text)!r} is no time with ns, us, ms or s")
    return round(float(match[1]) * _TIME_UNITS[match[2]])


def _seconds(text: str) -> int:
    match = _QUANTITY.fullmatch(text.lower().replace("\u03bc", "µ"))
    if match is None or match[2] not in {"", *_TIME_UNITS}:
        raise _ValueUnreadableError(f"{printable(text)!r} is no number of seconds")
    return round(float(match[1]) * _TIME_UNITS[match[2] or "s"])


def _bytes(text: str) -> int:
    if _NUMBER.fullmatch(text.lower()):
        return _number(text)
    match = _QUANTITY.fullmatch(text.lower())
    unit = re.sub("i?b$", "", match[2]) if match else "?"
    if match is None or unit not in _SIZES:
        raise _ValueUnreadableError(f"{printable(text)!r} is no physical address")
    return round(float(match[1]) * (1 << _SIZES[unit]))
