# SPDX-License-Identifier: GPL-2.0-only
"""Reads what our bpftrace script, ``vmemscope.bt``, prints, as text and with ``-f json``.

Promises: those of ``tracers.logs.kprobe_text.text_log``; and a line cut short anywhere is not read,
as each must end with " ;". The script counts its events separately from their lines, and bpftrace
prints the count when it ends, so the number of missing events is known even if the "Lost … events"
lines were not kept.

Sources: vmemscope.bt beside this file; bpftrace's src/output.cpp (TextOutput, JsonOutput), tried
with 0.17.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from typing import Final

import numpy as np
import pyarrow as pa

from tracers import arrow
from tracers.batch import Batch, Losses
from tracers.kernel_functions import KINDS
from tracers.logs import byte_text
from tracers.logs.byte_text import Bytes, Index, Mask
from tracers.logs.kprobe_text.lines import ENTRY, EXIT, FOREIGN, UNREADABLE
from tracers.logs.kprobe_text.rows import NO_ROWS, LineFormat
from tracers.logs.kprobe_text.text_log import COMM, Found, Lines, Spans, TextLog, spans, times
from tracers.logs.line_blocks import BLOCK, Readable

_OPENS: Final = b'{"type": "printf", "data": "'
_CLOSES: Final = b'\\n"}'
_END: Final = b" ;"
_HEAD: Final = re.compile(
    rb'^(?:\{"type": "printf", "data": ")?'
    rb"(?:# vmemscope\.bt \d"
    rb"|.{16,}-\d+ +\( *\d+\) \[\d{3,}\] +\d+\.\d{9}: \w+: \((?:entry|exit)\) )",
    re.MULTILINE,
)
#: "%16s-%-7d (%7d) [%03d] "; in JSON a name's escapes make it wider.
_COLUMNS: Final = (
    r"(?s)^(?P<comm>.{16,})-(?P<tid>\d{1,10}) +\( *(?P<tgid>\d{1,10})\) \[(?P<cpu>\d{3,5})\] +$"
)
_PIECE: Final = re.compile(rb"(?P<function>\w+): \((?P<side>entry|exit)\)")
_OURS: Final = rf"\d: (?:{'|'.join(KINDS)}): \("
_LOST: Final = (
    r"^(?:WARNING: )?Lost (?P<count>\d+) events\r?\n?$",
    r'^\{"type": "lost_events", "data": \{"events": (?P<count>\d+)\}\}\r?\n?$',
)
_COUNT: Final = (
    r"^@events: (?P<count>\d+)\r?\n?$",
    r'^\{"type": "map", "data": \{"@events": (?P<count>\d+)\}\}\r?\n?$',
)
#: str() gives 64 bytes by default, with the 0 at the end: a string of 63 may be cut.
_LONGEST_SITE: Final = 62
_INDEX: Final = {name.encode(): index for index, name in enumerate(KINDS)}


def looks_like_bpftrace(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is what ``vmemscope.bt`` printed."""
    return _HEAD.search(head) is not None


def script() -> str:
    """Return ``vmemscope.bt``, the script whose output this module reads."""
    return (resources.files("tracers.logs.kprobe_text") / "vmemscope.bt").read_text("utf-8")


def unescaped(raw: pa.BinaryArray) -> pa.StringArray:
    """Undo JSON's escapes; text that is not JSON stays unchanged."""
    pieces = [_unescape(piece) for piece in raw.to_pylist()]
    return byte_text.readable(arrow.strings(pieces, pa.binary()))


def _unescape(piece: bytes) -> bytes:
    if b"\\" in piece:
        with contextlib.suppress(ValueError):
            quoted = f'"{piece.decode("utf-8", "surrogateescape")}"'
            return str(json.loads(quoted, strict=False)).encode("utf-8", "surrogateescape")
    return piece


_IN_JSON: Final = LineFormat(_COLUMNS, unescaped, _LONGEST_SITE)


