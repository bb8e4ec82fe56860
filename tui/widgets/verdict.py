# SPDX-License-Identifier: GPL-2.0-only
"""The first panel of the screen: the verdict in words, its cost, the machine, the window.

``headline`` and ``cost`` are plain functions of a snapshot, so that their words are tested
without a screen and can be quoted elsewhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

from recordings.format.header import Header
from recordings.ledger.snapshot import Regimes, Snapshot, Verdict
from recordings.ledger.verdict import beyond_remark
from recordings.ledger.warn_shares import warn_shares
from recordings.reports.probe_summary import summary
from recordings.wording.escape import printable
from tracers.formulas import WindowError
from tracers.window import Window
from tui.playback.replay import PlayerView
from tui.widgets import words
from tui.widgets.panel import MUTED, Line, Panel, line

#: The verdict in words, and the theme variable of its colour.
WORDS = {
    Verdict.CLEAN: ("CLEAN", "$success"),
    Verdict.OUT_OF_RANGE: ("OUT OF RANGE", "$error"),
    Verdict.INCONCLUSIVE: ("INCONCLUSIVE", "$warning"),
}
NOTHING_YET = ("NOTHING YET", "$primary")
#: What a live screen shows before the first event.
WAITING = "waiting for memory hot-add or hot-remove"
#: Where a hit of each regime lies, in words.
_WHERE = {
    "below": "below",
    "above": "above",
    "wrapped": "wrapped into the user half",
    "straddling": "straddling its edge",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the panel shows."""

    snapshot: Snapshot
    at_end: bool
    error: str
    live: bool = False


def word(view: PlayerView) -> tuple[str, str]:
    """Return the verdict's word and the theme variable of its colour."""
    return _word(view.snapshot, at_end=view.at_end)


def _word(snapshot: Snapshot, *, at_end: bool) -> tuple[str, str]:
    # Midway only a hit is certain: neither "clean" nor "inconclusive" can be said yet.
    if not at_end and snapshot.verdict is not Verdict.OUT_OF_RANGE:
        if not snapshot.populate + snapshot.free:
            return NOTHING_YET
        if snapshot.verdict is Verdict.CLEAN:
            return "CLEAN SO FAR", "$success"
    return WORDS[snapshot.verdict]


def headline(snapshot: Snapshot, *, at_end: bool) -> str:
    """Return the verdict's sentence: how many calls, how many of them where."""
    regimes, total = snapshot.regimes, snapshot.populate + snapshot.free
    so_far = "" if at_end else " so far"
    if snapshot.hits:
        return (
            f"{words.count(snapshot.hits)} of {words.calls(total)}{so_far} "
            f"outside the window, {_where(regimes)}{_silent(snapshot)}"
        )
    if not total:
        return f"no populate or free call{so_far}"
    if regimes.unknown:
        return f"{words.count(regimes.unknown)} of {words.calls(total)}{so_far} cannot be judged"
    return f"all {words.calls(total)}{so_far} inside the window"


def _silent(snapshot: Snapshot) -> str:
    if not snapshot.silent:
        return ""
    number = "all" if snapshot.silent == snapshot.hits > 1 else words.count(snapshot.silent)
    return f", {number} silent"


def _where(regimes: Regimes) -> str:
    counts = [(name, n) for name in _WHERE if (n := getattr(regimes, name))]
    if len(counts) == 1:
        return ("all " if counts[0][1] > 1 else "") + _WHERE[counts[0][0]]
    return ", ".join(f"{words.count(n)} {_WHERE[name]}" for name, n in counts)


def cost(snapshot: Snapshot) -> str:
    """Return what the WARNs cost, and which share of hot-add and hot-remove that is."""
    if not snapshot.warnings and snapshot.silent == snapshot.hits > 0:
        return "no WARN: the kernel's own check lets these hits pass"
    if not snapshot.warnings:
        return "no WARN fired" if not snapshot.hits else "no WARN seen for these hits"
    fired = words.calls(snapshot.warnings, "WARN")
    untimed = sum(site.untimed for site in snapshot.sites)
    if untimed == snapshot.warnings:
        return f"{fired}, their cost not known"
    shares = [
        f"{words.share(part.share)} of the {part.what} "
        f"({words.function(part.kind)} {words.duration(part.total_ns)})"
        for part in warn_shares(snapshot)
    ]
    least = "at least " if untimed else ""
    text = f"{fired} cost {least}{words.duration(snapshot.warn_ns)}"
    return f"{text}: {', '.join(shares)}" if shares else text


def kernel(header: Header, width: int) -> Line:
    """Return the line naming the kernel and the facts its window follows from."""
    machine = header.machine
    name = f"Linux {printable(machine.release) if machine.release else 'of unknown release'}"
    facts = [printable(machine.arch)] if machine.arch else []
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
    return _fitting("kernel  ", name, facts, width)


