# SPDX-License-Identifier: GPL-2.0-only
"""One live capture: the machine, the engine and its probes, and what was lost or not observed.

``open_live`` finds out what this kernel allows and attaches it, disabled; what it returns then
starts, polls, stops and closes: ``Live``, which is an engine with its probes, or
``tracers.live.kmsg.feed.KernelLogFeed``, which attaches nothing. Promises of ``Live``: ``probes``
and ``notes`` say what is attached how, and what is not and why; populate calls that no probe could
observe are derived; WARNs that error_report_end saw and the engine did not are counted as lost;
/sys/kernel/warn_count is reported beside them: it counts WARNs of the whole kernel, also those
before the probes were on.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from tracers.batch import Batch, Losses
from tracers.constants.errors import ConstantsError
from tracers.formulas import WindowError
from tracers.kernel_functions import KINDS
from tracers.live import printk_clock
from tracers.live.probes.engine import Engine, LiveError
from tracers.live.probes.ladder import Attached, climb
from tracers.live.probes.points import Filters, Probe, Rung, Watch
from tracers.live.probes.running_kernel import read_kernel
from tracers.live.probes.survey import Survey, survey
from tracers.machine import Machine
from tracers.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracers.live.kmsg.feed import KernelLogFeed
    from tracers.live.probes.calibration import RungCost
    from tracers.logs.derive import Deriver
    from tracers.logs.dmesg.registers import Arguments

#: The best first: the first two see every call, the third what the kernel logs.
ENGINES: Final = ("bcc", "tracefs", "kmsg")
#: Linux 6.2, commit 8b05aa263361 ("panic: Expose \"warn_count\" to sysfs"); in 6.1-stable, too.
_WARN_COUNT: Final = "sys/kernel/warn_count"


class Live:
    """An open capture. Not thread-safe: one thread starts, polls and stops it."""

    def __init__(
        self,
        engine: Engine,
        attached: Sequence[Attached],
        machine: Machine,
        *,
        warn_sites: Sequence[str] = (),
        notes: Sequence[str] = (),
        origin: Mapping[str, str] | None = None,
        filtered: bool = False,
        harmless: Mapping[Rung, Probe] | None = None,
        root: Path = Path("/"),
    ) -> None:
        self.machine = machine
        self.attached = tuple(attached)
        self.probes = {point.function: point.how for point in attached}
        self.warn_sites = tuple(warn_sites)
        self.notes = (*notes, *_why_refused(attached))
        self.clock: dict[str, str | int | None] = {
            "name": "mono",
            "offset_ns": time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        }
        if (printk := printk_clock.measure()) is not None:
            self.clock |= {"printk_offset_ns": printk.ns, "printk_error_ns": printk.error}
        self.origin = {"live": engine.name, **(origin or {})}
        self._engine = engine
        self._harmless = dict(harmless or {})
        self._calibrated: dict[Rung, RungCost] | None = None
        self._filtered = filtered
        self._root = root
        self._warned_before: int | None = None
        self._warned: int | None = None
        derived = any(point.derived for point in attached)
        self._deriver = _deriver(machine) if derived else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def observer(self) -> Observer:
        """What watching a call costs: tried at first, measured once there were some.

        Empty where no probe could be tried, and where calls are left out.
        """
        from tracers.live.probes.calibration import (  # noqa: PLC0415 (Arrow: see ``stop``)
            calibrate,
            observer,
        )

        if self._calibrated is None:
            used = {point.probe.rung for point in self.attached if point.probe is not None}
            probes = {rung: each for rung, each in self._harmless.items() if rung in used}
            self._calibrated = calibrate(self._engine, probes)
        return observer(self.attached, self._calibrated, self._engine.program_times())

    def start(self) -> None:
        """Enable all probes. Raises ``LiveError``."""
        self._warned_before = _number(self._root / _WARN_COUNT)
        self._engine.start()

    def poll(self, timeout_s: float) -> Batch | None:
        """Wait up to ``timeout_s`` for events; None if there were none."""
        batch = self._engine.poll(timeout_s)
        return None if batch is None else self._derived(batch)

    def stop(self) -> Iterator[Batch]:
        """Disable all probes; yield the remaining events, and missed WARNs as a loss."""
        rest = self._engine.stop()
        after = _number(self._root / _WARN_COUNT)
        if after is not None and self._warned_before is not None:
            self._warned = after - self._warned_before
        if rest is not None:
            yield self._derived(rest)
        counts = self._engine.counts()
        # Where something was lost anyway, the witnesses may differ by just that.
        known = not self._filtered and not any(counts.lost.values())
        if known and counts.warns is not None and counts.reported is not None:
            missed = counts.reported - counts.warns
            if missed > 0:
                from tracers.arrow import empty  # noqa: PLC0415 (Arrow: doctor starts nothing)
                from tracers.events import SCHEMA  # noqa: PLC0415 (as above)

                yield Batch(empty(SCHEMA), Losses(lost=missed))

    def closing(self) -> tuple[str, ...]:
        """Return sentences on losses and on the three counts of WARNs, for the closing record."""
        counts = self._engine.counts()
        sentences = [
            f"lost {number} events of {name}" + (f" on cpu {cpu}" if cpu >= 0 else "")
            for (name, cpu), number in sorted(counts.lost.items())
            if number
        ]
        sentences += [
            f"{number} returns of {name} were missed: no free kretprobe instance"
            for name, number in sorted(counts.missed_returns.items())
            if number
        ]
        witnesses = (
            ("__warn", counts.warns, counts.other_warns),
            ("error_report_end", counts.reported, counts.other_reported),
        )
        warns = [
            f"{name} {ours}" + (f" (and {others} elsewhere)" if others else "")
            for name, ours, others in witnesses
            if ours is not None
        ]
        if self._warned is not None:
            warns.append(f"warn_count {self._warned}")
        if warns:
            sentences.append("WARNs by witness: " + ", ".join(warns))
        if self._deriver is not None:
            sentences += self._deriver.notes
        return tuple(sentences)

    def close(self) -> None:
        """Detach and remove everything. Safe to call again."""
        self._engine.close()

    def _derived(self, batch: Batch) -> Batch:
        if self._deriver is None:
            return batch
        return replace(batch, events=self._deriver.feed(batch.events))


def open_live(
    *,
    engine: str = "auto",
    first: Rung = Rung.FENTRY,
    filters: Filters = Filters(),  # noqa: B008 (frozen)
    hits_only: bool = False,
    watch: Watch = Watch.ALL,
    vmlinux: Path | None = None,
    surveyed: Survey | None = None,
    opened: "Callable[[], Engine] | None" = None,
    root: Path = Path("/"),
) -> "Live | KernelLogFeed":
    """Open the first engine that works; ``start`` begins.

    ``engine``: auto, or one of ``ENGINES``. ``first``: leave out the rungs above. ``hits_only``:
    have the kernel drop populate and free calls inside the window in use. ``watch``: which calls
    are worth a probe. ``vmlinux``: the running kernel's own file, where its memory cannot be read
    (lockdown). ``surveyed``: what is known of
    the kernel already, in place of ``first`` and ``vmlinux``. ``opened``: gives the engine, where
    it was opened before.

    Raises:
        LiveError: no engine works here, or nothing could be attached; why, and the way out.
        ConstantsError: ``vmlinux`` cannot be read.
    """
    if engine not in ("auto", *ENGINES):
        raise LiveError(f"no engine {engine}: there are {', '.join(('auto', *ENGINES))}")
    known = surveyed or _survey(first, vmlinux, root)
    if hits_only:
        window = known.machine.window
        if window is None:
            raise LiveError("hits only: the window is not known here: vmemscope doctor")
        filters = replace(filters, window=window.used)
    asked = _Asked(known, filters, hits_only, watch, vmlinux, opened, root)
    names = ENGINES if engine == "auto" else (engine,)
    why_not: list[str] = []
    for name in names:
        try:
            return _SOURCES[name](name, asked, (*known.notes, *why_not))
        except LiveError as error:
            if len(names) == 1:
                raise
            why_not.append(f"engine {name}: {error}")
    raise LiveError("; ".join(why_not))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a source is opened with."""

    known: Survey
    filters: Filters
    hits_only: bool
    watch: Watch
    vmlinux: Path | None
    opened: "Callable[[], Engine] | None"
    root: Path


