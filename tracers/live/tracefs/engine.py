# SPDX-License-Identifier: GPL-2.0-only
"""Engine "tracefs": kprobe events and perf breakpoints; needs no BCC, LLVM or kernel headers.

kprobe events go to a private instance and are read as raw ring pages, breakpoints as perf samples;
both use CLOCK_MONOTONIC. Filters by comm and pid apply in the kernel to kprobe events, and here to
breakpoints. The window filter applies here: an exit has no arguments, so it is kept or dropped with
its entry. A loss in a ring cannot be assigned to a probe: the kernel counts it by CPU only.
"""

import os
import platform
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from tracers.batch import Batch, Losses
from tracers.kinds import Kind, Phase
from tracers.live.probes.engine import AttachError, Counts, LiveError, Pace, Trial
from tracers.live.probes.points import Filters, Probe, Rung
from tracers.live.records import KNOWN_COMM, KNOWN_PID, RAW
from tracers.live.tracefs import cleanup
from tracers.live.tracefs.breakpoints import Breakpoints, Mark
from tracers.live.tracefs.instance import Instance
from tracers.live.tracefs.kprobe_events import ARGUMENTS, Decoder, Event, events
from tracers.live.tracefs.ring_pages import compose, parse_pages
from tracers.live.tracefs.threads import Threads
from tracers.live.tracefs.whole_calls import EntryExitPairs

if TYPE_CHECKING:
    import pyarrow as pa

ANY: Final = "any probe"  # in Counts.lost: a ring overran, and the probe is not known
NO_CPU: Final = -1  # …: the kernel does not say where
_REPORT: Final = "error_report/error_report_end"  # since 5.12
_WARNING: Final = 2  # enum error_detector, include/trace/events/error_report.h

_LOOK_S: Final = 0.02
_EVERYTHING: Final = Filters()

_Records = npt.NDArray[np.void]
_Mask = npt.NDArray[np.bool_]


