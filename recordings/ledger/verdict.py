# SPDX-License-Identifier: GPL-2.0-only
"""Derives the verdict from the numbers: clean, out of range or inconclusive.

A hit is proof whatever else is missing, as long as all sources agree on the window, and so is an
Oops at a struct page outside of it. "Clean" needs every call seen with its arguments, no Oops and
no known losses; everything else is inconclusive. What is not arm64 is not judged. Reasons are plain
sentences. Calls on ranges that the ledger has no row for are judged like all others, so they are a
remark and no doubt.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from recordings.ledger.audited import Audited
from recordings.ledger.ranges import KEPT
from recordings.ledger.snapshot import Doubt, Regimes, SiteCount, Verdict
from recordings.ledger.spans import OPEN
from recordings.wording.units import count, counted
from tracers.batch import Losses
from tracers.events import Kind
from tracers.kernel_functions import OOPS, name

if TYPE_CHECKING:
    from tracers.machine import Machine
    from tracers.window import Window

#: The file of the window's WARNs (arm64 since 4.14).
MMU_C: Final = "arch/arm64/mm/mmu.c:"

#: How to find out the bits in use.
HOW_TO_FIND_BITS: Final = (
    "NUMBER(TCR_EL1_T1SZ) in the VMCOREINFO note says it, and so does `vmemscope window --live` on"
    " that machine, run by anybody; pass the bits in use as --vabits-actual."
)

#: What uname and kernel logs call arm64.
ARM64: Final = frozenset({"aarch64", "aarch64_be", "arm64"})

_NO_CALL: Final = "No populate or free call is in this recording."
_CONTRADICTION: Final = (
    "The sources of the window or its machine contradict each other: see the problems."
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict depends on."""

    window: bool
    agree: bool  # False: what is known of the machine contradicts itself
    regimes: Regimes
    silent: int  # hits that the kernel's own check lets pass
    undecided: int  # of those unknown: inside or not as the bits in use decide, not known
    begun: Mapping[Kind, int]  # entries and points by kind
    derived: int
    failed: Mapping[Kind, int]  # __add_pages, sparse_add_section: ended, but not with a result of 0
    sites: tuple[SiteCount, ...]
    losses: Losses
    unfinished: int  # calls that never ended; not those that may still be running
    orphans: Mapping[Kind, int]  # exits without entry
    given_up: int = 0  # calls open beyond the budget
    beyond: int = 0  # calls on ranges beyond the budget
    arch: str | None = None
    faults: Regimes = field(default_factory=Regimes)  # Oopses
    unproven: int = 0  # of those unknown: which struct page it was could not be proven
    before: Audited = field(default_factory=Audited)  # what was mapped when the recording began
    after: Audited = field(default_factory=Audited)  # and when it ended
    log_only: bool = False  # captured from the kernel log, which has only calls that warned


def is_arm64(arch: str | None) -> bool:
    """Return whether a machine's ``arch`` is arm64, or not known."""
    return arch is None or arch in ARM64


def judging(machine: "Machine") -> "Window | None":
    """Return the window that a machine's calls are judged by; None: none is known, or not arm64."""
    return machine.window if is_arm64(machine.arch) else None


def judge(evidence: Evidence) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons, the most important first."""
    calls = _calls(evidence)
    doubts = tuple(text for _, text in _doubts(evidence))
    if not is_arm64(evidence.arch):
        return Verdict.INCONCLUSIVE, doubts
    remarks: tuple[str, ...] = (beyond_remark(evidence.beyond),) if evidence.beyond else ()
    if evidence.faults.total and not calls:
        remarks += (_NO_CALL,)
    if not evidence.agree:
        return Verdict.INCONCLUSIVE, (*doubts, *remarks)
    if facts := tuple(_proof(evidence, calls)):
        fact = ", and ".join(facts)
        return Verdict.OUT_OF_RANGE, (f"{fact[0].upper()}{fact[1:]}.", *doubts, *remarks)
    if doubts:
        return Verdict.INCONCLUSIVE, (*doubts, *remarks)
    fact = (
        "The one vmemmap call lies inside the window."
        if calls == 1
        else f"All {count(calls)} vmemmap calls lie inside the window."
    )
    return Verdict.CLEAN, (fact, *remarks)


def doubts_of(evidence: Evidence) -> tuple[Doubt, ...]:
    """Return the codes of the doubts that are among ``judge``'s reasons, in their order."""
    return tuple(code for code, _ in _doubts(evidence))


