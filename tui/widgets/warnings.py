# SPDX-License-Identifier: GPL-2.0-only
"""Lists the WARNs that fired: per site, how often and what they cost."""

from dataclasses import dataclass

from recordings.ledger.snapshot import SiteCount
from recordings.wording.escape import printable
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.panel import MUTED, Line, Panel, line


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the panel shows."""

    warnings: int
    warn_ns: int
    would_warn: int
    silent: int
    suppressed: int
    sites: tuple[SiteCount, ...]
    filtered: bool


class WarningsPanel(Panel[Facts]):
    """One line per site, most frequent first, then the total."""

    BORDER_TITLE = "WARNs by site"

    def facts(self, view: PlayerView) -> Facts:
        """Return the sites and totals."""
        snapshot = view.snapshot
        return Facts(
            snapshot.warnings,
            snapshot.warn_ns,
            snapshot.would_warn,
            snapshot.silent,
            snapshot.suppressed,
            snapshot.sites,
            bool(view.listed.filter),
        )

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return site, count, total time and time per WARN, as columns that fit."""
        if not facts.warnings:
            lines = [line(("no WARN matches" if facts.filtered else "no WARN fired", MUTED))]
            if facts.would_warn:
                lines.append(line((f"{words.count(facts.would_warn)} calls match its test", MUTED)))
            if facts.silent:
                lines.append(_silent(facts, width))
            return lines
        shown = facts.sites[: max(1, height - 1)]
        columns = _Columns.fit(width, facts.warnings)
        lines = [columns.site(site) for site in shown]
        if height > len(shown):
            hidden = len(facts.sites) - len(shown)
            label = f"{words.calls(hidden, 'more site')}; all" if hidden else "all"
            lines.append(columns.line(label, "bold", facts.warnings, facts.warn_ns))
        if height > len(lines) and facts.would_warn != facts.warnings:
            text = f"{words.calls(facts.would_warn)} match the test of a WARN"
            if facts.suppressed:
                text = f"{words.calls(facts.suppressed)} suppressed (WARN_ON_ONCE)"
            lines.append(line((words.clip(text, width), MUTED)))
        if height > len(lines) and facts.silent:
            lines.append(_silent(facts, width))
        return lines


def _silent(facts: Facts, width: int) -> Line:
    text = f"{words.SILENT} {words.calls(facts.silent, 'hit')} that its test lets pass"
    return line((words.clip(text, width), "$regime-below"))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths: the site's name takes what count, total and (where there is room) mean leave."""

    names: int
    digits: int
    mean: bool

    @classmethod
    def fit(cls, width: int, warnings: int) -> "_Columns":
        digits = max(3, len(words.count(warnings)))
        column = 2 + words.DURATION_WIDTH
        mean = width >= digits + 1 + 2 * column + 28
        return cls(max(0, width - digits - 1 - column - column * mean), digits, mean)

    def site(self, site: SiteCount) -> Line:
        name = printable(site.site)
        if len(name) > self.names:
            # The end tells sites apart: file name and line.
            name = "…" + name[len(name) - self.names + 1 :] if self.names > 1 else ""
        return self.line(
            name, "", site.count, None if site.untimed == site.count else site.total_ns
        )

    def line(self, name: str, style: str, count: int, total: int | None) -> Line:
        return line(
            (words.pad(name, self.names), style),
            (f" {words.count(count):>{self.digits}}", "bold $warning"),
            (f"  {words.duration(total):>{words.DURATION_WIDTH}}", style),
            (f"  {words.duration(total / count) if total else '-':>8}" if self.mean else "", MUTED),
        )
