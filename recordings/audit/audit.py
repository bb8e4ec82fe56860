# SPDX-License-Identifier: GPL-2.0-only
"""An audit: what has its struct pages outside the window now, and what the log says happened.

Promises: the verdict is that of the worst row that a source proves. "Clean" needs the window, and
page tables or memory sections of which all was seen; a log alone proves what was, never that
nothing is. Where sources contradict each other, nothing is clean.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from recordings.audit.headroom import Headroom, headroom
from recordings.audit.log import Logged
from recordings.audit.regions import Region, Regions, contradictions
from recordings.ledger.snapshot import Extent, Verdict
from recordings.ledger.verdict import is_arm64
from recordings.wording.units import count, counted, size
from tracers.formulas import WindowError
from tracers.machine import Machine
from tracers.mapped.memory_sections import MemorySections
from tracers.mapped.sources import DUMP, SECTIONS, WALK, Sources


@dataclass(frozen=True)
class Audit:
    """All that was found. Text in it comes from kernels and files: escape before showing."""

    machine: Machine
    rows: tuple[Region, ...]
    log: Logged | None
    gone: tuple[Extent, ...]  # stretches outside that the log names, and nothing has now
    headroom: Headroom | None
    memory: MemorySections | None = None
    said: Mapping[str, str] = field(default_factory=dict)  # source -> what it read
    missing: Mapping[str, str] = field(default_factory=dict)  # source -> why there is nothing
    problems: tuple[str, ...] = ()
    agree: bool = True
    verdict: Verdict = Verdict.INCONCLUSIVE
    reasons: tuple[str, ...] = ()  # plain sentences, the most important first

    @property
    def outside(self) -> tuple[Region, ...]:
        """The rows known to lie outside."""
        return tuple(row for row in self.rows if row.hit)

    @property
    def held(self) -> int:
        """Bytes of physical memory whose struct pages lie outside now; strays left out."""
        return sum(row.end - row.start for row in self.outside if not row.stray)


def audit(sources: Sources, log: Logged | None, why_no_log: str = "", *, told: str = "") -> Audit:
    """Join what all sources say. ``why_no_log``: where there is none; ``told``: what it holds."""
    machine = sources.machine
    rows: tuple[Region, ...] = ()
    problems = [*machine.problems, *sources.problems]
    agree = machine.agree
    window, layout = machine.window, machine.layout
    known = None
    if window is not None and layout is not None and is_arm64(machine.arch):
        try:
            _ = window.vmemmap, window.page_shift
            rows = tuple(Regions(sources, window, layout).rows())
            known = window
            disagree = list(contradictions(rows, sources, window))
            problems += disagree
            agree = agree and not disagree
        except WindowError as error:
            problems.append(str(error))
    missing = dict(sources.missing)
    said = dict(sources.said)
    if log is None:
        missing["kernel log"] = why_no_log
    else:
        said["kernel log"] = told or f"{count(log.lines)} lines"
    found = Audit(
        machine,
        rows,
        log,
        tuple(_gone(rows, log)),
        headroom(sources, known) if known else None,
        sources.sections,
        said,
        missing,
        tuple(problems),
        agree,
    )
    verdict, reasons = _judge(found, sources, window_known=known is not None)
    values: dict[str, Any] = {**found.__dict__, "verdict": verdict, "reasons": reasons}
    return Audit(**values)


def _gone(rows: tuple[Region, ...], log: Logged | None) -> Iterator[Extent]:
    """Yield what the log says was outside and no row has any more."""
    held = [(row.page_start, row.page_start + row.page_size) for row in rows]
    for each in log.outside if log else ():
        if not any(start < each.end and each.start < end for start, end in held):
            yield each


def _judge(
    found: Audit, sources: Sources, *, window_known: bool
) -> tuple[Verdict, tuple[str, ...]]:
    doubts = tuple(_doubts(found, sources, window_known=window_known))
    if not found.agree:
        doubts = ("The sources contradict each other: see the problems.", *doubts)
    facts = tuple(_facts(found))
    if facts and window_known:
        return Verdict.OUT_OF_RANGE, (*facts, *doubts)
    if doubts:
        return Verdict.INCONCLUSIVE, doubts
    return Verdict.CLEAN, ("No memory has its struct pages outside the window now.",)


def _facts(found: Audit) -> Iterator[str]:
    outside = found.outside
    owned = [row for row in outside if not row.stray]
    if owned:
        names = ", ".join(dict.fromkeys(row.name for row in owned[:4]))
        more = ", …" if len(owned) > 4 else ""
        have = "has its" if len(owned) == 1 else "have their"
        collides = any(row.also for row in owned)
        on = ", over what others have mapped there" if collides else ""
        yield f"{size(found.held)} ({names}{more}) {have} struct pages outside the window now{on}."
    if strays := [row for row in outside if row.stray]:
        mapped = sum(row.page_size for row in strays)
        yield f"{size(mapped)} of normal memory is mapped outside the window, and nobody has it."
    if found.log and (found.log.hits or found.log.faults):
        yield f"Since boot the kernel log has {_logged(found.log)}."


def _logged(log: Logged) -> str:
    parts = []
    if log.hits:
        parts.append(f"{counted(log.hits, 'call')} outside the window")
    if log.warnings:
        warned = counted(log.warnings, "WARN")
        parts.append(warned if log.hits else f"{warned} whose ranges are not proven")
    if log.faults:
        parts.append(f"{counted(log.faults, 'Oops', 'Oopses')} at struct pages outside of it")
    return ", ".join(parts)


def _doubts(found: Audit, sources: Sources, *, window_known: bool) -> Iterator[str]:
    if not is_arm64(found.machine.arch):
        yield f"This machine is {found.machine.arch}, and the window is arm64's."
        return
    if not window_known:
        yield "The window, or where physical memory begins in it, is not known."
        return
    if any(not row.hit and row.regime.value == "unknown" for row in found.rows):
        yield "Whether all of the window is in use is not known, and struct pages lie in its rest."
    if unsure := [row for row in found.rows if row.unsure]:
        names = ", ".join(dict.fromkeys(row.name for row in unsure[:4]))
        yield (
            f"Something is mapped where struct pages of {names} would lie outside the window:"
            " whether it is them, only memory sections or vmallocinfo can tell."
        )
    seen = any(not tables.unseen for tables in sources.tables.values())
    if not sources.tables and sources.sections is None:
        yield "Neither page tables nor memory sections could be read: " + "; ".join(
            f"{name}: {found.missing[name]}"
            for name in (DUMP, WALK, SECTIONS)
            if name in found.missing
        )
    elif sources.sections is None and not seen:
        yield "Not all page tables could be seen, and there are no memory sections to ask."
