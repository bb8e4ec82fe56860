# SPDX-License-Identifier: GPL-2.0-only
"""How arm64 page tables are built, and what a descriptor in one says.

Promises: arithmetic alone, on one entry or on columns of them; nothing is read here.

Source: Arm ARM (DDI 0487) D8.3, "Translation table descriptor formats": 4K, 16K and 64K granule,
three to five levels, pages, blocks and tables, and 52-bit output addresses, in bits [15:12] (64K)
or, with TCR_EL1.DS, [9:8]; arch/arm64/include/asm/pgtable-hwdef.h. DS is set where a 4K or 16K
kernel has 52 bits in use (LPA2, 6.9: arch/arm64/mm/proc.S). A contiguous bit is a hint only.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

#: One descriptor, or a column of them.
Entries = TypeVar("Entries", int, npt.NDArray[np.uint64])


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables that translate ``bits`` of an address, of pages of 1 << ``shift`` bytes.

    ``wide``: their descriptors are those of TCR_EL1.DS. Level 0 is that of the pages.
    """

    shift: int
    bits: int
    wide: bool = False

    @classmethod
    def of(cls, page_size: int, va_bits: int, in_use: int) -> "Tables":
        """Return those of a kernel built for ``va_bits``, with ``in_use`` of them in use.

        A 64K kernel has one table, of 52 bits, of which a CPU with 48 uses the end (c812026c54cf,
        5.4: "arm64: mm: Logic to make offset_ttbr1 conditional"); with smaller pages a level goes.
        """
        shift = page_size.bit_length() - 1
        bits = max(va_bits, in_use) if shift == 16 else in_use
        return cls(shift, bits, wide=shift < 16 and in_use == 52)

    @property
    def levels(self) -> int:
        """How many there are."""
        return -(-(self.bits - self.shift) // (self.shift - 3))

    def reach(self, level: int) -> int:
        """Return how many low bits of an address an entry of ``level`` leaves."""
        return self.shift + level * (self.shift - 3)

    def entries(self, level: int) -> int:
        """Return how many a table of ``level`` has."""
        if level == self.levels - 1:
            return 1 << (self.bits - self.reach(level))
        return 1 << (self.shift - 3)

    def index(self, addr: int, level: int) -> int:
        """Return which entry of a table of ``level`` translates ``addr``."""
        return addr >> self.reach(level) & self.entries(level) - 1

    def output(self, entry: Entries) -> Entries:
        """Return the physical address in a descriptor: of a page, a block or a table."""
        kept = (1 << (50 if self.wide else 48)) - (1 << self.shift)
        if isinstance(entry, int):
            return entry & kept | self._upper(entry)
        return entry & np.uint64(kept) | self._upper(entry)

    def _upper(self, entry: Entries) -> Entries:
        """Return bits 48 to 51 of the address, where descriptors have them elsewhere."""
        at, mask, to = (12, 0xF, 48) if self.shift == 16 else (8, 3 if self.wide else 0, 50)
        if isinstance(entry, int):
            return (entry >> at & mask) << to
        return (entry >> np.uint64(at) & np.uint64(mask)) << np.uint64(to)


def is_leaf(entry: int, level: int) -> bool:
    """Say whether a valid descriptor maps memory: a page at level 0, a block above."""
    return entry & 3 == (1 if level else 3)
