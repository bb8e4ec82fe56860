# SPDX-License-Identifier: GPL-2.0-only
"""The base class of panels: each shows one part of a view and repaints only what changed.

A panel takes its *facts* (plain values) out of the frozen view; while they stay equal nothing
happens. If they differ it draws its lines, plain (text, style) parts, and only lines that
differ from those on screen are rendered again. Text is taken literally: no markup anywhere.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip

from tui.playback.view import PlayerView
from tui.widgets.selecting import Selecting

FactsT = TypeVar("FactsT")

#: One line: (text, style) parts; a style is Textual's, such as "bold $error".
Line = tuple[tuple[str, str], ...]

MUTED = "$text-muted"


def line(*parts: str | tuple[str, str]) -> Line:
    """Return one line; a part without a style gets the panel's."""
    return tuple((part, "") if isinstance(part, str) else part for part in parts)


def content(*lines: Line) -> Content:
    """Return lines as Content, for Textual's own widgets."""
    return Content("\n").join([Content.assemble(*parts) for parts in lines])


def differing(before: Line, after: Line, width: int) -> tuple[int, int]:
    """Return the cells, first and end, in which two drawn lines of ``width`` cells may differ."""
    if not before:
        return 0, width
    first = _same(before, after)
    last = width
    if sum(cell_len(text) for text, _ in before) == sum(cell_len(text) for text, _ in after):
        mirrored = (tuple((text[::-1], style) for text, style in reversed(one))
                    for one in (before, after))  # fmt: skip
        last = min(width, sum(cell_len(text) for text, _ in after) - _same(*mirrored))
    return (first, last) if first < last else (0, width)


def _same(one: Line, other: Line) -> int:
    """Return how many cells at the beginning of two lines are the same."""
    cells = 0
    for (text, style), (other_text, other_style) in zip(one, other, strict=False):
        if style != other_style:
            break
        pairs = enumerate(zip(text, other_text, strict=False))
        shorter = min(len(text), len(other_text))
        common = next((at for at, (left, right) in pairs if left != right), shorter)
        cells += cell_len(text[:common])
        if text != other_text:
            break
    return cells


class Panel(Selecting, Generic[FactsT]):
    """A titled block; subclasses say what they show (``facts``) and how (``draw``)."""

    DEFAULT_CLASSES = "panel"

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._facts: FactsT | None = None
        self._drawn: tuple[Line, ...] = ()
        self._rendered: dict[int, Strip] = {}
        self._palette: dict[str, Style] = {}

    def facts(self, view: PlayerView) -> FactsT:
        """Return what of the view this panel shows, as a value that compares."""
        raise NotImplementedError

    def draw(self, facts: FactsT, width: int, height: int) -> Sequence[Line]:
        """Return the lines for a block of this size; pure, so testable without a screen."""
        raise NotImplementedError

    def titles(self, facts: FactsT) -> None:
        """Set the border titles that depend on the facts."""

    def show(self, view: PlayerView) -> None:
        """Take a view; repaint the lines that it changes."""
        facts = self.facts(view)
        if facts != self._facts:
            self._facts = facts
            self.titles(facts)
            self.redraw()

    def redraw(self) -> None:
        """Draw the facts again, for new facts or a new size."""
        width, height = self.size
        if self._facts is None or not width or not height:
            return
        drawn = tuple(self.draw(self._facts, width, height))[:height]
        drawn += ((),) * (height - len(drawn))
        before, self._drawn = self._drawn, drawn
        changed = [y for y in range(height) if y >= len(before) or before[y] != drawn[y]]
        for y in changed:
            self._rendered.pop(y, None)
        if changed:
            lines = (before[y] if y < len(before) else () for y in changed)
            spans = (differing(old, drawn[y], width) for old, y in zip(lines, changed, strict=True))
            regions = [
                Region(first, y, last - first, 1)
                for (first, last), y in zip(spans, changed, strict=True)
            ]
            self.refresh(*regions)

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._drawn = ()
        self._rendered.clear()
        self.redraw()

    def notify_style_update(self) -> None:
        """Forget what was rendered: the colours may differ."""
        super().notify_style_update()
        self._palette.clear()
        self._rendered.clear()

    def render_line(self, y: int) -> Strip:
        """Return one line, from the cache if it did not change."""
        strip = self._rendered.get(y)
        if strip is None or strip.cell_length != self.size.width:
            parts = self._drawn[y] if y < len(self._drawn) else ()
            segments = [Segment(text, self._style_of(style)) for text, style in parts if text]
            strip = Strip(segments).adjust_cell_length(self.size.width, self._style_of(""))
            self._rendered[y] = strip
        return self.marked(strip, y)

    def _style_of(self, name: str) -> Style:
        style = self._palette.get(name)
        if style is None:
            base = self.visual_style
            style = (base + self.app.stylesheet.parse_style(name) if name else base).rich_style
            self._palette[name] = style
        return style
