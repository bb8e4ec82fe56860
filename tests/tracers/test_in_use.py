# SPDX-License-Identifier: GPL-2.0-only
"""The window in use: two booted CPUs, every family by hand, and what tells the bits."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.families import GUARD, Family
from tracers.formulas import WindowError, formula
from tracers.in_use import bits_in_use, unused
from tracers.layout import layout_for
from tracers.machine import Machine, read_machine
from tracers.window import Regime, Window

LVA, PLAIN = "7.3.4-vmemlab-64k-52bit", "7.3.4-vmemlab-64k-52bit-on-48bit"
#: below.ftrace.txt of both: the struct pages of 128 MiB at physical 0.
CALLS = {
    LVA: (0xFFFF_FC1F_BFF0_0000, 0xFFFF_FC1F_BFF2_0000),
    PLAIN: (0xFFFF_FFDF_BFF0_0000, 0xFFFF_FFDF_BFF2_0000),
}
GIB, TIB, TOP = 1 << 30, 1 << 40, 1 << 64


def window(machine: Machine) -> Window:
    assert machine.window is not None
    return machine.window


# -- the two CPUs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "bits", "used", "warned"),
    [(LVA, 52, 0xFFFF_FC1F_C000_0000, 2), (PLAIN, 48, 0xFFFF_FFDF_C000_0000, 0)],
)
def test_the_same_call_warns_on_one_cpu_and_is_silent_on_the_other(
    captures: Path, kernel: str, bits: int, used: int, warned: int
) -> None:
    trace = (captures / kernel / "below.ftrace.txt").read_text()
    assert len(re.findall(r": warn: ", trace)) == warned
    calls = set(re.findall(r"vmemmap_\w+: .* start=0x(\w+) end=0x(\w+)", trace))
    assert {(int(a, 16), int(b, 16)) for a, b in calls} == {CALLS[kernel]}
    machine = read_machine(captures / kernel)
    found, (start, end) = window(machine), CALLS[kernel]
    assert machine.problems == ()
    assert (found.vabits_actual, found.use_known) == (bits, True)
    assert found.used == (used, 0xFFFF_FFFF_C000_0000)
    assert found.regime(start, end) is Regime.BELOW
    assert found.warns(start, end) is bool(warned)
    assert found.silent(start, end) is not bool(warned)
    # RAM begins at 1 GiB, in both boots without KASLR
    assert found.phys_range[0] == GIB
    assert found.pfn_to_page(0) == start
    assert machine.layout is not None
    assert machine.layout.lands_on(start, end) == "guard hole"


@pytest.mark.parametrize("kernel", [LVA, PLAIN])
def test_the_page_tables_show_it_between_vmalloc_end_and_vmemmap_start(
    captures: Path, kernel: str
) -> None:
    """MEM/NORMAL of 128 KiB where a layout of the kernel's own numbers has the guard hole."""
    text = (captures / kernel / "mapped-below" / "kernel_page_tables").read_text()
    start, end = CALLS[kernel]
    (line,) = (each for each in text.splitlines() if each.startswith(f"0x{start:016x}-0x{end:x}"))
    assert "MEM/NORMAL" in line
    before = text[: text.index(line)].splitlines()
    markers = [each for each in before if each.startswith("---[")]
    assert markers[-1] == "---[ vmalloc() end ]---"
    note = (captures / kernel / "kcore-vmcoreinfo").read_text()
    vmalloc_end = int(re.findall(r"NUMBER\(VMALLOC_END\)=(\w+)", note)[0], 16)
    assert vmalloc_end <= start
    assert end <= vmalloc_end + GUARD


def test_the_mirror_question_nothing_is_blind_above(captures: Path) -> None:
    """VMEMMAP_END is that of the linear map's end, which no CPU moves; behind it lies PCI I/O."""
    for kernel in (LVA, PLAIN):
        found = window(read_machine(captures / kernel))
        # struct page behind the last page of the linear map: _PAGE_END(48), 0xffff800000000000
        bits = found.vabits_actual or 0
        linear_pages = ((1 << bits) - (1 << 47)) // 65536
        assert found.used[0] + linear_pages * 64 == found.end
        assert found.warns(found.end, found.end + 64)
        assert not found.warns(found.end - 64, found.end)


