# SPDX-License-Identifier: GPL-2.0-only
"""The log of an Oops as recordings have it: eight WARNs, then the kernel fails at a struct page.

The numbers are a 48-bit kernel's own: its VMCOREINFO note has ``vmemmap``, the window, PHYS_OFFSET;
its Oops x0 = 0x1ffb2000000 (the struct page) and x1 = 0xfffd00000 (the pfn).
"""

from recordings.format.header import Header
from tracers.layout import layout_for
from tracers.machine import Machine
from tracers.window import window_from_facts

VMEMMAP = 0xFFFF_FDFF_BE00_0000  # SYMBOL(vmemmap)
WINDOW = window_from_facts(
    {"va_bits": 48, "page_size": 4096, "struct_page": 64, "memstart": 0x8000_0000,
     "section_size_bits": 27, "vabits_actual": 48},
    start=0xFFFF_FDFF_C000_0000,
    end=0xFFFF_FFFF_C000_0000,
    provenance={"window": "vmcoreinfo"},
)  # fmt: skip
MACHINE = Machine(release="6.8.7-demo", arch="aarch64", window=WINDOW, layout=layout_for(WINDOW))
HEADER = Header(machine=MACHINE, origin={"importer": "dmesg"})
PFN, PAGE = 0xF_FFD0_0000, 0x1FF_B200_0000
FAILED = "__init_zone_device_page+0x2c"
CHAIN = (
    f"{FAILED} <- memmap_init_zone_device <- pagemap_range <- memremap_pages"
    " <- devm_memremap_pages <- demo_probe [demo] <- ret_from_fork"
)
SECTION = 0x20_0000  # struct pages of a section, bytes
FIRST = 22_100_000_000  # ns


def _row(at: int, kind: str, **more) -> dict:
    return {
        "ts_ns": FIRST + at, "kind": kind, "phase": "point", "source": "dmesg", "cpu": 0,
        "tid": 564, "comm": "kworker/0:2",
    } | more  # fmt: skip


def fault(at: int = 77_085_000, page: int | None = PAGE, **more) -> dict:
    """One Oops; ``page`` None: which struct page it was is not proven."""
    where = {"start": None, "end": None, "pfn": None, "nr_pages": None}
    if page is not None:
        pfn = ((page - VMEMMAP) & 2**64 - 1) // 64
        where = {"start": page, "end": page + 64, "pfn": pfn, "nr_pages": 1}
    return _row(at, "fault", site=CHAIN, **where) | more


def rows(warns: int = 8, page: int | None = PAGE) -> list[dict]:
    """``warns`` sections populated out of the window, each with its WARN, then the Oops."""
    told = []
    for number in range(warns):
        start = PAGE + number * SECTION
        at = number * 9_000_000
        told.append(_row(at, "warn", site="arch/arm64/mm/mmu.c", line=1187))
        told.append(_row(at, "populate", start=start, end=start + SECTION))
    return [*told, fault(page=page)]
