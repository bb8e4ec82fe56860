# SPDX-License-Identifier: GPL-2.0-only
"""kernel_page_tables: real dumps against their kernels' notes, and dumps printed as ptdump.c does.

``Walk`` is note_page() of arch/arm64/mm/ptdump.c written out, over tables that hold something
wherever the test likes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.families import PAGE_SIZES, VA_BITS, Family, va_bits_min
from tracers.formulas import formula
from tracers.layout import marks
from tracers.page_tables import Geometry, Mark, read_dump, window_of_dump
from tracers.window import Window

TOP = 1 << 64
KERNELS = (
    "6.1.192-vmemlab-39bit",
    "6.1.192-vmemlab-once-39bit",
    "6.12.117-vmemlab-48bit",
    "7.3.4-vmemlab-64k-52bit",
    "7.3.4-vmemlab-64k-52bit-on-48bit",
)
#: As a reporter pasted it, prompt and all; what lies between was left out by the reporter.
PASTED = """\
   ~ # cat /sys/kernel/debug/kernel_page_tables
---[ Linear Mapping start ]---
0xffff000000000000-0xffff000000200000           2M PTE       RW NX SHD AF NG         UXN    MEM
0xffff008000000000-0xffff800000000000      130560G PGD
---[ Linear Mapping end ]---
0xfffffdff80000000-0xfffffdffbf600000        1014M PMD
0xfffffdffbf7e9000-0xfffffdffbf800000          92K PTE
---[ vmalloc() end ]---
0xfffffdffbf800000-0xfffffdffc0000000           8M PMD
---[ vmemmap start ]---
0xfffffdffc0000000-0xfffffdffc1000000          16M PMD       RW NX SHD AF NG     BLK UXN    MEM
0xffffff8000000000-0xffffffffc0000000         511G PUD
---[ vmemmap end ]---
0xffffffffc0000000-0xffffffffc0800000           8M PMD
---[ PCI I/O start ]---
0xffffffffc0800000-0xffffffffc0810000          64K PTE       RW NX SHD AF NG CON     UXN    DEV
~ # [  198.894563] random: crng init done
"""


def noted(captures: Path, kernel: str) -> dict[str, int]:
    text = (captures / kernel / "kcore-vmcoreinfo").read_text(errors="replace")
    found = re.findall(r"(?m)^(?:NUMBER|SIZE)?\(?(\w+)\)?=(0x[0-9a-f]+|[0-9]+)$", text)
    return {key: int(value, 0) for key, value in found}


# -- real dumps -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_dump_alone_gives_the_window_that_the_kernel_notes(captures: Path, kernel: str) -> None:
    note = noted(captures, kernel)
    dump = read_dump((captures / kernel / "kernel_page_tables").read_text())
    found = window_of_dump(dump)
    window = found.window
    assert window is not None
    bits = 64 - note["TCR_EL1_T1SZ"]
    unused = ((1 << note["VA_BITS"]) - (1 << bits)) // note["PAGESIZE"] * note["page"]
    assert window.used == (note["VMEMMAP_START"] + unused, note["VMEMMAP_END"])
    assert (window.page_size, window.struct_page) == (note["PAGESIZE"], note["page"])
    assert window.vabits_actual == bits
    # 48 bits with 64K pages: a kernel built for 52 has the same tables
    assert note["VA_BITS"] in found.built_for
    assert window.va_bits == min(found.built_for)
    known = window_of_dump(dump, va_bits=note["VA_BITS"]).window
    assert known is not None
    assert (known.start, known.end) == (note["VMEMMAP_START"], note["VMEMMAP_END"])
    assert (Geometry.of(note["PAGESIZE"], note["VA_BITS"])) in dump.geometries


def test_a_pasted_dump_with_a_prompt_and_gaps() -> None:
    dump = read_dump(PASTED)
    # the 64K with CON at 0xffffffffc0800000 are of 4K pages, the PGD entries of four levels
    assert dump.geometries == {Geometry(4096, 4)}
    found = window_of_dump(dump)
    assert found.window is not None
    assert (found.window.start, found.window.end) == (0xFFFFFDFFC0000000, 0xFFFFFFFFC0000000)
    assert (found.built_for, found.only_size) == ((48,), True)
    # with returns at its ends of lines, too
    assert read_dump(PASTED.replace("\n", "\r\n")) == dump


def test_where_lines_are_missing_a_marker_tells_little() -> None:
    line = "0xfffffdffbf800000-0xfffffdffc0000000           8M PMD\n"
    (start,) = (m for m in read_dump(PASTED).marks(4096, 48) if m.name == "VMEMMAP_START")
    assert (start.addr, start.low) == (0xFFFFFDFFC0000000, 0xFFFFFDFFBFE00000)
    (start,) = (
        m for m in read_dump(PASTED.replace(line, "")).marks(4096, 48) if m.name == "VMEMMAP_START"
    )
    assert start == Mark("VMEMMAP_START", 0xFFFFFDFFBF800000, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no page tables in it"),
        ("---[ vmemmap start ]---\n" * 99, "no page tables in it"),
        (PASTED.replace("vmemmap end", "other end"), "no marker of VMEMMAP_END"),
        (PASTED.replace("0xffff000000000000", "0xffff100000000000"), "no kernel has such"),
        (PASTED.replace("0200000  ", "0200400  ", 1), "no kernel has such"),
        (PASTED.replace("ffffc0800000", "ffffc0a00000"), "not where any known layout"),
    ],
)
def test_what_is_no_kernels_gives_no_window(text: str, said: str) -> None:
    found = window_of_dump(read_dump(text))
    assert found.window is None
    assert said in found.reason


def test_what_is_known_narrows_it_down(captures: Path) -> None:
    dump = read_dump((captures / KERNELS[2] / "kernel_page_tables").read_text())
    assert window_of_dump(dump, page_size=65536).window is None
    assert window_of_dump(dump, va_bits=39).window is None
    # "vmemmap start" stands at the next 512 GiB: struct pages of 72 fit as well as of 64
    assert not window_of_dump(dump).only_size
    assert window_of_dump(dump, struct_page=64).only_size
    assert window_of_dump(dump, struct_page=96).window is None


# -- ptdump.c, written out --------------------------------------------------------------------


@dataclass
class Walk:
    """What ptdump prints of page tables that are there wherever ``touched`` says."""

    page: int
    levels: int
    markers: list[tuple[int, str]]
    touched: dict[int, int]  # address -> level of the entry that maps it, 0 the lowest
    text: list[str] = field(default_factory=list)
    at: int = 0  # st->marker
    start: int = 0
    level: int = -1
    prot: int = 0

    @property
    def per_level(self) -> int:
        return self.page.bit_length() - 1 - 3

    def name(self, level: int) -> str:
        return "PGD" if level == self.levels - 1 else ("PTE", "PMD", "PUD", "P4D")[level]

    def border(self, number: int) -> int:
        return self.markers[number][0] if number < len(self.markers) else TOP  # { -1, NULL }

    def next_marker(self) -> None:
        self.at += 1
        self.text.append(f"---[ {self.markers[self.at][1]} ]---")

    def note_page(self, addr: int, level: int, prot: int) -> None:
        if self.level == -1:
            self.level, self.prot, self.start = level, prot, addr
            self.text.append(f"---[ {self.markers[0][1]} ]---")
        elif (prot, level) != (self.prot, self.level) or addr >= self.border(self.at + 1):
            flags = "       RW NX SHD AF NG     BLK UXN    MEM/NORMAL" if self.prot else ""
            self.text.append(
                f"0x{self.start:016x}-0x{addr % TOP:016x}   "
                f"{(addr - self.start) >> 10:9}K {self.name(self.level)}{flags}"
            )
            if addr >= self.border(self.at + 1) and addr < TOP:
                self.next_marker()
            self.start, self.prot, self.level = addr, prot, level
        if addr >= self.border(self.at + 1) and addr < TOP:
            self.next_marker()

    def walk(self, level: int, first: int, end: int) -> None:
        """Visit the entries of ``level`` in [first, end): of runs of empty ones, a few."""
        entry = self.page << self.per_level * level
        inside = {
            at // entry: deep for at, deep in sorted(self.touched.items()) if first <= at < end
        }
        borders = {-(-border // entry) + more for border, _ in self.markers for more in (0, 1)}
        numbers = {first // entry, *inside, *(n + 1 for n in inside), *borders}
        for number in sorted(n for n in numbers if first <= n * entry < end):
            deep = inside.get(number)
            if deep is None:
                self.note_page(number * entry, level, 0)
            elif deep >= level:
                self.note_page(number * entry, level, 1)
            else:
                self.walk(level - 1, number * entry, (number + 1) * entry)

    def dump(self) -> str:
        self.walk(self.levels - 1, self.markers[0][0], TOP)
        self.note_page(TOP, self.level ^ 1, 0)  # the end of the walk prints the last one
        return "\n".join(["# cat kernel_page_tables", *self.text, ""])


def kernels() -> Iterator[Window]:
    for family in Family:
        for page in PAGE_SIZES:
            for number in VA_BITS[page]:
                if number > 48 and page not in family.value.pages_52:
                    continue
                for size in (64, 80):
                    start, end = formula(family, va_bits=number, page_size=page, struct_page=size)
                    for bits in {va_bits_min(family, number, page), number}:
                        yield Window(
                            start,
                            end,
                            va_bits=number,
                            page_size=page,
                            struct_page=size,
                            vabits_actual=bits,
                            family=family,
                        )


def printed_by(window: Window) -> list[tuple[int, str]]:
    """address_markers of the release, without KASAN."""
    made = marks(window)
    family = window.family
    assert family is not None
    start = window.used[0] if family is Family.V6_9 else window.start
    where = made | {"VMEMMAP_START": start, "VMEMMAP_END": window.end}
    where.setdefault("MODULES_VADDR", made["KASAN_SHADOW_END"])
    where.setdefault("MODULES_END", where["MODULES_VADDR"] + (128 << 20))
    where.setdefault("VMALLOC_START", where["MODULES_END"])
    where["FIXADDR_START"] = made["FIXADDR_TOP"] - (4 << 20)
    if family is not Family.V6_9 and family is not Family.V4_14:
        where["PAGE_OFFSET"] = TOP - (1 << (window.va_bits or 0))
    words = {
        "PAGE_OFFSET": "Linear Mapping start",
        "PAGE_END": "Linear Mapping end",
        "MODULES_VADDR": "Modules start",
        "MODULES_END": "Modules end",
        "VMALLOC_START": "vmalloc() area",
        "VMALLOC_END": "vmalloc() end",
        "FIXADDR_START": "Fixmap start",
        "FIXADDR_TOP": "Fixmap end",
        "PCI_IO_START": "PCI I/O start",
        "PCI_IO_END": "PCI I/O end",
        "VMEMMAP_START": "vmemmap start",
        "VMEMMAP_END": "vmemmap end",
    }
    if family is Family.V4_14:
        del words["PAGE_END"]
        words["PAGE_OFFSET"] = "Linear Mapping"
    return sorted((where[name], word) for name, word in words.items())


@given(
    st.sampled_from(list(kernels())),
    st.lists(st.tuples(st.integers(0, 11), st.integers(-(1 << 36), 1 << 36), st.integers(0, 2))),
    st.booleans(),
)
def test_no_dump_gives_a_window_that_is_not_its_kernels(
    window: Window, touched: list[tuple[int, int, int]], told: bool
) -> None:
    markers = printed_by(window)
    page, bits = window.page_size or 0, window.va_bits or 0
    geometry = Geometry.of(page, bits)
    base = markers[0][0]
    there = {
        min(max(markers[number % len(markers)][0] + by, base), TOP - 1): deep
        for number, by, deep in touched
    }
    dump = read_dump(Walk(page, geometry.levels, markers, there).dump())
    assert geometry in dump.geometries
    for mark in dump.marks(page, bits):
        assert any(mark.agrees(border) for border, _ in markers), mark
    limits = {"page_size": page, "va_bits": bits} if told else {}
    found = window_of_dump(dump, family=window.family, **limits)
    made = found.window
    if made is None:
        assert found.reason
    elif window.struct_page == 64 or found.only_size:
        assert (made.end, made.page_size, made.struct_page) == (
            window.end,
            page,
            window.struct_page,
        )
        if made.vabits_actual is None:  # until 6.8 the tables of a 52-bit kernel look alike
            assert made.start == window.start
            assert window.family is not Family.V6_9
        else:
            assert (made.used, made.vabits_actual) == (window.used, window.vabits_actual)
        assert bits in found.built_for


@given(st.sampled_from(list(kernels())))
def test_tables_down_to_each_border_give_the_window(window: Window) -> None:
    """Something mapped right before every marker: each is printed where its border is."""
    markers = printed_by(window)
    page, bits = window.page_size or 0, window.va_bits or 0
    there = {border - 1: 0 for border, _ in markers[1:]}
    dump = read_dump(Walk(page, Geometry.of(page, bits).levels, markers, there).dump())
    assert all(mark.exact(page) or mark.low is None for mark in dump.marks(page, bits))
    found = window_of_dump(dump, va_bits=bits, page_size=page).window
    assert found is not None
    assert (found.start, found.end, found.family) == (window.start, window.end, window.family)
    # until 6.8 the window is rounded up, and its size tells no more than that
    assert found.struct_page in (window.struct_page, None)
