# SPDX-License-Identifier: GPL-2.0-only
"""What lies where in a kernel's address space: the neighbours a stray struct page lands on.

Promises: a layout covers 0 to 2^64 without gap or overlap, whatever the facts were. What no
source tells apart is named "unused" where the release's macros leave it free, and "unknown"
where no known formula fits the kernel.

Source: arch/arm64/include/asm/memory.h, pgtable.h, fixmap.h and mm/ptdump.c of 4.14, 5.1, 5.4,
5.10, 6.1 and 6.12; the commits that moved a region stand beside it.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

from tracers.families import HALF, MASK, MIB, TOP, Bounds, va_bits_min
from tracers.formulas import WindowError
from tracers.window import Window

GUARD_HOLE: Final = "guard hole"
"""Between vmalloc and the vmemmap in use, kept free (6.9 on)."""
UNUSED: Final = "unused vmemmap"
"""Of the window, but not in use; nobody else has it (until 6.8)."""
#: FIXADDR_SIZE counts the slots of an enum whose length depends on the configuration: a window
#: for the device tree (2 or 4 MiB), seven early ioremap slots of 256 KiB and a page, some 20
#: single pages. 8 MiB hold it for every page size; kernel_page_tables gives the true edge.
_FIXMAP_AT_MOST: Final = 8 * MIB
#: 128 MiB each for BPF programs (91fc957c9b1d, 5.0, to b89ddf4cca43, 5.16) and modules, until
#: modules got 2 GiB (6.5). Kernels since 5.18 say in vmcoreinfo which it is.
_MODULES_AT_MOST: Final = 256 * MIB


@dataclass(frozen=True, slots=True)
class Region:
    """One stretch of addresses, [start, end); the last one ends at 2^64."""

    name: str
    start: int
    end: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """All regions in order of address: disjoint, and together 0 to 2^64."""

    regions: tuple[Region, ...]
    provenance: str

    def __post_init__(self) -> None:
        """Hold the promise for layouts that come out of a file, too."""
        at = 0
        for region in self.regions:
            if region.start != at or region.end <= at:
                raise WindowError(f"not a layout: {region.name!r} does not follow 0x{at:016x}")
            at = region.end
        if at != TOP:
            raise WindowError(f"not a layout: it ends at 0x{at:016x}")

    def region_at(self, addr: int) -> Region:
        """Return the region that holds ``addr``."""
        starts = [region.start for region in self.regions]
        return self.regions[bisect_right(starts, addr & MASK) - 1]

    def lands_on(self, start: int, end: int) -> str:
        """Name the regions that [start, end) touches, in order, as "fixmap + unused".

        An empty range touches the region of its start; a range past 2^64 goes on at 0.
        """
        start, end = start & MASK, end & MASK
        last = start if start == end else (end - 1) & MASK
        first_index, last_index = (self.regions.index(self.region_at(a)) for a in (start, last))
        touched = self.regions[first_index : last_index + 1]
        if last < start:
            touched = self.regions[first_index:] + self.regions[: last_index + 1]
        return " + ".join(region.name for region in touched)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dictionary; addresses as "0x…" strings."""
        regions = [
            {"name": r.name, "start": f"0x{r.start:016x}", "end": f"0x{r.end:x}", "note": r.note}
            for r in self.regions
        ]
        return {"provenance": self.provenance, "regions": regions}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild a layout from ``to_dict``'s dictionary.

        Raises:
            WindowError: it is none.
        """
        try:
            regions = tuple(
                Region(str(r["name"]), int(r["start"], 16), int(r["end"], 16), str(r["note"]))
                for r in stored["regions"][:256]  # codes are u8
            )
            return cls(regions, str(stored["provenance"]))
        except (KeyError, TypeError, ValueError) as error:
            raise WindowError(f"not a layout: {error}") from error


def marks(window: Window, *, kasan_shift: int | None = None) -> dict[str, int]:
    """Return the region borders that the window's family fixes, under the kernel's own names.

    Empty where the family or a size is not known. ``kasan_shift``: KASAN_SHADOW_SCALE_SHIFT of
    a kernel built with software KASAN, 3 generic and 4 tag-based; None without.
    """
    family, bits, page = window.family, window.va_bits, window.page_size
    if family is None or bits is None or page is None:
        return {}
    facts = family.value
    actual = bits
    if facts.pages_52 and window.vabits_actual is not None:
        actual = window.vabits_actual
    smallest = va_bits_min(family, bits, page)
    middle = TOP - (1 << (smallest - 1))  # _PAGE_END(VA_BITS_MIN)
    found = {"PAGE_OFFSET": TOP - (1 << actual), "PAGE_END": middle}
    shadow = 0 if kasan_shift is None else 1 << (actual - kasan_shift)
    used = window.used[0] if window.use_known else window.start
    bounds = Bounds(window.start, window.end, used, bits, page)
    found["VMALLOC_END"] = facts.vmalloc_end(bounds)
    found["PCI_IO_START"] = facts.pci_start(bounds)
    found["PCI_IO_END"] = found["PCI_IO_START"] + 16 * MIB
    found["FIXADDR_TOP"] = facts.fixmap_top(bounds)
    if facts.modules is not None:
        found["MODULES_VADDR"] = middle
        found["MODULES_END"] = found["VMALLOC_START"] = middle + facts.modules
    if facts.linear_on_top:
        found["PAGE_OFFSET"], found["PAGE_END"] = TOP - (1 << (bits - 1)), TOP
        kasan_end = TOP - (1 << bits) + shadow
    elif facts.ends_by_bits_in_use:
        # until f4693c2716b3 (5.11): by the bits in use, and the shadow above the linear map
        found["PAGE_END"] = TOP - (1 << (actual - 1))
        kasan_end = middle + (0 if kasan_shift is None else 1 << (smallest - kasan_shift))
    else:
        kasan_end, found["PAGE_END"] = middle, middle - shadow
    # without KASAN the kernel defines both alike: modules begin there
    found["KASAN_SHADOW_START"], found["KASAN_SHADOW_END"] = kasan_end - shadow, kasan_end
    return found


def layout_for(
    window: Window, *, exact: Mapping[str, int] | None = None, kasan_shift: int | None = None
) -> Layout:
    """Lay out the address space around ``window``.

    ``exact``: borders as this very kernel gives them, under its own names (``marks`` lists
    them; also FIXADDR_START): they win over the formula. ``kasan_shift``: see ``marks``.
    """
    own = {name: value for name, value in (exact or {}).items() if 0 <= value <= TOP}
    found = marks(window, kasan_shift=kasan_shift)
    at = found | own
    gap = "unused" if found else "unknown"
    lowest = at.get("PAGE_OFFSET", HALF)
    if window.family and window.family.value.linear_on_top and window.va_bits is not None:
        lowest = TOP - (1 << window.va_bits)
    fixmap_note = modules_note = ""
    if "FIXADDR_TOP" in at and "FIXADDR_START" not in at:
        at["FIXADDR_START"] = at["FIXADDR_TOP"] - _FIXMAP_AT_MOST
        fixmap_note = "lower edge depends on the configuration: at most 8 MiB"
    if found and "MODULES_END" not in at:
        at.setdefault("MODULES_VADDR", at["KASAN_SHADOW_END"])
        at["MODULES_END"] = at["MODULES_VADDR"] + _MODULES_AT_MOST
        modules_note = "BPF programs and modules: at most 128 MiB each"
    at.setdefault("VMALLOC_START", at.get("MODULES_END", 0))
    names = (
        ("linear map", "PAGE_OFFSET", "PAGE_END", ""),
        ("KASAN shadow", "KASAN_SHADOW_START", "KASAN_SHADOW_END", ""),
        ("modules", "MODULES_VADDR", "MODULES_END", modules_note),
        ("vmalloc", "VMALLOC_START", "VMALLOC_END", ""),
        ("fixmap", "FIXADDR_START", "FIXADDR_TOP", fixmap_note),
        ("PCI I/O", "PCI_IO_START", "PCI_IO_END", ""),
    )
    wanted = [
        Region("user half", 0, HALF, "no kernel address; faults beyond the user's own bits"),
        Region("non-canonical", HALF, lowest, "no page table translates it"),
    ]
    wanted += [Region(n, at[a], at[b], t) for n, a, b, t in names if a in at and b in at]
    vmemmap = Region("vmemmap", *window.used)
    provenance = "formula" if found else "window only"
    if own:
        provenance = f"{provenance} + {', '.join(sorted(own))} of this kernel"
    return named(Layout(_cover(wanted, vmemmap, gap), provenance), window)


def named(layout: Layout, window: Window) -> Layout:
    """Return the layout with the gaps beside the window in use called by what they are.

    The kernel's Documentation/arch/arm64/memory.rst calls the one behind vmalloc a guard region.
    """
    out: list[Region] = []
    for region in layout.regions:
        inner = {window.start, window.used[0]} if region.name == "unused" else set()
        cuts = [region.start, *sorted(at for at in inner if region.start < at < region.end)]
        for start, end in pairwise((*cuts, region.end)):
            name = region.name
            if name == "unused" and window.start <= start and end <= window.used[0]:
                name = UNUSED if window.use_known else f"vmemmap or {UNUSED}"
                if window.vmalloc_takes_unused:
                    name = GUARD_HOLE if window.use_known else "vmemmap or vmalloc"
            elif name == "unused" and window.vmalloc_takes_unused and end == window.start:
                name = GUARD_HOLE if window.use_known else f"{GUARD_HOLE} or vmalloc"
            out.append(Region(name, start, end, region.note))
    return Layout(tuple(out), layout.provenance)


def _cover(wanted: list[Region], vmemmap: Region, gap: str) -> tuple[Region, ...]:
    """Put the regions in order, fill the gaps; ``vmemmap`` wins, then the lower of two."""
    pieces = [vmemmap]
    for region in wanted:
        for start, end in (
            (region.start, min(region.end, vmemmap.start)),
            (max(region.start, vmemmap.end), min(region.end, TOP)),
        ):
            if start < end:
                pieces.append(Region(region.name, start, end, region.note))
    pieces.sort(key=lambda piece: piece.start)
    out: list[Region] = []
    at = 0
    for piece in [*pieces, Region(gap, TOP, TOP)]:
        if piece.start > at:
            out.append(Region(gap, at, piece.start))
            at = piece.start
        if piece.end > at:
            out.append(Region(piece.name, at, piece.end, piece.note))
            at = piece.end
    return tuple(out)
