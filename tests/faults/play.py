# SPDX-License-Identifier: GPL-2.0-only
"""``python -m tests.faults.play FILE``: plays a recording to its end as the player does; seeks.

A process of its own, so that its memory can be measured.
"""

import sys
from pathlib import Path

from recordings.format.reader import open_recording
from tui.playback.replay import MAX_SPEED, Replay


def main(path: Path) -> None:
    """Play, with a view after each step, and seek over all of it."""
    with open_recording(path) as recording:
        replay = Replay(recording, speed=MAX_SPEED)
        while replay.read_some() or not replay.at_end:
            replay.advance(1)
            replay.view()
        rows = replay.timeline.rows
        for share in (3, 1, 7, 5):
            replay.seek_row(rows * share // 8)
            replay.view()
        replay.end()
        view = replay.view()
        sys.stdout.write(f"{view.row} of {view.rows}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
