# SPDX-License-Identifier: GPL-2.0-only
"""Writes kprobe event definitions for tracefs, and decodes their records to ``rows.RAW``.

Arguments are fetched by register, so nothing here needs a prototype. Promises: a record too short
for its event's format is counted, never read past its end. Definitions as in the kernel's
Documentation/trace/kprobetrace.rst.
"""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from tracers.kernel_functions import REQUESTS
from tracers.kinds import Kind, Phase
from tracers.live.probes.points import REGISTERS, Probe, ProbeAddress, Rung
from tracers.live.records import KNOWN_ARGS, KNOWN_COMM, RAW
from tracers.live.tracefs.ring_pages import EventFormat, Index, ParsedPages

#: The registers of a call's first four arguments, and of what it returns.
ARGUMENTS: Final = {
    "aarch64": ("x0", "x1", "x2", "x3"),
    "x86_64": ("di", "si", "dx", "cx"),
}
RETURN: Final = {"aarch64": "x0", "x86_64": "ax"}

_N = TypeVar("_N", bound=np.generic)

_MAXACTIVE: Final = 256  # calls of one function under way at once, on all CPUs together
_COMM: Final = 16  # TASK_COMM_LEN


@dataclass(frozen=True, slots=True)
class Event:
    """A kprobe event: its name, what to append to kprobe_events, and what its records are."""

    name: str
    definition: str
    probe: int
    phase: Phase


def events(
    probe: Probe, number: int, group: str, machine: str | None = None
) -> tuple[list[Event], list[Event]]:
    """Return the events of ``probe``'s entries, and of its exits."""
    machine = machine or platform.machine()
    fetch = [
        f"a{register}=%{ARGUMENTS[machine][register]}:u64"
        for name, register in probe.registers
        if name != "site"
    ]
    fetch.append("comm=$comm")
    fetch += [
        f"file=+0(%{ARGUMENTS[machine][register]}):string"
        for name, register in probe.registers
        if name == "site"
    ]

    def made(
        what: str, phase: Phase, target: ProbeAddress, turn: int, arguments: Iterable[str]
    ) -> Event:
        # kprobe_profile lists names without their group: the group's tail makes them unique
        tail = group.partition("_")[2]
        name = f"{probe.kind.label}{number}_{phase.label}{turn}_{tail}"
        return Event(name, f"{what}:{group}/{name} {target} {' '.join(arguments)}", number, phase)

    entries = [
        made("p", Phase.ENTRY if probe.timed else Phase.POINT, target, turn, fetch)
        for turn, target in enumerate(probe.entries)
    ]
    if not probe.timed:
        return entries, []
    if probe.rung is Rung.KPROBE:
        # $retval of a void function is rejected if BTF says so (6.6, "tracing/probes: Add $retval
        # check"), and is meaningless anyway
        value = ["a0=$retval:u64"] if probe.ret else []
        if probe.kind in REQUESTS:  # struct resource begins with start, end, name
            value += ["a1=+0($retval):u64", "a2=+8($retval):u64", "file=+0(+16($retval)):string"]
        what = f"r{_MAXACTIVE}"
        return entries, [made(what, Phase.EXIT, probe.entries[0], 0, [*value, "comm=$comm"])]
    value = [f"a0=%{RETURN[machine]}:u64"] if probe.ret else []
    exits = [
        made("p", Phase.EXIT, target, turn, [*value, "comm=$comm"])
        for turn, target in enumerate(probe.exits)
    ]
    return entries, exits


@dataclass(frozen=True, slots=True)
class Decoded:
    """The records of one drain: RAW records, addresses of WARN reports, and unreadable records."""

    records: npt.NDArray[np.void]  # RAW
    reports: npt.NDArray[np.uint64]  # error_report_end: the address of each WARN
    torn: int


