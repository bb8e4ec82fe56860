# SPDX-License-Identifier: GPL-2.0-only
"""Collects what the probes of a boot caught, on the machine that was booted with them.

Promises: nothing is taken out of the ring, changed or switched, so it can be done again. Only
probes that are what this kernel needs are read: parameters made for another kernel could have their
call sites anywhere. The kernel's own count of hits says what the ring no longer has. ``remove``
alone changes anything.

Source: 06e0a548bad0 (5.8), since which reading ``trace`` does not stop the tracing.
"""

import mmap
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from tracers import arrow
from tracers.batch import Batch, Losses
from tracers.codes import codes
from tracers.events import PHASE_NAMES, SCHEMA, SOURCE_NAMES, Kind, Phase
from tracers.formulas import WindowError
from tracers.kernel_functions import KINDS
from tracers.live import printk_clock
from tracers.live.boot.caught import CaughtLog
from tracers.live.boot.counts import Counts, read_counts
from tracers.live.boot.definitions import BootEvent, boot_events, read_definitions
from tracers.live.boot.refusals import NO_BREAKPOINTS
from tracers.live.probes.engine import AttachError, LiveError
from tracers.live.probes.ladder import Attached, climb
from tracers.live.probes.points import Probe, Rung
from tracers.live.probes.running_kernel import read_kernel
from tracers.live.probes.survey import Survey, survey
from tracers.live.tracefs import cleanup
from tracers.live.tracefs.whole_calls import EntryExitPairs
from tracers.logs.derive import Deriver
from tracers.machine import Machine
from tracers.region_rows import in_pages

_NONE: Final = (
    "this kernel has no probes of a boot: vmemscope boot prints the parameters that make them"
)
_WARN_COUNT: Final = "sys/kernel/warn_count"


@dataclass(slots=True)
class _Tally:
    """What was read so far."""

    rows: dict[tuple[Kind, Phase], int] = field(default_factory=dict)
    foreign: int = 0  # WARNs of other code
    rejected: int = 0


