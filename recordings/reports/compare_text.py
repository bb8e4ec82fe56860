# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as text: ``vmemscope compare``.

Promises: the first line is the result, with its interval; "A" and "B" always are the first and the
second file; plain and at most 80 columns wide when piped; text of kernels and files goes through
``printable``.
"""

from collections.abc import Iterator
from typing import Final

from rich.console import Console, ConsoleRenderable
from rich.text import Text

from recordings.analysis.compare import Comparison, Measure, Outcome, Side, few
from recordings.analysis.confidence import Ratio
from recordings.reports import text_layout
from recordings.wording.escape import printable
from recordings.wording.units import address, count, duration, share

_STYLES: Final = {
    Outcome.SLOWER: "bold red",
    Outcome.FASTER: "bold green",
    Outcome.MIXED: "bold yellow",
    Outcome.ALIKE: "bold green",
    Outcome.INCONCLUSIVE: "bold yellow",
}


def render(console: Console, comparison: Comparison) -> None:
    """Print a comparison to ``console``."""
    text_layout.emit(console, _parts(comparison))


def headline(comparison: Comparison) -> str:
    """Return the result in one sentence, without the outcome's name."""
    compared = [m for m in comparison.measures if m.ratio is not None]
    sure = [m for m in compared if m.ratio is not None and m.ratio.differs is not None]
    outcome = comparison.outcome
    if outcome is Outcome.INCONCLUSIVE:
        if comparison.a.snapshot.losses or comparison.b.snapshot.losses:
            return "events are missing, and what the missing ones took is not known."
        if comparison.a.durations.beyond or comparison.b.durations.beyond:
            return "there are more calls than are timed, and what the others took is not known."
        if not compared:
            return "no call was timed in both in a way that can be compared."
        return "too few calls in either to tell a difference from chance."
    if outcome is Outcome.ALIKE:
        return f"{_sentence(sure[0])}: chance alone would do that."
    differing = [m for m in sure if m.ratio is not None and m.ratio.differs]
    return "; ".join(map(_sentence, differing[:2])) + "."


def _sentence(measure: Measure) -> str:
    ratio = measure.ratio
    if ratio is None or ratio.low is None or ratio.high is None:
        return f"{measure.function} has no interval"
    low, high, sides = ratio.low, ratio.high, ("A", "B")
    if ratio.value < 1:
        low, high, sides = 1 / high, 1 / low, ("B", "A")
    times = f"{times_of(low)} to {times_of(high)} times"
    return f"{measure.function} takes {times} as long in {sides[0]} as in {sides[1]} (95 %)"


def single(comparison: Comparison) -> str | None:
    """Return the ratios of what was measured too seldom for an interval."""
    slowdowns = [
        f"{m.function} took {times_of(m.ratio.value)} times as long in A as in B"
        f" ({_each(*m.counts)})"
        for m in comparison.measures
        if m.ratio is not None and m.ratio.low is None
    ]
    return f"Too few calls for an interval: {'; '.join(slowdowns)}." if slowdowns else None


def _each(a: int, b: int) -> str:
    if a == b:
        return f"{count(a)} call{'' if a == 1 else 's'} each"
    return f"{count(a)} and {count(b)} calls"


def times_of(ratio: float) -> str:
    """Return a ratio with three significant digits: "19.7", "0.512", "1,230"."""
    if ratio >= 100:
        return f"{ratio:,.0f}"
    return f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}" if ratio >= 1 else f"{ratio:.3f}"


