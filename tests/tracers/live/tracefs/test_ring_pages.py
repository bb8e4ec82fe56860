# SPDX-License-Identifier: GPL-2.0-only
"""The page parser against kernels' own text of the same buffer, and hand-made pages."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.live import recorded
from tracers.live.probes.engine import LiveError
from tracers.live.tracefs.ring_pages import EventFormat, Layout, ParsedPages, compose, parse_pages

EVERY = [(r, s, c) for r in recorded.RELEASES for s in recorded.SCENES for c in (0, 1)]
LAYOUT = Layout(256, 0, 8, 16, 5, 29, 30, 31)


@pytest.mark.parametrize(("release", "scene", "cpu"), EVERY)
def test_every_record_is_there_at_the_kernels_time(release: str, scene: str, cpu: int) -> None:
    parsed = parse_pages(recorded.pages(release, scene, cpu), recorded.layout(release))
    # the kernel rounds to microseconds (ns2usecs)
    assert ((parsed.ts + 500) // 1000).tolist() == [
        line.us for line in recorded.lines(release, scene, cpu)
    ]
    assert parsed.torn == 0
    assert int(parsed.missed.sum()) == recorded.overrun(release, scene, cpu)


def test_a_recording_lost_events_and_another_did_not() -> None:
    assert recorded.overrun("6.1.192", "lost", 0) == 525
    assert recorded.overrun("6.1.192", "plain", 0) == 0


def page(data: bytes, *, ts: int = 1000, flags: int = 0, size: int | None = None) -> np.ndarray:
    """Return a page as include/linux/ring_buffer.h and kernel/trace/ring_buffer.c lay it out."""
    length = len(data) if size is None else size
    raw = struct.pack("<QQ", ts, length | flags) + data
    return np.frombuffer(raw.ljust(LAYOUT.size, b"\0"), np.uint8)[None, :].copy()


def header(kind: int, delta: int) -> bytes:
    return struct.pack("<I", kind | delta << 5)


def small(delta: int, payload: bytes) -> bytes:
    return header(len(payload) // 4, delta) + payload


def payloads(parsed: ParsedPages) -> list[bytes]:
    memory = parsed.words.tobytes()
    return [
        memory[4 * at : 4 * at + length]
        for at, length in zip(parsed.at.tolist(), parsed.length.tolist(), strict=True)
    ]


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_a_composed_page_holds_its_records(records: list[bytes]) -> None:
    parsed = parse_pages(compose(records, LAYOUT), LAYOUT)
    assert parsed.torn == 0
    assert payloads(parsed) == [each + bytes(-len(each) % 4) for each in records]


def test_extended_time() -> None:
    data = small(5, b"aaaa") + header(30, 7) + struct.pack("<I", 3) + small(1, b"bbbb")
    parsed = parse_pages(page(data), LAYOUT)
    assert parsed.ts.tolist() == [1005, 1005 + (3 << 27) + 7 + 1]
    assert payloads(parsed) == [b"aaaa", b"bbbb"]


def test_absolute_time() -> None:
    stamp = 0x123456789
    word = struct.pack("<I", stamp >> 27)
    data = small(5, b"aaaa") + header(31, stamp & (1 << 27) - 1) + word + small(2, b"bbbb")
    assert parse_pages(page(data), LAYOUT).ts.tolist() == [1005, stamp + 2]


def test_absolute_time_takes_its_top_bits_from_the_page() -> None:
    # rb_fix_abs_ts: 59 bits are stored
    ts, stamp = (1 << 60) + 1000, (1 << 60) + 5000
    low = stamp & (1 << 59) - 1
    data = header(31, low & (1 << 27) - 1) + struct.pack("<I", low >> 27) + small(0, b"aaaa")
    assert parse_pages(page(data, ts=ts), LAYOUT).ts.tolist() == [stamp]


def test_a_large_record_has_its_length_in_front() -> None:
    body = bytes(range(120))
    data = header(0, 9) + struct.pack("<I", 4 + len(body)) + body + small(1, b"bbbb")
    parsed = parse_pages(page(data), LAYOUT)
    assert payloads(parsed) == [body, b"bbbb"]
    assert parsed.ts.tolist() == [1009, 1010]


def test_padding_is_skipped_and_ends_a_page() -> None:
    # a discarded event keeps its length and time; padding without time fills the rest
    discarded = header(29, 40) + struct.pack("<I", 8) + b"\xff" * 4
    data = small(1, b"aaaa") + discarded + small(2, b"bbbb") + header(29, 0) + b"\xee" * 20
    parsed = parse_pages(page(data), LAYOUT)
    assert payloads(parsed) == [b"aaaa", b"bbbb"]
    assert parsed.ts.tolist() == [1001, 1043]
    assert parsed.torn == 0


def test_a_discarded_events_one_may_stand_for_no_time() -> None:
    discarded = header(29, 1) + struct.pack("<I", 8) + b"\xff" * 4  # rb_event_discard
    data = small(1, b"aaaa") + discarded + small(2, b"bbbb")
    assert parse_pages(page(data), LAYOUT).ts.tolist() == [1001, 1003]


def test_many_pages_stay_apart() -> None:
    many = [page(small(n, b"%04d" % n) + small(1, b"last"), ts=1000 * n) for n in range(50)]
    parsed = parse_pages(np.concatenate(many), LAYOUT)
    assert payloads(parsed) == [each for n in range(50) for each in (b"%04d" % n, b"last")]
    assert parsed.ts.tolist() == [ts for n in range(50) for ts in (1001 * n, 1001 * n + 1)]
    assert parsed.page.tolist() == [n for n in range(50) for _ in range(2)]


def test_losses_before_a_page() -> None:
    data = small(1, b"aaaa")
    stored = page(data + struct.pack("<Q", 77), flags=3 << 30, size=len(data))
    unknown = page(data, flags=1 << 31)
    parsed = parse_pages(np.concatenate([stored, page(data), unknown]), LAYOUT)
    assert parsed.marked.tolist() == [True, False, True]
    assert parsed.missed.tolist() == [77, 0, 0]
    assert payloads(parsed) == [b"aaaa"] * 3
    assert parsed.page.tolist() == [0, 1, 2]


def test_what_runs_over_the_end_is_left_out_and_counted() -> None:
    data = small(1, b"aaaa") + header(28, 1) + b"short"
    parsed = parse_pages(np.concatenate([page(data), page(small(3, b"cccc"), ts=50)]), LAYOUT)
    assert payloads(parsed) == [b"aaaa", b"cccc"]
    assert parsed.ts.tolist() == [1001, 53]
    assert parsed.torn == 2  # the page's length is no multiple of 4 either


def test_no_pages_and_empty_pages() -> None:
    assert len(parse_pages(np.zeros((0, 256), np.uint8), LAYOUT).ts) == 0
    assert len(parse_pages(np.concatenate([page(b""), page(b"")]), LAYOUT).ts) == 0


@given(st.data())
def test_mutated_pages_never_crash_and_never_invent(data: st.DataObject) -> None:
    release = data.draw(st.sampled_from(recorded.RELEASES))
    layout = recorded.layout(release)
    whole = recorded.pages(release, "lost", 0)
    before = parse_pages(whole, layout)
    wrong = whole.copy()
    count = data.draw(st.integers(1, 6))
    places = [
        (
            data.draw(st.integers(0, len(whole) - 1)),
            data.draw(st.integers(8, layout.size - 1)),
            data.draw(st.integers(0, 255)),
        )
        for _ in range(count)
    ]
    for number, at, value in places:
        wrong[number, at] = value
    after = parse_pages(wrong, layout)
    commit = wrong[:, 8:16].copy().view(np.uint64).reshape(-1)
    used = np.minimum((commit & np.uint64((1 << 27) - 1)).astype(np.int64), layout.size - 16)
    width = (len(after.words) - 1) // len(wrong)
    begin = after.at - after.page * width
    assert (begin >= 1).all()
    assert (4 * begin + after.length <= used[after.page]).all()
    for number in range(len(whole)):
        mine = after.page == number
        ends = (4 * after.at + after.length)[mine]
        assert (4 * after.at[mine][1:] > ends[:-1]).all()
        # all up to the first change is what it was, unless the page's length changed
        changed = [at for page_, at, _ in places if page_ == number]
        first = min(changed, default=layout.size)
        if first < layout.data:
            continue
        old = (len(before.words) - 1) // len(whole)
        safe = 16 + 4 * (before.at - before.page * old) + before.length <= first
        kept = before.ts[safe & (before.page == number)].tolist()
        assert after.ts[mine].tolist()[: len(kept)] == kept


def test_descriptions_that_are_not_understood_are_rejected() -> None:
    with pytest.raises(LiveError, match="not understood"):
        Layout.parse("field: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;", "")
    with pytest.raises(LiveError, match="not understood"):
        EventFormat.parse("name: x\nID: 7\n")


def test_a_format_has_fields_by_name() -> None:
    warn = recorded.formats("6.1.192")["warn"]
    assert warn.number == 577
    assert warn.fields["a2"] == (24, 8)
    assert warn.fields["file"] == (36, 4)
