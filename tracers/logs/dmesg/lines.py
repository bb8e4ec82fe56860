# SPDX-License-Identifier: GPL-2.0-only
r"""Splits a kernel log's line into prefix and the kernel's own text, for all known prefixes.

A line comes from /dev/kmsg, from dmesg in any of its formats, from syslog or the journal, from a
serial console, or quoted in a mail. The prefix has its time and, with CONFIG_PRINTK_CALLER, the
thread or CPU that printed it. Promises: the text behind the prefix is unchanged; an unknown prefix
is part of the text until ``learn`` has seen it before a line that it knows; times are integers, of
the clock that the line uses.

Every form is a row of ``PRINTK``, ``VENDOR``, ``KMSG`` or ``OUTER``, with where it is from.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

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
_ESCAPE: Final = re.compile(rb"\\x([0-9a-f]{2})")
_TIME: Final = re.compile(rb"\[ {0,5}\d{1,10}\.\d{6}[]@]")
_NUMBERED: Final = (
    r"^(?:\d[\w.+-]{1,63},)?\d{1,6},(?P<number>\d{1,18}),\d{1,16},[^;\s]{1,80};"  # of RE2
)


@dataclass(frozen=True, slots=True)
class Grammar:
    """One form of what stands before the kernel's text.

    Groups of ``pattern``, where the form has them: ``secs`` and ``micros`` since boot; ``us``, all
    microseconds since boot; ``unix`` and ``micros`` since 1970; ``time`` with ``date``, or
    ``month`` and ``day`` with or without ``year``, and ``fraction``, ``zone``; ``caller``
    ("T75", "C0"), ``tid`` or ``cpu`` of who printed it.
    """

    name: str
    source: str  # the program or kernel file that writes it
    pattern: re.Pattern[bytes]


def _grammar(name: str, source: str, pattern: bytes) -> Grammar:
    return Grammar(name, source, re.compile(pattern))


_CLOCK: Final = rb"(?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
_ZONE: Final = rb"(?P<zone> ?(?:Z|UTC|[+-]\d\d:?\d\d))?(?: [A-Z]{3,5}(?= ))?"
_DAY: Final = rb"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?"
_DATE: Final = rb"(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) "
_ISO: Final = rb"(?P<date>\d{4}-\d\d-\d\d)[T ]" + _CLOCK + _ZONE
_DELTA: Final = rb"(?: <[ +.\d]{1,20}>)?"
_LEVEL: Final = rb"(?:<\d{1,3}>(?:1 )?|[a-z0-9]{2,8} *:[a-z]{3,6} *: )?"
#: The tag of syslog and the journal; RFC 5424's has dashes for process, message and data; that of
#: containers names the stream, Loki's the labels.
_TAG: Final = (
    rb"(?:(?: [\w.:-]{1,64})? kernel(?:\[\d+\])?:| [\w.:-]{1,64} kernel(?: -){3}"
    rb"| std(?:out|err) [FP]| \{[^}\n]{0,120}\})?(?: |$)"
)
_LOGCAT: Final = rb"(?:\d\d-\d\d [\d:.]{8,18} +)?[VDIWEF]/\S{1,32} *\( *\d{1,10}\): ?"

#: printk's own, wherever it stands in a line's beginning: what other programs put before it is
#: theirs, and says no more than it does. dmesg -d puts the time since the last line into it,
#: journalctl -o short-monotonic a host behind it, and Amlogic's kernels the CPU in.
PRINTK: Final = _grammar(
    "printk",
    "kernel/printk/printk.c: print_time, print_caller",
    rb"\[ {0,5}(?P<secs>\d{1,10})\.(?P<micros>\d{6})(?:\d{3})?(?:@(?P<cpu>\d{1,4}))?"
    + _DELTA
    + rb"\](?: ?\[ *(?P<caller>[TC]\d{1,10})(?:@C?\d{1,4})?\])?"
    rb"(?: [\w.:-]{1,64} kernel(?:\[\d+\])?:| kernel(?:\[\d+\])?:)?(?: |$|(?=[-<(]))",
)
#: Nothing but that time: most lines of most logs, read at once.
_PLAIN: Final = re.compile(rb"\[ {0,5}(\d{1,10})\.(\d{6})\] (?! ?(?:[\[(<.]|-\())")
_JOURNAL: Final = b"kernel"  # may stand behind it, with a host: journalctl -o short-monotonic
#: What vendors' printk puts behind its time.
VENDOR: Final = (
    _grammar(
        "Samsung",
        "Samsung's kernel/printk: CONFIG_PRINTK_PROCESS",
        rb" {0,2}\[(?P<cpu>\d{1,3}): *[^\]\n]{1,16}: *(?P<tid>\d{1,10})\] ?",
    ),
    _grammar(
        "MediaTek",
        "MediaTek's kernel/printk: CONFIG_MTK_PRINTK_UART_CONSOLE",
        rb" ?(?:<\d>)?[-.]? ?\((?P<cpu>\d{1,3})\)\[(?P<tid>\d{1,10}):[^\]\n]{1,16}\] ?",
    ),
)
_BEGINS_VENDOR: Final = (b"[", b"(", b"-", b".", b"<")
#: With a sequence number. netconsole may put the release first.
KMSG: Final = _grammar(
    "/dev/kmsg",
    "kernel/printk/printk.c: info_print_ext_header; drivers/net/netconsole.c",
    rb"(?:\d[\w.+-]{1,63},)?(?P<priority>\d{1,6}),\d{1,18},(?P<us>\d{1,16}),[^;\s]{1,80};",
)
_FACILITY: Final = 8  # facility << 3 | level: below it is LOG_KERN
_KMSG_CALLER: Final = re.compile(rb"caller=([TC]\d{1,10})")
#: Without printk's time: the time is that of who wrote it down.
OUTER: Final = (
    _grammar(
        "dmesg -T",
        "util-linux sys-utils/dmesg.c: iso_8601_time, print_record",
        _LEVEL + rb"\[" + _DAY + _DATE + _CLOCK + rb" (?P<year>\d{4})" + _DELTA + rb"\]" + _TAG,
    ),
    _grammar(
        "ISO 8601",
        "dmesg --time-format iso; systemd src/shared/logs-show.c; rsyslog; RFC 5424; containers"
        " (CRI logging); logcli",
        _LEVEL + rb"\[?" + _DAY + _ISO + rb"\]?" + _TAG,
    ),
    _grammar(
        "logread",
        "OpenWrt ubox log/logread.c",
        _DAY + _DATE + _CLOCK + rb" (?P<year>\d{4}) [a-z0-9]{2,8}\.[a-z]{3,6} [\w.-]{1,32}: ",
    ),
    _grammar("RFC 3164", "syslog; journalctl", _LEVEL + _DATE + _CLOCK + _TAG),
    _grammar(
        "logcat -v threadtime",
        "Android liblog: logprint.c",
        rb"(?P<month>\d\d)-(?P<day>\d\d) "
        + _CLOCK
        + rb" +\d{1,10} +\d{1,10} [VDIWEF] \S{1,32} *: ",
    ),
    _grammar("logcat", "Android liblog: logprint.c", _LOGCAT),
    _grammar(
        "journalctl -o short-unix",
        "systemd src/shared/logs-show.c",
        _LEVEL + rb"(?P<unix>\d{9,10})\.(?P<micros>\d{6})" + _TAG,
    ),
    _grammar(
        "time differences",
        "dmesg --time-format delta, reltime",
        _LEVEL + rb"\[(?:[<+ ]*\d{1,10}\.\d{6}>?|[A-Z][a-z]{2} ?\d{1,2} \d\d:\d\d)\]" + _TAG,
    ),
    _grammar("level only", "dmesg -r, -x", rb"(?:<\d{1,3}>|[a-z]{3,8} *:[a-z]{3,6} *: )"),
)

_SPACES: Final = rb"[ \t]{0,9}"
_PARTS: Final = re.compile(rb"\d+|\s+|[^\d\s]+")
#: Seconds since boot, and a date with its time, in a prefix that is not known.
_ANYWHERE: Final = re.compile(rb"(?<![\d.:-])(\d{1,7})\.(\d{6})(?![\d.])")
_ISO_ANYWHERE: Final = re.compile(_ISO)


class Clock(Enum):
    """The clock and resolution of a line's time. The value is the subject of a sentence."""

    NONE = "no times"
    BOOT = "seconds since boot"
    WALL = "wall-clock times"
    COARSE = "wall-clock times of whole seconds"
    YEARLESS = "wall-clock times without a year (told as of 1970)"


