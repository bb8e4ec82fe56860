# SPDX-License-Identifier: GPL-2.0-only
"""The headline in words: whether and who, what the WARNs cost, and where the calls lie.

Plain functions of a snapshot, so that their words are tested without a screen. Each returns the
parts of one line, which say how much each matters: ``fit`` shortens and drops them until they fit.
Promises: a percentage names what it is a part of; what is a lower bound or not known is said to be.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recordings.analysis.what_if import warning_once
from recordings.ledger.snapshot import Reach, Regimes, Snapshot, Task, Verdict
from recordings.ledger.warn_shares import around, warn_shares
from recordings.reports.probe_summary import NOT_SEEN, rung
from recordings.reports.requests import error
from recordings.wording.escape import printable
from tracers.events import Kind
from tracers.window import Window
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.panel import MUTED, Line

#: The verdict in words, and the theme variable of its colour.
WORDS: Final = {
    Verdict.CLEAN: ("CLEAN", "$success"),
    Verdict.OUT_OF_RANGE: ("OUT OF RANGE", "$error"),
    Verdict.INCONCLUSIVE: ("INCONCLUSIVE", "$warning"),
}
#: What a live screen shows before the first event.
WAITING: Final = "waiting for memory hot-add or hot-remove"
#: Where a hit of each regime lies, in words.
_WHERE: Final = {
    "below": "below",
    "above": "above",
    "wrapped": "wrapped into the user half",
    "straddling": "straddling its edge",
}
_TOP: Final = 1 << 64
#: Tasks that are named; the others are counted.
_NAMED: Final = 2
#: Cells of the picture of the window.
_CELLS: Final = 24


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a line: ``texts`` from the fullest to the shortest; the highest rank goes first."""

    rank: int  # 0 stays
    texts: tuple[str, ...]
    style: str = ""


def fit(parts: Sequence[Part], width: int, between: str = " · ") -> Line:
    """Return the parts as a line of ``width`` cells at most.

    As many as fit in their shortest words, by rank; then the most important in fuller ones.
    """
    order = sorted(range(len(parts)), key=lambda i: parts[i].rank)
    texts: dict[int, str] = {}

    def length() -> int:
        return sum(map(len, texts.values())) + len(between) * max(0, len(texts) - 1)

    for i in order:
        texts[i] = parts[i].texts[-1]
        if length() > width and parts[i].rank:
            del texts[i]
            break
    for i in order:
        for text in parts[i].texts if i in texts else ():
            shortest, texts[i] = texts[i], text
            if length() <= width:
                break
            texts[i] = shortest
    line: list[tuple[str, str]] = []
    room = width
    for i in sorted(texts):
        if line:
            line.append((between, MUTED))
            room -= len(between)
        text = words.clip(texts[i], max(0, room))
        line.append((text, parts[i].style))
        room -= len(text)
    return tuple(line)


def word(view: PlayerView) -> tuple[str, str]:
    """Return the verdict's word and the theme variable of its colour."""
    snapshot = view.snapshot
    # Before everything was read only a hit is certain: neither "clean" nor "inconclusive" can be.
    if snapshot.verdict is Verdict.OUT_OF_RANGE or view.final:
        return WORDS[snapshot.verdict]
    if view.live is None:
        return f"READING {int(100 * view.read)} %", "$primary"
    if not snapshot.populate + snapshot.free + snapshot.faults_total:
        return "NOTHING YET", "$primary"
    return (
        WORDS[snapshot.verdict]
        if snapshot.verdict is not Verdict.CLEAN
        else (
            "CLEAN SO FAR",
            "$success",
        )
    )


def answer(snapshot: Snapshot, *, final: bool) -> list[Part]:
    """Return how many calls are where, and that the kernel failed; without calls that first."""
    parts = [counted(snapshot, final=final), *failed(snapshot), *refused(snapshot)]
    return parts if snapshot.populate + snapshot.free else parts[::-1]


def counted(snapshot: Snapshot, *, final: bool) -> Part:
    """Return how many calls are where."""
    regimes, total = snapshot.regimes, snapshot.populate + snapshot.free
    so_far = "" if final else " so far"
    if snapshot.hits:
        head = f"{words.count(snapshot.hits)} of {words.calls(total)}{so_far}"
        where = f"{_where(regimes)}{_silent(snapshot)}"
        marks = f"{_marks(regimes)}{_silent(snapshot)}"
        return Part(
            0,
            (f"{head} outside the window, {where}", f"{head} outside, {marks}", f"{head} outside"),
            "bold",
        )
    if not total:
        none = f"no populate or free call{so_far}"
        short = (none,) if not snapshot.faults_total else (none, "no call")
        return Part(0, short, "bold")
    if regimes.unknown:
        unknown = words.count(regimes.unknown)
        return Part(0, (f"{unknown} of {words.calls(total)}{so_far} cannot be judged",), "bold")
    text = f"all {words.calls(total)}{so_far} inside"
    return Part(0, (f"{text} the window", text), "bold")


