# SPDX-License-Identifier: GPL-2.0-only
"""What is said of one call: its WARN, or why there is none; and nothing wider than its pane."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from recordings.format.header import Header
from recordings.format.reader import open_recording
from tests.recordings import oops
from tests.tui.dashboard.test_app import HOSTILE
from tests.tui.small_recordings import MACHINE, SECTION, WINDOW, row, storm_rows
from tracers.events import Kind
from tui.playback.replay import Replay
from tui.widgets.call_detail import CallDetail
from tui.widgets.call_facts import LOGGED, LOST, ONCE, OPEN, UNSEEN, facts_of, fields

HOLE = 0xFFFF_FFFF_4000_0000


def told(recording, kind=None, text=""):
    """The fields of the newest call of a kind, by name."""
    replay = Replay(recording, paused=True)
    replay.read_all()
    replay.end()
    replay.let(text)
    view = replay.view()
    call = next(each for each in view.listed.calls if kind in (None, each.kind))
    facts = facts_of(recording.header, call, view)
    found = {}
    for name, value, _ in fields(recording.header, facts):
        found[name] = f"{found[name]} | {value}" if name in found else value
    return {name: value.replace("\N{NO-BREAK SPACE}", " ") for name, value in found.items()}


def test_a_warn_that_fired_is_named_with_its_time(make):
    found = told(make(storm_rows(8, HOLE)))
    assert found["WARN"] == "mmu.c:1268 · 500 µs"  # as storm_rows makes them
    # the frees take 550 µs to 557 µs: the last is the longest
    assert found["took"] == "557 µs, the longest of 8"
    assert (
        found["border"] == f"end > VMEMMAP_END by 0x{HOLE + 8 * SECTION - WINDOW.end:x} (1.02 GiB)"
    )
    assert found["op"] == "#28"  # two rows begin the add, 24 are its sections', two end it


@pytest.mark.parametrize(("losses", "warns", "why"), [
    ({}, True, ONCE), ({}, False, UNSEEN), ({"lost": 3}, True, LOST),
])  # fmt: skip
def test_why_a_call_that_the_check_is_true_for_shows_no_warn(make, losses, warns, why):
    rows = storm_rows(4, HOLE, derived=False)
    fired = [each for each in rows if each["kind"] == "warn"]
    kept = fired[:2] if warns else []
    recording = make([each for each in rows if each not in fired or each in kept], **losses)
    assert told(recording)["WARN"] == why


def test_a_derived_call_has_neither_warn_nor_duration(make):
    found = told(make(storm_rows(4, HOLE)), Kind.POPULATE)
    assert found["function"] == "vmemmap_populate †, derived"
    assert found["WARN"] == "not told of a derived call"
    assert found["took"] == "not known: one moment"
    assert found["known by"] == "derived"


def test_a_call_that_has_not_ended_may_warn_yet(make):
    rows = storm_rows(4, HOLE)
    last = next(at for at in reversed(range(len(rows))) if rows[at]["kind"] == "free") - 2
    assert rows[last]["kind"] == "warn"
    assert told(make(rows[:last]))["WARN"] == OPEN


def test_a_call_of_a_kernel_log_is_known_by_its_warn(make):
    call = {"start": HOLE, "end": HOLE + SECTION, "source": "dmesg"}
    assert told(make([row(0, "free", "point", **call)]))["WARN"] == LOGGED


def test_silent_and_inside_are_no_cause_for_a_warn(samples, clean):
    with open_recording(samples / "silent-7.3.arrows") as recording:
        assert told(recording)["WARN"] == "none, silent: the check is false"
    assert told(clean)["WARN"] == "none: the check is false"


def test_what_is_not_known_is_said_or_left_out(make):
    header = Header(machine=replace(MACHINE, window=None, layout=None))
    found = told(make([row(0, "free", "entry")], header=header))
    assert found["range"] == "- - -"
    assert found["took"] == "not ended"
    assert found["WARN"] == "none seen"
    assert {"pfn", "border", "dmesg", "op"}.isdisjoint(found)


@pytest.mark.parametrize(("clock", "stamp"), [("local", "[    4.461353]"), ("mono", None)])
def test_the_stamp_of_dmesg_is_there_where_the_clock_is_its_own(make, clock, stamp):
    header = Header(machine=MACHINE, clock={"name": clock, "offset_ns": None})
    rows = [row(0, "free", "point", start=HOLE, end=HOLE + SECTION)]
    assert told(make(rows, header=header)).get("dmesg") == stamp


def test_the_rank_is_among_what_the_filter_lets_through(make):
    rows = storm_rows(40, HOLE)
    assert told(make(rows), Kind.FREE)["took"].endswith("the longest of 40")
    begin = [each for each in rows if each["kind"] == "free" and each["phase"] == "entry"][9]
    text = f"addr:..0x{begin['start']:x}"
    found = told(make(rows), Kind.FREE, f"kind:free {text} took<=0.6ms")
    assert found["took"].endswith("the longest of 9")


@pytest.mark.parametrize(("width", "height"), [(38, 16), (40, 12), (58, 7), (76, 12), (118, 5)])
def test_no_line_is_wider_than_the_pane(make, width, height):
    rows = storm_rows(4, HOLE, comm=HOSTILE)
    recording = make(rows)
    replay = Replay(recording, paused=True)
    replay.read_all()
    view = replay.view()
    for at in range(8):
        pane = CallDetail(recording.header, lambda at=at: view.listed.calls[at], id="call")
        facts = facts_of(recording.header, view.listed.calls[at], view)
        lines = pane.draw((facts,), width, height)[:height]
        texts = ["".join(text for text, _ in line) for line in lines]
        assert all(cell_len(text) <= width and text.isprintable() for text in texts)
        assert all(any(name in text for text in texts) for name in ("function", "range", "WARN"))


def test_an_oops_says_its_page_and_who_called(make):
    found = told(make(oops.rows(), header=oops.HEADER), Kind.FAULT)
    assert found["function"] == "Oops"
    assert found["pfn"].startswith("0xfffd00000 · section")
    assert (found["physical"], found["in"]) == ("0xfffd00000000", "memremap_pages")
    assert found["range"] == "0x000001ffb2000000 - 0x000001ffb2000040"
    assert found["regime"] == "» wrapped, lands on user half"
    assert found["failed"] == oops.CHAIN
    assert not {"WARN", "took"} & set(found)


def test_an_oops_that_is_not_proven_says_so(make):
    found = told(make([oops.fault(page=None, site=None)], header=oops.HEADER))
    assert found["page"] == "which struct page it was could not be proven"
    assert found["failed"] == "where is not known"
    assert not {"pfn", "physical", "range", "regime", "in"} & set(found)
    hostile = told(make([oops.fault(site=HOSTILE)], header=oops.HEADER))
    assert "\x1b" not in hostile["failed"]
