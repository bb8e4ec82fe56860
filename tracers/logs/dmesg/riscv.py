# SPDX-License-Identifier: GPL-2.0-only
"""Reads the range out of the registers of a WARN in riscv's own vmemmap_populate.

riscv is getting arm64's check. Its window is not ours to judge, but what was asked for can be said.
Promises: there is a range only if one pair of registers alone can be whole sub-sections of one
section, with the sizes that riscv has: pages of 4 KiB, struct pages of 64 bytes, sections of
128 MiB.

Sources: arch/riscv/kernel/process.c (__show_regs), arch/riscv/include/asm/sparsemem.h.
"""

import re
from typing import Final

ARCH: Final = "riscv64"
#: The file of riscv's vmemmap_populate.
INIT_C: Final = b"arch/riscv/mm/init.c"

_REGISTER: Final = re.compile(rb"(?<!\w)([ast]\d{1,2}|[sgt]p|ra) ?: ([0-9a-f]{16})(?![0-9a-f])")
_SECTION: Final = (1 << 27) // 4096 * 64  # struct pages of a section, bytes
_STEP: Final = (1 << 21) // 4096 * 64  # of a sub-section


def passed(text: bytes) -> tuple[int, int] | None:
    """Return start and end by the registers in a splat's text, if one pair alone fits."""
    values = {int(value, 16) for _, value in _REGISTER.findall(text)}
    aligned = [value for value in values if value % _STEP == 0]
    pairs = [
        (start, end)
        for start in aligned
        for end in aligned
        if 0 < end - start <= _SECTION and start // _SECTION == (end - 1) // _SECTION
    ]
    return pairs[0] if len(pairs) == 1 else None
