# SPDX-License-Identifier: GPL-2.0-only
"""What the panels draw, for sizes a terminal has: nothing too wide, no number cut."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from rich.cells import cell_len

from recordings.format.header import Header
from recordings.ledger.snapshot import Extent, Regimes, SiteCount, Verdict
from tests.tui.small_recordings import FIRST, MACHINE, WINDOW, row, storm_rows
from tracers.batch import Losses
from tracers.events import Kind
from tracers.machine import read_machine
from tui.playback.replay import Replay
from tui.widgets import address_map, over_time, timing, verdict
from tui.widgets.regimes import RegimesPanel
from tui.widgets.replay_bar import ReplayBar
from tui.widgets.warnings import WarningsPanel

SIZES = [(36, 4), (58, 5), (76, 6), (118, 7), (156, 9)]


def text(lines) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


@pytest.fixture
def view(storm):
    replay = Replay(storm, paused=True)
    replay.end()
    return replay.view()


def panels():
    yield verdict.VerdictPanel(Header(machine=MACHINE), ["a problem"], id="verdict")
    yield address_map.VaStrip(WINDOW, MACHINE.layout, id="strip")
    yield RegimesPanel(id="regimes")
    yield WarningsPanel(id="warnings")
    yield timing.TimingTable(id="timing")
    yield timing.Histogram(id="histogram")
    yield over_time.OverTime(id="overtime")
    yield ReplayBar(id="replay")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_lines_are_no_wider_than_the_panel(view, width, height):
    for panel in panels():
        if isinstance(panel, address_map.VaStrip | verdict.VerdictPanel | ReplayBar) and width < 70:
            continue  # these have the whole width, 72 columns at least
        for written in text(panel.draw(panel.facts(view), width, height)):
            assert cell_len(written) <= width, (panel, written)


@pytest.mark.parametrize(("width", "height"), SIZES[1:])
def test_addresses_are_whole(view, width, height):
    for panel in panels():
        for written in text(panel.draw(panel.facts(view), width, height)):
            for address in re.findall(r"0xf[0-9a-f]*", written):
                assert len(address) == 18, written


def test_the_headline_is_the_verdict(view):
    # 40 sections x 0.4 ms of a hot-add of 18.1 ms, 40 x 0.5 ms of a hot-remove of 24.1 ms
    assert verdict.headline(view.snapshot, at_end=True) == (
        "80 of 80 calls outside the window, all above"
    )
    assert verdict.cost(view.snapshot) == (
        "80 WARNs cost 36 ms: 88 % of the hot-add (__add_pages 18.1 ms), "
        "83 % of the hot-remove (__remove_pages 24.1 ms)"
    )
    assert verdict.word(view) == ("OUT OF RANGE", "$error")


def test_midway_only_a_hit_is_certain(clean):
    replay = Replay(clean, paused=True)
    assert verdict.word(replay.view())[0] == "NOTHING YET"
    replay.seek_by(0.3)
    assert verdict.word(replay.view())[0] == "CLEAN SO FAR"
    replay.end()
    assert verdict.word(replay.view())[0] == "CLEAN"


def test_headlines_of_other_outcomes(view):
    some = replace(
        view.snapshot,
        regimes=Regimes(inside=70, below=6, wrapped=4),
        would_warn=10,
        verdict=Verdict.OUT_OF_RANGE,
    )
    expected = "10 of 80 calls outside the window, 6 below, 4 wrapped into the user half"
    assert verdict.headline(some, at_end=True) == expected
    quiet = replace(some, would_warn=7)
    assert verdict.headline(quiet, at_end=True) == f"{expected}, 3 silent"
    unknown = replace(view.snapshot, regimes=Regimes(unknown=80))
    assert verdict.headline(unknown, at_end=False) == "80 of 80 calls so far cannot be judged"
    none = replace(view.snapshot, regimes=Regimes(), populate=0, free=0)
    assert verdict.headline(none, at_end=True) == "no populate or free call"


def test_a_cost_that_is_not_known_is_not_zero(view):
    untimed = (SiteCount("mmu.c:1222", 80, 0, 80),)
    snapshot = replace(view.snapshot, sites=untimed, warn_ns=0)
    assert verdict.cost(snapshot) == "80 WARNs, their cost not known"
    partly = (SiteCount("mmu.c:1222", 80, 32_000_000, 20),)
    snapshot = replace(view.snapshot, sites=partly, warn_ns=32_000_000, operations=())
    assert verdict.cost(snapshot) == "80 WARNs cost at least 32 ms"
    assert verdict.cost(replace(view.snapshot, warnings=0)) == "no WARN seen for these hits"


def test_what_a_once_suppressed_is_counted(view):
    once = replace(view.snapshot, warnings=2)
    panel = WarningsPanel(id="warnings")
    lines = text(panel.draw(panel.facts(replace(view, snapshot=once)), 60, 9))
    assert lines[-1] == "78 calls suppressed (WARN_ON_ONCE)"


def test_losses_are_shown_above_the_machine(view):
    lossy = replace(view, snapshot=replace(view.snapshot, losses=Losses(lost=12)))
    panel = verdict.VerdictPanel(Header(machine=MACHINE), [], id="verdict")
    lines = text(panel.draw(panel.facts(lossy), 100, 5))
    assert lines[2] == "counts are lower bounds: 12 events lost"


def test_the_reason_for_no_verdict_is_shown(view):
    reasons = ("The window is not known, so no call can be judged.",)
    snapshot = replace(
        view.snapshot, verdict=Verdict.INCONCLUSIVE, verdict_reasons=reasons, regimes=Regimes()
    )
    panel = verdict.VerdictPanel(Header(), [], id="verdict")
    lines = text(panel.draw(verdict.Facts(snapshot, True, ""), 100, 5))
    assert lines[0].startswith(" INCONCLUSIVE ")
    assert lines[2] == reasons[0]
    assert "Linux of unknown release" in lines[3]
    assert "not known" in lines[4]


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
    panel = address_map.VaStrip(None, None, id="strip")
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


def test_no_name_pushes_its_graph_aside(clean):
    """The graphs share one time axis: all of them begin at the same cell."""
    replay = Replay(clean, paused=True)
    replay.end()
    panel = over_time.OverTime(id="overtime")
    facts = panel.facts(replay.view())
    for width, height in ((50, 7), (76, 5)):
        rows = text(panel.draw(facts, width, height))
        assert any(row.startswith("sparse_add_section ") for row in rows)
        assert rows[-1].index("0 s") > len("sparse_add_section")


def test_section_add_is_shown_where_it_was_traced(clean):
    replay = Replay(clean, paused=True)
    replay.end()
    panel = timing.Histogram(id="histogram")
    facts = panel.facts(replay.view())
    assert facts.timings[0][0] is Kind.SECTION_ADD
    assert text(panel.draw(facts, 100, 10))[0] == "__add_pages: 1 call, 7.3 ms"


def test_over_time_sums_are_the_counts(view):
    series = view.snapshot.series
    for width in (1, 7, 64, 300):
        sums = over_time.spread(series.hits, series, FIRST, view.length_ns, width)
        assert len(sums) == width
        assert sum(sums) == pytest.approx(80)


@pytest.mark.parametrize("first", [0, 1, 2**63, 2**64 - 2])
def test_over_time_draws_times_at_both_ends_of_the_clock(make, first):
    """Times are any u64: the panel is given their differences, which need 65 bits."""
    top = 2**64 - 1
    rows = [row(0, "populate", "entry") | {"ts_ns": ts} for ts in (top, first, first + 1, top)]
    rows = [each | {"start": 2**64 - 2**21, "end": 0} for each in rows]
    replay = Replay(make(rows), paused=True)
    replay.end()
    view = replay.view()
    assert view.snapshot.hits == 4
    for width in (1, 7, 300):
        sums = over_time.spread(
            view.snapshot.series.hits, view.snapshot.series, first, top - first, width
        )
        assert sum(sums) == pytest.approx(4)
        if first < 2**63 and width == 7:
            assert sums == [2, 0, 0, 0, 0, 0, 2]
        # and where the index says another first time than the events do
        for wrong in (0, top):
            moved = over_time.spread((1, 1), view.snapshot.series, wrong, top, width)
            assert sum(moved) == pytest.approx(2)


def test_over_time_fills_in_from_the_left(storm):
    replay = Replay(storm, paused=True)
    replay.seek_by(0.5)
    view = replay.view()
    series = view.snapshot.series
    sums = over_time.spread(series.hits, series, FIRST, view.length_ns, 100)
    # the hot-add is over after 35 ms of 199; the hot-remove begins at 155 ms
    assert sum(sums[:20]) == pytest.approx(40)
    assert not any(sums[20:])


def test_storm_rows_are_what_they_say():
    rows = storm_rows(3, 0xFFFF_FFFF_4000_0000)
    assert [item["ts_ns"] for item in rows] == sorted(item["ts_ns"] for item in rows)


def test_a_window_of_many_sources_names_the_first_on_a_narrow_screen():
    origin = "vmcoreinfo + code:vmemmap_free + code:vmemmap_populate + btf+formula"
    window = replace(WINDOW, provenance={"window": origin})
    (shown,) = text([verdict.window_line(window, 78)])
    assert shown.endswith("· from vmcoreinfo and 3 more")


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
    assert {regime for _, regime in cells} == {"", "below"}


@pytest.mark.parametrize(
    ("bits", "memstart", "expected"),
    [
        (48, "same", "no WARN below physical 0x40000000"),
        (None, "same", "calls below 0xffffffdfc0000000 cannot be judged"),
        (48, None, "no WARN below 0xffffffdfc0000000"),
        (48, (1 << 48) - (1 << 52), None),  # RAM begins at 0: no page leads there
        (52, "same", None),
    ],
)
def test_the_first_screen_says_where_the_warn_is_blind(captures, bits, memstart, expected):
    window = read_machine(captures / "7.3.4-vmemlab-64k-52bit-on-48bit").window
    where = window.memstart if memstart == "same" else memstart
    placed = replace(window, vabits_actual=bits, memstart=where and where % 2**64)
    drawn = verdict.blind_line(placed, 80)
    assert (drawn is None) is (expected is None)
    if drawn is not None:
        assert expected in text([drawn])[0]
        assert len(text([drawn])[0]) <= 80
