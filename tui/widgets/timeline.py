# SPDX-License-Identifier: GPL-2.0-only
"""The timeline: the whole recording's hits, WARNs, operations and Oopses, and where the replay is.

What has passed is coloured, what is to come is grey. Promises: the picture is of the whole
recording as far as it was read, and does not change while playing; a click or a drag asks for that
moment; where events are missing is marked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from textual import events

from recordings.ledger.operation_totals import REMOVES
from recordings.ledger.snapshot import Operation, Series
from recordings.wording.escape import printable
from tracers.kernel_functions import OOPS
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.asked import SeekWanted
from tui.widgets.panel import MUTED, Line, Panel, line
from tui.widgets.time_axis import column_of, covered, spread

#: Cells of the labels at the left, and of the peaks and the length at the right.
LABEL = 7
_PEAK = 14
MARKER, GAP, MARK = "▼", "!", "◆"

#: One cell: a character and its style once it has passed.
Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the panel shows."""

    series: Series | None
    operations: tuple[Operation, ...]
    all_listed: bool
    gaps: tuple[tuple[int, int], ...]
    first_ns: int
    length_ns: int
    elapsed_ns: int
    begun: bool  # something has happened
    reading: bool
    marks: tuple[int, ...] = ()  # times of bookmarks
    faults: tuple[int, ...] = ()  # times of Oopses


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the picture."""

    label: str
    cells: tuple[Cell, ...]
    peak: str = ""


def room(width: int) -> int:
    """Return the cells that the time has in a panel so wide."""
    return max(1, width - LABEL - _PEAK)


class Timeline(Panel[Facts]):
    """Graphs, bars and an axis on one line of time."""

    ALLOW_SELECT = False  # a drag goes to another moment
    BORDER_TITLE = "Time: the whole recording; click or drag to go there"

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._picture: tuple[object, tuple[Row, ...]] = (None, ())
        self._dragging = False
        self._marks: tuple[int, ...] = ()

    def mark(self, times_ns: tuple[int, ...]) -> None:
        """Show bookmarks at these moments."""
        self._marks = times_ns
        if self._facts is not None:
            self._facts = replace(self._facts, marks=times_ns)
            self.redraw()

    def titles(self, facts: Facts) -> None:
        """Say what the marks of gaps and of Oopses mean, if there are any."""
        told = [f"{words.FAULT} {OOPS}"] if facts.faults else []
        told += [f"{GAP} events are missing"] if facts.gaps else []
        self.border_subtitle = " · ".join(told)

    def facts(self, view: PlayerView) -> Facts:
        """Return the whole recording's picture, and how far of it has passed."""
        snapshot = view.snapshot
        return Facts(
            snapshot.series,
            snapshot.operations,
            len(snapshot.operations) == snapshot.operations_total,
            view.gaps,
            view.first_ns or 0,
            view.length_ns,
            view.elapsed_ns,
            view.row > 0,
            view.read < 1,
            self._marks,
            tuple(fault.ts_ns for fault in snapshot.faults),
        )

    def show(self, view: PlayerView) -> None:
        """Take a view; draw only if the marker moves to another cell or the picture differs."""
        facts, before = self.facts(view), self._facts
        if before is not None and self._drawn:
            cells = room(self.size.width)
            same = column_of(facts.elapsed_ns, facts.length_ns, cells) == column_of(
                before.elapsed_ns, before.length_ns, cells
            )
            if same and replace(facts, elapsed_ns=before.elapsed_ns) == before:
                self._facts = facts
                return
        super().show(view)

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return the rows, then the axis with the marker; as many rows as there is height for."""
        if facts.series is None:
            return [line(("reading" if facts.reading else "no event yet", MUTED))]
        cells = room(width)
        key = (replace(facts, elapsed_ns=0, begun=False), cells, height)
        if self._picture[0] != key:
            self._picture = key, tuple(_rows(facts, facts.series, cells, height))
        column = column_of(facts.elapsed_ns, facts.length_ns, cells) if facts.begun else -1
        lines = [_line(row, column, width) for row in self._picture[1]]
        return [*lines[: height - 1], _axis(facts, column, width)]

    # -- the mouse --------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Go to the moment under the pointer, and follow it."""
        if event.button == 1 and self._seek(event):
            self._dragging = True
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Go on with a drag."""
        if self._dragging:
            self._seek(event, anywhere=True)

    def on_mouse_up(self, _: events.MouseUp) -> None:
        """End a drag."""
        if self._dragging:
            self._dragging = False
            self.release_mouse()

    def _seek(self, event: events.MouseEvent, *, anywhere: bool = False) -> bool:
        facts, cells = self._facts, room(self.size.width)
        offset = event.get_content_offset(self) if not anywhere else None
        at = offset.x if offset else event.x - self.gutter.left
        column = at - LABEL
        if facts is None or facts.series is None or not (anywhere or 0 <= column < cells):
            return False
        self.post_message(SeekWanted(facts.first_ns + time_at(column, facts.length_ns, cells)))
        return True


def time_at(column: int, length_ns: int, cells: int) -> int:
    """Return the time since the start that a cell stands for; the outer ones are the very ends."""
    if column <= 0:
        return 0
    if column >= cells - 1:
        return length_ns
    return length_ns * (2 * column + 1) // (2 * cells)


def _rows(facts: Facts, series: Series, cells: int, height: int) -> list[Row]:
    """Return the picture: hits, WARNs where there is height, operations in one row or two."""
    left = height - 1
    sides = 2 if left >= 5 else 1
    warns = 1 if left - sides >= 2 else 0
    tall = max(1, left - sides - warns)
    axis = (series, facts.first_ns, facts.length_ns, cells)
    rows = _graph("hits", spread(series.hits, *axis), "$error", tall)
    rows[-1] = _failed(rows[-1], facts, cells)
    if warns:
        rows += _graph("WARNs", spread(series.warnings, *axis), "$warning", 1)
    if sides == 1:
        return [*rows, Row("ops", _bars(facts, series, cells, (False, True)))]
    return [
        *rows,
        Row("add", _bars(facts, series, cells, (False,))),
        Row("remove", _bars(facts, series, cells, (True,))),
    ]


def _graph(label: str, values: list[float], style: str, tall: int) -> list[Row]:
    peak = max(values)
    told = f"peak {words.count(round(peak))}" if peak else "none"
    return [
        Row("" if at else label, tuple((cell, style) for cell in bar), "" if at else told)
        for at, bar in enumerate(words.columns(values, peak, tall))
    ]


def _failed(row: Row, facts: Facts, cells: int) -> Row:
    """Return a row with the marks of Oopses on it."""
    marked = {column_of(at - facts.first_ns, facts.length_ns, cells) for at in facts.faults}
    mark = words.FAULT, "bold $error"
    return replace(row, cells=tuple(mark if at in marked else c for at, c in enumerate(row.cells)))


def _bars(facts: Facts, series: Series, cells: int, sides: Sequence[bool]) -> tuple[Cell, ...]:
    """Return the operations as bars, with the names of those listed where there is room."""
    drawn: list[Cell] = [(" ", "")] * cells
    taken: set[int] = set()
    if not facts.all_listed:
        for side in sides:
            counts = series.removes if side else series.adds
            flags = covered(counts, series, facts.first_ns, facts.length_ns, cells)
            for at in np.flatnonzero(flags).tolist():
                drawn[at] = ("▬", _side_style(removes=side))
    for operation in facts.operations:
        side = operation.kind in REMOVES
        if side not in sides:
            continue
        start = operation.start_ns - facts.first_ns
        lasted = operation.duration_ns
        stop = facts.length_ns if lasted is None else start + lasted
        low, high = (column_of(at, facts.length_ns, cells) for at in (start, stop))
        text = _bar(operation, high - low + 1)
        if not facts.all_listed and len(text) < 8:
            continue
        style = _side_style(removes=side)
        # Of bars over one another, as of several CPUs, the first keeps its name.
        free = set(range(low, high + 1)) - taken
        if len(free) < len(text):
            text = "─" * len(text)
        for at in free:
            drawn[at] = (text[at - low], style)
        taken |= free
    return tuple(drawn)


def _bar(operation: Operation, width: int) -> str:
    if width == 1:
        return "▪"
    name = words.function(operation.kind).removesuffix("_pages").strip("_")
    tid = "?" if operation.tid is None else operation.tid
    label = next(
        (
            text
            for text in (f"{name} {printable(operation.comm)}-{tid} ", f"{name} ")
            if len(text) <= width - 2
        ),
        "",
    )
    end = "…" if operation.duration_ns is None else "]"
    return f"[{label}{'─' * (width - 2 - len(label))}{end}"


def _side_style(*, removes: bool) -> str:
    return "$accent" if removes else "$primary"


def _line(row: Row, column: int, width: int) -> Line:
    """Return a row with what has passed in colour."""
    parts: list[tuple[str, str]] = [(f"{row.label:<{LABEL}}", MUTED)]
    for at, (text, style) in enumerate(row.cells):
        shown = style if at <= column else MUTED
        if len(parts) > 1 and parts[-1][1] == shown:
            parts[-1] = (parts[-1][0] + text, shown)
        else:
            parts.append((text, shown))
    if row.peak:
        parts.append((f"  {row.peak}", MUTED))
    return tuple(parts)


def _axis(facts: Facts, column: int, width: int) -> Line:
    """Return the axis: its two ends, the marker, and where events are missing."""
    cells = room(width)
    missing: set[int] = set()
    for gap in facts.gaps:
        since = (at - facts.first_ns for at in gap)
        low, high = (column_of(at, facts.length_ns, cells) for at in since)
        missing.update(range(low, high + 1))
    marker = max(column, 0)
    marks = {
        column_of(at - facts.first_ns, facts.length_ns, cells)
        for at in facts.marks
        if 0 <= at - facts.first_ns <= facts.length_ns
    }
    drawn: list[tuple[str, str]] = [(f"{'0 s':<{LABEL}}", MUTED)]
    for at in range(cells):
        text, style = ("─", MUTED) if at > column else ("━", "$primary")
        if at in missing:
            text, style = GAP, "bold $warning"
        if at in marks:
            text, style = MARK, "bold $accent"
        if at == marker:
            text, style = MARKER, "bold $primary"
        if drawn[1:] and drawn[-1][1] == style:
            drawn[-1] = (drawn[-1][0] + text, style)
        else:
            drawn.append((text, style))
    length = words.seconds(facts.length_ns)
    if len(length) > _PEAK - 2:  # days: nothing of a number is cut
        length = words.duration(facts.length_ns)
    drawn.append((f"  {length}", MUTED))
    return tuple(drawn)
