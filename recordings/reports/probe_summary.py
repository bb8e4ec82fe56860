# SPDX-License-Identifier: GPL-2.0-only
"""The rung of each probe point in one line, for messages on stderr and the dashboard."""

from collections.abc import Mapping
from typing import Final

from recordings.wording.escape import printable
from tracers.kernel_functions import KINDS, name
from tracers.live.kmsg import RUNG

_RUNGS: Final = ("fentry", "kprobe", "callsite", "breakpoint", "tracepoint", "derived", RUNG)
NOT_SEEN: Final = "not seen"
ABSENT: Final = "absent"  # this kernel has no such function: there is nothing to be seen


def rung(how: str) -> str:
    """Return the rung a header's probe text begins with; "entry+return" is an importer's kprobe.

    ``ABSENT`` and ``NOT_SEEN``: it is on none.
    """
    first = how.replace(":", " ").partition(" ")[0]
    if first in (*_RUNGS, ABSENT):
        return first
    return "kprobe" if first.startswith(("entry", "return")) else NOT_SEEN


def summary(probes: Mapping[str, str]) -> str:
    """Return "vmemmap_populate: breakpoint, WARN: not seen, all others: kprobe"."""
    rungs = {_shown(function): rung(how) for function, how in probes.items()}
    most = "fentry" if "fentry" in rungs.values() else "kprobe"
    parts = [f"{function}: {how}" for function, how in rungs.items() if how != most]
    plain = len(rungs) - len(parts)
    if plain:
        parts.append(f"{'all others' if parts else 'all'}: {most}")
    return ", ".join(parts) or "none"


def watching(probes: Mapping[str, str]) -> str:
    """Return what a capture does to see calls: "probes on", or that there are none."""
    nothing = all(rung(how) in (RUNG, NOT_SEEN, ABSENT) for how in probes.values())
    return "reading the kernel log, no probes" if nothing and probes else "probes on"


def _shown(function: str) -> str:
    kind = KINDS.get(function.partition(".")[0])
    return printable(function) if kind is None else name(kind)