class Line(NamedTuple):
    """One line: the kernel's text, its time in nanoseconds of ``clock``, and who printed it."""

    text: bytes
    ts_ns: int | None = None
    clock: Clock = Clock.NONE
    caller: bytes = b""  # "T75" (thread) or "C0" (CPU); empty if the log does not say
    prefixed: bool = False  # False: only text, like the rest of a line that a mailer wrapped


@dataclass(frozen=True, slots=True)
class Unknown:
    """A prefix of no known grammar, learned from the line of a report that begins behind it.

    ``pattern`` matches it on the report's other lines: the same text with other numbers.
    """

    pattern: re.Pattern[bytes]
    ts_ns: int | None
    clock: Clock


@lru_cache(256)
def learn(prefix: bytes) -> Unknown | None:
    """Return what can be learned of ``prefix``; None if it is but spaces."""
    if not prefix.strip():
        return None
    parts = (_part(part) for part in _PARTS.findall(prefix))
    pattern = re.compile(b"".join(parts).removesuffix(_SPACES) + rb"[ \t]?")
    stamp = _ANYWHERE.search(prefix)
    if stamp:
        ts_ns = int(stamp[1]) * _SECOND + int(stamp[2]) * _MICROSECOND
        return Unknown(pattern, ts_ns, Clock.BOOT)
    wall = _ISO_ANYWHERE.search(prefix)
    return Unknown(pattern, *(_wall(wall) if wall else (None, Clock.NONE)))


