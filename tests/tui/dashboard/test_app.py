# SPDX-License-Identifier: GPL-2.0-only
"""The replay's keys; every test starts paused, so that no clock matters."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot

from recordings.explore.bookmarks import SUFFIX, Mark
from recordings.format.header import Header
from recordings.format.reader import Recording, RecordingError, open_recording
from tests.tui.conftest import Make
from tests.tui.small_recordings import MACHINE, storm_rows
from tui.dashboard.app import ReplayApp
from tui.dashboard.scope_app import EXIT_ERROR, EXIT_HUNG_UP
from tui.dashboard.terminal import HungUp
from tui.dashboard.themes import DARK, LIGHT
from tui.playback.player import MAX_SPEED
from tui.screens.explain import ExplainScreen
from tui.screens.help import HelpScreen
from tui.widgets.address_map import AddressMap
from tui.widgets.calls import CallsTable
from tui.widgets.panel import Panel
from tui.widgets.span_tree import SpanTree
from tui.widgets.timeline import LABEL, MARK, Timeline, room

HOSTILE = "\x1b]0;x\x07[bold]"

Press = Callable[..., "asyncio.Future[None]"]


@asynccontextmanager
async def running(
    recording: Recording, *keys: str, size: tuple[int, int] = (160, 50), **options
) -> AsyncIterator[tuple[ReplayApp, Pilot[None]]]:
    """An app on a recording, paused at the start, with keys pressed and their effect shown."""
    app = ReplayApp(recording, paused=True, **options)
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot)
        await press(app, pilot, *keys)
        yield app, pilot


async def settle(app: ReplayApp, pilot: Pilot[None]) -> None:
    """Wait until the player has served every command and the screen shows it."""
    await pilot.pause()
    await asyncio.to_thread(app.player.join)
    await pilot.pause()


async def press(app: ReplayApp, pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(app, pilot)


def screen_text(app: ReplayApp) -> str:
    """Return the text on the screen, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    assert len(lines) == height
    assert all(line.cell_length == width for line in lines)
    return "\n".join(line.text for line in lines)


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        ((), 0),
        (("end",), 288),
        (("end", "home"), 0),
        (("n",), 3),
        (("n", "n"), 6),
        (("n", "n", "N"), 3),
        (("full_stop", "full_stop", "comma"), 1),
        (("right", "right"), 10),  # 19.92 ms of 199.2: 6 section rows and what is before
        (("right", "right", "left", "left"), 0),
        (("shift+right",), 1),  # 0.996 ms: only the first event
        (("end", "shift+left", "shift+right"), 288),
    ],
)
async def test_keys_that_move(storm, keys, row):
    async with running(storm, *keys) as (app, _):
        if keys[:2] == ("right", "right") and len(keys) == 2:
            row = sum(r["ts_ns"] - 4_461_353_000 <= 19_920_000 for r in storm_rows(40, 0))
        assert app.view.row == row
        assert app.view.paused


async def test_speed_keys(storm):
    async with running(storm) as (app, pilot):
        await press(app, pilot, "plus", "equals_sign")
        assert app.view.speed == 4
        await press(app, pilot, *["minus"] * 5)
        assert app.view.speed == 0.25
        await press(app, pilot, *["plus"] * 9)
        assert app.view.speed == MAX_SPEED
        assert "max" in screen_text(app)


async def test_space_pauses_and_goes_on_and_time_passes(storm):
    now = 0
    async with running(storm, clock=lambda: now) as (app, pilot):
        await press(app, pilot, "space")
        assert not app.view.paused
        now = 100_000_000
        await press(app, pilot, "space")
        assert app.view.paused
        assert app.view.elapsed_ns == 100_000_000
        assert "paused" in screen_text(app)


async def test_enter_explains_a_call(storm):
    async with running(storm, "down", "enter") as (app, pilot):
        assert isinstance(app.screen, ExplainScreen)
        shown = screen_text(app)
        assert "vmemmap_free, event #" in shown
        assert "0xffffffff44c00000 - 0xffffffff44e00000" in shown  # the last but one of 40
        assert "0xffffffff44c00000" in shown
        assert "vmcoreinfo" in shown
        await press(app, pilot, "escape")
        assert app.screen is app.dashboard