@pytest.mark.parametrize("struct_page", [56, 64, 80])
@pytest.mark.parametrize("bits", [39, 47, 48, 52])
@pytest.mark.parametrize("page", [4096, 16384, 65536])
@pytest.mark.parametrize("family", [Family.V6_9, Family.V5_11, Family.V5_4])
def test_the_linear_map_ends_where_the_window_does(
    family: Family, page: int, bits: int, struct_page: int
) -> None:
    """No CPU has struct pages above, and what a window is rounded up by is nobody else's."""
    sizes = {"va_bits": bits, "page_size": page, "struct_page": struct_page}
    start, end = formula(family, **sizes)
    fewest = bits if bits < 52 else 47 if (page, family) == (16384, Family.V6_9) else 48
    linear = ((1 << bits) - (1 << (fewest - 1))) // page * struct_page  # PAGE_OFFSET to PAGE_END
    rounded = (1 << (struct_page - 1).bit_length()) * linear // struct_page
    assert end - start == (linear if family is Family.V6_9 else rounded)
    for in_use in {bits, fewest}:
        made = Window(start, end, **sizes, vabits_actual=in_use, family=family)
        used = ((1 << in_use) - (1 << (fewest - 1))) // page * struct_page
        assert made.used[0] + used == start + linear
        layout = layout_for(made)
        assert layout.region_at(start + linear - 1).name == "vmemmap"
        assert layout.region_at(end - 1).name == "vmemmap"


# -- every family and page size, by hand ------------------------------------------------------

