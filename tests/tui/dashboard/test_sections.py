# SPDX-License-Identifier: GPL-2.0-only
"""The strip of sections, driven by key and mouse on the recorded storm of 128 sections."""

import pytest

from recordings.format.reader import open_recording
from tests.tui.dashboard.test_app import press, running, screen_text, settle
from tests.tui.small_recordings import SECTION, WINDOW, row, storm_rows
from tui.widgets.address_map import AddressMap
from tui.widgets.section_heat import Heat, SectionHeat


@pytest.fixture
def recorded(samples):
    with open_recording(samples / "storm.arrows") as recording:
        yield recording


async def test_h_colours_by_regime_then_by_the_longest_call_then_hides(recorded):
    async with running(recorded) as (app, pilot):
        strip = app.dashboard.query_one(SectionHeat)
        assert strip.display
        assert strip.heat is Heat.REGIME
        assert "by worst regime  ↑ above 128  128 sections, 1 a cell" in screen_text(app)
        await press(app, pilot, "h")
        assert "by longest call" in screen_text(app)
        await press(app, pilot, "h")
        assert not strip.display
        await press(app, pilot, "h")
        assert strip.display
        assert "by worst regime" in screen_text(app)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 30)])
async def test_on_a_low_screen_it_stands_in_the_maps_place(recorded, size):
    async with running(recorded, size=size) as (app, pilot):
        strip, shape = app.dashboard.query_one(SectionHeat), app.dashboard.query_one(AddressMap)
        assert (strip.display, shape.display) == (False, True)
        for mark in ("regime", "longest"):
            await press(app, pilot, "h")
            assert (strip.display, shape.display) == (True, False)
            assert mark in strip.render_line(0).text
        await press(app, pilot, "h")
        assert (strip.display, shape.display) == (False, True)


async def click(pilot, app, column):
    strip = app.dashboard.query_one(SectionHeat)
    await pilot.click(strip, offset=(column + strip.gutter.left, strip.gutter.top))
    await settle(app, pilot)


async def test_a_click_on_a_cell_is_a_filter_and_another_takes_it_away(recorded):
    async with running(recorded) as (app, pilot):
        await click(pilot, app, 2)
        first = app.view.listed.calls[0].start - 2 * SECTION
        assert app.view.listed.matching == 2  # populated and freed once each
        lowest = min(call.start for call in app.view.listed.calls)
        assert app.view.listed.filter == f"addr:0x{lowest:x}+0x{SECTION:x}"
        assert first < lowest
        assert "1 section, 1 a cell" in screen_text(app)
        await click(pilot, app, 0)
        assert app.view.listed.filter == ""
        assert app.view.listed.matching == 256
        assert "128 sections, 1 a cell" in screen_text(app)


async def test_a_click_beside_the_cells_or_on_a_gap_is_none(make):
    rows = [row(0, "populate", "point", start=WINDOW.start, end=WINDOW.start + SECTION)]
    rows.append(row(9, "free", "point", start=SECTION, end=2 * SECTION))
    async with running(make(rows)) as (app, pilot):
        text = app.dashboard.query_one(SectionHeat).render_line(0).text
        assert text.strip() == "·" * 6 + "  …   " + "»" * 6
        await click(pilot, app, 8)
        assert app.view.listed.filter == ""
        await click(pilot, app, 30)
        assert app.view.listed.filter == ""
        await click(pilot, app, 12)
        assert app.view.listed.matching == 1
        assert app.view.listed.filter == f"addr:0x{SECTION:x}+0x{SECTION:x}"


async def test_what_runs_past_the_top_is_a_cell_that_can_be_clicked(make):
    rows = storm_rows(24, 0)
    for each in rows:
        for name in ("start", "end"):
            if each.get(name) is not None:
                each[name] = (each[name] - 4 * SECTION) % 2**64
    async with running(make(rows)) as (app, pilot):
        view = app.view
        assert len(view.strip) == 24
        assert sum(cell.calls for cell in view.strip.cells(150).cells) == view.listed.total
        await click(pilot, app, 6 * 3)  # the last one below 2^64
        assert app.view.listed.filter == f"addr:0x{2**64 - SECTION:x}+0x{SECTION:x}"
        assert {call.start for call in app.view.listed.calls} == {2**64 - SECTION}
