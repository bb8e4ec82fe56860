# SPDX-License-Identifier: GPL-2.0-only
r"""Splits a kernel log's line into prefix and the kernel's own text, for all known prefixes.

A line comes from /dev/kmsg, from dmesg in any of its formats, from syslog or the journal, from a
serial console, or quoted in a mail. The prefix has its time and, with CONFIG_PRINTK_CALLER, the
thread or CPU that printed it. Promises: the text behind the prefix is unchanged; an unknown prefix
is part of the text; times are integers, of the clock that the line uses.

Sources: kernel/printk/printk.c (print_prefix, info_print_ext_header), util-linux dmesg(1)
(--time-format, -x, -r), systemd src/shared/logs-show.c, rsyslog's templates, RFC 5424.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.logs import byte_text
from tracers.logs.byte_text import Bytes, Index

_MONTHS: Final = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_PREFIX: Final = 200  # bytes in which a prefix ends
_MICROSECOND: Final = 1000
_SECOND: Final = 10**9

_QUOTE: Final = re.compile(rb"(?:[ \t]{0,4}[>|])+ ?")
_COLOUR: Final = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
#: print_time and print_caller; dmesg -d adds "<    0.000012>", and puts a space before the caller.
_KERNEL: Final = re.compile(
    rb"\[ {0,5}(\d{1,10})\.(\d{6})(?:\d{3})?(?: <[ +.\d]{1,20}>)?\]"
    rb"(?: ?\[ *([TC]\d{1,10})\])?"
    rb"(?: [\w.:-]{1,64} kernel(?:\[\d+\])?:| kernel(?:\[\d+\])?:)?(?: |$)"
)
_TIME: Final = re.compile(rb"\[ {0,5}\d{1,10}\.\d{6}\]")
_KMSG: Final = re.compile(rb"\d{1,6},(\d{1,18}),(\d{1,16}),[^;\s]{1,80};")
_NUMBERED: Final = r"^\d{1,6},(?P<number>\d{1,18}),\d{1,16},[^;\s]{1,80};"  # as _KMSG, for RE2
_KMSG_CALLER: Final = re.compile(rb"caller=([TC]\d{1,10})")
_ESCAPE: Final = re.compile(rb"\\x([0-9a-f]{2})")
_CLOCK: Final = rb"(?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
_ZONE: Final = rb"(?P<zone> ?(?:Z|UTC|[+-]\d\d:?\d\d))?(?: [A-Z]{3,5}(?= ))?"
_DAY: Final = rb"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?"
_DATE: Final = rb"(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) "
_STAMPS: Final = (
    rb"\[" + _DAY + _DATE + _CLOCK + rb" (?P<year>\d{4})(?: <[ +.\d]{1,20}>)?\]",  # dmesg -T
    rb"\[?" + _DAY + rb"(?P<date>\d{4}-\d\d-\d\d)[T ]" + _CLOCK + _ZONE + rb"\]?",  # ISO 8601
    _DATE + _CLOCK,  # RFC 3164: no year
    rb"(?P<unix>\d{9,10})\.(?P<micros>\d{6})",
    rb"\[(?:[<+ ]*\d{1,10}\.\d{6}>?|[A-Z][a-z]{2} ?\d{1,2} \d\d:\d\d)\]",  # time differences only
)
_LEVEL: Final = rb"(?:<\d{1,3}>(?:1 )?|[a-z0-9]{2,8} *:[a-z]{3,6} *: )?"
#: The tag of syslog and the journal; RFC 5424's has dashes for process, message and data.
_TAG: Final = rb"(?:(?: [\w.:-]{1,64})? kernel(?:\[\d+\])?:| [\w.:-]{1,64} kernel(?: -){3})?(?: |$)"
_WALL: Final = tuple(re.compile(_LEVEL + stamp + _TAG) for stamp in _STAMPS)
_BARE: Final = re.compile(rb"(?:<\d{1,3}>|[a-z]{3,8} *:[a-z]{3,6} *: )")


class Clock(Enum):
    """The clock and resolution of a line's time. The value is the subject of a sentence."""

    NONE = "no times"
    BOOT = "seconds since boot"
    WALL = "wall-clock times"
    COARSE = "wall-clock times of whole seconds"
    YEARLESS = "wall-clock times without a year (told as of 1970)"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the kernel's text, its time in nanoseconds of ``clock``, and who printed it."""

    text: bytes
    ts_ns: int | None = None
    clock: Clock = Clock.NONE
    caller: bytes = b""  # "T75" (thread) or "C0" (CPU); empty if the log does not say
    prefixed: bool = False  # False: only text, like the rest of a line that a mailer wrapped