def _parts(comparison: Comparison) -> Iterator[ConsoleRenderable]:
    outcome = comparison.outcome
    word = Text(outcome.name, _STYLES[outcome])
    yield text_layout.hanging(word, headline(comparison))
    if text := single(comparison):
        yield text_layout.line("", text)
    for obstacle in comparison.obstacles:
        yield text_layout.line("NOT ALIKE", Text(obstacle, "bold yellow"))
    for difference in comparison.differences:
        yield text_layout.line("differs", Text(difference, "yellow"))
    yield Text()
    a, b = comparison.a, comparison.b
    rows: list[list[str | Text]] = [["", Text("A", "bold"), Text("B", "bold")]]
    rows += [[label, *pair] for label, pair in _facts(a, b)]
    yield text_layout.table(rows, wide=2)
    yield text_layout.heading("Time, aligned by operation and section")
    heads = ("", "A", "B", "A / B", "95 % interval", "calls")
    cells: list[list[str | Text]] = [[Text(head, "dim") for head in heads]]
    for measure in comparison.measures:
        cells += _measured(measure)
    yield text_layout.table(cells, wide=5)
    for measure in comparison.measures:
        if measure.ours and not measure.why_not:
            each = " and ".join(
                f"{duration(ns)} in {side}" for ns, side in zip(measure.ours, "AB", strict=True)
            )
            text = f"{measure.function}: without what the probes took of each call, about {each}."
            yield text_layout.hanging(Text(" "), Text(text, "dim"))
        if measure.why_not:
            text = f"{measure.function}: not compared, {measure.why_not}."
            yield text_layout.hanging(Text(" "), Text(text, "yellow"))


def _facts(a: Side, b: Side) -> Iterator[tuple[str, tuple[str, str]]]:
    def row(label: str, first: str, second: str) -> tuple[str, tuple[str, str]]:
        return label, (first, second)

    yield row("file", printable(a.name), printable(b.name))
    yield row("kernel", *(printable(s.header.machine.release or "not known") for s in (a, b)))
    windows = [s.header.machine.window for s in (a, b)]
    for label, name in (("window", "start"), ("", "end")):
        borders = ["not known" if w is None else address(getattr(w, name)) for w in windows]
        yield row(label, *borders)
    yield row("populate", *(_populate(s) for s in (a, b)))
    yield row("free", *(count(s.snapshot.free) for s in (a, b)))
    yield row("hits", *(count(s.snapshot.hits) for s in (a, b)))
    if a.snapshot.silent or b.snapshot.silent:
        yield row("silent", *(count(s.snapshot.silent) for s in (a, b)))
    if a.snapshot.faults_total or b.snapshot.faults_total:
        yield row("Oopses", *(count(s.snapshot.faults_total) for s in (a, b)))
    yield row("WARNs", *(_warnings(s) for s in (a, b)))
    for what in ("hot-add", "hot-remove"):
        shares = [s.shares.get(what) for s in (a, b)]
        if any(shares):
            percents = ["-" if part is None else share(part.share) for part in shares]
            yield row(f"in WARN, {what}", *percents)
    yield row("losses", *(s.snapshot.losses.describe() or "none known" for s in (a, b)))


def _populate(side: Side) -> str:
    derived = side.snapshot.derived
    return count(side.snapshot.populate) + (f" ({count(derived)} derived†)" if derived else "")


def _warnings(side: Side) -> str:
    snapshot = side.snapshot
    return f"{count(snapshot.warnings)}, {duration(snapshot.warn_ns)}"


def _measured(measure: Measure) -> Iterator[list[str | Text]]:
    if not any(measure.counts):
        return
    first, second = measure.totals
    yield [
        Text(measure.function),
        duration(first) if measure.counts[0] else "-",
        duration(second) if measure.counts[1] else "-",
        *_ratio(measure.ratio, few=few(measure)),
        _number(measure),
    ]
    if any(ns is not None for ns in measure.per_section):
        yield ["  a section", *map(duration, measure.per_section), "", "", ""]
    for quantile in measure.quantiles:
        if quantile.a is None and quantile.b is None:
            continue
        cells = _ratio(quantile.ratio, few=True)
        yield [f"  p{quantile.percent}", duration(quantile.a), duration(quantile.b), *cells, ""]


def _ratio(ratio: Ratio | None, *, few: bool) -> list[str]:
    if ratio is None:
        return ["-", "-"]
    if ratio.low is None or ratio.high is None:
        return [times_of(ratio.value), "few calls" if few else "-"]
    return [times_of(ratio.value), f"{times_of(ratio.low)} - {times_of(ratio.high)}"]


def _number(measure: Measure) -> str:
    first, second = measure.counts
    if measure.paired:
        return f"{count(first)} aligned"
    return f"{count(first)} + {count(second)}"
