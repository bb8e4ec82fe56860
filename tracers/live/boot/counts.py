# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own counts of kprobe events: what was hit, what was missed, what the rings lost.

Promises: an event whose count cannot be told from a namesake's has none.

Sources: kernel/trace/trace_kprobe.c, probes_profile_seq_show(): names without their group, hits,
misses; kernel/trace/trace.c, tracing_stats_read().
"""

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: "overrun": overwritten before anybody read them; the others: never written.
_STATS: Final = ("overrun", "commit overrun", "dropped events")


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts at one moment."""

    hits: Mapping[str, int]  # event -> calls
    missed: Mapping[str, int]  # event -> calls that its probe missed
    rings: Mapping[int, Mapping[str, int]]  # CPU -> what its ring lost, by how

    @property
    def ring_lost(self) -> int:
        """What all rings lost, of whatever was in them."""
        return sum(sum(stats.values()) for stats in self.rings.values())


def read_counts(tracing: Path) -> Counts:
    """Read what there is; what cannot be read has no counts."""
    text = ""
    with suppress(OSError):
        text = (tracing / "kprobe_profile").read_text(errors="replace")
    rows = [line.split() for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 3 and row[1].isdigit() and row[2].isdigit()]
    names = Counter(row[0] for row in rows)
    once = [row for row in rows if names[row[0]] == 1]
    rings = {}
    for path in tracing.glob("per_cpu/cpu*/stats"):
        with suppress(OSError, ValueError):
            stats = dict(re.findall(r"^([a-z ]+): (\d+)$", path.read_text(), re.MULTILINE))
            cpu = int(path.parent.name.removeprefix("cpu"))
            rings[cpu] = {name: int(stats.get(name, 0)) for name in _STATS}
    return Counts(
        {name: int(hits) for name, hits, _ in once},
        {name: int(missed) for name, _, missed in once},
        rings,
    )
