# SPDX-License-Identifier: GPL-2.0-only
"""Compares two recordings: is A slower than B, by how much, and how sure is that?

Promises: a ratio has an interval or the reason why not; figures that are not comparable (timings
known in different ways, sections of different size) get the reason and no ratio. Where the probes
differ, what they took is left out on both sides, or there is no ratio. With losses, with
calls beyond the budget of ``durations``, or where too few samples tell nothing from chance, the
comparison is inconclusive.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from recordings.analysis.alignment import WITHIN, aligned
from recordings.analysis.confidence import (
    FEWEST,
    Ratio,
    quantile,
    quantile_ratio,
    total_ratio,
)
from recordings.analysis.durations import CALLS, Durations, durations
from recordings.format.header import HITS_ONLY, Header
from recordings.ledger.columns import U64
from recordings.ledger.headline import oopses
from recordings.ledger.histogram import exact_sum
from recordings.ledger.ours import Ours, ours
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.warn_shares import WarnShare, warn_shares
from recordings.ledger.whole import fold
from recordings.wording.escape import printable
from recordings.wording.units import count, size
from tracers.events import Kind, Source
from tracers.formulas import WindowError
from tracers.kernel_functions import name

if TYPE_CHECKING:
    from recordings.format.reader import Recording

#: What is timed, in order of output: sections first, as they are many.
KINDS: Final = (
    Kind.SECTION_ADD, Kind.POPULATE, Kind.SECTION_REMOVE, Kind.FREE,
    Kind.ADD_PAGES, Kind.REMOVE_PAGES,
)  # fmt: skip
PERCENTS: Final = (50, 90, 99)


class Outcome(Enum):
    """The result in one word, about A."""

    SLOWER = "slower"
    FASTER = "faster"
    MIXED = "mixed"  # slower in one, faster in another
    ALIKE = "alike"  # no difference that chance would not make
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 where the comparison has a result, whichever; 3 where it is inconclusive."""
        return 3 if self is Outcome.INCONCLUSIVE else 0


@dataclass(frozen=True, slots=True)
class Side:
    """One recording."""

    name: str  # as it was given: escape before showing
    header: Header
    snapshot: Snapshot
    durations: Durations

    @property
    def shares(self) -> dict[str, WarnShare]:
        """WARN's shares of hot-add and hot-remove, those known."""
        return {part.what: part for part in warn_shares(self.snapshot)}

    @property
    def section_bytes(self) -> int | None:
        """Bytes of physical memory to a section; None: not known."""
        window = self.header.machine.window
        try:
            return window.section_pages << window.page_shift if window else None
        except WindowError:
            return None


@dataclass(frozen=True, slots=True)
class Quantile:
    """One quantile in both; None: too few calls for one."""

    percent: int
    a: int | None
    b: int | None
    ratio: Ratio | None


