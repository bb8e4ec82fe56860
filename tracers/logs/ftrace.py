"""Reads the kernel's own kprobe-event text (tracefs ``trace`` and ``trace_pipe``) into events.

Promises: rows come in file order; every line is a row, or is counted (lost, torn, rejected) or,
being of other events, in ``skipped``; memory stays flat; the result does not depend on how the
stream is cut into reads. A last line without its newline is torn, whatever it looks like: a
number cut short would be a wrong number. Formats and their sources: ``tracers.logs.lines``.

Not all the kernel can print is read: options/latency-format and the clocks that count (counter,
uptime, x86-tsc) give no nanoseconds and raise ``LogError``; lines without the context columns, in
options/fields form, or of a comm with a newline in it are rejected, and counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.batch import Batch
from tracers.errors import VmemscopeError
from tracers.logs import lines, text
from tracers.logs.rows import COMM, NO_ROWS, CounterClockError, Found, read_rows
from tracers.logs.text import Bytes, Index

_BLOCK: Final = 4 << 20
_LONGEST: Final = 64 << 10  # bytes of a line; the kernel's own limit is a trace_seq of 8 KiB
_WIDEST: Final = 768  # bytes of "event: (place)"; a symbol has at most 512 (KSYM_NAME_LEN)
_MOST_LOST: Final = (1 << 63) - 1
_NOT_FTRACE: Final = (
    "this is not ftrace text; expected the kernel's /sys/kernel/tracing/trace or trace_pipe "
    "with kprobe events"
)
_HEAD: Final = re.compile(
    rb"^# tracer: |^# entries-in-buffer/|^CPU:\d+ \[LOST .*EVENTS\]"
    rb"|^.{16}-\d+ +(?:\([ \d-]+\) +)?\[\d{3,}\] .*?\d: ",
    re.MULTILINE,
)


class LogError(VmemscopeError):
    """The log cannot be read as what it was taken for."""


def looks_like_ftrace(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` holds the kernel's ftrace text."""
    return _HEAD.search(head) is not None


@dataclass(frozen=True, slots=True)
class _Lines:
    """The whole lines of a block: ``size`` bytes of ``buffer``, whose padding follows them."""

    buffer: Bytes
    size: int
    starts: Index
    ends: Index  # before the newline
    first: Bytes  # first byte of each line
    whole: pa.BinaryArray  # newlines included

    @classmethod
    def of(cls, buffer: Bytes, size: int) -> Self:
        newlines = np.flatnonzero(buffer[:size] == ord("\n"))
        starts = np.append(0, newlines[:-1] + 1)
        ends = newlines - (buffer[newlines - 1] == ord("\r"))  # a log that went through Windows
        whole = text.consecutive(buffer, starts, size)
        return cls(buffer, size, starts, ends, buffer[starts], whole)