async def test_keys_do_not_reach_the_player_through_a_modal(storm):
    async with running(storm, "n", "enter", "end") as (app, _):
        assert app.view.row == 3


async def test_help_opens_and_closes(storm):
    async with running(storm, "question_mark") as (app, pilot):
        assert isinstance(app.screen, HelpScreen)
        shown = screen_text(app)
        for word in ("window", "regime", "hit", "warning", "derived", "space", "shift"):
            assert word in shown
        await press(app, pilot, "question_mark")
        assert app.screen is app.dashboard


async def test_tab_moves_between_the_tables_and_no_choice_moves_time(storm):
    async with running(storm, "full_stop", "tab") as (app, pilot):
        assert isinstance(app.focused, SpanTree)
        await press(app, pilot, "enter")
        assert app.view.row == 1
        await pilot.click(SpanTree, offset=(5, 3))
        await settle(app, pilot)
        assert app.view.row == 1
        await press(app, pilot, "tab")
        assert isinstance(app.focused, CallsTable)


async def test_operation_keys_move_by_operations(storm):
    async with running(storm, "o") as (app, pilot):
        assert app.view.row == 1
        await press(app, pilot, "o")
        assert app.view.elapsed_ns == 135_100_000  # the memunmap
        await press(app, pilot, "O")
        assert app.view.row == 1


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (60, 20)])
async def test_a_click_on_the_timeline_goes_there_and_a_drag_follows(storm, size):
    async with running(storm, size=size) as (app, pilot):
        line = app.dashboard.query_one(Timeline)
        cells, left = room(line.size.width), LABEL + line.gutter.left
        await pilot.mouse_down(line, offset=(left + cells // 2, 2))
        await settle(app, pilot)
        assert app.view.elapsed_ns == pytest.approx(99_600_000, abs=199_200_000 / cells)
        await pilot.hover(line, offset=(left + cells // 4, 2))
        await settle(app, pilot)
        assert app.view.elapsed_ns == pytest.approx(49_800_000, abs=199_200_000 / cells)
        await pilot.hover(line, offset=(left + cells - 1, 2))
        await pilot.mouse_up(line, offset=(left + cells - 1, 2))
        await settle(app, pilot)
        assert app.view.at_end
        await pilot.hover(line, offset=(left + 3, 2))  # the button is up
        await settle(app, pilot)
        assert app.view.at_end
        await pilot.click(line, offset=(left, 2))
        await settle(app, pilot)
        assert app.view.row == 0


async def test_a_click_on_the_map_asks_for_what_is_there(storm, monkeypatch):
    asked = []
    heard = lambda _, message: asked.append(message.text)  # noqa: E731
    monkeypatch.setattr(ReplayApp, "on_filter_wanted", heard, raising=False)
    async with running(storm) as (app, pilot):
        shown = app.dashboard.query_one(AddressMap)
        line = screen_text(app).splitlines()[shown.region.y + 2]
        first = shown.region.x
        for x, y in ((line.index("↑"), 2), (line.index("↑"), 1), (line.index("│ │") + 3, 2)):
            await pilot.click(shown, offset=(x - first, y))
    assert asked == [
        "addr:0xffffffff40000000..0xffffffff45000000",  # the hits: 40 sections of 2 MiB
        "addr:0xffffffff00000000..0x10000000000000000",  # the region they lie in
        "addr:0xffffff8000000000..0xffffffc000000000",  # the linear map, of 39 bits
    ]


async def test_the_lists_do_not_depend_on_the_position(storm):
    async with running(storm, "down", "down") as (app, pilot):
        calls = app.dashboard.query_one(CallsTable)
        chosen = calls.chosen_row
        await press(app, pilot, "end", "home", "n", "n", "right")
        assert calls.chosen_row is chosen
        assert calls.index == 2


@pytest.mark.parametrize("size", [(160, 50), (80, 24)])
async def test_the_text_of_no_panel_changes_while_it_plays(storm, size):
    """But for the bar and the marker of the timeline: colours say what has passed."""

    def still(shown):
        return [line for line in shown.splitlines()[:-2] if not re.match("[│ ]*0 s ", line)]

    async with running(storm, "down", size=size) as (app, pilot):
        begin = screen_text(app)
        for key in ("n", "shift+right", "end"):
            await press(app, pilot, key)
            assert still(screen_text(app)) == still(begin)
            assert screen_text(app) != begin


async def test_only_new_lines_are_drawn(storm):
    async with running(storm, "end") as (app, pilot):
        calls = app.dashboard.query_one(CallsTable)
        before = calls.drawn
        app.dashboard.show(app.view)
        app.dashboard.show(replace(app.view, speed=2.0))
        await pilot.pause()
        assert calls.drawn == before
        await press(app, pilot, "down")
        assert calls.drawn == before + 2  # the row the cursor left and the one it is on


async def test_a_panel_repaints_only_lines_that_changed(storm):
    async with running(storm, "end") as (app, _):
        panels = list(app.dashboard.query(Panel))
        refreshed = []
        for panel in panels:
            panel.refresh = lambda *regions, name=panel.id, **_: refreshed.append((name, regions))
        app.dashboard.show(app.view)
        assert refreshed == []
        app.dashboard.show(replace(app.view, speed=2.0))
        assert [(name, len(regions)) for name, regions in refreshed] == [("replay", 1)]


@pytest.mark.parametrize(
    ("typed", "row"),
    [("#100", 101), ("0", 0), ("100%", 288), ("0xffffffff40000000", 3), ("pfn 0x5000000", None)],
)
async def test_g_goes_to_a_place(storm, typed, row):
    async with running(storm, "g", *typed, "enter") as (app, _):
        assert row is None or app.view.row == row
        assert app.view.paused
        assert app.focused is not None  # what had the focus has it again
        assert app.focused.id == "calls"


async def test_g_says_why_not_and_escape_goes_nowhere(storm):
    async with running(storm, "g", *"q?", "enter") as (app, pilot):
        assert "'q?' is no place" in screen_text(app)
        assert app.view.row == 0
        await press(app, pilot, "g")
        assert "go to: 0.5" in screen_text(app)
        await press(app, pilot, *"#5")
        assert " #5 " in screen_text(app)
        assert "/ filter" not in screen_text(app)  # what is typed is text
        await press(app, pilot, "escape")
        assert app.view.row == 0
        assert "#5" not in screen_text(app)
        assert not app.dashboard.query_one("#ask").display
        await press(app, pilot, "g", "enter", "n")
        assert app.view.row == 3


async def test_hostile_text_typed_is_shown_and_not_obeyed(storm):
    async with running(storm) as (app, pilot):
        app._goto(HOSTILE)
        app._set_mark(Mark(5, storm.index[0].first_ts, HOSTILE, HOSTILE))
        await press(app, pilot, "B")
        assert screen_text(app).count(r"\x1b]0;x\x07[bold]") >= 2
        assert "\x1b" not in app.export_screenshot()


async def test_bookmarks_are_set_listed_gone_to_and_deleted(storm):
    keys = ("n", "b", *"first hit", "enter", "end", "b", "enter", "home")
    async with running(storm, *keys) as (app, pilot):
        assert [(mark.row, mark.note) for mark in app.bookmarks.marks] == [
            (3, "first hit"),
            (288, ""),
        ]
        assert sum(text.count(MARK) for line in app.dashboard.query_one(Timeline)._drawn
                   for text, _ in line) == 2  # fmt: skip
        await press(app, pilot, "B")
        assert "first hit" in screen_text(app)
        await press(app, pilot, "down", "enter")
        assert app.view.row == 288
        await press(app, pilot, "apostrophe", "d", "escape")
        assert [mark.row for mark in app.bookmarks.marks] == [288]
    async with running(storm, "B", "enter") as (app, _):  # they are in the file
        assert app.view.row == 288


async def test_a_bookmark_brings_its_filter_back(storm):
    async with running(storm, "slash", *"comm:rmmod", "enter", "n", "b", "enter") as (app, pilot):
        assert [mark.filter for mark in app.bookmarks.marks] == ["comm:rmmod"]
        await press(app, pilot, "escape", "home")
        assert app.view.listed.filter == ""
        await press(app, pilot, "B", "enter")
        assert app.view.listed.filter == "comm:rmmod"
        assert app.view.row == app.bookmarks.marks[0].row


async def test_marks_of_a_sample_are_not_kept(samples, monkeypatch):
    monkeypatch.chdir(samples.parent)
    with open_recording(Path("samples/storm.arrows")) as recording:
        async with running(recording, "n", "b", "enter") as (app, _):
            assert "kept only until you leave" in screen_text(app)
            assert [mark.row for mark in app.bookmarks.marks] == [app.view.row]
    assert list(samples.glob("*.json")) == []


async def test_marks_that_are_not_ours_are_said_and_left(storm):
    side = storm.path.with_name(storm.path.name + SUFFIX)
    side.write_bytes(b"{}")
    async with running(storm) as (app, pilot):
        assert "no bookmarks of ours" in screen_text(app)
        await press(app, pilot, "b", "enter")
        assert "kept only until you leave" in screen_text(app)
    assert side.read_bytes() == b"{}"


async def test_theme_key(storm):
    async with running(storm) as (app, pilot):
        assert app.theme == DARK.name
        await press(app, pilot, "t")
        assert app.theme == LIGHT.name


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
async def test_pages_of_a_low_screen(storm, size):
    titles = ("Operations", "Calls─", "WARNs by site", "How long ", "Call #")
    async with running(storm, "end", size=size) as (app, pilot):
        for title in (*titles, titles[0]):
            assert [name for name in titles if name in screen_text(app)] == [title]
            await press(app, pilot, "v")
        for key, title in enumerate(titles, 1):
            await press(app, pilot, str(key))
            assert [name for name in titles if name in screen_text(app)] == [title]


@pytest.mark.parametrize("size", [(120, 30), (160, 24)])
async def test_a_low_and_wide_screen_has_two_pages_side_by_side(storm, size):
    async with running(storm, size=size) as (app, pilot):
        for key, titles in (("2", ("Operations", "Calls")),
                            ("3", ("WARNs by site", "Calls by regime")),
                            ("4", ("How long ", "Time per call")),
                            ("5", ("Calls", "Call #"))):  # fmt: skip
            await press(app, pilot, key)
            shown = screen_text(app)
            assert all(title in shown for title in titles)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 30), (160, 50), (250, 70), (80, 50)])
async def test_no_size_leaves_half_of_the_screen_blank(storm, size):
    """The lower block is all panels, each as wide and as high as the grid gives it."""
    async with running(storm, size=size) as (app, _):
        block = app.dashboard.query_one("#lower").region
        covered = set()
        for panel in app.dashboard.query("#lower .panel"):
            if panel.display and panel.region:
                covered |= {(x, y) for y in range(panel.region.y, panel.region.bottom)
                            for x in range(panel.region.x, panel.region.right)}  # fmt: skip
        assert len(covered) >= 0.9 * block.area
        assert block.height >= size[1] / 3


SIZES = [
    (160, 50), (80, 24), (120, 40), (80, 50), (160, 24), (250, 70), (60, 20), (100, 30),
    (59, 40), (100, 19), (40, 10), (20, 5),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("position", ["home", "end"])
async def test_the_verdict_is_on_every_screen(storm, size, position):
    async with running(storm, position, size=size) as (app, _):
        shown = screen_text(app)
        assert "OUT OF RANGE" in shown  # before anything was played, too
        if size[0] >= 60 and size[1] >= 20:
            assert "WINDOW" in shown
            assert "0xfffffffe00000000 - 0xffffffff00000000" in shown
            assert "quit" in shown
        elif size[1] > 6:
            assert "q quits" in shown


@pytest.mark.parametrize("size", [(160, 50), (80, 24)])
async def test_a_new_size_is_filled_at_once(storm, size):
    async with running(storm, "end", size=(40, 10)) as (app, pilot):
        await pilot.resize_terminal(*size)
        await settle(app, pilot)
        assert "Operations" in screen_text(app)
        await pilot.resize_terminal(40, 10)
        await settle(app, pilot)
        assert "q quits" in screen_text(app)


async def test_hostile_text_is_shown_and_not_obeyed(make: Make):
    machine = replace(MACHINE, release=f"6.1{HOSTILE}", problems=(f"problem {HOSTILE}",))
    rows = storm_rows(4, 0xFFFF_FFFF_4000_0000, comm=HOSTILE)
    for event in rows:
        if event["kind"] == "warn" and event["phase"] == "entry":
            event["site"] = HOSTILE
    recording = make(rows, header=Header(machine=machine, notes=(HOSTILE,)))
    async with running(recording, *["n"] * 4) as (app, pilot):
        shown = screen_text(app)
        # who, release; problem; note; the name on the bar; the call's task; two WARN sites
        assert shown.count(r"\x1b]0;x\x07[bold]") == 8
        await press(app, pilot, "pagedown")  # a populate, whose task is insmod
        await press(app, pilot, "enter")
        assert r"\x1b]0;x\x07[bold]" in screen_text(app)
        assert "\x1b" not in app.export_screenshot()


async def test_losses_are_on_the_screen(make: Make):
    async with running(make(storm_rows(4, 0xFFFF_FFFF_4000_0000), lost=12), "end") as (app, _):
        assert "counts are lower bounds: 12 events lost" in screen_text(app)


async def test_derived_calls_are_marked(storm):
    async with running(storm, "2", *["pagedown"] * 2) as (app, _):
        shown = screen_text(app)
        assert "populate†" in shown
        assert "† 40 derived" in shown


async def test_an_error_in_the_player_is_shown_and_gives_the_exit_code(storm):
    async with running(storm, "end") as (app, pilot):

        def broken(_: object) -> None:
            raise RecordingError(f"storm.arrows: batch 2 is damaged {HOSTILE}")

        app.player.send(broken)
        while app.failure is None:
            await pilot.pause()
        await pilot.pause()
        shown = screen_text(app)
        assert r"ERROR storm.arrows: batch 2 is damaged \x1b]0;x\x07[bold]" in shown
        assert "OUT OF RANGE" in shown
        await pilot.press("q")
    assert app.return_code == EXIT_ERROR


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quit_ends_the_thread(storm, key):
    async with running(storm, "space", key) as (app, _):
        pass
    assert app.return_code == 0
    assert all(worker.is_finished for worker in app.workers)


async def test_start_at_the_end_or_at_a_time(storm):
    async with running(storm, start="end") as (app, _):
        assert app.view.at_end
    async with running(storm, start=0.1) as (app, _):
        assert app.view.elapsed_ns == 100_000_000


async def test_a_recording_without_events(make: Make):
    async with running(make(), "space", "n", "right", "end", "enter") as (app, _):
        assert "INCONCLUSIVE" in screen_text(app)


async def test_the_probes_of_a_recording_are_shown(make: Make):
    probes = {"vmemmap_free": "entry+return", f"x{HOSTILE}": f"no: {HOSTILE}"}
    recording = make(storm_rows(4, 0xFFFF_FFFF_4000_0000), header=Header(probes=probes))
    async with running(recording, "p") as (app, pilot):
        shown = screen_text(app)
        assert "entry+return" in shown
        assert shown.count(r"\x1b]0;x\x07[bold]") == 2
        await press(app, pilot, "escape")
        assert app.screen is app.dashboard


@pytest.mark.parametrize("key", ["enter", "question_mark", "p", "B"])
async def test_what_opens_is_in_the_middle_and_the_panels_stay_in_sight(storm, key):
    async with running(storm, key) as (app, _):
        width, height = app.size
        box = app.screen.query_one(".modal").region
        assert abs(box.x - (width - box.right)) <= 1
        assert abs(box.y - (height - box.bottom)) <= 1
        assert "OUT OF RANGE" in screen_text(app)


async def test_a_size_that_has_changed_since_is_not_drawn(storm):
    """Two sizes at once, as when the terminal is resized meanwhile, were drawn in turn for ever."""
    async with running(storm, size=(80, 25)) as (app, _):
        old, now = Size(80, 24), Size(80, 25)
        assert not app.dashboard.post_message(Resize(old, old))
        assert app.dashboard.post_message(Resize(now, now))


async def test_the_terminal_gone_is_an_exit_code(storm):
    async with running(storm) as (app, pilot):
        app.post_message(HungUp())
        await pilot.pause()
    assert app.return_code == EXIT_HUNG_UP == 129
