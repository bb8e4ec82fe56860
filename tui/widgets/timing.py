# SPDX-License-Identifier: GPL-2.0-only
"""Shows how long the calls took: a table of all kinds and a histogram of one.

The histogram is of sparse_add_section where it was traced; else it says why not and shows what
comes nearest: __add_pages, and as that is one number per hot-add, the calls made for each section.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from textwrap import wrap

from recordings.ledger.snapshot import Timing
from recordings.wording.escape import printable
from tracers.events import Kind
from tracers.kernel_functions import TABLE
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.panel import MUTED, Line, Panel, line

#: Order of the table: from the outside of a hot-add in, then of a hot-remove, then WARN, the rest.
_FIRST = (
    Kind.SECTION_ADD,
    Kind.ADD_PAGES,
    Kind.POPULATE,
    Kind.REMOVE_PAGES,
    Kind.SECTION_REMOVE,
    Kind.FREE,
    Kind.WARN,
    Kind.MEMREMAP,
    Kind.MEMUNMAP,
)
ORDER = (*_FIRST, *(function.kind for function in TABLE if function.kind not in _FIRST))
_SECTION_ADD = words.function(Kind.SECTION_ADD)
#: Bin edges within a decade, finest first.
_STEPS = (
    tuple(round(10 ** (step / 40), 2) for step in range(40)),
    tuple(round(10 ** (step / 20), 2) for step in range(20)),
    (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0),
    (1.0, 1.6, 2.5, 4.0, 6.3),
    (1.0, 2.0, 5.0),
    (1.0,),
)
#: Edges in nanoseconds from 1 ns to beyond 2^64 ns, finest first.
_EDGES = tuple(
    tuple(step * 10.0**decade for decade in range(21) for step in steps) for steps in _STEPS
)
#: Fewer calls than this make no distribution.
_FEW = 8
#: Width of the table's first column: the longest name and a space; rarer ones may be longer.
_NAME = max(len(words.function(kind)) for kind in _FIRST) + 1


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the panels show: the kinds that have a timing."""

    timings: tuple[tuple[Kind, Timing], ...]
    reason: str | None


def rebin(bins: Sequence[tuple[int, int, int]], height: int) -> list[tuple[float, float, int]]:
    """Return at most ``height`` log bins (low ns, high ns, count), finest that fit, no hole.

    Each of the ledger's narrow bins is put where its geometric middle lies.
    """
    if not bins or height < 1:
        return []
    middles = [(sqrt(max(low, 1) * max(high, 1)), number) for low, high, number in bins]
    for edges in _EDGES:
        first = max(0, bisect_right(edges, middles[0][0]) - 1)
        last = max(0, bisect_right(edges, middles[-1][0]) - 1)
        if last - first < height or edges is _EDGES[-1]:
            break
    counts = [0] * (last - first + 1)
    for middle, number in middles:
        counts[max(0, bisect_right(edges, middle) - 1) - first] += number
    rows = [(edges[first + i], edges[first + i + 1], number) for i, number in enumerate(counts)]
    if len(rows) > height:  # decades that do not fit share the last line
        rest = rows[height - 1 :]
        rows[height - 1 :] = [(rest[0][0], rest[-1][1], sum(number for *_, number in rest))]
    return rows


def chosen(timings: dict[Kind, Timing]) -> Kind | None:
    """Return the kind whose distribution says most about a section's cost."""
    if not timings:
        return None
    if Kind.SECTION_ADD in timings:
        return Kind.SECTION_ADD
    if Kind.ADD_PAGES in timings and timings[Kind.ADD_PAGES].count >= _FEW:
        return Kind.ADD_PAGES
    inner = (Kind.POPULATE, Kind.FREE, Kind.WARN)
    return next((kind for kind in inner if kind in timings), next(iter(timings)))


