# SPDX-License-Identifier: GPL-2.0-only
"""What is seen how, in one line: for narration and for the dashboard."""

from collections.abc import Mapping
from typing import Final

from recordings.wording.escape import printable

#: Short names of the functions, as the panels call them.
_NAMES: Final = {
    "vmemmap_populate": "populate",
    "vmemmap_free": "free",
    "sparse_add_section": "section_add",
    "sparse_remove_section": "section_remove",
    "section_deactivate": "section_remove",
    "__add_pages": "add_pages",
    "__remove_pages": "remove_pages",
    "memremap_pages": "memremap",
    "memunmap_pages": "memunmap",
    "__warn": "WARN",
}
_RUNGS: Final = ("kprobe", "callsite", "breakpoint", "tracepoint", "derived")
NOT_SEEN: Final = "not seen"
ABSENT: Final = "absent"  # this kernel has no such function: there is nothing to be seen


def rung(how: str) -> str:
    """Return the rung a header's probe text begins with; "entry+return" is an importer's kprobe.

    ``ABSENT`` and ``NOT_SEEN`` stand for what is on none.
    """
    first = how.replace(":", " ").partition(" ")[0]
    if first in (*_RUNGS, ABSENT):
        return first
    return "kprobe" if first.startswith(("entry", "return")) else NOT_SEEN


def summary(probes: Mapping[str, str]) -> str:
    """Return "populate: breakpoint, section_remove: not seen, all others: kprobe"."""
    told = {
        _NAMES.get(name.partition(".")[0], printable(name)): rung(how)
        for name, how in probes.items()
    }
    parts = [f"{name}: {how}" for name, how in told.items() if how != "kprobe"]
    plain = len(told) - len(parts)
    if plain:
        parts.append(f"{'all others' if parts else 'all'}: kprobe")
    return ", ".join(parts) or "none"
