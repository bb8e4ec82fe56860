# SPDX-License-Identifier: GPL-2.0-only
"""Selecting with the mouse and copying, on the recorded storm: what is seen is what is copied."""

import pytest

from recordings.format.reader import open_recording
from tests.tui.dashboard.test_app import HOSTILE, press, running, screen_text, settle
from tests.tui.small_recordings import storm_rows
from tui.dashboard.terminal import WantsOut
from tui.screens.help import HelpScreen
from tui.widgets.address_map import AddressMap
from tui.widgets.calls import CallsTable
from tui.widgets.headline import Headline
from tui.widgets.section_heat import SectionHeat
from tui.widgets.span_tree import SpanTree
from tui.widgets.timeline import Timeline


@pytest.fixture
def recorded(samples):
    with open_recording(samples / "storm.arrows") as recording:
        yield recording


async def drag(pilot, widget, first, last):
    """Press at one cell of a widget's content, move, and let go at another."""
    corner = widget.content_region.offset - widget.region.offset
    await pilot.mouse_down(widget, offset=corner + first)
    await pilot.hover(widget, offset=corner + last)
    await pilot.mouse_up(widget, offset=corner + last)
    await pilot.pause()


def on_screen(app, widget, y):
    inside = widget.content_region
    return screen_text(app).split("\n")[inside.y + y][inside.x : inside.right]


@pytest.mark.parametrize("kind", [Headline, AddressMap, SectionHeat, SpanTree, CallsTable])
async def test_a_drag_selects_the_text_that_is_seen_and_ctrl_c_copies_it(recorded, kind):
    async with running(recorded, "end") as (app, pilot):
        widget = app.dashboard.query_one(kind)
        filter_before, row_before = app.view.listed.filter, app.view.row
        seen = on_screen(app, widget, 1)
        await drag(pilot, widget, (2, 1), (22, 1))
        selected = app.screen.get_selected_text()
        assert selected.strip()
        assert selected == seen[2:22].rstrip() or selected == seen[2:23].rstrip()
        inside = widget.content_region
        cells = app.screen._compositor.render_strips()[inside.y + 1].crop(inside.x, inside.right)
        style = app.screen.get_component_rich_style("screen--selection", partial=True)
        marked = "".join(s.text for s in cells if s.style and s.style.bgcolor == style.bgcolor)
        assert marked.rstrip() == selected
        await press(app, pilot, "ctrl+c")
        assert app.is_running
        assert app.clipboard == selected
        assert app.screen.get_selected_text() is None
        assert (app.view.listed.filter, app.view.row) == (filter_before, row_before)
        assert f"copied {len(selected)} characters" in screen_text(app)
        await pilot.press("ctrl+c")
    assert app.return_code == 0


async def test_several_lines_are_copied_without_the_blanks_at_their_ends(recorded):
    async with running(recorded, "end") as (app, pilot):
        table = app.dashboard.query_one(CallsTable)
        seen = [on_screen(app, table, y) for y in range(4)]
        await drag(pilot, table, (0, 1), (20, 3))
        first, second, third = app.screen.get_selected_text().split("\n")
        assert (first, second) == (seen[1][:-1].rstrip(), seen[2][:-1].rstrip())
        assert seen[3].startswith(third)
        assert app.view.listed.calls[1].start is not None
        assert f"0x{app.view.listed.calls[1].start:016x}" in second


async def test_the_terminals_ctrl_c_copies_first_and_then_leaves(recorded):
    async with running(recorded, "end") as (app, pilot):
        await drag(pilot, app.dashboard.query_one(Headline), (0, 0), (10, 0))
        app.post_message(WantsOut())
        await settle(app, pilot)
        assert app.is_running
        assert app.clipboard
        app.post_message(WantsOut())
        await pilot.pause()
    assert app.return_code == 0


async def test_clicks_select_nothing(recorded):
    async with running(recorded, "end") as (app, pilot):
        for kind in (Headline, CallsTable, Timeline):
            for times in (1, 2, 3):
                await pilot.click(app.dashboard.query_one(kind), offset=(4, 2), times=times)
                await settle(app, pilot)
                assert not app.screen.get_selected_text()
                if len(app.screen_stack) > 1:
                    await press(app, pilot, "escape")


async def test_a_drag_on_the_timeline_moves_time_and_selects_nothing(recorded):
    async with running(recorded, "end") as (app, pilot):
        before = app.view.row
        await drag(pilot, app.dashboard.query_one(Timeline), (20, 0), (40, 0))
        await settle(app, pilot)
        assert app.view.row != before
        assert not app.screen.get_selected_text()


async def test_y_copies_the_cursors_row_whole(recorded):
    async with running(recorded, "end", size=(80, 24)) as (app, pilot):
        await press(app, pilot, "2", "down", "y")
        call = app.view.listed.calls[1]
        cells = app.clipboard.split("\t")
        assert len(cells) == 11  # every column, though few have room here
        assert f"0x{call.start:016x}" in cells
        assert f"0x{call.end:016x}" in cells
        assert cells[-1] == f"#{call.row}"
        assert f"{call.comm}-{call.tid}" in cells
        await press(app, pilot, "1", "y")
        assert app.clipboard.startswith("memremap_pages insmod-68\t")
        assert "copied the row" in screen_text(app)


async def test_what_is_copied_is_escaped(make):
    rows = [row | {"comm": HOSTILE} for row in storm_rows(3, 0)]
    async with running(make(rows)) as (app, pilot):
        await press(app, pilot, "y")
        assert "\x1b" not in app.clipboard
        assert "\\x1b]0;x\\x07[bold]" in app.clipboard


async def test_text_of_another_screen_is_copied_too(recorded):
    async with running(recorded, "question_mark") as (app, pilot):
        assert isinstance(app.screen, HelpScreen)
        text = app.screen.query(".meaning").first()
        await drag(pilot, text, (0, 0), (9, 0))
        await press(app, pilot, "ctrl+c")
        assert app.clipboard.startswith("pause")
        assert app.is_running
