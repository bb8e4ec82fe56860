# SPDX-License-Identifier: GPL-2.0-only
"""The main screen: lays out all panels and hands each view to them.

The screen knows nothing of recordings or threads. Which panels show is decided by the terminal's
size (style.tcss, by breakpoint classes); on low screens the block at the bottom is one page of
several: ``v`` turns them, and each has a number.
"""

from collections.abc import Callable, Sequence
from typing import Final

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.events import Resize
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from recordings.format.header import Header
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.address_map import AddressMap
from tui.widgets.calls import CallsTable
from tui.widgets.filter_line import FilterLine
from tui.widgets.findings import cost, counted, fit, word
from tui.widgets.headline import Headline
from tui.widgets.line_input import LineInput
from tui.widgets.panel import MUTED, Panel, content, line
from tui.widgets.regimes import RegimesPanel
from tui.widgets.replay_bar import ReplayBar, speed_text
from tui.widgets.span_tree import SpanTree
from tui.widgets.timeline import Timeline
from tui.widgets.timing import Histogram, TimingTable
from tui.widgets.warnings import WarningsPanel

#: Pages of the block at the bottom, as classes of the screen: what a key of their number shows.
PAGES: Final = ("operations", "calls", "sites", "times")


class Tiny(Static):
    """What a terminal too small for panels shows: verdict, position, how to quit."""

    def show(self, view: PlayerView) -> None:
        """Take a view."""
        name, colour = word(view)
        snapshot = view.snapshot
        playing = "live" if view.live else "playing"
        state = "end" if view.at_end else "paused" if view.paused else playing
        speed = "" if view.live else speed_text(view.speed)
        width = max(1, self.size.width)
        self.update(
            content(
                line((f" {name} ", f"bold reverse {colour}")),
                fit([counted(snapshot, final=view.final)], width),
                fit(cost(snapshot), width),
                line(f"{state} {words.seconds(view.elapsed_ns)} {speed}"),
                line(("the panels need 60x20; q quits", MUTED)),
            )
        )


class Dashboard(Screen[None]):
    """Lays out the panels; ``show`` updates them."""

    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (60, "-narrow"), (120, "-wide"), (150, "-broad")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-flat"), (20, "-low"), (28, "-short"), (40, "-tall"), (48, "-high"),
    ]  # fmt: skip
    AUTO_FOCUS = "#calls"

    def __init__(
        self,
        header: Header,
        problems: Sequence[str],
        complete: Callable[[str], list[str]] = lambda _: [],
    ) -> None:
        super().__init__(classes="page-operations")
        self._complete = complete
        self._header = header
        self._problems = problems
        self._page = 0
        self._shows: tuple[Callable[[PlayerView], None], ...] = ()

    def compose(self) -> ComposeResult:
        """Yield the panels in reading order: the verdict first."""
        machine = self._header.machine
        yield Tiny(id="tiny")
        with Vertical(id="panels"):
            yield Headline(self._header, self._problems, id="headline")
            yield AddressMap(machine.window, machine.layout, id="map")
            yield Timeline(id="timeline")
            yield FilterLine(self._complete, id="filter")
            with Container(id="lower"):
                yield SpanTree(id="operations")
                yield CallsTable(id="calls")
                with Container(id="detail"):
                    with Container(id="sites"):
                        yield WarningsPanel(id="warnings")
                        yield RegimesPanel(id="regimes")
                    with Container(id="times"):
                        yield Histogram(id="histogram")
                        yield TimingTable(id="timing")
        yield LineInput(id="ask")
        yield ReplayBar(id="replay")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Collect the panels that show views."""
        panels = [*self.query(Panel), self.query_one(SpanTree), self.query_one(CallsTable)]
        self._shows = (*(panel.show for panel in panels), self.query_one(FilterLine).show)

    def show(self, view: PlayerView) -> None:
        """Hand a view to the panels."""
        for show in self._shows:
            show(view)
        if self.has_class("-slim") or self.has_class("-flat"):
            self.query_one(Tiny).show(view)

    def ask(self, prompt: str, then: Callable[[str], None], *, most: int) -> None:
        """Take a line at the bottom; see ``LineInput.ask``."""
        self.query_one(LineInput).ask(prompt, then, most=most)

    def mark(self, times_ns: tuple[int, ...]) -> None:
        """Show bookmarks on the timeline."""
        self.query_one(Timeline).mark(times_ns)

    def fail(self, message: str) -> None:
        """Show an error where the verdict stands; the last view stays."""
        self.query_one(Headline).fail(message)

    @property
    def has_pages(self) -> bool:
        """Whether the screen is so low that panels take turns."""
        return self.has_class("-low") or self.has_class("-short")

    def check_message_enabled(self, message: Message) -> bool:
        """Drop a size that has changed since.

        Laying out for it tells this screen of that size anew, and so does the true one: two of them
        in turn, without end, where the terminal is resized while the screen is being drawn.
        """
        outdated = isinstance(message, Resize) and message.size != self.app.size
        return not outdated and super().check_message_enabled(message)

    def on_resize(self) -> None:
        """Let the footer show the keys for the new size, once the breakpoint classes are set."""
        self.call_after_refresh(self.refresh_bindings)

    def turn_page(self) -> None:
        """Show the next page at the bottom of a low screen."""
        self.show_page((self._page + 1) % len(PAGES))

    def show_page(self, page: int) -> None:
        """Show a page at the bottom, by its number from 0, and give it the focus."""
        if not 0 <= page < len(PAGES):
            return
        self.remove_class(f"page-{PAGES[self._page]}")
        self._page = page
        self.add_class(f"page-{PAGES[page]}")
        target = self.query_one(f"#{PAGES[page]}")
        if target.focusable:
            target.focus()

    def type_filter(self) -> None:
        """Let a filter be typed."""
        self.query_one(FilterLine).begin()

    def choose_call(self) -> None:
        """Choose the calls table's row, where the page shows it."""
        table = self.query_one(CallsTable)
        if table.display:
            table.action_choose()
