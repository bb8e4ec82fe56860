# SPDX-License-Identifier: GPL-2.0-only
"""Tracks a function's arguments through its arm64 code: to its WARN, and to the calls it makes.

`guard` finds the (start, end) for which the function runs into its WARN: it follows every path
through the code as long as the arguments alone decide it, splitting the argument space exactly at
each comparison, so that it does not matter how the compiler wrote them. `calls` finds what is in
the argument registers at each call, by constant propagation over the whole function, joining paths
that meet. Both promise to end after a bounded number of instructions, on any bytes, and to raise
nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from capstone import CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN, Cs, CsError

from tracers.constants.dataflow import a64
from tracers.constants.dataflow.a64 import Insn, State
from tracers.constants.dataflow.intervals import (
    EVERY,
    M64,
    Ranges,
    complement,
    count,
    intersection,
    ranges,
)
from tracers.constants.dataflow.values import Flags, Value, decide

BUG_BRK = 0x800  # arch/arm64/include/asm/brk-imm.h: WARN and BUG
MAX_STEPS = 20_000
MAX_PATHS = 256
ARGUMENTS = 2  # start and end; the others are not tracked

_SELECTS = {"csel", "csinc", "csinv", "csneg", "cset", "csetm", "cinc", "cinv", "cneg"}
_LEAVING = {"ret", "retaa", "retab", "br", "braa", "brab", "braaz", "brabz", "eret"}
_HINTS = ("nop", "pac", "aut", "xpac", "bti", "hint")
_INDIRECT_CALLS = {"blr", "blraa", "blrab", "blraaz", "blrabz"}


@dataclass(frozen=True, slots=True)
class Guard:
    """Which arguments pass: exactly first >= `low` and second <= `high`; None: not known."""

    low: int | None
    high: int | None
    reason: str
    """Why a bound is missing; empty when none is."""
    rests_on: tuple[int, ...] = ()
    """Addresses of the comparisons and of the WARN."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call and what its argument registers x0-x7 hold when it is made."""

    at: int
    target: int
    args: tuple[Value, ...]


@dataclass(slots=True)
class _Outcomes:
    warn: list[tuple[Ranges, ...]] = field(default_factory=list)
    clear: list[tuple[Ranges, ...]] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    """Where paths without a WARN were left, because the arguments did not decide."""
    sites: set[int] = field(default_factory=set)
    lost: str = ""


@dataclass(slots=True)
class _Path:
    pc: int
    state: State
    visited: frozenset[int]


