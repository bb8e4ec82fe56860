# SPDX-License-Identifier: GPL-2.0-only
"""The attach ladder: tries each probe point's rungs, most direct first, until one attaches.

Rungs are tried, never inferred from a kernel version: if the kernel rejects one, its reason is kept
and the next rung is tried.

Linux 6.11, commit 73db3abdca58 ("init/modpost: conditionally check section mismatch to
__meminit*"): before it, __meminit functions are notrace and entry kprobes on them are rejected.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tracers.kernel_functions import TABLE, KernelFunction
from tracers.kinds import Kind
from tracers.live.probes.call_sites import Calls, find_calls
from tracers.live.probes.engine import AttachError, NoSuchRungError
from tracers.live.probes.points import Probe, Rung, Watch
from tracers.live.probes.rungs import RUNGS
from tracers.live.probes.running_kernel import RunningKernel

#: The points that kernels may reject entry kprobes on: a forced rung applies to these.
_FORCED: Final = (Kind.POPULATE, Kind.SECTION_ADD)
#: Kinds that have no probe then, and those of which the entry alone has one with LIGHT.
_LEFT_OUT: Final[Mapping[Watch, tuple[Kind, ...]]] = {
    Watch.LIGHT: (Kind.SECTION_ADD, Kind.SECTION_REMOVE),
    Watch.TIMING: (Kind.POPULATE, Kind.FREE),
}
_ENTRIES: Final = (Kind.POPULATE, Kind.FREE, Kind.WARN)
#: An exported function cannot be inlined away: if kallsyms lacks it, the kernel lacks it.
_ABSENT: Final = {
    point.kind: f"absent: this kernel has no such function ({point.option}=n)" for point in TABLE
}


@dataclass(frozen=True, slots=True)
class Ladder:
    """One point's rungs on this kernel in the order they are tried, and the impossible ones.

    ``absent``: the kernel has no such function, so no rung is needed.
    """

    kind: Kind
    function: str
    probes: tuple[Probe, ...]
    impossible: tuple[tuple[Rung, str], ...] = ()
    absent: bool = False

    def for_rungs(self, rungs: Collection[Rung]) -> "Ladder":
        """Return it with these rungs alone."""
        return replace(self, probes=tuple(each for each in self.probes if each.rung in rungs))

    def for_watch(self, watch: Watch) -> "Ladder":
        """Return it with the probes that ``watch`` wants of this function, maybe none."""
        if self.absent or watch is Watch.ALL:
            return self
        if self.kind in _LEFT_OUT[watch]:
            return replace(
                self, probes=(), impossible=((Rung.KPROBE, f"left out: --{watch.value}"),)
            )
        if watch is Watch.LIGHT and self.kind in _ENTRIES:
            entries = (replace(each, timed=False, exits=()) for each in self.probes)
            return replace(self, probes=tuple(entries))
        return self


@dataclass(frozen=True, slots=True)
class Attached:
    """How one point was attached. ``probe`` None: derived, absent, or not observed at all.

    ``refused``: the more direct rungs, each with the reason why not.
    ``absent``: this kernel has no such function, so no call can be missed.
    """

    kind: Kind
    function: str
    probe: Probe | None
    refused: tuple[tuple[Rung, str], ...] = ()
    notes: tuple[str, ...] = ()
    derived: bool = False
    absent: bool = False

    @property
    def how(self) -> str:
        """How it is observed, or why not, as the recording's header says it."""
        if self.probe is not None:
            return "; ".join((str(self.probe), *self.notes))
        if self.absent:
            return _ABSENT[self.kind]
        reasons = "; ".join(f"{rung.value}: {why}" for rung, why in self.refused)
        return f"derived from __add_pages ({reasons})" if self.derived else f"no: {reasons}"