class TimingTable(Panel[Facts]):
    """A line per kind: calls, total, median, 99th percentile, longest."""

    BORDER_TITLE = "Time per call"

    def facts(self, view: PlayerView) -> Facts:
        """Return the timings in table order."""
        timings = view.snapshot.timings
        return Facts(
            tuple((kind, timings[kind]) for kind in ORDER if kind in timings),
            view.snapshot.section_add_reason,
        )

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return a heading and a line per kind, with the columns that fit whole."""
        names = (len(words.function(kind)) + 1 for kind, _ in facts.timings)
        room = max(_NAME, *names, 0)
        columns = ["calls", "total", "p50", "p99", "max"]
        while columns and room + 7 + 10 * (len(columns) - 1) > width:
            columns.pop()
        heads = "".join(f"{name:>{7 if name == 'calls' else 10}}" for name in columns)
        lines = [line((f"{'':{room}}{heads}", MUTED))]
        if facts.reason:
            name = f"{_SECTION_ADD:<{room}}"
            none = "none matches" if facts.reason.endswith("matches") else "not traced"
            lines.append(line(name, (none, MUTED)))
        for kind, timing in facts.timings:
            cells = {
                "calls": f"{words.count(timing.count):>7}",
                "total": f"{words.duration(timing.total_ns):>10}",
                "p50": f"{words.duration(timing.p50_ns):>10}",
                "p99": f"{words.duration(timing.p99_ns):>10}",
                "max": f"{words.duration(timing.max_ns):>10}",
            }
            lines.append(
                line(f"{words.function(kind):<{room}}", "".join(cells[name] for name in columns))
            )
        return lines[:height]


class Histogram(Panel[Facts]):
    """The distribution of one kind's durations, a bar per log bin."""

    def facts(self, view: PlayerView) -> Facts:
        """Return the chosen kind's timing, __add_pages' beside it, and why no section-add's."""
        timings = view.snapshot.timings
        kind = chosen(timings)
        kinds = dict.fromkeys([kind, Kind.ADD_PAGES] if kind else [])
        return Facts(
            tuple((kind, timings[kind]) for kind in kinds if kind in timings),
            view.snapshot.section_add_reason,
        )

    def titles(self, facts: Facts) -> None:
        """Name the kind, as it depends on the recording."""
        name = words.function(facts.timings[0][0]) if facts.timings else _SECTION_ADD
        self.border_title = f"How long {name} took"

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return why it is not sparse_add_section, quantiles and the bars."""
        lines: list[Line] = []
        if facts.reason:
            lines += _wrapped(f"{_SECTION_ADD}: {printable(facts.reason)}", width, height // 4)
        if not facts.timings:
            return [*lines, line(("no call has ended yet", MUTED))]
        kind, timing = facts.timings[0]
        lines += [self._sentence(other, t, width) for other, t in facts.timings[1:]]
        lines.append(self._sentence(kind, timing, width, titled=True))
        bins = rebin(timing.bins, height - len(lines))
        peak = max((number for *_, number in bins), default=0)
        digits = len(words.count(peak))
        for low, high, number in bins:
            label = f"{_edge(low):>8} - {_edge(high):>8} "
            if width < 40:
                label = f"from {_edge(low):>8} "
            lines.append(
                line(
                    (label, MUTED),
                    (f"{words.count(number) if number else '':>{digits}} ", ""),
                    (words.bar(number, peak, width - len(label) - digits - 1), "$primary"),
                )
            )
        return lines

    def _sentence(self, kind: Kind, timing: Timing, width: int, *, titled: bool = False) -> Line:
        """Return how long a kind took in words; where room is short a title's name is enough."""
        calls, total = words.calls(timing.count), words.duration(timing.total_ns)
        middle, most = (
            f"p50 {words.duration(timing.p50_ns)}",
            f"p99 {words.duration(timing.p99_ns)}",
        )
        named = f"{words.function(kind)}: {calls}"
        options = [f"{named}, {total}"]
        if timing.count > 1:
            options.insert(0, f"{named}, {total} in all, {middle}, {most}")
            if titled:
                options.insert(1, f"{calls}, {middle}, {most}")
            options.insert(-1, f"{named}, {total}, {middle}")
        return line(next((text for text in options if len(text) <= width), options[-1]))


def _edge(nanoseconds: float) -> str:
    """Return a bin's edge, short: "1.6 ms"."""
    return words.duration(round(nanoseconds))


def _wrapped(text: str, width: int, most: int) -> list[Line]:
    """Return at most ``most`` lines, at least one; the last ends in "…" if there were more."""
    rows = wrap(text, width)
    shown = rows[: max(1, most)]
    if len(rows) > len(shown):
        shown[-1] = words.clip(f"{shown[-1]} …", width)
    return [line((row, MUTED)) for row in shown]
