# SPDX-License-Identifier: GPL-2.0-only
"""The verdict of a snapshot in one sentence of plain text, for reports and messages on stderr.

Promises: no markup, no colour, nothing a kernel wrote: safe to print as it is.
"""

from typing import Final

from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.wording.units import count, duration
from tracers.kernel_functions import OOPS

#: The verdict in words.
WORDS: Final = {
    Verdict.OUT_OF_RANGE: "OUT OF RANGE",
    Verdict.INCONCLUSIVE: "INCONCLUSIVE",
    Verdict.CLEAN: "CLEAN",
}


def verdict_summary(snapshot: Snapshot) -> str:
    """Return the reason for the verdict, and the cost of the WARNs."""
    number = snapshot.populate + snapshot.free
    match snapshot.verdict:
        case Verdict.OUT_OF_RANGE:
            told = []
            if snapshot.hits:
                outside = f"{count(snapshot.hits)} of {calls(number)} outside the window"
                silent = f", {count(snapshot.silent)} silent" if snapshot.silent else ""
                told.append(f"{outside}{silent}")
            if out := snapshot.fault_regimes.hits:
                pages = "a struct page" if out == 1 else "struct pages"
                told.append(f"{oopses(out)} at {pages} outside{'' if told else ' the window'}")
            if rest := snapshot.faults_total - out:
                told.append(f"{oopses(rest)} not known to be outside")
            for audited, when in ((snapshot.before, "before"), (snapshot.after, "at the end")):
                if not told and audited.outside:
                    told.append(f"{audited.amount} mapped outside the window {when}")
            return "; ".join((*told, _cost(snapshot)))
        case Verdict.CLEAN:
            return f"all {calls(number)} lie inside the window; {_cost(snapshot)}"
        case _:
            return snapshot.verdict_reasons[0]


def calls(number: int) -> str:
    """Return "1 call", "2 calls"."""
    return f"{count(number)} call" + ("" if number == 1 else "s")


def oopses(number: int) -> str:
    """Return "1 Oops", "2 Oopses"."""
    return f"{count(number)} {OOPS}" + ("" if number == 1 else "es")


def _cost(snapshot: Snapshot) -> str:
    if not snapshot.warnings:
        return "no WARN seen"
    untimed = sum(site.untimed for site in snapshot.sites)
    fired = f"{count(snapshot.warnings)} WARN" + ("" if snapshot.warnings == 1 else "s")
    rest = f", {count(snapshot.suppressed)} suppressed" if snapshot.suppressed else ""
    if untimed == snapshot.warnings:
        return f"{fired}, cost unknown{rest}"
    least = "at least " if untimed else ""
    return f"{fired} cost {least}{duration(snapshot.warn_ns)}{rest}"
