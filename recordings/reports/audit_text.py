# SPDX-License-Identifier: GPL-2.0-only
"""The text of ``vmemscope audit``: the verdict, a block a region, what was, the sources.

Promises: the first line is the answer; what lies outside comes first; each source is named with
what it says of each region, or why it says nothing. Text of kernels and files goes through
``printable``.
"""

from collections.abc import Iterator
from typing import Final

from rich.console import Console, ConsoleRenderable
from rich.text import Text

from recordings.audit.audit import Audit
from recordings.audit.regions import Region
from recordings.ledger.headline import WORDS
from recordings.ledger.snapshot import Verdict
from recordings.reports import text_layout
from recordings.reports.text_layout import heading, line
from recordings.wording.escape import printable
from recordings.wording.units import address, count, size
from tracers.families import MASK
from tracers.mapped.sources import SECTIONS

_STYLES: Final = {
    Verdict.OUT_OF_RANGE: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.CLEAN: "bold green",
}
#: Regions shown of each kind; the JSON has all.
ROWS: Final = 16
_WIDTH: Final = 14


def render(console: Console, audit: Audit) -> None:
    """Print an audit to ``console``."""
    text_layout.emit(console, _parts(audit))


def _parts(audit: Audit) -> Iterator[ConsoleRenderable]:
    first, *rest = audit.reasons
    word = Text(WORDS[audit.verdict], _STYLES[audit.verdict])
    yield text_layout.hanging(word, printable(first))
    for reason in rest:
        yield line("", Text(printable(reason), "yellow"))
    yield Text()
    machine = audit.machine
    yield line("kernel", printable(machine.release or "not known"))
    if (window := machine.window) is not None:
        start, end = window.used
        used = "" if start == window.start else f", in use from {address(start)}"
        origin = printable(window.provenance.get("window", "origin not known"))
        yield line("window", f"{address(window.start)} - {address(end)}{used} ({origin})")
    if (memory := audit.memory) is not None and machine.window and machine.window.page_size:
        online = sum(run.pages for run in memory.runs if run.online)
        page = machine.window.page_size
        yield line(
            "memory",
            f"{size(memory.pages * page)} has struct pages, {size(online * page)} of it is online",
        )
    for problem in audit.problems:
        yield line("problem", Text(printable(problem), "yellow"))
    yield from _headroom(audit)
    yield from _rows("Outside the window now", audit.outside, audit)
    inside = tuple(row for row in audit.rows if not row.hit)
    yield from _rows("Other device memory with struct pages", inside, audit)
    yield from _gone(audit)
    yield heading("Sources")
    for name, text in audit.said.items():
        yield line(name, printable(text), width=20)
    for name, why in audit.missing.items():
        yield line(name, Text(f"not read: {printable(why)}", "dim"), width=20)


def _headroom(audit: Audit) -> Iterator[ConsoleRenderable]:
    room = audit.headroom
    if room is None:
        return
    covered = room.covered_end - room.covered_start
    yield line(
        "headroom",
        f"the window has struct pages for physical {address(room.covered_start)} -"
        f" {address(room.covered_end)} ({size(covered)}); {size(room.taken)} of it is taken, the"
        f" largest free piece is {size(room.largest)} at {address(room.largest_start)}",
    )


def _rows(title: str, rows: tuple[Region, ...], audit: Audit) -> Iterator[ConsoleRenderable]:
    if not rows:
        return
    yield heading(title)
    for row in rows[:ROWS]:
        yield from _row(row, audit)
    if len(rows) > ROWS:
        yield line("", f"and {count(len(rows) - ROWS)} more (all are in --json)")


def _row(row: Region, audit: Audit) -> Iterator[ConsoleRenderable]:
    owner = f" ({printable(row.owner)})" if row.owner else ""
    style = "bold red" if row.hit else "bold"
    yield text_layout.hanging(
        Text(f"  {printable(row.name)}{owner}", style),
        "" if row.stray else f"{size(row.end - row.start)}",
    )

    def told(label: str, text: str | Text) -> ConsoleRenderable:
        return line(f"    {label}", text, width=18)

    if not row.stray:
        yield told("physical", f"{address(row.start)} - {address(row.end)}")
    silent = ", silent: the kernel's own check lets it pass" if row.silent else ""
    where = f"{address(row.page_start)} - {address(row.page_end)}"
    yield told("struct pages", f"{where} {row.regime.value}, on {printable(row.lands_on)}{silent}")
    if row.mapped_at is not None:
        end = (row.mapped_at + row.page_size) & MASK
        yield told(
            "mapped at",
            f"{address(row.mapped_at)} - {address(end)}, on {printable(row.mapped_on)}: where the"
            " low bits of those addresses lead in the kernel's tables",
        )
    for each in row.also:
        yield told("also there", Text(printable(each), "bold red"))
    yield told("seen by", "; ".join(_seen(row, audit)))


def _seen(row: Region, audit: Audit) -> Iterator[str]:
    for name, mapped in row.mapped.items():
        all_of_it = "all" if mapped == row.page_size else size(mapped) if mapped else "nothing"
        yield f"{name} ({all_of_it} of {size(row.page_size)} mapped)"
    if row.present is not None:
        yield f"{SECTIONS} ({count(row.present)} pages)"
    if row.resource is not None:
        yield "iomem" if row.resource else "not in iomem"
    calls = [
        each
        for each in (audit.log.outside if audit.log else ())
        if each.start < row.page_start + row.page_size and row.page_start < each.end
    ]
    if calls:
        populate, free = sum(c.populate for c in calls), sum(c.free for c in calls)
        yield f"kernel log ({count(populate)} populate, {count(free)} free)"


def _gone(audit: Audit) -> Iterator[ConsoleRenderable]:
    if not audit.gone:
        return
    yield heading("Was outside since boot, by the kernel log, and is mapped no more")
    for each in audit.gone[:ROWS]:
        calls = f"{count(each.populate)} populate, {count(each.free)} free"
        on = f", on {printable(each.lands_on)}" if each.lands_on else ""
        yield line(
            "", f"{address(each.start)} - {address(each.end)} {each.regime}{on}, {calls}", width=4
        )
    if len(audit.gone) > ROWS:
        yield line("", f"and {count(len(audit.gone) - ROWS)} more", width=4)
