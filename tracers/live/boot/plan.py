# SPDX-License-Identifier: GPL-2.0-only
"""Chooses the probes that one kernel takes from its command line, by the ladder of live capture.

Promises: every probe is one that this kernel accepts: tried on the running kernel, where that is
possible, and removed again; else read off the image (``refusals``). What no probe can see is said,
with the reason.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracers.constants.btf import Btf
from tracers.constants.errors import ConstantsError
from tracers.constants.gather import gather
from tracers.constants.image.kernel_image import KernelImage
from tracers.constants.image.symbols import SymbolTable
from tracers.formulas import WindowError
from tracers.kernel_functions import KINDS
from tracers.live.boot.definitions import BootEvent, boot_events
from tracers.live.boot.refusals import NO_BREAKPOINTS, Refusals
from tracers.live.probes.engine import AttachError
from tracers.live.probes.ladder import Attached, Ladder, climb, ladders
from tracers.live.probes.points import Probe, Rung
from tracers.live.probes.running_kernel import RunningKernel, read_kernel
from tracers.live.tracefs import cleanup
from tracers.machine import Machine

#: A tracepoint that every WARN passes (5.12 and later), and a function that is there with it.
REPORT: Final = "error_report:error_report_end"
_REPORT_FUNCTION: Final = "__traceiter_error_report_end"
_BOOTCONFIG_FUNCTION: Final = "trace_boot_init"  # with CONFIG_BOOTTIME_TRACING
_SECTION: Final = 128 << 20  # bytes, where the kernel does not say: 4K pages since 5.12


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be captured on one kernel, and how sure it is that the kernel takes it.

    ``proven``: the running kernel took every probe. ``reports``: it has ``REPORT``.
    ``section_bytes``: what one section covers. ``bootconfig``: whether it reads ftrace.* keys of a
    boot configuration; None: it does not say.
    """

    machine: Machine
    attached: tuple[Attached, ...]
    proven: bool
    reports: bool
    section_bytes: int
    bootconfig: bool | None
    problems: tuple[str, ...] = ()

    @property
    def probes(self) -> dict[str, str]:
        """Function -> how it is seen, or why not."""
        return {point.function: point.how for point in self.attached}

    @property
    def events(self) -> tuple[BootEvent, ...]:
        """The events of all probes, most important first."""
        found = (point.probe for point in self.attached if point.probe is not None)
        return tuple(event for probe in found for event in boot_events(probe))


def plan_for_image(image: KernelImage) -> Plan:
    """Plan for the kernel in a file. Raises ``ConstantsError``."""
    if image.table is None:
        raise ConstantsError(
            f"{image.path}: it has no names (CONFIG_KALLSYMS=n, or stripped): give --system-map"
        )
    known = gather(image)
    kernel = RunningKernel("aarch64", names=image.table, text=image)
    try:
        if (blob := image.btf()) is not None:
            kernel.prototypes = Btf(blob).prototypes(tuple(KINDS))
    except ConstantsError as error:
        kernel.missing["btf"] = str(error)
    every = ladders(kernel)
    refusals = Refusals(image, (probe for ladder in every for probe in ladder.probes))
    attached = _climbed(every, refusals.why)
    return _plan(known.machine(), attached, image.table, proven=False, problems=known.problems)


def plan_for_running(vmlinux: Path | None = None, root: Path = Path("/")) -> Plan:
    """Plan for the running kernel, which takes and forgets each probe.

    Raises:
        LiveError: tracefs cannot be used. ConstantsError: ``vmlinux`` cannot be read.
    """
    tracing = cleanup.tracing(root)
    kernel = read_kernel(tuple(KINDS), vmlinux=vmlinux, root=root)
    try:
        known = gather(kernel.text, live=True, root=root, running=kernel.files)
        attached = tried(ladders(kernel), tracing, root, known.probeable)
        return _plan(known.machine(), attached, kernel.names, proven=True, problems=known.problems)
    finally:
        kernel.close()


def tried(
    every: Iterable[Ladder],
    tracing: Path,
    root: Path,
    traceable: Mapping[str, str] | None = None,
) -> tuple[Attached, ...]:
    """Have the kernel take each probe under a name of this process; leave none.

    ``traceable``: why functions may not be, to explain a refusal.
    """
    name, file = cleanup.new_name(root), tracing / "kprobe_events"
    shell = cleanup.CleanupShell(tracing, name)

    def why(probe: Probe) -> str | None:
        if probe.rung is Rung.BREAKPOINT:
            return NO_BREAKPOINTS
        made: list[str] = []
        for event in boot_events(probe):
            try:
                cleanup.append(file, event.line(name))
            except OSError as error:
                for taken in made:  # the next rung's events have the same names
                    cleanup.append(file, f"-:{name}/{taken}")
                return f"{event.place}: {error.strerror}"
            made.append(event.name)
        return None

    kept: str | None = "stopped early"
    try:
        return _climbed(tuple(every), why, traceable)
    finally:
        kept = cleanup.clear(tracing, name)
        shell.dismiss(clean=kept is None)


def _climbed(
    every: tuple[Ladder, ...],
    why: Callable[[Probe], str | None],
    traceable: Mapping[str, str] | None = None,
) -> tuple[Attached, ...]:
    def attach(probe: Probe) -> str | None:
        if reason := why(probe):
            raise AttachError(reason)
        return None

    return climb(every, attach, lambda _: NO_BREAKPOINTS, traceable)


def _plan(
    machine: Machine,
    attached: tuple[Attached, ...],
    table: SymbolTable | None,
    *,
    proven: bool,
    problems: tuple[str, ...],
) -> Plan:
    # trace_boot_init is __init: names outlive its code
    found = table.find([_REPORT_FUNCTION, _BOOTCONFIG_FUNCTION]) if table else {}
    return Plan(
        machine,
        attached,
        proven,
        _REPORT_FUNCTION in found,
        _section_bytes(machine),
        _BOOTCONFIG_FUNCTION in found if table else None,
        problems,
    )


def _section_bytes(machine: Machine) -> int:
    window = machine.window
    try:
        if window is not None and window.page_size is not None:
            return window.section_pages * window.page_size
    except WindowError:
        pass
    return _SECTION
