# SPDX-License-Identifier: GPL-2.0-only
"""The timeline: sums are the counts, bars are the operations, the marker is the position."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from recordings.ledger.snapshot import Series
from tests.recordings import oops
from tests.tui.small_recordings import FIRST, MS, batch, row, storm_rows
from tests.tui.widgets.test_panels import seen, text
from tracers.events import Kind
from tui.playback.replay import Replay
from tui.widgets import words
from tui.widgets.time_axis import column_of, covered, spread
from tui.widgets.timeline import GAP, LABEL, MARKER, Timeline, room, time_at


@pytest.fixture
def view(storm):
    return seen(storm)


def drawn(view, width=100, height=5):
    panel = Timeline(id="timeline")
    return panel.draw(panel.facts(view), width, height)


def part_of(lines, label, *, styled=None):
    """The cells of the row with a label; with ``styled`` only those of that style, else blank."""
    (line,) = (line for line in lines if line[0][0].strip() == label)
    return "".join(part if styled in (None, style) else " " * len(part) for part, style in line[1:])


def test_sums_are_the_counts(view):
    series = view.snapshot.series
    for width in (1, 7, 64, 300):
        sums = spread(series.hits, series, FIRST, view.length_ns, width)
        assert len(sums) == width
        assert sum(sums) == pytest.approx(80)


@pytest.mark.parametrize("first", [0, 1, 2**63, 2**64 - 2])
def test_times_at_both_ends_of_the_clock(make, first):
    """Times are any u64: the panel is given their differences, which need 65 bits."""
    top = 2**64 - 1
    rows = [row(0, "populate", "entry") | {"ts_ns": ts} for ts in (top, first, first + 1, top)]
    rows = [each | {"start": 2**64 - 2**21, "end": 0} for each in rows]
    view = seen(make(rows))
    assert view.snapshot.hits == 4
    for width in (1, 7, 300):
        series = view.snapshot.series
        sums = spread(series.hits, series, first, top - first, width)
        assert sum(sums) == pytest.approx(4)
        if first < 2**63 and width == 7:
            assert sums == [2, 0, 0, 0, 0, 0, 2]
        # and where the index says another first time than the events do
        for wrong in (0, top):
            moved = spread((1, 1), view.snapshot.series, wrong, top, width)
            assert sum(moved) == pytest.approx(2)
    for shown in text(drawn(view)):
        assert cell_len(shown) <= 100


def test_bars_are_the_operations(view):
    cells = room(100)
    ops = part_of(drawn(view), "ops")
    # memremap: 0 to 85.1 ms of 199.2; memunmap: 135.1 ms to the end
    low, high = (ms * cells // 199.2 for ms in (85.1, 135.1))
    assert ops.startswith("[memremap insmod-68 ──")
    assert ops.index("]") == low
    assert ops.index("[memunmap") == high
    assert ops.rstrip().endswith("]")
    assert ops[int(low) + 1 : int(high)].strip() == ""


def test_operations_beyond_the_list_are_bars_without_names(view):
    snapshot = replace(view.snapshot, operations=(), operations_total=2)
    cells, ops = room(100), part_of(drawn(replace(view, snapshot=snapshot)), "ops")
    assert set(ops) == {"▬", " "}
    for ms in (1, 40, 84, 136, 160, 198):
        assert ops[int(ms * cells / 199.2)] == "▬", ms
    for ms in (95, 110, 130):
        assert ops[int(ms * cells / 199.2)] == " ", ms


def test_what_begins_and_ends_in_bins_covers_what_is_between():
    counts = ((1, 0), (0, 0), (1, 2), (0, 0), (1, 1), (0, 0))
    series = Series(0, 10, (0,) * 6, (0,) * 6, Kind.FREE, (0,) * 6, (0,) * 6)
    assert covered(counts, series, 0, 60, 6).tolist() == [1, 1, 1, 0, 1, 0]
    assert covered(counts, series, 0, 60, 3).tolist() == [1, 1, 1]
    assert covered(counts, series, 0, 60, 12).tolist() == [1] * 6 + [0] * 2 + [1] * 2 + [0] * 2


def test_the_picture_is_of_the_whole_and_what_has_passed_is_coloured(storm, view):
    replay = Replay(storm, paused=True)
    replay.read_all()
    begun = replay.view()
    replay.seek_time(FIRST + 100 * MS)
    midway = replay.view()
    for label, style in (("hits", "$error"), ("WARNs", "$warning")):
        whole = [part_of(drawn(each), label) for each in (begun, midway, view)]
        assert whole[0] == whole[1] == whole[2]
        graph = slice(0, room(100))
        assert part_of(drawn(begun), label, styled=style).strip() == ""
        # the hot-add is over after 35 ms; the hot-remove begins at 155 ms
        coloured = part_of(drawn(midway), label, styled=style)[graph]
        half = 100 * room(100) // 199 + 1
        assert coloured[:half] == whole[1][:half]
        assert coloured[half:].strip() == ""
        assert part_of(drawn(view), label, styled=style)[graph] == whole[2][graph]


@pytest.mark.parametrize("width", [58, 76, 156, 246])
def test_the_marker_is_at_the_position_and_a_click_there_comes_back(storm, width):
    replay = Replay(storm, paused=True)
    replay.read_all()
    cells = room(width)
    for column in range(cells):
        replay.seek_time(FIRST + time_at(column, replay.view().length_ns, cells))
        axis = text(drawn(replay.view(), width))[-1]
        assert axis.index(MARKER) - LABEL == column
    assert time_at(-5, 1000, cells) == 0
    assert time_at(cells + 5, 1000, cells) == 1000


def test_missing_events_are_marked_where_they_are_missing(view):
    gap = (FIRST + 100 * MS, FIRST + 110 * MS)
    axis = part_of(drawn(replace(view, gaps=(gap,))), "0 s")
    cells = room(100)
    marked = [at for at, cell in enumerate(axis) if cell == GAP]
    assert marked == list(range(int(100 * cells / 199.2), int(110 * cells / 199.2) + 1))


@pytest.mark.parametrize("seconds", [0.9, 999.999, 1000, 3196.5, 99_999.999])
@pytest.mark.parametrize("width", [58, 78, 118])
def test_no_time_is_cut(view, seconds, width):
    length = round(seconds * 1e9)
    long = replace(view, last_ns=FIRST + length, time_ns=FIRST + length)
    axis = text(drawn(long, width))[-1]
    assert axis.endswith(f"  {seconds:.3f} s")
    assert cell_len(axis) <= width


def test_nothing_yet(make):
    assert text(drawn(seen(make()))) == ["no event yet"]


@pytest.mark.parametrize("height", range(2, 9))
def test_as_many_rows_as_there_is_height_for(view, height):
    lines = drawn(view, height=height)
    assert len(lines) <= height
    labels = [line[0][0].strip() for line in lines if line[0][0].strip()]
    assert labels[0] == "hits"
    assert labels[-1] == "0 s"


def test_the_end_of_the_axis_is_that_of_the_last_event():
    rows = storm_rows(2, 0xFFFF_FFFF_4000_0000)
    assert batch(rows).num_rows == len(rows)
    assert [column_of(at, 10, 5) for at in (-1, 0, 1, 2, 9, 10, 99)] == [0, 0, 0, 1, 4, 4, 4]


@pytest.mark.parametrize("width", [60, 160, 250])
def test_an_oops_has_a_mark_at_its_time(make, width):
    """Also at the very end, where the marker is, and beside a hit of the same moment."""
    faults = [oops.fault(at) for at in (0, 27_000_000, 77_085_000)]
    rows = sorted([*oops.rows()[:-1], *faults], key=lambda each: each["ts_ns"])
    view = seen(make(rows, header=oops.HEADER))
    panel = Timeline(id="timeline")
    marks = part_of(drawn(view, width, 3), "hits")[: room(width)]
    places = [column_of(at, 77_085_000, room(width)) for at in (0, 27_000_000, 77_085_000)]
    assert [at for at, mark in enumerate(marks) if mark == words.FAULT] == places
    panel.titles(panel.facts(view))
    assert panel.border_subtitle == "X Oops"
