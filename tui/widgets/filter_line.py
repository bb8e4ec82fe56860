# SPDX-License-Identifier: GPL-2.0-only
"""The filter's line: what is typed after ``/``, and how much it lets through or why it is none.

It takes no room while there is nothing to say.
"""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Static

from recordings.wording.escape import printable
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.line_input import LineInput
from tui.widgets.panel import MUTED, content, line

#: Characters of a filter at most: what is pasted beyond is left out.
LONGEST = 1000
PROMPT = "comm:rmmod regime:above took>1ms !site:mmu.c   (→ completes, enter)"


class Completions(Suggester):
    """Suggests what the last word may become."""

    def __init__(self, complete: Callable[[str], list[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        """Return the first line that begins as ``value`` does."""
        lines = self._complete(value) if value else []
        return next((line for line in lines if line.startswith(value)), None)


class FilterLine(Vertical):
    """One line: the filter as it is, or the box where it is typed."""

    class Typed(Message):
        """A filter was typed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, complete: Callable[[str], list[str]], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._complete = complete
        #: The filter, what matches, all, percent of these that are counted, why it is none.
        self._shown = ("", 0, "", 100, "")
        self._typed = ""  # last, whether it was a filter or not

    def compose(self) -> ComposeResult:
        """Yield both, of which one shows."""
        yield Static(id="filter-state")
        box = LineInput(id="filter-box")
        box.suggester = Completions(self._complete)
        yield box

    @property
    def typing(self) -> bool:
        """Whether somebody is typing a filter."""
        return self.query_one(LineInput).asked

    def begin(self) -> None:
        """Let a filter be typed, beginning with the present one, or with what was none."""
        text, *_, error = self._shown
        box = self.query_one(LineInput)
        box.ask(PROMPT, self._take, most=LONGEST)
        box.value = self._typed if error else text
        box.select_all()
        self.query_one("#filter-state").display = False
        self.display = True

    def _take(self, text: str) -> None:
        self._typed = text.strip()
        self.post_message(self.Typed(self._typed))

    def on_line_input_closed(self) -> None:
        """Show the filter as it is."""
        self.query_one("#filter-state").display = True
        self._draw()

    def show(self, view: PlayerView) -> None:
        """Take a view: its filter."""
        listed = view.listed
        counted = int(100 * listed.counted)
        total = words.calls(listed.total)
        if listed.faults:
            total = words.calls(listed.total - listed.faults)
            total += f" and {words.oopses(listed.faults)}"
        shown = (listed.filter, listed.matching, total, counted, listed.error)
        if shown != self._shown:
            self._shown = shown
            if not self.typing:
                self._draw()

    def _draw(self) -> None:
        text, matching, total, percent, error = self._shown
        self.display = bool(text or error)
        state = self.query_one("#filter-state", Static)
        parts: list[str | tuple[str, str]] = [("/ ", MUTED), (printable(text), "bold $primary")]
        if error:
            parts += ["  ", (printable(error), "$error")]
        if text:
            counted = f"{words.count(matching)} of {total} match"
            parts += ["  ", (counted, "bold")]
            parts += [(f"  counting {percent} %", "$primary")] if percent < 100 else []
        if text and not error:  # which leaves no room for it on a narrow screen
            parts += [("  esc clears", MUTED)]
        state.update(content(line(*parts)))
