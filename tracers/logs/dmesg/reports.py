# SPDX-License-Identifier: GPL-2.0-only
"""Groups the lines of a kernel log into the reports that the kernel printed: splats and Oopses.

A report is all lines of one printer from its first line to its end marker. Printers are
distinguished by the caller ids of CONFIG_PRINTK_CALLER; without them all lines count as one
printer's, and two that print at the same time show as a report that begins before the last one
ended. Promises: a report without its end marker is never ``whole``; an end marker without the
beginning of its report is counted; a report spans at most ``_MOST_BYTES``, and at most
``_MOST_OPEN`` are open.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final

from tracers.logs.dmesg.lines import Clock, Line, Unknown, learn, read_line
from tracers.logs.dmesg.splats import BEGINS

_MOST_BYTES: Final = 256 << 10  # of the log; a splat has 2 to 3 KB, with many modules 8
_MOST_OPEN: Final = 256  # reports at once; a CPU or a thread has one
WARNING: Final = b"WARNING:"
CUT_HERE: Final = b"---[ cut here ]"
#: The banner of a boot.
BANNER: Final = re.compile(rb"Linux version (?P<release>\d[!-~]{0,63}) ")
#: How a report ends.
ENDS: Final = re.compile(rb"---\[ end trace(?: [0-9a-f]{1,16})? \]---")
#: How an Oops begins or goes on: die() and what comes before it, of all architectures.
_OOPS: Final = re.compile(
    rb"Unable to handle kernel|BUG: (?:unable to handle|Unable to handle|kernel NULL)"
    rb"|Internal error: |(?:Oops|BUG|error|fault|opcode)[ -~]{0,80}\[#\d{1,3}\]"
)
_PANIC: Final = b"Kernel panic - "
_PANIC_BYTES: Final = 160
_TRACE: Final = b"Call trace:"
_BRACKET: Final = ord("[")


class ReportKind(Enum):
    """The kind of a report."""

    CUT = "begun, and not known what it is"  # BUG(), UBSAN and others begin the same way
    WARN = "a WARN splat"
    OOPS = "an Oops"


@dataclass(slots=True)
class Report:
    """One report: its lines without prefixes, and the time of the line that shows its kind."""

    kind: ReportKind
    ts_ns: int | None
    clock: Clock
    lines: list[bytes] = field(default_factory=list)
    error_ns: int | None = None  # time of an Oops' second line that shows its kind, die()'s
    began: int = 0  # bytes of the log before it
    whole: bool = False  # its end marker was there
    #: Lines may belong to another report, or be missing: the printer's last report had not ended,
    #: or the log has a gap here.
    mixed: bool = False
    end_pending: bool = False  # the last report's end marker may still come
    prefix: Unknown | None = None  # what stands before the text of its lines, if nothing known

    def add(self, text: bytes) -> None:
        """Take a line's text."""
        if self.prefix is not None and (found := self.prefix.pattern.match(text)):
            text = text[found.end() :]
        self.lines.append(text)

    @property
    def text(self) -> bytes:
        """The lines, newlines between them."""
        return b"\n".join(self.lines)


