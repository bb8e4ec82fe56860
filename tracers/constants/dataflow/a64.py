# SPDX-License-Identifier: GPL-2.0-only
"""Carries out one arm64 instruction on the known values of registers, flags and stack slots.

Whatever is loaded from memory, returned by a call or not modelled is unknown (`None`), never
assumed. Stack slots are the exception: a register saved at [sp + i] reads back, until the stack
frame's address leaves the function.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from capstone import CS_AC_WRITE, arm64

from tracers.constants.dataflow.intervals import M64, Ranges
from tracers.constants.dataflow.values import (
    ARITHMETIC,
    Flags,
    Value,
    conditional_source,
    const,
    invert,
    low32,
    minus,
    plus,
    shift,
)

REG = arm64.ARM64_OP_REG
Insn = Any  # capstone's CsInsn and Arm64Op: the package ships no types
Operand = Any


@dataclass(slots=True)
class State:
    """Registers, flags and stack slots; `sets` are the argument values that take this path."""

    regs: list[Value]
    sets: tuple[Ranges, ...]
    sp: Value = ("s", 0)
    flags: Flags = None
    stack: dict[int, Value] = field(default_factory=dict)
    escaped: bool = False

    def copy(self) -> "State":
        """Return a copy that can take another path."""
        return replace(self, regs=self.regs[:], stack=dict(self.stack))

    def call(self) -> None:
        """Forget what a called function may change (AAPCS64): x0-x18, x30, flags, stack slots."""
        self.escaped |= any(value is not None and value[0] == "s" for value in self.regs[:8])
        self.regs[:19] = [None] * 19
        self.regs[30] = self.flags = None
        if self.escaped:
            self.stack.clear()


_SHIFTS = {arm64.ARM64_SFT_LSL: "lsl", arm64.ARM64_SFT_LSR: "lsr", arm64.ARM64_SFT_ASR: "asr"}
_ALIAS = {"fp": 29, "lr": 30}
_SIZES = {"b": 1, "h": 2, "w": 4}


def register(name: str) -> tuple[str, int, int] | None:
    """("x" or "sp" or "zr", number, bits) of a general register; None for any other kind."""
    if name in _ALIAS:
        return ("x", _ALIAS[name], 64)
    if name in ("sp", "wsp"):
        return ("sp", 0, 32 if name == "wsp" else 64)
    if name in ("xzr", "wzr"):
        return ("zr", 0, 32 if name == "wzr" else 64)
    if name[:1] in ("x", "w") and name[1:].isdigit():
        return ("x", int(name[1:]), 64 if name[0] == "x" else 32)
    return None


def is64(insn: Insn) -> bool:
    """Whether the first operand is an x register."""
    reg = register(insn.reg_name(insn.operands[0].reg))
    return reg is not None and reg[2] == 64


def get(state: State, name: str) -> Value:
    """What a register holds."""
    reg = register(name)
    if reg is None:
        return None
    kind, number, bits = reg
    value: Value = {"zr": ("c", 0), "sp": state.sp}.get(kind) if kind != "x" else state.regs[number]
    return value if bits == 64 else low32(value)


def put(state: State, name: str, value: Value) -> None:
    """Write a register; a w register clears the upper half."""
    reg = register(name)
    if reg is None or reg[0] == "zr":
        return
    value = value if reg[2] == 64 else low32(value)
    if reg[0] == "sp":
        state.sp = value
    else:
        state.regs[reg[1]] = value


def operand(state: State, insn: Insn, op: Operand, bits: int) -> Value:
    """An operand's value: immediate or register, shifted."""
    if op.type == arm64.ARM64_OP_IMM:
        value: Value = ("c", op.imm & ((1 << bits) - 1))
    elif op.type == arm64.ARM64_OP_REG:
        value = get(state, insn.reg_name(op.reg))
    else:
        return None
    if op.ext:
        return value if op.ext == arm64.ARM64_EXT_UXTX and not op.shift.value else None
    if op.shift.type:
        kind = _SHIFTS.get(op.shift.type)
        return shift(kind, value, op.shift.value, bits) if kind else None
    return value


_COMPARE = {"cmp": "sub", "cmn": "add", "tst": "and"}
_SETTING = {"subs": "sub", "adds": "add", "ands": "and"}
_PLAIN = {"add", "sub", "and", "orr", "eor", *_SETTING}
_INVERTED = {"bic": "and", "bics": "and", "orn": "orr", "eon": "eor"}


