# SPDX-License-Identifier: GPL-2.0-only
"""A snapshot as text: ``vmemscope report``.

The first line is the verdict. Plain text when piped, at most 80 columns wide there; colour on a
terminal only repeats what the words say. Whatever a kernel or a file wrote is shown through
``printable`` and never read as markup.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console, ConsoleRenderable
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recordings.format.header import Header
from recordings.ledger.headline import WORDS, calls, verdict_summary
from recordings.ledger.histogram import ERROR
from recordings.ledger.snapshot import Operation, Snapshot, Verdict
from recordings.ledger.warn_shares import warn_shares
from recordings.reports import faults, requests
from recordings.reports.audit_lines import audit_lines
from recordings.reports.report_rows import (
    SITE_HEADS,
    TIMING_HEADS,
    in_warn,
    regime_counts,
    site_row,
    timing_rows,
    took,
    window_sizes,
)
from recordings.reports.text_layout import emit, hanging, line
from recordings.reports.warn_share_text import of_each, ours, spent
from recordings.wording.escape import printable
from recordings.wording.units import address, count, duration, share
from tracers.explain import bits_in_use, blindness, judged, why_silent
from tracers.kernel_functions import OOPS, name
from tracers.machine import Machine
from tracers.window import Window

if TYPE_CHECKING:
    from recordings.analysis.what_if import WhatIfResult

#: Rows of a table; beyond it the text says how many more there are (all are in the JSON).
ROWS: Final = 16

_STYLES: Final = {
    Verdict.OUT_OF_RANGE: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.CLEAN: "bold green",
}


def render(
    console: Console,
    header: Header,
    snapshot: Snapshot,
    *,
    closing: Sequence[str] = (),
    what_if: "WhatIfResult | None" = None,
) -> None:
    """Print the report of one recording to ``console``.

    ``closing``: its closing notes. ``what_if``: the result of a what-if; it comes first, marked
    as hypothetical, and the report of what was recorded stands below.
    """
    word = Text(WORDS[snapshot.verdict], _STYLES[snapshot.verdict])
    parts = [] if what_if is None else list(_what_if(what_if))
    parts.append(hanging(word, verdict_summary(snapshot)))
    parts += _caveats(snapshot)
    parts.append(Text())
    parts += (line(label, text) for label, text in _facts(header.machine, snapshot))
    parts += (line("" if at else "at the end", printable(n)) for at, n in enumerate(closing))
    parts += _tables(snapshot)
    emit(console, parts)


def _what_if(what_if: "WhatIfResult") -> Iterator[ConsoleRenderable]:
    from recordings.reports.what_if_report import (  # noqa: PLC0415 (few reports have one)
        LABEL,
        conditions,
        headline,
        sentences,
    )

    yield hanging(Text(LABEL, _STYLES[what_if.verdict]), conditions(what_if.asked), width=11)
    yield line("", Text(headline(what_if), _STYLES[what_if.verdict]))
    if what_if.asked.whose:
        yield line("", f"its window: {printable(what_if.asked.whose)}")
    yield from (line("", text) for text in sentences(what_if))
    yield Text()
    yield Text("As recorded:", "bold")


def _caveats(snapshot: Snapshot) -> Iterator[ConsoleRenderable]:
    for reason in snapshot.verdict_reasons[1:]:
        yield line("", Text(reason, "yellow"))


def _facts(machine: Machine, snapshot: Snapshot) -> Iterator[tuple[str, str | Text]]:
    release = printable(machine.release) if machine.release else "not known"
    build = f"  build {printable(machine.build_id)[:16]}" if machine.build_id else ""
    yield "kernel", release + build
    yield from _window(machine.window)
    for problem in machine.problems:
        yield "problem", Text(printable(problem), "yellow")
    yield from audit_lines(snapshot)
    derived = f" ({count(snapshot.derived)} derived†, not observed)" if snapshot.derived else ""
    yield "calls", f"{count(snapshot.populate)} populate, {count(snapshot.free)} free{derived}"
    yield "regimes", regime_counts(snapshot.regimes)
    if snapshot.would_warn != snapshot.hits:
        yield "", f"the kernel's own comparison is true for {calls(snapshot.would_warn)}"
    if snapshot.silent:
        yield "silent", Text(_silent(machine.window, snapshot), _STYLES[Verdict.OUT_OF_RANGE])
    for at, extent in enumerate(snapshot.extents[:ROWS]):
        where = f"{address(extent.start)} - {address(extent.end)}"
        on = f", on {printable(extent.lands_on)}" if extent.lands_on else ""
        number = calls(extent.populate + extent.free)
        regime = judged(extent.regime, silent=extent.silent)
        yield "" if at else "hits lie", f"{where} {regime}{on}, {number}"
    yield from _more("", len(snapshot.extents[:ROWS]), snapshot.extents_total, "stretch")
    yield from _oopses(snapshot)
    yield from _requests(machine, snapshot)
    pairing = snapshot.pairing
    rest = (
        (pairing.never_freed, "never freed"),
        (pairing.never_populated, "freed but never populated"),
        (pairing.populated_twice, "populated twice"),
    )
    unpaired = "".join(f", {count(number)} {what}" for number, what in rest if number)
    yield "pairing", f"{count(pairing.paired)} populated and freed{unpaired}"
    yield (
        "losses",
        Text("none known") if not snapshot.losses else Text(snapshot.losses.describe(), "yellow"),
    )
    if snapshot.orphan_exits:
        yield "orphans", f"{count(snapshot.orphan_exits)} exits whose entry is not in the recording"
    for at, part in enumerate(warn_shares(snapshot)):
        yield "" if at else "in WARN", f"{share(part.share)} of {part.what}: {spent(part)}"
        if part.ours:
            yield "", ours(part)
    yield from _unfinished(snapshot)
    if snapshot.section_add_reason:
        yield "timing", printable(snapshot.section_add_reason)


def _oopses(snapshot: Snapshot) -> Iterator[tuple[str, str | Text]]:
    """Yield where the kernel failed."""
    if snapshot.faults_total > 1:
        yield "Oopses", regime_counts(snapshot.fault_regimes)
    for fault in faults.shown(snapshot):
        style = _STYLES[Verdict.OUT_OF_RANGE if fault.outside else Verdict.INCONCLUSIVE]
        text = f"{faults.page(fault)}, at {_since(fault.ts_ns, snapshot)}"
        yield OOPS, Text(printable(text), style)
        of = faults.frame(fault)
        yield "", printable(f"{of}, {faults.task(fault)}" if of else faults.task(fault))
        if fault.chain:
            yield "", printable(fault.chain)
    yield from _more("", 0, faults.rest(snapshot), OOPS)


def _requests(machine: Machine, snapshot: Snapshot) -> Iterator[tuple[str, str | Text]]:
    """Yield what was asked for of free physical regions, and what the kernel said."""
    if not snapshot.requests_total and not snapshot.refusals:
        return
    style = _STYLES[Verdict.INCONCLUSIVE] if snapshot.refusals else ""
    yield "regions", Text(f"asked for: {requests.counted(snapshot)}", style)
    for sentence in requests.sentences(snapshot, machine):
        yield "", printable(sentence)


def _silent(window: Window | None, snapshot: Snapshot) -> str:
    """Return the number of silent hits, and why the first is silent."""
    number = f"{count(snapshot.silent)} of {count(snapshot.hits)} hits"
    first = next((extent for extent in snapshot.extents if extent.silent), None)
    if window is None or first is None:
        return number
    return f"{number}. {why_silent(window, first.start, first.end)}"


def _window(window: Window | None) -> Iterator[tuple[str, str]]:
    if window is None:
        yield "window", "not known: no call can be judged"
        return

    def origin_of(fact: str) -> str:
        origin = window.provenance.get(fact)
        return f" ({printable(origin)})" if origin else ""

    yield "window", f"{address(window.start)} - {address(window.end)}{origin_of('window')}"
    if sizes := [f"{text}{origin_of(fact)}" for fact, text in window_sizes(window)]:
        yield "", ", ".join(sizes)
    if window.memstart is not None:
        yield "", f"memstart {address(window.memstart)}{origin_of('memstart')}"
    if window.used[0] != window.start:
        first, end = window.used
        yield "in use", f"{address(first)} - {address(end)}, {printable(bits_in_use(window))}"
        yield "", blindness(window)


def _unfinished(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    shown = snapshot.unfinished[-ROWS:]
    for at, call in enumerate(shown):
        who = f"{printable(call.comm)}-{'?' if call.tid is None else call.tid}"
        when = _since(call.ts_ns, snapshot)
        yield "" if at else "unfinished", f"{name(call.kind)} by {who}, began at {when}"
    yield from _more("", len(shown), snapshot.unfinished_total, "unfinished call")


def _tables(snapshot: Snapshot) -> Iterator[ConsoleRenderable]:
    if snapshot.sites:
        rows = [tuple(map(printable, site_row(site))) for site in snapshot.sites[:ROWS]]
        yield _table(SITE_HEADS, rows, wide=0)
        yield from _rest(len(rows), len(snapshot.sites), "site")
    if snapshot.timings:
        yield _table(TIMING_HEADS, timing_rows(snapshot), wide=0)
        about = f"p50 and p99 are within {ERROR:.1%} of the true value; {of_each(snapshot)}"
        yield Padding(Text(about, "dim"), (0, 2))
    if snapshot.operations:
        shown = snapshot.operations[-ROWS:]
        heads = ("operation", "by", "at", "sections", "hits", "took", "in WARN")
        yield _table(heads, [_operation(op, snapshot) for op in shown], wide=1)
        yield from _rest(len(shown), snapshot.operations_total, "earlier operation")


def _operation(operation: Operation, snapshot: Snapshot) -> tuple[str, ...]:
    pid = "?" if operation.pid is None else str(operation.pid)
    return (
        name(operation.kind),
        f"{printable(operation.comm)}-{pid}",
        _since(operation.start_ns, snapshot),
        count(operation.sections) + ("†" if operation.derived else ""),
        count(operation.hits),
        took(operation),
        in_warn(operation),
    )


def _table(heads: Iterable[str], rows: Iterable[tuple[str, ...]], *, wide: int) -> Padding:
    """Make a table without lines; column ``wide`` is cut where the screen is narrow."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, head in enumerate(heads):
        table.add_column(
            Text(head),
            justify="left" if at in (0, wide) else "right",
            no_wrap=True,
            overflow="ellipsis" if at == wide else "fold",
            min_width=None if at == wide else len(head),
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return Padding(table, (1, 0, 0, 2))


def _more(label: str, shown: int, total: int, what: str) -> Iterator[tuple[str, str]]:
    if total > shown:
        yield label, _and_more(total - shown, what)


def _rest(shown: int, total: int, what: str) -> Iterator[ConsoleRenderable]:
    if total > shown:
        yield Padding(Text(_and_more(total - shown, what), "dim"), (0, 2))


def _and_more(number: int, what: str) -> str:
    ending = "" if number == 1 else "es" if what.endswith(("ch", "s")) else "s"
    return f"and {count(number)} more {what}{ending}"


def _since(ts_ns: int, snapshot: Snapshot) -> str:
    return f"+{duration(ts_ns - (snapshot.first_ns or 0))}"
