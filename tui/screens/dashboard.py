# SPDX-License-Identifier: GPL-2.0-only
"""The main screen: lays out all panels and hands each view to them.

The screen knows nothing of recordings or threads. Which panels show is decided by the terminal's
size (style.tcss, by breakpoint classes); on low screens the block at the bottom is one page of
several: ``v`` turns them, and each has a number.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.errors import NoWidget
from textual.events import Resize
from textual.geometry import Offset
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static

from recordings.explore.listing import Branch
from recordings.format.header import Header
from recordings.ledger.snapshot import Call
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.address_map import AddressMap
from tui.widgets.call_detail import CallDetail
from tui.widgets.calls import CallsTable
from tui.widgets.filter_line import FilterLine
from tui.widgets.findings import answer, cost, fit, word
from tui.widgets.headline import Headline
from tui.widgets.line_input import LineInput
from tui.widgets.panel import MUTED, Panel, content, line
from tui.widgets.regimes import RegimesPanel
from tui.widgets.replay_bar import ReplayBar, speed_text
from tui.widgets.section_heat import Heat, SectionHeat
from tui.widgets.selecting import Selecting
from tui.widgets.span_tree import SpanTree
from tui.widgets.table import KeyedTable
from tui.widgets.timeline import Timeline
from tui.widgets.timing import Histogram, TimingTable
from tui.widgets.warnings import WarningsPanel

#: Pages of the block at the bottom, as classes of the screen: what a key of their number shows.
PAGES: Final = ("operations", "calls", "sites", "times", "call")


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
                fit(answer(snapshot, final=view.final), width),
                fit(cost(snapshot), width),
                line(f"{state} {words.seconds(view.elapsed_ns)} {speed}"),
                line(("the panels need 60x20; q quits", MUTED)),
            )
        )


class Dashboard(Screen[None]):
    """Lays out the panels; ``show`` updates them."""

    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (60, "-narrow"), (120, "-wide"), (150, "-broad")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-flat"), (20, "-low"), (28, "-short"), (40, "-tall"), (48, "-high"), (62, "-vast"),
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
        self._heat: str | None = None  # what was chosen for the sections; None: nothing yet
        self._shows: tuple[Callable[[PlayerView], None], ...] = ()
        self._view: PlayerView | None = None
        self._moved: KeyedTable[Any] | None = None  # the table that was moved last

    def compose(self) -> ComposeResult:
        """Yield the panels in reading order: the verdict first."""
        machine = self._header.machine
        yield Tiny(id="tiny")
        with Vertical(id="panels"):
            yield Headline(self._header, self._problems, id="headline")
            yield AddressMap(machine.window, machine.layout, id="map")
            yield Timeline(id="timeline")
            yield SectionHeat(id="sections")
            yield FilterLine(self._complete, id="filter")
            with Container(id="lower"):
                yield SpanTree(id="operations")
                yield CallsTable(id="calls")
                with Container(id="detail"):
                    yield CallDetail(self._header, self._chosen, id="call")
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
        detail = self.query_one(CallDetail)
        self._moved = calls = self.query_one(CallsTable)
        panels = [panel.show for panel in self.query(Panel) if panel is not detail]
        tables = (self.query_one(SpanTree).show, calls.show)
        # The detail comes last: it is of what the tables have chosen in the same view.
        self._shows = (*panels, *tables, self.query_one(FilterLine).show, detail.show)

    def show(self, view: PlayerView) -> None:
        """Hand a view to the panels."""
        self._view = view
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

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """Return the widget at a cell and the place in its text, for selections."""
        try:
            widget, _ = self.get_widget_at(x, y)
        except NoWidget:
            return None, None
        if not isinstance(widget, Selecting):
            return super().get_widget_and_offset_at(x, y)
        inside = widget.content_region
        return widget, widget.offset_at(x - inside.x, y - inside.y)

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
            self._enter(target)
            target.focus()

    def focus_next(self, selector: str | type[Widget] = "*") -> Widget | None:
        """Give the next widget the focus."""
        return self._enter(super().focus_next(selector))

    def focus_previous(self, selector: str | type[Widget] = "*") -> Widget | None:
        """Give the one before the focus."""
        return self._enter(super().focus_previous(selector))

    def _enter(self, widget: Widget | None) -> Widget | None:
        if isinstance(widget, SpanTree):
            widget.entered = True
        return widget

    def turn_heat(self) -> None:
        """Colour the sections by the next there is, or hide them: then the first again."""
        shown = self._heat
        if shown is None:
            shown = Heat.REGIME if self.query_one(SectionHeat).display else ""
        turns = (*Heat, "")
        self._heat = turns[(turns.index(shown) + 1) % len(turns)]
        self.set_class(bool(self._heat), "heat")
        self.set_class(not self._heat, "no-heat")
        if self._heat:
            self.query_one(SectionHeat).paint(Heat(self._heat))

    def type_filter(self) -> None:
        """Let a filter be typed."""
        self.query_one(FilterLine).begin()

    # -- the call that is chosen --------------------------------------------------------------

    def _chosen(self) -> Call | Branch | None:
        """Return the row under the cursor of the table that was moved last."""
        row: Call | Branch | None = None if self._moved is None else self._moved.chosen_row
        return row

    def on_keyed_table_moved(self, message: KeyedTable.Moved) -> None:
        """Show the row that the cursor is on now."""
        self._moved = message.table
        if self._view is not None:
            self.query_one(CallDetail).show(self._view)

    def neighbour(self, by: int) -> Call | Branch | None:
        """Move the calls table's cursor to the call before or after in time; return it."""
        row, view, calls = self._chosen(), self._view, self.query_one(CallsTable)
        if row is None or view is None:
            return None
        event = row.span.row if isinstance(row, Branch) else row.row
        at = view.listed.calls.neighbour(event, by)
        if at is None or at >= len(calls.rows):
            return None
        calls.put(at)
        self._moved = calls
        return calls.chosen_row

    def choose(self) -> None:
        """Send the row that the detail shows, as a table does, where one of the two is seen."""
        row = self._chosen()
        if row is None or self._moved is None:
            return
        if self._moved.display or self.query_one(CallDetail).display:
            self._moved.post_message(KeyedTable.Chosen(self._moved, row))