def read_line(raw: bytes) -> Line:
    """Read one line, without its newline."""
    if b"\x1b" in raw:
        raw = _COLOUR.sub(b"", raw)
    quote = _QUOTE.match(raw)
    if quote:
        raw = raw[quote.end() :]
    prefix = _KERNEL.search(raw, 0, _PREFIX)
    if prefix and (b"<" not in raw[prefix.start() : prefix.start() + 2]):
        ts = int(prefix[1]) * _SECOND + int(prefix[2]) * _MICROSECOND
        return Line(raw[prefix.end() :], ts, Clock.BOOT, prefix[3] or b"", prefixed=True)
    prefix = _KMSG.match(raw)
    if prefix:
        caller = _KMSG_CALLER.search(raw, 0, prefix.end())
        body = raw[prefix.end() :]
        if b"\\x" in body:
            body = _ESCAPE.sub(lambda code: bytes([int(code[1], 16)]), body)
        ts = int(prefix[2]) * _MICROSECOND
        return Line(body, ts, Clock.BOOT, caller[1] if caller else b"", prefixed=True)
    for pattern in _WALL:
        prefix = pattern.match(raw)
        if prefix:
            ts_ns, clock = _wall(prefix)
            return Line(raw[prefix.end() :], ts_ns, clock, prefixed=True)
    prefix = _BARE.match(raw)
    return Line(raw[prefix.end() :], prefixed=True) if prefix else Line(raw)


def _wall(stamp: re.Match[bytes]) -> tuple[int | None, Clock]:
    """Return the nanoseconds since 1970 of a wall-clock stamp."""
    parts = stamp.groupdict()
    if "unix" in parts:
        return int(parts["unix"]) * _SECOND + int(parts["micros"]) * _MICROSECOND, Clock.WALL
    if "time" not in parts:
        return None, Clock.NONE
    try:
        hour, minute, second = (int(part) for part in parts["time"].split(b":"))
        if "date" in parts:
            year, month, day = (int(part) for part in parts["date"].split(b"-"))
        else:
            year = int(parts.get("year") or 1970)
            month, day = _MONTHS.index(parts["month"]) + 1, int(parts["day"])
        at = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:  # no such day
        return None, Clock.NONE
    seconds = int(at.timestamp()) - _utc_offset_s(parts.get("zone"))
    fraction = parts["fraction"] or b""
    clock = Clock.WALL if fraction else Clock.COARSE
    if "year" not in parts and "date" not in parts:
        clock = Clock.YEARLESS
    ts_ns = seconds * _SECOND + int(fraction.ljust(9, b"0"))
    return (ts_ns, clock) if 0 <= ts_ns < 1 << 64 else (None, Clock.NONE)


def _utc_offset_s(zone: bytes | None) -> int:
    """Return a time zone's offset from UTC in seconds; dmesg -T and syslog have no zone."""
    digits = (zone or b"").strip().replace(b":", b"")
    if digits[:1] not in (b"+", b"-"):
        return 0
    ahead = int(digits[1:3]) * 3600 + int(digits[3:5]) * 60
    return ahead if digits[:1] == b"+" else -ahead


def column_of_time(data: bytes) -> int | None:
    """Return the column of the "[" of the first kernel time; None if there is none.

    ``data``: whole lines.
    """
    for time in _TIME.finditer(data):
        start = time.start()
        newline = data.rfind(b"\n", max(0, start - _PREFIX), start)
        if newline >= 0 or start < _PREFIX:
            return start - newline - 1
    return None


_DIGIT: Final = np.full(256, 255, np.uint8)
_DIGIT[list(b"0123456789")] = np.arange(10)
_DIGIT[ord(" ")] = 0


def times_at(
    buffer: Bytes, starts: Index, ends: Index, column: int
) -> tuple[npt.NDArray[np.int64], Index]:
    """Return the kernel times at ``column`` of their lines, in microseconds, and the lines' rows.

    Lines without a time there are left out. ``buffer`` ends with ``byte_text.PAD`` bytes.
    """
    at = starts + column
    fits = np.flatnonzero(ends - at >= 14)  # "[    0.000000]"
    fits = fits[buffer[at[fits]] == ord("[")]
    window = byte_text.gather(buffer, at[fits], 24)
    micros = np.zeros(len(fits), np.int64)
    read = np.zeros(len(fits), np.bool_)
    for width in (5, 6, 7, 8):  # "%5lu"
        mine = (window[:, 1 + width] == ord(".")) & (window[:, 8 + width] == ord("]")) & ~read
        rows = np.flatnonzero(mine)
        if not len(rows):
            continue
        digits = _DIGIT[np.delete(window[rows, 1 : 8 + width], width, axis=1)]
        good = (digits <= 9).all(axis=1)
        powers = 10 ** np.arange(width + 5, -1, -1, dtype=np.int64)
        micros[rows] = digits.astype(np.int64) @ powers
        read[rows] = good
    rows = np.flatnonzero(read)
    return micros[rows], fits[rows]


def begins_like_kmsg(data: bytes) -> bool:
    """Return whether ``data`` begins with a line of /dev/kmsg."""
    return _KMSG.match(data) is not None


def kmsg_numbers(whole: pa.BinaryArray) -> tuple[npt.NDArray[np.int64], Index]:
    """Return the sequence numbers of /dev/kmsg's lines, and the lines' rows."""
    groups = pc.extract_regex(whole, pattern=_NUMBERED)
    rows = np.flatnonzero(arrow.valid(groups))
    digits = groups.field("number").take(arrow.column(rows))
    return arrow.numbers(pc.cast(pc.cast(digits, pa.utf8()), pa.int64()))[0], rows
