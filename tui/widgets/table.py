# SPDX-License-Identifier: GPL-2.0-only
"""A keyed table for rows that keep coming: draws only visible lines, and only if they changed.

Textual's DataTable lays itself out again for every removed row; a list of the newest calls
replaces hundreds a tick. Here rows are the frozen values of the view themselves, found again
by key: a line whose value, cursor, colours and width did not change keeps its strip, a cursor
stays on its row (by key) while rows arrive above it, and the cost of a tick depends on the
lines visible, not on the rows there are.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from recordings.explore.listing import Paged
from tui.widgets import words
from tui.widgets.selecting import Selecting

RowT = TypeVar("RowT")

#: A cell: its text, and the name of a component class that colours it ("" for none).
Cell = tuple[str, str]

_STYLES = ("muted", "strong", "warn", *words.MARKS)


@dataclass(frozen=True, slots=True)
class Column(Generic[RowT]):
    """One column: ``cell`` returns its cell of a row; when narrow, high ``rank`` goes first."""

    title: str
    width: int
    cell: Callable[[RowT], Cell]
    rank: int = 0
    right: bool = False
    grows: bool = False  # takes what is left of the width; text, may be clipped


class KeyedTable(Selecting, Generic[RowT], can_focus=True):
    """Rows newest first. ``Chosen`` is sent for enter or a click on the cursor's row.

    ``Moved`` is sent when somebody puts the cursor elsewhere, not when it follows.
    """

    DEFAULT_CLASSES = "panel"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--cursor",
        *(f"table--{name}" for name in _STYLES),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    class Chosen(Message):
        """A row was chosen."""

        def __init__(self, table: "KeyedTable[RowT]", row: RowT) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> Widget:
            """The table."""
            return self.table

    class Moved(Message):
        """Somebody moved the cursor."""

        def __init__(self, table: "KeyedTable[RowT]") -> None:
            super().__init__()
            self.table = table

    def __init__(
        self,
        columns: Sequence[Column[RowT]],
        key: Callable[[RowT], Hashable],
        begins: Callable[[RowT], int],
        *,
        id: str,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._key = key
        self._begins = begins  # the number of a row's first event
        self._rows: Sequence[RowT] = ()
        self._cursor: Hashable = None  # None follows ``_newest``
        self._at = 0  # where the cursor is
        self._newest = 0
        self._played: int | None = None  # rows that begin at this event or later are muted
        self._top = 0
        self._strips: dict[Hashable, tuple[RowT, bool, bool, Strip]] = {}
        self._fitted: tuple[int, list[tuple[Column[RowT], int]]] = (-1, [])
        self._palette: dict[tuple[str, bool], Style] = {}
        self.drawn = 0  # lines rendered so far, for tests
        self.empty = "none yet"

    # -- rows -------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[RowT], newest: int = 0, played: int | None = None) -> None:
        """Show ``rows``; only lines that differ are drawn again.

        ``newest``: the row that is followed while nobody has moved the cursor. ``played``: rows
        that begin with this event or a later one are muted, as they have not happened yet.
        """
        before, was_at, was_top = self._rows, self._at, self._top
        same = rows is before or (isinstance(rows, Paged) and rows == before)
        if same and (newest, played) == (self._newest, self._played):
            return
        old = self._visible()
        rows = before if same else rows  # what was read of it is kept
        self._rows, self._newest, self._played = rows, newest, played
        at = was_at if same and self._cursor is not None else self._find()
        if not rows or (self._cursor is not None and self._key(rows[at]) != self._cursor):
            self._cursor = None  # its row went away: follow again
            at = self._find()
        self._at = at
        whole = at != was_at and bool(self._strips)
        self._top += at - was_at  # keep the cursor's row where it is on screen
        self._clamp(at)
        new = self._visible()
        if len(rows) != len(before) or was_top != self._top:
            self._refresh_bar()
        width = self.size.width
        lines = enumerate(zip_longest(old, new), 1)
        regions = [Region(0, y, width, 1) for y, (one, other) in lines if one != other]
        if whole:
            self.refresh()
        elif regions:
            self.refresh(*regions)
        if len(self._strips) > 8 * max(1, self._page):
            keep = {self._key(row) for row, _ in new}
            self._strips = {k: v for k, v in self._strips.items() if k in keep}

    def set_columns(self, columns: Sequence[Column[RowT]]) -> None:
        """Show other columns of the same rows."""
        self._columns = tuple(columns)
        self._fitted = (-1, [])
        self._strips.clear()
        self.refresh()

    @property
    def rows(self) -> Sequence[RowT]:
        """The rows as last set, newest first."""
        return self._rows

    @property
    def index(self) -> int:
        """Where the cursor is; at the newest row while it follows that."""
        return self._at

    def _find(self) -> int:
        if self._cursor is None:
            return min(self._newest, max(0, len(self._rows) - 1))
        if isinstance(self._rows, Paged):
            return self._rows.find(self._cursor) or 0
        return next((i for i, row in enumerate(self._rows) if self._key(row) == self._cursor), 0)

    @property
    def chosen_row(self) -> RowT | None:
        """The cursor's row."""
        return self._rows[self.index] if self._rows else None

    # -- keys and mouse ---------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Move the cursor by rows."""
        if not self._rows:
            return
        self.put(max(0, min(len(self._rows) - 1, self.index + by)))

    def put(self, at: int) -> None:
        """Put the cursor on a row."""
        self._put(self._key(self._rows[at]) if at != self._newest else None, at)

    def _put(self, cursor: Hashable, at: int) -> None:
        self._cursor, self._at = cursor, at
        self._clamp(at)
        self.refresh()
        self.post_message(self.Moved(self))

    def action_page(self, by: int) -> None:
        """Move the cursor by screens."""
        self.action_move(by * max(1, self._page - 1))

    def action_choose(self) -> None:
        """Send the cursor's row."""
        row = self.chosen_row
        if row is not None:
            self.post_message(self.Chosen(self, row))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the click is; choose it if somebody has put it there already."""
        at = self._top + event.y - self.gutter.top - 1
        if self.text_selection is not None:
            return  # the end of a drag
        if event.y - self.gutter.top < 1 or not 0 <= at < len(self._rows):
            return
        key = self._key(self._rows[at])
        if key == self._cursor:
            self.action_choose()
            return
        self._put(key, at)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move on."""
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move back."""
        event.stop()
        self.action_move(-3)

    # -- drawing ----------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Forget the drawn lines: the theme changed."""
        super().notify_style_update()
        self._palette.clear()
        self._strips.clear()

    def on_resize(self) -> None:
        """Forget the drawn lines: the columns may differ."""
        self._strips.clear()
        self._clamp(self.index)

    def on_focus(self) -> None:
        """Show the cursor."""
        self._strips.clear()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self._strips.clear()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the height that shows every row, for ``height: auto``."""
        return 1 + max(1, len(self._rows))

    def render_line(self, y: int) -> Strip:
        """Return one line: the header, or a row."""
        return self.marked(self._unmarked(y), y)

    def line_text(self, y: int) -> str:
        """Return a line as it is seen, without the scrollbar."""
        return self._unmarked(y).text[:-1]

    def row_text(self, row: RowT) -> str:
        """Return all cells of a row, shown or not, none cut, with tabs between them."""
        return "\t".join(column.cell(row)[0].strip() for column in self._columns)

    def _unmarked(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            return self._header(width)
        index = self._top + y - 1
        if index >= len(self._rows):
            text = f"  {self.empty}" if y == 1 and not self._rows else ""
            return Strip([Segment(text, self._style("muted"))]).adjust_cell_length(
                width, self._style("")
            )
        row = self._rows[index]
        key = self._key(row)
        state = row, index == self.index, self._muted(row)
        known = self._strips.get(key)
        if known and known[:3] == state and known[3].cell_length == width - 1:
            strip = known[3]
        else:
            strip = self._line(row, width - 1, cursor=state[1], muted=state[2])
            self._strips[key] = (*state, strip)
        return Strip.join([strip, self._bar(y)])

    @property
    def _page(self) -> int:
        return max(0, self.size.height - 1)

    def _visible(self) -> list[tuple[RowT, bool]]:
        """Return the rows on the screen, and whether they are muted."""
        rows = self._rows[self._top : self._top + self._page]
        return [(row, self._muted(row)) for row in rows]

    def _muted(self, row: RowT) -> bool:
        return self._played is not None and self._begins(row) >= self._played

    def _clamp(self, at: int) -> None:
        page = max(1, self._page)
        self._top = max(at - page + 1, min(self._top, at))
        self._top = max(0, min(self._top, len(self._rows) - page))

    def _refresh_bar(self) -> None:
        self.refresh(Region(self.size.width - 1, 1, 1, self._page))

    def _style(self, name: str, *, cursor: bool = False) -> Style:
        """Return the style of a cell, "" for plain; looked up once, as lookups cost."""
        style = self._palette.get((name, cursor))
        if style is None:
            style = self.rich_style
            if cursor:
                style += self.get_component_rich_style("table--cursor", partial=True)
            if name:
                style += self.get_component_rich_style(f"table--{name}", partial=True)
            self._palette[name, cursor] = style
        return style

    def _fit(self, width: int) -> list[tuple[Column[RowT], int]]:
        """Return the columns that fit whole, with their widths; two cells go to the mark."""
        if self._fitted[0] == width:
            return self._fitted[1]
        columns = list(self._columns)
        while len(columns) > 1 and 1 + sum(c.width + 1 for c in columns) > width:
            columns.remove(max(reversed(columns), key=lambda column: column.rank))
        spare = max(0, width - 1 - sum(column.width + 1 for column in columns))
        growing = [column for column in columns if column.grows]
        fitted = [
            (c, c.width + (min(spare // len(growing), c.width) if c.grows else 0)) for c in columns
        ]
        self._fitted = (width, fitted)
        return fitted

    def _header(self, width: int) -> Strip:
        text = " " + "".join(
            (f"{c.title:>{w}}" if c.right else f"{c.title:<{w}}") + " "
            for c, w in self._fit(width - 1)
        )
        style = self._style("header")
        return Strip([Segment(text, style)]).adjust_cell_length(width, style)

    def _line(self, row: RowT, width: int, *, cursor: bool, muted: bool) -> Strip:
        self.drawn += 1
        cursor = cursor and self.has_focus
        base = self._style("", cursor=cursor)
        segments = [Segment(">" if cursor else " ", base)]
        for column, wide in self._fit(width):
            text, name = column.cell(row)
            if cell_len(text) > wide:
                text = words.clip(text, wide)
            pad = " " * (wide - cell_len(text))
            text = pad + text if column.right else set_cell_size(text, wide)
            style = self._style("muted" if muted else name, cursor=cursor)
            segments.append(Segment(text + " ", style))
        return Strip(segments).adjust_cell_length(width, base)

    def _bar(self, y: int) -> Strip:
        """The cell of the scrollbar on line ``y``."""
        page, total = self._page, len(self._rows)
        if total <= page or page < 1:
            return Strip([Segment(" ", self._style(""))], 1)
        size = max(1, page * page // total)
        start = (page - size) * self._top // max(1, total - page)
        inside = start <= y - 1 < start + size
        style = self._style("strong" if inside else "muted")
        return Strip([Segment("┃" if inside else "│", style)], 1)