def compute(state: State, insn: Insn) -> bool:
    """Carry out an instruction on registers and flags that has one outcome; False: not one."""
    name: str = insn.mnemonic
    ops = insn.operands
    if not ops or ops[0].type != REG or register(insn.reg_name(ops[0].reg)) is None:
        return False
    bits = 64 if is64(insn) else 32
    values = [None, *(operand(state, insn, op, bits) for op in ops[1:])]
    if name in _COMPARE:
        left = get(state, insn.reg_name(ops[0].reg))
        state.flags = ("cmp", _COMPARE[name], left, values[1], bits == 64, insn.address)
        return True
    if name in _PLAIN or name in _INVERTED:
        value = _binary(state, insn, values, bits)
    elif name in ("lsl", "lsr", "asr") and ops[2].type == arm64.ARM64_OP_IMM:
        value = shift(name, values[1], ops[2].imm, bits)
    elif name in ("ubfx", "sbfx") and ops[2].imm + ops[3].imm == bits:
        value = shift("lsr" if name == "ubfx" else "asr", values[1], ops[2].imm, bits)
    elif name in _UNARY:
        value = _unary(state, insn, values[1], bits)
    else:
        return False
    put(state, insn.reg_name(ops[0].reg), value)
    return True


_UNARY = {"mov", "movz", "movn", "mvn", "movk", "adr", "adrp", "neg", "negs"}


def _unary(state: State, insn: Insn, source: Value, bits: int) -> Value:
    name, op = insn.mnemonic, insn.operands[1]
    match name:
        case "movn" | "mvn":
            return invert(source)
        case "adr" | "adrp":
            return ("p", op.imm & M64)
        case "movk":
            old = const(get(state, insn.reg_name(insn.operands[0].reg)))
            hole = M64 ^ 0xFFFF << op.shift.value
            new = (op.imm & 0xFFFF) << op.shift.value
            return None if old is None else ("c", old & hole | new)
        case "neg" | "negs":
            if name == "negs":
                state.flags = ("cmp", "sub", ("c", 0), source, bits == 64, insn.address)
            return minus(("c", 0), source) if bits == 64 or const(source) is not None else None
    return source


def _binary(state: State, insn: Insn, values: list[Value], bits: int) -> Value:
    """Any of `_PLAIN`, flags included."""
    name: str = insn.mnemonic
    left, right = values[1:3]
    if name in _INVERTED:
        right = invert(right) if bits == 64 else low32(invert(right))
    kind = _SETTING.get(name) or _INVERTED.get(name) or name
    if name in _SETTING or name == "bics":
        state.flags = ("cmp", kind, left, right, bits == 64, insn.address)
    if bits == 32 and (const(left) is None or const(right) is None):
        return None  # a carry out of 32 bits is lost
    return ARITHMETIC[kind](left, right)


def memory(state: State, insn: Insn, literal: Callable[[int, int], int | None]) -> bool:
    """Carry out a load or store as far as stack slots are concerned; False: not one."""
    name: str = insn.mnemonic
    ops = insn.operands
    if not name.startswith(("ldr", "ldur", "ldp", "str", "stur", "stp")):
        return False
    load, pair = name.startswith("ld"), name in ("ldp", "stp")
    regs = [insn.reg_name(op.reg) for op in (ops[:2] if pair else ops[:1])]
    at = ops[len(regs)]
    first = register(regs[0])
    simple = name in ("ldr", "ldur", "ldp", "str", "stur", "stp") and first is not None
    size = _SIZES.get(name[-1], 0) if not simple else first[2] // 8 if first else 0
    if at.type == arm64.ARM64_OP_IMM:  # ldr x0, label
        number = literal(at.imm & M64, size) if simple and load else None
        put(state, regs[0], None if number is None else ("c", number))
        return True
    if at.type != arm64.ARM64_OP_MEM:
        return False
    base = insn.reg_name(at.mem.base)
    start, after = get(state, base), None
    post = insn.writeback and len(ops) > len(regs) + 1
    address = None if at.mem.index else plus(start, 0 if post else at.mem.disp)
    if insn.writeback:
        after = plus(start, ops[-1].imm if post else at.mem.disp)
    offset = address[1] if address is not None and address[0] == "s" else None
    if load:
        for i, reg in enumerate(regs):
            known = simple and size == 8 and offset is not None
            put(state, reg, state.stack.get((offset or 0) + 8 * i) if known else None)
    else:
        _store(state, [get(state, reg) for reg in regs], offset, size if simple else 0)
    if insn.writeback:
        put(state, base, after)
    return True


