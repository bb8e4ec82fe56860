"""The vmemmap window and its arithmetic: what the kernel's WARN compares against, in one place.

Promises: every address is an integer modulo 2^64 and every result is what the kernel itself
would compute; a fact that is not known raises ``WindowError`` naming it, and is never guessed.
The vector twin for event columns is ``tracers.regimes``.

Source: arch/arm64/include/asm/memory.h, pgtable.h and arch/arm64/mm/init.c of the releases
named in ``Family``, and include/asm-generic/memory_model.h for page and pfn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Self

from tracers.formulas import (
    HALF,
    MASK,
    PAGE_SIZES,
    VA_BITS_RANGE,
    Family,
    WindowError,
    check,
    family_for_release,
    formula,
    signed,
)


class Regime(StrEnum):
    """Where a range lies, judged against the window; the rules are in ``Window.regime``."""

    INSIDE = "inside"
    BELOW = "below"
    ABOVE = "above"
    WRAPPED = "wrapped"
    STRADDLING = "straddling"

    @property
    def code(self) -> int:
        """The code ``tracers.regimes.classify`` gives: the position in this list."""
        return _REGIME_CODES[self]


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
        if self.family is Family.V5_4 and memstart > -(1 << 51):
            base += self._unused
        return base & MASK

    @property
    def used(self) -> tuple[int, int]:
        """(start, end) of the part this kernel really maps struct pages in.

        Smaller than the window on a 52-bit kernel whose hardware has fewer bits; the WARN
        compares with the whole window all the same.
        """
        return self.start + self._unused, self.end

    @property
    def _unused(self) -> int:
        if self._fact("va_bits") <= 48 or self.family is Family.V4_14:
            return 0
        missing = (1 << self._fact("va_bits")) - (1 << self._fact("vabits_actual"))
        return (missing >> self.page_shift) * self._fact("struct_page")

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
        """(first, end) of the pfns whose struct pages the window covers; none is below 0."""
        first = signed((self.start - self.vmemmap) & MASK) // self._fact("struct_page")
        return max(first, 0), max(first + self.size // self._fact("struct_page"), 0)

    @property
    def phys_range(self) -> tuple[int, int]:
        """(first, end) of the physical addresses whose struct pages the window covers."""
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

        inside: in the window. wrapped: in the user half. above: from END on, at most to 2^64.
        below: in the kernel half, at most up to START. straddling: across any of those borders.
        """
        start, end = start & MASK, end & MASK
        ordered = start <= end
        if self.start <= start and ordered and end <= self.end:
            return Regime.INSIDE
        if ordered and start < HALF and end <= HALF:
            return Regime.WRAPPED
        if start >= self.end and (ordered or end == 0):
            return Regime.ABOVE
        if start >= HALF and ordered and end <= self.start:
            return Regime.BELOW
        return Regime.STRADDLING

    def warns(self, start: int, end: int) -> bool:
        """Say what the kernel's WARN compares: start < VMEMMAP_START || end > VMEMMAP_END.

        Weaker than "not inside": a range that ends at or beyond 2^64 has a small end.
        """
        return (start & MASK) < self.start or (end & MASK) > self.end

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dictionary; addresses as "0x%016x" strings."""
        told: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in _ADDRESSES:
            told[name] = None if told[name] is None else f"0x{told[name]:016x}"
        told["family"] = self.family.value if self.family else None
        told["provenance"] = dict(self.provenance)
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Rebuild a window from ``to_dict``'s dictionary; unknown keys are passed over.

        Raises:
            WindowError: a value is missing, of the wrong type or impossible.
        """
        try:
            facts: dict[str, Any] = {item.name: told.get(item.name) for item in fields(cls)}
            for name in _ADDRESSES:
                facts[name] = None if facts[name] is None else int(facts[name], 16)
            origins = facts["provenance"] or {}
            facts["provenance"] = {str(k): str(v) for k, v in origins.items()}
            # a newer writer's family: the formula is not known here
            facts["family"] = next((f for f in Family if f.value == facts["family"]), None)
            return cls(**facts)
        except (AttributeError, TypeError, ValueError) as error:
            raise WindowError(f"not a window: {error}") from error

    def _fact(self, name: str) -> int:
        value = getattr(self, name)
        if value is None:
            raise WindowError(f"the window's {name} is not known")
        return int(value)


_ADDRESSES: Final = ("start", "end", "memstart")


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
    told = dict(provenance or {})
    family: Family | None = None
    if start is not None and end is not None:
        if not missing:
            matches = (f for f in Family if formula(f, **sizes) == (start, end))
            family = next(matches, None)
        told.setdefault("window", "given")
    else:
        if release is None:
            missing.append("release")
        if missing or release is None:
            raise WindowError(f"the window is not known: no {', '.join(missing)}")
        family = family_for_release(release)
        start, end = formula(family, **sizes)
        told["window"] = "release+formula"
    integers: dict[str, Any] = dict(facts)
    return Window(start, end, family=family, provenance=told, **integers)
