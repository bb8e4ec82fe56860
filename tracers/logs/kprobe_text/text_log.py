# SPDX-License-Identifier: GPL-2.0-only
"""Reads a tracer's text: lines of "thread cpu time: event: (location) name=value …".

The kernel's ftrace, trace-cmd, perf script and our bpftrace script print such lines. They differ in
the columns before the time, in how they write the location, and in how they report losses: each has
a class derived from ``TextLog``.

Promises: rows come in file order; every line is a row, or is counted: as lost, torn or rejected, or
in ``skipped`` if it is of another event; memory use is constant; the result does not depend on how
the stream is split into reads. A last line without a newline is torn, whatever it looks like: a
number cut short would be a wrong number.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.batch import Batch, Losses
from tracers.errors import VmemscopeError
from tracers.kernel_functions import KINDS
from tracers.logs import byte_text, in_order
from tracers.logs.byte_text import Bytes, Index, Mask
from tracers.logs.kprobe_text import lines
from tracers.logs.kprobe_text.rows import (
    NO_ROWS,
    CounterClockError,
    LineFormat,
    read_rows,
)
from tracers.logs.line_blocks import BLOCK, LONGEST, Blocks, Readable

_WIDEST: Final = 768  # bytes of "event: (location)"; a symbol has at most 512 (KSYM_NAME_LEN)
COMM: Final = 16  # columns of the thread's name: TASK_COMM_LEN, right-aligned, never full
MOST_LOST: Final = (1 << 63) - 1


class LogError(VmemscopeError):
    """The log cannot be read as what it was taken for."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The whole lines of a block: ``size`` bytes of ``buffer``, whose padding follows them."""

    text: bytes  # of ``buffer``
    buffer: Bytes
    size: int
    starts: Index
    ends: Index  # before the newline
    first: Bytes  # first byte of each line
    whole: pa.BinaryArray  # newlines included
    colons: Index  # where they are

    @classmethod
    def of(cls, text: bytes) -> Self:
        """Cut a block that ends with a newline, and padding, into its lines."""
        size = len(text) - byte_text.PAD
        buffer = np.frombuffer(text, np.uint8)
        newlines = np.flatnonzero(buffer[:size] == ord("\n"))
        starts = np.append(0, newlines[:-1] + 1)
        ends = newlines
        if b"\r" in text:  # a log that went through Windows
            ends = newlines - (buffer[newlines - 1] == ord("\r"))
        whole = byte_text.consecutive(buffer, starts, size)
        colons = np.flatnonzero(buffer[:size] == ord(":"))
        return cls(text, buffer, size, starts, ends, buffer[starts], whole, colons)

    def having(self, word: re.Pattern[bytes]) -> Mask:
        """Return which lines have the word: of nearly all logs, few."""
        at = np.array([found.start() for found in word.finditer(self.text)], np.int64)
        which = np.zeros(len(self.starts), np.bool_)
        which[np.searchsorted(self.starts, at, side="right") - 1] = True
        return which

    def matches(self, which: Mask, pattern: str) -> list[dict[str, Any]]:
        """Return the groups of ``pattern`` in each short line of ``which`` that matches."""
        picked = np.flatnonzero(which & (self.ends - self.starts < _WIDEST))
        matched = pc.extract_regex(self.whole.take(arrow.column(picked)), pattern=pattern)
        groups: list[dict[str, Any]] = matched.drop_null().to_pylist()
        return groups


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the parts of each line are, int64[N] each; only ``complete`` lines have them all."""

    starts: Index
    time_end: Index  # the colon behind the time
    location_end: Index  # behind the ")" of the location
    ends: Index
    complete: Mask
    learned: int | None = None  # of the lines' form; see ``TextLog``


@dataclass(frozen=True, slots=True)
class Found:
    """What a block's events are, found by what was known before: ``fresh`` and ``known``."""

    fresh: bool  # no event of ours was seen
    known: int | None  # what was learned
    learned: int | None = None  # and what is now
    rows: pa.RecordBatch = field(default_factory=lambda: NO_ROWS)
    rejected: int = 0
    long: int = 0  # lines that no kernel writes
    midway: int = 0
    skipped: int = 0
    sides: Index | None = None  # number of events by function and side
    error: Exception | None = None


