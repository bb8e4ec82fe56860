# SPDX-License-Identifier: GPL-2.0-only
"""Finds the events in pages of the kernel's ring buffer.

Format: kernel/trace/ring_buffer.c (struct buffer_data_page, struct ring_buffer_event,
rb_update_event; the loss that ring_buffer_read_page writes behind a page), as libtraceevent's
src/kbuffer-parse.c reads it at 2026-02 and trace-cmd stores it.

Promises: all pages are walked at once, an event of each page a step; a page is read up to its first
byte that cannot be, and then counted as torn.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from tracers.batch import Losses
from tracers.logs.byte_text import U64, Bytes, Index, Mask, gather
from tracers.logs.kprobe_text.text_log import MOST_LOST
from tracers.logs.trace_dat.event_formats import PageFormat

_COMMIT: Final = (1 << 27) - 1  # of the commit field: bytes of events
_MISSED: Final = 1 << 31  # events were lost before this page
_STORED: Final = 1 << 30  # how many stands behind its events
_DELTA: Final = np.uint64((1 << 27) - 1)
_PADDING, _EXTEND, _STAMP = 29, 30, 31
_SHIFT: Final = np.uint64(27)
#: Bits of a time that an absolute time stamp does not have.
_HIGH: Final = np.uint64(0xF8 << 56)
#: Bytes of an event, by its type: 0 where they stand behind its head.
_LENGTHS: Final = np.array([0, *(4 + 4 * words for words in range(1, 29)), 0, 8, 8])


@dataclass(frozen=True, slots=True)
class Pages:
    """``count`` pages, whole but perhaps the last: ``size`` bytes of ``buffer``, then padding."""

    buffer: Bytes
    count: int
    page_size: int
    size: int


@dataclass(frozen=True, slots=True)
class PageEvents:
    """The data events of pages in their order, one element each; and what is missing."""

    at: Index  # where the record begins
    length: Index
    ts: U64
    latest: U64  # the latest time so far, of whatever event
    last: int  # the latest time of all; 0 without any
    losses: Losses  # dropped before these pages; torn are pages that are not read to their end


def numbers(buffer: Bytes, at: Index, size: int, order: str) -> U64:
    """Return the unsigned numbers of ``size`` bytes at ``at``."""
    values = gather(buffer, at, size).view(f"{order}u{size}").reshape(-1)
    return values.astype(np.uint64)


def read_pages(pages: Pages, form: PageFormat, order: str) -> PageEvents:
    """Find the events of ``pages``; ``order``: "<" or ">"."""
    buffer, page_size = pages.buffer, pages.page_size
    begins = np.arange(pages.count, dtype=np.int64) * page_size
    stamps = numbers(buffer, begins, 8, order)
    commits = numbers(buffer, begins + 8, form.commit_size, order)
    first = begins + form.data
    ends = first + (commits & np.uint64(_COMMIT)).astype(np.int64)
    good = ends <= begins + page_size  # else this is no page's head
    here = np.maximum(ends, first) <= pages.size
    stops = np.where(good, np.minimum(ends, pages.size), first)
    # How many were lost stands behind the events, if it has room there.
    missed = (commits & np.uint64(_MISSED)) != 0
    room = ends + form.commit_size <= np.minimum(begins + page_size, pages.size)
    numbered = missed & good & room & ((commits & np.uint64(_STORED)) != 0)
    counts = numbers(buffer, ends[numbered], form.commit_size, order).tolist()
    counts = [each for each in counts if 0 < each <= MOST_LOST]
    big = order == ">"
    words = buffer.view(f"{order}u4")
    at, broken = _walk(words, first, stops, big=big)
    return _timed(
        words,
        at,
        stamps[at // page_size],
        at // page_size,
        Losses(
            lost=min(sum(counts), MOST_LOST),
            lost_unknown=int(missed.sum()) - len(counts),
            torn=int(np.count_nonzero(~good | ~here | broken)),
        ),
        big=big,
    )


def _walk(words: np.ndarray, first: Index, stops: Index, *, big: bool) -> tuple[Index, Mask]:
    """Return where the events are, in order, and which pages broke off before their end."""
    broken = np.zeros(len(first), np.bool_)
    page = np.flatnonzero(first < stops)
    at, stop = first[page], stops[page]
    found = []
    while len(at):
        head = words[at >> 2]
        kind = head >> 27 if big else head & 31
        length = _LENGTHS[kind]
        other = np.flatnonzero(length == 0)
        if len(other):
            inside = words[(at[other] >> 2) + 1].astype(np.int64)
            null = head[other] == (np.uint32(_PADDING << 27) if big else np.uint32(_PADDING))
            inside = np.where(null, stop[other] - at[other], 4 + (inside + 3) // 4 * 4)
            # A record's length counts itself.
            short = (inside < 8) & ~null
            length[other] = np.where(short, 1 << 40, inside)
        after = at + length
        good = after <= stop
        go = after < stop
        if go.all():
            found.append(at)
        else:
            found.append(at[good])
            broken[page[~good]] = True
            page, after, stop = page[go], after[go], stop[go]
        at = after
    where = np.concatenate(found) if found else np.zeros(0, np.int64)
    where.sort()
    return where, broken


def _timed(
    words: np.ndarray, at: Index, base: U64, page: Index, losses: Losses, *, big: bool
) -> PageEvents:
    """Give the events their times, from their pages' on, and leave out those without data."""
    head = words[at >> 2].astype(np.uint64)
    second = words[(at >> 2) + 1].astype(np.uint64)
    kind = head >> _SHIFT if big else head & np.uint64(31)
    delta = head & _DELTA if big else head >> np.uint64(5)
    long = kind >= _EXTEND
    delta[long] += second[long] << _SHIFT
    begins = np.append(True, page[1:] != page[:-1])[: len(at)]
    # Each time is the sum of what passed since its page began, or since the last absolute time.
    absolute = kind == _STAMP
    whole = delta | (base & _HIGH)
    whole += np.where(whole < base, np.uint64(1) << np.uint64(59), np.uint64(0))
    starts = np.where(absolute, whole, base + delta)
    fresh = begins | absolute
    since = np.maximum.accumulate(np.where(fresh, np.arange(len(at)), 0))
    passed = np.cumsum(delta)
    ts = starts[since] + passed - passed[since]
    data = np.flatnonzero(kind < _PADDING)
    small = kind[data] > 0
    begin = np.where(small, 4, 8)
    length = np.where(small, _LENGTHS[kind[data].astype(np.int64)], second[data].astype(np.int64))
    latest = np.maximum.accumulate(ts)
    return PageEvents(
        at=at[data] + begin,
        length=length - 4,
        ts=ts[data],
        latest=latest[data],
        last=int(latest[-1]) if len(at) else 0,
        losses=losses,
    )
