# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard that replays a recording; ``run`` is the entry point.

``tui.dashboard.live_app`` has the one for live events.
"""

import gc
import time
from collections.abc import Callable
from typing import ClassVar, Literal

from textual.binding import Binding, BindingType

from recordings.explore.bookmarks import Bookmarks, MarksError
from recordings.explore.span_table import SpanTable
from recordings.format.reader import Recording
from recordings.samples import SAMPLES
from tui.dashboard.scope_app import COMMON_KEYS, EXIT_ERROR, ScopeApp, ViewPublished
from tui.dashboard.terminal import (
    ending_signals_give_back,
)
from tui.playback.player import MAX_SPEED, Command, Player, Replay
from tui.screens.help import KEYS

#: Where to begin: trace seconds after the first event, or the end.
Start = float | Literal["end"]

_SEEK_KEYS = Binding.Group("seek", compact=True)
_HIT_KEYS = Binding.Group("hit", compact=True)


class ReplayApp(ScopeApp):
    """Replays one recording."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "do('toggle')", "pause"),
        Binding("left", "seek(-1)", "seek", group=_SEEK_KEYS, key_display="←"),
        Binding("right", "seek(1)", "seek", group=_SEEK_KEYS, key_display="→"),
        Binding("minus,underscore", "do('slower')", "slower", show=False),
        Binding("plus,equals_sign", "do('faster')", "faster", show=False),
        Binding("n", "do('next_hit')", "hit", group=_HIT_KEYS, key_display="n"),
        Binding("N", "do('previous_hit')", "hit", group=_HIT_KEYS, key_display="N"),
        Binding("o", "do('next_operation')", "operation", show=False),
        Binding("O", "do('previous_operation')", "operation back", show=False),
        Binding("shift+left", "seek(-0.1)", "finer", show=False),
        Binding("shift+right", "seek(0.1)", "finer", show=False),
        Binding("comma", "step(-1)", "event back", show=False),
        Binding("full_stop", "step(1)", "event on", show=False),
        Binding("home", "do('home')", "start", show=False),
        Binding("end", "do('end')", "end", show=False),
        *COMMON_KEYS,
    ]

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float = 1.0,
        start: Start = 0.0,
        paused: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        problems = (*recording.header.machine.problems, *recording.problems)
        # A rung the kernel refused is no problem where a lower one worked: ``p`` shows it.
        live = bool(recording.header.origin.get("live")) and recording.header.machine.window
        notes = () if live else recording.header.notes
        super().__init__(recording.header, (*problems, *notes), KEYS)
        self.recording = recording
        self._start = start
        self._replay_options = (speed, paused)
        self._read = False  # all of the recording
        self._clock = clock
        self.player: Player | None = None

    def _open_marks(self) -> None:
        """Read the bookmarks beside the recording."""
        try:
            self.bookmarks = Bookmarks.of(self.recording)
        except MarksError as error:
            self.tell(str(error))
        else:
            if self.recording.path.resolve().parent == SAMPLES.resolve():
                self.bookmarks.path = None  # what ships with the tool is not for writing
        self.show_marks()

    def on_ready(self) -> None:
        """Start the player, now that there is a screen to show its views."""
        gc.freeze()  # what was imported and mounted stays: no collection need go through it
        speed, paused = self._replay_options
        replay = Replay(self.recording, speed=speed, paused=paused)
        self.player = Player(replay, clock=self._clock)
        if self._start == "end":
            self.player.send(Replay.end)
        elif self._start > 0:
            first = replay.timeline.first_ns or 0
            at = first + round(self._start * 1e9)
            self.player.send(lambda player: player.seek_time(at))
        self._open_marks()
        self.start_player(self.player)

    def on_view_published(self, message: ViewPublished) -> None:
        """Once all is read, let no collection go through what came of it: some 50 ms each."""
        if message.view.final and not self._read:
            self._read = True
            gc.freeze()

    @property
    def table(self) -> SpanTable | None:
        """All calls that were read."""
        return None if self.player is None else self.player.replay.index.table

    def send(self, command: Command) -> None:
        """Have the player do something."""
        if self.player is not None:
            self.player.send(command)

    def action_step(self, rows: int) -> None:
        """Move by single events."""
        self.send(lambda player: player.step(rows))


def run(
    recording: Recording, *, speed: float | None = 1.0, start: Start = 0.0, paused: bool = False
) -> int:
    """Show ``recording`` until the user leaves; return the exit code.

    ``speed`` is a factor of true time (``None``: as fast as possible), ``start`` trace seconds
    after the first event, or "end". 0 is a normal end, 2 an error while the recording was
    being read, which the screen showed, 129 that the terminal has gone away. A signal ends the
    process with 128 + its number, and leaves the terminal as it was.
    """
    app = ReplayApp(recording, speed=speed or MAX_SPEED, start=start, paused=paused)
    with ending_signals_give_back():
        app.run()
    if app.crash is not None:
        raise app.crash
    gc.freeze()  # else Python goes through all that was drawn before it ends: up to a second
    # 1 is Textual's own, for a crash.
    return EXIT_ERROR if app.return_code == 1 else app.return_code or 0
