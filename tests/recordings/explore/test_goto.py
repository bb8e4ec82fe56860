# SPDX-License-Identifier: GPL-2.0-only
"""Where to go, by the storm capture's own text: its trace's addresses and times, its kernel log."""

import lzma
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.explore.goto import Extent, GotoError, Place, dmesg_stamp, find
from recordings.explore.index import Index
from recordings.explore.span_table import SpanTable
from recordings.format.reader import open_recording
from recordings.wording.escape import printable
from tests.recordings import oops, plain
from tests.recordings.explore.test_span_table import filled
from tracers.events import Kind

KERNEL = "6.1.192-vmemlab-39bit"
NOTHING = SpanTable()


@pytest.fixture(scope="module")
def storm(traced):
    """The storm's table, and what is known of the recording."""
    with open_recording(traced / "storm.arrows") as recording:
        index = Index(recording)
        while index.advance():
            pass
        info = recording.index[0]
        window = recording.header.machine.window
        yield index.table, Extent(info.first_ts, info.last_ts, recording.rows, window=window)


@pytest.fixture(scope="module")
def text(captures):
    """The lines of the kernel's trace as (nanoseconds, event, arguments), in its order."""
    lines = (captures / KERNEL / "hole.ftrace.txt").read_text().splitlines()
    found = (re.match(r".* (\d+)\.(\d{6}): (\w+): \(.*?\)(.*)", line) for line in lines)
    return [(int(m[1] + m[2]) * 1000, m[3], m[4]) for m in found if m]


def moved(extent, **fields):
    return Extent(**{name: getattr(extent, name) for name in Extent.__slots__} | fields)


def at(table, place):
    position = table.position_of(place.row)
    return None if position is None else table.span(position)


def test_an_address_is_the_call_of_the_kernels_text(storm, text):
    """All 128 calls of vmemmap_free: its first byte, its last, and the byte behind it."""
    table, extent = storm
    frees = [(ns, told) for ns, event, told in text if event == "vmemmap_free"]
    assert len(frees) == 128
    columns = table.read(0, len(table), ("row", "kind"))
    behind = moved(extent, row=int(columns["row"][columns["kind"] == Kind.FREE][0]))
    for ns, told in frees:
        start, end = (int(n, 16) for n in re.findall(r"(?:start|end)=(0x[0-9a-f]+)", told))
        for address in (start, end - 1):
            # From behind the derived calls of memremap_pages on it is the call that freed it.
            span = at(table, find(f"{address:#x}", behind, table))
            assert (span.kind.label, span.start, span.end) == ("free", start, end)
            assert span.ts_ns == ns


def test_the_next_one_after_the_position_else_the_first(storm):
    table, extent = storm
    typed = "0xffffffff4ee00000"
    first = find(typed, extent, table)
    assert at(table, first).kind.label == "populate"
    second = find(typed, moved(extent, row=first.row + 1), table)
    assert at(table, second).kind.label == "free"
    assert find(typed, moved(extent, row=second.row + 1), table) == first
    assert find(typed.removeprefix("0x"), extent, table) == first
    assert find(typed.upper().replace("X", "x"), extent, table) == first


def test_a_frame_and_a_physical_address_are_those_of_add_pages(storm, text, captures):
    """What add_pages was given begins at the first call, by the kernel's own constants."""
    table, extent = storm
    note = plain.read_note(captures / KERNEL / "kcore-vmcoreinfo")
    told = next(told for _, event, told in text if event == "add_pages")
    pfn = int(re.search(r"pfn=(0x[0-9a-f]+)", told)[1], 16)
    first = find(f"pfn {pfn:#x}", extent, table)
    address = (note.start + (pfn - (note.memstart >> 12)) * note.struct_page) % 2**64
    assert at(table, first).start == address
    for typed in (f"pfn:{pfn}", f"phys {pfn << 12:#x}", f"phys {pfn >> 18}G", f"PHYS={pfn >> 8}M"):
        assert find(typed, extent, table) == first
    later = find(f"pfn {pfn + note.section_pages:#x}", extent, table)
    assert at(table, later).start == address + note.section_pages * note.struct_page
    with pytest.raises(GotoError, match="no call's struct pages hold"):
        find(f"pfn {pfn - 1:#x}", extent, table)


def test_a_stamp_of_dmesg_lies_in_the_warn_that_printed_it(storm, text, captures):
    """Each of the log's 256 first lines of a WARN was printed between __warn's entry and exit."""
    table, extent = storm
    log = lzma.decompress((captures / KERNEL / "hole.dmesg.txt.xz").read_bytes()).decode()
    stamps = re.findall(r"^(\[ *\d+\.\d{6}\]) WARNING", log, re.MULTILINE)
    enters = [ns for ns, event, _ in text if event == "warn"]
    leaves = [ns for ns, event, _ in text if event == "warn_ret"]
    assert len(stamps) == len(enters) == len(leaves) == 256
    for clock in ("local", "global", "perf", "seconds since boot", "unknown"):
        told = moved(extent, clock={"name": clock, "offset_ns": None})
        for stamp, entered, left in zip(stamps, enters, leaves, strict=True):
            place = find(stamp, told, table)
            assert entered <= place.time_ns <= left
            assert bool(place.note) == (clock == "unknown")
        assert all((dmesg_stamp(ns, told.clock) is None) == (clock == "unknown") for ns in enters)
    for stamp in stamps:  # what is written is what can be typed
        assert dmesg_stamp(find(stamp, told, table).time_ns, {"name": "local"}) == stamp
    assert dmesg_stamp(0, {"name": "mono"}) is None
    assert dmesg_stamp(0, None) is None
    told = moved(extent, clock={"name": "mono", "printk_offset_ns": 7_000_000_000})
    later = re.sub(r"\d+\.", lambda second: f"{int(second[0][:-1]) + 7}.", stamps[-1], count=1)
    place = find(later, told, table)
    assert enters[-1] <= place.time_ns <= leaves[-1]
    assert place.note == "by where dmesg's clock stood when the capture began"
    assert dmesg_stamp(place.time_ns, told.clock).replace(" ", "") == later.replace(" ", "")
    short = stamps[-1].replace(" ", "")
    assert find(short, extent, table) == find(stamps[-1] + " WARNING: CPU: 0", extent, table)
    assert find(short.replace("]", "][   T69]"), extent, table) == find(short, extent, table)


