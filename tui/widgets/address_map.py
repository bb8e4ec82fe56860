# SPDX-License-Identifier: GPL-2.0-only
"""The address map: draws the window among its neighbours in address order, and where hits land.

The whole 64-bit space cannot be drawn to scale (a user half is 2^31 times a PCI I/O area), so
the map is schematic: regions in address order, each with its own linear scale. Addresses
wrap at 2^64, so the user half stands after the end of the kernel half, where a call that
runs past the end really goes. It is made for all hits and Oopses of the recording, so that nothing
moves while playing: those that have passed are coloured.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from textual import events

from recordings.ledger.snapshot import Extent, Fault
from recordings.wording.escape import printable
from tracers.explain import judged
from tracers.layout import Layout, Region
from tracers.window import Window
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.asked import FilterWanted
from tui.widgets.panel import MUTED, Line, Panel, line

_TOP = 1 << 64
_HALF = 1 << 63
_GAP_WIDTH = 3
#: How much of the space left a segment without hits gets, by its role.
_WEIGHTS = {"window": 4, "gap": 0, "hole": 2, "user": 1, "region": 2, "blind": 2}


_BACKGROUNDS = {
    "window": "$strip-window",
    "user": "$strip-user",
    "region": "$strip-region",
    "blind": "$strip-blind",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A region as drawn; ``end`` is exclusive and at most 2^64."""

    name: str
    start: int
    end: int
    #: "window" (in use), "blind" (the WARN takes it for the window), "gap" (unused), "hole" (a gap
    #: that matters), "user" or "region"
    role: str
    width: int = 0
    hits: int = 0
    faults: int = 0

    @property
    def minimum(self) -> int:
        """The narrowest it can be drawn, its separator not counted."""
        if self.role == "gap" and not self.struck:
            return _GAP_WIDTH
        return max(len(self.name) + 2, 10 if self.struck else 0)

    @property
    def struck(self) -> bool:
        """Whether a hit or an Oops is there."""
        return bool(self.hits or self.faults)

    @property
    def weight(self) -> int:
        """How much of the space left it gets."""
        return 5 if self.struck else _WEIGHTS[self.role]


def regions(window: Window, layout: Layout | None) -> list[Segment]:
    """Return the kernel half in address order and then the user half and what is above it.

    Without a layout the neighbours have no names; the window is exact all the same.
    """
    if layout is None:
        blind = Segment("no WARN", *window.blind, "blind")
        return [
            Segment("below the window", _HALF, window.start, "region"),
            *([blind] if blind.start < blind.end else []),
            Segment("WINDOW", *window.used, "window"),
            Segment("above the window", window.end, _TOP, "region"),
            Segment("user half", 0, _HALF, "user"),
        ]
    segments: list[Segment] = []
    for region in layout.regions:
        inside = region.start < window.end and region.end > window.start
        if region.name == "vmemmap" and inside:
            role, name = "window", "WINDOW"
        elif inside:
            segments += _blind(region, window)
            continue
        elif region.name == "unused":
            # The hole where the next struct pages would be, if it is of any size.
            near = window.end == region.start or window.start == region.end
            role = "hole" if near and (region.end - region.start) * 16 > window.size else "gap"
            name = "unused"
        else:
            role = "user" if region.start <= _HALF else "region"
            name = printable(region.name)
        segments.append(Segment(name, region.start, region.end, role))
    kernel = [segment for segment in segments if segment.start > _HALF]
    return kernel + [segment for segment in segments if segment.start <= _HALF]


def _blind(region: Region, window: Window) -> list[Segment]:
    """Return the segments of a region that the WARN takes for the window, in part or whole."""
    name = printable(region.name)
    start = max(region.start, window.start)
    label = f"{name}, no WARN" if window.use_known else f"{name}?"
    parts = [Segment(label, start, region.end, "blind")]
    if start > region.start:
        parts.insert(0, Segment(name, region.start, start, "region"))
    return parts


