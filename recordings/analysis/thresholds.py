# SPDX-License-Identifier: GPL-2.0-only
"""Checks a recording against thresholds, for a gate in CI: kept, broken or unknown.

Promises: a threshold is "kept" only where everything it depends on was observed and nothing is
known to be missing or beyond a budget; derived calls do not count. Every other state comes with the
measured value or the reason. Numbers are exact, not those of a histogram.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from recordings.analysis.confidence import quantile_of
from recordings.analysis.durations import durations
from recordings.format.header import HITS_ONLY, Header
from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.ledger.warn_shares import warn_shares
from recordings.wording.units import count, duration
from tracers.events import Kind, Source

if TYPE_CHECKING:
    from recordings.format.parts import Readable

_WARN_PROBE: Final = "__warn"


class State(Enum):
    """Result of a threshold."""

    KEPT = "kept"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds; None: not asked for."""

    max_warn_share: float | None = None  # percent of hot-add, and of hot-remove
    max_p99_ns: int | None = None  # of section-add
    expect_sections: int | None = None  # added


@dataclass(frozen=True, slots=True)
class Check:
    """One threshold and its result; ``finding``: the measured value or the reason."""

    option: str
    state: State
    finding: str


def check(recording: "Readable", snapshot: Snapshot, limits: Thresholds) -> tuple[Check, ...]:
    """Check a recording against the thresholds that were asked for."""
    checks = []
    if limits.max_warn_share is not None:
        option = f"--max-warn-share {limits.max_warn_share:g}"
        result = _warn_share(recording.header, snapshot, limits.max_warn_share)
        checks.append(Check(option, *result))
    if limits.max_p99_ns is not None:
        option = f"--max-p99 {duration(limits.max_p99_ns)}"
        checks.append(Check(option, *_p99(recording, snapshot, limits.max_p99_ns)))
    if limits.expect_sections is not None:
        option = f"--expect-sections {limits.expect_sections}"
        checks.append(Check(option, *_sections(recording, snapshot, limits.expect_sections)))
    return tuple(checks)


def exit_code(verdict: Verdict, checks: tuple[Check, ...]) -> int:
    """Return a file's code: 1 hits or a broken threshold, else 3 if anything is unknown, else 0."""
    states = {each.state for each in checks}
    if verdict is Verdict.OUT_OF_RANGE or State.BROKEN in states:
        return 1
    if verdict is Verdict.INCONCLUSIVE or State.UNKNOWN in states:
        return 3
    return 0


def worst(codes: list[int]) -> int:
    """Return the code of several files: 2 before 1 before 3 before 0.

    2 first: a file that cannot be read was not checked, so the gate itself needs repair.
    1 before 3: proof counts more than a doubt.
    """
    return max(codes, key=(0, 3, 1, 2).index, default=0)


def _warn_share(header: Header, snapshot: Snapshot, limit: float) -> tuple[State, str]:
    """Judge hot-add and hot-remove each by itself, as the thread's slowdown was in both."""
    parts = warn_shares(snapshot)
    over = [part for part in parts if part.share * 100 > limit]
    shares = " and ".join(f"{part.share * 100:.1f} % of {part.what}" for part in over or parts)
    if snapshot.losses:
        return State.UNKNOWN, f"{shares or 'no share'} in WARN, but events are missing"
    if over:
        return State.BROKEN, f"{shares} in WARN"
    if missing := "; ".join(_uncertainties(header, snapshot, sum(part.warn_ns for part in parts))):
        return State.UNKNOWN, missing
    return State.KEPT, f"{shares} in WARN" if shares else "no WARN fired"


def _uncertainties(header: Header, snapshot: Snapshot, attributed_ns: int) -> Iterator[str]:
    """Yield why a share of 0, or one below the limit, is not certain."""
    if not any(kind in snapshot.timings for kind in (Kind.ADD_PAGES, Kind.REMOVE_PAGES)):
        yield "no hot-add or hot-remove call was timed"
    if snapshot.warnings:
        if any(site.untimed for site in snapshot.sites):
            yield "some WARNs were not timed"
        elif attributed_ns != snapshot.warn_ns:
            yield "not every WARN can be told to belong to a hot-add or hot-remove"
    elif header.probes.get(_WARN_PROBE, "no: ").startswith("no: "):
        yield "no WARN was seen, but nothing says that WARNs were watched"


def _p99(recording: "Readable", snapshot: Snapshot, limit: int) -> tuple[State, str]:
    timed = durations(recording, (Kind.SECTION_ADD,))
    lasted = timed.of(Kind.SECTION_ADD)
    if not len(lasted):
        return State.UNKNOWN, snapshot.section_add_reason or "no sparse_add_section was timed"
    p99 = quantile_of(lasted, 99)
    text = f"sparse_add_section p99 is {duration(p99)} ({count(len(lasted))} calls)"
    if snapshot.losses:
        return State.UNKNOWN, f"{text}, but events are missing"
    if timed.beyond:
        return State.UNKNOWN, f"{text}, but {count(timed.beyond)} more are beyond those kept"
    return (State.BROKEN if p99 > limit else State.KEPT), text


def _sections(recording: "Readable", snapshot: Snapshot, expected: int) -> tuple[State, str]:
    """Count populate calls: one a section; where not all are there, section-adds that ended."""
    if snapshot.derived:
        return State.UNKNOWN, f"{count(snapshot.derived)} sections are derived, not observed"
    timing = snapshot.timings.get(Kind.SECTION_ADD)
    every = snapshot.populate and HITS_ONLY not in recording.header.origin
    observed = snapshot.populate if every or timing is None else timing.count
    text = f"{count(observed)} sections were added"
    if observed > expected:
        return State.BROKEN, text
    if snapshot.losses:
        return State.UNKNOWN, f"at least {text}: events are missing"
    if not every and timing is None:
        reason = "hits alone were kept" if snapshot.populate else snapshot.section_add_reason
        return State.UNKNOWN, f"at least {text}: {reason}"
    sources = durations(recording, (Kind.POPULATE,)).sources.get(Kind.POPULATE, frozenset())
    if Source.DMESG in sources:
        return State.UNKNOWN, f"at least {text}: a log of WARNs shows no others"
    return (State.KEPT if observed == expected else State.BROKEN), text