# (family, page size, bits on a lesser CPU, bytes of struct pages of its half of the linear map)
LESSER = [
    (Family.V5_4, 65536, 48, (1 << 47) // 65536 * 64),
    (Family.V5_11, 65536, 48, (1 << 47) // 65536 * 64),
    (Family.V6_9, 65536, 48, (1 << 47) // 65536 * 64),  # 128 GiB
    (Family.V6_9, 4096, 48, (1 << 47) // 4096 * 64),  # LPA2: 2 TiB
    (Family.V6_9, 16384, 47, (1 << 46) // 16384 * 64),  # LPA2, three levels: 256 GiB
]


@pytest.mark.parametrize(("family", "page", "bits", "used"), LESSER)
def test_what_is_in_use_on_a_lesser_cpu(family: Family, page: int, bits: int, used: int) -> None:
    sizes = {"va_bits": 52, "page_size": page, "struct_page": 64}
    start, end = formula(family, **sizes)
    small = Window(start, end, **sizes, vabits_actual=bits, family=family)
    assert small.used == (end - used, end)
    assert small.blind == (start, end - used)
    big = replace(small, vabits_actual=52)
    assert big.used == (start, end)
    assert big.blind == (start, start)
    unknown = replace(small, vabits_actual=None)
    assert (unknown.used, unknown.use_known) == (small.used, False)
    assert unknown.bits_possible == (bits, 52)
    # a struct page at each border and one before it
    at, below = end - used, end - used - 64
    assert small.regime(at, at + 64) is Regime.INSIDE
    assert small.silent(below, below + 64)
    assert small.silent(below, at + 64)  # straddling
    assert big.regime(below, below + 64) is Regime.INSIDE
    assert unknown.regime(below, below + 64) is Regime.UNKNOWN
    assert unknown.regime(at, at + 64) is Regime.INSIDE
    assert not small.silent(start - 64, start)
    assert small.warns(start - 64, start)


@pytest.mark.parametrize(
    ("family", "page", "lands_on"),
    [
        (Family.V5_4, 65536, "unused vmemmap"),
        (Family.V5_11, 65536, "unused vmemmap"),
        (Family.V6_9, 65536, "vmalloc"),  # d432b8d57c0c
        (Family.V6_9, 4096, "vmalloc"),
        (Family.V6_9, 16384, "vmalloc"),
    ],
)
def test_who_has_what_is_not_in_use(family: Family, page: int, lands_on: str) -> None:
    sizes = {"va_bits": 52, "page_size": page, "struct_page": 64}
    start, end = formula(family, **sizes)
    bits = 47 if page == 16384 else 48
    small = Window(start, end, **sizes, vabits_actual=bits, family=family)
    layout = layout_for(small)
    assert layout.lands_on(start, start + 64) == lands_on
    assert layout.lands_on(end - 64, end) == "vmemmap"
    hole = layout.region_at(small.used[0] - 64)
    assert hole.name == ("guard hole" if family is Family.V6_9 else "unused vmemmap")
    if family is Family.V6_9:
        assert (hole.start, hole.end) == (small.used[0] - GUARD, small.used[0])
    unsure = layout_for(replace(small, vabits_actual=None))
    told = "vmemmap or vmalloc" if family is Family.V6_9 else "vmemmap or unused vmemmap"
    assert unsure.lands_on(start, start + 64) == told


def test_other_kernels_have_no_choice() -> None:
    for bits, page in ((39, 4096), (48, 4096), (47, 16384), (42, 65536)):
        sizes = {"va_bits": bits, "page_size": page, "struct_page": 64}
        for family in Family:
            found = Window(*formula(family, **sizes), **sizes, family=family)
            assert found.use_known
            assert found.used == (found.start, found.end)
            assert found.bits_possible == (bits,)


@given(
    st.sampled_from(LESSER),
    st.sampled_from([56, 64, 80, 96]),
    st.sampled_from([(), ("va_bits",), ("page_size",), ("struct_page",), ("va_bits", "page_size"),
                     ("va_bits", "struct_page"), ("va_bits", "page_size", "struct_page")]),
)  # fmt: skip
def test_with_sizes_not_known_no_more_than_is_sure(
    case: tuple[Family, int, int, int], struct_page: int, hidden: tuple[str, ...]
) -> None:
    family, page, bits, _ = case
    sizes: dict[str, int | None] = {"va_bits": 52, "page_size": page, "struct_page": struct_page}
    start, end = formula(family, va_bits=52, page_size=page, struct_page=struct_page)
    small = Window(start, end, **sizes, vabits_actual=bits, family=family)  # type: ignore[arg-type]
    bare = Window(start, end, **sizes | dict.fromkeys(hidden))  # type: ignore[arg-type]
    assert not bare.use_known
    assert bare.used[0] >= small.used[0]
    assert bare.used[0] < end


def test_numbers_that_do_not_belong_together_prove_nothing() -> None:
    sizes = {"va_bits": 52, "page_size": 4096, "struct_page": 64}
    bare = {"family": None, "in_use": 48}
    assert unused(TOP - GIB - TIB, TOP - GIB, **sizes, **bare) == (0, TIB)
    with pytest.raises(WindowError, match="no arm64 kernel has vabits_actual = 39"):
        Window(*formula(Family.V6_9, **sizes), **sizes, vabits_actual=39)


# -- what tells the bits where T1SZ does not --------------------------------------------------


def reread(folder: Path, captures: Path, kernel: str, *, without: str, names: str = "") -> Machine:
    """The captured machine without the lines of the note that match ``without``."""
    source = captures / kernel
    note = (source / "kcore-vmcoreinfo").read_text().splitlines(keepends=True)
    kept = "".join(line for line in note if not re.match(without, line))
    (folder / "kcore-vmcoreinfo").write_text(kept)
    for name in names.split():
        (folder / name).write_bytes((source / name).read_bytes())
    return read_machine(folder)


T1SZ, VMALLOC, MEMSTART = (
    r"NUMBER\(TCR_EL1_T1SZ\)", r"NUMBER\(VMALLOC_END\)", r"NUMBER\(PHYS_OFFSET\)",
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "names", "told"),
    [
        ((PLAIN, T1SZ), "", (48, "VMALLOC_END")),
        ((LVA, T1SZ), "", (52, "VMALLOC_END")),
        ((LVA, f"{T1SZ}|{VMALLOC}"), "iomem", (52, "memstart_addr")),
        ((PLAIN, f"{T1SZ}|{VMALLOC}"), "iomem", (None, None)),  # KASLR may have made the same of 52
        ((PLAIN, f"{T1SZ}|{VMALLOC}|{MEMSTART}"), "kernel_page_tables", (48, "kernel_page_tables")),
        ((LVA, f"{T1SZ}|{VMALLOC}|{MEMSTART}"), "kernel_page_tables", (52, "kernel_page_tables")),
        ((LVA, f"{T1SZ}|{VMALLOC}|{MEMSTART}"), "", (None, None)),
    ],
)
def test_the_bits_without_t1sz(
    captures: Path, tmp_path: Path, source: tuple[str, str], names: str, told: tuple[int, str]
) -> None:
    kernel, without = source
    machine = reread(tmp_path, captures, kernel, without=without, names=names)
    found = window(machine)
    assert (found.vabits_actual, found.provenance.get("vabits_actual")) == told
    assert found.use_known is (told != (None, None))
    assert machine.agree


def test_sources_that_contradict_each_other_are_loud(captures: Path, tmp_path: Path) -> None:
    tables = captures / LVA / "kernel_page_tables"
    machine = reread(tmp_path, captures, PLAIN, without=T1SZ)
    (tmp_path / "kernel_page_tables").write_bytes(tables.read_bytes())
    machine = read_machine(tmp_path)
    assert not machine.agree
    assert any("VMALLOC_END says 48, kernel_page_tables says 52" in p for p in machine.problems)
    assert not window(machine).use_known


def test_impossible_bits_are_not_used(captures: Path, tmp_path: Path) -> None:
    note = (captures / PLAIN / "kcore-vmcoreinfo").read_text()
    text = note.replace("NUMBER(TCR_EL1_T1SZ)=0x10", "NUMBER(TCR_EL1_T1SZ)=0x19")
    (tmp_path / "kcore-vmcoreinfo").write_text(text)
    machine = read_machine(tmp_path)
    assert any("vabits_actual is 39, which no arm64 kernel has" in p for p in machine.problems)
    assert window(machine).vabits_actual == 48  # by VMALLOC_END


BORDERS = {48: 0xFFFF_FFDF_C000_0000, 52: 0xFFFF_FC1F_C000_0000}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"vmalloc_end": BORDERS[48] - GUARD}, [("VMALLOC_END", 48)]),
        ({"vmalloc_end": BORDERS[48]}, []),
        ({"vmalloc_end": BORDERS[48] - GUARD, "family": Family.V5_11}, []),
        ({"memstart": 0x4000_0000, "ram": 0x4000_0000}, [("memstart_addr", 52)]),
        ({"memstart": 0x4000_0000, "ram": 0x4000_0000, "family": Family.V5_4}, []),
        ({"memstart": 0x4000_0000}, []),
        # the most 48 bits can have: RAM less 2^52 - 2^48
        ({"memstart": (0x4000_0000 - (1 << 52) + (1 << 48)) % TOP, "ram": 0x4000_0000}, []),
    ],
)
def test_each_source_of_the_bits(facts: Mapping[str, int], told: list[tuple[str, int]]) -> None:
    assert list(bits_in_use(BORDERS, **{"family": Family.V6_9} | facts)) == told  # type: ignore[arg-type]