def _doubts(evidence: Evidence) -> Iterator[tuple[Doubt, str]]:
    """Yield the reasons against "clean", each with its code."""
    if not is_arm64(evidence.arch):
        yield Doubt.FOREIGN, _foreign(evidence.arch or "")
        yield from _missing(evidence)
        return
    if not evidence.agree:
        yield Doubt.CONTRADICTION, _CONTRADICTION
    yield from _missing(evidence)
    yield from _unjudged(evidence)
    yield from _unseen(evidence)


def _calls(evidence: Evidence) -> int:
    return evidence.begun[Kind.POPULATE] + evidence.begun[Kind.FREE]


def beyond_remark(calls: int) -> str:
    """Say what is not known of calls on ranges beyond the budget."""
    lie = "lies" if calls == 1 else "lie"
    return (
        f"{counted(calls, 'call')} {lie} in ranges beyond those kept ({count(KEPT)} inside the"
        " window, as many outside): judged, but neither paired nor in a stretch."
    )


def _foreign(arch: str) -> str:
    """Say that there is nothing to judge."""
    known = arch if re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", arch) else "another machine"
    return (
        f"This is a log of {known}, not an arm64 log: the window and its WARN are arm64's, so"
        " nothing is judged."
    )


def _proof(evidence: Evidence, calls: int) -> Iterator[str]:
    """Yield what is known to lie outside of the window, as parts of one sentence."""
    if hits := evidence.regimes.hits:
        lie = "lies" if hits == 1 else "lie"
        fact = f"{count(hits)} of {counted(calls, 'vmemmap call')} {lie} outside the window"
        if evidence.silent:
            fact += f", {_silent(evidence.silent, hits)}: the kernel's own check lets them pass"
        yield fact
    if out := evidence.faults.hits:
        pages = "a struct page" if out == 1 else f"{count(out)} struct pages"
        yield f"the kernel failed (Oops) at {pages} outside the window"
    if evidence.before.outside:
        yield f"{evidence.before.told} outside the window before this recording began"
    if evidence.after.outside and not evidence.before.outside:
        yield f"{evidence.after.told} outside the window when it ended"


def _failures(evidence: Evidence) -> Iterator[tuple[Doubt, str]]:
    """Yield why Oopses could not be judged, or prove nothing."""
    faults, unproven = evidence.faults, evidence.unproven
    if unproven:
        several = "" if unproven == 1 else f", {count(unproven)} times"
        yield (
            Doubt.OOPS_PAGE,
            f"At which struct page the kernel failed (Oops{several}) is not known.",
        )
    if evidence.window and (undecided := faults.unknown - unproven):
        text = (
            f"{_oopses(undecided)} would be inside only with as many address bits in use as the"
            f" kernel is built for, and how many are is not known. {HOW_TO_FIND_BITS}"
        )
        yield Doubt.BITS_IN_USE, text
    if faults.inside:
        lies = "lies" if faults.inside == 1 else "lie"
        text = (
            f"{_oopses(faults.inside)} {lies} inside the window: why the kernel failed there, the"
            " window does not tell."
        )
        yield Doubt.OOPS_INSIDE, text


def _oopses(number: int) -> str:
    return "The struct page of 1 Oops" if number == 1 else f"The struct pages of {number:,} Oopses"


def _silent(silent: int, hits: int) -> str:
    if silent == hits:
        return "and it is silent" if hits == 1 else "all of them silent"
    return f"{count(silent)} of them silent"


def section_add_reason(begun: int, add_pages: bool, probes: Mapping[str, str]) -> str:
    """Say why there is no timing of sparse_add_section in a recording."""
    instead = "; __add_pages timing is given instead" if add_pages else ""
    if begun:
        number = counted(begun, "sparse_add_section call")
        return f"{number} began in this recording and none was seen to end{instead}"
    how = probes.get("sparse_add_section")
    if how is not None and how.startswith("no: "):  # live: every rung was refused
        return f"no probe on sparse_add_section: {how.removeprefix('no: ')}{instead}"
    if how is not None and ("entry" in how or "return" in how):
        return f"sparse_add_section was probed ({how}) but no call is in this recording{instead}"
    if how is not None:
        return f"no probe on sparse_add_section: {how}{instead}"
    # notrace until 73db3abdca58 (6.11) took __meminit functions out of .init-like sections
    known = "no probe was on sparse_add_section" if probes else "no sparse_add_section event"
    return f"{known} in this recording: kernels before 6.11 refuse a kprobe there{instead}"


