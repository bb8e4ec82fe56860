# SPDX-License-Identifier: GPL-2.0-only
"""Sets hardware execution breakpoints by perf_event_open(2) and reads their register samples.

The kernel's own overflow handler writes the sample and steps over the instruction; only breakpoints
with a BPF program needed the fix of 6.6 ("hw_breakpoint: fix single-stepping when using
bpf_overflow_handler"). On arm64 an interrupt that comes between a hit and its step ends the step
(arch/arm64/kernel/hw_breakpoint.c, reinstall_suspended_bps), so the same instruction is hit once
more. Waking a reader is such an interrupt: so a ring wakes nobody before it is half full, and the
reader polls; duplicates that still occur are dropped here. Promises: the kernel counts every hit
separately from its record, so ``lost`` is exact for each address and CPU. Layouts:
include/uapi/linux/perf_event.h.
"""

import errno
import fcntl
import mmap
import os
import platform
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import CLOCK_MONOTONIC
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.kinds import Phase
from tracers.live.perf_event import ATTR_SIZE, open_event
from tracers.live.probes.engine import AttachError
from tracers.live.probes.points import REGISTERS
from tracers.live.records import KNOWN_ARGS, KNOWN_PID, RAW


@dataclass(frozen=True, slots=True)
class _Machine:
    length: int  # of an execution breakpoint, bytes
    arguments: tuple[int, ...]  # perf's numbers of the first four argument registers,
    value: int  # of the return value's,
    frame: tuple[int, ...]  # and of those that differ between calls: stack pointer, arm64's lr


# asm/perf_regs.h
_MACHINES: Final = {
    "aarch64": _Machine(4, (0, 1, 2, 3), 0, (31, 30)),
    "x86_64": _Machine(8, (5, 4, 3, 2), 0, (7,)),
}
_BREAKPOINT, _EXECUTE = 5, 4  # PERF_TYPE_BREAKPOINT, HW_BREAKPOINT_X
_IP, _TID, _TIME, _CPU, _REGS_INTR = 1 << 0, 1 << 1, 1 << 2, 1 << 7, 1 << 18
_SAMPLED: Final = _IP | _TID | _TIME | _CPU | _REGS_INTR
_DISABLED, _USE_CLOCKID = 1 << 0, 1 << 25
_ENABLE, _DISABLE, _SET_OUTPUT = 0x2400, 0x2401, 0x2405
_LOST, _SAMPLE = 2, 9
_AT_IP, _AT_IDS, _AT_TIME, _FIXED = 1, 2, 3, 6  # of a sample, in u64; then registers
_SOON_NS: Final = np.uint64(100_000_000)  # longer than an interrupt and what runs behind it
_THREADS: Final = 1024  # last hits remembered
_HEAD, _TAIL, _OFFSET, _SIZE = 128, 129, 130, 131  # of perf_event_mmap_page, in u64

Words = npt.NDArray[np.uint64]


def _sampled(machine: _Machine) -> list[int]:
    """Return the registers of a sample, in its order."""
    return sorted({*machine.arguments, machine.value, *machine.frame})


def _attribute(address: int, machine: _Machine, sample: int) -> bytes:
    mask = sum(1 << register for register in _sampled(machine))
    return struct.pack(
        "=IIQQQQQIIQQQQIiQ",
        *(_BREAKPOINT, ATTR_SIZE, 0, 1, sample, 0),
        *(_DISABLED | _USE_CLOCKID, 0, _EXECUTE, address, machine.length, 0, 0, 0),
        *(CLOCK_MONOTONIC, mask if sample & _REGS_INTR else 0),
    )


def _open(address: int, cpu: int, machine: _Machine, sample: int = _SAMPLED) -> int:
    """Return a descriptor of a breakpoint, disabled. Raises ``OSError``."""
    return open_event(_attribute(address, machine, sample), cpu=cpu)