def _origin(provenance: str) -> str:
    """Return where the window is from: the most trusted source; the explain screen lists all."""
    first, *others = provenance.split(" + ")
    return printable(first) + (f" and {len(others)} more" if others else "")


def _fitting(label: str, text: str, facts: list[str], width: int) -> Line:
    """Join what fits whole; the last facts go first."""
    while facts and len(label) + len(text) + len(" · ".join(["", *facts])) > width:
        facts = facts[:-1]
    return line((label, MUTED), words.clip(text, width), (" · ".join(["", *facts]), MUTED))


def window_line(window: Window | None, width: int, *, live: bool = False) -> Line:
    """Return the line with the window, its size and where both come from."""
    if window is None:
        text = "not known: no side files of the machine were given"
        if live:
            text = "not known here, so no call can be judged: see vmemscope doctor"
        return line(("window  ", MUTED), (text, "$warning"))
    text = f"{words.address(window.start)} - {words.address(window.end)}"
    facts = [f"from {_origin(window.provenance.get('window', '?'))}", words.size(window.size)]
    if window.use_known and window.used[0] != window.start:
        facts.append(f"in use from {words.address(window.used[0])}")
    if window.family is not None:
        facts.append(f"as the formula of {window.family.label} gives")
    return _fitting("window  ", text, facts, width)


def blind_line(window: Window | None, width: int) -> Line | None:
    """Return the line that says where the kernel's WARN misses hits; None: it misses none."""
    if window is None or window.used[0] == window.start:
        return None
    begin = words.address(window.used[0])
    if not window.use_known:
        text = f"calls below {begin} cannot be judged"
        return _fitting("blind   ", text, ["how many address bits are in use is not known"], width)
    facts = [f"{window.vabits_actual} of {window.va_bits} address bits in use", f"below {begin}"]
    try:
        first, _ = window.phys_range
    except WindowError:
        return _fitting("blind   ", f"no WARN below {begin}", facts[:1], width)
    if not first:
        return None  # no page leads there
    return _fitting("blind   ", f"no WARN below physical 0x{first:x}", facts, width)


class VerdictPanel(Panel[Facts]):
    """Up to six lines, the most important first; what does not fit is left out from below."""

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
            view.at_end,
            self._error or (live.failure if live else ""),
            live is not None,
        )

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return verdict, cost, what is missing, kernel, window and remarks."""
        snapshot = facts.snapshot
        name, colour = _word(snapshot, at_end=facts.at_end)
        waiting = facts.live and not facts.at_end and not snapshot.events
        probes = f"probes on: {summary(self._header.probes)}"
        sentence = WAITING if waiting else headline(snapshot, at_end=facts.at_end)
        badge = f" {name} "
        first, *more = wrap(sentence, max(20, width - len(badge) - 2))
        lines = [line((badge, f"bold reverse {colour}"), "  ", (first, "bold"))]
        lines += [line(" " * (len(badge) + 2), (rest, "bold")) for rest in more]
        cost_line = probes if waiting else cost(snapshot)
        if len(cost_line) > width and not waiting:
            cost_line = cost_line.partition(": ")[0] + _first_share(cost_line)
        lines.append(line((words.clip(cost_line, width), "" if snapshot.warnings else MUTED)))
        if facts.error:
            lines.insert(0, line(("ERROR ", "bold $error"), (printable(facts.error), "$error")))
        if caveat := self._caveat(snapshot, at_end=facts.at_end):
            lines.append(line((words.clip(caveat, width), "$text-warning")))
        window = self._header.machine.window
        if blind := blind_line(window, width):
            lines.append(blind)
        lines += [kernel(self._header, width), window_line(window, width, live=facts.live)]
        if facts.live and not waiting:
            lines.append(line((words.clip(probes, width), MUTED)))
        lines += [line((words.clip(text, width), MUTED)) for text in self._remarks(snapshot)]
        return lines

    def _caveat(self, snapshot: Snapshot, *, at_end: bool) -> str:
        """Say why the counts may be short of the truth, or why there is no verdict."""
        if snapshot.losses:
            return f"counts are lower bounds: {snapshot.losses.describe()}"
        if snapshot.verdict is Verdict.INCONCLUSIVE and at_end:
            return "; ".join(printable(reason) for reason in snapshot.verdict_reasons)
        return printable(self._problems[0]) if self._problems else ""

    def _remarks(self, snapshot: Snapshot) -> Iterator[str]:
        if snapshot.derived:
            yield (
                f"† {words.calls(snapshot.derived)} derived from the arguments of "
                "__add_pages / __remove_pages"
            )
        if snapshot.calls_beyond:
            yield beyond_remark(snapshot.calls_beyond)
        yield from (printable(problem) for problem in self._problems[1:])


def _first_share(cost_line: str) -> str:
    share = cost_line.partition(": ")[2].partition(" (")[0]
    return f", {share}" if share else ""
