# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard on live events: a screen beside a capture that does not depend on it.

``run`` is the entry point. Promises: whatever ends the screen (a key, a signal, the terminal
closed, an error in drawing), the probes are off and the file is whole afterwards.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Unpack

from textual.binding import Binding, BindingType

from recordings.capture.drain import Capture
from recordings.capture.rotation import Limits
from tui.capturing import session
from tui.capturing.signals import Signals
from tui.dashboard.app import COMMON_KEYS, ScopeApp
from tui.playback.live_player import LivePlayer
from tui.screens.help import LIVE_KEYS
from tui.streams import say


class LiveApp(ScopeApp):
    """Shows one capture, which must be running, and ``warnings`` about where it runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "pause"),
        Binding("p", "probes", "probes"),
        *(key for key in COMMON_KEYS if key.action != "probes"),
    ]

    def __init__(
        self,
        capture: Capture,
        signals: Signals | None = None,
        *,
        warnings: Sequence[str] = (),
        make: Callable[[Capture], LivePlayer] = LivePlayer,
    ) -> None:
        header, machine = capture.header, capture.header.machine
        # Which rungs were refused is no caveat where a lower one held: that is for ``p``.
        notes = header.notes if machine.window is None else ()
        super().__init__(header, (*warnings, *machine.problems, *notes), LIVE_KEYS)
        self.player = make(capture)
        self.reason = "closed"  # why it ended, for the file
        self._signals = signals

    def on_ready(self) -> None:
        """Start the player, now that there is a screen, and listen to signals."""
        self.dashboard.add_class("-live")
        if self._signals is not None:
            asyncio.get_running_loop().add_reader(self._signals.fileno(), self._signalled)
        self.start_player(self.player)

    def on_unmount(self) -> None:
        """Stop listening (Textual calls the base class's handler, too)."""
        if self._signals is not None:
            asyncio.get_running_loop().remove_reader(self._signals.fileno())

    def action_pause(self) -> None:
        """Freeze the view, or let it go on."""
        self.player.send(LivePlayer.toggle)

    def _signalled(self) -> None:
        number = self._signals.take() if self._signals is not None else None
        if number is not None:
            self.reason = number.name
            self.exit()


def run(output: Path | None, **options: Unpack[session.Options]) -> int:
    """Capture and show until the user leaves; return the exit code: the verdict of it all."""
    if output is not None:
        session.free(output)
    with Signals() as signals:
        warnings = () if output is None else tuple(session.panics())
        for line in warnings:
            say(f"warning: {line}")
        source = session.open_source(signals, **options)
        capture = session.begin(source, output, Limits())
        app = LiveApp(capture, signals, warnings=warnings)
        try:
            app.run()
        finally:
            capture.stop(app.reason)
        return session.narrate_end(capture)  # no signal shall change the exit code now
