# SPDX-License-Identifier: GPL-2.0-only
"""What a recording carries of the audits at its start and end, as labelled sentences.

Promises: nothing is said where nobody looked; text is safe to show.
"""

from collections.abc import Iterator

from recordings.ledger.audited import Audited
from recordings.ledger.snapshot import Snapshot
from recordings.wording.escape import printable
from recordings.wording.units import address, size


def audit_lines(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield (label, text): what was outside before, what at the end, and what is gone."""
    before, after = snapshot.before, snapshot.after
    if before:
        yield "before", _state(before)
    if after:
        yield "at the end", _state(after)
    for each in before.gone(after):
        where = f"{address(each.page_start)} - {address(each.page_end)}"
        yield "gone", f"{size(each.size)} ({printable(each.name)}), struct pages at {where}"


def before_facts(snapshot: Snapshot) -> list[str]:
    """Return what happened before a recording, for one line; empty if nothing, or nobody looked."""
    before = snapshot.before
    facts = [f"{before.told} outside"] if before.outside else []
    if before.reports:
        facts.append(f"{before.reports} since boot")
    gone = before.gone(snapshot.after)
    if gone:
        names = ", ".join(dict.fromkeys(printable(each.name) for each in gone[:3]))
        facts.append(f"gone meanwhile: {names}")
    return facts


def _state(audited: Audited) -> str:
    text = f"{audited.told} outside the window" if audited.outside else "nothing outside the window"
    if audited.verdict == "inconclusive":
        text += " that is known"
    if audited.since_boot:
        text += f"; since boot, by the kernel log: {audited.since_boot}"
    return text