@dataclass(frozen=True, slots=True)
class Measure:
    """Calls of one kind in both, nanoseconds."""

    kind: Kind
    counts: tuple[int, int]  # those measured: the aligned ones where ``paired``
    ended: tuple[int, int]  # all that ended
    paired: bool
    totals: tuple[int, int]
    per_section: tuple[int | None, int | None]
    ratio: Ratio | None
    quantiles: tuple[Quantile, ...]
    why_not: str | None  # why there is no ratio
    #: Nanoseconds of a call that were the probes', left out of all above; None: not left out.
    ours: tuple[int, int] | None = None

    @property
    def function(self) -> str:
        """The kernel's name of it."""
        return name(self.kind)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole comparison."""

    a: Side
    b: Side
    measures: tuple[Measure, ...]
    obstacles: tuple[str, ...]  # why figures are not comparable; safe to print
    differences: tuple[str, ...]  # other differences, possible causes; safe to print
    outcome: Outcome


def load_side(name: str, recording: "Recording") -> Side:
    """Read one recording twice: once for its numbers, once for single calls."""
    return Side(name, recording.header, fold(recording), durations(recording))


def compare(a: Side, b: Side) -> Comparison:
    """Compare two recordings."""
    same = a.section_bytes == b.section_bytes
    measures = tuple(
        _measure(a, b, kind, sections=same)
        for kind in KINDS
        if kind in a.durations.calls or kind in b.durations.calls
    )
    obstacles = tuple(_obstacles(a, b))
    return Comparison(
        a, b, measures, obstacles, tuple(_differences(a, b)), _outcome(a, b, measures)
    )


def _measure(a: Side, b: Side, kind: Kind, *, sections: bool) -> Measure:
    first, second = a.durations.of(kind), b.durations.of(kind)
    ended = len(first), len(second)
    differ = _differ(a, b, kind)
    known = (ours(a.snapshot, kind), ours(b.snapshot, kind)) if differ else (None, None)
    own = (known[0], known[1]) if known[0] and known[1] else None
    why_not = _why_not(a, b, kind, ended, sections=sections) or (None if own else differ)
    both = aligned(a.durations, b.durations, kind)
    # half of the smaller at least, or the aligned ones stand for too little
    paired = len(both.a) > 0 and 2 * len(both.a) >= min(ended)
    if paired:
        first, second = both
    elif why_not is None and kind not in WITHIN:
        why_not = "the operations are not the same"
    if own:
        first, second = _without(a, first, own[0], kind), _without(b, second, own[1], kind)
    for side, times in (("A", first), ("B", second)):
        if why_not is None and not times.any():
            why_not = f"by its clock no time passed in {side}"
    ratio = total_ratio(first, second, paired=paired) if why_not is None else None
    return Measure(
        kind=kind,
        counts=(len(first), len(second)),
        ended=ended,
        paired=paired,
        totals=(exact_sum(first), exact_sum(second)),
        per_section=(_per_section(a, kind), _per_section(b, kind)),
        ratio=ratio,
        quantiles=tuple(
            Quantile(
                percent,
                quantile(first, percent),
                quantile(second, percent),
                quantile_ratio(first, second, percent) if why_not is None else None,
            )
            for percent in PERCENTS
        )
        if kind in WITHIN
        else (),
        why_not=why_not,
        ours=(own[0].each_ns, own[1].each_ns) if own else None,
    )


def _without(side: Side, lasted: U64, own: Ours, kind: Kind) -> U64:
    """Return durations without what was ours: of a section a constant, of an operation a share."""
    if kind in WITHIN:
        return np.maximum(lasted, np.uint64(own.each_ns)) - np.uint64(own.each_ns)
    total = side.snapshot.timings[kind].total_ns
    return (lasted * ((total - own.in_calls_ns) / total)).astype(np.uint64)


def _differ(a: Side, b: Side, kind: Kind) -> str | None:
    """Say how the probes on the calls of a kind and inside of them differ; None: not at all."""
    ways = [_ways(side.durations, kind) for side in (a, b)]
    if ways[0] != ways[1]:
        return f"timed in different ways: A by {_by(ways[0])}, B by {_by(ways[1])}"
    if _inside(a, kind) != _inside(b, kind):
        return "the probes inside of it differ, and each takes time"
    tools = [
        side.header.origin.get("live") or side.header.origin.get("importer") for side in (a, b)
    ]
    if tools[0] != tools[1] and all(tools):
        first, second = (printable(tool or "") for tool in tools)
        return f"A is by {first}, B by {second}: their probes take different times"
    return None


def _why_not(a: Side, b: Side, kind: Kind, ended: tuple[int, int], *, sections: bool) -> str | None:
    """Say why the figures of one kind must not be divided, whatever the probes; None: they may."""
    ways = [_ways(side.durations, kind) for side in (a, b)]
    for side, number, way in zip("AB", ended, ways, strict=True):
        if not number:
            derived = way == {Source.DERIVED}
            return f"{side} has it derived: not timed" if derived else f"{side} did not time it"
    if not sections and kind in WITHIN:
        return "sections differ in size"
    return None


def _by(ways: frozenset[Source]) -> str:
    return " and ".join(sorted(way.label for way in ways))


def _inside(side: Side, kind: Kind) -> set[tuple[Kind, Source]]:
    """Return what was probed inside the calls of a kind, and how."""
    return {
        (inner, way)
        for inner, outer in WITHIN.items()
        if outer is kind
        for way in _ways(side.durations, inner)
        if way is not Source.DERIVED
    }


def _ways(calls: Durations, kind: Kind) -> frozenset[Source]:
    return calls.sources.get(kind, frozenset())


def _per_section(side: Side, kind: Kind) -> int | None:
    """Return the time a section took, of hot-adds and hot-removes that ended; None: not known."""
    calls, window = side.durations.calls.get(kind), side.header.machine.window
    if kind in WITHIN or calls is None or window is None:
        return None
    try:
        pages = np.uint64(window.section_pages)
    except WindowError:
        return None
    good = calls.ended & calls.known & (calls.pfn + calls.nr_pages > calls.pfn)
    if not good.any():
        return None
    first, end = calls.pfn[good], calls.pfn[good] + calls.nr_pages[good]
    sections = exact_sum((end - np.uint64(1)) // pages - first // pages + np.uint64(1))
    return exact_sum(calls.duration[good]) // sections if sections else None


def _outcome(a: Side, b: Side, measures: tuple[Measure, ...]) -> Outcome:
    ratios = [m.ratio for m in measures if m.ratio is not None and m.ratio.differs is not None]
    if a.snapshot.losses or b.snapshot.losses or not ratios:
        return Outcome.INCONCLUSIVE
    if a.durations.beyond or b.durations.beyond:
        return Outcome.INCONCLUSIVE
    slower = any(ratio.differs and ratio.value > 1 for ratio in ratios)
    faster = any(ratio.differs and ratio.value < 1 for ratio in ratios)
    if slower and faster:
        return Outcome.MIXED
    return Outcome.SLOWER if slower else Outcome.FASTER if faster else Outcome.ALIKE


def _obstacles(a: Side, b: Side) -> Iterator[str]:
    for letter, side in (("A", a), ("B", b)):
        if side.snapshot.losses:
            losses = side.snapshot.losses.describe()
            yield f"{letter} has losses ({losses}): its counts are too low."
        if beyond := side.durations.beyond:
            number = "1 call" if beyond == 1 else f"{count(beyond)} calls"
            yield (
                f"{letter} has {number} behind the first {count(CALLS)}, which alone are timed"
                " here: their totals are lower bounds."
            )
        if not side.header.machine.agree:
            yield f"The sources of {letter}'s window contradict each other: its hits are in doubt."
        if HITS_ONLY in side.header.origin:
            yield f"{letter} holds hits alone: its calls inside the window were not kept."
        if side.header.machine.window is None:
            yield f"The window of {letter} is not known: its hits are not, either."
    sizes = [side.section_bytes for side in (a, b)]
    if sizes[0] != sizes[1]:
        words = ["not known" if each is None else size(each) for each in sizes]
        yield f"Sections differ in size: A {words[0]}, B {words[1]}."
    for kind in (Kind.SECTION_ADD, Kind.POPULATE, Kind.FREE):
        ways = [_ways(side.durations, kind) for side in (a, b)]
        if all(ways) and ways[0] != ways[1]:
            by = [_by(way) for way in ways]
            yield f"{name(kind)} is known by {by[0]} in A, by {by[1]} in B."


def _differences(a: Side, b: Side) -> Iterator[str]:
    first, second = a.header, b.header
    probes = [set(header.probes.items()) for header in (first, second)]
    if probes[0] != probes[1] and all(probes):
        only = [sorted({name for name, _ in probes[i] - probes[1 - i]}) for i in (0, 1)]
        number = len({*only[0], *only[1]})
        yield (
            f"The probes differ in {count(number)} function{'' if number == 1 else 's'}: each one"
            " costs time in what calls it."
        )
    windows = [header.machine.window for header in (first, second)]
    places = [None if w is None else (w.start, w.end) for w in windows]
    used = [None if w is None else w.used for w in windows]
    if places[0] != places[1]:
        yield "The windows differ: hits are counted against each one's own."
    elif used[0] != used[1]:
        bits = [None if w is None else w.vabits_actual for w in windows]
        in_use = ["not known" if n is None else f"{n} bits" for n in bits]
        yield (
            f"The windows in use differ (A {in_use[0]}, B {in_use[1]}): hits are counted against"
            " each one's own."
        )
    failed = [s.snapshot.faults_total for s in (a, b)]
    if failed[0] != failed[1]:
        words = [oopses(number) if number else "none" for number in failed]
        yield (
            f"Oopses differ: {words[0]} in A, {words[1]} in B. What the task would have done after"
            " one did not happen."
        )
    refused = [s.snapshot.refusals for s in (a, b)]
    if refused[0] != refused[1]:
        yield (
            f"Requests for free regions that were refused differ: {count(refused[0])} in A,"
            f" {count(refused[1])} in B."
        )
    calls = [s.snapshot.populate + s.snapshot.free for s in (a, b)]
    if calls[0] != calls[1]:
        yield f"The work differs: {count(calls[0])} calls in A, {count(calls[1])} in B."


def few(measure: Measure) -> bool:
    """Say whether a measure has too few samples for an interval."""
    return min(measure.counts) < FEWEST