def _probing(name: str, asked: _Asked, notes: tuple[str, ...]) -> Live:
    """Open an engine, and attach all probes that the running kernel allows."""
    known, filters = asked.known, asked.filters
    engine = asked.opened() if asked.opened else _OPENERS[name](filters, known.ours, asked.root)
    try:
        attached = _attached(known, engine, asked.watch)
    except BaseException:
        engine.close()
        raise
    hits_only = "yes" if asked.hits_only else None
    watch = None if asked.watch is Watch.ALL else asked.watch.value
    given = {"pid": filters.pid, "comm": filters.comm, "hits-only": hits_only, "watch": watch}
    return Live(
        engine,
        attached,
        known.machine,
        warn_sites=known.warn_sites,
        notes=notes,
        origin={name: str(value) for name, value in given.items() if value is not None},
        filtered=filters.pid is not None or filters.comm is not None,
        # The probes of calls that are left out are hit all the same: nobody knows how often.
        harmless=known.harmless if filters == Filters() else {},
        root=asked.root,
    )


def _kernel_log(_: str, asked: _Asked, notes: tuple[str, ...]) -> "KernelLogFeed":
    """Open the kernel log. What it has is of all threads: it can leave none out."""
    if why_not := why_no_log():
        raise LiveError(why_not)
    if asked.filters.pid is not None or asked.filters.comm is not None:
        raise LiveError("the kernel log is of the whole kernel: leave out --pid and --comm")
    from tracers.live.kmsg.feed import KernelLogFeed  # noqa: PLC0415 (Arrow: see ``Live.stop``)

    return KernelLogFeed(
        asked.known.machine,
        warn_sites=asked.known.warn_sites,
        notes=notes,
        arguments=lambda: _arguments(asked.vmlinux, asked.root),
        root=asked.root,
    )


