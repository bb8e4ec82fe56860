# SPDX-License-Identifier: GPL-2.0-only
"""Builds the probes that are tried on a harmless function: what does each kind of them cost here?

The function is a system call's that does next to nothing, getppid: one call of it from this thread
is one call of the kernel's function. Promises: a rung that it cannot be watched on is left out.
"""

from typing import Final

import numpy as np

from tracers.kinds import Kind
from tracers.live.probes.points import Probe, ProbeAddress, Rung
from tracers.live.probes.running_kernel import HARMLESS, RunningKernel

#: Registers read, as many as of vmemmap_populate.
_REGISTERS: Final = (("start", 0), ("end", 1))
_BL_MASK, _BL = 0xFC00_0000, 0x9400_0000  # Arm Architecture Reference Manual, C6.2 "BL"


def harmless(kernel: RunningKernel) -> dict[Rung, Probe]:
    """Return the probe of each rung that the function can be watched on."""
    name = HARMLESS.get(kernel.arch, "")
    symbol = kernel.names.find([name]).get(name) if kernel.names else None
    if symbol is None:
        return {}
    entry = ProbeAddress(symbol.name, 0, symbol.va)

    def made(
        rung: Rung, begin: ProbeAddress, ends: tuple[ProbeAddress, ...] = (), btf: int = 0
    ) -> Probe:
        return Probe(Kind.SECTION_ADD, rung, name, (begin,), ends, _REGISTERS, ret="int", btf=btf)

    probes = {Rung.KPROBE: made(Rung.KPROBE, entry)}
    if number := kernel.functions.get(name):
        probes[Rung.FENTRY] = made(Rung.FENTRY, entry, btf=number)
    if (at := _call(kernel, name)) is not None:
        begin, end = (ProbeAddress(name, at + more, symbol.va + at + more) for more in (0, 4))
        probes[Rung.CALLSITE] = made(Rung.CALLSITE, begin, (end,))
        probes[Rung.BREAKPOINT] = made(Rung.BREAKPOINT, entry, (end,))
    return probes


def _call(kernel: RunningKernel, name: str) -> int | None:
    """Return where the function's last call is, in bytes from its start; None: not known."""
    text = kernel.text
    if text is None or kernel.arch != "aarch64":
        return None
    symbol = text.symbols([name]).get(name)
    if symbol is None:
        return None
    first, end = text.extent(symbol)
    code = text.read(first, end - first)
    if code is None:
        return None
    words = np.frombuffer(code[: len(code) & ~3], "<u4")
    calls = np.flatnonzero((words & np.uint32(_BL_MASK)) == np.uint32(_BL))
    return int(calls[-1]) * 4 if len(calls) else None