@pytest.mark.parametrize("clock", ["mono", "boot", "x86-tsc", "\x1b[31m"])
def test_another_clock_is_said_plainly(storm, clock):
    table, extent = storm
    with pytest.raises(GotoError, match="how the two relate is not known") as error:
        find("[    5.408421]", moved(extent, clock={"name": clock}), table)
    assert "\x1b" not in str(error.value)


def test_times(storm, text):
    table, extent = storm
    first, last = text[0][0], text[-1][0]
    for typed in ("0.5", "0.5 s", "0.5s", "500ms", "500000 us", "500000µs", "500000000ns"):
        assert find(typed, extent, table) == Place(time_ns=first + 500_000_000)
    assert find("100%", extent, table) == Place(time_ns=last)
    assert find("50%", extent, table) == Place(time_ns=first + (last - first) // 2)
    assert find("0", extent, table) == Place(time_ns=first)
    exactly = f"{last - first}ns"
    assert find(exactly, extent, table) == Place(time_ns=last)


def test_events(storm):
    table, extent = storm
    assert find("#898", extent, table) == Place(row=898)
    assert find("# 0", extent, table) == Place(row=0)
    assert find("#1,234", moved(extent, rows=2000), table) == Place(row=1234)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "is no place"),
        ("tomorrow", "is no place"),
        ("-1", "is no place"),
        ("0.97", "it ends 0.962113 s after its first event"),
        ("101%", "it ends 0.962113 s"),
        ("#904", "there is no event #904: the last is #903"),
        ("[  500.000000]", "after its last event"),
        ("[    0.000000]", "before its first event"),
        ("pfn x", "is no number"),
        ("pfn 0x1ffffffffffffffff", "is no number"),
        ("pfn 99999999999999999999", "is no number"),
        ("phys 16777216T", "a physical address has 64 bits"),
        ("0x1", "no call's struct pages hold 0x0000000000000001"),
        ("\x1b[2J", r"'\\x1b\[2j' is no place"),
    ],
)
def test_what_is_not_there(storm, typed, why):
    table, extent = storm
    with pytest.raises(GotoError, match=why) as error:
        find(typed, extent, table)
    assert "\n" not in str(error.value)


def test_without_window_or_events(storm):
    table, extent = storm
    for typed in ("pfn 0x5000000", "phys 1G"):
        with pytest.raises(GotoError, match="the window is not known"):
            find(typed, moved(extent, window=None), table)
    assert find("0xffffffff4ee00000", moved(extent, window=None), table).row is not None
    with pytest.raises(GotoError, match="no event yet"):
        find("0", Extent(None, None, 0), NOTHING)


def test_past_the_top_of_addresses():
    """A range that ends at 2^64, and one around it, hold what is modulo 2^64 inside of them."""
    top, page = 2**64, 2**21
    rows = [
        {"ts_ns": at, "kind": "free", "phase": "point", "source": "kprobe", "cpu": 0,
         "start": start % top, "end": (start + page) % top}
        for at, start in enumerate((top - page, top - 64))
    ]  # fmt: skip
    table, _ = filled(rows, None)
    extent = Extent(0, 1, 2)
    assert find(f"{top - page:#x}", extent, table) == Place(row=0)
    assert find(f"{top - 1:#x}", moved(extent, row=1), table) == Place(row=1)
    assert find("0x0", extent, table) == Place(row=1)
    assert find(f"{page - 65:#x}", extent, table) == Place(row=1)
    with pytest.raises(GotoError):
        find(f"{page - 64:#x}", extent, table)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"(pfn|phys|#|\[)[ :]?[0-9.x\]]+[%a-z]*")))
def test_any_text_is_a_place_or_one_line(typed):
    place = why = None
    try:
        place = find(typed, Extent(5, 10**12, 9), NOTHING)
    except GotoError as error:
        why = str(error)
    if place is None:
        assert "\n" not in why
        assert printable(why) == why
    else:
        assert (place.row is None) != (place.time_ns is None)


def test_an_oops_is_a_place():
    """By its page frame, and by the address that the log says, 52 bytes into its struct page."""
    table, _ = filled(oops.rows(0), oops.WINDOW)
    extent = Extent(oops.FIRST, oops.FIRST + 10**9, 1, window=oops.WINDOW)
    for text in (f"pfn {oops.PFN:#x}", f"{oops.PAGE + 0x34:016x}", f"phys {oops.PFN << 12:#x}"):
        assert find(text, extent, table) == Place(row=0), text