def failed(snapshot: Snapshot) -> list[Part]:
    """Return that the kernel failed, and where; nothing if it did not."""
    total, regimes = snapshot.faults_total, snapshot.fault_regimes
    if not total:
        return []
    told, style = words.oopses(total), "bold $error"
    if not regimes.hits:
        style = "bold $warning"
        where = "inside the window" if regimes.inside == total else "where is not known"
        return [Part(0, (f"{told}, {where}", told), style)]
    one = "at a struct page" if total == 1 else "at struct pages"
    where, marks = _where(regimes), _marks(regimes)
    if regimes.hits < total:
        marks = f"{words.count(regimes.hits)} outside"
        where = f"{marks} the window"
    return [Part(0, (f"{told} {one}, {where}", f"{told}, {marks}", told), style)]


def refused(snapshot: Snapshot) -> list[Part]:
    """Return that the kernel had no place for a region; nothing if it had."""
    if not snapshot.refusals:
        return []
    number = words.calls(snapshot.refusals, "region")
    names = ", ".join(error(errno) for errno, _ in snapshot.refused[:2])
    return [Part(1, (f"{number} refused ({names})", f"{number} refused"), "bold $warning")]


def _silent(snapshot: Snapshot) -> str:
    if not snapshot.silent:
        return ""
    number = "all" if snapshot.silent == snapshot.hits > 1 else words.count(snapshot.silent)
    return f", {number} silent"


def _where(regimes: Regimes) -> str:
    counts = [(name, n) for name in _WHERE if (n := getattr(regimes, name))]
    if len(counts) == 1:
        return ("all " if counts[0][1] > 1 else "") + _WHERE[counts[0][0]]
    return ", ".join(f"{words.count(n)} {_WHERE[name]}" for name, n in counts)


def _marks(regimes: Regimes) -> str:
    counts = [(name, n) for name in _WHERE if (n := getattr(regimes, name))]
    if len(counts) == 1:
        name, number = counts[0]
        return f"{'all ' if number > 1 else ''}{words.mark(name)} {name}"
    return ", ".join(f"{words.mark(name)} {words.count(n)}" for name, n in counts)


def who(snapshot: Snapshot) -> list[Part]:
    """Return whose operations they are: what comes in, what goes out."""
    sides = [[task for task in snapshot.tasks if task.removes is side] for side in (False, True)]
    if not any(sides):
        return []
    named = [
        f"{', '.join(_task(task) for task in tasks[:_NAMED])}{_more(tasks, snapshot)} {word}"
        for tasks, word in zip(sides, ("in", "out"), strict=True)
        if tasks
    ]
    short = ", ".join(_task(tasks[0]) for tasks in sides if tasks)
    beyond = len(snapshot.tasks) > sum(map(bool, sides)) or snapshot.tasks_beyond
    return [Part(3, (", ".join(named), short + (", …" if beyond else "")))]


def _task(task: Task) -> str:
    return f"{words.clip(printable(task.comm), 32)}-{'?' if task.tid is None else task.tid}"


def _more(tasks: Sequence[Task], snapshot: Snapshot) -> str:
    more = len(tasks) - _NAMED
    if more > 0:
        return f" and {'at least ' if snapshot.tasks_beyond else ''}{more} more"
    return " and others" if snapshot.tasks_beyond else ""


def _still_mapped(snapshot: Snapshot, probes: Mapping[str, str]) -> list[Part]:
    """Return how many ranges outside the window are still populated, and their size."""
    pairing = snapshot.pairing
    unseen = rung(probes.get("vmemmap_free", "kprobe")) == NOT_SEEN
    if snapshot.losses or unseen:
        why = "no probe on vmemmap_free" if unseen else "events are missing"
        return [Part(2, (f"still mapped: not known, {why}", "still mapped ?"))]
    least = "at least " if snapshot.calls_beyond else ""
    if not pairing.held_outside:
        return [Part(2, (f"still mapped {least}0",))]
    ranges = words.calls(pairing.held_outside, "range")
    sized = f"still mapped {least}{words.size(pairing.held_outside_bytes)}"
    return [Part(2, (f"{sized} in {ranges}", sized), "$warning")]


