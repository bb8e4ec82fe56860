# SPDX-License-Identifier: GPL-2.0-only
"""Pages of the ring buffer, all at once, as a walk of one entry after the other finds them."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracers.logs.trace_dat.build import PAGE, File
from tracers.logs.byte_text import PAD
from tracers.logs.trace_dat.event_formats import PageFormat
from tracers.logs.trace_dat.pages import PageEvents, Pages, read_pages

U64 = (1 << 64) - 1
TAI = 1_700_000_000 * 10**9  # a real clock's time: above the 59 bits of an absolute time


def read(data: bytes, order: str = "<", long: int = 8) -> PageEvents:
    count = -(-len(data) // PAGE)
    buffer = np.frombuffer(data.ljust(count * PAGE, b"\0") + bytes(PAD), np.uint8)
    return read_pages(Pages(buffer, count, PAGE, len(data)), PageFormat(long, 8 + long), order)


def entry(word: int, extra: int, order: str) -> tuple[int, int, int]:
    """(kind, size or 0 if it is none, delta) of an entry that is not null padding."""
    kind, delta = (word >> 27, word & 0x7FFFFFF) if order == ">" else (word & 31, word >> 5)
    if kind in {30, 31}:
        return kind, 8, delta + (extra << 27)
    if kind in {0, 29}:
        size = 4 + (extra + 3) // 4 * 4
        return kind, size if size >= 8 else 0, delta
    return kind, 4 + 4 * kind, delta


def slow(data: bytes, order: str) -> tuple[list[tuple[int, int, int]], int]:
    """(place, length, time) of each record, and the pages that broke off."""
    big = "big" if order == ">" else "little"
    records, torn = [], 0

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size].ljust(size, b"\0"), big)

    for begin in range(0, len(data), PAGE):
        ts = base = number(begin, 8)
        at, end = begin + 16, begin + 16 + (number(begin + 8, 8) & 0x7FFFFFF)
        broken = end > begin + PAGE
        last = at if broken else min(end, len(data))
        broken |= end > len(data)
        null = 29 << 27 if order == ">" else 29
        while at < last and (word := number(at, 4)) != null:
            extra = number(at + 4, 4)
            kind, size, delta = entry(word, extra, order)
            if not size or at + size > last:
                broken = True
                break
            if kind == 31:
                whole = delta | base & 0xF8 << 56
                ts = (whole + (1 << 59) if whole < base else whole) & U64
            else:
                ts = (ts + delta) & U64
            if kind < 29:
                records.append((at + 4, 4 * kind, ts) if kind else (at + 8, extra - 4, ts))
            at += size
        torn += broken
    return records, torn


def records(events: PageEvents) -> list[tuple[int, int, int]]:
    return list(zip(events.at.tolist(), events.length.tolist(), events.ts.tolist(), strict=True))


@pytest.mark.parametrize("order", ["<", ">"])
def test_times(order: str):
    file = File(order=order)
    record = file.switch()
    page = file.page(
        TAI,
        file.entry(5, record),
        file.extend(10**12),
        file.entry(0, record),
        file.stamp((TAI + 3 * 10**12) & (1 << 59) - 1),
        file.entry(7, record),
        file.word(29, 3) + file.n((4, 8)) + bytes(4),  # a discarded event: its time has passed
        file.entry(1, record, long=True),
        file.word(29, 0),  # nothing behind it
        file.entry(1, record),
    )
    events = read(page + file.page(TAI + 5 * 10**12, file.entry(0, record)), order)
    assert [ts - TAI for ts in events.ts.tolist()] == [
        5, 10**12 + 5, 3 * 10**12 + 7, 3 * 10**12 + 11, 5 * 10**12
    ]  # fmt: skip
    assert events.length.tolist() == [12] * 5
    assert not events.losses
    assert events.last == TAI + 5 * 10**12


def test_the_latest_time_so_far_of_whatever_event():
    file = File()
    events = read(
        file.page(100, file.entry(1, file.switch()), file.extend(50), file.entry(1, b"abcd"))
        + file.page(90, file.entry(1, file.switch()))
    )
    assert events.ts.tolist() == [101, 152, 91]
    assert (events.latest.tolist(), events.last) == ([101, 152, 152], 152)


def test_losses():
    file = File()
    one = file.entry(1, file.switch())
    events = read(
        file.page(1, one, missed=3) + file.page(1, one, missed=-1) + file.page(1, one)
        + file.page(1, missed=U64)
    )  # fmt: skip
    assert (events.losses.lost, events.losses.lost_unknown, events.losses.torn) == (3, 2, 0)
    full = file.page(1, *[file.entry(1, bytes(112))] * 35, commit=4080 | 3 << 30)  # no room behind
    assert (read(full).losses.lost, read(full).losses.lost_unknown) == (0, 1)
    small = File(long=4).page(1, one, missed=9)
    assert read(small, long=4).losses.lost == 9


def test_no_events():
    events = read(File().page(7))
    assert (records(events), events.last, bool(events.losses)) == ([], 0, False)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("seed", range(5))
def test_as_one_after_the_other(order: str, seed: int):
    """Pages of random entries, some of them garbage, some cut."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    file = File(order=order)
    data = b""
    for _ in range(60):
        entries, size = [], 0
        while size < rng.randrange(200, 3800):
            delta = rng.randrange(1 << rng.randrange(1, 28))
            what = rng.randrange(40)
            entry = (
                file.extend(rng.randrange(1 << 45)) if what < 3
                else file.stamp(rng.randrange(1 << 59)) if what == 3
                else file.word(29, delta) + file.n((4, 12)) + bytes(8) if what == 4
                else rng.randbytes(4) if what == 5 and rng.random() < 0.1
                else file.entry(delta, rng.randbytes(rng.randrange(4, 150)))
            )  # fmt: skip
            entries.append(entry)
            size += len(entry)
        data += file.page(rng.randrange(1 << 63), *entries)
    for length in (len(data), len(data) - rng.randrange(PAGE)):
        events = read(data[:length], order)
        assert (records(events), events.losses.torn) == slow(data[:length], order)


@given(st.lists(st.binary(min_size=8, max_size=400), min_size=1, max_size=3), st.sampled_from("<>"))
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_a_page(bodies: list[bytes], order: str):
    file = File(order=order)
    data = b"".join(
        (file.n((8, 1 << 60), (8, len(body) // 4 * 4)) + body).ljust(PAGE, b"\0") for body in bodies
    )
    events = read(data, order)
    assert (records(events), events.losses.torn) == slow(data, order)
