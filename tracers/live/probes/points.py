# SPDX-License-Identifier: GPL-2.0-only
"""The types of live capture: probes, their addresses and rungs, and the kernel-side filters.

A *probe point* is a kernel function whose calls we want to see (a ``Kind``). A *rung* is a way to
see them; the ladder tries rungs from the most to the least direct. A ``Probe`` is one rung for the
running kernel: addresses, and which register holds which argument. Engines attach probes and do
not know how they were found.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from tracers.kinds import Kind, Source


class Rung(Enum):
    """A way to observe a call, the most direct first; the value is the word shown and stored."""

    FENTRY = "fentry"  # BPF trampolines on the function's entry and return: no exception
    KPROBE = "kprobe"  # on the function's entry, and a return probe
    CALLSITE = "callsite"  # on the call instruction and the one behind it, in traceable callers
    BREAKPOINT = "breakpoint"  # hardware breakpoints on the entry and the return address
    DERIVED = "derived"  # computed from __add_pages: no probe at all

    @property
    def source(self) -> Source:
        """How rows of this rung are marked."""
        return Source[self.name]


class Watch(Enum):
    """Which calls are worth a probe; the value is the word of the option, and stored."""

    ALL = "all"
    LIGHT = "light"  # every address, by entries alone; of the times only those of operations
    TIMING = "timing"  # only what is timed: where a populate call falls is derived


@dataclass(frozen=True, slots=True)
class ProbeAddress:
    """One instruction of the running kernel: u64 address, and symbol + offset for kprobes."""

    symbol: str  # as in kallsyms, with its suffix
    offset: int  # bytes
    address: int

    def __str__(self) -> str:
        return f"{self.symbol}+0x{self.offset:x}" if self.offset else self.symbol


@dataclass(frozen=True, slots=True)
class Probe:
    """One way to observe one probe point of the running kernel.

    ``entries``: where a call begins (the function itself, or every call instruction).
    ``exits``: where it ends, one for each entry of a call site; empty with FENTRY and KPROBE (its
    return is meant) and where the end cannot be seen (then ``timed`` is False).
    ``registers``: (schema field, number of the register that holds it at an entry); for WARN:
    "site" (a C string), "line" and "caller" (address of the WARN).
    ``ret``: what x0 holds at an exit: "int" (32 bits, signed), "pointer", or None for void.
    ``btf``: with FENTRY the number of the function's type in the kernel's BTF.
    """

    kind: Kind
    rung: Rung
    function: str
    entries: tuple[ProbeAddress, ...]
    exits: tuple[ProbeAddress, ...] = ()
    registers: tuple[tuple[str, int], ...] = ()
    ret: str | None = None
    timed: bool = True
    btf: int = 0

    def __str__(self) -> str:
        sides = "entry+return" if self.timed else "entry"
        if self.rung is Rung.CALLSITE:
            where = ", ".join(str(target) for target in self.entries)
            return f"callsite {sides} (bl at {where})"
        return f"{self.rung.value} {sides}"


@dataclass(frozen=True, slots=True)
class Filters:
    """What is dropped on the kernel side; ``None`` drops nothing.

    ``pid``: keep this thread group. ``comm``: keep threads of this name (up to 15 bytes).
    ``window``: keep populate and free calls not inside [start, end); all other kinds stay.
    """

    pid: int | None = None
    comm: str | None = None
    window: tuple[int, int] | None = None


#: The most argument registers any probe needs (AAPCS64: x0 to x7 hold arguments).
REGISTERS: Final = 4
#: Of all code, whoever's.
ALL: Final = ((0, (1 << 64) - 1),)
