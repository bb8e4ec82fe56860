# SPDX-License-Identifier: GPL-2.0-only
"""Parses an arm64 Oops, and finds the struct page that the kernel failed at.

The proof. A register holds the address p of a struct page that the fault's address lies in, another
one a page frame number n, and p = vmemmap + n * sizeof(struct page), modulo 2^64: what pfn_to_page
computes, and no accident among 30 numbers of 64 bits. Promises: a field is read only if it is
complete and in the kernel's own format; registers only if they are this Oops' own; without the
proof there is no struct page.

Sources: arch/arm64/mm/fault.c (die_kernel_fault, show_pte, mem_abort_decode), kernel/traps.c (die,
dump_kernel_instr), kernel/process.c (__show_regs); mm/mm_init.c and include/asm-generic/
memory_model.h for what fails.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.kernel_functions import KINDS, ON_THE_WAY
from tracers.logs.dmesg import symbols
from tracers.logs.dmesg.splats import TRACE, Thread, find_pc, pc_of, read_thread, registers_in
from tracers.logs.dmesg.symbols import Frame, Place, bare
from tracers.window import Window

_ADDRESS: Final = re.compile(
    rb"Unable to handle kernel\s[\s!-~]{1,90}?virtual\saddress\s{1,9}([0-9a-f]{1,16})(?![0-9a-f])"
)
_ERROR: Final = re.compile(rb"Internal error: ([ -~]{1,120})")
#: show_pte; vabits_actual since 5.4, whichever of the two tables it is. pgdp is a physical address
#: since 48caebf7e1313 (5.0); before, there was a space around "=".
_TABLES: Final = re.compile(
    rb"(?:user|swapper)\spgtable:\s(?P<kib>4|16|64)k\spages,\s(?P<bits>\d{2})-bit\sVAs"
    rb"(?:,\spgdp=(?P<pgdp>[0-9a-f]{16})(?![0-9a-f]))?"
)
#: "[…] address between user and kernel address ranges": not below 2^bits.
_BETWEEN: Final = re.compile(
    rb"\[([0-9a-f]{16})\]\saddress\sbetween\suser\sand\skernel\saddress\sranges"
)
_WALK: Final = re.compile(rb"\[[0-9a-f]{16}\] (pgd=[0-9a-f]{16}[0-9a-z=, ]{0,160})")
_ESR: Final = re.compile(rb"ESR = 0x([0-9a-f]{8,16})(?![0-9a-f])")
_CODE: Final = re.compile(rb"Code: ([0-9a-f() ?]{8,90})")
#: What initialises the struct pages of a device, and the callers of it; mm/mm_init.c, mm/memremap.c
#: (pagemap_range: 5.10; __init_zone_device_page: 5.19).
_OURS: Final = frozenset(
    (
        "__init_single_page",
        "__init_zone_device_page",
        "memmap_init_zone_device",
        "pagemap_range",
        "devm_memremap_pages",
        *KINDS,
        *ON_THE_WAY,
    )
)
#: Those whose first parameters are the struct page and its pfn.
_PAGE_AND_PFN: Final = ("__init_zone_device_page", "__init_single_page")
_PAGE_BYTES: Final = 64  # sizeof(struct page), where nothing is known


@dataclass(frozen=True, slots=True)
class Oops:
    """One Oops. Bytes are as the kernel printed them: escape before showing."""

    error: str | None  # "Oops: 0000000096000044 [#1] SMP"
    address: int | None  # the virtual address that could not be accessed
    thread: Thread | None
    place: Place | None  # where the kernel was
    registers: Mapping[int, int]  # those that are there, by number
    frames: tuple[Frame, ...]
    whole: bool  # the chain has its end
    page_size: int | None  # bytes
    bits: int | None  # of virtual addresses in use
    between: int | None  # an address that is in neither half: not below 2^bits
    ram: int | None  # a physical address that is RAM: a page table's
    esr: int | None
    walk: str | None  # the entries of the page tables on the way to the address
    code: str | None  # the instructions around, the one that failed in brackets

    @property
    def ours(self) -> bool:
        """Whether it happened while device memory was added or removed."""
        names = [bare(frame.name.encode()) for frame in self.frames]
        here = [self.place.name] if self.place else []
        return bool(_OURS.intersection(here + names))

    @property
    def chain(self) -> str | None:
        """Where it was, and its callers: "function+0x2c <- caller <- …"."""
        if self.place is None:
            return symbols.chain_of(self.frames, whole=self.whole)
        own = bool(self.frames) and self.frames[0].name == self.place.function.decode("ascii")
        rest = symbols.chain_of(self.frames[own:], whole=self.whole)
        return f"{self.place.text} <- {rest}" if rest else self.place.text


@dataclass(frozen=True, slots=True)
class Fault:
    """The struct page that an access failed at."""

    page: int  # its address
    size: int  # sizeof(struct page)
    pfn: int


def parse(text: bytes) -> Oops:
    """Read the text of an Oops' report, as far as it goes."""
    pc = pc_of(text)
    begin = max(find_pc(text), 0)
    trace = text.find(TRACE)
    end = trace if trace >= 0 else len(text)
    alone = text.count(b"Unable to handle kernel") <= 1 and text.count(b"pc :") == 1
    frames: tuple[Frame, ...] = ()
    whole = False
    if trace >= 0 and text.count(TRACE) == 1:
        frames, whole = symbols.frames_of(text[text.find(b"\n", trace) + 1 :])
    tables, address = _TABLES.search(text), _ADDRESS.search(text)
    return Oops(
        error=_text(_ERROR, text),
        address=int(address[1], 16) if address else None,
        thread=read_thread(text, 0, begin or end),
        place=pc,
        registers=_registers(registers_in(text, begin, end)) if alone else {},
        frames=frames,
        whole=whole,
        page_size=int(tables["kib"]) << 10 if tables else None,
        bits=int(tables["bits"]) if tables else None,
        between=_number(_BETWEEN, text),
        ram=int(tables["pgdp"], 16) if tables and tables["pgdp"] else None,
        esr=_number(_ESR, text),
        walk=_text(_WALK, text),
        code=_text(_CODE, text),
    )