class TracefsEngine:
    """The engine protocol over tracefs and perf_event_open; see ``tracers.live.probes.engine``."""

    name = "tracefs"
    rungs = frozenset({Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT})

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        filters: Filters = _EVERYTHING,
        ours: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Make a private instance. Raises ``LiveError`` where that is not possible.

        ``ours``: [start, end) of the functions whose WARNs become rows.
        """
        if platform.machine() not in ARGUMENTS:
            raise LiveError(f"engine tracefs does not know the registers of {platform.machine()}")
        if filters.comm is not None and '"' in filters.comm:
            raise LiveError('a comm filter cannot contain ": tracefs has no way to write it')
        self._root = root
        self._filters = filters
        self._ours = ours
        self._threads = Threads(root)
        cleanup.remove(cleanup.find_stale(root), root)
        self._breakpoints = Breakpoints(_online(root))
        self._instance = Instance(root)
        self._probes: list[Probe] = []
        self._events: list[Event] = []
        self._decoder = Decoder({}, (), ())
        self._enabled: list[str] = []
        self._pairs = EntryExitPairs()
        self._held = np.zeros(0, RAW)
        self._epoll = select.epoll()
        self._began = 0  # ns: breakpoints are enabled one by one, and count from here
        self._pace = Pace()
        self._lost: dict[tuple[str, int], int] = {}
        self._missed: dict[str, int] = {}
        self._announced = 0
        self._warns = self._other_warns = self._reported = self._other_reported = 0

    def attach(self, probe: Probe) -> str | None:
        """Prepare a probe; see ``Engine.attach``."""
        number = len(self._probes)
        note = None
        if probe.rung is Rung.BREAKPOINT:
            self._break(probe, number)
        else:
            note = self._define(probe, number)
        self._probes.append(replace(probe, timed=False, exits=()) if note else probe)
        return note

    def _break(self, probe: Probe, number: int) -> None:
        if not self._threads.global_ids:
            raise AttachError("breakpoints number threads by pid namespace: run in the first one")
        point = Mark(number, Phase.POINT)
        self._breakpoints.attach({target.address: point for target in probe.entries})

    def watch_ends(self, probe: Probe) -> str | None:
        """Add the exits of an attached breakpoint; see ``Engine.watch_ends``."""
        places = [(each.rung, each.entries) for each in self._probes]
        number = places.index((probe.rung, probe.entries))
        try:
            self._breakpoints.attach(
                {target.address: Mark(number, Phase.EXIT) for target in probe.exits}
            )
        except AttachError as error:
            return str(error)
        for target in probe.entries:
            self._breakpoints.mark(target.address, Mark(number, Phase.ENTRY))
        self._probes[number] = probe
        return None

    def _define(self, probe: Probe, number: int) -> str | None:
        entries, exits = events(probe, number, self._instance.name)
        self._define_all(entries)
        try:
            self._define_all(exits)
        except AttachError as error:
            entries = [replace(event, phase=Phase.POINT) for event in entries]
            self._events += entries
            return f"entry only: {error}"
        self._events += [*entries, *exits]
        return None

    def _define_all(self, wanted: Sequence[Event]) -> None:
        made: list[Event] = []
        try:
            for event in wanted:
                self._instance.define(event.definition)
                made.append(event)
        except AttachError:
            for event in made:
                self._instance.undefine(event.name)
            raise

    def trial(self, probe: Probe, work: Callable[[], None]) -> Trial:
        """See ``Engine.trial``: another engine's."""
        other = TracefsEngine(self._root)
        try:
            other.attach(probe)
            if probe.rung is Rung.BREAKPOINT and (why := other.watch_ends(probe)):
                raise AttachError(why)
            other.start()
            work()
            return Trial(other.stop())
        finally:
            other.close()

    def program_times(self) -> Mapping[int, tuple[int, int]]:
        """See ``Engine.program_times``: there are none."""
        return {}

    def start(self) -> None:
        """Enable all probes at once; see ``Engine.start``."""
        group = self._instance.name
        formats = {
            event.name: made
            for event in self._events
            if (made := self._instance.format(f"{group}/{event.name}"))
        }
        report = self._instance.format(_REPORT)
        kinds = [probe.kind for probe in self._probes]
        self._decoder = Decoder(
            formats, self._events, kinds, (report, _WARNING) if report else None
        )
        self._enabled = [group] * bool(self._events) + [_REPORT] * bool(report)
        self._warm_up()
        for descriptor in [*self._instance.descriptors, *self._breakpoints.descriptors]:
            self._epoll.register(descriptor, select.EPOLLIN)
        try:
            self._breakpoints.enable()
        except OSError as error:
            raise LiveError(f"breakpoints: {error.strerror}") from error
        self._began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._instance.enable(self._enabled, self._filters.comm, self._filters.pid)

    def _warm_up(self) -> None:
        """Run all code once, so that loading at first use does not delay the first events."""
        pages = compose(self._decoder.blanks(), self._instance.layout)
        parsed = parse_pages(pages, self._instance.layout)
        decoded = self._decoder.decode(parsed, np.zeros(1, np.int64)).records
        records = np.concatenate([decoded, self._breakpoints.warm_up_records()])
        records["tid"] = os.getpid()
        self._threads.fill(records)
        if self._probes:
            self._rows(self._chosen(records), [""])
        self._pairs, self._warns, self._other_warns = EntryExitPairs(), 0, 0

    def poll(self, timeout_s: float) -> Batch | None:
        """Wait for events; see ``Engine.poll``."""
        self._wait(timeout_s)
        # What is written from now on may be in one ring already and not yet in another.
        batch = self._batch(time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        self._pace.read(some=batch is not None)
        return batch

    def _wait(self, timeout_s: float) -> None:
        """Wait for records: kprobe events wake us, breakpoints must be polled."""
        end = time.monotonic() + timeout_s
        self._pace.wait(timeout_s)
        while not len(self._held):
            left = max(end - time.monotonic(), 0)
            looked = min(left, _LOOK_S) if self._breakpoints.descriptors else left
            if self._breakpoints.waiting or self._epoll.poll(looked) or looked >= left:
                return

    def stop(self) -> Batch | None:
        """Disable all probes and return the rest; see ``Engine.stop``."""
        if not self._began:
            return None
        self._breakpoints.disable()
        self._instance.disable(self._enabled)
        return self._batch(None)

    def _batch(self, until: int | None) -> Batch | None:
        """Drain all rings; release what was written up to ``until``, in the order of time."""
        torn = -self._breakpoints.torn
        parts: list[_Records] = []
        flagged: set[int] = set()
        for pages, cpus, short in self._instance.drain(until):
            parsed = parse_pages(pages, self._instance.layout)
            decoded = self._decoder.decode(parsed, cpus)
            parts.append(decoded.records)
            torn += short + parsed.torn + decoded.torn
            flagged |= set(cpus[: len(pages)][parsed.marked].tolist())
            mine = self._mine(decoded.reports)
            self._reported += int(np.count_nonzero(mine))
            self._other_reported += int(np.count_nonzero(~mine))
        hits = self._breakpoints.drain(until)
        parts.append(hits[hits["ts_ns"] >= self._began])
        torn += self._breakpoints.torn
        new = np.concatenate(parts)
        if until is not None and not (len(new) or len(self._held) or torn):
            return None
        self._threads.fill(new)
        records = np.concatenate([self._held, new[self._passing(new)]])
        records = records[np.argsort(records["ts_ns"], kind="stable")]
        ready = len(records)
        if until is not None:
            ready = int(np.searchsorted(records["ts_ns"], until, "right"))
        self._held = records[ready:].copy()
        records = self._chosen(records[:ready])
        lost = self._losses(None if until is None else flagged)
        if not (len(records) or lost or torn):
            return None
        return Batch(self._rows(records, self._decoder.sites), Losses(lost=lost, torn=torn))

    def _rows(self, records: _Records, sites: Sequence[str]) -> "pa.RecordBatch":
        # Arrow comes with the first events: doctor attaches, and takes none
        from tracers.live.rows import rows  # noqa: PLC0415

        return rows(records, self._probes, sites)

    def _passing(self, records: _Records) -> _Mask:
        """Return which records pass the thread filters; in the kernel, breakpoints have none."""
        passing = np.ones(len(records), np.bool_)
        if self._filters.comm is not None:
            passing &= (records["known"] & KNOWN_COMM) != 0
            passing &= records["comm"] == self._filters.comm.encode()
        if self._filters.pid is not None:
            passing &= (records["pid"] == self._filters.pid) | ((records["known"] & KNOWN_PID) == 0)
        return passing

    def _chosen(self, records: _Records) -> _Records:
        """Drop WARNs of other code and calls inside the window; count the WARNs."""
        kinds = np.array([probe.kind for probe in self._probes], np.int8)[records["probe"]]
        entry = records["phase"] != Phase.EXIT
        wanted = np.ones(len(records), np.bool_)
        judged = kinds == Kind.WARN
        mine = self._mine(records["args"][:, 2])
        wanted[judged] = mine[judged]
        self._warns += int(np.count_nonzero(judged & entry & mine))
        self._other_warns += int(np.count_nonzero(judged & entry & ~mine))
        if self._filters.window is not None:
            first, last = map(np.uint64, self._filters.window)
            for number, probe in enumerate(self._probes):
                registers = dict(probe.registers)
                if {"start", "end"} <= registers.keys():
                    here = records["probe"] == number
                    start = records["args"][here, registers["start"]]
                    end = records["args"][here, registers["end"]]
                    wanted[here] = (start < first) | (end > last) | (end < start)
                    judged |= here
        paired = judged & (records["phase"] != Phase.POINT)
        thread = records["tid"].astype(np.int64)
        thread = np.where(thread == 0, (1 << 32) + records["cpu"].astype(np.int64), thread)
        key = (records["probe"].astype(np.int64) << 40) + thread
        wanted[paired] = self._pairs.choose(key[paired], entry[paired], wanted[paired])
        return records[wanted]

    def _mine(self, address: npt.NDArray[np.uint64]) -> _Mask:
        mine = np.zeros(len(address), np.bool_)
        for first, last in self._ours:
            mine |= (address >= np.uint64(first)) & (address < np.uint64(last))
        return mine

    def _losses(self, cpus: set[int] | None) -> int:
        """Return what was lost since the last call; ``None``: at the end, with the final counts."""
        more = 0
        for cpu, lost in self._instance.losses(cpus).items():
            self._lost[ANY, cpu] = self._lost.get((ANY, cpu), 0) + lost
            more += lost
        if cpus is not None:
            more += self._breakpoints.announced - self._announced
            self._announced = self._breakpoints.announced
            return more
        hits = self._breakpoints.lost()
        for (probe, cpu), lost in hits.items():
            self._lost[self._probes[probe].function, cpu] = lost
        more += max(sum(hits.values()) - self._announced, 0)
        missed = self._instance.misses()
        for event in self._events:
            number = missed.get(event.name, 0)
            point = self._probes[event.probe]
            if event.phase is Phase.EXIT and point.rung is Rung.KPROBE:
                self._missed[point.function] = number
            elif number:
                # a kprobe hit inside another one's handler; the kernel does not say on which CPU
                key = point.function, NO_CPU
                self._lost[key] = self._lost.get(key, 0) + number
                more += number
        return more

    def counts(self) -> Counts:
        """Return the counters so far; see ``Engine.counts``."""
        warned = any(probe.kind is Kind.WARN for probe in self._probes)
        reported = _REPORT in self._enabled
        return Counts(
            dict(self._lost),
            dict(self._missed),
            self._warns if warned else None,
            self._other_warns if warned else None,
            self._reported if reported else None,
            self._other_reported if reported else None,
        )

    def close(self) -> None:
        """Remove everything; see ``Engine.close``."""
        self._epoll.close()
        self._breakpoints.close()
        self._instance.remove()


def _online(root: Path) -> list[int]:
    """Return the CPUs online, as in "0-3,5". A CPU that comes online later has no breakpoints."""
    try:
        text = (root / "sys/devices/system/cpu/online").read_text().strip()
    except OSError as error:
        raise LiveError(f"no /sys: {error}; run: mount -t sysfs sys /sys") from error
    ends = [part.partition("-") for part in text.split(",")]
    return [cpu for first, _, last in ends for cpu in range(int(first), int(last or first) + 1)]
