# SPDX-License-Identifier: GPL-2.0-only
"""Screen snapshots of real recordings and of rare cases (``pytest --snapshot-update``).

Look at every picture before committing it. The replay is paused, so that nothing on screen depends
on a clock.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from recordings.format.header import Header
from recordings.format.reader import Recording, open_recording
from tests.recordings import oops as oops_log
from tests.tui.conftest import Make
from tests.tui.small_recordings import MACHINE, SECTION, WINDOW, row, storm_rows
from tracers.machine import Machine
from tui.dashboard.app import ReplayApp
from tui.playback import player
from tui.playback.replay import Replay

SIZES = [(60, 20), (80, 24), (120, 30), (160, 50), (250, 70)]
MIDWAY = 200  # rows of storm.arrows: in the middle of the hot-add
HOLE = 0xFFFF_FFFF_4000_0000


def midway(replay: Replay) -> None:
    replay.seek_row(MIDWAY)


#: Sample, where it is, keys.
SAMPLES = {
    "storm-end": ("storm", Replay.end, ()),
    "storm-midway": ("storm", midway, ()),
    "storm-begin": ("storm", Replay.home, ()),
    "storm-once-end": ("storm-once", Replay.end, ()),
    "clean-end": ("in-range-6.12", Replay.end, ()),
    "below-end": ("below-6.1", Replay.end, ()),
    "explain": ("storm", midway, ("2", "enter")),
    "help": ("storm", Replay.end, ("question_mark",)),
    "silent-end": ("silent-7.3", Replay.end, ()),
    "light": ("storm", Replay.end, ("t",)),
    "sections": ("storm", Replay.end, ("h",)),
    "sections-turned": ("storm", Replay.end, ("h", "h")),
    "tree": ("storm", midway, ("1", "enter", *("down", "enter") * 3)),
    "call": ("storm", midway, ("5", "left_square_bracket")),
    "filter": ("storm", midway, ("slash", *"comm:rmmod", "enter")),
    "no-filter": ("storm", midway, ("slash", *"took:long", "enter")),
}


def wrapped(make: Make, _: Path) -> Recording:
    return make(storm_rows(24, 0x3FD_FE00_0000))


def mixed(make: Make, _: Path) -> Recording:
    """Inside, below, wrapped and across VMEMMAP_END; one operation has not ended."""
    rows = storm_rows(3, WINDOW.start - 2 * SECTION) + storm_rows(4, WINDOW.end - 2 * SECTION)
    rows += storm_rows(2, 0x3FD_FE00_0000)
    edge = {"start": WINDOW.end - SECTION // 2, "end": WINDOW.end + SECTION // 2}
    for at, each in enumerate(rows):
        each["ts_ns"] += 400_000_000 * (at > len(storm_rows(3, 0)))
    rows.sort(key=lambda each: each["ts_ns"])
    return make([*rows, row(900, "memremap", "entry", 77, "kworker/0:1"),
                 row(910, "populate", "entry", 77, "kworker/0:1", **edge)])  # fmt: skip


def straddling(make: Make, _: Path) -> Recording:
    edge = {"start": WINDOW.end - SECTION // 2, "end": WINDOW.end + SECTION // 2}
    return make([row(0, "populate", "point", **edge), row(9, "free", "point", **edge)])


def lossy(make: Make, _: Path) -> Recording:
    rows = storm_rows(24, HOLE)
    return make(rows[:20], rows[20:80], rows[80:], lost=12)


def torn(make: Make, folder: Path) -> Recording:
    path = folder / "torn.arrows"
    path.write_bytes(lossy(make, folder).path.read_bytes()[:-2000])
    return open_recording(path)


def no_window(make: Make, _: Path) -> Recording:
    machine = replace(MACHINE, window=None, layout=None)
    return make(storm_rows(24, HOLE), header=Header(machine=machine))


def contradiction(make: Make, _: Path) -> Recording:
    problem = "VMCOREINFO says VMEMMAP_START 0xfffffffe00000000, the image 0xffffffdf40000000"
    machine = replace(MACHINE, agree=False, problems=(problem,))
    return make(storm_rows(24, HOLE), header=Header(machine=machine))


def x86(make: Make, _: Path) -> Recording:
    problem = "the kernel is of x86_64: only arm64 has the window and its WARN"
    machine = Machine(release="6.8.0-45-generic", arch="x86_64", problems=(problem,))
    rows = storm_rows(8, 0xFFFF_EA00_0400_0000, warn=False, derived=False)
    return make(rows, header=Header(machine=machine))


def oops(make: Make, _: Path) -> Recording:
    """Eight WARNs, and then the kernel fails at the first struct page."""
    return make(oops_log.rows(), header=oops_log.HEADER)


def oops_alone(make: Make, _: Path) -> Recording:
    """All that is left of the log is the Oops."""
    return make(oops_log.rows(0), header=oops_log.HEADER)


def oops_unproven(make: Make, _: Path) -> Recording:
    return make(oops_log.rows(0, None), header=oops_log.HEADER)


def empty(make: Make, _: Path) -> Recording:
    return make()


def reading(make: Make, _: Path) -> Recording:
    """Only its first batch is read; see ``test_made``."""
    rows = storm_rows(24, WINDOW.start + SECTION, warn=False)
    return make(rows[:30], rows[30:])


MADE: list[Callable[[Make, Path], Recording]] = [
    wrapped, straddling, mixed, lossy, torn, no_window, contradiction, x86, empty, reading,
    oops, oops_alone, oops_unproven,
]  # fmt: skip


def named(value: object) -> str:
    if isinstance(value, tuple):
        return f"{value[0]}x{value[1]}"
    return getattr(value, "__name__", str(value)).replace("_", "-")


def settled(app: ReplayApp, command: Callable[[Replay], None], keys=()):
    async def settle(pilot: Pilot[None]) -> None:
        await pilot.pause()
        app.player.send(command)
        await asyncio.to_thread(app.player.join)
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await asyncio.to_thread(app.player.join)
        await pilot.pause()

    return settle


@pytest.mark.parametrize("size", SIZES, ids=named)
@pytest.mark.parametrize("scene", SAMPLES)
def test_screen(snap_compare, samples: Path, scene, size):
    name, command, keys = SAMPLES[scene]
    with open_recording(samples / f"{name}.arrows") as recording:
        app = ReplayApp(recording, paused=True)
        assert snap_compare(app, terminal_size=size, run_before=settled(app, command, keys))


@pytest.mark.parametrize("size", SIZES, ids=named)
@pytest.mark.parametrize("scene", MADE, ids=named)
def test_made(snap_compare, make: Make, tmp_path: Path, monkeypatch, *, scene, size):
    if scene is reading:
        monkeypatch.setattr(player, "PIECE", 1)
        more = iter([True])
        inner = Replay.read_some
        monkeypatch.setattr(Replay, "read_some", lambda replay: next(more, 0) and inner(replay))
    app = ReplayApp(scene(make, tmp_path), paused=True)
    command = Replay.end if scene is not reading else Replay.home
    assert snap_compare(app, terminal_size=size, run_before=settled(app, command))