def fault_of(oops: Oops, window: Window) -> Fault | None:
    """Return the struct page that an Oops of the machine of ``window`` failed at, if proven."""
    try:
        size = (window.pfn_to_page(1) - window.vmemmap) & MASK
        pairs = {
            (page, pfn)
            for page in _holding(oops, size)
            for pfn in oops.registers.values()
            if window.pfn_to_page(pfn) == page and pfn < 1 << (64 - window.page_shift)
        }
    except WindowError:
        return None
    if len(pairs) != 1:
        return None
    page, pfn = pairs.pop()
    return Fault(page, size, pfn)


def vmemmap_told(oops: Oops) -> tuple[int, int] | None:
    """Return vmemmap and a pfn by the arguments of the function that failed, if it can be so.

    For who does not know the machine. ``sizeof(struct page)`` is taken as 64, as on nearly every
    kernel. That the registers still hold the arguments is likely and not proven: what is made of
    it must fit a kernel's layout.
    """
    if oops.place is None or oops.place.name not in _PAGE_AND_PFN:
        return None
    page, pfn = oops.registers.get(0), oops.registers.get(1)
    if page is None or pfn is None or page not in _holding(oops, _PAGE_BYTES):
        return None
    return (page - pfn * _PAGE_BYTES) & MASK, pfn


def _holding(oops: Oops, size: int) -> set[int]:
    """Return the registers' values that can be the struct page of the address that failed."""
    if oops.address is None:
        return set()
    return {
        value
        for value in oops.registers.values()
        if value <= oops.address < value + size and value % 8 == 0
    }


def _registers(found: list[tuple[bytes, bytes]]) -> dict[int, int]:
    """Return the registers by number; none if one is there twice, as with another report's."""
    values = {int(number): int(value, 16) for number, value in found if int(number) <= 29}
    return values if len(values) == len(found) else {}


def _number(pattern: re.Pattern[bytes], text: bytes) -> int | None:
    found = pattern.search(text)
    return int(found[1], 16) if found else None


def _text(pattern: re.Pattern[bytes], text: bytes) -> str | None:
    found = pattern.search(text)
    return " ".join(found[1].decode("ascii").split()) if found else None
