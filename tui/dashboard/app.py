# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard application: turns keys into commands and shows the player's views.

``run`` is the entry point for a recording (``tui.dashboard.live_app`` has the one for live events).
The application owns a player in a thread worker; keys become commands for it, and each view it
publishes becomes one message, which replaces an older one still waiting. No event is read here or
in the widgets.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal, Protocol

from textual import on, work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.worker import Worker, WorkerState

from recordings.explore.bookmarks import MOST_NOTE, Bookmarks, Mark, MarksError
from recordings.explore.filter import complete, toggled
from recordings.explore.goto import FORMS
from recordings.explore.listing import Branch
from recordings.explore.span_table import SpanTable
from recordings.explore.tally import call_of
from recordings.format.header import Header
from recordings.format.reader import Recording
from recordings.ledger.snapshot import Call
from recordings.samples import SAMPLES
from recordings.wording.escape import printable
from tui.dashboard.terminal import (
    HungUp,
    SignalWaker,
    TakesOutput,
    TerminalDriver,
    WantsOut,
    ending_signals_give_back,
)
from tui.dashboard.themes import DARK, FALLBACK, LIGHT
from tui.playback.player import MAX_SPEED, Command, Player, PlayerView, Replay
from tui.screens.dashboard import PAGES, Dashboard
from tui.screens.explain import ExplainScreen
from tui.screens.help import KEYS, HelpScreen
from tui.screens.marks import MarksScreen
from tui.screens.probes import ProbesScreen
from tui.widgets.asked import FilterWanted, SeekWanted
from tui.widgets.filter_line import FilterLine
from tui.widgets.table import KeyedTable

#: What a key press of ← → and of shift+← → seeks, as parts of the recording.
SEEK: Final = 1 / 20
SEEK_FINE: Final = 1 / 200
#: Characters of what can be typed behind ``g``: a line of dmesg.
MOST_PLACE: Final = 500
#: Exit code when reading the recording failed midway: as for unreadable input.
EXIT_ERROR: Final = 2
#: Exit code when the terminal has gone away: as for SIGHUP.
EXIT_HUNG_UP: Final = 128 + signal.SIGHUP

#: Where to begin: trace seconds after the first event, or the end.
Start = float | Literal["end"]

_SEEK_KEYS = Binding.Group("seek", compact=True)
_HIT_KEYS = Binding.Group("hit", compact=True)


#: The last bindings of every application.
COMMON_KEYS: Final = (
    Binding("enter", "explain", "explain", show=False),
    Binding("slash", "filter", "filter", key_display="/"),
    Binding("escape", "let('')", "no filter", show=False),
    Binding("s", "do('order')", "sort", show=False),
    Binding("v", "page", "view"),
    *(
        Binding(str(number), f"page({number})", name, show=False)
        for number, name in enumerate(PAGES, 1)
    ),
    Binding("g", "goto", "go to", show=False),
    Binding("b", "mark", "bookmark", show=False),
    Binding("B,apostrophe", "marks", "bookmarks", show=False),
    Binding("p", "probes", "probes", show=False),
    Binding("t", "theme", "dark/light", show=False),
    Binding("question_mark", "help", "help", key_display="?"),
    Binding("q", "quit", "quit"),
    Binding("ctrl+c", "quit", "quit", show=False, priority=True),  # as in any monitor
)


class ViewPublished(Message):
    """The player published a view."""

    def __init__(self, view: PlayerView) -> None:
        super().__init__()
        self.view = view

    def can_replace(self, message: Message) -> bool:
        """Let a newer view replace one not yet shown."""
        return isinstance(message, ViewPublished)


class Runner(Protocol):
    """What an application needs of its player, whatever it plays."""

    def run(self, publish: Callable[[PlayerView], None]) -> None:
        """Publish views until it is stopped."""
        ...

    def stop(self) -> None:
        """End ``run``."""
        ...


