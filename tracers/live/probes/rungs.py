# SPDX-License-Identifier: GPL-2.0-only
"""Builds the probe of each rung for one function of the running kernel.

Promises: a probe reads only arguments whose registers are known: from the prototype in BTF, or,
without BTF, where every release since 5.4 has the same parameters; for .isra and .constprop clones
neither is used. An impossible rung is a sentence that says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from tracers.kernel_functions import COLUMNS, KernelFunction
from tracers.live.probes.call_sites import Calls
from tracers.live.probes.points import REGISTERS, Probe, ProbeAddress, Rung
from tracers.live.probes.running_kernel import RunningKernel

_MOST_SITES: Final = 4  # call instructions of one function: with more, the rung is left out


def _entry_address(kernel: RunningKernel, name: str) -> ProbeAddress:
    """Return a function's entry; address 0 where it is not known (kprobes go by name)."""
    symbol = kernel.names.find([name]).get(name) if kernel.names else None
    return ProbeAddress(symbol.name, 0, symbol.va) if symbol else ProbeAddress(name, 0, 0)


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


def _fentry(
    kernel: RunningKernel, point: KernelFunction, name: str | None, calls: Calls | None
) -> Probe | str:
    entry = _entry(kernel, point, name, calls)
    if isinstance(entry, str):
        return entry
    number = kernel.functions.get(entry.function)
    if number is None:
        return kernel.missing.get("btf", "BTF does not describe it, or several of its name")
    return replace(entry, rung=Rung.FENTRY, btf=number)


def _entry(
    kernel: RunningKernel, point: KernelFunction, name: str | None, calls: Calls | None
) -> Probe | str:
    del calls
    if name is None:
        return "inlined or absent in this kernel"
    target = _entry_address(kernel, name)
    registers = _registers(kernel, point, name, target.symbol)
    return Probe(point.kind, Rung.KPROBE, target.symbol, (target,), (), registers, point.ret)


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
    target = _entry_address(kernel, name or "")
    registers = _registers(kernel, point, name or "", target.symbol)
    return Probe(point.kind, Rung.CALLSITE, target.symbol, entries, exits, registers, point.ret)


def _breakpoint(
    kernel: RunningKernel, point: KernelFunction, name: str | None, calls: Calls | None
) -> Probe | str:
    if name is None:
        return "inlined or absent in this kernel"
    if not point.breakpoints:
        return "too seldom called for one of the few breakpoints"
    target = _entry_address(kernel, name)
    if not target.address:
        return "its address is not known: read /proc/kallsyms as root"
    sites = _sites(kernel, name, calls)
    # Slots are few (2 to 16): the end is watched only if there is a single return address.
    only = not point.exported and not (calls and calls.tails)
    exits = () if isinstance(sites, str) or len(sites[1]) != 1 or not only else sites[1]
    registers = _registers(kernel, point, name, target.symbol)
    return Probe(
        point.kind,
        Rung.BREAKPOINT,
        target.symbol,
        (target,),
        exits,
        registers,
        point.ret,
        bool(exits),
    )


def _sites(
    kernel: RunningKernel, name: str | None, calls: Calls | None
) -> tuple[tuple[ProbeAddress, ...], tuple[ProbeAddress, ...]] | str:
    """Return the call instructions and, if reaching them means a return, those behind them."""
    if name is None:
        return "inlined or absent in this kernel"
    if kernel.text is None or kernel.names is None:
        return kernel.missing.get("text") or kernel.missing.get("kallsyms", "no kernel text")
    if calls is None:
        return "its call instructions are not looked for, or the kernel's text cannot be read"
    if calls.hidden or not 0 < len(calls.calls) <= _MOST_SITES:
        count = len(calls.calls) or "no"
        return calls.hidden or f"{count} call instructions lead to it: 1 to {_MOST_SITES} can do"
    entries = tuple(_named(kernel, va) for va in calls.calls)
    unclear = [target for target in entries if not _unique(kernel, target)]
    if unclear:
        return f"a call to it is at 0x{unclear[0].address:016x}, in a function of no unique name"
    return entries, () if calls.jumped else tuple(_named(kernel, va + 4) for va in calls.calls)


def _named(kernel: RunningKernel, va: int) -> ProbeAddress:
    """Return the running kernel's address for ``va`` of the text, with its symbol."""
    here = (va + kernel.slide) % (1 << 64)
    symbol = kernel.names.containing(here) if kernel.names else None
    return (
        ProbeAddress(symbol.name, here - symbol.va, here) if symbol else ProbeAddress("", 0, here)
    )


def _unique(kernel: RunningKernel, target: ProbeAddress) -> bool:
    """Return whether the symbol names only this address: a kprobe goes by name."""
    symbols = kernel.names.find([target.symbol]) if kernel.names and target.symbol else {}
    return any(symbol.va + target.offset == target.address for symbol in symbols.values())


RUNGS: Final[
    Mapping[Rung, Callable[[RunningKernel, KernelFunction, str | None, Calls | None], Probe | str]]
] = {
    Rung.FENTRY: _fentry,
    Rung.KPROBE: _entry,
    Rung.CALLSITE: _callsite,
    Rung.BREAKPOINT: _breakpoint,
}
