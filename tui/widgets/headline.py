# SPDX-License-Identifier: GPL-2.0-only
"""The first panel of the screen: the verdict and who, its cost, where; then what it rests on.

Promises: three lines that are always there, and as many below as there is to say: errors and what
is missing before anything else, then the window, the machine and remarks. What does not fit is left
out from below. It is as high as its lines are, up to what the style allows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recordings.format.header import Header
from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.ledger.verdict import beyond_remark
from recordings.reports.audit_lines import before_facts
from recordings.reports.probe_summary import summary, watching
from recordings.wording.escape import printable
from tracers.formulas import WindowError
from tracers.window import Window
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.findings import (
    WAITING,
    Part,
    answer,
    cost,
    failed,
    fit,
    where,
    who,
    word,
)
from tui.widgets.panel import MUTED, Line, Panel, line

#: From this width on facts of the machine stand at the right edge of the three lines.
WIDE = 120


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the panel shows."""

    snapshot: Snapshot
    word: tuple[str, str]
    final: bool
    error: str
    live: bool = False
    filtered: bool = False  # the numbers are those of what matches a filter


def machine_facts(header: Header) -> list[str]:
    """Return the kernel and the facts its window follows from, the most telling first."""
    machine = header.machine
    facts = [f"Linux {printable(machine.release) if machine.release else 'of unknown release'}"]
    facts += [printable(machine.arch)] if machine.arch else []
    window = machine.window
    if window is not None:
        if window.va_bits is not None:
            facts.append(f"{window.va_bits}-bit VA")
        if window.page_size is not None:
            facts.append(f"{words.size(window.page_size)} pages")
        if window.memstart is not None:
            facts.append(f"memstart 0x{window.memstart:x}")
        if window.struct_page is not None:
            facts.append(f"struct page {window.struct_page} B")
    return facts


def window_facts(window: Window) -> list[str]:
    """Return the window, its size and where both come from."""
    first, *others = window.provenance.get("window", "?").split(" + ")
    origin = printable(first) + (f" and {len(others)} more" if others else "")
    facts = [
        f"{words.address(window.start)} - {words.address(window.end)}",
        f"from {origin}",
        words.size(window.size),
    ]
    if window.use_known and window.used[0] != window.start:
        facts.append(f"in use from {words.address(window.used[0])}")
    if window.family is not None:
        facts.append(f"as the formula of {window.family.label} gives")
    return facts


def blind_line(window: Window | None, width: int) -> Line | None:
    """Return the line that says where the kernel's WARN misses hits; None: it misses none."""
    if window is None or window.used[0] == window.start:
        return None
    begin = words.address(window.used[0])
    if not window.use_known:
        text = f"calls below {begin} cannot be judged"
        return labelled("blind", [text, "how many address bits are in use is not known"], width)
    facts = [f"{window.vabits_actual} of {window.va_bits} address bits in use", f"below {begin}"]
    try:
        first, _ = window.phys_range
    except WindowError:
        return labelled("blind", [f"no WARN below {begin}", *facts[:1]], width)
    if not first:
        return None  # no page leads there
    return labelled("blind", [f"no WARN below physical 0x{first:x}", *facts], width)


def labelled(label: str, facts: Sequence[str], width: int) -> Line:
    """Return a label and the facts that fit whole, the first at any rate."""
    head = f"{label:<7}"
    parts = [Part(rank, (text,), MUTED if rank else "") for rank, text in enumerate(facts)]
    return ((head, MUTED), *fit(parts, width - len(head)))


