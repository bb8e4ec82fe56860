# SPDX-License-Identifier: GPL-2.0-only
"""Engine "bcc": a BPF program on kprobes and breakpoints that sends records over one ring buffer.

Promises: everything is held by file descriptors of this process, so nothing outlives it; every
dropped record is counted (per probe and CPU, by the BPF program itself); kernel headers are not
needed, though BCC asks for them. What BCC prints goes into error messages, never to the terminal.
"""

import atexit
import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tracers.batch import Batch, Losses
from tracers.kernel_functions import REQUESTS
from tracers.kinds import Kind, Phase
from tracers.live.bcc import run_time, trampolines
from tracers.live.bcc.duplicate_hits import TIMED, UNTIMED, DuplicateHits
from tracers.live.bcc.find_module import find_bcc
from tracers.live.bcc.loader import Functions
from tracers.live.bcc.perf_events import Kprobes, check_stepping, open_breakpoint, open_tracepoint
from tracers.live.bcc.program import (
    FILE_BYTES,
    NONE,
    RING_BYTES,
    SLOTS,
    TO_TRACEFS,
    WARN_SLOT,
    compile_program,
    one_line,
    program,
    quiet,
)
from tracers.live.bcc.ring_buffer import Ring
from tracers.live.bcc.run_time import RunTime
from tracers.live.probes.engine import AttachError, Counts, LiveError, Pace, Trial
from tracers.live.probes.points import Filters, Probe, Rung
from tracers.live.records import RAW

if TYPE_CHECKING:
    import pyarrow as pa

#: struct tally of program.c
TALLY: Final = np.dtype(
    [
        *((name, "<u8", (SLOTS,)) for name in ("entries", "exits", "lost")),
        *((name, "<u8") for name in ("warns", "other_warns", "reported", "other_reported")),
    ]
)

#: The functions of program.c that are loaded for a slot.
_PROGRAMS: Final = ("at_entry", "at_exit", "at_fentry", "at_fexit")
_NOT_RUN: Final = RunTime(0, 0, 0)


