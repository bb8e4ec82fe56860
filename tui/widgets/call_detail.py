# SPDX-License-Identifier: GPL-2.0-only
"""The call under the cursor, in full: of the calls' list or of the tree, whichever was moved last.

Promises: it reads nothing and draws nothing while neither the cursor's row nor the numbers change.
A click asks for the full explanation.
"""

import re
from collections.abc import Callable
from textwrap import wrap

from rich.cells import cell_len
from textual.content import Content

from recordings.explore.listing import Branch
from recordings.format.header import Header
from recordings.ledger.snapshot import Call, Snapshot
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.call_facts import CallFacts, facts_of, fields, title
from tui.widgets.panel import MUTED, Line, Panel, line
from tui.widgets.words import GLUE

#: Cells of the names, and of a column that is worth having beside another.
_NAME, _COLUMN = 9, 34
#: The space before a unit, where no line may end.
_UNIT = re.compile(r"(?<=\d) (?=(?:ns|µs|ms|s|(?:[KMGTPE]i)?B|%)(?!\w))")


class CallDetail(Panel[tuple[CallFacts, ...]]):
    """A line or two for each field; in two columns where there is more width than height."""

    def __init__(
        self,
        header: Header,
        chosen: Callable[[], Call | Branch | None],
        *,
        id: str,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self._header = header
        self._chosen = chosen
        self._row: Call | Branch | None = None
        self._snapshot: Snapshot | None = None
        self.border_title = Content("Call")
        self.border_subtitle = Content("⏎ explains · [ ] neighbours")

    def show(self, view: PlayerView) -> None:
        """Take a view: the row that is chosen in it."""
        row = self._chosen()
        if row != self._row or view.snapshot is not self._snapshot:
            self._row, self._snapshot = row, view.snapshot
            super().show(view)

    def facts(self, view: PlayerView) -> tuple[CallFacts, ...]:
        """Return what is known of the row, nothing if there is none."""
        facts = facts_of(self._header, self._row, view)
        return () if facts is None else (facts,)

    def titles(self, facts: tuple[CallFacts, ...]) -> None:
        """Name it."""
        self.border_title = Content(title(facts[0]) if facts else "Call")

    def draw(self, facts: tuple[CallFacts, ...], width: int, height: int) -> list[Line]:
        """Return the fields, in as many columns as they need and as fit."""
        if not facts:
            return [line(("none yet", MUTED))]
        lines = self._lines(facts[0], width)
        room = (width - 2) // 2
        if len(lines) <= height or room < _COLUMN:
            return lines
        lines = self._lines(facts[0], room)
        right = [*lines[height : 2 * height], *[line()] * height]
        return [_beside(one, other, room + 2) for one, other in zip(lines, right, strict=False)]

    def _lines(self, facts: CallFacts, width: int) -> list[Line]:
        room, lines, before = max(1, width - _NAME), list[Line](), ""
        for name, text, style in fields(self._header, facts):
            for part in wrap(_UNIT.sub(GLUE, text), room, break_on_hyphens=False):
                label = f"{name if name != before else '':<{_NAME}}"
                shown = words.clip(part.replace(GLUE, " "), room)
                lines.append(line((label, MUTED), (shown, style)))
                before = name
        return lines

    async def on_click(self) -> None:
        """Explain it."""
        await self.run_action("app.explain")


def _beside(left: Line, right: Line, column: int) -> Line:
    filled = sum(cell_len(text) for text, _ in left)
    return (*left, (" " * max(0, column - filled), ""), *right)