def pieces(extent: Extent) -> list[tuple[int, int]]:
    """Return an extent as one or two ranges that do not wrap at 2^64."""
    end = extent.end or _TOP
    if extent.start < end:
        return [(extent.start, end)]
    return [(extent.start, _TOP), (0, end)]


def choose(
    segments: Sequence[Segment], extents: Iterable[Extent], width: int, faults: Iterable[Fault] = ()
) -> list[Segment]:
    """Pick the segments that fit, mark the hits and Oopses on them and give them widths.

    The window, what was hit and the way up to the user half come first, then the neighbours
    below, nearest first. Left-out regions between chosen ones become one "…" gap.
    """
    ranges = [(piece, extent) for extent in extents for piece in pieces(extent)]
    pages = [fault.start for fault in faults if fault.start is not None]
    marked = [
        replace(
            segment,
            hits=sum(
                extent.populate + extent.free
                for (low, high), extent in ranges
                if low < segment.end and high > segment.start
            ),
            faults=sum(segment.start <= at < segment.end for at in pages),
        )
        for segment in segments
    ]
    at = next((i for i, segment in enumerate(marked) if segment.role == "window"), 0)
    user = [i for i, segment in enumerate(marked) if segment.name == "user half"]
    hit = [i for i, segment in enumerate(marked) if segment.struck]
    blind = [i for i in range(at - 1, -1, -1) if marked[i].role == "blind"]
    upper = [i for i in range(at + 1, len(marked)) if marked[i].role != "user"]
    order = list(dict.fromkeys([at, *hit, *blind, *upper, *user, *range(at - 1, -1, -1)]))
    chosen: list[int] = []
    for index in order:
        candidate = sorted([*chosen, index])
        if _needed(marked, candidate) <= width or not chosen:
            chosen = candidate
        elif index not in hit:
            break
    # A gap at the outer edge says nothing.
    while chosen and marked[chosen[0]].role == "gap" and not marked[chosen[0]].struck:
        chosen.pop(0)
    return _spread(_elide(marked, chosen), width)


def _elide(marked: Sequence[Segment], chosen: Sequence[int]) -> list[Segment]:
    shown: list[Segment] = []
    for before, index in zip([None, *chosen], chosen, strict=False):
        if before is not None and index > before + 1:
            low, high = marked[before].end, marked[index].start
            shown.append(Segment("…", low % _TOP, high or _TOP, "gap"))
        shown.append(marked[index])
    return shown


def _needed(marked: Sequence[Segment], chosen: Sequence[int]) -> int:
    shown = _elide(marked, chosen)
    return sum(segment.minimum for segment in shown) + len(shown) + 1