def cost(snapshot: Snapshot) -> list[Part]:
    """Return what the WARNs cost, of what that is a part, and what a patch would save."""
    parts = [_spent(snapshot)]
    shares = warn_shares(snapshot)
    for part in shares:
        share = f"{words.share(part.share)} of {words.function(part.kind)}"
        parts.append(Part(1, (f"{share} {words.duration(part.whole_ns)}", share)))
    if own := [(part.total_ns, part.ours.in_calls_ns) for part in shares if part.ours]:
        recorded, took = (words.duration(sum(times)) for times in zip(*own, strict=True))
        parts.append(
            Part(3, (f"about {took} of the recorded {recorded} ours", f"{took} ours"), MUTED)
        )
    if snapshot.suppressed:
        text = f"{words.count(snapshot.suppressed)} suppressed"
        parts.append(Part(2, (f"{text} (WARN_ON_ONCE)", text)))
    elif (once := warning_once(snapshot)) and once.saved_ns and once.would < once.recorded:
        saved = words.duration(once.saved_ns)
        fewer = f"WARN_ON_ONCE: {words.calls(once.would, 'WARN')}"
        parts.append(Part(3, (f"{fewer}, at least -{saved}", f"WARN_ON_ONCE -{saved}"), "$primary"))
    if snapshot.warnings and (outside := around(snapshot)):
        told = [f"{words.function(o.kind)} {words.duration(o.outside_ns)}" for o in outside]
        both = words.duration(sum(o.outside_ns for o in outside))
        texts = (f"outside of these {', '.join(told)}", f"{both} around these")
        parts.append(Part(4, texts, MUTED))
    if not snapshot.warnings:
        parts += [
            Part(5, (f"{words.function(kind)} {words.duration(timing.total_ns)}",), MUTED)
            for kind in (total.kind for total in snapshot.totals)
            if (timing := snapshot.timings.get(kind))
        ]
    return parts


def _spent(snapshot: Snapshot) -> Part:
    if not snapshot.warnings:
        if snapshot.silent == snapshot.hits > 0:
            text = "no WARN: the kernel's own check lets these hits pass"
        else:
            text = "no WARN seen for these hits" if snapshot.hits else "no WARN fired"
        return Part(0, (text,), MUTED)
    fired = words.calls(snapshot.warnings, "WARN")
    untimed = sum(site.untimed for site in snapshot.sites)
    if untimed == snapshot.warnings:
        return Part(0, (f"{fired}, their cost not known",))
    least = "at least " if untimed else ""
    return Part(0, (f"{least}{words.duration(snapshot.warn_ns)} in {fired}",), "bold")


def where(
    snapshot: Snapshot,
    window: Window | None,
    probes: Mapping[str, str],
    *,
    live: bool = False,
    problems: bool = False,
) -> list[Part]:
    """Return how far from the window the hits lie and on what, or how much room is left in it.

    ``problems``: they say why the window is not known, elsewhere.
    """
    if window is None:
        text = "the window is not known: no side files of the machine were given"
        short = "the window is not known: no side files given"
        if problems:
            text, short = "the window is not known, so no call can be judged", "no window is known"
        if live:
            text = "the window is not known here, so no call can be judged: see vmemscope doctor"
            short = "the window is not known: see vmemscope doctor"
        return [Part(0, (text, short), "$warning")]
    reaches = {reach.regime: reach for reach in snapshot.reaches}
    parts = [
        Part(0 if at == 0 else 1, texts, words.regime_style(regime))
        for at, (regime, texts) in enumerate(_distances(reaches, window))
    ]
    if snapshot.hits:
        parts += [*_lands(snapshot), *_still_mapped(snapshot, probes)]
        inside = snapshot.regimes.inside
        parts.append(Part(4, (f"{words.count(inside) if inside else 'none'} inside",)))
    elif "inside" in reaches:
        parts += _room(reaches["inside"], window)
    elif not snapshot.faults_total:
        parts.append(Part(0, ("no call has been placed",), MUTED))
    parts += _failed_at(snapshot, alone=not reaches)
    parts += _no_place(snapshot, window)
    if snapshot.derived:
        number = words.count(snapshot.derived)
        parts.append(Part(3, (f"† {number} derived", f"† {number}"), MUTED))
    return parts


