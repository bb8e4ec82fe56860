# SPDX-License-Identifier: GPL-2.0-only
"""One line to type in, out of sight until something is asked."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.widget import Widget


class LineInput(Input):
    """Asks for one line at a time; what had the focus gets it back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "close", show=False)]

    class Closed(Message):
        """The line is out of sight again."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id, compact=True, select_on_focus=False)
        self._then: Callable[[str], None] | None = None
        self._focused_before: Widget | None = None

    def ask(self, prompt: str, then: Callable[[str], None], *, most: int) -> None:
        """Take a line of at most ``most`` characters and give it to ``then``; escape: do not."""
        self.value, self.placeholder, self.max_length = "", prompt, most
        self._then = then
        if self.screen.focused is not self:
            self._focused_before = self.screen.focused
        self.add_class("-asked")
        self.focus()

    @property
    def asked(self) -> bool:
        """Whether it waits for a line."""
        return self.has_class("-asked")

    def action_close(self) -> None:
        """Hide, and forget what was asked."""
        self._then = None
        self.remove_class("-asked")
        self.screen.set_focus(self._focused_before)
        self.post_message(self.Closed())

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Say that a slash is text, too, whose name Textual does not know: no key of ours works."""
        return key == "slash" or super().check_consume_key(key, character)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Give the line away."""
        event.stop()
        then, text = self._then, event.value
        self.action_close()
        if then is not None:
            then(text)
