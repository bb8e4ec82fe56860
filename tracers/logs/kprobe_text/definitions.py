# SPDX-License-Identifier: GPL-2.0-only
"""What a capture had probes on, read from its ``kprobe_events`` file.

A probe that was never placed and a function that was never called leave the same trace: none.
This file tells them apart, and promises nothing about probes placed by other means.
"""

import re
from dataclasses import dataclass

# "p:kprobes/warn __warn file=…" and "r10:kprobes/warn_ret __warn": kernel
# Documentation/trace/kprobetrace.rst, "Synopsis of kprobe_events". An offset ("+0x8") or a
# module ("mod:") names another place than the function's entry.
_LINE = re.compile(
    r"^(?P<type>p|r\d*)(?::(?:[^\s/]+/)?(?P<event>[^\s/]+))?\s+(?P<module>[^\s:+]+:)?"
    r"(?P<function>[A-Za-z_]\w*(?:\.\w+)*)(?:\+(?P<offset>0x[0-9a-f]+|\d+))?(?=\s|$)"
)


@dataclass(frozen=True, slots=True)
class ProbeLocation:
    """What an event is a probe on; ``function`` with its module ("mod:name") if it has one."""

    function: str
    offset: int = 0  # bytes


def read_kprobe_events(text: str) -> dict[str, str]:
    """Map each probed function to how: "entry", "return" or "entry+return"."""
    seen: dict[str, set[str]] = {}
    for match in _matches(text):
        if not match["module"] and not match["offset"]:
            side = "entry" if match["type"] == "p" else "return"
            seen.setdefault(match["function"], set()).add(side)
    return {function: "+".join(sorted(sides)) for function, sides in seen.items()}


def read_probe_locations(text: str) -> dict[str, ProbeLocation]:
    """Map each event's name to what it is a probe on.

    Names that stand for several places, or for a section ("_text+165520", as perf probe has it),
    tell nothing and are left out.
    """
    places: dict[str, ProbeLocation | None] = {}
    for match in _matches(text):
        place = ProbeLocation(
            (match["module"] or "") + match["function"], int(match["offset"] or "0", 0)
        )
        if match["event"] and match["function"] not in ("_text", "_stext"):
            same = places.setdefault(match["event"], place) == place
            places[match["event"]] = place if same else None
    return {event: place for event, place in places.items() if place}


def _matches(text: str) -> list[re.Match[str]]:
    found = (_LINE.match(line.strip()) for line in text.splitlines())
    return [match for match in found if match]
