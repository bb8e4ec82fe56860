# SPDX-License-Identifier: GPL-2.0-only
"""Parses pages of the kernel's trace ring buffer (trace_pipe_raw), without a loop per event.

Layouts come from the kernel's own descriptions (events/header_page, events/header_event and each
event's format). Promises: every record returned lies completely inside the used part of its page; a
page is read up to the first inconsistency, which is counted; losses the page marks are passed on.
Little-endian, 64-bit kernels.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracers.live.probes.engine import LiveError

U64 = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]

_FIELD = re.compile(
    r"field:\s*(?P<type>[^;]*?)(?P<name>\w+)(?:\[\d*\])?;\s*offset:(\d+);\s*size:(\d+);"
)
# include/linux/ring_buffer.h and kernel/trace/ring_buffer.c: flags beside the size in `commit`
_SIZE_BITS = (1 << 27) - 1
_MISSED_EVENTS, _MISSED_STORED = 1 << 31, 1 << 30
_ABSURD = 1 << 28  # bytes: no record is that long
_BLOCK = 16  # pages parsed together: their working set fits a CPU's cache
_STAMP_BITS = 59  # of an absolute time


@dataclass(frozen=True, slots=True)
class EventFormat:
    """An event's layout: its number, and (offset, size) in bytes of each field."""

    number: int
    fields: Mapping[str, tuple[int, int]]

    @classmethod
    def parse(cls, text: str) -> "EventFormat":
        """Read events/GROUP/EVENT/format (kernel/trace/trace_events.c, f_show)."""
        number = re.search(r"^ID: (\d+)$", text, re.MULTILINE)
        fields = _fields(text)
        if number is None or not {"common_type", "common_pid"} <= fields.keys():
            raise LiveError("tracefs: this kernel's event format is not understood; please report")
        return cls(int(number[1]), fields)


@dataclass(frozen=True, slots=True)
class Layout:
    """A page's layout: byte offsets, its total size, and the bit fields of an event's header."""

    size: int
    timestamp: int
    commit: int
    data: int
    type_bits: int
    padding: int
    extend: int
    stamp: int

    @classmethod
    def parse(cls, header_page: str, header_event: str) -> "Layout":
        """Read events/header_page and events/header_event."""
        fields = _fields(header_page)
        numbers = dict(
            re.findall(r"^\s*(\w+)\s*:\s*(?:type == )?(\d+)", header_event, re.MULTILINE)
        )
        try:
            at, length = fields["data"]
            return cls(
                at + length,
                fields["timestamp"][0],
                fields["commit"][0],
                at,
                *(int(numbers[k]) for k in ("type_len", "padding", "time_extend", "time_stamp")),
            )
        except (KeyError, ValueError) as error:
            raise LiveError(
                "tracefs: this kernel's ring buffer pages are not understood; please report"
            ) from error


@dataclass(frozen=True, slots=True)
class ParsedPages:
    """The records of some pages, by page and in the order they were written."""

    words: npt.NDArray[np.uint32]  # all pages' data, one after the other
    ts: U64  # ns of the trace clock
    at: Index  # where a record begins, in words
    length: Index  # bytes
    page: Index  # which page a record is from
    marked: npt.NDArray[np.bool_]  # per page: events were lost before it
    missed: U64  # per page: how many, where the kernel stored it
    torn: int  # pages that stopped making sense before their end


def _fields(text: str) -> dict[str, tuple[int, int]]:
    return {field[2]: (int(field[3]), int(field[4])) for field in _FIELD.finditer(text)}


def parse_pages(pages: npt.NDArray[np.uint8], layout: Layout) -> ParsedPages:
    """Find all records of ``pages`` (uint8[N, layout.size])."""
    count = len(pages)
    commit = _u64(pages, np.full(count, layout.commit))
    used = (commit & np.uint64(_SIZE_BITS)).astype(np.int64)
    room = layout.size - layout.data
    torn = int(np.count_nonzero((used > room) | (used % 4 != 0)))
    used = np.minimum(used, room) // 4
    width = int(used.max(initial=0))
    words = np.zeros(count * width + 1, np.uint32)
    data = np.ascontiguousarray(pages[:, layout.data : layout.data + 4 * width])
    words[:-1] = data.view(np.uint32).reshape(-1)
    parts = [
        _chain(
            words[first * width : (first + _BLOCK) * width + 1],
            used[first : first + _BLOCK],
            layout,
        )
        for first in range(0, count, _BLOCK)
    ]
    none = np.zeros(0, np.int64)
    at = np.concatenate([none, *(part[0] + n * _BLOCK * width for n, part in enumerate(parts))])
    steps = np.concatenate([none.view(np.uint64), *(part[1] for part in parts)])
    torn += sum(part[2] for part in parts)
    page = at // max(width, 1)
    kind = _kinds(words[at], layout)
    began = _u64(pages, np.full(count, layout.timestamp))
    time = _times(page, began, steps, kind == layout.stamp)
    record = kind < layout.padding
    at, kind = at[record], kind[record]
    marked = (commit & np.uint64(_MISSED_EVENTS)) != 0
    missed = np.zeros(count, np.uint64)
    stored = marked & ((commit & np.uint64(_MISSED_STORED)) != 0) & (4 * used + 8 <= room)
    missed[stored] = _u64(pages[stored], layout.data + 4 * used[stored])
    large = kind == 0
    return ParsedPages(
        words,
        time[record],
        at + 1 + large,
        np.where(large, words[at + 1].astype(np.int64) - 4, 4 * kind),
        page[record],
        marked,
        missed,
        torn,
    )


