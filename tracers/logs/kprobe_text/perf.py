# SPDX-License-Identifier: GPL-2.0-only
"""Reads what ``perf script`` prints of kprobe events into events.

Promises: those of ``tracers.logs.kprobe_text.text_log``; functions are found as
``tracers.logs.kprobe_text.function_names`` says. Sources: tools/perf/builtin-script.c
(print_sample_start, process_event), util/event.c (perf_event__fprintf), util/session.c
(perf_session__warn_about_errors); checked against perf 6.1 on booted 6.1 and 6.12 kernels.

Read: comm, tid, time, event and trace in perf's order, with or without pid and cpu, times with 6
and (--ns) 9 decimals, call chains in between (skipped). perf reports lost events only in its
data (``--show-lost-events`` prints them) and on stderr: both are read if present. Times of
``--deltatime`` cannot be recognised and are taken as absolute. What ``--header`` prints is read:
the kernel's release, the machine's architecture. Samples (of a clock, a counter) are no events of
ours: a text of nothing else is refused by the name of what was sampled.
"""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from tracers.batch import Batch, Losses
from tracers.logs.byte_text import Index
from tracers.logs.kprobe_text.function_names import FunctionNames, NamedLog
from tracers.logs.kprobe_text.rows import NO_ROWS, LineFormat
from tracers.logs.kprobe_text.text_log import Lines, LogError, Spans, spans, times
from tracers.logs.line_blocks import BLOCK, Readable

_ARM64: Final = "aarch64"
_HEAD: Final = re.compile(
    rb"^ *+[^\n]{0,16}? +(?:\d+/ *)?\d+ +(?:\[\d{3,}\] +)?(?:\S{3,10} +)?\d+\.(?:\d{6}|\d{9}): +"
    rb"(?:[\w.-]+:\w[\w.-]*: |PERF_RECORD_|\d+ +[^\s:]+(?::[A-Za-z]*)?: *(?:$|[0-9a-f]{8,16} ))"
    rb"|^# captured on +: .*\n(?:# .*\n){0,8}# (?:os release|perf version) : ",
    re.MULTILINE,
)
#: "%16s " (with call chains "%s "), "%5d/%-5d " or "%5d ", "[%03d] ".
_COLUMNS: Final = (
    r"(?s)^ *(?P<comm>.*?) +(?:(?P<tgid>\d{1,10})/ *)?(?P<tid>\d{1,10}) +"
    r"(?:\[(?P<cpu>\d{3,5})\] +(?:[!-/:-~][!-~]{2,9} +)?)?$"
)
_MARK: Final = re.compile(b"LOST ")  # of both
_LOST: Final = r": PERF_RECORD_LOST(?:_SAMPLES)? lost (?P<count>\d+)\r?\n?$"
_TRACE_LOST: Final = r"LOST (?P<count>\d+) events!"  # perf trace
#: "time: period event:modifiers:", and then nothing (a call chain follows) or "address symbol".
_SAMPLE: Final = (
    r"\d\.(?:\d{6}|\d{9}): +\d+ +(?P<event>[^\s:]+)(?::[A-Za-z]*)?: *(?:[0-9a-f]{1,16} .*)?\r?\n?$"
)
_LOOKED_AT: Final = 1024  # lines of a block, for samples
_MOST_NAMES: Final = 4  # of what was sampled
_ABOUT: Final = r"^# (?P<what>os release|arch) : (?P<value>\S{1,256})\r?\n?$"
_CHUNKS: Final = r"^Processed \d+ (?:events and lost [1-9]\d* chunks|samples and lost [\d.]+%)!"


def looks_like_perf(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is what ``perf script`` printed."""
    return _HEAD.search(head) is not None


class PerfLog(NamedLog):
    """One pass over what perf script printed. ``lost``: events it says were lost."""

    _what = "what perf script prints"
    _otherwise = (
        "expected thread, time, event and trace, as from: perf script --ns --show-lost-events"
    )
    _counting = "the events have no times; print them again with: perf script --ns"
    _line_format = LineFormat(_COLUMNS)

    _line = r"(?: |^)[\w.-]+:(?:%s): "

    def __init__(
        self, stream: Readable, *, names: FunctionNames | None = None, block: int = BLOCK
    ) -> None:
        super().__init__(stream, names=names, block=block)
        self._unnumbered = False  # stderr, if it is in the text, reports a loss
        self._sampled: dict[str, None] = {}
        self.lost = 0

    def _recognises(self, block: bytes) -> bool:
        return looks_like_perf(block)

    def _header(self, block: Lines) -> tuple[int, int]:
        lost = 0
        marks = block.having(_MARK)
        for pattern in (_LOST, _TRACE_LOST):
            for mark in block.matches(marks, pattern):
                self.skipped -= 1
                self.lost += int(mark["count"])
                lost += int(mark["count"])
        if block.matches(block.first == ord("P"), _CHUNKS):
            self._unnumbered = True
        for about in block.matches(block.first == ord("#"), _ABOUT):
            value = about["value"].decode("utf-8", "backslashreplace")
            if about["what"] == b"arch":
                self.arch = None if value == _ARM64 else value
            else:
                self.release = value
        if not self._seen and len(self._sampled) < _MOST_NAMES:
            first = np.arange(len(block.starts)) < _LOOKED_AT
            for sample in block.matches(first, _SAMPLE):
                event = sample["event"].decode("utf-8", "backslashreplace")
                self._sampled.setdefault(event)
        return lost, 0

    def _last(self) -> Iterator[Batch]:
        if self._sampled and not self._seen:
            names = ", ".join(list(self._sampled)[:_MOST_NAMES])
            raise LogError(
                f"this is perf script's text, with samples of {names}: no kprobe events of ours are"
                " in it; place the probes and record them with: perf record -a -e 'kprobes:*'"
            )
        # stderr repeats losses that the data have already, where they happened
        if self._unnumbered and not self.lost:
            yield Batch(NO_ROWS, Losses(lost_unknown=1))

    def _spans(self, block: Lines, event: Index, known: int | None) -> Spans:
        starts, ends = block.starts[event], block.ends[event]
        return spans(block, starts, ends, times(block), starts, widest_gap=1)
