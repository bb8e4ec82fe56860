# SPDX-License-Identifier: GPL-2.0-only
"""A what-if result as sentences and as a JSON dictionary; both say that it is hypothetical.

Promises: JSON keys are added, never removed, and "hypothetical" is true; sentences hold no text of
a file or a user.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from recordings.analysis.what_if import Fired, Warn, WhatIf, WhatIfResult
from recordings.ledger.headline import WORDS, calls, oopses
from recordings.ledger.snapshot import Verdict
from recordings.reports.recording_json import extents_list
from recordings.wording.units import address, count, duration, share, size
from tracers.explain import blindness
from tracers.formulas import WindowError, signed_hex

#: Label of everything that did not happen.
LABEL: Final = "WHAT IF"
_WARNS: Final = {
    Warn.ALWAYS: "the kernel warned every time (WARN_ON)",
    Warn.ONCE: "the kernel warned once a place (WARN_ON_ONCE)",
    Warn.ERROR: "populating outside of the window were an error",
}
#: Relocated regions named in sentences; in the JSON are all that are listed.
_NAMED: Final = 4


def conditions(asked: WhatIf) -> str:
    """Return the conditions as "the window were 0x… - 0x… and …"."""
    parts = []
    if asked.window is not None:
        window = f"the window were {_range(asked.window.start, asked.window.end)}"
        if asked.window.used[0] != asked.window.start:
            window += f", in use from {address(asked.window.used[0])} on"
        parts.append(window)
    if asked.physmem_end is not None:
        parts.append(f"device regions were placed at most up to 0x{asked.physmem_end:x}")
    if asked.warn is not None:
        parts.append(_WARNS[asked.warn])
    return " and ".join(parts)


def headline(result: WhatIfResult) -> str:
    """Return the verdict in one sentence, without the label."""
    number = result.populate + result.free
    word = f"hypothetical verdict {WORDS[result.verdict]}"
    if result.verdict is Verdict.OUT_OF_RANGE:
        refused = result.refused
        hits = result.regimes.hits if refused is None else refused.silent_made
        silent = f", {count(result.silent)} of them silent" if result.silent else ""
        silent = silent if refused is None else ", as the check lets them pass"
        outside = f"{count(hits)} of {calls(number)} would still lie outside the window"
        failed = result.fault_regimes.hits
        pages = "struct page of the Oops" if failed == 1 else f"struct pages of {oopses(failed)}"
        if failed and not hits:
            return f"{word}: the {pages} would still lie outside the window"
        also = f", and so would the {pages}" if failed and refused is None else ""
        return f"{word}: {outside}{silent}{also}"
    if result.verdict is Verdict.INCONCLUSIVE:
        return f"{word}: {result.reasons[0].removesuffix('.')}"
    if result.refused is not None and result.refused.populate_refused:
        return f"{word}: nothing would be mapped outside the window, as it is refused"
    return f"{word}: all {calls(number)} would lie inside the window"


def sentences(result: WhatIfResult) -> Iterator[str]:
    """Yield the reasons and details."""
    yield from result.reasons[1:]
    yield from _places(result)
    if result.refused is not None:
        yield from _refused(result)
    if result.fired is not None:
        yield from _warnings(result.fired, result.asked)
    elif result.would_warn:
        yield f"The kernel's comparison would be true for {calls(result.would_warn)}."


def _places(result: WhatIfResult) -> Iterator[str]:
    window, asked = result.window, result.asked
    if asked.window is not None and window is not None:
        try:
            first, end = window.phys_range
        except WindowError:
            return
        memstart = signed_hex(window.memstart or 0)
        yield (
            f"With memstart_addr {memstart} that window has the pages of physical"
            f" 0x{first:x} to 0x{end:x} ({size(end - first)})."
        )
        if (window.va_bits or 0) > 48:
            used = window.vabits_actual
            cpu = f"with {used} in use"
            if used is None:
                cpu = "by what is in use whatever the CPU"
            yield f"A kernel for {window.va_bits} bits, judged {cpu}."
            if blind := blindness(window):
                yield blind
    if asked.physmem_end is None:
        return
    relocations, total = result.relocations, result.placements.total
    if not relocations and result.placements.beyond is None:
        yield "No region of the recording reaches above that: nothing would be placed elsewhere."
        return
    shift = window.page_shift if window is not None else 0
    for relocation in relocations[:_NAMED]:
        to = "to no known place" if relocation.to is None else f"to 0x{relocation.to << shift:x}"
        to = "nowhere: no place is free" if relocation.full else to
        pages = size(relocation.nr_pages << shift)
        yield f"{pages} at physical 0x{relocation.pfn << shift:x} would go {to}."
    if total > _NAMED:
        more = f"{count(total - _NAMED)} more regions would be placed elsewhere."
        yield f"At least {more}" if result.placements.beyond is not None else more
    yield (
        "That holds for drivers that ask request_free_mem_region() for a place (eeb8fdfcf090,"
        " 6.12); a driver that names the addresses itself stays where it is."
    )


def _refused(result: WhatIfResult) -> Iterator[str]:
    refused = result.refused
    if refused is None or not refused.populate_refused:
        yield "No call would be refused."
        return
    if refused.adds:
        first = "its first section" if refused.at_first == 1 else "their first section"
        where = f"{count(refused.at_first)} of them at {first}"
        if refused.at_first == refused.adds_refused:
            where = f"at {first}"
        yield (
            f"{count(refused.adds_refused)} of {_number(refused.adds, 'hot-add')} would be refused,"
            f" {where}: the device would not work."
        )
    else:
        yield "No hot-add call is in the recording: each populate call is taken by itself."
    yield (
        f"{_number(refused.populate_refused, 'populate call')} would return the error;"
        f" {calls(refused.not_made)} would not happen:"
        f" {count(refused.populate_not_made)} populate, {count(refused.free_not_made)} free."
    )


def _warnings(fired: Fired, asked: WhatIf) -> Iterator[str]:
    if not fired.recorded and not fired.would:
        return
    would = "No WARN" if not fired.would else _number(fired.would, "WARN")
    yield f"{would} would fire in place of {count(fired.recorded)} recorded."
    if fired.more_ns is not None:
        yield (
            f"By the mean of {count(fired.timed)} timed, these would cost about"
            f" {duration(fired.more_ns)} more: an estimate."
        )
    if fired.saved_ns:
        sides = [
            f"{duration(s.saved_ns)} ({share(s.saved_ns / s.total_ns)}) of the {s.what}"
            for s in fired.savings
            if s.saved_ns
        ]
        of = f": {', '.join(sides)}" if sides else ""
        yield f"That saves at least {duration(fired.saved_ns)} of WARN time{of}."
    elif fired.saved_ns is None and fired.would < fired.recorded:
        yield "What that saves is not known: no WARN was timed."
    if asked.warn is Warn.ONCE and fired.would:
        yield "The struct pages would lie where they lie now: only repeated WARNs would stop."


def what_if_dict(result: WhatIfResult) -> dict[str, Any]:
    """Return the whole result, ready for ``json.dumps``."""
    asked, refused, fired = result.asked, result.refused, result.fired
    return {
        "hypothetical": True,
        "supposed": {
            "window_of": asked.whose or None,
            "physmem_end": None if asked.physmem_end is None else f"0x{asked.physmem_end:x}",
            "warn": asked.warn.value if asked.warn else None,
        },
        "window": result.window.to_dict() if result.window else None,
        "verdict": result.verdict.value,
        "verdict_reasons": list(result.reasons),
        "calls": {"populate": result.populate, "free": result.free},
        "hits": result.regimes.hits,
        "would_warn": result.would_warn,
        "silent": result.silent,
        "regimes": asdict(result.regimes),
        "fault_regimes": asdict(result.fault_regimes),
        "extents": extents_list(result.extents),
        "extents_total": result.extents_total,
        "calls_beyond": result.calls_beyond,
        "warnings": None
        if fired is None
        else {
            "recorded": fired.recorded,
            "would_fire": fired.would,
            "saved_at_least_ns": fired.saved_ns,
            "more_about_ns": fired.more_ns,
            "timed": fired.timed,
            "sides": [
                {"of": s.what, "saved_at_least_ns": s.saved_ns, "total_ns": s.total_ns}
                for s in fired.savings
            ],
        },
        "refused": None
        if refused is None
        else {
            "hot_adds": refused.adds,
            "hot_adds_refused": refused.adds_refused,
            "at_first_section": refused.at_first,
            "populate_refused": refused.populate_refused,
            "populate_not_made": refused.populate_not_made,
            "free_not_made": refused.free_not_made,
            "silent_made": refused.silent_made,
            "unsure": refused.unsure,
        },
        "moves": [
            {
                "pfn": f"0x{relocation.pfn:x}",
                "nr_pages": relocation.nr_pages,
                "to_pfn": None if relocation.to is None else f"0x{relocation.to:x}",
                "no_place": relocation.full,
            }
            for relocation in result.relocations
        ],
        "moves_total": result.placements.total,
        "moves_unknown_from_pfn": None
        if result.placements.beyond is None
        else f"0x{result.placements.beyond:x}",
    }


def _range(start: int, end: int) -> str:
    return f"{address(start)} - {address(end)}"


def _number(number: int, what: str) -> str:
    return f"{count(number)} {what}" + ("" if number == 1 else "s")
