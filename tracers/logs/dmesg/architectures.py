# SPDX-License-Identifier: GPL-2.0-only
"""Tells of which architecture a report is, by the registers and source files that it prints.

Promises: arm64 is never taken for another; where nothing tells, the answer is None. A report of
another architecture is read as far as all have in common: its first line, its thread.

Sources: show_regs, __show_regs or show_registers of arch/*/kernel, and die of each.
"""

import re
from dataclasses import dataclass
from typing import Final

ARM64: Final = "aarch64"


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture by the name that uname -m has for it, and what only its reports have."""

    name: str
    source: str
    marks: re.Pattern[bytes]


_TABLE: Final = (
    Architecture(
        ARM64,
        "arch/arm64/kernel/process.c, traps.c",
        re.compile(rb"(?<!\w)pstate: [0-9a-f]{8}|(?<!\w)x29: [0-9a-f]{16}|arch/arm64/"),
    ),
    Architecture(
        "x86_64",
        "arch/x86/kernel/dumpstack.c, arch/x86/mm/fault.c",
        re.compile(rb"(?<!\w)[RE]IP: 00[0-9a-f]{2}:|(?<!\w)R[AS]X: [0-9a-f]{16}|arch/x86/|#PF: "),
    ),
    Architecture(
        "riscv64",
        "arch/riscv/kernel/process.c, traps.c",
        re.compile(rb"(?<!\w)epc ?: [\w.]{8}|badaddr: [0-9a-f]{8}|arch/riscv/"),
    ),
    Architecture(
        "ppc64le",
        "arch/powerpc/kernel/process.c, traps.c",
        re.compile(rb"(?<!\w)NIP(?::  | \[)[0-9a-f]{16}|(?<!\w)GPR00: |arch/powerpc/"),
    ),
    Architecture(
        "loongarch64",
        "arch/loongarch/kernel/traps.c",
        re.compile(
            rb"(?<!\w)pc [0-9a-f]{16} ra [0-9a-f]{16}|(?<!\w)(?:ERA: |era *[:=]+ |CRMD: |BADV: )"
            rb"|arch/loongarch/"
        ),
    ),
    Architecture(
        "s390x",
        "arch/s390/kernel/dumpstack.c",
        re.compile(rb"Krnl (?:PSW|GPRS|Code)\s*:|arch/s390/"),
    ),
    Architecture(
        "mips64",
        "arch/mips/kernel/traps.c",
        re.compile(rb"(?<!\w)epc   : |(?<!\w)(?:Cause|Stack) : [0-9a-f]{8}|\$ 0   : |arch/mips/"),
    ),
    Architecture(
        "armv7l",
        "arch/arm/kernel/process.c",
        re.compile(rb"(?<!\w)PC is at |(?<!\w)pc : \[<[0-9a-f]{8}>\]|arch/arm/"),
    ),
)


def architecture_of(text: bytes) -> str | None:
    """Return the architecture of a report's text; None if it does not show."""
    if b"pstate: " in text:  # nearly every one
        return ARM64
    return next((each.name for each in _TABLE if each.marks.search(text)), None)
