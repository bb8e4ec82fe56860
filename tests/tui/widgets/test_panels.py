# SPDX-License-Identifier: GPL-2.0-only
"""What the panels draw, for sizes a terminal has: nothing too wide, no number cut."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from rich.cells import cell_len

from recordings.format.header import Header
from recordings.ledger.snapshot import Extent
from tests.recordings import oops
from tests.tui.small_recordings import MACHINE, WINDOW, storm_rows
from tracers.events import Kind
from tracers.machine import read_machine
from tui.playback.replay import Replay
from tui.widgets import address_map, timing, words
from tui.widgets.headline import Headline
from tui.widgets.regimes import RegimesPanel
from tui.widgets.replay_bar import ReplayBar
from tui.widgets.section_heat import SectionHeat
from tui.widgets.timeline import Timeline
from tui.widgets.warnings import WarningsPanel

SIZES = [(36, 4), (58, 5), (76, 6), (118, 7), (156, 9)]


def text(lines) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


def seen(recording):
    """A view of all of a recording, at its end."""
    replay = Replay(recording, paused=True)
    replay.read_all()
    replay.end()
    return replay.view()


@pytest.fixture
def view(storm):
    return seen(storm)


def panels():
    yield Headline(Header(machine=MACHINE), ["a problem"], id="headline")
    yield address_map.AddressMap(WINDOW, MACHINE.layout, id="map")
    yield RegimesPanel(id="regimes")
    yield WarningsPanel(id="warnings")
    yield timing.TimingTable(id="timing")
    yield timing.Histogram(id="histogram")
    yield Timeline(id="timeline")
    yield SectionHeat(id="sections")
    yield ReplayBar(id="replay")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_lines_are_no_wider_than_the_panel(view, width, height):
    for panel in panels():
        if isinstance(
            panel, address_map.AddressMap | Headline | ReplayBar | SectionHeat | Timeline
        ) and (width < 58):
            continue  # these have the whole width, 60 columns at least
        for written in text(panel.draw(panel.facts(view), width, height)):
            assert cell_len(written) <= width, (panel, written)


@pytest.mark.parametrize(("width", "height"), SIZES[1:])
def test_addresses_are_whole(view, width, height):
    for panel in panels():
        for written in text(panel.draw(panel.facts(view), width, height)):
            for address in re.findall(r"0xf[0-9a-f]*", written):
                assert len(address) == 18, written


def test_what_a_once_suppressed_is_counted(view):
    once = replace(view.snapshot, warnings=2)
    panel = WarningsPanel(id="warnings")
    lines = text(panel.draw(panel.facts(replace(view, snapshot=once)), 60, 9))
    assert lines[-1] == "78 calls suppressed (WARN_ON_ONCE)"


def test_the_strip_stands_in_address_order_and_ends_with_the_user_half():
    names = [segment.name for segment in address_map.regions(WINDOW, MACHINE.layout)]
    assert names == [
        "linear map", "modules", "vmalloc", "unused", "fixmap", "unused", "PCI I/O", "unused",
        "WINDOW", "unused", "user half", "non-canonical",
    ]  # fmt: skip


@pytest.mark.parametrize("width", range(56, 200, 3))
def test_the_strip_fills_its_width_and_always_has_the_window_and_the_hits(width):
    extents = (
        Extent(0xFFFF_FFFD_FF00_0000, 0xFFFF_FFFD_FF20_0000, "below", "PCI I/O", 1, 1),
        Extent(0x3FD_FE00_0000, 0x3FD_FE20_0000, "wrapped", "user half", 1, 1),
    )
    shown = address_map.choose(address_map.regions(WINDOW, MACHINE.layout), extents, width)
    assert sum(segment.width for segment in shown) + len(shown) + 1 == width
    names = [segment.name for segment in shown]
    assert {"WINDOW", "PCI I/O", "user half"} <= set(names)
    assert [segment.name for segment in shown if segment.hits] == ["PCI I/O", "user half"]


def test_marks_lie_on_the_linear_scale_of_their_region():
    segment = address_map.Segment("unused", 0xFFFF_FFFF_0000_0000, 1 << 64, "hole", width=16)
    # the unused 4 GiB on 16 cells: 256 MiB each
    inside = Extent(0xFFFF_FFFF_4000_0000, 0xFFFF_FFFF_5000_0000, "above", "unused", 1, 0)
    to_the_top = Extent(0xFFFF_FFFF_F000_0000, 0, "above", "unused", 1, 0)
    cells = address_map.marks(segment, [inside, to_the_top])
    assert "".join(mark for mark, _ in cells) == "    ↑          ↑"


def test_a_range_past_2_64_is_drawn_at_both_ends():
    wraps = Extent((1 << 64) - 0x1000, 0x1000, "straddling", "unused + user half", 1, 0)
    assert address_map.pieces(wraps) == [((1 << 64) - 0x1000, 1 << 64), (0, 0x1000)]


def test_without_a_layout_the_window_still_stands():
    shown = address_map.choose(address_map.regions(WINDOW, None), (), 100)
    names = [segment.name for segment in shown]
    assert names == ["below the window", "WINDOW", "above the window", "user half"]


def test_without_a_window_the_strip_says_so(view):
    panel = address_map.AddressMap(None, None, id="map")
    assert text(panel.draw(panel.facts(view), 80, 5)) == [
        "the window is not known, so no address can be placed"
    ]


def test_rebinning_keeps_every_call_and_leaves_no_hole():
    bins = [(9_000, 9_100, 3), (20_000, 20_300, 5), (1_100_000, 1_110_000, 1)]
    for height in range(1, 30):
        rows = timing.rebin(bins, height)
        assert 1 <= len(rows) <= height
        assert sum(number for *_, number in rows) == 9
        for (_, high, _), (low, _, _) in pairwise(rows):
            assert low == high


def test_the_histogram_says_why_it_is_not_of_section_add(view):
    panel = timing.Histogram(id="histogram")
    facts = panel.facts(view)
    assert facts.timings[0][0] is Kind.FREE  # populate is derived: no duration
    lines = text(panel.draw(facts, 100, 10))
    assert lines[0].startswith("sparse_add_section: no sparse_add_section event in this recording")
    assert "__add_pages: 1 call, 18.1 ms" in lines


def test_section_add_is_shown_where_it_was_traced(clean):
    panel = timing.Histogram(id="histogram")
    facts = panel.facts(seen(clean))
    assert facts.timings[0][0] is Kind.SECTION_ADD
    assert text(panel.draw(facts, 100, 10))[0] == "__add_pages: 1 call, 7.3 ms"
    _, timed = facts.timings[0]
    middle, most = words.duration(timed.p50_ns), words.duration(timed.p99_ns)
    told = f"{timed.count} calls, p50 {middle}, p99 {most}"
    assert text(panel.draw(facts, 100, 10))[1].endswith(f"in all, p50 {middle}, p99 {most}")
    assert text(panel.draw(facts, len(told), 10))[1] == told  # the title names it


def test_storm_rows_are_what_they_say():
    rows = storm_rows(3, 0xFFFF_FFFF_4000_0000)
    assert [item["ts_ns"] for item in rows] == sorted(item["ts_ns"] for item in rows)


def test_the_strip_draws_what_the_warn_takes_for_the_window_as_what_it_is(captures):
    machine = read_machine(captures / "7.3.4-vmemlab-64k-52bit-on-48bit")
    drawn = address_map.regions(machine.window, machine.layout)
    roles = [(item.name, item.role) for item in drawn if item.role in ("blind", "window")]
    assert roles == [
        ("vmalloc, no WARN", "blind"),
        ("guard hole, no WARN", "blind"),
        ("WINDOW", "window"),
    ]
    (window,) = (item for item in drawn if item.role == "window")
    # VMCOREINFO of the captured kernel: VMALLOC_END + 8 MiB, VMEMMAP_END
    assert (window.start, window.end) == (0xFFFFFFDFC0000000, 0xFFFFFFFFC0000000)
    blind = [item for item in drawn if item.role == "blind"]
    assert (blind[0].start, blind[-1].end) == (0xFFFFFC1FC0000000, window.start)
    bare = address_map.regions(machine.window, None)
    assert [item.name for item in bare][:3] == ["below the window", "no WARN", "WINDOW"]
    on_lva = read_machine(captures / "7.3.4-vmemlab-64k-52bit")
    assert not any(e.role == "blind" for e in address_map.regions(on_lva.window, on_lva.layout))


def test_a_silent_hit_has_a_mark_of_its_own():
    segment = address_map.Segment("guard hole", 0, 1 << 20, "blind", width=8)
    quiet = Extent(0x80000, 0x90000, "below", "guard hole", 1, 1, 1, silent=True)
    warned = Extent(0x20000, 0x30000, "below", "guard hole", 1, 1)
    cells = address_map.marks(segment, [quiet, warned])
    assert "".join(mark for mark, _ in cells) == " ↓  ○   "
    assert [extent for _, extent in cells if extent] == [warned, quiet]


def test_the_map_does_not_move_and_colours_what_has_passed(view):
    panel = address_map.AddressMap(WINDOW, MACHINE.layout, id="map")
    extents = (
        Extent(WINDOW.end, WINDOW.end + 2**30, "above", "unused", 1, 0, row=10),
        Extent(WINDOW.end + 2**31, WINDOW.end + 2**31 + 2**30, "above", "unused", 1, 0, row=20),
    )
    snapshot = replace(view.snapshot, extents=extents, extents_total=2)
    drawn = {}
    for row in (0, 10, 11, 21):
        now = replace(view, snapshot=snapshot, row=row)
        lines = panel.draw(panel.facts(now), 100, 4)
        drawn[row] = [style for part, style in lines[1] if "↑" in part]
        assert text(lines) == text(panel.draw(panel.facts(view), 100, 4)[:1]) + text(lines)[1:]
    muted = [style for style in drawn[0] if style != "$text-muted"]
    assert muted == []
    assert drawn[10] == drawn[0]
    assert [("above" in style) for style in drawn[11]] == [True, False]
    assert all("above" in style for style in drawn[21])


@pytest.mark.parametrize("width", [80, 160])
def test_a_click_names_the_hit_the_window_or_the_region(width):
    extents = (Extent(WINDOW.end + 2**30, WINDOW.end + 2**31, "above", "unused", 1, 0),)
    shown = address_map.choose(address_map.regions(WINDOW, MACHINE.layout), extents, width)
    told = {
        address_map.wanted(shown, extents, x, hits=hits) for x in range(width) for hits in (0, 1)
    }
    assert {
        "",  # on a border
        "regime:inside",
        "addr:0xffffffff40000000..0xffffffff80000000",
        "addr:0xffffffff00000000..0x10000000000000000",
        "addr:0x0..0x8000000000000000",
    } <= told


@pytest.mark.parametrize("width", [60, 78, 158])
def test_an_oops_is_marked_on_the_map_without_any_call(make, width):
    view = seen(make(oops.rows(0), header=oops.HEADER))
    panel = address_map.AddressMap(oops.WINDOW, oops.MACHINE.layout, id="map")
    names, marks = panel.draw(panel.facts(view), width, 3)[:2]
    assert sum(part.count(words.FAULT) for part, _ in marks) == 1
    at = "".join(part for part, _ in marks).index(words.FAULT)
    shown = "".join(part for part, _ in names)
    assert shown.rindex("│", 0, at) < shown.index("user half") < shown.index("│", at + 1)
    begun = replace(view, row=0)
    styles = [
        style for v in (view, begun) for part, style in panel.draw(panel.facts(v), width, 3)[1]
        if words.FAULT in part
    ]  # fmt: skip
    assert styles[0] != styles[1]  # what is still to come is muted


@pytest.mark.parametrize("width", [30, 48, 80])
def test_a_name_longer_than_most_makes_room_for_itself(view, width):
    table = timing.TimingTable(id="timing")
    facts = table.facts(view)
    one = facts.timings[0][1]
    long = timing.Facts(((Kind.DEVM_REQUEST_REGION, one), (Kind.FREE, one)), None)
    heads, first, second = text(table.draw(long, width, 9))
    name = "devm_request_free_mem_region "
    assert first.startswith(name)
    assert len(heads) == len(first) == len(second) <= max(width, len(name))
    assert first.partition(" ")[2].split() == second.partition(" ")[2].split()
