# SPDX-License-Identifier: GPL-2.0-only
"""Looks through a block of a kernel log in whole columns: lines, times, splats that are alike.

Promises: what is found depends on the block alone, and on what is known of the log before it; so
blocks can be looked through in any order, and several at a time.
"""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.logs import byte_text
from tracers.logs.byte_text import Index
from tracers.logs.dmesg.lines import begins_like_kmsg, column_of_time, kmsg_numbers, times_at
from tracers.logs.dmesg.shapes import Alike, Shapes
from tracers.logs.line_blocks import LONGEST

#: Lines that begin or end a report, or show a boot or missing lines.
_MARKERS: Final = (
    r"WARNING:|---\[ |Internal error: |Unable to handle kernel|Kernel panic - "
    r"|BUG: [ukU]|\[#\d{1,3}\]"
    r"|printk messages dropped|issed \d+ kernel messages|Linux version \d"
)
#: A line that only a kernel log has; for both ``re`` and RE2.
_HEAD: Final = (
    r"^(?:[ \t]{0,4}[>|])*[ \t]?"  # quoted
    r"(?:[^\n]{0,120}?\[ {0,5}\d{1,10}\.\d{6}\]"  # the kernel's time, whatever stands before
    r"|\d{1,3},\d{1,19},\d{1,16},[-c+*][^;\n]{0,80};"  # /dev/kmsg
    r"|\[(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\]"
    r"|[^\n]{0,120}?(?:------------\[ cut here \]-|---\[ end trace |Linux version \d)"
    r"|[^\n]{0,120}?WARNING: (?:CPU: \d{1,5} PID: \d{1,10} at |[^\s:]{1,255}:\d{1,9} at )"
    r"|[^\n]{0,120}?Call [Tt]race:"
    r"|[ \t]*(?:\[<[0-9a-f]{8,16}>\] )?vmemmap_(?:populate|free)(?:\+0x| \()"
    r"|(?:[A-Z][a-z]{2} [ \d]\d |\d{4}-\d\d-\d\dT)\d\d:\d\d:\d\d[^\n]{0,80} kernel:)"
)
_ANY_LINE: Final = re.compile(_HEAD.encode(), re.MULTILINE)
_NONE: Final = np.zeros(0, np.int64)


def looks_like_dmesg(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a kernel log, in any form."""
    return _ANY_LINE.search(head.replace(b"\r", b"\n")) is not None


@dataclass(frozen=True, slots=True)
class Form:
    """Where a log's lines have their times; None is not known yet."""

    numbered: bool | None = None  # whether it is of /dev/kmsg
    column: int | None = None  # of the kernel's time in most lines

    @property
    def known(self) -> bool:
        """Whether all is known that can be."""
        return bool(self.numbered) or self.column is not None

    def seen(self, data: bytes) -> "Form":
        """Return what is known after a block of whole lines."""
        if self.known:
            return self
        numbered = begins_like_kmsg(data) if self.numbered is None else self.numbered
        return Form(numbered, None if numbered else column_of_time(data))


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """A block's lines, and those to be looked at.

    ``numbers`` and ``timed``: the lines that have a time, in microseconds, or of /dev/kmsg a
    sequence number; and what they have. ``alike``: splats that need not be read line by line.
    """

    data: bytes
    starts: Index
    ends: Index
    whole: pa.BinaryArray
    markers: Index  # rows of lines that may begin or end a report, those of ``alike`` among them
    long: Index  # rows of lines that no kernel writes
    numbers: Index
    timed: Index
    alike: Alike | None

    def recognised(self) -> bool:
        """Whether one of the lines is one that only a kernel log has."""
        return bool(arrow.true(pc.match_substring_regex(self.whole, pattern=_HEAD)).any())

    def apart(self, gaps: list[int]) -> tuple[Alike | None, Index]:
        """Return the splats that are alike, and the rows of all other markers.

        ``gaps``: rows before which lines are missing. Splats with one are read line by line.
        """
        alike = self.alike
        if alike is not None and gaps:
            rows = np.array(gaps)
            within = np.searchsorted(alike.last, rows)  # the first splat that ends there or later
            hit = within < len(alike)
            hit[hit] = alike.first[within[hit]] <= rows[hit]
            alike = alike.taken(np.setdiff1d(np.arange(len(alike)), within[hit]))
        if alike is None or not len(alike):
            return None, self.markers
        single = np.ones(len(self.starts), np.bool_)
        for rows in (alike.first, alike.first + 1, alike.last):
            single[rows] = False
        return alike, self.markers[single[self.markers]]


def newlines_alone(data: bytes) -> bytes:
    """Return the lines of a serial console, or of a log that went through Windows, as others."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def scan(data: bytes, form: Form, shapes: Shapes) -> Scanned:
    """Look through whole lines, which end with newlines alone; there is one at least."""
    buffer = np.frombuffer(data + bytes(byte_text.PAD), np.uint8)
    size = len(data)
    ends = np.flatnonzero(buffer[:size] == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    whole = byte_text.consecutive(buffer, starts, size)
    markers = np.flatnonzero(arrow.true(pc.match_substring_regex(whole, pattern=_MARKERS)))
    numbers = timed = _NONE
    if form.numbered:
        numbers, timed = kmsg_numbers(whole)
    elif form.column is not None:
        numbers, timed = times_at(buffer, starts, ends, form.column)
    return Scanned(
        data=data,
        starts=starts,
        ends=ends,
        whole=whole,
        markers=markers,
        long=np.flatnonzero(ends - starts > LONGEST),
        numbers=numbers,
        timed=timed,
        alike=shapes.find(data, buffer, starts, ends, markers),
    )