def _store(state: State, values: list[Value], offset: int | None, size: int) -> None:
    state.escaped |= any(value is not None and value[0] == "s" for value in values)
    if offset is None:  # elsewhere in memory, unless our stack frame's address has escaped
        if state.escaped:
            state.stack.clear()
        return
    width = (size or 64) * len(values)
    for slot in [slot for slot in state.stack if offset - 8 < slot < offset + width]:
        del state.stack[slot]
    if size == 8:
        for i, value in enumerate(values):
            state.stack[offset + 8 * i] = value


def forget(state: State, insn: Insn) -> None:
    """Forget everything an instruction we do not model may change."""
    _, written = insn.regs_access()
    names = {insn.reg_name(reg) for reg in written}
    names |= {
        insn.reg_name(op.reg)
        for i, op in enumerate(insn.operands)
        if op.type == arm64.ARM64_OP_REG and (op.access & CS_AC_WRITE or i == 0)
    }
    names |= {insn.reg_name(op.mem.base) for op in insn.operands if op.mem.base and insn.writeback}
    for name in names:
        if name is not None:
            put(state, name, None)
    if insn.update_flags or "nzcv" in names:
        state.flags = None
    if any(op.type == arm64.ARM64_OP_MEM for op in insn.operands):
        state.stack.clear()


_TESTS = {"cbz": "eq", "cbnz": "ne", "tbz": "eq", "tbnz": "ne"}


def condition_of(insn: Insn) -> str:
    """Return the condition, which the assembler writes last."""
    return str(insn.op_str).rsplit(", ", 1)[-1]


def branch(state: State, insn: Insn) -> tuple[Flags, str, int] | None:
    """Flags, condition and target of a conditional branch; None: it is none."""
    name: str = insn.mnemonic
    if name.startswith(("b.", "bc.")):
        return state.flags, name.split(".")[1], insn.operands[0].imm & M64
    if name not in _TESTS:
        return None
    reg = insn.reg_name(insn.operands[0].reg)
    value, wide = get(state, reg), is64(insn)
    if name.startswith("cb"):
        zero = ("cmp", "sub", value, ("c", 0), wide, insn.address)
        return zero, _TESTS[name], insn.operands[1].imm & M64
    mask: Value = ("c", 1 << insn.operands[1].imm)
    if value is not None and len(value) == 3 and insn.operands[1].imm != 63:
        value = None
    wide = wide or insn.operands[1].imm > 31
    flags = ("cmp", "and", value, mask, wide, insn.address)
    return flags, _TESTS[name], insn.operands[2].imm & M64


def select(state: State, insn: Insn, taken: bool) -> None:
    """A conditional select or compare, its condition known to hold or not."""
    ops, name = insn.operands, insn.mnemonic
    bits = 64 if is64(insn) else 32
    if name in ("ccmp", "ccmn"):
        left, right = (operand(state, insn, op, bits) for op in ops[:2])
        kind = "sub" if name == "ccmp" else "add"
        compared: Flags = ("cmp", kind, left, right, bits == 64, insn.address)
        state.flags = compared if taken else ("nzcv", ops[2].imm & 15)
        return
    target = insn.reg_name(ops[0].reg)
    if name in ("cset", "csetm"):
        put(state, target, ("c", (1 if name == "cset" else M64) if taken else 0))
        return
    sources = [get(state, insn.reg_name(op.reg)) for op in ops[1:] if op.type == REG]
    if name in ("cinc", "cinv", "cneg"):
        source, plain, name = sources[0], not taken, "cs" + name[1:]
    else:
        source, plain = (sources[0] if taken else sources[1]), taken
    put(state, target, source if plain else conditional_source(name, source, bits))


def select_unknown(state: State, insn: Insn) -> None:
    """The same with an unknown condition."""
    if insn.mnemonic in ("ccmp", "ccmn"):
        state.flags = None
    else:
        put(state, insn.reg_name(insn.operands[0].reg), None)