class Headline(Panel[Facts]):
    """Three lines, and below them what they rest on."""

    def __init__(self, header: Header, problems: Sequence[str], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._header = header
        self._problems = tuple(problems)
        self._error = ""

    def fail(self, message: str) -> None:
        """Show an error above everything else, from now on."""
        self._error = message
        if self._facts is not None:
            self._facts = replace(self._facts, error=message)
            self.redraw()

    def facts(self, view: PlayerView) -> Facts:
        """Return the numbers and whether they are final."""
        live = view.live
        return Facts(
            view.snapshot,
            word(view),
            view.final,
            self._error or (live.failure if live else ""),
            live is not None,
            bool(view.listed.filter),
        )

    def redraw(self) -> None:
        """Be as high as there are lines, then draw."""
        if self._facts is not None and self.size.width:
            lines = len(self.draw(self._facts, self.size.width, 99)) + self.gutter.height
            if self.styles.height is None or self.styles.height.value != lines:
                self.styles.height = lines
        super().redraw()

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return the three lines and what is below."""
        snapshot, window = facts.snapshot, self._header.machine.window
        name, colour = facts.word
        badge = f" {name} "
        indent = len(badge) + 1 if width >= WIDE else 7
        if facts.live and not facts.final and not snapshot.events:
            told = [Part(0, (WAITING,), "bold")]
        elif self._matchless(facts):
            none = Part(0, ("no call matches the filter", "no call matches"), "bold")
            told = [*failed(snapshot), none]
        else:
            told = [*answer(snapshot, final=facts.final), *who(snapshot)]
        kernel = machine_facts(self._header)
        window_told = window_facts(window) if window is not None else []
        lines = []
        if facts.error:
            lines.append(line(("ERROR ", "bold $error"), (printable(facts.error), "$error")))
        room = width - len(badge) - 1
        first, kernel_left = _beside(fit(told, room), kernel, room, 2)
        lines.append(((badge, f"bold reverse {colour}"), (" ", ""), *first))
        room = width - indent
        lines.append(((f"{'COST':<{indent}}", MUTED), *fit(self._cost(facts), room)))
        placed, window_left = _beside(
            fit(self._where(facts), room),
            window_told and [f"window {window_told[0]}", *window_told[1:3]],
            room,
            3,
        )
        lines.append(((f"{'WHERE':<{indent}}", MUTED), *placed))
        caveats = [words.clip(caveat, width) for caveat in self._caveats(facts)]
        lines += [line((caveat, "$text-warning")) for caveat in caveats[:1]]
        if before := before_facts(snapshot):
            lines.append(labelled("before", before, width))
        if blind := blind_line(window, width):
            lines.append(blind)
        if facts.live:
            probes = f"{watching(self._header.probes)}: {summary(self._header.probes)}"
            lines.append(line((words.clip(probes, width), MUTED)))
        if window_told and window_left:
            lines.append(labelled("window", window_told, width))
        if kernel_left:
            lines.append(labelled("kernel", kernel, width))
        lines += [line((caveat, MUTED)) for caveat in caveats[1:]]
        return lines[:height]

    @staticmethod
    def _matchless(facts: Facts) -> bool:
        return facts.filtered and not facts.snapshot.populate + facts.snapshot.free

    def _cost(self, facts: Facts) -> list[Part]:
        return [Part(0, ("-",), MUTED)] if self._matchless(facts) else cost(facts.snapshot)

    def _where(self, facts: Facts) -> list[Part]:
        if self._matchless(facts) and not facts.snapshot.faults_total:
            return [Part(0, ("-",), MUTED)]
        return where(
            facts.snapshot,
            self._header.machine.window,
            self._header.probes,
            live=facts.live,
            problems=bool(self._problems),
        )

    def _caveats(self, facts: Facts) -> Iterator[str]:
        """Say why the counts may be short of the truth or why there is no verdict.

        Where the machine is the trouble, its problems come before what follows from them.
        """
        snapshot, machine = facts.snapshot, self._header.machine
        if snapshot.losses:
            yield f"counts are lower bounds: {snapshot.losses.describe()}"
        troubled = machine.window is None or not machine.agree
        if troubled:
            yield from (printable(problem) for problem in self._problems)
        if snapshot.verdict is Verdict.INCONCLUSIVE and facts.final:
            yield "; ".join(printable(reason) for reason in snapshot.verdict_reasons)
        elif snapshot.calls_beyond:
            yield beyond_remark(snapshot.calls_beyond)
        if not troubled:
            yield from (printable(problem) for problem in self._problems)


def _beside(told: Line, facts: Sequence[str], width: int, needed: int) -> tuple[Line, bool]:
    """Return a line with facts at its right edge, and whether fewer than ``needed`` fit there."""
    used = sum(len(text) for text, _ in told)
    room = width - used - 3
    shown = list(facts)
    while shown and len(" · ".join(shown)) > room:
        shown.pop()
    if width < WIDE - 20 or len(shown) < min(needed, len(facts)) or not shown:
        return told, bool(facts)
    text = " · ".join(shown)
    return (*told, (" " * (width - used - len(text)), ""), (text, MUTED)), False