def compose(records: Sequence[bytes], layout: Layout) -> npt.NDArray[np.uint8]:
    """Return a page, uint8[1, layout.size], with these records as the kernel would store them.

    Each has its length in a word of its own; all have the same time.
    """
    data = b"".join(
        bytes(4) + (4 + len(padded)).to_bytes(4, "little") + padded
        for padded in (record + bytes(-len(record) % 4) for record in records)
    )[: layout.size - layout.data]
    page = np.zeros((1, layout.size), np.uint8)
    page[0, layout.data : layout.data + len(data)] = np.frombuffer(data, np.uint8)
    page[0, layout.commit : layout.commit + 4].view(np.uint32)[0] = len(data)
    return page


def _u64(pages: npt.NDArray[np.uint8], offset: Index) -> U64:
    """Return the eight bytes at ``offset`` of each page."""
    picked = pages[np.arange(len(pages))[:, None], offset[:, None] + np.arange(8)]
    return np.ascontiguousarray(picked).view(np.uint64).reshape(-1)


def _kinds(headers: npt.NDArray[np.uint32], layout: Layout) -> Index:
    return (headers & np.uint32((1 << layout.type_bits) - 1)).astype(np.int64)


def _chain(words: npt.NDArray[np.uint32], used: Index, layout: Layout) -> tuple[Index, U64, int]:
    """Return where headers are, each header's step in time, and the number of broken pages.

    For every word at once, compute where the next header would be. Then the distance looked ahead
    doubles each round, so pages of up to N events take log2(N) rounds in total.
    """
    none = len(words) - 1
    width = none // len(used)
    first = np.arange(len(used), dtype=np.int32) * np.int32(width)
    here = np.arange(none, dtype=np.int32)
    end = np.repeat(first + used.astype(np.int32), width)
    header = words[:-1]
    behind = np.minimum(words[1:], np.uint32(_ABSURD)).astype(np.int32)
    kind = _kinds(header, layout).astype(np.int32)
    delta = header >> np.uint32(layout.type_bits)
    sized = (kind == 0) | ((kind == layout.padding) & (delta != 0))
    length = np.where(kind < layout.padding, kind + 1, 2)
    length = np.where(sized, 1 + behind // 4, length)
    length = np.where((kind == layout.padding) & (delta == 0), end - here, length)
    then = here + length
    broken = (then > end) | (sized & ((behind < 4) | (behind % 4 != 0)))
    jump = np.append(np.where(broken | (then >= end), none, then), none).astype(np.int32)
    at = first[used > 0]
    while True:
        more = jump[at]
        more = more[more < none]
        if not more.size:
            break
        at = np.concatenate([at, more])
        jump = jump[jump]
    at.sort()
    whole = at[~broken[at]]
    steps = delta[whole].astype(np.uint64)
    long = (kind[whole] == layout.extend) | (kind[whole] == layout.stamp)
    steps[long] += words[whole[long] + 1].astype(np.uint64) << np.uint64(32 - layout.type_bits)
    # a discarded event's 1 may stand for 0 (rb_event_discard; check_buffer skips it, too)
    steps[(kind[whole] == layout.padding) & (steps == 1)] = 0
    return whole.astype(np.int64), steps, len(at) - len(whole)


def _times(page: Index, began: U64, steps: U64, absolute: npt.NDArray[np.bool_]) -> U64:
    """Add up the steps from each page's time, or from the last absolute time in it."""
    value = began[page]
    # only 59 bits of an absolute time are stored: the page's time has the others (rb_fix_abs_ts)
    top = value[absolute] & ~np.uint64((1 << _STAMP_BITS) - 1)
    stamp = steps[absolute] | top
    late = (top != 0) & (stamp < value[absolute])
    value[absolute] = stamp + (late.astype(np.uint64) << np.uint64(_STAMP_BITS))
    steps = np.where(absolute, np.uint64(0), steps)
    total = np.cumsum(steps, dtype=np.uint64)
    anew = absolute.copy()
    anew[:1] = True
    anew[1:] |= page[1:] != page[:-1]
    anchor = np.maximum.accumulate(np.where(anew, np.arange(len(page)), 0))
    return (value - (total - steps))[anchor] + total