def ladders(kernel: RunningKernel, *, first: Rung = Rung.KPROBE) -> tuple[Ladder, ...]:
    """Return every point's ladder, most important first; ``first`` leaves out the rungs above.

    ``first`` applies to populate and section-add, whose entry kprobes kernels before 6.11 reject;
    everything else has its entry kprobe. Trampolines need a program: none has one but where they
    are the first.
    """
    order = list(Rung)
    rungs = [rung for rung in RUNGS if rung is not Rung.FENTRY or first is Rung.FENTRY]
    chosen = [(point, _chosen(kernel, point)) for point in TABLE]
    calls = _calls(kernel, (name for point, name in chosen if point.kind is not Kind.WARN and name))
    built = []
    for point, name in chosen:
        if name is None and point.exported:
            built.append(Ladder(point.kind, point.functions[0], (), absent=True))
            continue
        lowest = order.index(first) if point.kind in _FORCED else 0
        probes, impossible = [], []
        for rung in rungs:
            if order.index(rung) < lowest:
                impossible.append((rung, f"left out: --rung {first.value}"))
                continue
            probe = RUNGS[rung](kernel, point, name, calls.get(name or "", None))
            if isinstance(probe, Probe):
                probes.append(probe)
            else:
                impossible.append((rung, probe))
        built.append(
            Ladder(point.kind, name or point.functions[0], tuple(probes), tuple(impossible))
        )
    return tuple(built)


def climb(
    every: Sequence[Ladder],
    attach: Callable[[Probe], str | None],
    watch_ends: Callable[[Probe], str | None],
    traceable: Mapping[str, str] | None = None,
) -> tuple[Attached, ...]:
    """Try each point's rungs in order with an engine's ``attach`` until one succeeds.

    Breakpoints are few: the entries of all points come before the end of any, which are then given
    to ``watch_ends``. ``traceable``: for each function "traceable" or why not, to explain a
    rejection.
    """
    none_more: dict[Rung, str] = {}
    ends = [_climb_one(ladder, attach, traceable or {}, none_more) for ladder in every]
    ends = [_timed(end, ladder, watch_ends) for end, ladder in zip(ends, every, strict=True)]
    seen = {end.kind for end in ends if end.probe is not None}
    return tuple(
        Attached(end.kind, end.function, None, end.refused, (), derived=True)
        if end.kind is Kind.POPULATE and end.probe is None and Kind.ADD_PAGES in seen
        else end
        for end in ends
    )


def _climb_one(
    ladder: Ladder,
    attach: Callable[[Probe], str | None],
    traceable: Mapping[str, str],
    none_more: dict[Rung, str],
) -> Attached:
    why = dict(ladder.impossible)
    for probe in ladder.probes:
        if probe.rung in none_more:
            why[probe.rung] = none_more[probe.rung]
            continue
        if probe.rung is Rung.BREAKPOINT:
            probe = replace(probe, timed=False, exits=())  # noqa: PLW2901 (its end may come later)
        try:
            note = attach(probe)
        except AttachError as error:
            reason = str(error)
            if isinstance(error, NoSuchRungError):
                none_more[probe.rung] = reason
            if probe.rung is Rung.KPROBE and traceable.get(ladder.function) == "notrace":
                reason += "" if "notrace" in reason else " (notrace)"
            why[probe.rung] = reason
        else:
            attached = replace(probe, timed=False) if note else probe
            notes = (note,) if note else ()
            above = _in_order(why, until=probe.rung)
            return Attached(ladder.kind, probe.function, attached, above, notes)
    return Attached(ladder.kind, ladder.function, None, _in_order(why), absent=ladder.absent)


def _timed(end: Attached, ladder: Ladder, watch_ends: Callable[[Probe], str | None]) -> Attached:
    """Return the end of the climb with the calls timed, if a breakpoint's slot is left for that."""
    whole = next((probe for probe in ladder.probes if probe.rung is Rung.BREAKPOINT), None)
    taken = end.probe is not None and end.probe.rung is Rung.BREAKPOINT and not end.notes
    if whole is None or not taken or not whole.timed:
        return end
    why = watch_ends(whole)
    return replace(end, probe=whole) if why is None else replace(end, notes=(f"entry only: {why}",))


def _in_order(
    why: Mapping[Rung, str], *, until: Rung = Rung.DERIVED
) -> tuple[tuple[Rung, str], ...]:
    order = list(Rung)
    return tuple((rung, why[rung]) for rung in order[: order.index(until)] if rung in why)


def _chosen(kernel: RunningKernel, point: KernelFunction) -> str | None:
    """Return the first of the point's functions that the kernel has, None if it has none."""
    if kernel.names is None:
        return point.functions[0]  # tried by name
    present = kernel.names.find(point.functions)
    return next((name for name in point.functions if name in present), None)


def _calls(kernel: RunningKernel, names: Iterable[str]) -> Mapping[str, Calls]:
    text = kernel.text
    if text is None:
        return {}
    symbols = text.symbols(names)
    return find_calls(text, {name: text.extent(symbol) for name, symbol in symbols.items()})
