# SPDX-License-Identifier: GPL-2.0-only
"""Where to go: one line that names a moment, an event or a place of memory, as people type it.

    0.5   500ms   50%   #898   [    5.408390]   pfn 0x53f8000   phys 16G   0xffffffff4ee00000

A time is one since the first event; in brackets it is dmesg's, as printk writes it. A pfn, a
physical address and an address go to the next call on whose struct pages they lie, or on which they
are, after the present position; behind the last one, to the first.

Promises: any text becomes a ``Place`` or a ``GotoError`` of one line that says why not. Nothing of
the kernel's log is taken to be on the trace's clock where the recording says otherwise.

Source: kernel/printk/printk.c (stamps are local_clock()); Documentation/trace/ftrace.rst
(trace_clock: local is the default; local and perf are that clock, global is made of it).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.explore import overlap
from recordings.explore.matches import Matches
from recordings.explore.quantities import DECIMAL, SIZES, TIME_UNITS, integer, scaled
from recordings.explore.span_table import SpanTable
from recordings.ledger.columns import Bool
from recordings.wording.escape import printable
from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.window import Window

#: What can be typed, for a help line.
FORMS: Final = "0.5 · 500ms · 50% · #898 · [5.408390] · pfn 0x53f8000 · phys 16G · 0xffff…"

_TIME: Final = re.compile(rf"({DECIMAL}) ?(ns|us|µs|\u03bcs|ms|s|)")
_PERCENT: Final = re.compile(rf"({DECIMAL}) ?%")
_EVENT: Final = re.compile(r"# ?([0-9][0-9,]{0,25})")
# With PRINTK_CALLER the thread or the CPU follows: [    5.408390][   T68].
_DMESG: Final = re.compile(r"\[ *([0-9]{1,12})\.([0-9]{6})\](?:\[ *[TC][0-9]+\])?.*", re.DOTALL)
_PFN: Final = re.compile(r"pfn[ :=]+(\S+)")
_PHYS: Final = re.compile(rf"phys[ :=]+(0x[0-9a-f]{{1,16}}|{DECIMAL}) ?([kmgt]?)(?:i?b)?")
_ADDRESS: Final = re.compile(r"(?:addr[ :=]+)?(?:0x)?([0-9a-f]{16}|(?<=0x)[0-9a-f]{1,16})")
#: Clocks that are printk's own: of traces, and of dmesg itself.
_PRINTK: Final = frozenset({"local", "global", "perf", "seconds since boot"})
#: Where its clock is not known, dmesg's times are believed so far from the recording's events.
_NEAR_NS: Final = 10**9


class GotoError(ValueError):
    """There is no such place; the message is one line."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go: an event, or a moment of the trace's clock. One of the two is ``None``."""

    row: int | None = None  # number of the event, from 0
    time_ns: int | None = None
    note: str = ""  # what has to be believed for it to be right


@dataclass(frozen=True, slots=True)
class Extent:
    """What a place is looked for in; ``row``: the present position, the events that happened."""

    first_ns: int | None
    last_ns: int | None
    rows: int
    row: int = 0
    clock: Mapping[str, str | int | None] | None = None  # of the recording's header
    window: Window | None = None


class Overlaps:
    """Lets calls through whose range, modulo 2^64, meets [low, high)."""

    names = overlap.NAMES

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def mask(self, columns: dict[str, NDArray[Any]], table: SpanTable) -> Bool:
        """Return which spans those are: bool[n]; an empty range is nowhere."""
        empty: Bool = columns["start"] == columns["end"]
        return overlap.overlaps(columns, self._low, self._high) & ~empty


def find(text: str, extent: Extent, table: SpanTable) -> Place:
    """Return the place that ``text`` means.

    Raises:
        GotoError: it means none, or one that is not in the recording.
    """
    typed = text.strip().lower()
    if extent.first_ns is None or extent.last_ns is None:
        raise GotoError("there is no event yet to go to")
    if match := _EVENT.fullmatch(typed):
        return _event(match[1], extent)
    if match := _DMESG.fullmatch(typed):
        return _dmesg(int(match[1]) * 10**9 + int(match[2]) * 1000, extent)
    length = extent.last_ns - extent.first_ns
    if match := _PERCENT.fullmatch(typed):
        return _since(scaled(match[1], length, 100), length, extent.first_ns)
    if match := _TIME.fullmatch(typed):
        return _since(scaled(match[1], TIME_UNITS[match[2] or "s"]), length, extent.first_ns)
    return _memory(typed, extent, table)


