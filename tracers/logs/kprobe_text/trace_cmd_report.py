# SPDX-License-Identifier: GPL-2.0-only
"""Reads what ``trace-cmd report`` prints into events.

Promises: those of ``tracers.logs.kprobe_text.text_log``; functions are found as
``tracers.logs.kprobe_text.function_names`` says. Sources: trace-cmd's tracecmd/trace-read.c
(trace_show_data, print_event_name, time_format, print_handle_file), libtraceevent's
src/event-parse.c (print_event_time, data_latency_format); read at 2026-02 and tried with 3.1.6.

Read: times with 6 and (-t) 9 decimals, with and without the flags that 3.2 puts before the time,
-l, --ts-diff, and the names of buffer instances or files before each line. Not read, but reported:
-R, which puts fields in place of the format, and times that are counts (--raw-ts, counting clocks).
"""

import re
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.logs.byte_text import Index
from tracers.logs.kprobe_text.function_names import FunctionNames, NamedLog
from tracers.logs.kprobe_text.rows import LineFormat
from tracers.logs.kprobe_text.text_log import COMM, Lines, LogError, Spans, spans
from tracers.logs.line_blocks import BLOCK, Readable

_LOCATION: Final = rb" *\w+: +\([0-9a-f]{1,16}(?: <- [0-9a-f]{1,16})?\)"
_HEAD: Final = re.compile(
    rb"\A(?:version = \d+\r?\n)?(?:[^\n]*: )? *cpus=\d+\r?$"
    rb"|^(?:[^\n]*: )?CPU:\d+ \[(?:\d+ )?EVENTS DROPPED\]\r?$"
    rb"|^[^\n]*-\d+ +\[?\d+\]?\S* [^\n:]*\d:(?: \(\+\d+\) *)?" + _LOCATION,
    re.MULTILINE,
)
#: "%16s-%-5d [%03d]", in the latency format "%8.8s-%-5d %3d"; then the flags.
_COLUMNS: Final = (
    r"(?s)^(?P<comm>.{16}|.{8})-(?P<tid>\d{1,10}) +(?:\[(?P<cpu>\d{3,5})\]|(?P<bare>\d{1,5}))"
    r"(?: ?[!-/:-~][!-~]{2,9})? *$"
)
_SHORT: Final = 8  # columns of the thread's name in the latency format
_DROPPED: Final = r"^(?:[^\n]*: | +)?CPU:\d+ \[(?:(?P<count>\d+) )?EVENTS DROPPED\]\r?\n?$"
_WIDEST_MARK: Final = 320  # bytes; a file's name stands before it
_CPUS: Final = r"^(?:[^\n]*: | +)?cpus=(?P<cpus>\d{1,5})\r?\n?$"
_PREFIXED: Final = (
    r"(?s)^(?P<prefix>.{0,253}?[: ] ).{16}-\d{1,10} +\[\d{3,5}\] [^:]*\d: +(?:\(\+\d+\) *)?\w+: "
)
_RAW: Final = " __probe_(?:ip|func)="


def looks_like_trace_cmd(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is what ``trace-cmd report`` printed."""
    return _HEAD.search(head) is not None


class TraceCmdLog(NamedLog):
    """One pass over trace-cmd's report. ``cpus``: processors it says it has."""

    _what = "what trace-cmd report prints"
    _otherwise = "expected its lines, beginning with: cpus="
    _counting = (
        "the report's times are counts, not seconds (--raw-ts, or a clock that counts); print it "
        "without, or record with: trace-cmd record -C mono"
    )
    _line_format = LineFormat(_COLUMNS)

    _line = r"\d:(?: \(\+\d+\) *)? *(?:%s): "

    def __init__(
        self, stream: Readable, *, names: FunctionNames | None = None, block: int = BLOCK
    ) -> None:
        super().__init__(stream, names=names, block=block)
        self.cpus: int | None = None

    def _recognises(self, block: bytes) -> bool:
        return looks_like_trace_cmd(block)

    def _header(self, block: Lines) -> tuple[int, int]:
        lost = unknown = 0
        ours = block.ends - block.starts < _WIDEST_MARK
        dropped = ours & (block.buffer[np.maximum(block.ends - 2, 0)] == ord("D"))
        for mark in block.matches(dropped, _DROPPED):
            self.skipped -= 1
            lost += int(mark["count"] or 0)
            unknown += not mark["count"]
        if not self._seen:  # it comes before all events
            for line in block.matches(ours, _CPUS):
                self.skipped -= 1
                self.cpus = (self.cpus or 0) + int(line["cpus"])
        return lost, unknown

    def _spans(self, block: Lines, event: Index, known: int | None) -> Spans:
        """See ``TextLog``; learned is the width of a prefix before the columns."""
        buffer = block.buffer
        starts, ends = block.starts[event], block.ends[event]
        whole = buffer[starts + COMM] == ord("-")
        latency = ~whole & (buffer[starts + _SHORT] == ord("-"))
        good = whole | latency
        if not good.all():
            known = _prefix(block, event[~good]) if known is None else known
            prefixed = ~good & (buffer[starts + (known or 0) + COMM] == ord("-"))
            starts = starts + np.where(prefixed, known or 0, 0)
            good |= prefixed
        after = starts + np.where(latency, _SHORT, COMM) + 1
        parts = spans(block, starts, ends, block.colons, after, widest_gap=24)
        parts.complete[~good] = False
        return replace(parts, learned=known)

    def _check_readable(self, ours: pa.BinaryArray) -> None:
        if arrow.true(pc.match_substring_regex(ours, pattern=_RAW)).any():
            raise LogError(
                "the report was printed with -R, fields in place of the format; print it again "
                "with: trace-cmd report -t"
            )


def _prefix(block: Lines, lines_: Index) -> int | None:
    """Return the width of the lines' prefix, the same for all; None if there is none."""
    which = np.zeros(len(block.starts), np.bool_)
    which[lines_] = True
    for line in block.matches(which, _PREFIXED):
        return len(line["prefix"])
    return None
