# SPDX-License-Identifier: GPL-2.0-only
"""The vmemmap window and its arithmetic: what the kernel's WARN compares with, and what is in use.

Promises: every address is an integer modulo 2^64 and every result is what the kernel itself
would compute; a fact that is not known raises ``WindowError`` naming it, and is never guessed.
The vector twin for event columns is ``tracers.regimes``.

Source: arch/arm64/include/asm/memory.h, pgtable.h and arch/arm64/mm/init.c of the releases
named in ``families.Family``, and include/asm-generic/memory_model.h for page and pfn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final, Self

from tracers.families import HALF, MASK, PAGE_SIZES, Family, va_bits_min
from tracers.formulas import VA_BITS_RANGE, WindowError, check, family_for_release, formula, signed
from tracers.in_use import unused


class Regime(StrEnum):
    """Where a range lies, judged by the window in use; the rules are in ``Window.regime``."""

    INSIDE = "inside"
    BELOW = "below"
    ABOVE = "above"
    WRAPPED = "wrapped"
    STRADDLING = "straddling"
    UNKNOWN = "unknown"
    """Inside or below, as the bits in use decide, which are not known."""

    @property
    def code(self) -> int:
        """The code ``tracers.regimes.classify`` gives: the position in this list."""
        return _REGIME_CODES[self]


#: Provenance of ``va_bits`` that are only those in use: the same window in use as if built for 52.
OR_MORE: Final = "the bits in use; it may be built for 52"
_REGIME_CODES: Final = {regime: code for code, regime in enumerate(Regime)}


@dataclass(frozen=True, slots=True)
class Window:
    """[VMEMMAP_START, VMEMMAP_END) of one kernel and the facts to compute with it."""

    start: int  # VMEMMAP_START
    end: int  # VMEMMAP_END, exclusive
    va_bits: int | None = None  # CONFIG_ARM64_VA_BITS
    page_size: int | None = None  # bytes
    struct_page: int | None = None  # sizeof(struct page), bytes
    memstart: int | None = None  # memstart_addr as u64; KASLR makes it "negative"
    section_size_bits: int | None = None
    vabits_actual: int | None = None  # 64 - TCR_EL1.T1SZ
    family: Family | None = None  # whose formula gives start and end; None: no known one
    #: fact -> where it is from ("vmcoreinfo", "config", "release+formula"…); start and end
    #: together are "window"
    provenance: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse what no kernel can have, so that the arithmetic need not."""
        if not HALF <= self.start < self.end <= MASK:
            raise WindowError(
                f"not a window of the kernel half: 0x{self.start & MASK:016x}"
                f" - 0x{self.end & MASK:016x}"
            )
        rules: tuple[tuple[str, Callable[[int], bool]], ...] = (
            ("va_bits", lambda v: v in VA_BITS_RANGE),
            ("page_size", lambda v: v in PAGE_SIZES),
            ("struct_page", lambda v: 8 <= v <= 1024),
            ("memstart", lambda v: 0 <= v <= MASK),
            ("section_size_bits", lambda v: 16 < v < 48),
            ("vabits_actual", lambda v: v in VA_BITS_RANGE),
        )
        for name, rule in rules:
            if getattr(self, name) is not None:
                check(name, getattr(self, name), rule)
        if (self.va_bits or 0) > 48 and self.vabits_actual is not None:
            fewest, *_, most = self.bits_possible
            check("vabits_actual", self.vabits_actual, lambda v: fewest <= v <= most)

    @property
    def size(self) -> int:
        """Bytes from start to end."""
        return self.end - self.start

    @property
    def page_shift(self) -> int:
        """PAGE_SHIFT."""
        return self._fact("page_size").bit_length() - 1

    @property
    def vmemmap(self) -> int:
        """Address of the struct page of pfn 0, modulo 2^64.

        ``memstart_addr`` is an s64, so the kernel's shift keeps its sign. Through 5.9 a 52-bit
        kernel on lesser hardware moved vmemmap up instead of memstart_addr down (5.10,
        7bc1a0f9e176): which of the two happened shows in memstart_addr's size.
        """
        memstart = signed(self._fact("memstart"))
        base = self.start - (memstart >> self.page_shift) * self._fact("struct_page")
        if self.may_move_vmemmap and memstart > -(1 << 51):
            if not self.use_known:
                raise WindowError("the window's vabits_actual is not known")
            base += self._unused[0]
        return base & MASK

    @property
    def bits_possible(self) -> tuple[int, ...]:
        """The numbers of bits that can be in use by a kernel built for ``va_bits``, ascending."""
        most = self._fact("va_bits")
        pages = PAGE_SIZES if self.page_size is None else (self.page_size,)
        return tuple(sorted({most, *(va_bits_min(self.family, most, page) for page in pages)}))

    @property
    def used(self) -> tuple[int, int]:
        """(start, end) of the window in use: where this kernel really maps struct pages.

        Smaller than the window on a 52-bit kernel whose CPU has fewer bits; the WARN compares
        with the whole window all the same. Where the bits in use are not known: the part that
        is in use whatever they are.
        """
        return self.start + self._unused[1], self.end

    @property
    def use_known(self) -> bool:
        """Whether ``used`` is exact."""
        least, most = self._unused
        return least == most

    @property
    def blind(self) -> tuple[int, int]:
        """(start, end) of what the WARN takes for vmemmap though it is not in use; may be empty.

        Where the bits in use are not known: what may be.
        """
        return self.start, self.used[0]

    @property
    def lowest_start(self) -> int:
        """What the WARN may compare with instead of ``start``, where ``va_bits`` may be more."""
        sizes = (self.page_size, self.struct_page)
        if self.provenance.get("va_bits") != OR_MORE or self.family is None or None in sizes:
            return self.start
        page, struct_page = (size or 0 for size in sizes)
        return formula(self.family, va_bits=52, page_size=page, struct_page=struct_page)[0]

    @property
    def _unused(self) -> tuple[int, int]:
        return unused(
            self.start,
            self.end,
            family=self.family,
            va_bits=self.va_bits,
            page_size=self.page_size,
            struct_page=self.struct_page,
            in_use=self.vabits_actual,
        )

    @property
    def may_move_vmemmap(self) -> bool:
        """Whether vmemmap may have moved instead of memstart_addr; False: no, or not known."""
        return self.family is not None and self.family.value.may_move_vmemmap

    @property
    def vmalloc_takes_unused(self) -> bool:
        """Whether what is not in use of the window is vmalloc's; False: no, or not known."""
        return self.family is not None and self.family.value.vmalloc_takes_unused

    @property
    def section_pages(self) -> int:
        """PAGES_PER_SECTION."""
        return 1 << (self._fact("section_size_bits") - self.page_shift)

    @property
    def section_vmemmap(self) -> int:
        """Bytes of the struct pages of one section: what one populate call covers."""
        return self.section_pages * self._fact("struct_page")

    @property
    def pfn_range(self) -> tuple[int, int]:
        """(first, end) of the pfns whose struct pages are in ``used``; none is below 0."""
        start, end = self.used
        first = signed((start - self.vmemmap) & MASK) // self._fact("struct_page")
        return max(first, 0), max(first + (end - start) // self._fact("struct_page"), 0)

    @property
    def phys_range(self) -> tuple[int, int]:
        """(first, end) of the physical addresses whose struct pages are in ``used``."""
        first, end = self.pfn_range
        return first << self.page_shift, end << self.page_shift

    def pfn_to_page(self, pfn: int) -> int:
        """Return the address of the struct page of ``pfn``, modulo 2^64."""
        return (self.vmemmap + pfn * self._fact("struct_page")) & MASK

    def page_to_pfn(self, addr: int) -> int:
        """Return the pfn whose struct page holds ``addr``, as a u64.

        Like the kernel's pointer subtraction the distance is signed: below pfn 0 the pfn is a
        "negative" u64. Inside a struct page: the pfn of that page.
        """
        return (signed((addr - self.vmemmap) & MASK) // self._fact("struct_page")) & MASK

    def phys_to_pfn(self, phys: int) -> int:
        """Return the pfn of the page that holds the physical address ``phys``."""
        return (phys & MASK) >> self.page_shift

    def pfn_to_phys(self, pfn: int) -> int:
        """Return the first physical address of ``pfn``, modulo 2^64."""
        return (pfn << self.page_shift) & MASK

    def regime(self, start: int, end: int) -> Regime:
        """Say where [start, end) lies; both modulo 2^64, so a range up to the top has end 0.

        inside: in the window in use. wrapped: in the user half. above: from END on, at most to
        2^64. below: in the kernel half, at most up to where the window in use starts. straddling:
        across any of those borders. unknown: inside if all of the window is in use, which is
        not known. What is outside of all of the window has the regime that this gives it.
        """
        found = _regime(self.used[0], self.end, start & MASK, end & MASK)
        if found is Regime.INSIDE or self.use_known:
            return found
        at_most = _regime(self.start, self.end, start & MASK, end & MASK)
        return Regime.UNKNOWN if at_most is Regime.INSIDE else at_most

    def warns(self, start: int, end: int) -> bool:
        """Say what the kernel's WARN compares: start < VMEMMAP_START || end > VMEMMAP_END.

        Weaker than "not inside": a range that ends at or beyond 2^64 has a small end, and
        VMEMMAP_START is that of all of the window, in use or not.
        """
        return (start & MASK) < self.start or (end & MASK) > self.end

    def silent(self, start: int, end: int) -> bool:
        """Say whether [start, end) is a silent hit: out of the window in use, and no WARN."""
        hit = self.regime(start, end) not in (Regime.INSIDE, Regime.UNKNOWN)
        return hit and not self.warns(start, end)

    def with_bits(self, bits: int) -> Self:
        """Return this window on a CPU with ``bits`` in use, the same RAM and the same KASLR.

        memstart_addr moves with the linear map (7bc1a0f9e176, 5.10); before, vmemmap did, to the
        same effect (see ``vmemmap``). Where the bits were not known before, nothing moves.
        """
        memstart, before = self.memstart, self.vabits_actual
        moves = not self.may_move_vmemmap or signed(memstart or 0) <= -(1 << 51)
        if None in (memstart, before, self.va_bits) or not moves or not self.bits_possible[1:]:
            return replace(self, vabits_actual=bits)
        moved = ((memstart or 0) + (1 << bits) - (1 << (before or 0))) & MASK
        return replace(self, vabits_actual=bits, memstart=moved)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dictionary; addresses as "0x%016x" strings."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in _ADDRESSES:
            values[name] = None if values[name] is None else f"0x{values[name]:016x}"
        values["family"] = self.family.label if self.family else None
        values["used"] = None
        if self.use_known:
            values["used"] = {"start": f"0x{self.used[0]:016x}", "end": f"0x{self.end:016x}"}
        values["provenance"] = dict(self.provenance)
        return values

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild a window from ``to_dict``'s dictionary; unknown keys are passed over.

        Raises:
            WindowError: a value is missing, of the wrong type or impossible.
        """
        try:
            facts: dict[str, Any] = {item.name: stored.get(item.name) for item in fields(cls)}
            for name in _ADDRESSES:
                facts[name] = None if facts[name] is None else int(facts[name], 16)
            origins = facts["provenance"] or {}
            facts["provenance"] = {str(k): str(v) for k, v in origins.items()}
            # a newer writer's family: the formula is not known here
            facts["family"] = next((f for f in Family if f.label == facts["family"]), None)
            return cls(**facts)
        except (AttributeError, TypeError, ValueError) as error:
            raise WindowError(f"not a window: {error}") from error

    def _fact(self, name: str) -> int:
        value = getattr(self, name)
        if value is None:
            raise WindowError(f"the window's {name} is not known")
        return int(value)


_ADDRESSES: Final = ("start", "end", "memstart")


def _regime(first: int, last: int, start: int, end: int) -> Regime:
    """Judge [start, end) by [first, last); all u64."""
    ordered = start <= end
    if first <= start and ordered and end <= last:
        return Regime.INSIDE
    if ordered and start < HALF and end <= HALF:
        return Regime.WRAPPED
    if start >= last and (ordered or end == 0):
        return Regime.ABOVE
    if start >= HALF and ordered and end <= first:
        return Regime.BELOW
    return Regime.STRADDLING


def window_from_facts(
    facts: Mapping[str, int | None],
    *,
    release: str | None = None,
    start: int | None = None,
    end: int | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Window:
    """Build a window from what is known; ``facts`` are ``Window``'s integer fields by name.

    ``start`` and ``end`` given: the family is the newest whose formula gives exactly them.
    Not given: the formula of the release's family gives them ("release+formula").

    Raises:
        WindowError: too little is known, or an impossible number.
    """
    known = {name: facts.get(name) for name in ("va_bits", "page_size", "struct_page")}
    missing = [name for name, value in known.items() if value is None]
    sizes = {name: value for name, value in known.items() if value is not None}
    origins = dict(provenance or {})
    family: Family | None = None
    if start is not None and end is not None:
        if not missing:
            matches = (f for f in Family if formula(f, **sizes) == (start, end))
            family = next(matches, None)
        origins.setdefault("window", "given")
    else:
        if release is None:
            missing.append("release")
        if missing or release is None:
            raise WindowError(f"the window is not known: no {', '.join(missing)}")
        family = family_for_release(release)
        start, end = formula(family, **sizes)
        origins["window"] = "release+formula"
    integers: dict[str, Any] = dict(facts)
    return Window(start, end, family=family, provenance=origins, **integers)