def _no_place(snapshot: Snapshot, window: Window) -> list[Part]:
    """Return what the newest refused request asked for; nothing without one."""
    refused = [each for each in snapshot.requests if each.error is not None]
    if not refused or refused[-1].asked is None or window.page_size is None:
        return []
    newest = refused[-1]
    text = f"no place for {words.size(refused[-1].asked * window.page_size)}"
    name = f" for {words.clip(printable(newest.name), 16)}" if newest.name else ""
    who = f"{words.clip(printable(newest.comm), 16)}-{'?' if newest.tid is None else newest.tid}"
    return [Part(1, (f"{text}{name} by {who}", f"{text}{name}", text), "$warning")]


def _failed_at(snapshot: Snapshot, *, alone: bool) -> list[Part]:
    """Return the struct page of the newest Oops; ``alone``: no call has been placed."""
    if not snapshot.faults:
        return []
    fault, rank = snapshot.faults[-1], 0 if alone else 1
    if fault.start is None:
        text = f"{words.function(Kind.FAULT)} at a struct page that is not proven"
        return [Part(rank, (text, text.removesuffix(" that is not proven") + "?"), "$warning")]
    at = f"{words.function(Kind.FAULT)} at {words.address(fault.start)}"
    frame = "" if fault.pfn is None else f", pfn 0x{fault.pfn:x}"
    lands = f" on {printable(fault.lands_on)}" if fault.lands_on else ""
    return [
        Part(rank, (f"{at}{lands}{frame}", f"{at}{frame}", at), words.regime_style(fault.regime))
    ]


def _distances(
    reaches: Mapping[str, Reach], window: Window
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield how far from the window the hits of each regime lie."""
    if reach := reaches.get("above"):
        near, far = reach.start - window.end, reach.last + 1 - window.end
        start = words.size(near) if near else "0"
        yield (
            "above",
            (
                f"{start} to {words.size(far)} past VMEMMAP_END",
                f"{start} past VMEMMAP_END",
            ),
        )
    if reach := reaches.get("below"):
        first = window.used[0]
        edge = "VMEMMAP_START" if first == window.start else "the window in use"
        near, far = max(0, first - 1 - reach.last), first - reach.start
        start = words.size(near) if near else "0"
        yield "below", (f"{start} to {words.size(far)} below {edge}", f"{start} below {edge}")
    if reach := reaches.get("wrapped"):
        at = words.address(reach.start)
        yield "wrapped", (f"wrapped past 2^64, from {at} on", f"wrapped to {at}")
    if "straddling" in reaches:
        yield "straddling", ("across an edge of the window", "across an edge")


def _lands(snapshot: Snapshot) -> list[Part]:
    """Return the size of the struct page ranges outside, by what they lie on."""
    sizes: Counter[str] = Counter()
    for extent in snapshot.extents:
        sizes[extent.lands_on or ""] += (extent.end - extent.start) % _TOP
    least = snapshot.calls_beyond or snapshot.extents_total > len(snapshot.extents)
    named = [
        f"{'at least ' if least else ''}{words.size(size)}"
        + (f" in {printable(name)}" if name else " outside")
        for name, size in sizes.most_common()
    ]
    if not named:
        return []
    more = f" and {len(named) - 1} more regions" if len(named) > 2 else ""
    return [Part(2, (", ".join(named), named[0] + (more or ("" if len(named) == 1 else ", …"))))]


def _room(inside: Reach, window: Window) -> list[Part]:
    """Return where in the window the calls lie, and what still fits beside them."""
    first, end = window.used
    size, stop = end - first, inside.last + 1
    low = (inside.start - first) * _CELLS // size
    high = max(low + 1, -(-(stop - first) * _CELLS // size))
    picture = "░" * low + "█" * (high - low) + "░" * (_CELLS - high)
    edge = "VMEMMAP_START" if first == window.start else "where it is in use"
    above, below = end - stop, inside.start - first
    return [
        Part(4, (f"▕{picture}▏",), "$regime-inside"),
        Part(
            0,
            (
                f"room {words.size(above)} up to VMEMMAP_END{_memory(above, window)}",
                f"{words.size(above)} free to VMEMMAP_END{_memory(above, window)}",
                f"{words.size(above)} free to VMEMMAP_END",
            ),
        ),
        Part(
            1,
            (
                f"{words.size(below)} down to {edge}{_memory(below, window)}",
                f"{words.size(below)} down to {edge}",
                f"{words.size(below)} below",
            ),
        ),
    ]


def _memory(vmemmap: int, window: Window) -> str:
    """Return how much memory the struct pages in so many bytes are of."""
    if window.struct_page is None or window.page_size is None:
        return ""
    return f" for {words.size(vmemmap // window.struct_page * window.page_size)} of memory"
