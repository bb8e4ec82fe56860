# SPDX-License-Identifier: GPL-2.0-only
"""Makes the rungs concrete: a probe of each kind for one function of the running kernel.

Promises: a probe says which arguments it can read, and only those whose registers are known:
from the prototype in BTF, or, without BTF, where every release since 5.4 has the same; after
.isra or .constprop neither holds. A rung that cannot be is a sentence that says why.
"""

from collections.abc import Callable, Mapping
from typing import Final

from tracers.kernel_functions import COLUMNS, KernelFunction
from tracers.live.probes.call_sites import Calls
from tracers.live.probes.points import REGISTERS, Place, Probe, Rung
from tracers.live.probes.running_kernel import RunningKernel

_MOST_SITES: Final = 4  # places of one function: more than that is no call-site job


def _place(kernel: RunningKernel, name: str) -> Place:
    """Return a function's own place; address 0 where it is not known (kprobes go by name)."""
    symbol = kernel.names.find([name]).get(name) if kernel.names else None
    return Place(symbol.name, 0, symbol.va) if symbol else Place(name, 0, 0)


def _registers(
    kernel: RunningKernel, point: KernelFunction, name: str, symbol: str
) -> tuple[tuple[str, int], ...]:
    described = kernel.prototypes.get(symbol)
    names = described.parameters if described else None
    if names is None and symbol == name and point.fixed:
        names = point.parameters
    known = {**COLUMNS, "caller": "caller"}
    return tuple(
        (known[parameter], number)
        for number, parameter in enumerate((names or ())[:REGISTERS])
        if parameter in known
    )


def _entry(
    kernel: RunningKernel, point: KernelFunction, name: str | None, calls: Calls | None
) -> Probe | str:
    del calls
    if name is None:
        return "inlined or absent in this kernel"
    place = _place(kernel, name)
    registers = _registers(kernel, point, name, place.symbol)
    return Probe(point.kind, Rung.KPROBE, place.symbol, (place,), (), registers, point.ret)


def _callsite(
    kernel: RunningKernel, point: KernelFunction, name: str | None, calls: Calls | None
) -> Probe | str:
    if point.exported and name is not None:
        return "modules call it too, whose code is not looked through"
    sites = _sites(kernel, name, calls)
    if isinstance(sites, str):
        return sites
    if calls and calls.tails:
        return "it is also reached by a jump (tail call), which no call site shows"
    entries, exits = sites
    if not exits:
        return "the instruction behind a call is also jumped to: it does not mean a return"
    place = _place(kernel, name or "")
    registers = _registers(kernel, point, name or "", place.symbol)
    return Probe(point.kind, Rung.CALLSITE, place.symbol, entries, exits, registers, point.ret)


def _breakpoint(
    kernel: RunningKernel, point: KernelFunction, name: str | None, calls: Calls | None
) -> Probe | str:
    if name is None:
        return "inlined or absent in this kernel"
    place = _place(kernel, name)
    if not place.address:
        return "its address is not known: read /proc/kallsyms as root"
    sites = _sites(kernel, name, calls)
    # Slots are few (2 to 16): the end is watched where there is one place it comes back to.
    only = not point.exported and not (calls and calls.tails)
    exits = () if isinstance(sites, str) or len(sites[1]) != 1 or not only else sites[1]
    registers = _registers(kernel, point, name, place.symbol)
    return Probe(
        point.kind,
        Rung.BREAKPOINT,
        place.symbol,
        (place,),
        exits,
        registers,
        point.ret,
        bool(exits),
    )


def _sites(
    kernel: RunningKernel, name: str | None, calls: Calls | None
) -> tuple[tuple[Place, ...], tuple[Place, ...]] | str:
    """Return the call instructions and, if they tell a return, those behind them."""
    if name is None:
        return "inlined or absent in this kernel"
    if kernel.text is None or kernel.names is None:
        return kernel.missing.get("text") or kernel.missing.get("kallsyms", "no kernel text")
    if calls is None:
        return "its call instructions are not looked for, or the kernel's text cannot be read"
    if not 0 < len(calls.calls) <= _MOST_SITES:
        return f"{len(calls.calls) or 'no'} call instructions lead to it: 1 to {_MOST_SITES} can do"
    entries = tuple(_named(kernel, va) for va in calls.calls)
    unclear = [each for each in entries if not _unique(kernel, each)]
    if unclear:
        return f"a call to it is at 0x{unclear[0].address:016x}, in a function of no unique name"
    return entries, () if calls.jumped else tuple(_named(kernel, va + 4) for va in calls.calls)


def _named(kernel: RunningKernel, va: int) -> Place:
    """Return the place of the running kernel that lies at ``va`` of the text."""
    here = (va + kernel.slide) % (1 << 64)
    symbol = kernel.names.containing(here) if kernel.names else None
    return Place(symbol.name, here - symbol.va, here) if symbol else Place("", 0, here)


def _unique(kernel: RunningKernel, place: Place) -> bool:
    """Say if the place's symbol leads back to it: a kprobe goes by name, and takes any of twins."""
    found = kernel.names.find([place.symbol]) if kernel.names and place.symbol else {}
    return any(symbol.va + place.offset == place.address for symbol in found.values())


RUNGS: Final[
    Mapping[Rung, Callable[[RunningKernel, KernelFunction, str | None, Calls | None], Probe | str]]
] = {Rung.KPROBE: _entry, Rung.CALLSITE: _callsite, Rung.BREAKPOINT: _breakpoint}
