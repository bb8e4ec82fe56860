# SPDX-License-Identifier: GPL-2.0-only
"""Reads out of get_free_mem_region()'s own code where it begins to search, and what it steps by.

Promises: an answer only if the code leaves no doubt, None otherwise; no release decides.

``min_t(resource_size_t, base->end, DIRECT_MAP_PHYSMEM_END)`` loads memstart_addr, as __pa() of
the linear map's end (eeb8fdfcf090, 6.12); before, all bits of MAX_PHYSMEM_BITS stand there as an
immediate. The ascending search compares the address with ``addr - step``: a register with the
fourth argument, align, since 659aa050a538 (6.8), with the rounded size before.
"""

from typing import Any, Final, Protocol

from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs, arm64

from tracers.constants.image.patched import hidden
from tracers.families import MASK

FUNCTION: Final = "get_free_mem_region"
_ALIGN, _SIZE = "x3", "x2"  # AAPCS64: (dev, base, size, align, …)
_LIMITS: Final = {(1 << 48) - 1: 48, (1 << 52) - 1: 52}
_MOST: Final = 4096  # bytes; the function has about 900


class Body(Protocol):
    """A function: u64 address, code."""

    @property
    def va(self) -> int: ...  # noqa: D102
    @property
    def bytes(self) -> bytes: ...  # noqa: D102


def read_search(body: Body, memstart: int | None) -> dict[str, bool | int]:
    """Return what is told of ``capped``, ``by_size`` and ``physmem_bits``.

    ``memstart``: the address of memstart_addr.
    """
    if any(True for _ in hidden(body.va, body.bytes[:_MOST])):
        return {}
    code = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
    code.detail = True
    instructions = list(code.disasm(body.bytes[:_MOST], body.va))
    loads, limits = _constants(instructions)
    found: dict[str, bool | int] = {}
    if memstart is not None and memstart in loads:
        found["capped"] = True
    elif len(limits) == 1:
        found |= {"capped": False, "physmem_bits": limits.pop()}
    steps = _steps(instructions)
    if len(steps) == 1:
        found["by_size"] = steps.pop()
    return found


def _constants(instructions: list[Any]) -> tuple[set[int], set[int]]:
    """Return the addresses loaded from that are built of adrp and an offset, and the limits."""
    pages: dict[str, int] = {}
    loads, limits = set(), set()
    for insn in instructions:
        ops = insn.operands
        if insn.id == arm64.ARM64_INS_ADRP:
            pages[insn.reg_name(ops[0].reg)] = ops[1].imm
            continue
        if insn.id in (arm64.ARM64_INS_LDR, arm64.ARM64_INS_LDUR) and ops[1].type == (
            arm64.ARM64_OP_MEM
        ):
            base = insn.reg_name(ops[1].mem.base)
            if base in pages and not ops[1].mem.index:
                loads.add((pages[base] + ops[1].mem.disp) & MASK)
        elif insn.mnemonic in ("mov", "movn", "orr") and ops[-1].type == arm64.ARM64_OP_IMM:
            if (bits := _LIMITS.get(ops[-1].imm & MASK)) is not None:
                limits.add(bits)
        elif insn.mnemonic == "add" and ops[-1].type == arm64.ARM64_OP_IMM:
            page = pages.get(insn.reg_name(ops[1].reg))
            if page is not None:  # a pointer, dereferenced later
                pages[insn.reg_name(ops[0].reg)] = page + (ops[-1].imm << ops[-1].shift.value)
                continue
        if ops and ops[0].type == arm64.ARM64_OP_REG and ops[0].access != 1:
            pages.pop(insn.reg_name(ops[0].reg), None)
    return loads, limits


def _steps(instructions: list[Any]) -> set[bool]:
    """Return by what addresses are stepped: True for the size, False for align."""
    aligns, sizes = {_ALIGN}, set[str]()
    stepped: list[tuple[str, str]] = []
    for insn in instructions:
        names = [insn.reg_name(op.reg) for op in insn.operands if op.type == arm64.ARM64_OP_REG]
        if insn.mnemonic == "bl" and stepped == []:
            aligns.discard(_ALIGN)  # an argument register is the caller's no more
        if insn.mnemonic == "mov" and len(names) == 2 and names[1] in aligns:
            aligns.add(names[0])
        elif insn.mnemonic == "and" and len(names) == 3 and names[1] == _SIZE and not sizes:
            sizes.add(names[0])  # ALIGN(size, align): (size + align - 1) & -align
        elif insn.mnemonic == "sub" and len(names) == 3:
            stepped.append((names[1], names[2]))
    # "addr > addr - step" takes align off an address; the size is taken off the end, too
    by_align = any(step in aligns for _, step in stepped)
    by_size = any(step in sizes for _, step in stepped)
    return {False} if by_align else {True} if by_size else set()
