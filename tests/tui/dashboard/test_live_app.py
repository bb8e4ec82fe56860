# SPDX-License-Identifier: GPL-2.0-only
"""The live dashboard: its keys, its empty state, and that it never touches the capture."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from textual.pilot import Pilot

from benchmarks.feed import Feed
from recordings.capture.drain import Capture, header_of
from recordings.capture.rotation import Rotation
from recordings.explore.filler import Filler
from recordings.explore.span_table import SpanTable
from recordings.format.reader import open_recording
from tests.recordings.made import wait_for
from tests.tui.dashboard.test_app import HOSTILE, screen_text
from tests.tui.dashboard.test_explore import colours
from tests.tui.processes import ROOT, command, whole
from tests.tui.terminals import Terminal
from tui.dashboard.live_app import LiveApp
from tui.playback.live_player import LivePlayer
from tui.screens.help import HelpScreen
from tui.screens.probes import ProbesScreen
from tui.widgets.calls import CallsTable
from tui.widgets.span_tree import SpanTree
from tui.widgets.timeline import LABEL, MARK

PROBES = {
    "vmemmap_populate": "breakpoint entry+return",
    "vmemmap_free": "kprobe entry+return",
    "sparse_add_section": "callsite entry+return (bl at __add_pages+0x90)",
    "section_deactivate": "no: kprobe: not in available_filter_functions; callsite: inlined",
    "__add_pages": "kprobe entry+return",
    "__remove_pages": "kprobe entry+return",
    "memremap_pages": "kprobe entry+return",
    "memunmap_pages": "kprobe entry+return",
    "__warn": "kprobe entry+return",
}
#: In the traced storm, right behind the last free's entry: the kernel's text has 5 lines after it.
LAST_FREE = 904 - 5
REFUSED = "vmemmap_populate: kprobe: Could not probe notrace function vmemmap_populate"


def feed_of(samples: Path, name: str = "storm", **options) -> Feed:
    feed = Feed(samples / f"{name}.arrows", **options)
    feed.probes = PROBES
    feed.notes = (REFUSED,)
    return feed


def live_app(feed: Feed, out: Path | None = None) -> LiveApp:
    """An app on a running capture whose feed has sent everything, 83 s in."""
    table = SpanTable()
    file = out and Rotation(out, header_of(feed), fsync=False)
    capture = Capture(feed, file, sink=Filler(table))
    capture.start()
    due = feed._due
    wait_for(lambda: not due() and capture.events == feed.sent)
    began = capture.started
    make = partial(LivePlayer, table=table, clock=lambda: began + 83.5)
    return LiveApp(capture, make=make)


@asynccontextmanager
async def running(
    feed: Feed, *keys: str, size: tuple[int, int] = (160, 50), out: Path | None = None
) -> AsyncIterator[tuple[LiveApp, Pilot[None]]]:
    app = live_app(feed, out)
    try:
        async with app.run_test(size=size) as pilot:
            await settle(app, pilot)
            for key in keys:
                await pilot.press(key)
                await settle(app, pilot)
            yield app, pilot
    finally:
        app.player.capture.stop()


async def settle(app: LiveApp, pilot: Pilot[None]) -> None:
    """Wait until the screen shows a view of everything sent."""
    await pilot.pause()
    app.player.send(lambda _: None)
    await asyncio.to_thread(app.player.join)
    await pilot.pause()


SIZES = [(160, 50), (80, 24), (60, 20), (120, 30), (250, 70), (59, 40), (40, 10), (20, 5)]


@pytest.mark.parametrize("size", SIZES)
async def test_the_verdict_is_on_every_screen(samples, size):
    async with running(feed_of(samples), size=size) as (app, _):
        shown = screen_text(app)
        assert "OUT OF RANGE" in shown
        if size[0] >= 60 and size[1] >= 20:
            assert "LIVE" in shown
            assert "1:23" in shown
            assert "1,544 events" in shown
            assert "not recorded" in shown
            assert "probes on: vmemmap_populate: breakpoint, " in shown


@pytest.mark.parametrize("size", SIZES)
async def test_before_any_event_it_says_what_it_waits_for(samples, size):
    async with running(feed_of(samples, held=0), size=size) as (app, _):
        shown = screen_text(app)
        assert "NOTHING YET" in shown
        if size[0] >= 60 and size[1] >= 20:
            assert "waiting for memory hot-add" in shown
            assert "probes on: vmemmap_populate: breakpoint" in shown


async def test_what_comes_appears_by_itself(samples):
    feed = feed_of(samples, held=0)
    async with running(feed) as (app, pilot):
        feed.release()
        while app.view.row < 1544:
            await pilot.pause(0.02)
        await pilot.pause()
        assert "256 of 256 calls so far outside the window" in screen_text(app)


async def test_space_freezes_the_view_and_not_the_capture(samples, tmp_path):
    feed = feed_of(samples, held=200)
    path = tmp_path / "a.arrows"
    async with running(feed, "space", out=path) as (app, pilot):
        before = screen_text(app)
        assert "PAUSED, 0 events since" in before
        feed.release()
        await asyncio.to_thread(wait_for, lambda: app.player.capture.events == 1544)
        await settle(app, pilot)
        frozen = screen_text(app)
        assert "PAUSED, 1,344 events since" in frozen
        assert frozen.splitlines()[:-2] == before.splitlines()[:-2]
        await pilot.press("space")
        await settle(app, pilot)
        assert "256 of 256 calls so far" in screen_text(app)
    assert whole(path).rows == 1544


async def test_a_key_of_speed_does_nothing(samples):
    async with running(feed_of(samples), "comma", "plus", "minus") as (app, _):
        assert app.view.row == 1544
        shown = screen_text(app)
        assert "LIVE" in shown
        assert "speed" not in shown


@pytest.mark.parametrize(
    ("keys", "row", "passed"),
    [
        (("home",), 0, (0, 0, 0)),
        (("N",), LAST_FREE, (256, 256, 255)),  # the last free's entry, before its WARN
        (("N", "N", "n"), LAST_FREE, (256, 256, 255)),
        (("home", "n"), None, (1, 1, 0)),
        (("g", *"#500", "enter"), 501, None),
        (("g", *"0xffffffff4ee00000", "enter", "N"), None, (127, 127, 126)),
    ],
)
async def test_a_key_goes_into_the_past_and_end_comes_back(traced, keys, row, passed):
    async with running(feed_of(traced), *keys) as (app, pilot):
        if row is not None:
            assert app.view.row == row
        if passed is not None:
            told = app.view.passed
            assert (told.calls, told.hits, told.warnings) == passed
        shown = screen_text(app)
        assert "in the past · +0 events, 0 hits arrived since" in shown
        assert "256 of 256 calls so far outside the window" in shown
        await pilot.press("end")
        await settle(app, pilot)
        shown = screen_text(app)
        assert "in the past" not in shown
        assert "LIVE" in shown
        assert app.view.row == 904


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (60, 20)])
async def test_what_arrives_is_told_in_the_past_and_the_file_gets_it(traced, tmp_path, size):
    feed, path = feed_of(traced, held=200), tmp_path / "a.arrows"
    async with running(feed, "left", size=size, out=path) as (app, pilot):
        before = app.view
        assert before.live.arrived == (0, 0)
        feed.release()
        await asyncio.to_thread(wait_for, lambda: app.player.capture.events == 904)
        await settle(app, pilot)
        hits = 256 - before.snapshot.hits
        assert f"in the past · +704 events, {hits} hits arrived since" in screen_text(app)
        assert (app.view.row, app.view.time_ns) == (before.row, before.time_ns)
        assert app.view.snapshot.hits == 256
        await pilot.press("space")
        await settle(app, pilot)
        assert "PAUSED, in the past" in screen_text(app)
        await pilot.press("space", "end")
        await settle(app, pilot)
        assert app.view.live.arrived is None
    assert whole(path).rows == 904


async def test_a_click_on_the_timeline_goes_into_the_past(traced):
    async with running(feed_of(traced)) as (app, pilot):
        await pilot.click("#timeline", offset=(LABEL + 40, 2))
        await settle(app, pilot)
        assert 0 < app.view.elapsed_ns < app.view.length_ns
        assert "in the past" in screen_text(app)


async def test_only_in_the_past_is_something_to_come(traced):
    async with running(feed_of(traced)) as (app, pilot):
        tables = app.dashboard.query_one(CallsTable), app.dashboard.query_one(SpanTree)
        assert not any(True in colours(table).values() for table in tables)
        await pilot.press("home")
        await settle(app, pilot)
        assert all(set(colours(table).values()) == {True} for table in tables)
        await pilot.press("end")
        await settle(app, pilot)
        assert not any(True in colours(table).values() for table in tables)


async def test_the_keys_of_calls_and_operations_are_those_of_a_replay(traced):
    async with running(feed_of(traced)) as (app, pilot):
        calls, row = app.dashboard.query_one(CallsTable), app.view.row
        rows = [call.row for call in calls.rows]
        await pilot.press("left_square_bracket", "left_square_bracket", "right_square_bracket")
        await settle(app, pilot)
        assert calls.chosen_row.row == rows[1]
        assert f"Call #{rows[1]}" in screen_text(app)
        await pilot.press("tab", "down", "f")
        await settle(app, pilot)
        assert app.view.listed.filter == f"op:{app.view.listed.tree[0].span.row}"
        assert app.view.listed.matching == 128
        assert (app.view.row, app.view.live.arrived) == (row, None)


async def test_a_bookmark_lasts_until_one_leaves(traced):
    async with running(feed_of(traced), "N", "b", *"last q", "enter") as (app, pilot):
        assert [(mark.row, mark.note) for mark in app.bookmarks.marks] == [(LAST_FREE, "last q")]
        assert "kept only until you leave" in screen_text(app)
        await pilot.press("home")
        await settle(app, pilot)
        assert MARK in str(app.dashboard.query_one("#timeline")._drawn)
        await pilot.press("B", "enter")
        await settle(app, pilot)
        assert app.view.row == LAST_FREE


async def test_enter_explains_a_call_and_an_operation_stays(samples):
    async with running(feed_of(samples), "enter") as (app, pilot):
        assert "vmemmap_free, event #" in screen_text(app)
        await pilot.press("escape", "tab", "enter")
        await settle(app, pilot)
        assert app.screen is app.dashboard


async def test_the_probes_are_shown_with_what_was_refused(samples):
    async with running(feed_of(samples), "p") as (app, pilot):
        assert isinstance(app.screen, ProbesScreen)
        shown = screen_text(app)
        assert "bl at __add_pages+0x90" in shown
        assert "not in available_filter_functions" in shown
        assert REFUSED in shown
        await pilot.press("p")
        await settle(app, pilot)
        assert app.screen is app.dashboard


async def test_help_is_of_the_live_keys(samples):
    async with running(feed_of(samples), "question_mark") as (app, _):
        assert isinstance(app.screen, HelpScreen)
        shown = screen_text(app)
        assert "the capture never stops" in shown
        assert "faster, slower" not in shown


async def test_a_disk_that_failed_is_on_the_screen(samples, tmp_path):
    async with running(feed_of(samples), out=tmp_path / "a.arrows") as (app, pilot):
        app.player.capture._fail(OSError(28, "No space left on device"))
        await settle(app, pilot)
        shown = screen_text(app)
        assert "ERROR OSError: [Errno 28] No space left on device" in shown
        assert "REC stopped" in shown
        assert "OUT OF RANGE" in shown


async def test_hostile_text_is_shown_and_not_obeyed(samples):
    feed = feed_of(samples, held=0)
    feed.probes = {f"f{HOSTILE}": f"no: {HOSTILE}"}
    feed.notes = (HOSTILE,)
    feed.origin = {"live": HOSTILE}
    async with running(feed, "p") as (app, pilot):
        assert screen_text(app).count(r"\x1b]0;x\x07[bold]") >= 4
        await pilot.press("escape")
        await settle(app, pilot)
        assert r"engine \x1b]0;x\x07[bold]" in screen_text(app)
        assert "\x1b" not in app.export_screenshot()


SCENES = {
    "live-waiting": ("storm", {"held": 0}, ()),
    "live-midway": ("storm", {"held": 200}, ()),
    "live-paused": ("storm", {}, ("space",)),
    "live-clean": ("in-range-6.12", {}, ()),
    "live-probes": ("storm", {}, ("p",)),
    "live-past": ("storm", {}, ("left",)),
    "live-ended": ("storm", {}, ()),
}


@pytest.mark.parametrize("size", SIZES[:5], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", SCENES)
def test_screen(snap_compare, samples, tmp_path, monkeypatch, *, scene, size):
    """Snapshots, as in test_snapshots; a file's size depends on when it was flushed."""
    monkeypatch.setattr(Rotation, "size", property(lambda _: 15_408))
    sample, options, keys = SCENES[scene]
    app = live_app(feed_of(samples, sample, **options), tmp_path / f"{sample}.arrows")

    async def run_before(pilot: Pilot[None]) -> None:
        await settle(app, pilot)
        if scene == "live-ended":
            await asyncio.to_thread(app.player.capture.stop)
        await pilot.press(*keys)
        await settle(app, pilot)

    try:
        assert snap_compare(app, terminal_size=size, run_before=run_before)
    finally:
        app.player.capture.stop()


