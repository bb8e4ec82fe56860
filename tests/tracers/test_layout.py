# SPDX-License-Identifier: GPL-2.0-only
"""Layouts against kernel_page_tables of real kernels, boot logs and the kernel's own tables."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracers.families import Family
from tracers.formulas import WindowError, formula
from tracers.layout import TOP, Layout, Region, layout_for, marks
from tracers.machine import read_machine
from tracers.window import Window, window_from_facts

MIB = 1 << 20
# ptdump's words -> the kernel's macros
MARKERS = {
    "Linear Mapping end": "PAGE_END",
    "Modules start": "MODULES_VADDR",
    "Modules end": "MODULES_END",
    "vmalloc() area": "VMALLOC_START",
    "vmalloc() end": "VMALLOC_END",
    "Fixmap end": "FIXADDR_TOP",
    "PCI I/O start": "PCI_IO_START",
    "PCI I/O end": "PCI_IO_END",
}
GRANULES = {"PTE": 12, "PMD": 21, "PUD": 30, "PGD": 39}  # 4K pages, four levels


def shown(path: Path, levels: int) -> dict[str, tuple[int, int]]:
    """Map each marker to (low, high]: it is printed late by less than one table entry."""
    found: dict[str, tuple[int, int]] = {}
    high = low = 0
    for line in path.read_text().splitlines():
        if span := re.match(r"0x\w{16}-0x(\w{16}) +\d+[KMGT] (P\w+)", line):
            high = int(span[1], 16)
            low = high - (1 << (30 if span[2] == "PGD" and levels == 3 else GRANULES[span[2]]))
        elif mark := re.match(r"---\[ (.+) \]---", line):
            found[mark[1]] = (low, high)
    return found


def build(family: Family, va_bits: int = 48, page_size: int = 4096, actual: int = 48) -> Window:
    sizes = {"va_bits": va_bits, "page_size": page_size, "struct_page": 64}
    start, end = formula(family, **sizes)
    return Window(start, end, **sizes, vabits_actual=actual, family=family)


def spans(layout: Layout) -> dict[str, tuple[int, int]]:
    return {region.name: (region.start, region.end) for region in layout.regions}


# -- real kernels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "levels"),
    [
        ("6.1.192-vmemlab-39bit", 3),
        ("6.1.192-vmemlab-once-39bit", 3),
        ("6.12.117-vmemlab-48bit", 4),
    ],
)
def test_every_border_the_formula_predicts_is_where_the_kernel_shows_it(
    captures: Path, kernel: str, levels: int
) -> None:
    window = read_machine(captures / kernel).window
    assert window is not None
    predicted = marks(window)
    seen = shown(captures / kernel / "kernel_page_tables", levels)
    compared = 0
    for words, name in MARKERS.items():
        if name in predicted:
            low, high = seen[words]
            assert low < predicted[name] <= high, words
            compared += 1
    assert compared == (5 if window.family is Family.V5_11 else 8)
    for words, border in (("vmemmap start", window.start), ("vmemmap end", window.end)):
        low, high = seen[words]
        assert low < border <= high
    first = (captures / kernel / "kernel_page_tables").read_text().splitlines()[1]
    assert predicted["PAGE_OFFSET"] == int(first[2:18], 16)


@pytest.mark.parametrize("kernel", ["6.1.192-vmemlab-39bit", "6.12.117-vmemlab-48bit"])
def test_formula_equals_what_vmcoreinfo_says(captures: Path, kernel: str) -> None:
    window = read_machine(captures / kernel).window
    assert window is not None
    text = (captures / kernel / "kcore-vmcoreinfo").read_text()
    said = re.findall(r"NUMBER\((MODULES_\w+|VMALLOC_\w+)\)=(0x\w+)", text)
    predicted = marks(window)
    both = {name: int(value, 16) for name, value in said if name in predicted}
    assert "VMALLOC_END" in both
    assert both == {name: predicted[name] for name in both}


def test_pfn_0_of_the_6_1_lab_kernel_lands_in_pci_io(captures: Path) -> None:
    machine = read_machine(captures / "6.1.192-vmemlab-39bit")
    assert machine.window is not None
    assert machine.layout is not None
    start = machine.window.pfn_to_page(0)
    assert start == 0xFFFF_FFFD_FF00_0000
    assert machine.layout.lands_on(start, start + 2 * MIB) == "PCI I/O"
    formula_only = layout_for(machine.window)
    assert formula_only.lands_on(start, start + 2 * MIB) == "PCI I/O"


def test_regions_of_the_6_1_lab_kernel(captures: Path) -> None:
    layout = read_machine(captures / "6.1.192-vmemlab-39bit").layout
    assert layout is not None
    # read off kernel_page_tables by eye
    assert [(r.name, r.start) for r in layout.regions[2:]] == [
        ("linear map", 0xFFFF_FF80_0000_0000),
        ("modules", 0xFFFF_FFC0_0000_0000),
        ("vmalloc", 0xFFFF_FFC0_0800_0000),
        ("unused", 0xFFFF_FFFD_F000_0000),
        ("fixmap", 0xFFFF_FFFD_FDBF_9000),
        ("unused", 0xFFFF_FFFD_FE00_0000),
        ("PCI I/O", 0xFFFF_FFFD_FE80_0000),
        ("unused", 0xFFFF_FFFD_FF80_0000),
        ("vmemmap", 0xFFFF_FFFE_0000_0000),
        ("unused", 0xFFFF_FFFF_0000_0000),
    ]


def test_regions_of_a_5_4_kernel() -> None:
    # Documentation/arm64/memory.rst of 5.4 (48 bits, 4K); vmalloc from a 5.10 boot log,
    # "KIMAGE_VADDR is 0xffff800010000000"
    found = spans(layout_for(build(Family.V5_4)))
    assert found["linear map"] == (0xFFFF_0000_0000_0000, 0xFFFF_8000_0000_0000)
    assert found["modules"] == (0xFFFF_8000_0000_0000, 0xFFFF_8000_1000_0000)
    # - PUD_SIZE - VMEMMAP_SIZE - SZ_64K
    assert found["vmalloc"] == (0xFFFF_8000_1000_0000, TOP - 2**30 - 2**41 - 2**16)
    assert found["fixmap"][1] == 0xFFFF_FDFF_FEA0_0000
    assert found["PCI I/O"] == (0xFFFF_FDFF_FEC0_0000, 0xFFFF_FDFF_FFC0_0000)
    assert found["vmemmap"] == (0xFFFF_FDFF_FFE0_0000, 0xFFFF_FFFF_FFE0_0000)


def test_regions_of_a_4_14_kernel() -> None:
    # "Virtual kernel memory layout" in boot logs of 4.14 (48 bits, 4K); modules: 128 MiB there
    found = spans(layout_for(build(Family.V4_14)))
    assert found["modules"][0] == 0xFFFF_0000_0000_0000
    assert found["vmalloc"][1] == 0xFFFF_7DFF_BFFF_0000
    assert found["fixmap"][1] == 0xFFFF_7DFF_FEC0_0000
    assert found["fixmap"][0] <= 0xFFFF_7DFF_FE7F_9000  # the largest of those logs
    assert found["PCI I/O"] == (0xFFFF_7DFF_FEE0_0000, 0xFFFF_7DFF_FFE0_0000)
    assert found["vmemmap"] == (0xFFFF_7E00_0000_0000, 0xFFFF_8000_0000_0000)
    assert found["linear map"] == (0xFFFF_8000_0000_0000, TOP)  # above the window


def test_kasan_shadow_of_a_4_14_kernel() -> None:
    # boot log: "kasan : 0xffff000000000000 - 0xffff200000000000", modules follow
    found = spans(layout_for(build(Family.V4_14), kasan_shift=3))
    assert found["KASAN shadow"] == (0xFFFF_0000_0000_0000, 0xFFFF_2000_0000_0000)
    assert found["modules"][0] == 0xFFFF_2000_0000_0000


def test_kasan_shadow_of_later_kernels() -> None:
    # Kconfig's KASAN_SHADOW_OFFSET for 48 bits + 2^61: 0xdfffa0… until 5.10, 0xdfff80… since
    shadow = (0xFFFF_8000_0000_0000, 0xDFFF_A000_0000_0000 + (1 << 61))
    assert spans(layout_for(build(Family.V5_4), kasan_shift=3))["KASAN shadow"] == shadow
    found = spans(layout_for(build(Family.V5_11), kasan_shift=3))
    assert found["KASAN shadow"][1] == 0xDFFF_8000_0000_0000 + (1 << 61)
    assert found["linear map"][1] == found["KASAN shadow"][0] == 0xFFFF_6000_0000_0000


def test_52_bit_kernel_on_48_bits_has_vmalloc_in_the_unused_window() -> None:
    window = build(Family.V6_9, 52)
    layout = layout_for(window)
    assert layout.lands_on(window.start, window.start + MIB) == "vmalloc"
    assert layout.lands_on(window.used[0], window.used[0] + MIB) == "vmemmap"
    assert layout.lands_on(TOP - 2**52, TOP - 2**52 + 1) == "non-canonical"
    # before 6.9 nobody used it (d432b8d57c0c)
    older = build(Family.V5_11, 52, 65536)
    assert layout_for(older).lands_on(older.start, older.start + MIB) == "unused vmemmap"


# -- properties -------------------------------------------------------------------------------

BUILDABLE = st.sampled_from(
    [(39, 4096), (48, 4096), (52, 4096), (36, 16384), (47, 16384), (52, 16384), (42, 65536)]
)
NAMES = [*marks(build(Family.V6_9)), "FIXADDR_START", "VMEMMAP_START"]
BORDERS = st.dictionaries(st.sampled_from(NAMES), st.integers(-1, TOP + 1))


@example(Family.V5_11, (39, 4096), None, {"MODULES_VADDR": TOP - 1})  # no room for modules above
@given(st.sampled_from(Family), BUILDABLE, st.sampled_from([None, 3, 4]), BORDERS)
def test_any_layout_is_whole_and_keeps_the_window(
    family: Family, size: tuple[int, int], kasan: int | None, exact: dict[str, int]
) -> None:
    window = build(family, *size, actual=min(size[0], 48))
    layout = layout_for(window, exact=exact, kasan_shift=kasan)
    assert layout.regions[0].start == 0
    assert layout.regions[-1].end == TOP
    assert all(a.end == b.start for a, b in zip(layout.regions, layout.regions[1:], strict=False))
    assert spans(layout)["vmemmap"] == window.used
    assert Layout.from_dict(layout.to_dict()) == layout


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    ("bits", "page"),
    [(39, 4096), (48, 4096), (36, 16384), (47, 16384), (48, 16384), (42, 65536), (48, 65536)],
)
def test_no_region_of_any_family_is_pushed_aside(family: Family, bits: int, page: int) -> None:
    window = build(family, bits, page, actual=bits)
    found = marks(window)
    regions = spans(layout_for(window))
    assert regions["vmalloc"][1] == found["VMALLOC_END"]
    assert regions["fixmap"] == (found["FIXADDR_TOP"] - 8 * MIB, found["FIXADDR_TOP"])
    assert regions["PCI I/O"] == (found["PCI_IO_START"], found["PCI_IO_START"] + 16 * MIB)
    assert regions["linear map"] == (found["PAGE_OFFSET"], found["PAGE_END"])


def test_lands_on_names_all_regions_in_order() -> None:
    window = build(Family.V6_9)
    layout = layout_for(window)
    assert layout.lands_on(window.end - 1, window.end + 1) == "vmemmap + unused"
    assert layout.lands_on(window.end, window.end + 8 * MIB) == "unused"
    assert layout.lands_on(window.end, window.end + 8 * MIB + 1) == "unused + PCI I/O"
    assert layout.lands_on(window.end, window.end) == "unused"
    assert layout.lands_on(TOP - 1, TOP) == layout.lands_on(TOP - 1, 0) == "unused"
    assert layout.lands_on(TOP - 1, 1) == "unused + user half"


def test_without_a_family_the_neighbours_are_unknown() -> None:
    window = Window(0xFFFF_FC00_0000_0000, 0xFFFF_FE00_0000_0000)
    layout = layout_for(window, exact={"VMALLOC_START": TOP - 2**47, "VMALLOC_END": TOP - 2**43})
    assert layout.lands_on(window.start, window.end) == "vmemmap"
    assert layout.lands_on(window.end, window.end + 1) == "unknown"
    assert layout.lands_on(TOP - 2**47, TOP - 2**43) == "vmalloc"
    assert layout.provenance == "window only + VMALLOC_END, VMALLOC_START of this kernel"


def test_own_facts_win_over_the_formula() -> None:
    window = window_from_facts(
        {"va_bits": 48, "page_size": 4096, "struct_page": 64}, release="6.12"
    )
    own = {"FIXADDR_START": TOP - 12 * MIB, "VMALLOC_END": window.start - 64 * MIB}
    layout = layout_for(window, exact=own)
    assert spans(layout)["vmalloc"][1] == window.start - 64 * MIB
    fixmap = next(region for region in layout.regions if region.name == "fixmap")
    assert (fixmap.start, fixmap.note) == (TOP - 12 * MIB, "")


@pytest.mark.parametrize(
    "regions",
    [
        (),
        (Region("a", 0, 5),),
        (Region("a", 1, TOP),),
        (Region("a", 0, 5), Region("b", 6, TOP)),
        (Region("a", 0, 5), Region("b", 5, 5), Region("c", 5, TOP)),
        (Region("a", 0, TOP), Region("b", TOP, TOP + 1)),
    ],
)
def test_a_layout_with_a_hole_is_refused(regions: tuple[Region, ...]) -> None:
    with pytest.raises(WindowError, match="not a layout"):
        Layout(regions, "formula")


@pytest.mark.parametrize("told", [{}, {"regions": 3, "provenance": ""}, {"regions": [{}]}, [], 3])
def test_bad_dictionary_is_a_window_error(told: object) -> None:
    with pytest.raises(WindowError, match="not a layout"):
        Layout.from_dict(told)