def test_a_kernel_without_a_choice_needs_no_source() -> None:
    assert list(bits_in_use({48: 1}, family=Family.V6_9, vmalloc_end=1 - GUARD)) == []


# -- another CPU ------------------------------------------------------------------------------


def test_the_window_of_one_cpu_is_that_of_the_other_with_its_bits(captures: Path) -> None:
    one, other = (window(read_machine(captures / kernel)) for kernel in (LVA, PLAIN))
    for have, want in ((one, other), (other, one)):
        moved = have.with_bits(want.vabits_actual or 0)
        assert (moved.memstart, moved.used, moved.vmemmap) == (
            want.memstart, want.used, want.vmemmap,
        )  # fmt: skip


def test_through_5_10_the_same_addresses_whichever_moved() -> None:
    sizes = {"va_bits": 52, "page_size": 65536, "struct_page": 64}
    borders = formula(Family.V5_4, **sizes)
    big = Window(*borders, **sizes, family=Family.V5_4, vabits_actual=52, memstart=GIB)
    small = big.with_bits(48)
    assert small.pfn_to_page(GIB // 65536) == small.used[0]
    moved = replace(small, memstart=(GIB - (1 << 52) + (1 << 48)) % TOP)  # 5.10
    assert moved.vmemmap == small.vmemmap
    assert moved.with_bits(52).memstart == GIB


# -- kept in recordings -----------------------------------------------------------------------


def test_a_stored_window_says_what_is_in_use(captures: Path) -> None:
    found = window(read_machine(captures / PLAIN))
    told = json.loads(json.dumps(found.to_dict()))
    assert told["used"] == {"start": "0xffffffdfc0000000", "end": "0xffffffffc0000000"}
    assert Window.from_dict(told) == found
    # format 1.1 did not say it: the bits and sizes do
    del told["used"]
    assert Window.from_dict(told).used == found.used
    assert replace(found, vabits_actual=None).to_dict()["used"] is None


def test_gaps_of_an_older_recording_get_their_names(captures: Path) -> None:
    machine = read_machine(captures / PLAIN)
    told = json.loads(json.dumps(machine.to_dict()).replace("guard hole", "unused"))
    again = Machine.from_dict(told)
    assert again.layout is not None
    assert again.layout.lands_on(*CALLS[PLAIN]) == "guard hole"
    assert again == machine