class _Ring:
    """One CPU's ring of records. What is read is freed for the kernel at once."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE + size)
        self._words: Words = np.frombuffer(self._memory, np.uint64)
        self._fence = threading.Lock()

    @property
    def waiting(self) -> bool:
        """Whether there are records; no system call."""
        return bool(self._words[_HEAD] != self._words[_TAIL])

    def take(self) -> Words:
        words = self._words
        head, tail = int(words[_HEAD]), int(words[_TAIL])
        # A release followed by an acquire: no data is read before head was (perf_event_mmap_page).
        for _ in range(2):
            with self._fence:
                pass
        at, size = int(words[_OFFSET]) // 8, int(words[_SIZE]) // 8
        data = words[at : at + size]
        first, last = tail // 8 % size, head // 8 % size
        taken = (
            data[first:last].copy()
            if first <= last and head - tail < 8 * size
            else np.concatenate([data[first:], data[:last]])
        )
        with self._fence:
            words[_TAIL] = head
        return taken

    def close(self) -> None:
        self._words = np.zeros(0, np.uint64)
        self._memory.close()


@dataclass(frozen=True, slots=True)
class Mark:
    """What a hit at an address means."""

    probe: int
    phase: Phase


class Breakpoints:
    """Breakpoints on every CPU, with one ring per CPU."""

    def __init__(self, cpus: Sequence[int], size: int = 1 << 20) -> None:
        """Take the CPUs online and each ring's size in bytes, a power of two."""
        self._cpus, self._size = cpus, size
        self._machine = _MACHINES.get(platform.machine())
        self._marks: dict[int, Mark] = {}
        self._opened: dict[tuple[int, int], int] = {}  # (address, cpu)
        self._rings: dict[int, _Ring] = {}
        self._read: dict[tuple[int, int], int] = {}
        self._words = _FIXED + (len(_sampled(self._machine)) if self._machine else 0)
        self._held: Words = np.zeros((0, self._words), np.uint64)
        self._last: Words = np.zeros((0, self._words), np.uint64)  # each thread's last hit
        self.torn = 0
        self.announced = 0  # PERF_RECORD_LOST so far

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that become readable with new records."""
        return [ring.descriptor for ring in self._rings.values()]

    @property
    def waiting(self) -> bool:
        """Whether a ring has records: poll this, since a few records wake nobody."""
        return len(self._held) > 0 or any(ring.waiting for ring in self._rings.values())

    def attach(self, marks: Mapping[int, Mark]) -> None:
        """Add breakpoints at these addresses, disabled, all or none. Raises ``AttachError``."""
        if self._machine is None:
            raise AttachError(f"no breakpoints on {platform.machine()}")
        if again := marks.keys() & self._marks.keys():
            raise AttachError(f"0x{min(again):016x} is watched already")
        opened: dict[tuple[int, int], int] = {}
        rings: dict[int, _Ring] = {}
        try:
            self._open_all(marks, self._machine, opened, rings)
        except OSError as error:
            for ring in rings.values():
                ring.close()
            for descriptor in opened.values():
                os.close(descriptor)
            if error.errno == errno.ENOSPC:
                raise AttachError("no hardware breakpoint register is free (ENOSPC)") from error
            raise AttachError(f"perf_event_open: {error.strerror or error}") from error
        self._marks.update(marks)
        self._opened.update(opened)
        self._rings.update(rings)

    def mark(self, address: int, mark: Mark) -> None:
        """Change what a hit at a watched address means."""
        self._marks[address] = mark

    def _open_all(
        self,
        addresses: Iterable[int],
        machine: _Machine,
        opened: dict[tuple[int, int], int],
        rings: dict[int, _Ring],
    ) -> None:
        for address in addresses:
            for cpu in self._cpus:
                opened[address, cpu] = _open(address, cpu, machine)
        for (_, cpu), descriptor in opened.items():
            ring = self._rings.get(cpu) or rings.get(cpu)
            if ring is None:
                rings[cpu] = _Ring(descriptor, self._size)
            else:
                fcntl.ioctl(descriptor, _SET_OUTPUT, ring.descriptor)

    def enable(self) -> None:
        """Enable the breakpoints, one after the other."""
        for descriptor in self._opened.values():
            fcntl.ioctl(descriptor, _ENABLE, 0)

    def disable(self) -> None:
        """Disable the breakpoints; records stay."""
        for descriptor in self._opened.values():
            fcntl.ioctl(descriptor, _DISABLE, 0)

    def drain(self, until: int | None = None) -> npt.NDArray[np.void]:
        """Return the hits up to ``until`` (ns; None: all) as RAW, by time; comm is not known."""
        rings = [self._samples(ring.take()) for ring in self._rings.values()]
        samples = np.concatenate([self._held, *rings])
        samples = samples[np.argsort(samples[:, _AT_TIME], kind="stable")]
        ready = len(samples)
        if until is not None:
            ready = int(np.searchsorted(samples[:, _AT_TIME], np.uint64(until), "right"))
        self._held = samples[ready:].copy()
        return self._records(samples[:ready])

    def _samples(self, words: Words) -> Words:
        """Return the samples of ring data; count what else there is."""
        samples, others, whole = split(words, self._words)
        self.torn += not whole
        for record in others:
            if int(record[0]) & 0xFFFFFFFF == _LOST and len(record) >= 3:
                self.announced += int(record[2])
            self.torn += int(record[0]) & 0xFFFFFFFF == _SAMPLE
        return samples

    def _records(self, samples: Words) -> npt.NDArray[np.void]:
        machine = self._machine
        if machine is None or not len(samples):
            return np.zeros(0, RAW)
        registers = _sampled(machine)
        made = np.zeros(len(samples), RAW)
        low = np.uint64(0xFFFFFFFF)
        address, cpu = samples[:, _AT_IP], samples[:, 4] & low
        made["ts_ns"], made["cpu"] = samples[:, _AT_TIME], cpu
        made["pid"], made["tid"] = samples[:, _AT_IDS] & low, samples[:, _AT_IDS] >> np.uint64(32)
        made["known"] = np.where(made["pid"] != low, KNOWN_ARGS | KNOWN_PID, KNOWN_ARGS)
        made["site"] = -1
        known = np.zeros(len(made), np.bool_)
        for value, mark in self._marks.items():
            here = address == np.uint64(value)
            known |= here
            made["probe"][here], made["phase"][here] = mark.probe, mark.phase
            wanted = [machine.value] if mark.phase is Phase.EXIT else machine.arguments
            for index, register in enumerate(wanted[:REGISTERS]):
                made["args"][here, index] = samples[here, _FIXED + registers.index(register)]
            for at in np.unique(cpu[here]).tolist():
                hits = int(np.count_nonzero(cpu[here] == at))
                self._read[value, at] = self._read.get((value, at), 0) + hits
        return made[known & ~self._duplicates(samples)]

    def _duplicates(self, samples: Words) -> npt.NDArray[np.bool_]:
        """Return which hits repeat the last one of their thread, with no other hit in between.

        A call has to return before it is entered again. Where exits are not watched, a hit counts
        as a duplicate only if it comes soon.
        """
        hits = np.concatenate([self._last, samples])
        order = np.argsort(hits[:, _AT_IDS], kind="stable")
        now, before = order[1:], order[:-1]
        same = (hits[now, _AT_IDS] == hits[before, _AT_IDS]) & (
            hits[now, _AT_IP] == hits[before, _AT_IP]
        )
        same &= (hits[now, _FIXED:] == hits[before, _FIXED:]).all(axis=1)
        alone = [address for address, mark in self._marks.items() if mark.phase is Phase.POINT]
        soon = hits[now, _AT_TIME] - hits[before, _AT_TIME] < _SOON_NS
        same &= soon | ~np.isin(hits[now, _AT_IP], np.array(alone, np.uint64))
        duplicate = np.zeros(len(hits), np.bool_)
        duplicate[now] = same
        final = np.append(hits[now, _AT_IDS] != hits[before, _AT_IDS], True)
        self._last = hits[np.sort(order[final])[-_THREADS:]]
        return duplicate[len(hits) - len(samples) :]

    def warm_up_records(self) -> npt.NDArray[np.void]:
        """Return made-up RAW records, one hit per address; they are neither counted nor kept."""
        spare = Breakpoints((), self._size)
        spare._marks = self._marks
        samples = np.zeros((len(self._marks), self._words), np.uint64)
        samples[:, _AT_IP] = np.array(list(self._marks), np.uint64)
        return spare._records(samples)

    def lost(self) -> dict[tuple[int, int], int]:
        """Return hits without a record, by (probe, cpu). Exact after ``disable`` and ``drain``."""
        total: dict[tuple[int, int], int] = {}
        for (address, cpu), descriptor in self._opened.items():
            hits = int.from_bytes(os.read(descriptor, 8), "little")
            missing = hits - self._read.get((address, cpu), 0)
            if missing > 0:
                key = self._marks[address].probe, cpu
                total[key] = total.get(key, 0) + missing
        return total

    def close(self) -> None:
        """Remove all breakpoints and rings. Safe to call again."""
        for ring in self._rings.values():
            ring.close()
        for descriptor in self._opened.values():
            os.close(descriptor)
        self._rings.clear()
        self._opened.clear()


def free_breakpoints(most: int = 16) -> int:
    """Return how many more breakpoints CPU 0 has, up to ``most``. Raises ``OSError``."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    opened: list[int] = []
    try:
        while len(opened) < most:
            # never enabled: the address is any; without registers, as lockdown forbids those
            opened.append(_open(0x1000, 0, machine, _IP))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return len(opened)


def split(words: Words, size: int) -> tuple[npt.NDArray[np.uint64], list[Words], bool]:
    """Split ring data: samples of ``size`` words, all other records, whether nothing is left over.

    Samples come in runs: only the records between runs are read one by one.
    """
    header = np.uint64(_SAMPLE | (8 * size) << 48)
    fixed = np.uint64(0xFFFF0000FFFFFFFF)  # all but `misc`
    runs, others, at = [], [], 0
    while at < len(words):
        rest = words[at : at + (len(words) - at) // size * size].reshape(-1, size)
        differs = np.flatnonzero((rest[:, 0] & fixed) != header)
        run = rest[: differs[0]] if len(differs) else rest
        runs.append(run)
        at += run.size
        if at < len(words):
            length = int(words[at] >> np.uint64(48)) // 8
            if not 0 < length <= len(words) - at:
                break
            others.append(words[at : at + length])
            at += length
    samples = np.concatenate(runs) if runs else np.zeros((0, size), np.uint64)
    return samples, others, at == len(words)
