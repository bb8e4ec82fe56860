# SPDX-License-Identifier: GPL-2.0-only
"""The layout families: how releases of arm64 Linux lay out the addresses around the vmemmap window.

Promises: one row a family, and nowhere else a word on which release does what. A new layout is a
new row at the top of ``Family``; formulas, layout, cover, what-if and reports read it from there.

Source: arch/arm64/include/asm/memory.h, pgtable.h, kernel-pgtable.h, fixmap.h, Kconfig and
arch/arm64/mm/init.c of 4.14, 5.1, 5.4, 5.10, 6.1, 6.12 and 7.3; the commits stand in the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

MASK: Final = (1 << 64) - 1
TOP: Final = 1 << 64
HALF: Final = 1 << 63  # below: the user half
MIB: Final = 1 << 20
GIB: Final = 1 << 30
#: CONFIG_ARM64_PAGE_SHIFT's pages, and the CONFIG_ARM64_VA_BITS that Kconfig offers with each.
VA_BITS: Final = {4096: (39, 48, 52), 16384: (36, 47, 48, 52), 65536: (42, 48, 52)}
PAGE_SIZES: Final = tuple(VA_BITS)
ALL_PAGES: Final = frozenset(PAGE_SIZES)
NO_PAGES: Final[frozenset[int]] = frozenset()
#: VMALLOC_END lies so far below the vmemmap in use (6.9 on).
GUARD: Final = 8 * MIB


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the neighbours of a window are computed from; addresses, bits and bytes."""

    start: int  # VMEMMAP_START
    end: int  # VMEMMAP_END
    used: int  # where the window in use starts; START where that is not known
    va_bits: int
    page_size: int

    @property
    def pud_size(self) -> int:
        """PUD_SIZE: with fewer than four levels a top-level entry (pgtable-hwdef.h)."""
        per_level = self.page_size.bit_length() - 1 - 3
        levels = -(-(self.va_bits - per_level - 3) // per_level)
        return 1 << (per_level * min(levels, 3) + 3)


@dataclass(frozen=True, eq=False)
class Facts:
    """What the kernels of a family have in common."""

    label: str  # as recordings and reports have it
    first: tuple[int, int]  # the first release
    #: page sizes with which a kernel can be built for 52 bits of kernel addresses
    pages_52: frozenset[int]
    #: the linear map is the top half of the kernel's addresses, not the bottom (until 5.3)
    linear_on_top: bool
    #: PAGE_END and the KASAN shadow go by the bits in use, not by VA_BITS_MIN (until 5.10)
    ends_by_bits_in_use: bool
    #: with fewer bits in use than built for, vmemmap may move instead of memstart_addr (until 5.9)
    may_move_vmemmap: bool
    #: memstart_addr tells the bits in use
    memstart_tells_bits: bool
    #: VMEMMAP_SIZE counts struct pages by their exact size, not by the next power of two
    exact_struct_page: bool
    #: (va_bits, log2 of bytes mapped per byte of struct page, VMEMMAP_SIZE) -> VMEMMAP_START
    start: Callable[[int, int, int], int]
    #: VMEMMAP_SHIFT is a constant of its own
    has_shift: bool
    #: addresses above VMEMMAP_END that nobody has, up to what is kept for error pointers
    hole_above: bool
    #: vmalloc goes up to the window in use: what of the window is not in use is vmalloc's
    vmalloc_takes_unused: bool
    #: Bounds -> VMALLOC_END, PCI_IO_START and FIXADDR_TOP
    vmalloc_end: Callable[[Bounds], int]
    pci_start: Callable[[Bounds], int]
    fixmap_top: Callable[[Bounds], int]
    #: bytes of the module region between the linear map and vmalloc; None: depends on the release
    modules: int | None
    #: SECTION_SIZE_BITS that every kernel of the family has at least, by page size
    section_bits: Callable[[int], int]


def _section_bits(page_size: int) -> int:
    # f0b13ee23241, of 5.12: 30 before
    return 29 if page_size == 65536 else 27


class Family(Enum):
    """Releases that share one layout, newest first."""

    #: END fixed at -1 GiB, exact struct page size (32697ff38287); PCI I/O and fixmap above
    #: (031e011d8b22, b730b0f2b1fc); vmalloc up to the window in use (d432b8d57c0c); LPA2.
    V6_9 = Facts(
        label="6.9+",
        first=(6, 9),
        pages_52=ALL_PAGES,
        linear_on_top=False,
        ends_by_bits_in_use=False,
        may_move_vmemmap=False,
        memstart_tells_bits=True,
        exact_struct_page=True,
        start=lambda _bits, _ratio, size: TOP - GIB - size,
        has_shift=False,
        hole_above=False,
        vmalloc_takes_unused=True,
        vmalloc_end=lambda at: at.used - GUARD,
        pci_start=lambda at: at.end + 8 * MIB,
        fixmap_top=lambda _at: TOP - 8 * MIB,
        modules=2 * GIB,  # 3e35d303ab7d (6.5)
        section_bits=_section_bits,
    )
    #: A projection of the linear map (8c96400d6a39), neighbours below it (9ad7c6d5e75b).
    V5_11 = Facts(
        label="5.11-6.8",
        first=(5, 11),
        pages_52=frozenset({65536}),
        linear_on_top=False,
        ends_by_bits_in_use=False,
        may_move_vmemmap=False,
        memstart_tells_bits=True,
        exact_struct_page=False,
        start=lambda bits, ratio, _size: TOP - (1 << (bits - ratio)),
        has_shift=True,
        hole_above=True,
        vmalloc_takes_unused=False,
        vmalloc_end=lambda at: at.start - 256 * MIB,
        pci_start=lambda at: at.start - 24 * MIB,
        fixmap_top=lambda at: at.start - 32 * MIB,
        modules=None,
        section_bits=_section_bits,
    )
    #: Kernel address space flipped: linear map below (14c127c957c1, size by ce3aaed87344).
    V5_4 = Facts(
        label="5.4-5.10",
        first=(5, 4),
        pages_52=frozenset({65536}),
        linear_on_top=False,
        ends_by_bits_in_use=True,
        may_move_vmemmap=True,
        memstart_tells_bits=False,
        exact_struct_page=False,
        start=lambda _bits, _ratio, size: TOP - size - 2 * MIB,
        has_shift=False,
        hole_above=False,
        vmalloc_takes_unused=False,
        vmalloc_end=lambda at: TOP - at.pud_size - (at.end - at.start) - 65536,
        pci_start=lambda at: at.start - 18 * MIB,
        fixmap_top=lambda at: at.start - 20 * MIB,
        modules=None,
        section_bits=lambda _page_size: 30,
    )
    #: Just below the linear map, which fills the top half of the kernel's addresses.
    V4_14 = Facts(
        label="4.14-5.3",
        first=(4, 14),
        pages_52=NO_PAGES,
        linear_on_top=True,
        ends_by_bits_in_use=False,
        may_move_vmemmap=False,
        memstart_tells_bits=False,
        exact_struct_page=False,
        start=lambda bits, _ratio, size: TOP - (1 << (bits - 1)) - size,
        has_shift=False,
        hole_above=False,
        vmalloc_takes_unused=False,
        vmalloc_end=lambda at: at.end - at.pud_size - (at.end - at.start) - 65536,
        pci_start=lambda at: at.start - 18 * MIB,
        fixmap_top=lambda at: at.start - 20 * MIB,
        modules=None,
        section_bits=lambda _page_size: 30,
    )

    @property
    def label(self) -> str:
        """The releases, as recordings and reports write them: "5.11-6.8"."""
        return self.value.label

    def linear_size(self, va_bits: int, page_size: int) -> int:
        """Return the bytes of the linear map that vmemmap has struct pages for."""
        if self.value.linear_on_top:
            return 1 << (va_bits - 1)
        return (1 << va_bits) - (1 << (va_bits_min(self, va_bits, page_size) - 1))


def va_bits_min(family: Family | None, va_bits: int, page_size: int) -> int:
    """Return VA_BITS_MIN: the fewest bits a kernel built for ``va_bits`` may end up with.

    52-bit kernels run on 48-bit hardware, 16K ones (LPA2) on 47 bits. ``family`` None: one with
    no known formula.
    """
    if va_bits <= 48:
        return va_bits
    lpa2 = page_size == 16384 and (family is None or page_size in family.value.pages_52)
    return 47 if lpa2 else 48
