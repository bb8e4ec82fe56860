# SPDX-License-Identifier: GPL-2.0-only
"""Reads the kernel's own kprobe-event text (tracefs ``trace`` and ``trace_pipe``) into events.

Promises: those of ``tracers.logs.kprobe_text.text_log``. Formats and their sources:
``tracers.logs.kprobe_text.lines``.

Not everything that the kernel can print is read: options/latency-format and the clocks that count
(counter, uptime, x86-tsc) give no nanoseconds and raise ``LogError``; lines without the context
columns, with options/fields, or of a comm with a newline in it are rejected and counted.
"""

import re
from typing import Final

import numpy as np
import pyarrow as pa

from tracers.logs.byte_text import Index
from tracers.logs.kprobe_text import lines
from tracers.logs.kprobe_text.rows import LineFormat
from tracers.logs.kprobe_text.text_log import COMM, Lines, LogError, Spans, TextLog, spans
from tracers.logs.line_blocks import BLOCK, Readable

_HEAD: Final = re.compile(
    rb"^# tracer: |^# entries-in-buffer/|^CPU:\d+ \[LOST .*EVENTS\]"
    rb"|^.{16}-\d+ +(?:\([ \d-]+\) +)?\[\d{3,}\] .*?\d: ",
    re.MULTILINE,
)


def looks_like_ftrace(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` holds the kernel's ftrace text."""
    return _HEAD.search(head) is not None


class FtraceLog(TextLog):
    """One pass over ftrace text.

    ``entries_written``/``entries_in_buffer``: of the header, None without one (``trace_pipe``).
    ``cpus``: processors the header counts. The rest as in ``TextLog``.
    """

    _what = "ftrace text"
    _otherwise = "expected the kernel's /sys/kernel/tracing/trace or trace_pipe with kprobe events"
    _counting = (
        "the trace's times are counts, not seconds (trace_clock counter, uptime or x86-tsc); "
        "record it again with: echo mono > /sys/kernel/tracing/trace_clock"
    )
    _line_format = LineFormat(lines.HEAD)
    _ours = lines.OURS
    # No event begins with "#": its first column is the padding of a 16-column name.
    _comment = ord("#")

    def __init__(self, stream: Readable, *, block: int = BLOCK) -> None:
        super().__init__(stream, block=block)
        self.entries_written: int | None = None
        self.entries_in_buffer: int | None = None
        self.cpus: int | None = None

    def _recognises(self, block: bytes) -> bool:
        return looks_like_ftrace(block)

    def _header(self, block: Lines) -> tuple[int, int]:
        """Read the "#" and "CPU:" lines."""
        lost = unknown = 0
        comments = block.first == ord("#")
        if block.matches(comments, lines.LATENCY):
            raise LogError(
                "the trace was printed with options/latency-format, which gives neither whole "
                "names nor absolute times; turn it off and print it again"
            )
        for entry in block.matches(comments, lines.ENTRIES):
            kept, written = int(entry["kept"]), int(entry["written"])
            self.entries_in_buffer = (self.entries_in_buffer or 0) + kept
            self.entries_written = (self.entries_written or 0) + written
            self.cpus = int(entry["cpus"])
            lost += max(written - kept, 0)
        for mark in block.matches(block.first == ord("C"), lines.LOST):
            self.skipped -= 1  # counted as a loss, so not skipped
            lost += int(mark["count"] or 0)
            unknown += not mark["count"]
        return lost, unknown

    def _spans(self, block: Lines, event: Index, known: int | None) -> Spans:
        starts, ends = block.starts[event], block.ends[event]
        parts = spans(block, starts, ends, block.colons, starts + COMM + 1, widest_gap=1)
        parts.complete[block.buffer[starts + COMM] != ord("-")] = False
        return parts

    def _identify(self, pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        return lines.identify(pieces)
