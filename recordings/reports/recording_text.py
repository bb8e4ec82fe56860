# SPDX-License-Identifier: GPL-2.0-only
"""A snapshot as text for people: ``vmemscope report``.

The first line is the answer. Plain text when piped, at most 80 columns wide there; colour on a
terminal only repeats what the words say. Whatever a kernel or a file wrote is shown through
``printable`` and never read as markup.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.console import Console, ConsoleRenderable
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recordings.analysis.what_if import Supposed
from recordings.format.header import Header
from recordings.ledger.headline import WORDS, answer, calls
from recordings.ledger.histogram import ERROR
from recordings.ledger.snapshot import Operation, Snapshot, Verdict
from recordings.ledger.warn_shares import warn_shares
from recordings.reports.text_layout import emit, hanging, line
from recordings.reports.what_if_report import LABEL, headline, sentences, supposition
from recordings.wording.escape import printable
from recordings.wording.units import address, count, duration, share, size
from tracers.explain import bits_in_use, blindness, judged, why_silent
from tracers.kernel_functions import name
from tracers.machine import Machine
from tracers.window import Window

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
    supposed: Supposed | None = None,
) -> None:
    """Print the report of one recording to ``console``.

    ``closing``: its closing notes. ``supposed``: the answer to a what-if; it comes first, marked
    as hypothetical, and the report of what was recorded stands below.
    """
    word = Text(WORDS[snapshot.verdict], _STYLES[snapshot.verdict])
    parts = [] if supposed is None else list(_supposed(supposed))
    parts.append(hanging(word, answer(snapshot)))
    parts += _caveats(snapshot)
    parts.append(Text())
    parts += (line(label, text) for label, text in _facts(header.machine, snapshot))
    parts += (line("" if at else "at the end", printable(n)) for at, n in enumerate(closing))
    parts += _tables(snapshot)
    emit(console, parts)


def _supposed(supposed: Supposed) -> Iterator[ConsoleRenderable]:
    yield hanging(Text(LABEL, _STYLES[supposed.verdict]), supposition(supposed.asked), width=11)
    yield line("", Text(headline(supposed), _STYLES[supposed.verdict]))
    if supposed.asked.whose:
        yield line("", f"its window: {printable(supposed.asked.whose)}")
    yield from (line("", text) for text in sentences(supposed))
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
    derived = f" ({count(snapshot.derived)} derived†, not observed)" if snapshot.derived else ""
    yield "calls", f"{count(snapshot.populate)} populate, {count(snapshot.free)} free{derived}"
    names = ("inside", "below", "above", "wrapped", "straddling", "unknown")
    found = [(getattr(snapshot.regimes, name), name) for name in names]
    yield "regimes", ", ".join(f"{count(n)} {name}" for n, name in found if n) or "no call judged"
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
    pairing = snapshot.pairing
    rest = (
        (pairing.never_freed, "never freed"),
        (pairing.never_populated, "freed but never populated"),
        (pairing.populated_twice, "populated twice"),
    )
    told = "".join(f", {count(number)} {what}" for number, what in rest if number)
    yield "pairing", f"{count(pairing.paired)} populated and freed{told}"
    yield (
        "losses",
        Text("none known") if not snapshot.losses else Text(snapshot.losses.describe(), "yellow"),
    )
    if snapshot.orphan_exits:
        yield "orphans", f"{count(snapshot.orphan_exits)} exits of calls that began unseen"
    for at, part in enumerate(warn_shares(snapshot)):
        told = f"{share(part.share)} of {part.what}: {duration(part.warn_ns)} of the "
        yield (
            "" if at else "in WARN",
            f"{told}{duration(part.total_ns)} in {name(part.kind)}",
        )
    yield from _unfinished(snapshot)
    if snapshot.section_add_reason:
        yield "timing", f"no section-add: {printable(snapshot.section_add_reason)}"


def _silent(window: Window | None, snapshot: Snapshot) -> str:
    """Say of how many hits the kernel says nothing, and why of the first."""
    number = f"{count(snapshot.silent)} of {count(snapshot.hits)} hits"
    first = next((extent for extent in snapshot.extents if extent.silent), None)
    if window is None or first is None:
        return number
    return f"{number}. {why_silent(window, first.start, first.end)}"


def _window(window: Window | None) -> Iterator[tuple[str, str]]:
    if window is None:
        yield "window", "not known: no call can be judged"
        return

    def told(name: str) -> str:
        origin = window.provenance.get(name)
        return f" ({printable(origin)})" if origin else ""

    yield "window", f"{address(window.start)} - {address(window.end)}{told('window')}"
    facts = []
    if window.va_bits is not None:
        facts.append(f"{window.va_bits}-bit VA{told('va_bits')}")
    if window.page_size is not None:
        facts.append(f"{size(window.page_size)} pages{told('page_size')}")
    if window.struct_page is not None:
        facts.append(f"struct page {size(window.struct_page)}{told('struct_page')}")
    if facts:
        yield "", ", ".join(facts)
    if window.memstart is not None:
        yield "", f"memstart {address(window.memstart)}{told('memstart')}"
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
        rows = [
            (
                printable(site.site),
                count(site.count),
                "?" if site.untimed == site.count else duration(site.total_ns),
                count(site.untimed) if site.untimed else "",
            )
            for site in snapshot.sites[:ROWS]
        ]
        untimed = "untimed" if any(row[3] for row in rows) else ""
        yield _table(("WARN at", "count", "time", untimed), rows, wide=0)
        yield from _rest(len(rows), len(snapshot.sites), "site")
    if snapshot.timings:
        timing = [
            (
                name(kind),
                count(t.count),
                *map(duration, (t.total_ns, t.p50_ns, t.p99_ns, t.max_ns)),
            )
            for kind, t in snapshot.timings.items()
        ]
        yield _table(("finished calls", "count", "total", "p50", "p99", "max"), timing, wide=0)
        yield Padding(Text(f"p50 and p99 are within {ERROR:.1%} of the true value", "dim"), (0, 2))
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
        "unfinished" if operation.duration_ns is None else duration(operation.duration_ns),
        _in_warn(operation),
    )


def _in_warn(operation: Operation) -> str:
    if not operation.warnings:
        return "-"
    known = operation.warn_share is not None
    return share(operation.warn_share) if known else duration(operation.warn_ns)


def _table(heads: Iterable[str], rows: Iterable[tuple[str, ...]], *, wide: int) -> Padding:
    """Make a table without lines; column ``wide`` gives way where the screen is narrow."""
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
    ending = "" if number == 1 else "es" if what.endswith("ch") else "s"
    return f"and {count(number)} more {what}{ending}"


def _since(ts_ns: int, snapshot: Snapshot) -> str:
    return f"+{duration(ts_ns - (snapshot.first_ns or 0))}"
