# SPDX-License-Identifier: GPL-2.0-only
"""Screen snapshots of the real recordings at fixed positions (``pytest --snapshot-update``).

Look at every picture before committing it. The replay is paused, so that nothing on screen depends
on a clock.
"""

import asyncio
from pathlib import Path

import pytest
from textual.pilot import Pilot

from recordings.format.reader import open_recording
from tui.dashboard.app import ReplayApp
from tui.playback.replay import Replay

SIZES = [(160, 50), (80, 24)]
MIDWAY = 200  # rows of storm.arrows: in the middle of the hot-add

SCENES = {
    "storm-end": ("storm", Replay.end, ()),
    "storm-midway": ("storm", lambda replay: replay.seek_row(MIDWAY), ()),
    "storm-once-end": ("storm-once", Replay.end, ()),
    "clean-end": ("in-range-6.12", Replay.end, ()),
    "below-end": ("below-6.1", Replay.end, ()),
    "explain": ("storm", lambda replay: replay.seek_row(MIDWAY), ("enter",)),
    "help": ("storm", Replay.end, ("question_mark",)),
    "silent-end": ("silent-7.3", Replay.end, ()),
    "light": ("storm", Replay.end, ("t",)),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", SCENES)
def test_screen(snap_compare, samples: Path, scene, size):
    name, command, keys = SCENES[scene]
    path = samples / f"{name}.arrows"
    if not path.is_file():
        pytest.skip(f"{path.name} is not made yet: python -m recordings.samples.make")
    with open_recording(path) as recording:
        app = ReplayApp(recording, paused=True)

        async def settle(pilot: Pilot[None]) -> None:
            await pilot.pause()
            app.player.send(command)
            await asyncio.to_thread(app.player.join)
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()

        assert snap_compare(app, terminal_size=size, run_before=settle)