class BccEngine:
    """See ``probes.engine.Engine``. ``ours``: address ranges of the WARNs to record."""

    name = "bcc"
    rungs = frozenset({Rung.FENTRY, Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT})

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        filters: Filters = Filters(),  # noqa: B008 (frozen)
        ours: Sequence[tuple[int, int]] = (),
        ring_bytes: int = RING_BYTES,
        compiled: Callable[[], Any] | None = None,
    ) -> None:
        """Compile and prepare. ``ring_bytes``: a power of two. Raises ``LiveError``.

        ``compiled``: gives the program, where it was compiled before, for the same arguments.
        """
        self._fds: list[int] = []
        self._ring: Ring | None = None
        self._bpf: Any = None
        self._functions: Functions  # once there is a program
        self._probes: list[Probe] = []
        self._slots: list[int] = []  # the slot of each probe
        self._sites: list[str] = []
        self._files: dict[int, int] = {}  # address of a file's name -> index of its site
        self._filters = filters
        self._duplicates = DuplicateHits()
        self._open: set[int] = set()  # calls under way: probe << 32 | thread
        self._running = False
        self._pace = Pace()
        self._stepping = False  # breakpoints with a program were seen to step on
        self._possible = _cpus(root, "possible")
        self._last = np.zeros(len(self._possible), TALLY)  # one for each of these, in their order
        self._reported_lost = 0  # losses that are in some batch
        self._reports = False
        self._counting = run_time.count()
        self._ran_before: dict[int, RunTime] = {}
        self._cpus = _cpus(root, "online")
        self._kprobes = Kprobes(root, self._cpus[0])
        module = find_bcc(root)
        self._lib = sys.modules[f"{module.__name__}.libbcc"].lib
        self._module = module
        try:
            if compiled is not None:
                self._bpf = compiled()
            else:
                self._bpf = compile_program(module.BPF, program(filters, ours, ring_bytes))
            self._functions = Functions(self._lib, self._bpf.module)
            self._ring = Ring.map(self._map("ring"), ring_bytes, RAW)
            self._control(running=False)
            self._witness(root)
        except (LiveError, AttachError, OSError) as error:
            self.close()
            raise LiveError(one_line(error)) from None

    def attach(self, probe: Probe) -> str | None:
        """Attach a probe, disabled. Raises ``AttachError`` and leaves nothing of it behind."""
        registers = dict(probe.registers)
        if probe.kind is Kind.WARN and "caller" not in registers:
            raise AttachError(f"{probe.function}: unknown which register holds the caller")
        slot = self._free_slot(probe)
        opened: list[int] = []
        try:
            for fd in self._events(probe, slot):
                opened.append(fd)  # noqa: PERF402 - those opened before a failure are closed
        except AttachError:
            _close(opened)
            for name in _PROGRAMS:
                self._functions.unload(name, slot)
            raise
        self._fds += opened
        self._probes.append(probe)
        self._slots.append(slot)
        self._control(running=self._running)
        if self._filters.window and _windowed(probe) and not {"start", "end"} <= set(registers):
            return "the window filter does not reach it: unknown which registers hold the range"
        return None

    def watch_ends(self, probe: Probe) -> str | None:
        """Add the exits of an attached breakpoint; see ``Engine.watch_ends``."""
        places = [(each.rung, each.entries) for each in self._probes]
        index = places.index((probe.rung, probe.entries))
        slot = self._slots[index]
        opened: list[int] = []
        try:
            exit_ = self._functions.load("at_exit", self._bpf.PERF_EVENT, slot)
            for target in probe.exits:
                for cpu in self._cpus:
                    opened.append(open_breakpoint(target, cpu, exit_))  # noqa: PERF401 - as above
        except AttachError as error:
            _close(opened)
            self._functions.unload("at_exit", slot)
            return str(error)
        self._fds += opened
        self._probes[index] = probe
        return None

    def trial(self, probe: Probe, work: Callable[[], None]) -> Trial:
        """See ``Engine.trial``. What else is attached runs meanwhile, and is forgotten."""
        if self._ring is None:
            raise LiveError("the engine is closed")
        known = len(self._probes)
        held, self._fds = self._fds, []
        try:
            self.attach(probe)
            if probe.rung is Rung.BREAKPOINT and (why := self.watch_ends(probe)):
                raise AttachError(why)
            self._control(running=True)
            work()
            self._control(running=False)
            records = self._ring.drain()
            batch = Batch(self._rows(records[records["probe"] == known], ()))
            return Trial(batch, self._ran(self._slots[-1]).ns if self._counting else None)
        finally:
            _close(self._fds)
            self._fds = held
            self._forget(known)

    def _forget(self, known: int) -> None:
        """Forget all probes but the first ``known``, whose events are closed, and all counts."""
        for slot in self._slots[known:]:
            for name in _PROGRAMS:
                self._functions.unload(name, slot)
        del self._probes[known:], self._slots[known:]
        self._control(running=False)
        zeros = ctypes.create_string_buffer(self._last.nbytes)
        self._lib.bpf_update_elem(self._map("tallies"), ctypes.byref(ctypes.c_uint32(0)), zeros, 0)

    def program_times(self) -> Mapping[int, tuple[int, int]]:
        """See ``Engine.program_times``."""
        if self._counting is None or self._bpf is None:
            return {}
        ran = {
            index: self._ran(slot) - self._ran_before.get(slot, _NOT_RUN)
            for index, slot in enumerate(self._slots)
        }
        return {index: (each.runs, each.ns) for index, each in ran.items()}

    def _ran(self, slot: int) -> RunTime:
        try:
            times = [run_time.run_time(fd) for fd in self._functions.of(slot)]
        except OSError:  # a kernel that tells less of its programs
            return _NOT_RUN
        return RunTime(*(sum(each) for each in zip(*times, strict=True))) if times else _NOT_RUN

    def start(self) -> None:
        """Enable all probes at once."""
        self._warm_up()
        if self._counting is not None:
            self._ran_before = {slot: self._ran(slot) for slot in self._slots}
        self._running = True
        self._control(running=True)

    def _warm_up(self) -> None:
        """Run all code once, so that loading at first use does not delay the first events."""
        records = np.zeros(len(self._probes), RAW)
        records["probe"] = np.arange(len(self._probes))
        if len(records):
            DuplicateHits().drop(records, [_duplicate_within(probe) for probe in self._probes])
            self._follow(records)
            self._rows(records, self._sites)
        self._open.clear()

    def poll(self, timeout_s: float) -> Batch | None:
        """Return the records sent so far; wait up to ``timeout_s`` if there are none."""
        if self._ring is None:
            return None
        self._pace.wait(timeout_s)
        records = self._ring.drain()
        if not len(records):
            self._ring.wait(timeout_s)
            records = self._ring.drain()
        self._pace.read(some=len(records) > 0)
        return self._batch(records)

    def stop(self) -> Batch | None:
        """Disable and detach everything; return the remaining records and the last losses."""
        if self._ring is None:
            return None
        if self._running:
            self._running = False
            self._control(running=False)
        _close(self._fds)  # waits for programs that still run
        return self._batch(self._ring.drain())

    def counts(self) -> Counts:
        """Return the program's own counters; ``warns`` and ``reported`` ignore filters.

        ``missed_returns`` is entries minus exits minus calls under way, at most one per thread.
        """
        if self._bpf is not None:
            self._tallies()
        witnesses = ("warns", "other_warns", "reported", "other_reported")
        sums = {name: int(self._last[name].sum()) for name in witnesses}
        lost: dict[tuple[str, int], int] = {}
        missed: dict[str, int] = {}
        for index, (probe, slot) in enumerate(zip(self._probes, self._slots, strict=True)):
            for cpu, number in zip(
                self._possible, self._last["lost"][:, slot].tolist(), strict=True
            ):
                if number:
                    lost[probe.function, cpu] = number
            if probe.timed and probe.rung in (Rung.FENTRY, Rung.KPROBE):
                under_way = sum(call >> 32 == index for call in self._open)
                unmatched = (
                    self._last["entries"][:, slot].sum() - self._last["exits"][:, slot].sum()
                )
                missed[probe.function] = max(0, int(unmatched) - under_way)
        warned = WARN_SLOT in self._slots
        return Counts(
            lost,
            missed,
            sums["warns"] if warned else None,
            sums["other_warns"] if warned else None,
            sums["reported"] if self._reports else None,
            sums["other_reported"] if self._reports else None,
        )

    def close(self) -> None:
        """Release everything; also after a failure, also again."""
        if self._counting is not None:
            os.close(self._counting)
            self._counting = None
        _close(self._fds)
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        if self._bpf is not None:
            self._functions.close()
            bpf, self._bpf = self._bpf, None
            with quiet():
                bpf.cleanup()  # closes programs and maps
            atexit.unregister(bpf.cleanup)  # which would keep LLVM's memory until the end

    def _free_slot(self, probe: Probe) -> int:
        if probe.kind is Kind.WARN:
            if WARN_SLOT in self._slots:
                raise AttachError("one WARN probe is all there can be")
            return WARN_SLOT
        free = set(range(SLOTS)) - {WARN_SLOT} - set(self._slots)
        if not free:
            raise AttachError(f"no room for more than {SLOTS - 1} probes")
        return min(free)

    def _events(self, probe: Probe, slot: int) -> Iterator[int]:
        """Open a probe's events one by one; exits first, so that no entry lacks its exit."""
        if probe.rung is Rung.FENTRY:
            return self._trampolines(probe, slot)
        if probe.rung is Rung.BREAKPOINT:
            return self._breakpoints(probe, slot)
        return self._entries_and_exits(probe, slot)

    def _trampolines(self, probe: Probe, slot: int) -> Iterator[int]:
        wanted = (("at_fexit", True), ("at_fentry", False))
        for name, returns in wanted if probe.timed else wanted[1:]:
            program = self._functions.load_traced(name, slot, probe.btf, returns=returns)
            yield trampolines.attach(program)

    def _breakpoints(self, probe: Probe, slot: int) -> Iterator[int]:
        entry = self._functions.load("at_entry", self._bpf.PERF_EVENT, slot)
        if not self._stepping:
            check_stepping(entry)
            self._stepping = True
        for target in probe.entries:
            for cpu in self._cpus:
                yield open_breakpoint(target, cpu, entry)

    def _entries_and_exits(self, probe: Probe, slot: int) -> Iterator[int]:
        entry = self._functions.load("at_entry", self._bpf.KPROBE, slot)
        if probe.timed:
            exit_ = self._functions.load("at_exit", self._bpf.KPROBE, slot)
            for target in probe.entries if probe.rung is Rung.KPROBE else ():
                yield self._kprobes.open(target, returns=True, program=exit_)
            for target in probe.exits:
                yield self._kprobes.open(target, returns=False, program=exit_)
        for target in probe.entries:
            yield self._kprobes.open(target, returns=False, program=entry)

    def _witness(self, root: Path) -> None:
        """Count error_report_end as well, where the kernel has it (5.12)."""
        with suppress(AttachError):
            function = self._functions.load("on_report", self._bpf.TRACEPOINT)
            fd = open_tracepoint(root, "error_report/error_report_end", self._cpus[0], function)
            if fd is not None:
                self._fds.append(fd)
                self._reports = True

    def _map(self, name: str) -> int:
        return int(self._lib.bpf_table_fd(self._bpf.module, name.encode()))

    def _control(self, *, running: bool) -> None:
        """Write the program's settings: which slot is which probe, and whether to send."""
        slots = np.full((SLOTS, 8), NONE, np.uint8)
        slots[:, :3] = 0
        for index, (probe, slot) in enumerate(zip(self._probes, self._slots, strict=True)):
            registers = dict(probe.registers)
            start, end = registers.get("start", NONE), registers.get("end", NONE)
            filtered = self._filters.window and _windowed(probe) and NONE not in (start, end)
            file, caller = registers.get("site", NONE), registers.get("caller", NONE)
            region = probe.kind in REQUESTS
            place = divmod(index, 256)[::-1]
            slots[slot] = (*place, bool(filtered), start, end, file, caller, region)
        value = struct.pack("<Q", running) + slots.tobytes()
        if self._lib.bpf_update_elem(
            self._map("control"), ctypes.byref(ctypes.c_uint32(0)), ctypes.c_char_p(value), 0
        ):
            raise LiveError(f"the kernel does not take the BPF program's settings: {TO_TRACEFS}")

    def _tallies(self) -> int:
        """Read the counters of all CPUs; return the sum of their losses."""
        memory = ctypes.create_string_buffer(self._last.nbytes)
        key = ctypes.c_uint32(0)
        if not self._lib.bpf_lookup_elem(self._map("tallies"), ctypes.byref(key), memory):
            self._last = np.frombuffer(memory.raw, TALLY)
        return int(self._last["lost"].sum())

    def _batch(self, records: npt.NDArray[np.void]) -> Batch | None:
        lost = self._tallies() - self._reported_lost
        if not len(records) and not lost:
            return None
        self._reported_lost += lost
        records = self._duplicates.drop(
            records, [_duplicate_within(probe) for probe in self._probes]
        )
        self._name_sites(records)
        self._follow(records)
        return Batch(self._rows(records, self._sites), Losses(lost=lost))

    def _rows(self, records: npt.NDArray[np.void], sites: Sequence[str]) -> "pa.RecordBatch":
        # Arrow comes with the first events: doctor attaches, and takes none
        from tracers.live.rows import rows  # noqa: PLC0415

        return rows(records, self._probes, sites)

    def _follow(self, records: npt.NDArray[np.void]) -> None:
        """Track the calls under way: those whose last record is an entry."""
        calls = records["probe"].astype(np.int64) << 32 | records["tid"]
        last, where = np.unique(calls[::-1], return_index=True)
        entered = records["phase"][::-1][where] == Phase.ENTRY
        self._open.difference_update(last[~entered].tolist())
        self._open.update(last[entered].tolist())

    def _name_sites(self, records: npt.NDArray[np.void]) -> None:
        """Fill in site and line of WARN entries, which the program sends as raw registers."""
        self._name_regions(records)
        if WARN_SLOT not in self._slots:
            return
        index = self._slots.index(WARN_SLOT)
        registers = dict(self._probes[index].registers)
        warns = np.flatnonzero((records["probe"] == index) & (records["phase"] == Phase.ENTRY))
        args = records["args"][warns]
        if "line" in registers:
            records["line"][warns] = args[:, registers["line"]].astype(np.uint32)
        if "site" in registers:
            files, which = np.unique(args[:, registers["site"]], return_inverse=True)
            sites = [self._site(address) for address in files.tolist()]
            records["site"][warns] = np.array(sites, np.int32)[which]

    def _name_regions(self, records: npt.NDArray[np.void]) -> None:
        """Fill in the names of regions that were asked for; they are few."""
        for index, probe in enumerate(self._probes):
            if probe.kind not in REQUESTS:
                continue
            register = dict(probe.registers).get("site", -1)
            for row in np.flatnonzero(records["probe"] == index).tolist():
                at = 3 if records["phase"][row] == Phase.EXIT else register
                address = int(records["args"][row, at]) if at >= 0 else 0
                if address:
                    self._files.pop(address, None)  # another name may have been there
                    records["site"][row] = self._site(address)

    def _site(self, file: int) -> int:
        """Return the index of the source file whose name is at ``file``, -1 if unknown."""
        if file not in self._files:
            memory = ctypes.create_string_buffer(FILE_BYTES)
            key = ctypes.c_uint64(file)
            if self._lib.bpf_lookup_elem(self._map("files"), ctypes.byref(key), memory):
                return -1
            self._files[file] = len(self._sites)
            self._sites.append(memory.value.decode("utf-8", "backslashreplace"))
        return self._files[file]


def _duplicate_within(probe: Probe) -> int:
    if probe.rung is not Rung.BREAKPOINT:
        return 0
    return TIMED if probe.timed else UNTIMED


def _windowed(probe: Probe) -> bool:
    return probe.kind in (Kind.POPULATE, Kind.FREE)


def _cpus(root: Path, which: str) -> list[int]:
    """Return the CPUs of /sys/devices/system/cpu/``which``, such as "0-3,6"."""
    try:
        text = (root / "sys/devices/system/cpu" / which).read_text("ascii").strip()
        cpus: list[int] = []
        for part in text.split(","):
            first, _, last = part.partition("-")
            cpus += range(int(first), int(last or first) + 1)
    except (OSError, ValueError):
        raise LiveError(f"/sys does not tell which CPUs are {which}: mount sysfs") from None
    return cpus


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
