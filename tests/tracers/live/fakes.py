# SPDX-License-Identifier: GPL-2.0-only
"""A fake engine, and the window of the lab's 6.1."""

from tracers.live.probes.engine import AttachError, Counts
from tracers.live.probes.points import Probe, Rung
from tracers.window import Window

#: NUMBER(VMEMMAP_START), NUMBER(VMEMMAP_END), NUMBER(PHYS_OFFSET) of the lab's 6.1.
WINDOW = Window(
    0xFFFFFFFE00000000,
    0xFFFFFFFF00000000,
    memstart=0x40000000,
    va_bits=39,
    page_size=4096,
    struct_page=64,
    section_size_bits=27,
)


class Fake:
    """An engine that returns what it was given, and rejects the probes in ``refuse``."""

    name = "fake"
    rungs = frozenset(Rung) - {Rung.FENTRY}  # as on arm64 before 6.4

    def __init__(self, *, refuse=(), batches=(), rest=None, counts=None, broken=None):
        self.refuse, self.batches, self.rest = refuse, list(batches), rest
        self.made_counts = counts or Counts()
        self.broken = broken
        self.attached: list[Probe] = []
        self.done: list[str] = []
        self.times: dict[int, tuple[int, int]] = {}

    def attach(self, probe):
        if self.broken:
            raise self.broken
        if self.refuse == "all" or (probe.kind, probe.rung) in self.refuse:
            raise AttachError("Operation not permitted")
        self.attached.append(probe)

    def watch_ends(self, probe):
        self.attached = [
            probe if (each.kind, each.rung) == (probe.kind, probe.rung) else each
            for each in self.attached
        ]

    def start(self):
        self.done.append("start")

    def poll(self, timeout_s):
        assert timeout_s >= 0
        return self.batches.pop(0) if self.batches else None

    def stop(self):
        self.done.append("stop")
        return self.rest

    def counts(self):
        return self.made_counts

    def close(self):
        self.done.append("close")

    def program_times(self):
        return self.times