@pytest.mark.parametrize("how", ["q", "ctrl+c", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "closed"])
def test_however_it_ends_the_file_is_whole(tmp_path, how):
    path = tmp_path / "a.arrows"
    with Terminal(command({"rate": 2000, "rounds": None}, "live", "-o", path)) as terminal:
        terminal.until(b"LIVE")
        wait_for(lambda: path.stat().st_size > 20_000)
        if how == "closed":
            terminal.hang_up()
        elif how.startswith("SIG"):
            terminal.process.send_signal(signal.Signals[how])
        else:
            terminal.send(b"q" if how == "q" else b"\x03")
        assert terminal.ended() == 1
    recording = whole(path)
    reasons = {"q": "closed", "ctrl+c": "closed", "closed": "SIGHUP"}
    assert recording.ended == reasons.get(how, how)
    assert recording.closing_notes == (f"{recording.rows} events were sent by the feed",)
    if how != "closed":
        assert b"OUT OF RANGE: " in terminal.output
        assert b"Traceback" not in terminal.output


def test_without_a_terminal_it_names_the_way_out(tmp_path):
    done = subprocess.run(
        command({}, "live", "-o", tmp_path / "a.arrows"),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert "vmemscope record" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_stream_and_a_file_that_exists_are_refused_at_once(tmp_path):
    path = tmp_path / "a.arrows"
    path.touch()
    for output, message in (("-", b"record -o -"), (path, b"exists already")):
        with Terminal(command({}, "live", "-o", output)) as terminal:
            assert terminal.ended() == 2
            assert message in terminal.output


def test_without_a_file_the_exit_code_is_the_verdict_too():
    with Terminal(command({"sample": "in-range-6.12"}, "live")) as terminal:
        terminal.until(b"104 events")
        terminal.send(b"q")
        assert terminal.ended() == 0
        assert b"104 events, not recorded" in terminal.output


def test_open_recording_reads_it_while_it_is_written(tmp_path, samples):
    path = tmp_path / "a.arrows"
    app = live_app(feed_of(samples), path)
    wait_for(lambda: app.player.capture.out.rows == 1544)
    with open_recording(path) as recording:
        assert recording.rows == 1544
        assert recording.ended is None
    app.player.capture.stop()


async def test_a_refused_rung_is_no_problem_but_an_unknown_window_is(samples):
    async with running(feed_of(samples)) as (app, _):
        assert REFUSED not in screen_text(app)
    feed = feed_of(samples)
    feed.machine = replace(feed.machine, window=None, layout=None)
    feed.notes = ("the window is not known: /proc/kcore: Operation not permitted",)
    async with running(feed) as (app, _):
        shown = screen_text(app)
        assert feed.notes[0] in shown
        assert "not known here, so no call can be judged: see vmemscope doctor" in shown
        assert "INCONCLUSIVE" in shown