class ScopeApp(App[None]):
    """Shows the views of a player. ``return_code`` is 0, or 2 after an error in the player.

    ``crash``: an error in drawing that ended it, ``None`` as a rule.
    """

    CSS_PATH = "style.tcss"
    TITLE = "vmemscope"
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self, header: Header, problems: Sequence[str], keys: Sequence[tuple[str, str]]
    ) -> None:
        super().__init__()
        self.header = header
        self.view: PlayerView | None = None
        self.failure: str | None = None
        self.crash: Exception | None = None
        self.dashboard = Dashboard(header, problems, self.complete)
        self.bookmarks = Bookmarks(None, "")
        self._keys = keys
        self._runner: Runner | None = None
        self._waker: SignalWaker | None = None
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        if "TEXTUAL_THEME" not in os.environ:
            self.theme = DARK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return our own variables for themes that do not define them."""
        return FALLBACK

    def get_driver_class(self) -> type[Driver]:
        """Return Textual's driver, or ours in place of LinuxDriver."""
        chosen = super().get_driver_class()
        return TerminalDriver if chosen is LinuxDriver else chosen

    def get_default_screen(self) -> Dashboard:
        """Return the dashboard."""
        return self.dashboard

    # -- the player -------------------------------------------------------------------------

    def start_player(self, runner: Runner) -> None:
        """Show what ``runner`` publishes from now on."""
        self._runner = runner
        self._play(runner)

    @work(thread=True, exclusive=True, exit_on_error=False, group="player")
    def _play(self, runner: Runner) -> None:
        """Run the player in its thread."""
        runner.run(self._publish)

    def on_load(self) -> None:
        """Have signals heard while nothing happens."""
        self._waker = SignalWaker(asyncio.get_running_loop())

    def on_unmount(self) -> None:
        """End the player's thread."""
        if self._waker is not None:
            self._waker.close()
        if self._runner is not None:
            self._runner.stop()

    def _publish(self, view: PlayerView) -> None:
        self.post_message(ViewPublished(view))

    def on_view_published(self, message: ViewPublished) -> None:
        """Show a view."""
        self.view = message.view
        self.dashboard.show(message.view)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show that the player failed; the last view stays on the screen."""
        if event.state is WorkerState.ERROR and event.worker.group == "player":
            error = event.worker.error
            self.failure = str(error) or type(error).__name__
            self.dashboard.fail(self.failure)

    # -- keys -------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer ``page`` only where there are pages."""
        return action != "page" or bool(parameters) or self.dashboard.has_pages

    def action_page(self, number: int | None = None) -> None:
        """Turn the page of a low screen, or show one by its number from 1."""
        if number is None:
            self.dashboard.turn_page()
        else:
            self.dashboard.show_page(number - 1)

    def action_theme(self) -> None:
        """Change between dark and light."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    def action_help(self) -> None:
        """Show the help."""
        self.push_screen(HelpScreen(self._keys))

    def action_probes(self) -> None:
        """Show the probes."""
        self.push_screen(ProbesScreen(self.header))

    def send(self, command: Callable[[Any], None]) -> None:
        """Have the player do something, whichever it is."""
        raise NotImplementedError

    def action_goto(self) -> None:
        """Ask where to go, and go there."""
        self.dashboard.ask(f"go to: {FORMS}", self._goto, most=MOST_PLACE)

    def _goto(self, text: str) -> None:
        if text.strip():
            self.send(lambda player: player.goto(text))

    def action_mark(self) -> None:
        """Set a bookmark where the position is now, with a note."""
        view = self.view
        if view is None or view.time_ns is None:
            return
        row, time_ns, text = view.row, view.time_ns, self.filter_text
        self.dashboard.ask(
            "bookmark: a note, or nothing; enter sets it",
            lambda note: self._set_mark(Mark(row, time_ns, note, text)),
            most=MOST_NOTE,
        )

    def _set_mark(self, mark: Mark) -> None:
        self._change_marks(lambda marks: marks.add(mark))

    def _delete_mark(self, mark: Mark) -> tuple[Mark, ...]:
        self._change_marks(lambda marks: marks.delete(mark.row))
        return self.bookmarks.marks

    def _change_marks(self, change: Callable[[Bookmarks], None]) -> None:
        try:
            change(self.bookmarks)
            note = "" if self.bookmarks.path else "kept only until you leave"
        except MarksError as error:
            note = str(error)
        self.tell(note)
        self.show_marks()

    def show_marks(self) -> None:
        """Draw the bookmarks on the timeline."""
        self.dashboard.mark(tuple(mark.time_ns for mark in self.bookmarks.marks))

    def tell(self, text: str) -> None:
        """Say something in the bar at the bottom."""
        line = printable(text)
        self.send(lambda player: player.say(line))

    def action_marks(self) -> None:
        """List the bookmarks."""
        first = self.view.first_ns if self.view else None
        screen = MarksScreen(self.bookmarks.marks, first or 0, self._delete_mark)
        self.push_screen(screen, self._goto_mark)

    def _goto_mark(self, mark: Mark | None) -> None:
        if mark is not None:
            self.send(lambda player: player.seek_row(mark.row))
            self.action_let(mark.filter)

    def action_explain(self) -> None:
        """Explain the calls table's row: enter where no table has the focus."""
        self.dashboard.choose_call()

    # -- the filter -------------------------------------------------------------------------

    @property
    def filter_text(self) -> str:
        """The filter that is on."""
        return self.view.listed.filter if self.view else ""

    @property
    def table(self) -> SpanTable | None:
        """All calls that were read; ``None``: nobody keeps them."""
        return None

    def complete(self, text: str) -> list[str]:
        """Return the filters that ``text`` may become."""
        return [] if self.table is None else complete(text, self.table)

    def action_filter(self) -> None:
        """Let a filter be typed."""
        self.dashboard.type_filter()

    def action_let(self, text: str) -> None:
        """Show only what matches a filter."""
        self.send(lambda player: player.let(text))

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        """Show only what matches what was typed."""
        self.action_let(message.text)

    def on_filter_wanted(self, message: FilterWanted) -> None:
        """Add to the filter what was clicked, or take it out of it."""
        self.action_let(toggled(self.filter_text, message.text))

    def on_keyed_table_chosen(self, message: KeyedTable.Chosen) -> None:
        """Explain a call."""
        row: object = message.row
        if isinstance(row, Branch) and row.span.regime is not None:
            start, end, layout = row.span.start, row.span.end, self.header.machine.layout
            region = None
            if layout is not None and start is not None and end is not None:
                region = layout.lands_on(start, end)
            row = call_of(row.span, region)
        if isinstance(row, Call):
            first = self.view.first_ns if self.view else None
            self.push_screen(ExplainScreen(self.header, row, first or 0))

    async def action_quit(self) -> None:
        """Leave."""
        self.exit(return_code=EXIT_ERROR if self.failure else 0)

    def _handle_exception(self, error: Exception) -> None:
        """Keep what ends the application: ``run`` raises it, so that it is told in one place."""
        self.crash = self.crash or error
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        """Print no traceback of Textual's own."""

    async def on_wants_out(self, _: WantsOut) -> None:
        """Leave, whatever is open."""
        await self.action_quit()

    @on(Driver.SignalResume)
    @on(TakesOutput)
    def draw_again(self) -> None:
        """Draw all of the screen: after SIGCONT it is empty, after a stall lacks something."""
        self.refresh(layout=True)

    def on_hung_up(self, _: HungUp) -> None:
        """End as SIGHUP would."""
        self.exit(return_code=EXIT_HUNG_UP)


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
        Binding("shift+left", "seek_fine(-1)", "finer", show=False),
        Binding("shift+right", "seek_fine(1)", "finer", show=False),
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
            self.player.send(partial(_seek_time, time_ns=first + round(self._start * 1e9)))
        self._open_marks()
        self.start_player(self.player)

    @property
    def table(self) -> SpanTable | None:
        """All calls that were read."""
        return None if self.player is None else self.player.replay.index.table

    def send(self, command: Command) -> None:
        """Have the player do something."""
        if self.player is not None:
            self.player.send(command)

    def action_do(self, command: str) -> None:
        """Send the player a command without arguments."""
        self.send(getattr(Replay, command))

    def action_seek(self, direction: int) -> None:
        """Seek."""
        self.send(partial(_seek, fraction=direction * SEEK))

    def action_seek_fine(self, direction: int) -> None:
        """Seek finely."""
        self.send(partial(_seek, fraction=direction * SEEK_FINE))

    def action_step(self, rows: int) -> None:
        """Move by single events."""
        self.send(partial(_step, rows=rows))

    def on_seek_wanted(self, message: SeekWanted) -> None:
        """Go to the moment that was clicked."""
        self.send(partial(_seek_time, time_ns=message.time_ns))


def _seek(replay: Replay, *, fraction: float) -> None:
    replay.seek_by(fraction)


def _seek_time(replay: Replay, *, time_ns: int) -> None:
    replay.seek_time(time_ns)


def _step(replay: Replay, *, rows: int) -> None:
    replay.step(rows)


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
