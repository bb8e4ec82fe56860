# SPDX-License-Identifier: GPL-2.0-only
"""Stand-ins for the tracefs engine's sources: a recorded instance, and given breakpoint hits."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tests.tracers.live import recorded
from tracers.live.probes.engine import AttachError
from tracers.live.records import RAW
from tracers.live.tracefs.ring_pages import EventFormat

RELEASE = "6.1.192"
NAMES = {"free": "vmemmap_free"}  # a kind, and the recording's probe of it


class Recorded:
    """An instance whose rings hold a recording; hands it out in the given portions."""

    name = "vmemscope_1_2_3_4"

    def __init__(self, root: Path) -> None:
        del root
        self.layout = recorded.layout(RELEASE)
        self.descriptors: list[int] = []
        self.portions: list[tuple[str, int]] = [("plain", 0)]
        self.refused: tuple[str, ...] = ()
        self.defined: list[str] = []
        self.lost: dict[int, int] = {}
        self.profile: dict[str, int] = {}
        self.removed = False

    def define(self, definition: str) -> None:
        if any(word in definition for word in self.refused):
            raise AttachError("Failed to register probe event (Invalid argument)")
        self.defined.append(definition.split(maxsplit=1)[0].rpartition("/")[2])

    def undefine(self, event: str) -> None:
        self.defined.remove(event)

    def format(self, event: str) -> EventFormat | None:
        kind, _, phase = event.rpartition("/")[2].rstrip("0123456789_").rpartition("_")
        if event == "error_report/error_report_end":
            return recorded.formats(RELEASE)["error_report_end"]
        kind = kind.rstrip("0123456789")
        return recorded.formats(RELEASE)[NAMES.get(kind, kind) + "_ret" * (phase == "exit")]

    def enable(self, files: Iterable[str], comm: str | None, pid: int | None) -> None: ...

    def disable(self, files: Iterable[str]) -> None: ...

    def drain(self, until: int | None) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        del until
        if self.portions:
            scene, cpu = self.portions.pop(0)
            pages = recorded.pages(RELEASE, scene, cpu)
            yield pages, np.full(len(pages), cpu), 0

    def losses(self, cpus: Iterable[int] | None = None) -> dict[int, int]:
        lost, self.lost = self.lost, {}
        return lost if cpus is None or lost.keys() <= set(cpus) else {}

    def misses(self) -> dict[str, int]:
        return self.profile

    def remove(self) -> None:
        self.removed = True


class Hits:
    """Breakpoints that hand out what they are given."""

    def __init__(self, cpus: Iterable[int]) -> None:
        del cpus
        self.descriptors: list[int] = []
        self.waiting, self.torn, self.announced = False, 0, 0
        self.records = np.zeros(0, RAW)
        self.marks: dict[int, object] = {}
        self.slots = 6

    def attach(self, marks: dict[int, object]) -> None:
        if len(self.marks) + len(marks) > self.slots:
            raise AttachError("no hardware breakpoint register is free (ENOSPC)")
        self.marks |= marks

    def mark(self, address: int, mark: object) -> None:
        self.marks[address] = mark

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def drain(self, until: int | None = None) -> np.ndarray:
        del until
        records, self.records = self.records, self.records[:0]
        return records

    def warm_up_records(self) -> np.ndarray:
        return np.zeros(len(self.marks), RAW)

    def lost(self) -> dict[tuple[int, int], int]:
        return {}

    def close(self) -> None: ...


class LibraryFunction:
    """A function of a C library, as ctypes has it, that wants so many arguments."""

    def __init__(self, call, arguments: int) -> None:
        self.call, self.argtypes = call, [None] * arguments

    def __call__(self, *given):
        assert len(given) == len(self.argtypes)
        return self.call(*given)
