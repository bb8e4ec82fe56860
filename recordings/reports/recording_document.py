# SPDX-License-Identifier: GPL-2.0-only
"""Builds the document of a report on a recording: cause, layout, example, costs, unknowns.

The Markdown and the mail render the same document; its model is Ard Biesheuvel's mail of 7 April
2023, with this machine's numbers. Promises: hypothetical parts are marked as such.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from recordings.format.header import Header
from recordings.ledger.headline import WORDS, calls, oopses, verdict_summary
from recordings.ledger.snapshot import Extent, Operation, Snapshot, Verdict
from recordings.reports import faults, requests
from recordings.reports.audit_lines import audit_lines
from recordings.reports.causes import causes, cost
from recordings.reports.document import (
    Block,
    Facts,
    Foreign,
    Heading,
    Items,
    Lines,
    Paragraph,
    Table,
)
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
from recordings.wording.units import address, count, size
from tracers.cover import PA_BITS, pfn_spans
from tracers.explain import bits_in_use, blindness, explain, judged
from tracers.families import TOP
from tracers.formulas import WindowError, signed_hex
from tracers.kernel_functions import OOPS, name
from tracers.layout import Layout
from tracers.machine import Machine
from tracers.machine_window import ASSUMED
from tracers.window import Window

if TYPE_CHECKING:
    from recordings.analysis.what_if import WhatIfResult

#: Rows of a table; beyond it the report says how many more there are.
ROWS: Final = 12
#: How an importer joins the functions of a call chain in the notes it leaves.
_CHAIN: Final = " <- "
#: Regions too far from the window to matter unless a call landed there.
_FAR: Final = ("user half", "non-canonical")


def document_of(
    header: Header,
    snapshot: Snapshot,
    *,
    closing: Sequence[str] = (),
    what_if: "WhatIfResult | None" = None,
    remedies: "Sequence[tuple[str, WhatIfResult]]" = (),
) -> Iterator[Block]:
    """Yield the report of one recording.

    ``closing``: its closing notes. ``what_if``: the result of a what-if that was asked for.
    ``remedies``: what each of the known patches would do, by name.
    """
    machine = header.machine
    yield Heading(f"{WORDS[snapshot.verdict]}: {verdict_summary(snapshot)}", 1)
    if text := [*causes(machine.window, snapshot), *filter(None, (cost(snapshot),))]:
        yield Paragraph(" ".join(text))
    if what_if is not None:
        yield from _what_if(what_if)
    yield from _kernel(machine)
    yield from _mapped(snapshot)
    yield from _layout(machine, snapshot)
    yield from _oopses(snapshot)
    yield from _example(machine, snapshot)
    yield from _calls(snapshot)
    yield from _requests(machine, snapshot)
    yield from _costs(machine, snapshot)
    yield from _chains((*header.notes, *closing))
    yield from _remedies(remedies)
    yield from _unknown(header, snapshot, closing)


def _what_if(what_if: "WhatIfResult") -> Iterator[Block]:
    from recordings.reports.what_if_report import (  # noqa: PLC0415 (few reports have one)
        LABEL,
        conditions,
        headline,
        sentences,
    )

    yield Heading(f"{LABEL} {conditions(what_if.asked)}")
    yield Paragraph(f"A {headline(what_if)}. This did not happen; the rest of the report did.")
    items: list[str] = [Foreign(what_if.asked.whose)] if what_if.asked.whose else []
    items += sentences(what_if)
    if items:
        yield Items(tuple(items))


def _kernel(machine: Machine) -> Iterator[Block]:
    yield Heading("Kernel")
    rows: list[tuple[str, str]] = [("release", Foreign(machine.release or "not known"))]
    if machine.build_id:
        rows.append(("build id", Foreign(machine.build_id[:40])))
    if machine.window is None:
        rows.append(("window", "not known: no call can be judged"))
    else:
        rows += _window(machine.window)
    yield Facts(tuple(rows))


def _mapped(snapshot: Snapshot) -> Iterator[Block]:
    """Tell what the machine had outside when the recording began and when it ended."""
    if rows := tuple(audit_lines(snapshot)):
        yield Heading("Mapped outside the window")
        yield Facts(rows)


def _window(window: Window) -> Iterator[tuple[str, str]]:
    yield "VMEMMAP_START", address(window.start)
    yield "VMEMMAP_END", f"{address(window.end)}, {size(window.size)} higher"
    if origin := window.provenance.get("window"):
        yield "known by", Foreign(origin)
    if values := ", ".join(_size(window, fact, text) for fact, text in window_sizes(window)):
        yield "built for", values
    if window.used[0] != window.start:
        yield "in use", Foreign(f"from {address(window.used[0])} on, {bits_in_use(window)}")
    if blind := blindness(window):
        yield "blind", blind
    if window.memstart is not None:
        yield "memstart_addr", signed_hex(window.memstart)
    try:
        first, end = window.phys_range
    except WindowError:
        return
    yield "covers", f"physical 0x{first:x} - 0x{end:x}, {size(end - first)}"


def _size(window: Window, fact: str, text: str) -> str:
    """Return a size, and that it was assumed if it was."""
    return f"{text} (assumed)" if window.provenance.get(fact) == ASSUMED else text


def _layout(machine: Machine, snapshot: Snapshot) -> Iterator[Block]:
    window, layout = machine.window, machine.layout
    if window is None or layout is None:
        return
    yield Heading("What lies around the window")
    rows: list[tuple[str, ...]] = []
    for region in layout.regions:
        part = " in use" if window.used[0] != window.start else ""
        mark = f" <- the window{part}" if region.name == "vmemmap" else ""
        landed = [calls(number)] if (number := _landed(layout, snapshot, region.start)) else []
        failed = sum(
            1
            for f in snapshot.faults
            if f.start is not None and f.outside and layout.region_at(f.start) is region
        )
        if landed := [*landed, *([oopses(failed)] if failed else [])]:
            mark = f" <- {', '.join(landed)}"
        elif region.name in _FAR:
            continue
        end = "2^64" if region.end == TOP else address(region.end)
        extent = size(region.end - region.start)
        rows.append((address(region.start), end, extent, Foreign(f"{region.name}{mark}")))
    yield Table(("start", "end", "size", "region"), tuple(rows), frozenset({2}), wide=3)
    yield from _pages_by_regime(window, layout)


def _pages_by_regime(window: Window, layout: Layout) -> Iterator[Block]:
    """Say where pfn_to_page() leads for any pfn, range by range, as the mail does."""
    try:
        spans = pfn_spans(window, layout, 0, 1 << (PA_BITS - window.page_shift))
    except WindowError:
        return
    yield Heading("Where pfn_to_page(pfn) leads")
    rows = tuple(
        (
            f"0x{span.first_pfn:x} <= pfn < 0x{span.end_pfn:x}",
            judged(span.regime.value, silent=span.silent),
            Foreign(span.lands_on),
        )
        for span in spans
    )
    yield Table(("pfn", "regime", "lands on"), rows, wide=2)


def _oopses(snapshot: Snapshot) -> Iterator[Block]:
    """Say where the kernel failed, and who called that."""
    if not snapshot.faults_total:
        return
    yield Heading(OOPS if snapshot.faults_total == 1 else f"{OOPS}es")
    for fault in faults.shown(snapshot):
        yield Facts(tuple((label, Foreign(text)) for label, text in faults.facts(fault)))
        if frames := faults.callers(fault):
            yield Lines(tuple(frames))
    if more := faults.rest(snapshot):
        yield Paragraph(f"And {oopses(more)} before.")


def _landed(layout: Layout, snapshot: Snapshot, start: int) -> int:
    """Count the calls of listed extents that begin in the region that starts at ``start``."""
    return sum(
        extent.populate + extent.free
        for extent in snapshot.extents
        if layout.region_at(extent.start).start == start
    )


def _example(machine: Machine, snapshot: Snapshot) -> Iterator[Block]:
    """Explain the first range of each regime, up to the end of its first section."""
    window = machine.window
    if window is None:
        return
    seen: set[str] = set()
    for extent in snapshot.extents:
        regime = judged(extent.regime, silent=extent.silent)
        if regime in seen:
            continue
        seen.add(regime)
        end = _section_end(window, extent.start, extent.end)
        yield Heading(f"Example: the first range that is {regime}")
        yield Lines(explain(window, machine.layout, extent.start, end))
    for fault in snapshot.faults:
        if fault.start is not None and fault.regime not in seen:
            seen.add(fault.regime)
            yield Heading(f"Example: the first struct page of an {OOPS} that is {fault.regime}")
            yield Lines(explain(window, machine.layout, fault.start, fault.end))


def _section_end(window: Window, start: int, end: int) -> int:
    """Return where the first section of [start, end) ends, if that is known and within it."""
    try:
        step = window.section_vmemmap
        pages, pfn = window.section_pages, window.page_to_pfn(start)
        behind = window.pfn_to_page((pfn // pages + 1) * pages)
    except WindowError:
        return end
    return behind if 0 < behind - start <= step and start < behind <= (end or TOP) else end


def _calls(snapshot: Snapshot) -> Iterator[Block]:
    yield Heading("Calls")
    rows = [
        ("populate", count(snapshot.populate) + _derived(snapshot)),
        ("free", count(snapshot.free)),
        ("regimes", regime_counts(snapshot.regimes)),
        ("WARNs", count(snapshot.warnings)),
    ]
    if snapshot.faults_total:
        number = f"{count(snapshot.faults_total)}: {regime_counts(snapshot.fault_regimes)}"
        rows.append((f"{OOPS}es", number))
    if snapshot.silent:
        text = f"{count(snapshot.silent)} hits that the kernel's own check lets pass"
        rows.insert(3, ("silent", text))
    yield Facts(tuple(rows))
    shown = snapshot.extents[:ROWS]
    if warned := [extent for extent in shown if not extent.silent]:
        yield _stretches(warned, "regime")
    for regime in dict.fromkeys(extent.regime for extent in shown if extent.silent):
        yield Paragraph(f"Silent, {regime}: the kernel's own check lets them pass.")
        yield _stretches([e for e in shown if e.silent and e.regime == regime])
    if (rest := snapshot.extents_total - len(shown)) > 0:
        yield Paragraph(f"And {count(rest)} more stretches.")


def _stretches(extents: Sequence[Extent], *regime: str) -> Table:
    """Return where calls lie; ``regime``: the head of that column, if it is wanted."""
    return Table(
        ("from", "to", *regime, "lands on", "populate", "free"),
        tuple(
            (
                address(extent.start),
                address(extent.end),
                *(extent.regime for _ in regime),
                Foreign(extent.lands_on or "not known"),
                count(extent.populate),
                count(extent.free),
            )
            for extent in extents
        ),
        frozenset({3 + len(regime), 4 + len(regime)}),
        wide=2 + len(regime),
    )


def _derived(snapshot: Snapshot) -> str:
    if not snapshot.derived:
        return ""
    return f" ({count(snapshot.derived)} derived, not observed)"


def _requests(machine: Machine, snapshot: Snapshot) -> Iterator[Block]:
    if not snapshot.requests_total and not snapshot.refusals:
        return
    yield Heading("Requests for free physical regions")
    yield Paragraph(f"{requests.counted(snapshot)}.")
    if told := tuple(map(Foreign, requests.sentences(snapshot, machine))):
        yield Items(told)


def _costs(machine: Machine, snapshot: Snapshot) -> Iterator[Block]:
    if not snapshot.sites and not snapshot.timings and not snapshot.operations:
        return
    yield Heading("Costs")
    if snapshot.sites:
        rows = tuple(map(site_row, snapshot.sites[:ROWS]))
        foreign = tuple((Foreign(site), *rest) for site, *rest in rows)
        yield Table(SITE_HEADS, foreign, frozenset({1, 2}), wide=0)
    if snapshot.timings:
        yield Table(TIMING_HEADS, tuple(timing_rows(snapshot)), frozenset({1, 2, 3, 4, 5}))
    if snapshot.operations:
        yield Table(
            ("operation", "by", "pages", "hits", "took", "WARN"),
            tuple(
                (
                    name(op.kind),
                    Foreign(f"{op.comm or '?'}-{'?' if op.pid is None else op.pid}"),
                    _region(machine.window, op),
                    count(op.hits),
                    took(op),
                    in_warn(op),
                )
                for op in snapshot.operations[-ROWS:]
            ),
            frozenset({2, 3, 4, 5}),
            wide=1,
        )


def _region(window: Window | None, operation: Operation) -> str:
    pfn, pages = operation.pfn, operation.nr_pages
    if pfn is None or pages is None:
        return "?"
    if window is None or window.page_size is None:
        return f"{pages} at pfn 0x{pfn:x}"
    return f"{size(pages * window.page_size)} at 0x{pfn * window.page_size:x}"


def _chains(notes: Iterable[str]) -> Iterator[Block]:
    if chains := tuple(Foreign(note) for note in notes if _CHAIN in note):
        yield Heading("Call chain")
        yield Items(chains[:ROWS])


def _remedies(remedies: "Sequence[tuple[str, WhatIfResult]]") -> Iterator[Block]:
    if not remedies:
        return
    from recordings.reports.what_if_report import headline, sentences  # noqa: PLC0415 (as above)

    yield Heading("What would change it (hypothetical)")
    for remedy, result in remedies:
        yield Paragraph(f"{remedy}: {headline(result)}. {' '.join(sentences(result))}")


def _unknown(header: Header, snapshot: Snapshot, closing: Sequence[str]) -> Iterator[Block]:
    yield Heading("What is not known")
    start = 0 if snapshot.verdict is Verdict.INCONCLUSIVE else 1
    items: list[str] = list(snapshot.verdict_reasons[start:])
    if not snapshot.losses:
        items.append("No event is known to be lost.")
    if snapshot.derived:
        items.append(
            f"{calls(snapshot.derived)} derived from the arguments of __add_pages: not observed,"
            " not timed."
        )
    if snapshot.section_add_reason:
        items.append(Foreign(f"Section-add timing: {snapshot.section_add_reason}."))
    items += map(Foreign, header.machine.problems)
    items += (Foreign(note) for note in (*header.notes, *closing) if _CHAIN not in note)
    listed, total = len(snapshot.operations), snapshot.operations_total
    if total > listed:
        items.append(f"Of {count(total)} operations the newest {count(listed)} are listed.")
    if snapshot.orphan_exits:
        items.append(f"{count(snapshot.orphan_exits)} exits whose entry is not in the recording.")
    yield Items(tuple(items))