class FtraceLog:
    """One pass over a log. The facts are complete once ``batches`` is exhausted.

    ``entries_written``/``entries_in_buffer``: of the header, None without one (``trace_pipe``).
    ``cpus``: processors the header counts. ``skipped``: lines of other events, other text and
    probes inside a function (``midway`` counts those). ``torn``, ``rejected``: as in ``Batch``.
    """

    def __init__(self, stream: BinaryIO, *, block: int = _BLOCK) -> None:
        # A pipe's read waits for all it was asked for; read1 gives what is there.
        self._read = getattr(stream, "read1", stream.read)
        self._block = block
        self._recognised = False
        self._seen: dict[str, set[str]] = {}
        self.entries_written: int | None = None
        self.entries_in_buffer: int | None = None
        self.cpus: int | None = None
        self.lines = self.skipped = self.midway = self.rejected = self.torn = 0

    @property
    def probes(self) -> dict[str, str]:
        """Functions seen so far: "entry", "return" or "entry+return"."""
        return {name: "+".join(sorted(sides)) for name, sides in self._seen.items()}

    def batches(self) -> Iterator[Batch]:
        """Yield the events block by block, with what is missing around them.

        Raises:
            LogError: this is no ftrace text, or one whose times are not nanoseconds.
            OSError: the stream cannot be read.
        """
        rest = b""
        overlong = False
        while chunk := self._read(self._block):
            data = rest + chunk
            cut = data.rfind(b"\n") + 1
            begin = data.find(b"\n") + 1 if overlong and cut else 0
            rest = b"" if overlong and not cut else data[cut:]
            if cut:
                yield from self._batch(data[begin:cut], int(overlong))
                overlong = False
            if len(rest) > _LONGEST:
                rest, overlong = b"", True
        if rest or overlong:
            self.torn += 1
            yield Batch(NO_ROWS, torn=1)
        if self.lines and not self._recognised:
            raise LogError(_NOT_FTRACE)

    def _batch(self, block: bytes, overlong: int) -> Iterator[Batch]:
        self._recognised = self._recognised or looks_like_ftrace(block)
        self.rejected += overlong
        self.lines += overlong
        if not block:
            batch = Batch(NO_ROWS, rejected=overlong)
        else:
            buffer = np.frombuffer(block + bytes(text.PAD), np.uint8)
            batch = self._parse(buffer, len(block), overlong)
        if batch.events.num_rows or batch.lost or batch.lost_unknown or batch.rejected:
            yield batch

    def _parse(self, buffer: Bytes, size: int, overlong: int) -> Batch:
        block = _Lines.of(buffer, size)
        self.lines += len(block.starts)
        lost, lost_unknown = self._header(block)
        # No event begins with "#": its first column is the padding of a 16-column name.
        short = block.ends - block.starts <= _LONGEST
        try:
            found = self._events(block, np.flatnonzero(short & (block.first != ord("#"))))
        except CounterClockError as error:
            raise LogError(
                "the trace's times are counts, not seconds (trace_clock counter, uptime or "
                "x86-tsc); record it again with: echo mono > /sys/kernel/tracing/trace_clock"
            ) from error
        rejected = found.rejected + int((~short).sum())
        self.rejected += rejected
        return Batch(found.rows, lost, lost_unknown, 0, rejected + overlong)

    def _header(self, block: _Lines) -> tuple[int, int]:
        """Read what "#" and "CPU:" lines say; return the events lost and the unnumbered marks."""
        lost = unknown = 0
        short = block.ends - block.starts < _WIDEST
        picked = np.flatnonzero(short & (block.first == ord("#")))
        comments = block.whole.take(arrow.column(picked))
        if pc.any(pc.match_substring_regex(comments, pattern=lines.LATENCY)).as_py():
            raise LogError(
                "the trace was printed with options/latency-format, which gives neither whole "
                "names nor absolute times; turn it off and print it again"
            )
        for entry in pc.extract_regex(comments, pattern=lines.ENTRIES).drop_null().to_pylist():
            kept, written = int(entry["kept"]), int(entry["written"])
            self.entries_in_buffer = (self.entries_in_buffer or 0) + kept
            self.entries_written = (self.entries_written or 0) + written
            self.cpus = int(entry["cpus"])
            lost += max(written - kept, 0)
        picked = np.flatnonzero(short & (block.first == ord("C")))
        marks = block.whole.take(arrow.column(picked))
        found = pc.extract_regex(marks, pattern=lines.LOST).drop_null().to_pylist()
        self.skipped -= len(found)  # told, so not skipped
        for mark in found:
            lost += int(mark["count"] or 0)
            unknown += not mark["count"]
        return min(lost, _MOST_LOST), unknown

    def _events(self, block: _Lines, event: Index) -> Found:
        """Find the lines of our functions' kprobe events among ``event`` and read them."""
        buffer, size = block.buffer, block.size
        starts, ends = block.starts[event], block.ends[event]
        fresh = not self._seen
        colons = np.flatnonzero(buffer[:size] == ord(":"))
        which = np.searchsorted(colons, starts + COMM + 1)
        colons = np.append(colons, [size, size])
        time_end, name_end = colons[which], colons[which + 1]
        place_end = 1 + text.following(np.flatnonzero(buffer[:size] == ord(")")), name_end, size)
        shaped = (
            (place_end <= ends)
            & (buffer[starts + COMM] == ord("-"))
            & (buffer[time_end + 1] == text.SPACE)
            & (buffer[name_end + 2] == ord("("))
            & (place_end - time_end <= _WIDEST)
        )
        side = np.full(len(starts), lines.UNREADABLE, np.int8)
        function = np.full(len(starts), -1, np.int8)
        kind = np.zeros(len(starts), np.uint8)
        rows = np.flatnonzero(shaped)
        if len(rows):
            begins = time_end[rows] + 2
            codes, pieces = text.distinct(buffer, begins, place_end[rows] - begins)
            function[rows], kind[rows], side[rows] = (part[codes] for part in lines.places(pieces))
        self.midway += int((side == lines.MIDWAY).sum())
        rows = np.flatnonzero((side == lines.ENTRY) | (side == lines.EXIT))
        self._see(function[rows], side[rows])
        unread = np.flatnonzero(side == lines.UNREADABLE)
        ours = lines.look_like_ours(block.whole.take(arrow.column(event[unread])))
        rejected = int(ours.sum())
        self.skipped += len(starts) - len(rows) - rejected
        found = read_rows(
            buffer,
            np.stack([starts[rows], time_end[rows], place_end[rows], ends[rows]]),
            kind[rows],
            side[rows] == lines.EXIT,
            counts_are_fatal=fresh,
        )
        return Found(found.rows, found.rejected + rejected)

    def _see(self, function: np.ndarray, side: np.ndarray) -> None:
        names = tuple(lines.FUNCTIONS)
        pairs = np.bincount(function.astype(np.int64) * 2 + (side == lines.EXIT))
        for pair in np.flatnonzero(pairs).tolist():
            sides = self._seen.setdefault(names[pair // 2], set())
            sides.add("return" if pair % 2 else "entry")
