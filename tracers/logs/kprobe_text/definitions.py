# SPDX-License-Identifier: GPL-2.0-only
"""Reads which functions a capture had probes on, from its ``kprobe_events`` file.

A trace shows nothing of a probe that was never placed, nor of a function that was never called;
this file distinguishes the two. It knows nothing of probes placed by other means.
"""

import re
from dataclasses import dataclass

# "p:kprobes/warn __warn file=…" and "r10:kprobes/warn_ret __warn": kernel
# Documentation/trace/kprobetrace.rst, "Synopsis of kprobe_events". An offset ("+0x8") or a
# module ("mod:") is not the function's entry.
_LINE = re.compile(
    r"^(?P<type>p|r\d*)(?::(?:[^\s/]+/)?(?P<event>[^\s/]+))?\s+(?P<module>[^\s:+]+:)?"
    r"(?P<function>[A-Za-z_]\w*(?:\.\w+)*)(?:\+(?P<offset>0x[0-9a-f]+|\d+))?(?=\s|$)"
)


@dataclass(frozen=True, slots=True)
class ProbeLocation:
    """Where a probe is; ``function`` with its module ("mod:name") if it has one."""

    function: str
    offset: int = 0  # bytes


def read_kprobe_events(text: str) -> dict[str, str]:
    """Map each probed function to "entry", "return" or "entry+return"."""
    seen: dict[str, set[str]] = {}
    for match in _matches(text):
        if not match["module"] and not match["offset"]:
            side = "entry" if match["type"] == "p" else "return"
            seen.setdefault(match["function"], set()).add(side)
    return {function: "+".join(sorted(sides)) for function, sides in seen.items()}


def read_probe_locations(text: str) -> dict[str, ProbeLocation]:
    """Map each event's name to where its probe is.

    Names of several probes in different locations, or relative to a section ("_text+165520", as
    perf probe writes it), are left out.
    """
    locations: dict[str, ProbeLocation | None] = {}
    for match in _matches(text):
        location = ProbeLocation(
            (match["module"] or "") + match["function"], int(match["offset"] or "0", 0)
        )
        if match["event"] and match["function"] not in ("_text", "_stext"):
            same = locations.setdefault(match["event"], location) == location
            locations[match["event"]] = location if same else None
    return {event: location for event, location in locations.items() if location}


def _matches(text: str) -> list[re.Match[str]]:
    matches = (_LINE.match(line.strip()) for line in text.splitlines())
    return [match for match in matches if match]
