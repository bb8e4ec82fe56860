# SPDX-License-Identifier: GPL-2.0-only
"""Text selected with the mouse, on widgets that draw their lines themselves.

Promises: what is selected is the text that is seen, without the blanks at the ends of lines; only a
drag selects, so that clicks mean what they mean without it.
"""

from rich.cells import cell_len
from rich.segment import Segment
from textual.geometry import Offset
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget


class Selecting(Widget):
    """A widget whose lines (``render_line``) can be selected; subclasses hand them to ``marked``.

    The screen asks ``offset_at`` where in the text the pointer is (``Dashboard``).
    """

    def line_text(self, y: int) -> str:
        """Return a line as it is seen."""
        return self.render_line(y).text

    def offset_at(self, x: int, y: int) -> Offset:
        """Return the place in the text that a cell of the content belongs to."""
        y = max(0, min(y, self.size.height - 1))
        text = self.line_text(y) if self.size.height else ""
        cells = place = 0
        while place < len(text) and cells + cell_len(text[place]) <= x:
            cells += cell_len(text[place])
            place += 1
        return Offset(place, y)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the text that is selected."""
        lines = [self.line_text(y).rstrip() for y in range(self.size.height)]
        text = selection.extract("\n".join(line or " " for line in lines))
        return "\n".join(line.rstrip() for line in text.split("\n")), "\n"

    def text_select_all(self) -> None:
        """Select nothing: a second click chooses what the first one was on."""

    @property
    def select_container(self) -> Widget:
        """What a third click selects: nothing either."""
        return self

    def marked(self, strip: Strip, y: int) -> Strip:
        """Return a line with what of it is selected in the colour of selections."""
        selection = self.text_selection
        span = selection.get_span(y) if selection is not None else None
        if span is None:
            return strip
        text = strip.text
        first, end = span[0], len(text) if span[1] < 0 else span[1]
        low, high = cell_len(text[:first]), cell_len(text[:end])
        colour = self.screen.get_component_rich_style("screen--selection", partial=True)
        chosen = Segment.apply_style(strip.crop(low, high), post_style=colour)
        return Strip.join([strip.crop(0, low), Strip(chosen), strip.crop(high)])
