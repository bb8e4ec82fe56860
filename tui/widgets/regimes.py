# SPDX-License-Identifier: GPL-2.0-only
"""Counts the calls by regime: inside, below, above, wrapped, straddling, unknown."""

from dataclasses import astuple, dataclass, fields
from textwrap import wrap

from recordings.ledger.snapshot import Regimes
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.panel import MUTED, Line, Panel, line

_NAMES = tuple(field.name for field in fields(Regimes))


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the panel shows."""

    regimes: Regimes
    silent: int


class RegimesPanel(Panel[Facts]):
    """One bar per regime, and how many hits are silent; on a low screen one compact list."""

    BORDER_TITLE = "Calls by regime"

    def facts(self, view: PlayerView) -> Facts:
        """Return the counts."""
        return Facts(view.snapshot.regimes, view.snapshot.silent)

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return a line per regime where they fit, else the regimes that occurred first."""
        counts = list(zip(_NAMES, astuple(facts.regimes), strict=True))
        if not facts.regimes.unknown:
            counts.pop()
        silent = []
        if facts.silent:
            text = f"{words.SILENT} {words.count(facts.silent)} of the hits silent"
            silent.append(line((words.clip(text, width), "$regime-below")))
            height -= 1
        total = sum(count for _, count in counts)
        zeros: list[str] = []
        if height < len(counts):
            # What occurred keeps its line; the rest shares one.
            zeros = [
                f"{words.mark(name)}\N{NO-BREAK SPACE}{name}" for name, count in counts if not count
            ]
            counts = [(name, count) for name, count in counts if count]
        digits = max([3, *(len(words.count(count)) for _, count in counts)])
        room = width - 13 - digits - 8
        lines = []
        for name, count in counts:
            style = words.regime_style(name)
            lines.append(
                line(
                    (f"{words.mark(name)} {name:<11}", style if count else MUTED),
                    (f"{words.count(count):>{digits}}", "bold" if count else MUTED),
                    (f" {words.share(count / total) if total else '':>6} ", MUTED),
                    (words.bar(count, total, room), style),
                )
            )
        lines += silent
        if zeros:
            text = f"none {'  '.join(zeros)}"
            rows = wrap(text, width, subsequent_indent="     ")
            lines += [line((row.replace(words.GLUE, " "), MUTED)) for row in rows]
        return lines