class Collected:
    """What a boot has caught; a source of batches, to be read once."""

    def __init__(self, root: Path = Path("/"), *, vmlinux: Path | None = None) -> None:
        """Find the probes and learn about the machine.

        Raises:
            LiveError: there are none, or tracefs cannot be read.
            ConstantsError: ``vmlinux`` cannot be read.
        """
        self.tracing = cleanup.tracing(root)
        self._root = root
        text = self._read("kprobe_events")
        defined = read_definitions(text)
        if not defined:
            raise LiveError(_NONE)
        known = _survey(root, vmlinux)
        self.machine: Machine = known.machine
        self.warn_sites = known.warn_sites
        self.attached = _attached(known, {each.event for each in defined})
        wanted = {
            event
            for point in self.attached
            if point.probe is not None
            for event in boot_events(point.probe)
        }
        self._wanted = [each for each in defined if each.event in wanted]
        self._stray = [each.name for each in defined if each.event not in wanted]
        self.probes = {point.function: point.how for point in self.attached}
        clock = re.search(r"\[(\w+)\]", self._read("trace_clock"))
        self.clock: dict[str, str | int | None] = {"name": clock[1] if clock else "unknown"}
        self._clock()
        self.origin = {"boot": "kernel parameters", "boot_id": _boot_id(root)}
        self.notes = tuple(self._notes(known))
        self.lost = 0
        self._tally = _Tally()
        self._before = self._after = Counts({}, {}, {})
        self._log: CaughtLog | None = None
        self._deriver = (
            Deriver(self.machine.window, _section_pages(self.machine))
            if any(point.derived for point in self.attached)
            else None
        )

    def batches(self) -> Iterator[Batch]:
        """Yield the events, then what is missing. Raises ``LogError``, ``OSError``."""
        self._before = read_counts(self.tracing)
        sites = {site.encode() for site in self.warn_sites}
        pairs = EntryExitPairs()
        with (self.tracing / "trace").open("rb", buffering=0) as stream:
            log = self._log = CaughtLog(stream, self._wanted)
            for batch in log.batches():
                self._tally.rejected += batch.losses.rejected
                events = in_pages(batch.events, mmap.PAGESIZE)
                rows = self._chosen(self._told(events), sites, pairs)
                if self._deriver is not None:
                    rows = self._deriver.feed(rows)
                yield Batch(rows, batch.losses)
        self._after = read_counts(self.tracing)
        self.lost = self._missing()
        if self.lost:
            yield Batch(arrow.empty(SCHEMA), Losses(lost=self.lost))

    def closing(self) -> tuple[str, ...]:
        """Return sentences on what was lost and on the WARNs; after ``batches``."""
        return tuple(self._closing())

    def remove(self) -> tuple[str, ...]:
        """Switch the probes off and remove them; return a sentence for each that stays.

        The kernel then empties the ring, which would hold records of unknown types.
        """
        kept = []
        for each in read_definitions(self._read("kprobe_events")):
            try:
                # Not by its folder in events: one made before tracefs was there may have none.
                cleanup.append(self.tracing / "set_event", f"!{each.group}:{each.name}")
                cleanup.append(self.tracing / "kprobe_events", f"-:{each.group}/{each.name}")
            except OSError as error:
                kept.append(f"{each.group}/{each.name} stays: {error.strerror}")
        return tuple(kept)

    def _read(self, name: str) -> str:
        try:
            return (self.tracing / name).read_text(errors="replace")
        except OSError as error:
            raise LiveError(f"tracefs: {error.strerror} ({self.tracing / name})") from error

    def _clock(self) -> None:
        mono = self.clock["name"] == "mono"
        offset = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.clock["offset_ns"] = offset if mono else None
        if mono and (printk := printk_clock.measure()) is not None:
            self.clock |= {"printk_offset_ns": printk.ns, "printk_error_ns": printk.error}

    def _notes(self, known: Survey) -> Iterator[str]:
        yield from known.notes
        yield "collected from the ring buffer's text, whose times are in microseconds"
        if self.clock["name"] != "mono":
            yield f"the trace clock is {self.clock['name']}, not mono: somebody changed it"
        if self._stray:
            yield (
                f"not read, as this kernel needs them elsewhere or otherwise: "
                f"{', '.join(self._stray)}; vmemscope boot prints its own"
            )
        for point in self.attached:
            if point.probe is not None:
                yield from (f"{point.function}: {rung.value}: {why}" for rung, why in point.refused)
        state = self._on()
        if state:
            yield state

    def _on(self) -> str:
        off = [
            each.name
            for each in self._wanted
            if self._optional(f"events/{each.group}/{each.name}/enable")[:1] == "0"
        ]
        if self._optional("tracing_on").strip() == "0":
            return "tracing is off: calls after that are counted as lost where the kernel saw them"
        return f"switched off by now: {', '.join(off)}" if off else ""

    def _optional(self, name: str) -> str:
        with suppress(LiveError):
            return self._read(name)
        return ""

    def _told(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Mark each row with how its call was seen; count them as the kernel does."""
        if not rows.num_rows:
            return rows
        kind, phase = codes(rows["kind"], Kind), codes(rows["phase"], Phase)
        for pair, number in zip(
            *np.unique(kind.astype(np.int64) * 16 + phase, return_counts=True), strict=True
        ):
            key = Kind(int(pair) // 16), Phase(int(pair) % 16)
            self._tally.rows[key] = self._tally.rows.get(key, 0) + int(number)
        sources, untimed = np.zeros(256, np.int8), np.zeros(256, np.bool_)
        for point in self.attached:
            if point.probe is not None:
                sources[point.kind] = point.probe.rung.source
                untimed[point.kind] = not point.probe.timed
        phase = np.where(untimed[kind], np.int8(Phase.POINT), phase.astype(np.int8))
        made = {
            "source": pa.DictionaryArray.from_arrays(arrow.column(sources[kind]), SOURCE_NAMES),
            "phase": pa.DictionaryArray.from_arrays(arrow.column(phase), PHASE_NAMES),
        }
        arrays = [made.get(name, rows[name]) for name in rows.schema.names]
        return pa.RecordBatch.from_arrays(arrays, schema=rows.schema)

    def _chosen(
        self, rows: pa.RecordBatch, sites: set[bytes], pairs: EntryExitPairs
    ) -> pa.RecordBatch:
        """Leave out WARNs of other code, where the kernel's own are known."""
        kind, phase = codes(rows["kind"], Kind), codes(rows["phase"], Phase)
        warn = np.flatnonzero(kind == Kind.WARN)
        if not sites or not len(warn):
            return rows
        places = rows.take(arrow.column(warn))
        names, lines = places["site"].to_pylist(), places["line"].to_pylist()
        # a WARN takes a millisecond of the kernel's: there are never many
        ours = [
            name is not None and f"{name}:{line}".encode() in sites
            for name, line in zip(names, lines, strict=True)
        ]
        entry = phase[warn] != Phase.EXIT
        wanted = np.array(ours, np.bool_)
        self._tally.foreign += int(np.count_nonzero(entry & ~wanted))
        paired = phase[warn] != Phase.POINT
        thread = arrow.filled(places["tid"], 0).astype(np.int64)
        wanted[paired] = pairs.choose(thread[paired], entry[paired], wanted[paired])
        keep = np.ones(rows.num_rows, np.bool_)
        keep[warn] = wanted
        return rows.take(arrow.column(np.flatnonzero(keep)))

    def _missing(self) -> int:
        """Return how many events are known to be missing.

        By the kernel's counts of hits, taken before the ring was read; where it has none for an
        event, by the ring's own count, which is of all events in it.
        """
        counted = all(each.name in self._before.hits for each in self._wanted)
        if not counted:
            rings = self._after.ring_lost
            return rings + (self._log.ring_lost if self._log and not rings else 0)
        hits = sum(self._before.hits[each.name] for each in self._wanted)
        gone = max(hits - sum(self._tally.rows.values()) - self._tally.rejected, 0)
        entries = [each for each in self._wanted if not each.event.returns]
        return gone + sum(self._after.missed.get(each.name, 0) for each in entries)

    def _closing(self) -> Iterator[str]:
        for (kind, phase), hits in sorted(self._hits().items()):
            gone = hits - self._tally.rows.get((kind, phase), 0)
            if gone > 0:
                yield f"{gone} of {hits} events of {kind.label} ({phase.label}) are not in the ring"
        for cpu, stats in sorted(self._after.rings.items()):
            told = ", ".join(f"{number} {name}" for name, number in stats.items() if number)
            if told:
                yield f"the ring of cpu {cpu} lost, of whatever was in it: {told}"
        for each in self._wanted:
            number = self._after.missed.get(each.name, 0)
            if number and each.event.returns:
                yield f"{number} returns of {each.event.symbol} were missed: no free instance"
            elif number:
                yield f"{number} calls of {each.event.symbol} were missed by {each.name}"
        if self._before.hits != self._after.hits:
            yield "calls went on while the ring was read: what came then may be in part"
        yield self._warns()
        if self._deriver is not None:
            yield from self._deriver.notes

    def _hits(self) -> dict[tuple[Kind, Phase], int]:
        hits: dict[tuple[Kind, Phase], int] = {}
        for each in self._wanted:
            key = each.event.kind, each.event.phase
            hits[key] = hits.get(key, 0) + self._before.hits.get(each.name, 0)
        return hits

    def _warns(self) -> str:
        seen = self._tally.rows.get((Kind.WARN, Phase.ENTRY), 0) - self._tally.foreign
        others = f" (and {self._tally.foreign} elsewhere)" if self._tally.foreign else ""
        told = f"WARNs by witness: __warn {seen}{others}"
        if self._log is not None and self._log.reported:
            told += f", error_report_end {self._log.reported}"
        with suppress(OSError, ValueError):
            total = int((self._root / _WARN_COUNT).read_text())
            told += f", warn_count {total} since boot"
        return told


def _survey(root: Path, vmlinux: Path | None) -> Survey:
    kernel = read_kernel(tuple(KINDS), vmlinux=vmlinux, root=root)
    try:
        return survey(kernel, root=root)
    finally:
        kernel.close()


def _attached(known: Survey, there: set[BootEvent]) -> tuple[Attached, ...]:
    """Return how each point is seen: by those of its probes that the boot has defined."""

    def attach(probe: Probe) -> str | None:
        if probe.rung is Rung.BREAKPOINT:
            raise AttachError(NO_BREAKPOINTS)
        events = boot_events(probe)
        if not all(event in there for event in events if event.phase is Phase.ENTRY):
            raise AttachError("not among the probes of this boot")
        ends = all(event in there for event in events)
        return None if ends else "entry only: its ends are not among the probes of this boot"

    return climb(
        known.ladders,
        attach,
        lambda _: NO_BREAKPOINTS,
        known.traceable,
    )


def _boot_id(root: Path) -> str:
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _section_pages(machine: Machine) -> int | None:
    try:
        return machine.window.section_pages if machine.window else None
    except WindowError:
        return None
