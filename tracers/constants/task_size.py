# SPDX-License-Identifier: GPL-2.0-only
"""Finds how many address bits a program of the running kernel can map, by mapping a page.

Promises: works for any user and under any lockdown; maps one page that nobody can read or write,
and unmaps it at once; None where that cannot be found out.

On arm64 TASK_SIZE_64 is 1 << vabits_actual (5.4 on, arch/arm64/include/asm/processor.h), so what a
program of a 52-bit kernel can map shows how many bits are in use. Nothing else that any user can
read shows it: VARange and TGRAN of the ID registers are hidden from programs (FTR_HIDDEN,
arch/arm64/kernel/cpufeature.c), there is no hwcap for LVA or LPA2 in /proc/cpuinfo, and no address
in /proc/kallsyms depends on it.
"""

import ctypes
import mmap
from typing import Final

#: What arm64 kernels can have in use, most first (arch/arm64/Kconfig).
_BITS: Final = (52, 48, 47, 42, 39, 36)
_FAILED: Final = ctypes.c_void_p(-1).value


def task_bits() -> int | None:
    """Return the bits of addresses that this process can map, None where mapping fails.

    The address asked for is a hint: from DEFAULT_MAP_WINDOW on it also asks for addresses beyond
    48 bits (Documentation/arch/arm64/memory.rst), and where there are none the kernel goes lower.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    for bits in _BITS:
        half = 1 << (bits - 1)
        # beyond the half, as the window that needs no hint ends at a power of two
        at = libc.mmap(half + mmap.PAGESIZE, mmap.PAGESIZE, 0, flags, -1, 0)
        if at in (None, _FAILED):
            continue
        libc.munmap(at, mmap.PAGESIZE)
        if at >= half:
            return bits
    return None
