# SPDX-License-Identifier: GPL-2.0-only
"""Ring pages of booted kernels, and what the same kernels' `trace` file shows.

data/RELEASE: 2 GiB of device memory added and removed with probes on (plain), and six times over
with a ring of three pages (lost). First `trace` was read, which takes nothing away, then
trace_pipe_raw.
"""

import gzip
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tracers.events import Kind, Phase
from tracers.live.tracefs.kprobe_events import Event
from tracers.live.tracefs.ring_pages import EventFormat, Layout

DATA = Path(__file__).parent / "data"
RELEASES = ("6.1.192", "6.12.117")
SCENES = ("plain", "lost")
#: The probes of the recordings: their names, our kinds and phases.
EVENTS = {
    "vmemmap_free": (Kind.FREE, Phase.ENTRY),
    "vmemmap_free_ret": (Kind.FREE, Phase.EXIT),
    "vmemmap_populate": (Kind.POPULATE, Phase.ENTRY),
    "vmemmap_populate_ret": (Kind.POPULATE, Phase.EXIT),
    "warn": (Kind.WARN, Phase.ENTRY),
    "warn_ret": (Kind.WARN, Phase.EXIT),
    "add_pages": (Kind.ADD_PAGES, Phase.ENTRY),
    "add_pages_ret": (Kind.ADD_PAGES, Phase.EXIT),
    "memremap_ret": (Kind.MEMREMAP, Phase.EXIT),
}
KINDS = tuple(dict.fromkeys(kind for kind, _ in EVENTS.values()))


@dataclass(frozen=True)
class Line:
    """One event as the kernel printed it."""

    comm: str
    tid: int
    cpu: int
    us: int
    event: str
    arguments: dict[str, str]

    @property
    def kind(self) -> Kind | None:
        return EVENTS[self.event][0] if self.event in EVENTS else None


@cache
def layout(release: str) -> Layout:
    where = DATA / release
    return Layout.parse((where / "header_page").read_text(), (where / "header_event").read_text())


@cache
def formats(release: str) -> dict[str, EventFormat]:
    text = (DATA / release / "formats").read_text()
    parts = ["name: " + part for part in re.split(r"^name: ", text, flags=re.MULTILINE) if part]
    return {part.splitlines()[0].removeprefix("name: "): EventFormat.parse(part) for part in parts}


def events(release: str) -> list[Event]:
    return [
        Event(name, "", KINDS.index(kind), phase)
        for name, (kind, phase) in EVENTS.items()
        if name in formats(release)
    ]


def pages(release: str, scene: str, cpu: int) -> np.ndarray:
    path = DATA / release / f"{scene}.cpu{cpu}.pages.gz"
    raw = gzip.decompress(path.read_bytes()) if path.exists() else b""
    return np.frombuffer(raw, np.uint8).reshape(-1, layout(release).size).copy()


def lines(release: str, scene: str, cpu: int | None = None) -> list[Line]:
    text = gzip.decompress((DATA / release / f"{scene}.trace.gz").read_bytes()).decode()
    found = re.findall(
        r"^\s*(.+)-(\d+)\s+\[(\d+)\] \S+ +(\d+)\.(\d+): (\w+): (.*)$", text, re.MULTILINE
    )
    made = [
        Line(comm, int(tid), int(on), int(s) * 10**6 + int(us), event, _arguments(event, rest))
        for comm, tid, on, s, us, event, rest in found
    ]
    assert len(made) == len(text.splitlines())
    return [line for line in made if cpu is None or line.cpu == cpu]


def overrun(release: str, scene: str, cpu: int) -> int:
    path = DATA / release / f"{scene}.cpu{cpu}.stats"
    return (
        int(re.findall(r"^overrun: (\d+)$", path.read_text(), re.MULTILINE)[0])
        if path.exists()
        else 0
    )


def _arguments(event: str, rest: str) -> dict[str, str]:
    if event == "error_report_end":
        return {"id": rest.rsplit(maxsplit=1)[-1]}
    return {key: value.strip('"') for key, value in re.findall(r"(\w+)=(\S+)", rest)}