class Follower:
    """One function's code, decoded where it is reached."""

    def __init__(self, code: bytes, va: int) -> None:
        self._code = code
        self._va = va
        self._decoder = Cs(CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN)
        self._decoder.detail = True
        self._decoded: dict[int, Insn | None] = {}

    def insn(self, pc: int) -> Insn | None:
        """The instruction at an address; None outside the function or where it is none."""
        if pc not in self._decoded:
            self._decoded[pc] = self._decode(pc)
        return self._decoded[pc]

    def _decode(self, pc: int) -> Insn | None:
        offset = pc - self._va
        if offset % 4 or not 0 <= offset <= len(self._code) - 4:
            return None
        try:
            return next(self._decoder.disasm(self._code[offset : offset + 4], pc, 1), None)
        except CsError:
            return None

    def text(self, pc: int) -> str:
        """Address and instruction as text."""
        insn = self.insn(pc)
        return f"{pc:#x}" + (f" {insn.mnemonic} {insn.op_str}".rstrip() if insn else "")

    def _literal(self, at: int, size: int) -> int | None:
        """A constant the compiler put between the code of this function."""
        offset = at - self._va
        if size not in (4, 8) or not 0 <= offset <= len(self._code) - size:
            return None
        number: int = struct.unpack_from("<Q" if size == 8 else "<I", self._code, offset)[0]
        return number

    def _execute(self, state: State, insn: Insn) -> None:
        """Carry out any instruction that goes on to the next one."""
        if insn.mnemonic.startswith(_HINTS) and not insn.mnemonic.startswith("pacga"):
            return  # what they sign is a return address
        if not a64.compute(state, insn) and not a64.memory(state, insn, self._literal):
            a64.forget(state, insn)

    # -- the guard ------------------------------------------------------------------------------

    def guard(self) -> Guard:
        """Return for which first and second arguments the function gets past its WARN."""
        outcomes = self._follow_paths()
        used = tuple(sorted(outcomes.used | outcomes.sites))
        if outcomes.lost or not outcomes.warn:
            return Guard(None, None, outcomes.lost or "the arguments alone decide no WARN here")
        sizes = sum(_volume(box) for box in (*outcomes.warn, *outcomes.clear))
        if sizes != (M64 + 1) ** ARGUMENTS:  # if ever, our arithmetic is wrong
            return Guard(None, None, "the ways through the code do not add up")
        if self._reaches(outcomes.open, outcomes.sites):
            return Guard(None, None, "its WARN is reached in other ways too")
        first, second = (
            ranges(p for box in outcomes.clear for p in box[i]) for i in range(ARGUMENTS)
        )
        if sum(_volume(box) for box in outcomes.clear) != count(first) * count(second):
            return Guard(None, None, "start and end are not checked independently of each other")
        if len(first) != 1 or len(second) != 1 or first[0][1] != M64 or second[0][0] != 0:
            return Guard(None, None, "what the WARN lets pass is not start >= A and end <= B")
        low, high = first[0][0] or None, second[0][1]
        missing = [] if low else ["start is not checked"]
        missing += ["end is not checked"] if high == M64 else []
        return Guard(low, None if high == M64 else high, ", ".join(missing), used)

    def _follow_paths(self) -> _Outcomes:
        outcomes = _Outcomes()
        regs: list[Value] = [("f", n, ()) for n in range(8)] + [None] * 23
        todo = [_Path(self._va, State(regs, (EVERY,) * ARGUMENTS), frozenset())]
        steps = started = 0
        while todo and not outcomes.lost:
            path = todo.pop()
            started += 1
            if started > MAX_PATHS:
                outcomes.lost = "the code branches too much to be followed"
            for more in self._run(path, outcomes):
                steps += 1
                if more is not None:
                    todo.append(more)
                if steps > MAX_STEPS:
                    outcomes.lost = "the code is too long to be followed"
                    break
        return outcomes

    def _run(self, path: _Path, outcomes: _Outcomes) -> Iterator[_Path | None]:
        """Follow one path to its end, yielding once an instruction: another path, or None."""
        while True:
            insn = self.insn(path.pc)
            if insn is None:
                outside = not self._va <= path.pc < self._va + len(self._code)
                what = "leaves the function" if outside else "is not an instruction we know"
                outcomes.lost = f"the code at {path.pc:#x} {what}"
                return
            if path.pc in path.visited:
                outcomes.open.add(path.pc)
                outcomes.clear.append(path.state.sets)
                return
            path.visited |= {path.pc}
            name: str = insn.mnemonic
            if name == "brk" or name in _LEAVING or name in ("udf", "hlt"):
                warn = name == "brk" and insn.operands[0].imm == BUG_BRK
                (outcomes.warn if warn else outcomes.clear).append(path.state.sets)
                if warn:
                    outcomes.sites.add(path.pc)
                return
            if name == "b" and not self._inside(insn.operands[0].imm & M64):
                outcomes.clear.append(path.state.sets)
                return
            after = self._after(path, insn, outcomes)
            if after is None:
                outcomes.open.add(path.pc)
                outcomes.clear.append(path.state.sets)
                return
            if not after:  # no argument gets here
                return
            yield None
            yield from after[1:]
            path = after[0]

    def _reaches(self, starts: set[int], sites: set[int]) -> bool:
        """Whether any path at all leads from `starts` to `sites`."""
        todo, visited = list(starts), set(starts)
        while todo:
            pc = todo.pop()
            insn = self.insn(pc)
            if pc in sites:
                return True
            if insn is None or insn.mnemonic in _LEAVING or insn.mnemonic in ("udf", "hlt"):
                continue
            name = insn.mnemonic
            jumps = name == "b" or name.startswith(("b.", "bc.", "cb", "tb"))
            after = {insn.operands[-1].imm & M64} if jumps else set()
            after |= {pc + 4} if name != "b" else set()
            fresh = {at for at in after - visited if self._inside(at)}
            visited |= fresh
            todo += fresh
        return False

    def _inside(self, pc: int) -> bool:
        return self._va <= pc < self._va + len(self._code)

    def _after(self, path: _Path, insn: Insn, outcomes: _Outcomes) -> list[_Path] | None:
        """Where an instruction leads; None: the arguments do not decide that."""
        state, pc = path.state, insn.address + 4
        name: str = insn.mnemonic
        jump = a64.branch(state, insn)
        if jump is not None:
            flags, cc, target = jump
            ends = self._split(state, flags, cc, outcomes)
            if ends is None:
                return None
            return [_Path(target if taken else pc, end, path.visited) for taken, end in ends]
        path.pc = pc
        if name == "b":
            path.pc = insn.operands[0].imm & M64
        elif name == "bl" or name in _INDIRECT_CALLS:
            state.call()
        elif name in _SELECTS or name in ("ccmp", "ccmn"):
            picked = self._split(state, state.flags, a64.condition_of(insn), outcomes)
            if picked is None:
                a64.select_unknown(state, insn)
                return [path]
            for taken, end in picked:
                a64.select(end, insn, taken)
            return [_Path(pc, end, path.visited) for _, end in picked]
        else:
            self._execute(state, insn)
        return [path]

    def _split(
        self, state: State, flags: Flags, cc: str, outcomes: _Outcomes
    ) -> list[tuple[bool, State]] | None:
        """The state on either side of a condition, sides nothing reaches left out."""
        decided = decide(flags, cc)
        if decided is None:
            return None
        if isinstance(decided, bool):
            return [(decided, state)]
        argument, values = decided
        if argument >= ARGUMENTS:
            return None
        if flags is not None and len(flags) == 6:
            outcomes.used.add(flags[5])
        out = []
        for taken, part in ((True, values), (False, complement(values))):
            sets = list(state.sets)
            sets[argument] = intersection(sets[argument], part)
            if sets[argument]:
                end = state.copy()
                end.sets = tuple(sets)
                out.append((taken, end))
        return out

    # -- the calls ------------------------------------------------------------------------------

    def calls(self) -> tuple[Call, ...] | None:
        """Every direct call (tail calls too) and its arguments, by address; None: too long."""
        calls: dict[int, Call] = {}
        whole = self._propagate(calls) is not None
        return tuple(calls[at] for at in sorted(calls)) if whole else None

    def registers_at(self, pc: int) -> tuple[Value, ...]:
        """What x0-x30 hold before an instruction on every path to it; empty: not known."""
        states = self._propagate({}) or {}
        return tuple(states[pc].regs) if pc in states else ()

    def _propagate(self, calls: dict[int, Call]) -> dict[int, State] | None:
        """The state before every instruction that is reached; None: too long. Fills `calls`."""
        entry: list[Value] = [("f", n, ()) for n in range(8)] + [None] * 23
        states = {self._va: State(entry, ())}
        todo = [self._va]
        for _ in range(MAX_STEPS):
            if not todo:
                return states
            pc = todo.pop()
            insn = self.insn(pc)
            if insn is None:
                continue
            state = states[pc].copy()
            for target in self._successors(state, insn, calls):
                if not self._inside(target):
                    continue
                old = states.get(target)
                new = state.copy() if old is None else _join(old, state)
                if old is None or new != old:
                    states[target] = new
                    todo.append(target)
        return None

    def _successors(self, state: State, insn: Insn, calls: dict[int, Call]) -> list[int]:
        """Carry out an instruction whatever its condition: the addresses it may lead to."""
        name, pc = insn.mnemonic, insn.address + 4
        jump = a64.branch(state, insn)
        if jump is not None:
            taken = decide(jump[0], jump[1])
            return [jump[2] if taken else pc] if isinstance(taken, bool) else [jump[2], pc]
        if name in ("bl", "b"):
            target = insn.operands[0].imm & M64
            if name == "bl" or not self._inside(target):
                calls[insn.address] = Call(insn.address, target, tuple(state.regs[:8]))
                state.call()
                return [pc] if name == "bl" else []
            return [target]
        if name in _INDIRECT_CALLS:
            state.call()
        elif name in _LEAVING or name in ("udf", "hlt"):
            return []
        elif name in _SELECTS or name in ("ccmp", "ccmn"):
            taken = decide(state.flags, a64.condition_of(insn))
            if isinstance(taken, bool):
                a64.select(state, insn, taken)
            else:
                a64.select_unknown(state, insn)
        elif name != "brk":  # a WARN comes back
            self._execute(state, insn)
        return [pc]


def _volume(box: tuple[Ranges, ...]) -> int:
    product = 1
    for side in box:
        product *= count(side)
    return product


def _join(a: State, b: State) -> State:
    """Return what holds on both of two paths that meet."""
    return State(
        [x if x == y else None for x, y in zip(a.regs, b.regs, strict=True)],
        a.sets,
        a.sp if a.sp == b.sp else None,
        a.flags if a.flags == b.flags else None,
        {slot: value for slot, value in a.stack.items() if b.stack.get(slot) == value},
        a.escaped or b.escaped,
    )