def _event(digits: str, extent: Extent) -> Place:
    row = int(digits.replace(",", ""))
    if row >= extent.rows:
        raise GotoError(f"there is no event #{row:,}: the last is #{extent.rows - 1:,}")
    return Place(row=row)


def _since(elapsed: int, length: int, first_ns: int) -> Place:
    if elapsed > length:
        raise GotoError(f"it ends {length / 1e9:.6f} s after its first event")
    return Place(time_ns=first_ns + elapsed)


def _dmesg(stamp: int, extent: Extent) -> Place:
    first, last = extent.first_ns or 0, extent.last_ns or 0
    clock = str((extent.clock or {}).get("name") or "unknown")
    offset = printk_offset(extent.clock or {})
    known = offset is not None
    if not known and clock != "unknown":
        raise GotoError(
            f"dmesg's times are of the kernel's local clock, this recording's of {printable(clock)}"
            ": how the two relate is not known"
        )
    slack = 0 if known else _NEAR_NS
    time_ns = stamp - (offset or 0)
    if not first - slack <= time_ns <= last + slack:
        where = "before its first" if time_ns < first else "after its last"
        why = "" if known else ", or its clock, which it does not name, is not dmesg's"
        raise GotoError(f"[{_stamp(stamp)}] is {where} event{why}")
    note = ""
    if not known:
        note = "the recording names no clock: taken for ftrace's default, dmesg's own"
    elif clock not in _PRINTK:
        note = "by where dmesg's clock stood when the capture began"
    return Place(time_ns=min(max(time_ns, first), last), note=note)


def printk_offset(clock: Mapping[str, str | int | None]) -> int | None:
    """Return what to add to a recording's times for dmesg's, ``None`` where that is not known.

    ``clock``: of the header. A capture measured it when it began (``tracers.live.printk_clock``);
    a clock that follows NTP may have moved since, by half a millisecond a second at most.
    """
    measured = clock.get("printk_offset_ns")
    if isinstance(measured, int):
        return measured
    return 0 if clock.get("name") in _PRINTK else None


def dmesg_stamp(ts_ns: int, clock: Mapping[str, str | int | None] | None) -> str | None:
    """Return what printk writes at a moment, ``None`` where its clock is not known."""
    offset = printk_offset(clock or {})
    return None if offset is None else f"[{_stamp(max(0, ts_ns + offset))}]"


def _stamp(ns: int) -> str:
    return f"{ns // 10**9:5}.{ns % 10**9 // 1000:06}"


def _memory(typed: str, extent: Extent, table: SpanTable) -> Place:
    if match := _PFN.fullmatch(typed):
        first = _number(match[1])
        low, high = _pages(first, extent.window)
        what = f"the struct page of pfn {first:#x}"
    elif match := _PHYS.fullmatch(typed):
        number = match[1]
        if number.startswith("0x"):
            phys = int(number, 16) << SIZES[match[2]]
        else:
            phys = scaled(number, 1 << SIZES[match[2]])
        if phys > MASK:
            raise GotoError(f"{printable(typed)}: a physical address has 64 bits")
        low, high = _pages(_pfn_of(phys, extent.window), extent.window)
        what = f"the struct page of physical {phys:#x}"
    elif match := _ADDRESS.fullmatch(typed):
        low = int(match[1], 16)
        high, what = low + 1, f"{low:#018x}"
    else:
        raise GotoError(f"'{printable(typed)}' is no place; there are {FORMS}")
    matches = Matches(table, Overlaps(low, high))
    position = matches.following(extent.row)
    if position is None:
        position = matches.following(0)
    if position is None:
        raise GotoError(f"no call's struct pages hold {what}")
    return Place(row=int(table.take(np.array([position]), ("row",))["row"][0]))


def _pages(pfn: int, window: Window | None) -> tuple[int, int]:
    try:
        return overlap.struct_pages(pfn, pfn + 1, window)
    except WindowError as error:
        raise _no_address(error) from None


def _pfn_of(phys: int, window: Window | None) -> int:
    try:
        return 0 if window is None else window.phys_to_pfn(phys)
    except WindowError as error:
        raise _no_address(error) from None


def _no_address(error: WindowError) -> GotoError:
    return GotoError(f"{error}, so that frames have no addresses: type one")


def _number(text: str) -> int:
    value = integer(text)
    if value is None or value > MASK:
        raise GotoError(f"'{printable(text)}' is no number of 64 bits")
    return value