class BpftraceLog(TextLog):
    """One pass over what ``vmemscope.bt`` printed.

    ``events``: how many lines of events were read; ``counted``: how many there were, as the script
    says at its end, None if it does not; ``lost``: how many bpftrace says it lost.
    """

    _what = "what vmemscope.bt prints"
    _otherwise = "expected the output of: bpftrace vmemscope.bt"
    _counting = "the times are counts, not seconds"
    _line_format = LineFormat(_COLUMNS, bare_site=_LONGEST_SITE)
    _ours = _OURS

    def __init__(self, stream: Readable, *, block: int = BLOCK) -> None:
        super().__init__(stream, block=block)
        self.events = self.lost = 0
        self.counted: int | None = None

    def _notes(self) -> Iterator[str]:
        yield from super()._notes()
        if self.counted is None:
            yield "the count of events that vmemscope.bt prints at its end is not in the log"

    def _recognises(self, block: bytes) -> bool:
        return looks_like_bpftrace(block)

    def _header(self, block: Lines) -> tuple[int, int]:
        lost = 0
        # An event's line begins with the padding of its name, in JSON with {"type": "printf".
        candidates = np.isin(block.first, list(b"LW@"))
        candidates |= (block.first == ord("{")) & (block.buffer[block.starts + 10] != ord("p"))
        for pattern in _LOST:
            for mark in block.matches(candidates, pattern):
                self.skipped -= 1
                lost += int(mark["count"])
        for pattern in _COUNT:
            for mark in block.matches(candidates, pattern):
                self.skipped -= 1
                self.counted = (self.counted or 0) + int(mark["count"])
        self.lost += lost
        return lost, 0

    def _count(self, found: Found) -> None:
        super()._count(found)
        self.events += found.rows.num_rows + found.rejected

    def _form(self, learned: int | None) -> LineFormat:
        return _IN_JSON if learned else self._line_format

    def _spans(self, block: Lines, event: Index, known: int | None) -> Spans:
        """See ``TextLog``; learned is whether there are lines in JSON."""
        buffer = block.buffer
        starts, ends = block.starts[event], block.ends[event]
        wrapped = _has(buffer, starts, _OPENS) & _has(buffer, ends - len(_CLOSES), _CLOSES)
        starts = starts + np.where(wrapped, len(_OPENS), 0)
        ends = ends - np.where(wrapped, len(_CLOSES), 0) - len(_END)
        closed = (ends > starts) & _has(buffer, ends, _END)
        ends = np.maximum(ends, starts)
        parts = spans(block, starts, ends, times(block), starts + COMM + 1, widest_gap=1)
        parts.complete[~closed | (~wrapped & (buffer[starts + COMM] != ord("-")))] = False
        return replace(parts, learned=known or (1 if wrapped.any() else None))

    def _identify(self, pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        identified = [_function_and_side(piece) for piece in pieces.to_pylist()]
        function, side = np.array(identified, np.int8).reshape(-1, 2).T
        return function, side

    def _last(self) -> Iterator[Batch]:
        if self.counted is None:
            # Without the count the losses are unknown; a torn line has reported that already.
            if not self.torn:
                yield Batch(NO_ROWS, Losses(lost_unknown=1))
        elif (missing := self.counted - self.events - self.lost) > 0:
            yield Batch(NO_ROWS, Losses(lost=missing))


def _function_and_side(piece: bytes) -> tuple[int, int]:
    match = _PIECE.fullmatch(piece)
    if match is None:
        return -1, UNREADABLE
    function = _INDEX.get(match["function"], -1)
    return function, FOREIGN if function < 0 else ENTRY if match["side"] == b"entry" else EXIT


def _has(buffer: Bytes, positions: Index, what: bytes) -> Mask:
    """Return at which of ``positions`` (negative: no) the buffer has the bytes ``what``."""
    same: Mask = (positions >= 0) & (buffer[np.maximum(positions, 0)] == what[0])
    rows = np.flatnonzero(same)
    pieces = byte_text.gather(buffer, positions[rows], len(what))
    same[rows] = pieces.view(f"S{len(what)}")[:, 0] == what
    return same