def _part(part: bytes) -> bytes:
    if part.isdigit():
        return rb"\d{1,20}"
    return _SPACES if part.isspace() else re.escape(part)


def read_line(raw: bytes) -> Line:
    """Read one line, without its newline."""
    if b"\x1b" in raw:
        raw = _COLOUR.sub(b"", raw)
    plain = _PLAIN.match(raw)
    if plain and raw.find(_JOURNAL, 0, _PREFIX) < 0:
        ts = int(plain[1]) * _SECOND + int(plain[2]) * _MICROSECOND
        return Line(raw[plain.end() :], ts, Clock.BOOT, b"", True)
    return _with_prefix(raw)


def _with_prefix(raw: bytes) -> Line:
    """Read a line of any form."""
    quote = _QUOTE.match(raw)
    if quote:
        raw = raw[quote.end() :]
    prefix = PRINTK.pattern.search(raw, 0, _PREFIX)
    if prefix and (b"<" not in raw[prefix.start() : prefix.start() + 2]):
        secs, micros, cpu, caller = prefix.groups()
        ts = int(secs) * _SECOND + int(micros) * _MICROSECOND
        at = prefix.end()
        if raw[at : at + 3].lstrip()[:1] in _BEGINS_VENDOR:
            vendor = next(filter(None, (row.pattern.match(raw, at) for row in VENDOR)), None)
            if vendor:
                at, caller = vendor.end(), b"T" + vendor["tid"]
        return Line(raw[at:], ts, Clock.BOOT, caller or (b"C" + cpu if cpu else b""), prefixed=True)
    prefix = KMSG.pattern.match(raw)
    if prefix:
        caller = _KMSG_CALLER.search(raw, 0, prefix.end())
        # What is not of facility 0 was written into /dev/kmsg by a program (devkmsg_write).
        body = raw[prefix.end() :] if int(prefix["priority"]) < _FACILITY else b""
        if b"\\x" in body:
            body = _ESCAPE.sub(lambda code: bytes([int(code[1], 16)]), body)
        ts = int(prefix["us"]) * _MICROSECOND
        return Line(body, ts, Clock.BOOT, caller[1] if caller else b"", prefixed=True)
    for row in OUTER:
        prefix = row.pattern.match(raw)
        if prefix:
            ts_ns, clock = _wall(prefix)
            return Line(raw[prefix.end() :], ts_ns, clock, prefixed=True)
    return Line(raw)


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
            year, name = int(parts.get("year") or 1970), parts["month"]
            month = int(name) if name.isdigit() else _MONTHS.index(name) + 1
            day = int(parts["day"])
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


_ENDS_TIME: Final = np.isin(np.arange(256), list(b"]@"))
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
        rows = np.flatnonzero((window[:, 1 + width] == ord(".")) & ~read)
        rows = rows[_ENDS_TIME[window[rows, 8 + width]]]
        if not len(rows):
            continue
        mine = window if len(rows) == len(window) else window[rows]
        digits = _DIGIT[np.delete(mine[:, 1 : 8 + width], width, axis=1)]
        powers = 10 ** np.arange(width + 5, -1, -1, dtype=np.int64)
        micros[rows] = digits.astype(np.int64) @ powers
        read[rows] = True if digits.max() <= 9 else (digits <= 9).all(axis=1)
        if read.all():  # all times are of one width, as a rule
            break
    rows = np.flatnonzero(read)
    return micros[rows], fits[rows]


def begins_like_kmsg(data: bytes) -> bool:
    """Return whether ``data`` begins with a line of /dev/kmsg."""
    return KMSG.pattern.match(data) is not None


def kmsg_numbers(whole: pa.BinaryArray) -> tuple[npt.NDArray[np.int64], Index]:
    """Return the sequence numbers of /dev/kmsg's lines, and the lines' rows."""
    groups = pc.extract_regex(whole, pattern=_NUMBERED)
    rows = np.flatnonzero(arrow.valid(groups))
    digits = groups.field("number").take(arrow.column(rows))
    return arrow.numbers(pc.cast(pc.cast(digits, pa.utf8()), pa.int64()))[0], rows
