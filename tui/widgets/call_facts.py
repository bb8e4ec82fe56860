# SPDX-License-Identifier: GPL-2.0-only
"""What there is to say of one call, as fields, for the pane beside the calls and the explanation.

Promises: what is not known is said so or left out, never guessed; every text is escaped. The fields
come with the most important first, so that a small pane can leave out the last.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from recordings.explore.goto import dmesg_stamp
from recordings.explore.listing import Branch
from recordings.explore.span import Span
from recordings.format.header import Header
from recordings.ledger.faults import operation, physical
from recordings.ledger.snapshot import Call, Timing
from recordings.wording.escape import printable
from tracers.events import Kind, Source
from tracers.explain import borders, judged, pfn_and_section
from tracers.window import Window
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.words import GLUE

#: The field that says by how much it is out of the window.
BORDER: Final = "border"
#: Why a call that the kernel's check is true for shows no WARN, by what else is known.
LOST: Final = "none seen: events were lost"
OPEN: Final = "none seen: the call has not ended"
ONCE: Final = "none: a WARN_ON_ONCE fires only once"
LOGGED: Final = "fired: the call is known by it"
UNSEEN: Final = "none seen: not traced, or once before"


class Field(NamedTuple):
    """A name, "" to go on with the one before, and what is so; ``style`` is Textual's.

    Of two in a row with one name the name is said once.
    """

    name: str
    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """One call, and what of the view is told beside it."""

    span: Span
    operation: int | None  # the event that the operation begins with that it is in
    region: str | None  # what its range lands on
    first_ns: int  # of the recording
    timing: Timing | None  # of its kind, of all that the view counts
    no_warn: str  # why a call that the kernel's check is true for may show no WARN


def facts_of(header: Header, row: Call | Branch | None, view: PlayerView) -> CallFacts | None:
    """Return what is known of a row of the lists; ``None``: there is none, or it is gone."""
    listed, snapshot, layout = view.listed, view.snapshot, header.machine.layout
    if row is None:
        return None
    span = row.span if isinstance(row, Branch) else listed.calls.span(row.row)
    if span is None:
        return None
    region = None
    if layout is not None and span.start is not None and span.end is not None:
        region = layout.lands_on(span.start, span.end)
    no_warn = LOST if snapshot.losses else ONCE if snapshot.warnings else UNSEEN
    timing = snapshot.timings.get(span.kind)
    operation = listed.tree.operation(span)
    return CallFacts(span, operation, region, view.first_ns or 0, timing, no_warn)


def title(facts: CallFacts) -> str:
    """Return what it is, and the number of its event."""
    span = facts.span
    what = "Operation" if span.operation else words.function(span.kind)
    call = span.kind in (Kind.POPULATE, Kind.FREE)
    return f"{'Call' if call else what} #{span.row}"


def fields(header: Header, facts: CallFacts) -> Iterator[Field]:
    """Yield the fields, the most important first."""
    span = facts.span
    derived = " †, derived" if span.source is Source.DERIVED else ""
    yield Field("function", words.function(span.kind) + derived, "bold")
    if span.kind is Kind.FAULT:
        yield from _failed(header, span, facts.region)
    elif span.regime is not None:
        yield from _judged(header, span, facts.region)
        yield Field("WARN", *_warn(header, facts))
    elif span.kind is Kind.WARN:
        yield Field("site", printable(span.site or "not known"), "bold $warning")
    else:
        yield from _around(span)
    if span.kind is not Kind.FAULT:
        yield from _took(facts)
    task = f"{printable(span.comm)}-{'?' if span.tid is None else span.tid}"
    yield Field("task", task if span.cpu is None else f"{task} · cpu {span.cpu}")
    yield Field("known by", span.source.label)
    yield Field("event", f"#{span.row} · {(span.ts_ns - facts.first_ns) / 1e9:.6f} s")
    stamp = dmesg_stamp(span.ts_ns, header.clock)
    if stamp is not None:
        yield Field("dmesg", stamp)
    if facts.operation is not None and not span.operation:
        yield Field("op", f"#{facts.operation}")
    yield Field("clock", f"{span.ts_ns} ns")


def _failed(header: Header, span: Span, region: str | None) -> Iterator[Field]:
    """Yield at which struct page the kernel failed, and who called that."""
    proven = span.start is not None and span.end is not None
    judged = list(_judged(header, span, region)) if proven else []
    borders = [field for field in judged if field.name == BORDER]
    yield from (field for field in judged if field.name != BORDER)
    if not proven:
        yield Field("page", "which struct page it was could not be proven", "$warning")
    if (phys := physical(header.machine.window, span.pfn)) is not None:
        yield Field("physical", f"0x{phys:x}")
    if (watched := operation(span.site)) is not None:
        yield Field("in", words.function(watched), "bold")
    yield Field("failed", printable(span.site or "where is not known"))
    yield from borders


def _judged(header: Header, span: Span, region: str | None) -> Iterator[Field]:
    """Yield where the struct pages of a call or an Oops lie."""
    window, known = header.machine.window, span.start is not None and span.end is not None
    if window is not None and span.start is not None:
        pfn, section = pfn_and_section(window, span.start)
        if pfn is not None:
            beside = "" if section is None else f" · section {words.count(section)}"
            yield Field("pfn", f"0x{pfn:x}{beside}")
    yield Field("range", f"{words.address(span.start)} - {words.address(span.end)}")
    regime = span.regime or "unknown"
    lands = f", lands on {printable(region)}" if region and known else ""
    told = f"{words.mark(regime, silent=span.silent)} {judged(regime, silent=span.silent)}{lands}"
    yield Field("regime", told, words.regime_style(regime))
    if window is not None and span.start is not None and span.end is not None:
        for text, size in borders(window, span.start, span.end):
            yield Field(BORDER, f"{text.replace(' by ', f' by{GLUE}')}{GLUE}({words.size(size)})")


def _warn(header: Header, facts: CallFacts) -> tuple[str, str]:
    """Return which WARN fired inside a call and for how long, or why none; and its style."""
    span = facts.span
    if span.warns:
        site = printable((span.site or "?").rsplit("/", 1)[-1])
        lasted = words.duration(span.warn_ns) if span.warn_ns else "its end was not seen"
        more = f" · {words.calls(span.warns, 'WARN')}" if span.warns > 1 else ""
        return f"{site} · {lasted}{more}", "bold $warning"
    return _no_warn(header.machine.window, facts), ""


def _no_warn(window: Window | None, facts: CallFacts) -> str:
    span = facts.span
    if span.source is Source.DMESG:
        return LOGGED
    if span.start is None or span.end is None or window is None:
        return "none seen"
    if not window.warns(span.start, span.end):
        return f"none{', silent' if span.silent else ''}: the check is false"
    if span.source is Source.DERIVED:
        return "not told of a derived call"
    if span.duration_ns is None and not span.point:
        return OPEN
    return facts.no_warn


def _around(span: Span) -> Iterator[Field]:
    """Yield what a call that holds others is about."""
    if span.pfn is not None:
        pages = "" if span.nr_pages is None else f" · {words.count(span.nr_pages)} pages"
        yield Field("pfn", f"0x{span.pfn:x}{pages}")
    if span.calls:
        hits = f", {words.calls(span.hits, 'hit')}"
        yield Field("inside", f"{words.calls(span.calls)}{hits}")
    if span.warns:
        share = span.warn_share
        part = "" if share is None else f", {words.share(share)} of it".replace(" ", GLUE)
        told = f"{words.calls(span.warns, 'WARN')} · {words.duration(span.warn_ns)}{part}"
        yield Field("WARN", told, "bold $warning")
    if span.ret is not None:
        yield Field("returned", str(span.ret))


def _took(facts: CallFacts) -> Iterator[Field]:
    """Yield how long it took, and where that stands among the calls of its kind."""
    span, timing = facts.span, facts.timing
    if span.point:
        yield Field("took", "not known: one moment")
        return
    if span.duration_ns is None:
        yield Field("took", "not ended", "$warning")
        return
    took = words.duration(span.duration_ns)
    if timing is None or timing.count < 2:
        yield Field("took", took, "bold")
        return
    rank = f"longer than {words.share(timing.shorter(span.duration_ns))}"
    if span.duration_ns >= timing.max_ns:
        rank = "the longest"
    rank = f"{rank} of {words.count(timing.count)}".replace(" ", GLUE)
    yield Field("took", f"{took}, {rank}", "bold")
    yield Field("", f"p50 {words.duration(timing.p50_ns)} · p99 {words.duration(timing.p99_ns)}")
