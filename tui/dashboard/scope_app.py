# SPDX-License-Identifier: GPL-2.0-only
"""What a replay and a live screen have in common: keys, the filter, bookmarks, and a player.

The application owns a player in a thread worker; keys become commands for it, and each view it
publishes becomes one message, which replaces an older one still waiting. No event is read here or
in the widgets.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from textual import on, work
from textual.app import App
from textual.binding import Binding
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from recordings.explore.bookmarks import MOST_NOTE, Bookmarks, Mark, MarksError
from recordings.explore.filter import complete, toggled
from recordings.explore.goto import FORMS
from recordings.explore.listing import Branch
from recordings.explore.span_table import SpanTable
from recordings.format.header import Header
from recordings.ledger.snapshot import Call
from recordings.wording.escape import printable
from tui.dashboard.terminal import (
    HungUp,
    SignalWaker,
    TakesOutput,
    TerminalDriver,
    WantsOut,
)
from tui.dashboard.themes import DARK, FALLBACK, LIGHT
from tui.playback.player import PlayerView
from tui.screens.dashboard import PAGES, Dashboard
from tui.screens.explain import ExplainScreen
from tui.screens.help import HelpScreen
from tui.screens.marks import MarksScreen
from tui.screens.probes import ProbesScreen
from tui.widgets import words
from tui.widgets.asked import FilterWanted, SeekWanted
from tui.widgets.call_facts import CallFacts, facts_of
from tui.widgets.filter_line import FilterLine
from tui.widgets.table import KeyedTable

#: What a press of ← → seeks, as a part of the recording; with shift a tenth of it.
SEEK: Final = 1 / 20
#: Characters of what can be typed behind ``g``: a line of dmesg.
MOST_PLACE: Final = 500
#: Exit code when reading the recording failed midway: as for unreadable input.
EXIT_ERROR: Final = 2
#: Exit code when the terminal has gone away: as for SIGHUP.
EXIT_HUNG_UP: Final = 128 + signal.SIGHUP


#: The last bindings of every application.
COMMON_KEYS: Final = (
    Binding("enter", "explain", "explain", show=False),
    Binding("slash", "filter", "filter", key_display="/"),
    Binding("escape", "let('')", "no filter", show=False),
    Binding("s", "do('order')", "sort", show=False),
    Binding("left_square_bracket", "neighbour(-1)", "call before", show=False),
    Binding("right_square_bracket", "neighbour(1)", "call after", show=False),
    Binding("v", "page", "view"),
    *(
        Binding(str(number), f"page({number})", name, show=False)
        for number, name in enumerate(PAGES, 1)
    ),
    Binding("y", "copy_row", "copy", show=False),
    Binding("h", "heat", "sections", show=False),
    Binding("g", "goto", "go to", show=False),
    Binding("b", "mark", "bookmark", show=False),
    Binding("B,apostrophe", "marks", "bookmarks", show=False),
    Binding("p", "probes", "probes", show=False),
    Binding("t", "theme", "dark/light", show=False),
    Binding("question_mark", "help", "help", key_display="?"),
    Binding("q", "quit", "quit"),
    # What is selected is copied, as anywhere; else as in any monitor.
    Binding("ctrl+c", "copy_or_quit", "quit", show=False, priority=True),
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

    def action_heat(self) -> None:
        """Colour the sections by another thing, or hide them."""
        self.dashboard.turn_heat()

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

    def action_do(self, command: str) -> None:
        """Have the player do something that needs no arguments."""
        self.send(lambda player: getattr(player, command)())

    def action_seek(self, steps: float) -> None:
        """Go back or forward in time."""
        self.send(lambda player: player.seek_by(steps * SEEK))

    def on_seek_wanted(self, message: SeekWanted) -> None:
        """Go to the moment that was clicked."""
        self.send(lambda player: player.seek_time(message.time_ns))

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
        """Explain the call that is shown in detail: enter where no table has the focus."""
        self.dashboard.choose()

    def action_neighbour(self, by: int) -> None:
        """Put the calls table's cursor on the call before in time, or after; time stays."""
        self.dashboard.neighbour(by)

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
        row: Any = message.row
        facts = self._facts(row)
        if facts is not None and facts.span.regime is not None:
            neighbour = self.dashboard.neighbour
            self.push_screen(
                ExplainScreen(self.header, facts, lambda by: self._facts(neighbour(by)))
            )

    def _facts(self, row: Call | Branch | None) -> CallFacts | None:
        return None if self.view is None else facts_of(self.header, row, self.view)

    async def action_copy_or_quit(self) -> None:
        """Copy what is selected; leave where nothing is."""
        typed = self.focused.selected_text if isinstance(self.focused, Input) else ""
        text = typed or self.screen.get_selected_text()
        if not text:
            await self.action_quit()
            return
        self.copy_to_clipboard(text)
        self.screen.clear_selection()
        self.tell(f"copied {words.calls(len(text), 'character')}")

    def action_copy_row(self) -> None:
        """Copy the row of the table that has the focus."""
        table = self.focused
        if isinstance(table, KeyedTable) and (row := table.chosen_row) is not None:
            self.copy_to_clipboard(table.row_text(row))
            self.tell("copied the row")

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
        """Leave, whatever is open; with a selection the first Ctrl-C is for that."""
        await self.action_copy_or_quit()

    @on(Driver.SignalResume)
    @on(TakesOutput)
    def draw_again(self) -> None:
        """Draw all of the screen: after SIGCONT it is empty, after a stall lacks something."""
        self.refresh(layout=True)

    def on_hung_up(self, _: HungUp) -> None:
        """End as SIGHUP would."""
        self.exit(return_code=EXIT_HUNG_UP)
