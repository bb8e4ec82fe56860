# SPDX-License-Identifier: GPL-2.0-only
"""The document of a triage: the report, what was read, what is missing and who can give it.

Markdown, mail and text show the same blocks. Promises: names of files and members are foreign
text; each log's own verdict is said, and that nothing was added together.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from recordings.analysis.what_if import remedies
from recordings.ledger.headline import WORDS
from recordings.ledger.snapshot import Doubt, Verdict
from recordings.reports.advice import (
    GIVE,
    LOG_REMARK,
    Origin,
    Step,
    advice,
    gives_files,
    origin_of,
)
from recordings.reports.document import Block, Foreign, Heading, Items, Lines, Paragraph
from recordings.reports.recording_document import document_of
from recordings.triage.reading import Reading
from recordings.triage.triage import Triaged
from recordings.wording.units import count

#: Logs that are listed; all are in the JSON.
ROWS: Final = 12


def triage_document(told: Iterable[Triaged]) -> Iterator[Block]:
    """Yield the report on every FILE."""
    listed = list(told)
    for each in listed:
        if len(listed) > 1:
            yield Heading(Foreign(each.file), 1)
        if text := overall(each):
            yield Heading(text, 1)
        if each.first is not None:
            reading = each.first
            yield from document_of(
                reading.header,
                reading.snapshot,
                closing=reading.closing,
                remedies=remedies(reading.parts, reading.snapshot),
            )
        yield from beside_the_report(each)


def beside_the_report(told: Triaged) -> Iterator[Block]:
    """Yield what a triage has beside the report on the log with most evidence."""
    yield Heading("What was read")
    yield Items(tuple(_read(told)))
    if left := (*told.problems, *told.remarks):
        yield Heading("What was not read")
        yield Items(tuple(map(Foreign, left[:ROWS])))
        if len(left) > ROWS:
            yield Paragraph(f"And {count(len(left) - ROWS)} more.")
    if told.first is not None:
        yield from _missing(told, told.first)


def overall(told: Triaged) -> str:
    """Say the verdict of all logs where it is not that of the first one; else nothing."""
    if told.first is None or told.verdict in (None, told.first.verdict):
        return ""
    why = "another log is" if _decider(told) else "not all of it could be read"
    return f"{WORDS[told.verdict]} in all, as {why}; the log with most evidence:"


def _decider(told: Triaged) -> Reading | None:
    """Return the log that has the verdict of all, the first that tells of calls."""
    telling = (each for each in told.readings if each.tells or each is told.first)
    return next((each for each in telling if each.verdict is told.verdict), None)


def _read(told: Triaged) -> Iterator[str]:
    first = told.first
    if first is None:
        yield Foreign(f"{told.file}: nothing")
        return
    whose = " (reported above)" if len(told.readings) > 1 else ""
    yield Foreign(f"{first.name}: {first.what}, {WORDS[first.verdict]}{whose}")
    for each in told.readings[1:ROWS]:
        verdict = WORDS[each.verdict]
        yield Foreign(f"{each.name}: {each.what}, {each.beside(first)}, {verdict} by itself")
    if len(told.readings) > ROWS:
        yield f"{count(len(told.readings) - ROWS)} more logs, none with more evidence."
    if first.machine_files:
        yield Foreign(f"its machine: {', '.join(first.machine_files)}")
    elif first.header.machine.sources:
        yield Foreign(f"its machine: {', '.join(first.header.machine.sources)}")


def _missing(told: Triaged, first: Reading) -> Iterator[Block]:
    deciding = _decider(told)
    of = deciding or first
    found = tuple(advice(of.header, of.snapshot))
    log = origin_of(of.header) is Origin.LOG
    hit = of.verdict is Verdict.OUT_OF_RANGE
    yield Heading(
        "What would complete it (the verdict stands)"
        if hit and found
        else "What would make it conclusive"
    )
    if deciding is None:
        yield Paragraph("What should have been read and was not: see above.")
    elif not found:
        yield Paragraph("Nothing: no doubt is left about this verdict.")
    if of is not first:
        yield Items((Foreign(f"in {of.name}:"),))
    if log and found and not hit:
        yield Paragraph(LOG_REMARK)
    for each in found:
        yield Items((each.reason,))
        if each.doubt is Doubt.CONTRADICTION:
            yield Items(tuple(map(Foreign, of.header.machine.problems[:ROWS])))
        for step in each.steps:
            yield from _step(step)
        if not each.steps:
            yield Paragraph("What the other points ask for settles this one, too.")
    if gives_files(found):
        yield from _step(GIVE)


def _step(step: Step) -> Iterator[Block]:
    yield Paragraph(f"{step.why[:1].upper()}{step.why[1:]}:")
    yield Lines(step.command)
