# SPDX-License-Identifier: GPL-2.0-only
"""The strip of sections: one line of cells in order of address, coloured by what was worst in each.

Colour only repeats what a cell's character says. A click asks for the calls of a cell alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

import numpy as np
from textual import events

from recordings.explore.section_strip import Cell, Strip
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.asked import FilterWanted
from tui.widgets.panel import MUTED, Line, Panel, line

#: A cell of few sections is drawn so wide at most.
_WIDEST: Final = 6
_GAP: Final = "…"
#: A cell none of whose calls was seen to end.
_UNTIMED: Final = "-"
#: The steps of the longest calls, each up to a percentile of the cells that have one.
_STEPS: Final = (
    (50, "░", "$text-muted"), (90, "▒", "$primary"), (99, "▓", "$warning"), (100, "█", "$error"),
)  # fmt: skip


class Heat(StrEnum):
    """What the cells are coloured by."""

    REGIME = "worst regime"
    LATENCY = "longest call"


@dataclass(frozen=True, slots=True)
class Facts:
    """The strip of a view, and what it is coloured by."""

    strip: Strip
    heat: Heat


@dataclass(frozen=True, slots=True)
class Step:
    """Cells whose longest call took at most so long."""

    most_ns: int
    mark: str
    style: str


def steps(longest: Sequence[int]) -> tuple[Step, ...]:
    """Return the steps that tell cells apart: up to their median, 90th and 99th percentile, all."""
    ordered = sorted(longest)
    found: dict[int, Step] = {}  # of equal ends the lowest step, but the longest of all has its own
    for percent, mark, style in _STEPS if ordered else ():
        most = ordered[-(-percent * len(ordered) // 100) - 1]
        if most not in found or (percent == 100 and len(found) > 1):
            found[most] = Step(most, mark, style)
    return tuple(found.values())


class SectionHeat(Panel[Facts]):
    """One line of cells, what its colours mean, and where there is height its two ends."""

    BORDER_TITLE = "Sections: click one to see its calls alone; h changes the colour"

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self.heat = Heat.REGIME

    def paint(self, heat: Heat) -> None:
        """Colour by something else."""
        self.heat = heat
        if self._facts is not None:
            self._facts = Facts(self._facts.strip, heat)
            self.redraw()

    def facts(self, view: PlayerView) -> Facts:
        """Return the strip."""
        return Facts(view.strip, self.heat)

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return the cells; with two lines their meaning, with more also where they lie."""
        drawn = facts.strip.cells(width)
        if not drawn.cells:
            return [line(("no call with a known address", MUTED))]
        wide = _wide(len(drawn.cells), width)
        timed = [cell.longest_ns for cell in drawn.cells if cell.longest_ns is not None]
        scale = steps(timed)
        painted = _painted(drawn.cells, wide, facts.heat, scale)
        told = _told(facts, scale, drawn.sections, width)
        if height < 3:
            return [painted, told][:height]
        return [told, *[painted] * (height - 2), _ends(drawn.cells, wide, width)]

    def on_click(self, event: events.Click) -> None:
        """Ask for the calls of the cell under the pointer."""
        offset = event.get_content_offset(self)
        if self._facts is None or offset is None or self.text_selection:
            return
        cells = self._facts.strip.cells(self.size.width).cells
        at = offset.x // _wide(len(cells), self.size.width)
        if at < len(cells) and cells[at].calls:
            self.post_message(FilterWanted(wanted(cells[at])))


def wanted(cell: Cell) -> str:
    """Return the filter for a cell's addresses, which may run past 2^64."""
    return f"addr:0x{cell.start:x}+0x{min(cell.size, (1 << 64) - 1):x}"


def _wide(cells: int, width: int) -> int:
    return max(1, min(_WIDEST, width // max(1, cells)))


def _painted(cells: Sequence[Cell], wide: int, heat: Heat, scale: Sequence[Step]) -> Line:
    def look(cell: Cell) -> tuple[str, str]:
        if cell.gap:
            return _GAP, MUTED
        if not cell.calls:
            return " ", ""
        if heat is Heat.REGIME:
            mark = words.SILENT if cell.silent else words.mark(cell.regime)
            return mark, f"reverse {words.regime_style(cell.regime)}"
        if cell.longest_ns is None:
            return _UNTIMED, MUTED
        step = next(step for step in scale if cell.longest_ns <= step.most_ns)
        return step.mark, step.style

    parts = []
    for (text, style), group in groupby(cells, look):
        number = len(list(group))
        one = f"{text:^{wide}}" if text == _GAP else text * wide
        parts.append((one * number, style))
    return line(*parts)


def _told(facts: Facts, scale: Sequence[Step], sections: int, width: int) -> Line:
    """Return what the cells are coloured by, what the colours mean, and how much a cell is."""
    strip = facts.strip
    parts: list[tuple[str, str]] = []
    if facts.heat is Heat.REGIME:
        for regime, count in strip.regimes():
            number = "" if strip.level else f" {words.count(count)}"
            parts.append((f"{words.mark(regime)} {regime}{number}", words.regime_style(regime)))
        if silent := int(np.count_nonzero(strip.silent)):
            number = "" if strip.level else f" {words.count(silent)}"
            parts.append((f"{words.SILENT} silent{number}", "$regime-below"))
    elif not scale:
        parts.append(("no call was seen to end", MUTED))
    else:
        parts += [(f"{step.mark} to {words.duration(step.most_ns)}", step.style) for step in scale]
        if not strip.timed.all():
            parts.append((f"{_UNTIMED} none ended", MUTED))
    noun = "section" if strip.known else f"stretch of {words.size(strip.size)}"
    plural = "sections" if strip.known else f"stretches of {words.size(strip.size)}"
    touched = len(strip) << strip.level
    many = f"{words.count(len(strip))} {noun if len(strip) == 1 else plural}"
    if strip.level:
        many = f"up to {words.count(touched)} {plural}"
    cell = f"{words.count(sections)} a cell"
    name = facts.heat.value
    more = []
    if strip.unplaced:
        more = [(f"{words.calls(strip.unplaced)} without an address", "$text-warning")]
    for head, tail in (
        (f"by {name}", [(f"{many}, {cell}", MUTED), *more]),
        (f"by {name}", [(f"{many}, {cell}", MUTED)]),
        (f"by {name}", [(cell, MUTED)]),
        (name.split()[0], [(cell, MUTED)]),
        (name.split()[0], []),
    ):
        told = [(head, "bold"), *parts, *tail]
        if sum(len(text) + 2 for text, _ in told) - 2 <= width:
            break
    return line(*[part for each in told for part in (("  ", ""), each)][1:])


def _ends(cells: Sequence[Cell], wide: int, width: int) -> Line:
    """Return the first address and the end below the cells they belong to, as far as they fit."""
    first = f"└{words.address(cells[0].start)}"
    last = f"{words.address((cells[-1].start + cells[-1].size) % (1 << 64))}┘"
    end = len(cells) * wide
    if len(first) + 1 + len(last) <= end:
        return line((f"{first}{last:>{end - len(first)}}", MUTED))
    return line((words.clip(first, width), MUTED))
