# SPDX-License-Identifier: GPL-2.0-only
"""The probes of a boot as kprobe events: how each is written, and what it is when it is read back.

Promises: a definition is the same whether written for a command line or a boot configuration or
read from ``kprobe_events``; names are of one group, ``vmemscope``, that no other run of ours has or
removes (``tracefs.cleanup`` takes names of processes only). A boot configuration cannot choose the
group (kernel/trace/trace_boot.c): there it is ``kprobes``, and the name says whose it is.

Source: Documentation/trace/kprobetrace.rst. A register without a type is fetched as x64. At a
return x0 is what ``$retval`` is, without a "$" that shells and boot loaders would take for theirs.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tracers.kernel_functions import REQUESTS
from tracers.kinds import Kind, Phase
from tracers.live.probes.points import Probe, Rung

GROUP: Final = "vmemscope"
#: The group that a boot configuration's events have, and how ours begin there.
BOOTCONFIG_GROUP: Final = "kprobes"
_PREFIX: Final = f"{GROUP}_"
_MAXACTIVE: Final = 256  # as engine tracefs: calls of one function under way at once
_NAMES: Final = {"site": "file"}  # schema field -> fetch argument, where they differ
_LINE: Final = re.compile(
    r"(?P<type>p|r\d*):(?P<group>[^\s/]+)/(?P<name>\S+) (?P<symbol>[A-Za-z_][\w.]*)"
    r"(?:\+(?P<offset>0x[0-9a-f]+|\d+))?(?P<fetch>(?: \S+)*)"
)
_NAME: Final = re.compile(
    r"(?:vmemscope_)?boot_(?P<kind>[a-z_]+?)(?:_(?P<turn>\d+))?(?P<ret>_ret)?"
)
_KINDS: Final = {kind.label: kind for kind in Kind if kind is not Kind.UNKNOWN}


@dataclass(frozen=True, slots=True)
class BootEvent:
    """One kprobe event: the side of a call that it shows, and where it is.

    ``returns``: a return probe, not one on an instruction. ``fetch``: "name=%x0" and the like.
    """

    kind: Kind
    phase: Phase  # ENTRY or EXIT
    turn: int  # of several places where the calls begin or end
    symbol: str
    offset: int
    returns: bool
    fetch: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name in our own group."""
        turn = f"_{self.turn}" if self.turn else ""
        return f"boot_{self.kind.label}{turn}{'_ret' if self.phase is Phase.EXIT else ''}"

    @property
    def place(self) -> str:
        """Where it is, as a definition has it."""
        return f"{self.symbol}+0x{self.offset:x}" if self.offset else self.symbol

    def line(self, group: str = GROUP) -> str:
        """Return the line for ``kprobe_events``."""
        what = f"r{_MAXACTIVE}" if self.returns else "p"
        return " ".join((f"{what}:{group}/{self.name}", self.place, *self.fetch))

    def bootconfig(self) -> tuple[str, str]:
        """Return its name in ``BOOTCONFIG_GROUP``, and the definition without it."""
        place = f"{self.place}%return" if self.returns else self.place
        return _PREFIX + self.name, " ".join((place, *self.fetch))

    @property
    def record_bytes(self) -> int:
        """How much of a ring buffer one hit takes: header, common fields, places, arguments."""
        strings = sum(":string" in each for each in self.fetch)
        places = 16 if self.returns else 8
        return 4 + 8 + places + 8 * len(self.fetch) + 64 * strings


def boot_events(probe: Probe) -> tuple[BootEvent, ...]:
    """Return the events of a probe, entries first."""
    fetch = tuple(
        f"file=+0(%x{number}):string" if field == "site" else f"{field}=%x{number}"
        for field, number in probe.registers
        if field != "caller"
    )
    entries = tuple(
        BootEvent(probe.kind, Phase.ENTRY, turn, place.symbol, place.offset, False, fetch)
        for turn, place in enumerate(probe.entries)
    )
    if not probe.timed:
        return entries
    value: tuple[str, ...] = ("ret=%x0",) if probe.ret else ()
    returns = probe.rung is Rung.KPROBE
    if returns and probe.kind in REQUESTS:  # struct resource begins with start, end, name
        value += ("first=+0(%x0)", "last=+8(%x0)", "file=+0(+16(%x0)):string")
    return entries + tuple(
        BootEvent(probe.kind, Phase.EXIT, turn, place.symbol, place.offset, returns, value)
        for turn, place in enumerate(probe.entries if returns else probe.exits)
    )


@dataclass(frozen=True, slots=True)
class Defined:
    """An event of ours as the kernel has it: the name it has there, and what it is."""

    group: str
    name: str
    event: BootEvent


def read_definitions(text: str) -> tuple[Defined, ...]:
    """Return those events of ``kprobe_events`` that a boot of ours has made."""
    return tuple(_defined(text.splitlines()))


def _defined(lines: Iterable[str]) -> Iterator[Defined]:
    for line in lines:
        match = _LINE.fullmatch(line.strip())
        named = _NAME.fullmatch(match["name"]) if match else None
        if match is None or named is None or named["kind"] not in _KINDS:
            continue
        prefix = _PREFIX if match["group"] == BOOTCONFIG_GROUP else ""
        if match["group"] not in (GROUP, BOOTCONFIG_GROUP):
            continue
        event = BootEvent(
            _KINDS[named["kind"]],
            Phase.EXIT if named["ret"] else Phase.ENTRY,
            int(named["turn"] or 0),
            match["symbol"],
            int(match["offset"] or "0", 0),
            match["type"] != "p",
            tuple(match["fetch"].split()),
        )
        if match["name"] == prefix + event.name:
            yield Defined(match["group"], match["name"], event)