def _missing(evidence: Evidence) -> Iterator[tuple[Doubt, str]]:
    """Yield what is known to be missing."""
    if evidence.losses.without_end:
        yield (
            Doubt.UNFINISHED,
            "The recording is unfinished: what came after its last event is not in it.",
        )
    if rest := replace(evidence.losses, without_end=0):
        yield (
            Doubt.LOSSES,
            f"Something is missing ({rest.describe()}), so counts are lower bounds.",
        )


def _unseen(evidence: Evidence) -> Iterator[tuple[Doubt, str]]:
    """Yield what of the calls was not seen, or does not fit."""
    calls = _calls(evidence)
    if evidence.log_only:
        text = (
            "Only the kernel log was read: a call that does not warn is not in it, so it never"
            " proves a machine clean."
        )
        yield Doubt.LOG_ONLY, text
    if evidence.given_up:
        number = counted(evidence.given_up, "call")
        text = (
            f"More than {count(OPEN)} calls of one kind were open at once: {number} could not be"
            " followed, and their ends count as ends without a beginning."
        )
        yield Doubt.GIVEN_UP, text
    if not calls and not evidence.faults.total:
        yield Doubt.NO_CALLS, _NO_CALL
    if evidence.begun[Kind.ADD_PAGES] and not evidence.begun[Kind.POPULATE]:
        number = counted(evidence.begun[Kind.ADD_PAGES], "__add_pages call")
        yield (
            Doubt.NO_POPULATE,
            f"{number} but no populate call, neither observed nor derived: they were missed.",
        )
    if failed := _failed(evidence):
        yield (
            Doubt.FAILED,
            f"{failed} failed or did not say how they ended: what they populated is not known.",
        )
    if missed := _missed(evidence):
        yield (
            Doubt.NO_BEGINNING,
            f"{counted(missed, 'call')} ended whose beginning, with its arguments, was not seen.",
        )
    if evidence.unfinished:
        never = "has" if evidence.unfinished == 1 else "have"
        yield (
            Doubt.NO_END,
            f"{counted(evidence.unfinished, 'call')} {never} no end in this recording.",
        )
    warned = sum(site.count for site in evidence.sites if MMU_C in site.site)
    if warned and not evidence.regimes.hits and evidence.window and calls:
        text = (
            f"{counted(warned, 'WARN')} fired in arch/arm64/mm/mmu.c, though no call is known to "
            "lie outside the window."
        )
        yield Doubt.WARNED_INSIDE, text


def _unjudged(evidence: Evidence) -> Iterator[tuple[Doubt, str]]:
    """Yield the reasons why calls and Oopses could not be judged."""
    yield from _failures(evidence)
    if not evidence.window:
        what = [OOPS] if evidence.faults.unknown > evidence.unproven else []
        what = ["call", *what] if _calls(evidence) or not evidence.faults.total else what
        if what:
            no = " and no ".join(what)
            yield Doubt.WINDOW, f"The window is not known, so no {no} can be judged."
    elif unknown := evidence.regimes.unknown - evidence.undecided:
        yield Doubt.ARGUMENTS, f"The arguments of {counted(unknown, 'call')} are not known."
    if evidence.undecided:
        text = (
            f"{counted(evidence.undecided, 'call')} would be inside only with as many address bits"
            f" in use as the kernel is built for, and how many are is not known. {HOW_TO_FIND_BITS}"
        )
        yield Doubt.BITS_IN_USE, text


def _failed(evidence: Evidence) -> str:
    """Name the calls that populate was derived from and that did not do all they should."""
    if evidence.begun[Kind.POPULATE] > evidence.derived:
        return ""  # populate itself was observed
    kind = Kind.SECTION_ADD if evidence.begun[Kind.SECTION_ADD] else Kind.ADD_PAGES
    number = evidence.failed.get(kind, 0)
    return counted(number, f"{name(kind)} call") if number else ""


def _missed(evidence: Evidence) -> int:
    """Count the exits of populate and free, or of what populate is derived from."""
    kinds = [Kind.POPULATE, Kind.FREE]
    if evidence.begun[Kind.POPULATE] <= evidence.derived:
        kinds.append(Kind.ADD_PAGES)
    return sum(evidence.orphans.get(kind, 0) for kind in kinds)