class TextLog:
    """One pass over a log. The counts are complete once ``batches`` is exhausted.

    ``skipped``: lines of other events, other text and probes inside a function (``midway`` counts
    those). ``torn``, ``rejected``: as in ``Batch``.
    """

    #: For errors: what the text is, what to say if it is not, and if its times are counts.
    _what: ClassVar[str]
    _otherwise: ClassVar[str]
    _counting: ClassVar[str]
    _line_format: LineFormat
    _ours: str  # a pattern of lines that look like events of our functions
    _comment: ClassVar[int] = 0  # first byte of lines that are no events; 0: none

    def __init__(self, stream: Readable, *, block: int = BLOCK) -> None:
        self._blocks = Blocks(stream, block, padding=bytes(byte_text.PAD))
        self._recognised = False
        self.release: str | None = None  # no tracer's text has it
        self.arch: str | None = None
        self._seen: dict[str, set[str]] = {}
        #: What the form of the first lines says of the others, where a tracer's text needs it.
        self._learned: int | None = None
        self.lines = self.skipped = self.midway = self.rejected = self.torn = 0

    @property
    def probes(self) -> dict[str, str]:
        """Functions seen so far: "entry", "return" or "entry+return"."""
        return {name: "+".join(sorted(sides)) for name, sides in self._seen.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the recording should know, a sentence each."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if not self._seen:
            yield f"no event of a function we watch in {self.lines:,} lines"
        if self.midway:
            yield f"{self.midway:,} events of probes inside our functions, not at entry: left out"

    def batches(self) -> Iterator[Batch]:
        """Yield the events block by block, with what is missing around them.

        Raises:
            LogError: this is not such a text, or its times are not nanoseconds.
            OSError: the stream cannot be read.
        """
        for (block, overlong), found in in_order.in_order(
            self._blocks, self._looked_through, self._worth
        ):
            yield from self._batch(block, int(overlong), found)
        if self._blocks.rest or self._blocks.overlong:
            self.torn += 1
            yield Batch(NO_ROWS, Losses(torn=1))
        if self.lines and not self._recognised:
            raise LogError(f"this is not {self._what}; {self._otherwise}")
        yield from self._last()

    def _worth(self, item: tuple[bytes, bool]) -> bool:
        """Whether a block is looked through ahead: once it is known what its lines are like."""
        return len(item[0]) >= in_order.WORTH and bool(self._seen)

    def _batch(
        self, block: bytes, overlong: int, look: Callable[[], tuple[Lines, Found] | None]
    ) -> Iterator[Batch]:
        self._recognised = self._recognised or self._recognises(block)
        self.rejected += overlong
        self.lines += overlong
        losses = Losses(rejected=overlong)
        rows = NO_ROWS
        if (looked := look()) is not None:
            rows, more = self._take(*looked)
            losses += more
        if rows.num_rows or losses:
            yield Batch(rows, losses)

    def _take(self, block: Lines, found: Found) -> tuple[pa.RecordBatch, Losses]:
        """Take what was found in a block, the next one; return its events and losses."""
        if (found.fresh, found.known) != (not self._seen, self._learned):
            found = self._found(block)  # a block before it told more
        self.lines += len(block.starts)
        lost, lost_unknown = self._header(block)
        if isinstance(found.error, CounterClockError):
            raise LogError(self._counting) from found.error
        if found.error is not None:
            raise found.error
        self._count(found)
        rejected = found.rejected + found.long
        return found.rows, Losses(min(lost, MOST_LOST), lost_unknown, rejected=rejected)

    def _count(self, found: Found) -> None:
        self._learned = found.learned
        self.midway += found.midway
        self.skipped += found.skipped
        self.rejected += found.rejected + found.long
        if found.sides is not None:
            self._see(found.sides)

    # What several threads do: nothing of the log is changed by it.

    def _looked_through(self, item: tuple[bytes, bool]) -> tuple[Lines, Found] | None:
        """Find the events in a block, if it has lines."""
        if len(item[0]) == byte_text.PAD:
            return None
        block = Lines.of(item[0])
        return block, self._found(block)

    def _found(self, block: Lines) -> Found:
        fresh, known = not self._seen, self._learned
        short = block.ends - block.starts <= LONGEST
        picked = short & (block.first != self._comment) if self._comment else short
        try:
            found = self._events(block, np.flatnonzero(picked), fresh=fresh, known=known)
        except (LogError, CounterClockError) as error:
            return Found(fresh, known, known, error=error)
        return replace(found, long=int((~short).sum()))

    def _events(self, block: Lines, event: Index, *, fresh: bool, known: int | None) -> Found:
        """Find the lines of our functions' events among ``event`` and read them."""
        buffer = block.buffer
        spans = self._spans(block, event, known)
        widths = spans.location_end - spans.time_end
        complete = spans.complete & (spans.location_end <= spans.ends) & (widths <= _WIDEST)
        side = np.full(len(event), lines.UNREADABLE, np.int8)
        function = np.full(len(event), -1, np.int8)
        rows = np.flatnonzero(complete)
        if len(rows):
            begins = spans.time_end[rows] + 2
            codes, pieces = byte_text.distinct(buffer, begins, spans.location_end[rows] - begins)
            function[rows], side[rows] = (part[codes] for part in self._identify(pieces))
        rows = np.flatnonzero((side == lines.ENTRY) | (side == lines.EXIT))
        exits = side[rows] == lines.EXIT
        unread = block.whole.take(arrow.column(event[side == lines.UNREADABLE]))
        ours = arrow.true(pc.match_substring_regex(unread, pattern=self._ours))
        rejected = int(ours.sum())
        if rejected and fresh and not len(rows):
            self._check_readable(unread.filter(arrow.flags(ours)))
        parsed = read_rows(
            buffer,
            np.stack(
                [
                    spans.starts[rows],
                    spans.time_end[rows],
                    spans.location_end[rows],
                    spans.ends[rows],
                ]
            ),
            lines.CODES[function[rows]],
            exits,
            self._form(spans.learned),
            counts_are_fatal=fresh,
        )
        return Found(
            fresh,
            known,
            spans.learned,
            parsed.rows,
            parsed.rejected + rejected,
            midway=int((side == lines.MIDWAY).sum()),
            skipped=len(event) - len(rows) - rejected,
            sides=np.bincount(function[rows].astype(np.int64) * 2 + exits),
        )

    def _see(self, sides: Index) -> None:
        names = tuple(KINDS)
        for pair in np.flatnonzero(sides).tolist():
            found = self._seen.setdefault(names[pair // 2], set())
            found.add("return" if pair % 2 else "entry")

    # What the class of each tracer's text implements.

    def _recognises(self, block: bytes) -> bool:
        """Return whether these lines are of this tracer's text."""
        raise NotImplementedError

    def _header(self, block: Lines) -> tuple[int, int]:
        """Read the lines that are not events; return lost events and losses without a number.

        Lines that are understood are subtracted from ``skipped``.
        """
        raise NotImplementedError

    def _spans(self, block: Lines, event: Index, known: int | None) -> Spans:
        """Find the parts of the lines ``event``; ``known``: what was learned of others before."""
        raise NotImplementedError

    def _form(self, learned: int | None) -> LineFormat:
        """Return how the lines are written that have events."""
        return self._line_format

    def _identify(self, pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        """Return function (index into ``KINDS`` or -1) and side of "event: (location)"."""
        raise NotImplementedError

    def _check_readable(self, ours: pa.BinaryArray) -> None:
        """Raise ``LogError`` if our first lines show a format that cannot be read."""

    def _last(self) -> Iterator[Batch]:
        """Yield what is known to be missing only at the end."""
        yield from ()


def spans(
    block: Lines, starts: Index, ends: Index, times: Index, after: Index, *, widest_gap: int
) -> Spans:
    """Find time, name and location of lines "… time: [group:]name: (location) …".

    ``times``: the colons that can end a time, ``after`` each of ``starts``. The name's colon is the
    next that a space follows, and the location begins after up to ``widest_gap`` spaces.
    """
    buffer, size = block.buffer, block.size
    colons = np.append(block.colons, [size, size, size])
    at = np.searchsorted(times, after)
    time_end = np.append(times, size)[at]
    behind = at + 1 if times is block.colons else np.searchsorted(colons, time_end + 1)
    which = np.minimum(behind, len(colons) - 2)
    # A group and its name have one more colon between them.
    name_end = colons[which + (buffer[colons[which] + 1] != byte_text.SPACE)]
    if widest_gap == 1:
        location_start = name_end + 2
    else:
        gap = byte_text.gather(buffer, name_end + 1, widest_gap + 1) != byte_text.SPACE
        location_start = name_end + 1 + gap.argmax(axis=1)
    location_end = 1 + byte_text.following(
        np.flatnonzero(buffer[:size] == ord(")")), location_start, size
    )
    complete = (
        (buffer[time_end + 1] == byte_text.SPACE)
        & (buffer[name_end + 1] == byte_text.SPACE)
        & (buffer[location_start] == ord("("))
    )
    return Spans(starts, time_end, location_end, ends, complete)


def times(block: Lines) -> Index:
    """Return the colons behind what looks like seconds with 6 or 9 decimals: where a time may end.

    For lines in which a thread's name, which may have colons, has no fixed width.
    """
    colons = block.colons
    far = block.buffer[np.maximum(colons - 10, 0)] == ord(".")
    like_times = far | (block.buffer[np.maximum(colons - 7, 0)] == ord("."))
    like_times &= block.buffer[colons + 1] == byte_text.SPACE
    like_times &= block.buffer[np.maximum(colons - 1, 0)] - np.uint8(ord("0")) < 10
    ends: Index = colons[like_times]
    return ends