def _spread(shown: Sequence[Segment], width: int) -> list[Segment]:
    spare = max(0, width - sum(segment.minimum for segment in shown) - len(shown) - 1)
    total = sum(segment.weight for segment in shown) or 1
    widths = [segment.minimum + spare * segment.weight // total for segment in shown]
    if widths:
        widest = max(range(len(widths)), key=lambda i: shown[i].weight)
        widths[widest] += max(0, width - sum(widths) - len(widths) - 1)
    return [replace(segment, width=w) for segment, w in zip(shown, widths, strict=True)]


def marks(
    segment: Segment, extents: Iterable[Extent], faults: Iterable[Fault] = ()
) -> list[tuple[str, Extent | Fault | None]]:
    """Return the cells of a segment: marks where hits land and of what, else blanks.

    A silent hit has a mark of its own, in the colour of its regime, and so has an Oops.
    """
    cells: list[tuple[str, Extent | Fault | None]] = [(" ", None)] * segment.width
    span = segment.end - segment.start
    for extent in extents:
        for low, high in pieces(extent):
            low, high = max(low, segment.start), min(high, segment.end)  # noqa: PLW2901
            if low >= high:
                continue
            first = (low - segment.start) * segment.width // span
            last = (high - segment.start - 1) * segment.width // span
            for cell in range(first, last + 1):
                mark = words.SILENT if extent.silent else words.mark(extent.regime)
                cells[cell] = (mark, extent)
    for fault in faults:
        if fault.start is not None and segment.start <= fault.start < segment.end:
            cells[(fault.start - segment.start) * segment.width // span] = (words.FAULT, fault)
    return cells


def labels(shown: Sequence[Segment], width: int, lines: int) -> list[str]:
    """Return up to ``lines`` lines of addresses under the segments' starts, none cut.

    The window's two ends come first, then the ends of what was hit, then the rest; a label
    without room is left out. "└" hangs from the boundary on its left, "┘" on its right.
    """
    ticks: list[tuple[int, int, int]] = []  # rank, column, address
    column = 0
    for index, segment in enumerate(shown):
        before = shown[index - 1] if index else None
        near = {segment.role} | ({before.role} if before else set())
        hit = segment.struck or (before is not None and before.struck)
        rank = 0 if "window" in near else 1 if hit or "blind" in near else 2
        if rank == 2 and segment.role == "gap":
            rank = 3
        ticks.append((rank, column, segment.start))
        column += segment.width + 1
    rows = [[" "] * width for _ in range(lines)]
    for _, column, value in sorted(ticks):
        text = words.address(value)
        for at, label in ((column, "└" + text), (column - len(text), text + "┘")):
            row = next((row for row in rows if _free(row, at, len(label))), None)
            if row is not None:
                row[at : at + len(label)] = label
                break
    return ["".join(row) for row in rows]


def _free(row: Sequence[str], at: int, length: int) -> bool:
    around = row[max(0, at - 1) : at + length + 1]
    return at >= 0 and at + length <= len(row) and all(cell == " " for cell in around)


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the map shows."""

    extents: tuple[Extent, ...]
    extents_total: int
    inside: int
    passed: frozenset[int]  # rows of the extents whose first call has passed, and of Oopses
    faults: tuple[Fault, ...] = ()


class AddressMap(Panel[Facts]):
    """Draws the map; three lines at least: names, marks, addresses."""

    BORDER_TITLE = "Where the calls lie: click a region or a hit to see its calls alone"
    BORDER_SUBTITLE = "schematic: each region on a scale of its own"

    def __init__(self, window: Window | None, layout: Layout | None, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._window = window
        self._segments = regions(window, layout) if window else []

    def facts(self, view: PlayerView) -> Facts:
        """Return the extents of the hits and how many calls lie inside."""
        snapshot = view.snapshot
        rows = [extent.row for extent in snapshot.extents]
        rows += [fault.row for fault in snapshot.faults]
        return Facts(
            snapshot.extents,
            snapshot.extents_total,
            snapshot.regimes.inside,
            frozenset(row for row in rows if row < view.row),
            snapshot.faults,
        )

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return names, marks, addresses, and the extents in words."""
        if self._window is None:
            return [line(("the window is not known, so no address can be placed", "$text-warning"))]
        shown = choose(self._segments, facts.extents, width, facts.faults)
        # Hits of one kind are in the headline; of several, each where there is height.
        listed = max(0, min(len(facts.extents), height - 4)) if len(facts.extents) > 1 else 0
        hanging = max(1, min(2, height - 2 - listed))
        # Lines to spare make the marks taller.
        tall = max(1, min(2, height - 1 - listed - hanging))
        return [
            self._names(shown),
            *[self._marks(shown, facts)] * tall,
            *(line((text, MUTED)) for text in labels(shown, width, hanging)),
            *self._extents(facts, width, listed),
        ]

    def _names(self, shown: Sequence[Segment]) -> Line:
        parts: list[str | tuple[str, str]] = []
        for segment in shown:
            name = segment.name if segment.role != "gap" or segment.width >= 8 else "…"
            sized = f"{name} {words.size(segment.end - segment.start)}"
            if segment.role in ("window", "gap", "hole") and len(sized) + 2 <= segment.width:
                name = sized
            counted = f"{name} · {words.calls(segment.hits, 'hit')}"
            if segment.faults:
                told = words.oopses(segment.faults)
                counted = f"{counted}, {told}" if segment.hits else f"{name} · {told}"
            if segment.struck and len(counted) + 2 <= segment.width:
                name = counted
            style = {"window": "bold", "gap": MUTED, "hole": MUTED}.get(segment.role, "")
            parts += [("│", MUTED), (f"{name:^{segment.width}}", _styled(segment, style))]
        return line(*parts, ("│", MUTED))

    def _marks(self, shown: Sequence[Segment], facts: Facts) -> Line:
        parts: list[str | tuple[str, str]] = []
        for segment in shown:
            parts.append(("│", MUTED))
            if segment.role == "window" and facts.inside and not segment.struck:
                mark = f"{words.mark('inside')} {words.count(facts.inside)}"
                fitting = [text for text in (f"{mark} inside", mark) if len(text) <= segment.width]
                text = fitting[0] if fitting else words.mark("inside")
                parts.append((f"{text:^{segment.width}}", _styled(segment, "$regime-inside")))
                continue
            cells = marks(segment, facts.extents, facts.faults)
            for (mark, style), group in groupby(cells, self._cell(facts)):
                parts.append((mark * len(list(group)), _styled(segment, style)))
        return line(*parts, ("│", MUTED))

    def _cell(self, facts: Facts) -> Callable[[tuple[str, Extent | Fault | None]], tuple[str, str]]:
        """Return what tells the mark and the style of a cell."""

        def cell(mark: tuple[str, Extent | Fault | None]) -> tuple[str, str]:
            text, extent = mark
            if extent is None:
                return text, ""
            happened = extent.row in facts.passed
            return text, f"bold {words.regime_style(extent.regime)}" if happened else MUTED

        return cell

    def on_click(self, event: events.Click) -> None:
        """Ask for the calls of what is under the pointer: a hit, the window, a region."""
        offset = event.get_content_offset(self)
        if self._window is None or self._facts is None or offset is None or self.text_selection:
            return
        text = wanted(
            choose(self._segments, self._facts.extents, self.size.width, self._facts.faults),
            self._facts.extents,
            offset.x,
            hits=offset.y > 0,
        )
        if text:
            self.post_message(FilterWanted(text))

    def _extents(self, facts: Facts, width: int, listed: int) -> list[Line]:
        lines = []
        for index, extent in enumerate(facts.extents[:listed]):
            more = facts.extents_total - listed if index == listed - 1 else 0
            tail = [
                words.size((extent.end - extent.start) % _TOP),
                f"in {printable(extent.lands_on)}" if extent.lands_on else "",
                f"{words.count(extent.populate)} populate, {words.count(extent.free)} free",
                f"+ {words.calls(more, 'more extent')}" if more > 0 else "",
            ]
            text = f"{words.address(extent.start)} - {words.address(extent.end)}"
            mark = words.mark(extent.regime, silent=extent.silent)
            head = f"{mark} {judged(extent.regime, silent=extent.silent):<8}"
            kept: list[str] = []
            for part in filter(None, tail):
                if len(head) + 1 + len(text) + 2 + len("  ".join([*kept, part])) <= width:
                    kept.append(part)
            style = words.regime_style(extent.regime)
            lines.append(line((head, f"bold {style}"), f" {text}  ", ("  ".join(kept), MUTED)))
        return lines


def wanted(shown: Sequence[Segment], extents: Sequence[Extent], x: int, *, hits: bool) -> str:
    """Return the filter for what stands at cell ``x``: "addr:0x…..0x…", end exclusive, or "".

    ``hits``: of a hit there, that hit's stretch of addresses alone.
    """
    left = 0
    for segment in shown:
        cell = x - left - 1
        if 0 <= cell < segment.width:
            extent = marks(segment, extents)[cell][1] if hits else None
            if isinstance(extent, Extent):
                return f"addr:0x{extent.start:x}..0x{extent.end or _TOP:x}"
            if segment.role == "window":
                return "regime:inside"
            return f"addr:0x{segment.start:x}..0x{segment.end:x}"
        left += segment.width + 1
    return ""


def _styled(segment: Segment, style: str) -> str:
    background = _BACKGROUNDS.get(segment.role)
    return f"{style} on {background}".strip() if background else style
