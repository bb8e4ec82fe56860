# SPDX-License-Identifier: GPL-2.0-only
"""Says which probes a kernel would refuse, from its image alone.

A command line cannot be tried before the machine boots with it. Promises: where the image does not
show that a probe is accepted, the answer is a reason, never "yes".

Sources: kernel/trace/trace_kprobe.c, within_notrace_func() (without
CONFIG_KPROBE_EVENTS_ON_NOTRACE); arch/arm64/kernel/probes/decode-insn.c,
aarch64_insn_is_steppable() and is_probed_address_atomic(); kernel/kprobes.c,
check_kprobe_address_safe(): no breakpoint and no jump label. An entry that can be traced begins
with two nops, behind a bti at most (-fpatchable-function-entry, since 3b23e4991fb6, 5.5).
"""

import struct
from collections.abc import Iterable
from typing import Final

from tracers.constants.image.kernel_image import KernelImage
from tracers.constants.image.warn_sites import probeable
from tracers.live.probes.points import Probe, ProbeAddress, Rung

NO_BREAKPOINTS: Final = "a command line cannot set hardware breakpoints"
_NOP: Final = 0xD503201F
_MOV_X9_LR: Final = 0xAA1E03E9  # what the first nop becomes (arch/arm64/kernel/ftrace.c)
_LANDINGS: Final = frozenset((0xD503245F, 0xD503249F, 0xD50324DF))  # bti c, j, jc
_ATOMIC: Final = 32  # instructions looked back at: MAX_ATOMIC_CONTEXT_SIZE is 128 bytes
#: What cannot be stepped and is not simulated: mask and value of the opcode.
_REFUSED: Final = (
    (0xFF000000, 0xD4000000),  # brk, svc, hvc, smc, hlt
    (0xFFC00000, 0xD5000000),  # msr, mrs, hints, barriers: too many kinds to tell apart here
    (0x3B000000, 0x18000000),  # loads of a literal
    (0x3F800000, 0x08000000),  # exclusive loads and stores
    (0xFE000000, 0xD6000000),  # branches to a register: those with authentication are not simulated
)
_EXCLUSIVE, _LOAD, _STORE = 0x3F400000, 0x08400000, 0x08000000


class Refusals:
    """The probes that the kernel of one image would refuse."""

    def __init__(self, image: KernelImage, probes: Iterable[Probe]) -> None:
        """Look at the functions that ``probes`` are in: their table is read once."""
        self._image = image
        places = (place for probe in probes for place in (*probe.entries, *probe.exits))
        self._states = probeable(image, {place.symbol for place in places})

    def why(self, probe: Probe) -> str | None:
        """Return why a probe would be refused; None: the kernel takes it."""
        if probe.rung is Rung.BREAKPOINT:
            return NO_BREAKPOINTS
        places = (*probe.entries, *probe.exits)
        return next((why for place in places if (why := self._refused(place))), None)

    def _refused(self, place: ProbeAddress) -> str | None:
        state = self._traceable(place.symbol)
        if state != "traceable":
            return state if not place.offset else f"{place.symbol}, which calls it: {state}"
        why = self._unsteppable(place) if place.offset else ""
        return f"{place}: {why}" if why else None

    def _unsteppable(self, place: ProbeAddress) -> str:
        """Return why the instruction inside a function cannot be probed; "" if it can."""
        symbol = self._image.symbol(place.symbol)
        at = symbol.va + place.offset if symbol else 0
        begins = max(symbol.va, at - 4 * _ATOMIC) if symbol else 0
        code = self._image.read(begins, at + 4 - begins) if symbol else None
        if not code or len(code) % 4:
            return "its code is not in this image"
        *before, word = struct.unpack(f"<{len(code) // 4}I", code)
        if any(word & mask == value for mask, value in _REFUSED):
            return f"its instruction (0x{word:08x}) may not be stepped over"
        for earlier in reversed(before):
            if earlier & _EXCLUSIVE == _STORE:
                return ""
            if earlier & _EXCLUSIVE == _LOAD:
                return "inside an atomic sequence"
        return ""

    def _traceable(self, name: str) -> str:
        """Return "traceable" or why not: by the table, or by the function's first words."""
        state = self._states.get(name, "unknown")
        if state != "unknown":
            return state
        symbol = self._image.symbol(name)
        code = self._image.read(symbol.va, 12) if symbol else None
        if not code or len(code) < 12:
            return "the image does not show whether it can be traced"
        words = struct.unpack("<3I", code)
        first = 1 if words[0] in _LANDINGS else 0
        patched = words[first] in (_NOP, _MOV_X9_LR)
        return "traceable" if patched and words[first + 1] == _NOP else "notrace"
