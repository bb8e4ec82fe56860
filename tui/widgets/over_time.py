# SPDX-License-Identifier: GPL-2.0-only
"""Graphs hits, WARNs and durations over the recording's time, as far as the replay has come."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recordings.ledger.snapshot import Series
from tracers.kernel_functions import TABLE
from tui.playback.replay import PlayerView
from tui.widgets import words
from tui.widgets.panel import MUTED, Line, Panel, line

#: Cells of the labels at the left.
_LABEL = max(len(each.name) for each in TABLE) + 1


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the panel shows."""

    series: Series | None
    first_ns: int
    length_ns: int
    hits: int
    warnings: int


def spread(
    values: tuple[int, ...], series: Series, first_ns: int, length_ns: int, width: int
) -> list[float]:
    """Return the sums of a series' bins on ``width`` columns of the whole recording's time.

    A bin falls into the column its middle lies in; bins wider than a column are spread evenly
    over the columns they cover, so that the picture has no holes that are not in the data.
    """
    if not width or not values:
        return [0.0] * width
    sums = np.asarray(values, np.float64)
    per = max(1, length_ns) / width
    # Floats, for a picture: the difference of two u64 times needs 65 bits.
    starts = float(series.start_ns - first_ns) + float(series.bin_ns) * np.arange(len(values))
    if series.bin_ns <= per:
        columns = _columns(starts + series.bin_ns / 2, per, width)
        return [float(x) for x in np.bincount(columns, sums, minlength=width)]
    spread_out = np.zeros(width)
    low = _columns(starts, per, width)
    high = np.maximum(low, _columns(starts + series.bin_ns - 1, per, width))
    for index in np.flatnonzero(sums):
        covered = slice(low[index], high[index] + 1)
        spread_out[covered] += sums[index] / (high[index] + 1 - low[index])
    return [float(x) for x in spread_out]


def _columns(times: npt.NDArray[np.number], per: float, width: int) -> npt.NDArray[np.int64]:
    columns: npt.NDArray[np.int64] = np.clip(times / per, 0, width - 1).astype(np.int64)
    return columns


class OverTime(Panel[Facts]):
    """Three graphs on one time axis."""

    BORDER_TITLE = "Over time"

    def facts(self, view: PlayerView) -> Facts:
        """Return the series and the time axis."""
        snapshot = view.snapshot
        return Facts(
            snapshot.series, view.first_ns or 0, view.length_ns, snapshot.hits, snapshot.warnings
        )

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return for each of hits, WARNs and mean duration a label and a graph, then the axis."""
        if facts.series is None:
            return [line(("no event yet", MUTED))]
        series, room = facts.series, max(1, width - _LABEL)
        tall, extra = divmod(max(3, height - 1), 3)
        axis = (series, facts.first_ns, facts.length_ns, room)
        hits, warnings = spread(series.hits, *axis), spread(series.warnings, *axis)
        total, number = spread(series.timing_ns, *axis), spread(series.timing_count, *axis)
        means = [t / n if n else 0.0 for t, n in zip(total, number, strict=True)]
        peak = f"peak {words.duration(max(means))}" if any(number) else "none ended"
        lines = [
            *_graph(("hits", f"peak {max(hits):.0f}"), hits, "$error", tall),
            *_graph(("WARNs", f"peak {max(warnings):.0f}"), warnings, "$warning", tall),
            *_graph(
                (words.function(series.timing_kind), peak),
                means,
                "$primary",
                tall + extra,
            ),
        ]
        end = words.seconds(facts.length_ns)
        lines = lines[: max(1, height - 1)]
        return [*lines, line(" " * _LABEL, (f"{'0 s':<{max(3, room - len(end))}}{end}", MUTED))]


def _graph(label: tuple[str, str], values: list[float], style: str, tall: int) -> list[Line]:
    """Return bars with their name beside the first line and their peak beside the second."""
    lines = []
    for row, bar in enumerate(words.columns(values, max(values), tall)):
        text = label[row] if row < len(label) else ""
        if tall == 1 and len(" ".join(label)) < _LABEL:
            text = " ".join(label)
        lines.append(line((f"{text:<{_LABEL}}", MUTED if row else ""), (bar, style)))
    return lines
