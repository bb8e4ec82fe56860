# SPDX-License-Identifier: GPL-2.0-only
"""The window and memstart_addr from the address of pfn 0's struct page: what an Oops tells.

A struct page's address and its pfn in two registers give ``vmemmap``, which is VMEMMAP_START less
memstart_addr's struct pages. Each layout makes another memstart_addr of it, and of those most are
none that arm64_memblock_init can set.

Promises: an answer is the only one that the numbers leave, else there is none and ``reason`` says
which fit or why none does. The release's own layout comes first; newer ones are asked only where
that one is impossible: then the kernel has the layout of a later release, as vendors backport.
Where the own one needs KASLR for what a newer one has without, there is no answer.

Source: arm64_memblock_init() in arch/arm64/mm/init.c. It rounds the start of RAM down to
ARM64_MEMSTART_ALIGN and removes what RAM lies outside of the linear map from there on. KASLR then
moves memstart_addr down (until 6.14): by less than the linear map is larger than the physical
addresses that the CPU has (97d6786e0669, 5.11), before than what RAM spans. The result of 52-bit
kernels on lesser CPUs is lower still (7bc1a0f9e176, 5.10); until then vmemmap was higher instead.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from tracers.families import MASK, PAGE_SIZES, VA_BITS, Family, va_bits_min
from tracers.formulas import (
    WindowError,
    family_for_release,
    formula,
    memstart_align,
    section_size_bits_for,
    signed,
    signed_hex,
    vmemmap_set_early,
)
from tracers.in_use import unused
from tracers.window import Window

#: No machine is known whose RAM begins higher.
_RAM_STARTS_BELOW: Final = 1 << 40
#: ID_AA64MMFR0_EL1.PARange: how many bits of physical addresses a CPU has.
PA_RANGES: Final = (32, 36, 40, 42, 44, 48, 52)


@dataclass(frozen=True, slots=True)
class Answer:
    """The window, with memstart_addr, or why there is none."""

    window: Window | None
    reason: str = ""
    #: CONFIG_ARM64_VA_BITS as it can be; the window is that of the first. A kernel built for
    #: more has the same window in use, and its WARN compares with a lower VMEMMAP_START.
    built_for: tuple[int, ...] = ()
    backport: bool = False  # the layout is not that of the release


def sizes_possible(
    page_sizes: Collection[int] = PAGE_SIZES,
    bits: Collection[int] | None = None,
    between: Iterable[int] = (),
) -> frozenset[tuple[int, int]]:
    """Return (page size, bits in use) as kernels can have them.

    ``between``: addresses that the kernel called "between user and kernel address ranges": they
    have more bits than are in use (is_ttbr0_addr, arch/arm64/mm/fault.c; not of 32-bit tasks).
    """
    outside = tuple(between)
    return frozenset(
        (page, number)
        for page in page_sizes
        for number in VA_BITS[page]
        if (bits is None or number in bits)
        and all(1 << number <= addr < (1 << 64) - (1 << number) for addr in outside)
    )


def built_for(family: Family, page_size: int, bits: int) -> tuple[int, ...]:
    """Return the CONFIG_ARM64_VA_BITS with which a kernel can have ``bits`` in use, ascending."""
    return tuple(
        number
        for number in VA_BITS[page_size]
        if bits in (number, va_bits_min(family, number, page_size))
        and (number <= 48 or page_size in family.value.pages_52)
    )


def window_from_vmemmap(
    vmemmap: int,
    *,
    sizes: Collection[tuple[int, int]],
    release: str | None,
    va_bits: int | None = None,
    struct_page: int = 64,
    ram: Collection[int] = (),
    pfns: Collection[int] = (),
) -> Answer:
    """Return the window whose kernel has the struct page of pfn 0 at ``vmemmap``.

    ``sizes``: (page size, bits in use) as they can be (``sizes_possible``). ``va_bits``:
    CONFIG_ARM64_VA_BITS, if known. ``ram``: physical addresses known to be RAM's, such as pgdp of
    an Oops. ``pfns``: pfns that the kernel had, of devices too. Without a ``release`` all layouts
    are equal.
    """
    if not 0 <= vmemmap <= MASK:
        raise WindowError("an address has 64 bits")
    own = None if release is None else _family(release)
    rounds = [tuple(Family)] if own is None else [(own,), _newer(own)]
    why: list[str] = []
    for families in rounds:
        kernels = _kernels(families, sizes, va_bits, struct_page)
        fitting: dict[tuple[Family, int, int, int], list[_Kernel]] = {}
        for kernel in kernels:
            reason = kernel.impossible(vmemmap, ram, pfns)
            if not reason:
                in_use = kernel.borders()[2]  # not the same if struct pages are no power of two
                key = (kernel.family, kernel.page_size, kernel.bits, in_use)
                fitting.setdefault(key, []).append(kernel)
            elif families == (own,) and reason not in why:
                why.append(reason)
        if len(fitting) == 1:
            alike = next(iter(fitting.values()))
            lowest, _ = alike[0].lowest(vmemmap)
            others = _kernels(_newer(own), sizes, va_bits, struct_page) if own in families else []
            plain = [kernel for kernel in others if kernel.plain(vmemmap, ram, pfns)]
            if lowest < 0 and plain and own is not None:
                return Answer(
                    None,
                    f"vmemmap 0x{vmemmap:016x} fits the layout of {own.label} with KASLR, and that"
                    f" of {plain[0].family.label}, which vendors backport, without",
                )
            return Answer(
                alike[0].window(vmemmap, release),
                "; ".join(why[:3]),
                tuple(kernel.va_bits for kernel in alike),
                backport=own is not None and families != (own,),
            )
        if fitting:
            said = ", ".join(
                f"{family.label} with {page // 1024}K pages and {bits} bits in use"
                for family, page, bits, _ in fitting
            )
            return Answer(None, f"vmemmap 0x{vmemmap:016x} fits more than one layout: {said}")
    return Answer(None, "; ".join([f"vmemmap 0x{vmemmap:016x} fits no layout", *why[:3]]))


def _kernels(
    families: Iterable[Family],
    sizes: Collection[tuple[int, int]],
    va_bits: int | None,
    struct_page: int,
) -> "list[_Kernel]":
    return [
        _Kernel(family, page, bits, number, struct_page)
        for family in families
        for page, bits in sorted(sizes)
        for number in built_for(family, page, bits)
        if va_bits in (None, number)
    ]


def with_vmemmap(
    window: Window,
    vmemmap: int,
    *,
    release: str | None,
    ram: Collection[int] = (),
    pfns: Collection[int] = (),
) -> Answer:
    """Return ``window`` with the memstart_addr that puts pfn 0's struct page at ``vmemmap``.

    Where the bits in use are not known, it says them, too, if only one number is possible.

    Raises:
        WindowError: the window's family or sizes are not known.
    """
    family, sizes = window.family, (window.page_size, window.va_bits, window.struct_page)
    if family is None or None in sizes:
        raise WindowError("the window's family or sizes are not known")
    page, number, struct_page = (size or 0 for size in sizes)
    bits = (window.vabits_actual,) if window.vabits_actual else window.bits_possible
    kernels = [_Kernel(family, page, n, number, struct_page) for n in bits]
    why = [kernel.impossible(vmemmap, ram, pfns) for kernel in kernels]
    fitting = [kernel for kernel, reason in zip(kernels, why, strict=True) if not reason]
    if len(fitting) != 1:
        reason = "; ".join(filter(None, why)) or "the bits in use are not known"
        return Answer(None, f"vmemmap 0x{vmemmap:016x}: {reason}")
    made = fitting[0].window(vmemmap, release)
    found = replace(window, memstart=made.memstart, vabits_actual=made.vabits_actual)
    return Answer(found, "", (number,))


def _newer(family: Family) -> tuple[Family, ...]:
    return tuple(other for other in Family if other.value.first > family.value.first)


def _family(release: str) -> Family | None:
    try:
        return family_for_release(release)
    except WindowError:
        return None


@dataclass(frozen=True, slots=True)
class _Kernel:
    """One kernel that there can be, on one CPU."""

    family: Family
    page_size: int
    bits: int  # in use
    va_bits: int
    struct_page: int

    @property
    def shift(self) -> int:
        return self.page_size.bit_length() - 1

    @property
    def align(self) -> int:
        """ARM64_MEMSTART_ALIGN, at least."""
        section = self.family.value.section_bits(self.page_size)
        return 1 << memstart_align(self.page_size, section)

    @property
    def linear_size(self) -> int:
        """Bytes of the linear map in use."""
        whole = self.family.linear_size(self.va_bits, self.page_size)
        return whole - ((1 << self.va_bits) - (1 << self.bits))

    def borders(self) -> tuple[int, int, int]:
        """Return VMEMMAP_START, VMEMMAP_END, and where the part in use starts."""
        sizes = {"page_size": self.page_size, "struct_page": self.struct_page}
        start, end = formula(self.family, va_bits=self.va_bits, **sizes)
        first, _ = unused(
            start, end, family=self.family, va_bits=self.va_bits, in_use=self.bits, **sizes
        )
        return start, end, start + first

    def lowest(self, vmemmap: int) -> tuple[int, int]:
        """Return the physical address at which the linear map in use starts, and a rest."""
        pages, rest = divmod(signed((self.borders()[2] - vmemmap) & MASK), self.struct_page)
        return pages << self.shift, rest

    def impossible(self, vmemmap: int, ram: Collection[int], pfns: Collection[int]) -> str:
        """Say why this kernel cannot have pfn 0's struct page at ``vmemmap``; "" if it can."""
        memstart, rest = self.lowest(vmemmap)
        would = f"{self.family.label}, {self.page_size // 1024}K pages, {self.bits} bits: "
        would += f"memstart_addr would be {signed_hex(memstart & MASK)}"
        if rest or memstart % self.align:
            return f"{would}, not a multiple of 0x{self.align:x}"
        # CONFIG_ARM64_PA_BITS_52 (Kconfig): with 64K pages, or 52 bits of virtual addresses
        most = 52 if self.page_size == 65536 or self.va_bits == 52 else 48
        if memstart >> most > 0 or any((pfn << self.shift) >> most for pfn in pfns):
            return f"{would}, or a pfn is beyond {most} bits of physical addresses"
        if ram and not memstart <= min(ram) <= max(ram) < memstart + self.linear_size:
            return f"{would}, and RAM at 0x{min(ram):x} would be outside of the linear map"
        if memstart < -self._randomized(max(ram, default=0)):
            return f"{would}, further down than KASLR moves it"
        return ""

    def plain(self, vmemmap: int, ram: Collection[int], pfns: Collection[int]) -> bool:
        """Say whether this kernel has pfn 0's struct page at ``vmemmap`` without any KASLR."""
        memstart, _ = self.lowest(vmemmap)
        start = min(ram, default=_RAM_STARTS_BELOW)
        return 0 <= memstart <= start and not self.impossible(vmemmap, ram, pfns)

    def _randomized(self, ram: int) -> int:
        """Return how far down KASLR can move memstart_addr, from 0 at least; less is not known."""
        spans = 0
        if self.family in (Family.V6_9, Family.V5_11):
            bits = next((n for n in PA_RANGES if not ram >> n), PA_RANGES[-1])
            spans = 1 << bits
        steps = max(self.linear_size - spans, 0) // self.align
        return self.align * (steps * 0xFFFF >> 16)  # memstart_offset_seed has 16 bits

    def window(self, vmemmap: int, release: str | None) -> Window:
        """Return the window with memstart_addr as this kernel has it."""
        start, end, _ = self.borders()
        memstart, _ = self.lowest(vmemmap)
        early = self.family.value.may_move_vmemmap and vmemmap_set_early(release or "")
        if not early:  # else vmemmap moved, and this did not
            memstart -= (1 << self.va_bits) - (1 << self.bits)
        section = self.family.value.section_bits(self.page_size)
        if release is not None and _family(release) is self.family:
            section = section_size_bits_for(release, self.page_size)
        return Window(
            start,
            end,
            va_bits=self.va_bits,
            page_size=self.page_size,
            struct_page=self.struct_page,
            memstart=memstart & MASK,
            section_size_bits=section,
            vabits_actual=self.bits,
            family=self.family,
        )