def why_no_log() -> str:
    """Return why this machine's kernel log is of no use; "" where it is."""
    machine = os.uname().machine
    if machine == "aarch64":
        return ""
    return f"this machine runs {machine}: the window's WARN is arm64's, so its log has none"


def _arguments(vmlinux: Path | None, root: Path) -> "Arguments | None":
    """Return which registers hold start and end at the running kernel's WARNs; None: not known."""
    from tracers.logs.dmesg.registers import Arguments  # noqa: PLC0415 (as above)

    kernel = read_kernel((), vmlinux=vmlinux, root=root)
    try:
        return Arguments.from_image(kernel.text) if kernel.text is not None else None
    except ConstantsError:  # then arithmetic may tell
        return None
    finally:
        kernel.close()


def _survey(first: Rung, vmlinux: Path | None, root: Path) -> Survey:
    kernel = read_kernel(tuple(KINDS), vmlinux=vmlinux, root=root)
    try:
        return survey(kernel, first=first, root=root)
    finally:
        kernel.close()


def _attached(surveyed: Survey, engine: Engine, watch: Watch) -> tuple[Attached, ...]:
    offered = [each.for_rungs(engine.rungs).for_watch(watch) for each in surveyed.ladders]
    attached = climb(offered, engine.attach, engine.watch_ends, surveyed.traceable)
    if all(point.probe is None for point in attached):
        # most often all have the same reason; a rung left out on purpose is not a reason
        reasons = dict.fromkeys(
            why for point in attached for _, why in point.refused if not why.startswith("left out")
        )
        why = "; ".join(list(reasons)[:3]) or "no reason given"
        raise LiveError(f"the kernel refused every probe ({why}): see vmemscope doctor")
    return attached


def _bcc(filters: Filters, ours: tuple[tuple[int, int], ...], root: Path) -> Engine:
    from tracers.live.bcc.engine import BccEngine  # noqa: PLC0415 (only where it is used)

    return BccEngine(root, filters=filters, ours=ours)


def _tracefs(filters: Filters, ours: tuple[tuple[int, int], ...], root: Path) -> Engine:
    from tracers.live.tracefs.engine import TracefsEngine  # noqa: PLC0415 (only where it is used)

    return TracefsEngine(root, filters=filters, ours=ours)


_OPENERS: "Final[Mapping[str, Callable[..., Engine]]]" = {"bcc": _bcc, "tracefs": _tracefs}
_SOURCES: "Final[Mapping[str, Callable[[str, _Asked, tuple[str, ...]], Live | KernelLogFeed]]]" = {
    "bcc": _probing,
    "tracefs": _probing,
    "kmsg": _kernel_log,
}


def _why_refused(attached: Sequence[Attached]) -> Iterator[str]:
    """Yield why more direct rungs failed; what is true of several functions once."""
    refused: dict[tuple[Rung, str], list[str]] = {}
    for point in attached:
        for each in point.refused if point.probe is not None else ():
            refused.setdefault(each, []).append(point.function)
    for (rung, why), functions in refused.items():
        more = f" and {len(functions) - 1} more" if len(functions) > 1 else ""
        yield f"{functions[0]}{more}: {rung.value}: {why}"


def _deriver(machine: Machine) -> "Deriver":
    from tracers.logs.derive import Deriver  # noqa: PLC0415 (half a second's imports, seldom used)

    return Deriver(machine.window, _section_pages(machine))


def _section_pages(machine: Machine) -> int | None:
    try:
        return machine.window.section_pages if machine.window else None
    except WindowError:
        return None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
