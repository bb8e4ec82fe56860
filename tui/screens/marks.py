# SPDX-License-Identifier: GPL-2.0-only
"""The bookmarks: a list to go to one, or to delete it."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from recordings.explore.bookmarks import Mark
from recordings.wording.escape import printable
from tui.widgets import words
from tui.widgets.panel import MUTED, content, line


def told(mark: Mark, first_ns: int) -> Content:
    """Return a mark's line: when, where, what was said, and the filter that was on."""
    since = words.seconds(mark.time_ns - first_ns)
    parts: list[tuple[str, str]] = [(f"{since:>12}", "bold"), (f"  {mark.row:>9,}", MUTED)]
    if mark.note:
        parts.append((f"  {printable(mark.note)}", ""))
    if mark.filter:
        parts.append((f"  / {printable(mark.filter)}", "$accent"))
    return content(line(*parts))


class MarksScreen(ModalScreen[Mark | None]):
    """A modal; enter gives the mark, escape ``None``. ``delete`` returns those that are left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,B,apostrophe", "dismiss(None)", "Close"),
        Binding("d,delete", "delete", "Delete"),
        Binding("k", "move('up')", "Up", show=False),
        Binding("j", "move('down')", "Down", show=False),
    ]

    def __init__(
        self, marks: tuple[Mark, ...], first_ns: int, delete: Callable[[Mark], tuple[Mark, ...]]
    ) -> None:
        super().__init__()
        self._marks = marks
        self._first_ns = first_ns
        self._delete = delete

    def compose(self) -> ComposeResult:
        """Yield the list."""
        box = OptionList(classes="modal", markup=False)
        box.border_title = Content("Bookmarks: time, event, note / filter")
        box.border_subtitle = "⏎ goes there · d deletes · esc closes"
        yield box

    def on_mount(self) -> None:
        """Fill the list."""
        self._fill(0)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go to a mark."""
        if event.option_index < len(self._marks):
            self.dismiss(self._marks[event.option_index])

    def action_delete(self) -> None:
        """Delete the mark under the cursor."""
        at = self.query_one(OptionList).highlighted
        if at is not None and at < len(self._marks):
            self._marks = self._delete(self._marks[at])
            self._fill(at)

    def action_move(self, way: str) -> None:
        """Move the cursor."""
        box = self.query_one(OptionList)
        (box.action_cursor_up if way == "up" else box.action_cursor_down)()

    def _fill(self, at: int) -> None:
        box = self.query_one(OptionList)
        box.clear_options()
        none = Option(content(line(("none yet: b sets one", MUTED))), disabled=True)
        box.add_options([Option(told(mark, self._first_ns)) for mark in self._marks] or [none])
        box.highlighted = min(at, len(self._marks) - 1) if self._marks else None
        box.focus()