class ReportAssembler:
    """Groups lines into reports. ``done``: finished reports, in the order of their ends."""

    def __init__(self) -> None:
        self.done: list[Report] = []
        self.orphans = 0  # end markers whose beginning is not in the log
        self.panics: list[bytes] = []
        self._open: dict[bytes, Report] = {}
        self._last = b""  # caller of the last line
        self._passed = 0  # bytes
        self._width: int | None = None  # bytes of the prefix, where all lines have the same

    @property
    def busy(self) -> bool:
        """Whether a report is under way."""
        return bool(self._open)

    def body(self, chunk: bytes) -> None:
        """Take whole lines that neither begin nor end a report."""
        if not self._open:
            return
        if self._passed + len(chunk) - next(iter(self._open.values())).began <= _MOST_BYTES:
            self._passed += len(chunk)
            if self._width and self._all_plain(chunk):
                return
            for raw in filter(None, chunk.split(b"\n")):
                self._plain(raw)
            return
        at = 0
        while self._open and at < len(chunk):  # no further than a report may span
            end = chunk.find(b"\n", at)
            end = len(chunk) if end < 0 else end
            self._plain(chunk[at:end])
            self._pass(end + 1 - at)
            at = end + 1

    def _all_plain(self, chunk: bytes) -> bool:
        """Take all lines at once, if each has nothing but the kernel's time before its text."""
        if len(self._open) != 1 or (report := self._open.get(b"")) is None or report.prefix:
            return False
        text, lines = _times(self._width or 0).subn(b"\n", b"\n" + chunk)
        if lines != chunk.count(b"\n") or chunk[-1:] != b"\n":
            return False
        self._last = b""
        report.lines.append(text[1:-1])
        return True

    def _plain(self, raw: bytes) -> None:
        """Take one of these lines."""
        width = self._width
        if width and raw[width - 2 : width] == b"] " and raw[0] == _BRACKET:
            self._last = b""
            text = raw[width:]
        else:
            line = read_line(raw)
            if line.prefixed:
                self._last = line.caller
            text = line.text
        if text and (report := self._open.get(self._last)) is not None:
            report.add(text)

    def line(self, raw: bytes) -> Line:
        """Take a line that may begin or end a report; return it parsed."""
        line = read_line(raw)
        if line.prefixed:
            self._last = line.caller
        self._pass(len(raw) + 1)
        text, caller = line.text, self._last
        at = text.find(WARNING)
        if at >= 0 and BEGINS.match(text, at):
            self._begin(ReportKind.WARN, line, at)
            self._learn(raw, line)
        elif ENDS.search(text):
            self._end(caller, text)
        elif CUT_HERE in text:
            self._begin(ReportKind.CUT, line, len(text))
        elif sign := _OOPS.search(text):
            report = self._open.get(caller)
            if report is not None and report.kind is ReportKind.OOPS:
                if report.error_ns is None:
                    report.error_ns = line.ts_ns
                self._add(line)
            else:
                self._begin(ReportKind.OOPS, line, sign.start())
        else:
            if _PANIC in text:
                self._panic(caller, text[text.find(_PANIC) :])
            self._add(line)
        return line

    @property
    def printer(self) -> tuple[bytes, int | None]:
        """Who printed the last line, and how wide its prefix is."""
        return self._last, self._width

    @printer.setter
    def printer(self, last: tuple[bytes, int | None]) -> None:
        """Go on behind lines that were read by another one; no report is under way."""
        self._last, self._width = last

    def gap(self) -> None:
        """Note that lines are missing here."""
        for report in self._open.values():
            report.mixed = True

    def close(self) -> None:
        """End every report under way: a reboot, or the end of the log."""
        for caller in list(self._open):
            self._finish(caller)

    def _begin(self, kind: ReportKind, line: Line, at: int) -> None:
        """Begin a report with the text of ``line`` from ``at`` on."""
        caller = self._last
        before = self._open.get(caller)
        mixed = False
        if before is not None:
            if before.kind is ReportKind.CUT:
                mixed = before.mixed
                del self._open[caller]
            else:
                mixed = True
                self._finish(caller)
        if len(self._open) >= _MOST_OPEN:
            self._finish(next(iter(self._open)))
        prefix = learn(line.text[:at]) if at and kind is not ReportKind.CUT else None
        ts_ns, clock = line.ts_ns, line.clock
        if ts_ns is None and prefix is not None:
            ts_ns, clock = prefix.ts_ns, prefix.clock
        self._open[caller] = Report(
            kind,
            ts_ns,
            clock,
            [line.text[at:]],
            began=self._passed,
            mixed=mixed,
            end_pending=mixed,
            prefix=prefix,
        )

    def _end(self, caller: bytes, text: bytes) -> None:
        report = self._open.get(caller)
        if report is None:
            self.orphans += 1
        elif report.end_pending and not any(_TRACE in text for text in report.lines):
            report.end_pending = False
        else:
            report.lines.append(text)
            report.whole = True
            self._finish(caller)

    def _panic(self, caller: bytes, text: bytes) -> None:
        """Note a panic; with panic_on_warn it ends a splat (check_panic_on_warn)."""
        if len(self.panics) < _MOST_OPEN:
            self.panics.append(text[:_PANIC_BYTES])
        report = self._open.get(caller)
        if report is not None and any(_TRACE in text for text in report.lines):
            report.whole = True
            self._finish(caller)

    def _finish(self, caller: bytes) -> None:
        report = self._open.pop(caller)
        if report.kind is not ReportKind.CUT:
            self.done.append(report)

    def _add(self, line: Line) -> None:
        if line.prefixed:
            self._last = line.caller
        report = self._open.get(self._last)
        if report is not None and line.text:
            report.add(line.text)

    def _pass(self, size: int) -> None:
        """Count bytes of the log; end a report that spans too many."""
        self._passed += size
        while self._open:
            caller, oldest = next(iter(self._open.items()))
            if self._passed - oldest.began <= _MOST_BYTES:
                break
            self._finish(caller)

    def _learn(self, raw: bytes, line: Line) -> None:
        """Note the width of the prefix, if it is just the kernel's time."""
        width = len(raw) - len(line.text)
        plain = raw[:1] == b"[" and raw[width - 2 : width] == b"] " and not line.caller
        self._width = width if plain and line.clock is Clock.BOOT and width >= 15 else None


@lru_cache(16)
def _times(width: int) -> re.Pattern[bytes]:
    """Return what finds a line's end and the next one's time, with its brackets ``width`` wide.

    Not where another prefix may follow.
    """
    return re.compile(rb"\n\[[ .0-9]{%d}\] (?! ?[\[(<.-])" % (width - 3))