class Decoder:
    """Decodes records of all events in one pass, with the events' layouts as tables."""

    def __init__(
        self,
        formats: Mapping[str, EventFormat],
        made: Iterable[Event],
        kinds: Iterable[Kind],
        report: tuple[EventFormat, int] | None = None,
    ) -> None:
        """Take the events, their formats by name, and the probes' kinds.

        ``report``: the format of error_report_end, and the number of its detector "warning".
        """
        self.sites: list[str] = []
        self._site: dict[bytes, int] = {}
        kinds = list(kinds)
        warns = [kind is Kind.WARN for kind in kinds]
        requests = [kind in REQUESTS for kind in kinds]
        rows = [(formats[event.name], event.probe, event.phase) for event in made]
        if report:
            rows.append((report[0], -1, Phase.POINT))
        self._report = report
        self._rows = np.full(1 << 16, -1, np.int64)
        self._probe = np.array([row[1] for row in rows], np.int64)
        self._phase = np.array([row[2] for row in rows], np.uint8)
        self._warn = np.array([p >= 0 and warns[p] for _, p, _ in rows], np.bool_)
        self._request = np.array([p >= 0 and requests[p] for _, p, _ in rows], np.bool_)
        self._need = np.array(
            [max(at + size for at, size in row[0].fields.values()) for row in rows], np.int64
        )
        names = [*(f"a{register}" for register in range(REGISTERS)), "comm", "file"]
        where = [[row[0].fields.get(name, (-1, 0))[0] for name in names] for row in rows]
        self._at = np.array(where, np.int64).reshape(-1, len(names))
        for number, row in enumerate(rows):
            self._rows[row[0].number] = number
        self._numbers = [row[0].number for row in rows]
        common = rows[0][0].fields if rows else {"common_type": (0, 2), "common_pid": (4, 4)}
        self._type, self._tid = common["common_type"][0], common["common_pid"][0]

    def blanks(self) -> list[bytes]:
        """Return one record of each event that is empty but for the event's number."""
        blanks = []
        for number, need in zip(self._numbers, self._need.tolist(), strict=True):
            record = bytearray(max(need, self._type + 2))
            record[self._type : self._type + 2] = number.to_bytes(2, "little")
            blanks.append(bytes(record))
        return blanks

    def decode(self, parsed: ParsedPages, cpus: npt.NDArray[np.int64]) -> Decoded:
        """Return the records of pages whose CPUs are ``cpus``, in their order."""
        memory = parsed.words.view(np.uint8)
        start = 4 * parsed.at
        able = parsed.length >= max(self._type + 2, self._tid + 4)
        kind = np.full(len(start), -1, np.int64)
        kind[able] = self._rows[_gather(memory, start[able] + self._type, np.uint16)]
        known = kind >= 0
        short = np.zeros(len(kind), np.bool_)
        short[known] = parsed.length[known] < self._need[kind[known]]
        torn = int(np.count_nonzero(~able) + np.count_nonzero(short))
        kind[short] = -1
        known = kind >= 0
        probe = np.full(len(kind), -2, np.int64)
        probe[known] = self._probe[kind[known]]
        reports = self._reports(memory, start[probe == -1])
        ours = probe >= 0
        start, length, kind = start[ours], parsed.length[ours], kind[ours]
        records = np.zeros(len(start), RAW)
        records["ts_ns"] = parsed.ts[ours]
        records["cpu"] = cpus[parsed.page[ours]]
        records["tid"] = _gather(memory, start + self._tid, np.uint32)
        records["probe"] = probe[ours]
        records["phase"] = self._phase[kind]
        for register in range(REGISTERS):
            at = self._at[kind, register]
            has = at >= 0
            records["args"][has, register] = _gather(memory, start[has] + at[has], np.uint64)
        comm = self._strings(memory, start, length, self._at[kind, REGISTERS], _COMM)
        records["comm"] = comm
        records["known"] = np.where(comm != b"", KNOWN_ARGS | KNOWN_COMM, KNOWN_ARGS)
        records["site"] = -1
        warn = self._warn[kind] & (records["phase"] != Phase.EXIT)
        if warn.any():
            records["line"][warn] = records["args"][warn, 1].astype(np.uint32)
        named = warn | self._request[kind]
        if named.any():
            at = self._at[kind[named], REGISTERS + 1]
            records["site"][named] = self._named(
                self._strings(memory, start[named], length[named], at, 256)
            )
        return Decoded(records, reports, torn)

    def _reports(self, memory: npt.NDArray[np.uint8], start: Index) -> npt.NDArray[np.uint64]:
        if self._report is None or not len(start):
            return np.zeros(0, np.uint64)
        layout, warning = self._report
        by = _gather(memory, start + layout.fields["error_detector"][0], np.uint32)
        at = start[by == warning] + layout.fields["id"][0]
        return _gather(memory, at, np.uint64)

    def _named(self, files: npt.NDArray[np.bytes_]) -> Index:
        """Return the numbers of source files in ``sites``, new ones added; -1 for no name."""
        names, which = np.unique(files, return_inverse=True)
        numbers = []
        for name in names.tolist():
            if name and name not in self._site:
                self._site[name] = len(self.sites)
                self.sites.append(name.decode("utf-8", "backslashreplace"))
            numbers.append(self._site.get(name, -1))
        return np.array(numbers, np.int64)[which]

    @staticmethod
    def _strings(
        memory: npt.NDArray[np.uint8], start: Index, length: Index, at: Index, width: int
    ) -> npt.NDArray[np.bytes_]:
        """Return __data_loc strings (length << 16 | offset), cut to ``width`` - 1 bytes."""
        where = np.zeros(len(at), np.uint32)
        has = at >= 0
        where[has] = _gather(memory, start[has] + at[has], np.uint32)
        offset = (where & np.uint32(0xFFFF)).astype(np.int64)
        size = (where >> np.uint32(16)).astype(np.int64)
        size = np.where(offset + size <= length, np.minimum(size, width), 0)
        width = max(int(size.max(initial=0)), 1)
        inside = np.arange(width) < size[:, None]
        index = (start + offset)[:, None] + np.arange(width)
        return (
            np.where(inside, memory[np.where(inside, index, 0)], 0)
            .astype(np.uint8)
            .view(f"S{width}")
            .reshape(-1)
        )


def _gather(memory: npt.NDArray[np.uint8], at: Index, kind: type[_N]) -> npt.NDArray[_N]:
    """Return the numbers at these byte offsets."""
    size = np.dtype(kind).itemsize
    numbers: npt.NDArray[_N] = np.ascontiguousarray(memory[at[:, None] + np.arange(size)]).view(
        kind
    )
    return numbers.reshape(-1)
