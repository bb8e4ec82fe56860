# SPDX-License-Identifier: GPL-2.0-only
"""How KASLR spreads memstart_addr over boots: every value, and how many of the seeds give it.

Promises: the kernel's own integers for all 65,536 values of memstart_offset_seed, nothing sampled;
what decides and is not known raises ``WindowError``.

Source: arm64_memblock_init() in arch/arm64/mm/init.c::

    memstart_addr -= ARM64_MEMSTART_ALIGN * ((range / ARM64_MEMSTART_ALIGN * seed) >> 16)

``range`` is what the linear map has beyond 2^PARange of the CPU (97d6786e0669, 5.11), before that
beyond what DRAM spans; below ARM64_MEMSTART_ALIGN nothing moves. The seed is 16 bits of
/chosen/kaslr-seed or of the CPU (arch/arm64/kernel/kaslr.c, pi/kaslr_early.c). 1db780bafa4c
"arm64/mm: Remove randomization of the linear map" (6.16) ended it: memstart_addr stays.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.formulas import WindowError, memstart_align, signed, version
from tracers.memstart import memstart_from_ram, section_bits
from tracers.window import Window

#: Values of memstart_offset_seed, a u16.
SEEDS: Final = 1 << 16
#: What ID_AA64MMFR0_EL1.PARange can say (id_aa64mmfr0_parange_to_phys_shift).
PA_RANGES: Final = (32, 36, 40, 42, 44, 48, 52)
#: 1db780bafa4c: by its release, as what is gone leaves no trace but the symbol that is not there.
_ENDED: Final = (6, 16)
#: With the ranges of DRAM one more step was possible until 2019; not told apart here.
_FIRST: Final = (5, 4)
_BY_CPU: Final = (5, 11)


@dataclass(frozen=True, slots=True, eq=False)
class Boots:
    """memstart_addr is ``base - move``: each move in bytes, and the number of seeds behind it."""

    base: int  # signed
    moves: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.int64]  # sum: SEEDS

    @property
    def moves_at_all(self) -> bool:
        """Whether boots differ."""
        return len(self.moves) > 1


def randomizes(release: str | None, *, seeded: bool | None, base: int, memstart: int) -> bool:
    """Say whether this kernel moves memstart_addr from boot to boot.

    ``seeded``: whether it is configured to and its symbols show that it does; None: not known.
    ``base``: where memstart_addr would be without; one that is elsewhere was moved.
    """
    if seeded is not None and not seeded:
        return False
    if signed(memstart) != base or seeded:
        return True
    if release is None:
        raise WindowError("whether KASLR moves memstart_addr is not known: no release")
    return version(release) < _ENDED


def base_of(window: Window, ram: int, release: str | None) -> int:
    """Return memstart_addr without KASLR, signed."""
    return signed(memstart_from_ram(window, ram, release=release))


def boots(
    window: Window, ram: tuple[int, int], *, pa_range: int | None, release: str | None
) -> Boots:
    """Return where memstart_addr is in all boots of a kernel that randomizes it.

    ``ram``: where RAM begins and ends. ``pa_range``: bits of physical addresses of the CPU.

    Raises:
        WindowError: not enough is known.
    """
    base = base_of(window, ram[0], release)
    family, bits, page = window.family, window.va_bits, window.page_size
    if family is None or bits is None or page is None:
        raise WindowError("how large the linear map is is not known")
    if release is None or version(release) < _FIRST:
        raise WindowError(f"how kernels before {_FIRST[0]}.{_FIRST[1]} randomize is not known here")
    if bits > 48 and window.vabits_actual is None:
        raise WindowError("how many bits of addresses are in use is not known")
    in_use = min(bits, window.vabits_actual or bits)
    linear = family.linear_size(bits, page) - ((1 << bits) - (1 << in_use))
    if version(release) < _BY_CPU:
        room = linear - (ram[1] - ram[0])
    elif pa_range is None:
        raise WindowError("how many bits of physical addresses the CPU has (PARange) is not known")
    else:
        room = linear - (1 << pa_range)
    align = memstart_align(page, section_bits(window, page, release))
    steps = max(room, 0) >> align
    moves = (np.arange(SEEDS, dtype=np.int64) * steps) >> 16
    values, counts = np.unique(moves, return_counts=True)
    return Boots(base, values << align, counts.astype(np.int64))


def possible_ranges(window: Window, ram: tuple[int, int], release: str | None) -> tuple[int, ...]:
    """Return the PARanges with which memstart_addr can be where it is in this boot."""
    if release is not None and version(release) < _BY_CPU:
        return PA_RANGES[:1]  # does not matter
    if window.memstart is None:
        return PA_RANGES
    moved = base_of(window, ram[0], release) - signed(window.memstart)
    found = []
    for bits in PA_RANGES:
        spread = boots(window, ram, pa_range=bits, release=release)
        if (spread.moves == moved).any():
            found.append(bits)
    return tuple(found)


def moved(window: Window, base: int, move: int) -> Window:
    """Return the window as it is in a boot that moves memstart_addr by ``move``."""
    return replace(window, memstart=(base - move) % (1 << 64))
