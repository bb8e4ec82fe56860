# SPDX-License-Identifier: GPL-2.0-only
"""Runs the dashboard on live events, beside a capture that does not depend on it.

``run`` is the entry point. Promises: whatever ends the screen (a key, a signal, the terminal
closed, an error in drawing), the probes are off and the file is whole afterwards.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Unpack

from textual.binding import Binding, BindingType

from recordings.capture.drain import Capture
from recordings.capture.rotation import Limits
from recordings.explore.filler import Filler
from recordings.explore.span_table import SpanTable
from tui.capturing import session
from tui.capturing.signals import Signals
from tui.dashboard.scope_app import COMMON_KEYS, ScopeApp
from tui.dashboard.terminal import HungUp, ending_signals_give_back
from tui.playback.live_player import Command, LivePlayer
from tui.screens.help import LIVE_KEYS
from tui.streams import say

_PAST_KEYS = Binding.Group("past", compact=True)


class LiveApp(ScopeApp):
    """Shows one capture, which must be running, and ``warnings`` about where it runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "pause"),
        Binding("left", "seek(-1)", "past", group=_PAST_KEYS, key_display="←"),
        Binding("right", "seek(1)", "past", group=_PAST_KEYS, key_display="→"),
        Binding("end", "do('end')", "now"),
        Binding("shift+left", "seek(-0.1)", "finer", show=False),
        Binding("shift+right", "seek(0.1)", "finer", show=False),
        Binding("home", "do('home')", "start", show=False),
        Binding("n", "do('next_hit')", "next hit", show=False),
        Binding("N", "do('previous_hit')", "previous hit", show=False),
        Binding("p", "probes", "probes"),
        *(key for key in COMMON_KEYS if key.action != "probes"),
    ]

    def __init__(
        self,
        capture: Capture,
        signals: Signals | None = None,
        *,
        warnings: Sequence[str] = (),
        make: Callable[[Capture], LivePlayer],
    ) -> None:
        header, machine = capture.header, capture.header.machine
        # A rung the kernel refused is no problem where a lower one worked: ``p`` shows it.
        notes = header.notes if machine.window is None else ()
        super().__init__(header, (*warnings, *machine.problems, *notes), LIVE_KEYS)
        self.player = make(capture)
        self.reason = "closed"  # why the capture ended, for the closing record
        self._signals = signals

    def on_ready(self) -> None:
        """Start the player, now that there is a screen, and listen to signals."""
        self.dashboard.add_class("-live")
        if self._signals is not None:
            asyncio.get_running_loop().add_reader(self._signals.fileno(), self._handle_signal)
        self.start_player(self.player)

    def on_unmount(self) -> None:
        """Stop listening (Textual calls the base class's handler, too)."""
        if self._signals is not None:
            asyncio.get_running_loop().remove_reader(self._signals.fileno())

    @property
    def table(self) -> SpanTable | None:
        """All calls so far."""
        return self.player.table

    def send(self, command: Command) -> None:
        """Have the player do something."""
        self.player.send(command)

    def action_pause(self) -> None:
        """Freeze the view, or resume it."""
        self.send(LivePlayer.toggle)

    def on_hung_up(self, _: HungUp) -> None:
        """End the capture as SIGHUP would (the base class's handler leaves)."""
        self.reason = signal.SIGHUP.name

    def _handle_signal(self) -> None:
        number = self._signals.take() if self._signals is not None else None
        if number is not None:
            self.reason = number.name
            self.exit()


def run(output: Path | None, **options: Unpack[session.Options]) -> int:
    """Capture and show until the user leaves; return the exit code of the verdict."""
    if output is not None:
        session.unused_path(output)
    with Signals() as signals:
        warnings = () if output is None else tuple(session.panics())
        for line in warnings:
            say(f"warning: {line}")
        source = session.open_source(signals, **options)
        table = SpanTable()
        capture = session.begin(
            source, output, Limits(), sink=Filler(table), audit=options["audit"]
        )
        player = partial(LivePlayer, table=table)
        app = LiveApp(capture, signals, warnings=warnings, make=player)
        try:
            with ending_signals_give_back():  # those that are not in ``signals``
                app.run()
        except BaseException as error:
            app.reason = f"ended by {type(error).__name__}"
            raise
        finally:
            if app.crash is not None:
                app.reason = f"ended by {type(app.crash).__name__}"
            capture.stop(app.reason)
        code = session.report_end(capture)  # no signal shall change the exit code now
        if app.crash is not None:
            raise app.crash
        return code
