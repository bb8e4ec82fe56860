# SPDX-License-Identifier: GPL-2.0-only
"""The window from pfn 0's struct page, held against captured kernels and arm64_memblock_init()."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tracers.families import Family
from tracers.formulas import WindowError
from tracers.machine import read_machine
from tracers.pfn_zero import built_for, sizes_possible, window_from_vmemmap, with_vmemmap
from tracers.window import Window

KERNELS = (
    "6.1.192-vmemlab-39bit",
    "6.1.192-vmemlab-once-39bit",
    "6.12.117-vmemlab-48bit",
    "7.3.4-vmemlab-64k-52bit",
    "7.3.4-vmemlab-64k-52bit-on-48bit",
)
TOP = 1 << 64


class Build(NamedTuple):
    """A kernel as it is built, and the CPU's bits."""

    release: str
    page: int
    va: int  # CONFIG_ARM64_VA_BITS
    bits: int  # in use

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(map(int, self.release.split(".")[:2]))

    @property
    def fewest(self) -> int:
        """VA_BITS_MIN."""
        return (
            47
            if self.version >= (6, 9) and (self.page, self.va) == (16384, 52)
            else min(self.va, 48)
        )


BUILDS = [
    Build("4.19.1", 4096, 39, 39),
    Build("4.19.1", 65536, 42, 42),
    Build("5.3.0", 4096, 48, 48),
    Build("5.4.200", 65536, 52, 48),
    Build("5.10.0-32-arm64", 65536, 52, 48),
    Build("5.10.0-32-arm64", 4096, 48, 48),
    Build("5.10.0-32-arm64", 16384, 47, 47),
    Build("6.1.192", 4096, 39, 39),
    Build("6.1.192", 4096, 48, 48),
    Build("6.1.192", 16384, 36, 36),
    Build("6.1.192", 65536, 52, 52),
    Build("6.1.192", 65536, 52, 48),
    Build("6.12.117", 4096, 48, 48),
    Build("6.12.117", 4096, 52, 48),
    Build("6.12.117", 4096, 52, 52),
    Build("6.12.117", 16384, 52, 47),
    Build("6.12.117", 65536, 42, 42),
    Build("7.3.4", 65536, 52, 48),
]


def note(captures: Path, kernel: str) -> dict[str, int]:
    """Numbers of a kernel's own VMCOREINFO note."""
    text = (captures / kernel / "kcore-vmcoreinfo").read_text(errors="replace")
    found = re.findall(
        r"^(?:NUMBER|SIZE|SYMBOL)?\(?(\w+)\)?=(?:0x)?([0-9a-f]+)$", text, re.MULTILINE
    )
    hexadecimal = {"VMEMMAP_START", "VMEMMAP_END", "PHYS_OFFSET", "TCR_EL1_T1SZ", "vmemmap"}
    return {
        key: int(value, 16 if key in hexadecimal else 10)
        for key, value in found
        if key in hexadecimal or value.isdecimal()
    }


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_captured_kernel_is_told_by_where_its_pfn_0_lies(captures: Path, kernel: str) -> None:
    own = note(captures, kernel)
    memstart = own["PHYS_OFFSET"] - (own["PHYS_OFFSET"] >> 63 << 64)
    pages = memstart >> own["PAGESIZE"].bit_length() - 1
    vmemmap = own.get("vmemmap", (own["VMEMMAP_START"] - pages * own["page"]) % TOP)
    answer = window_from_vmemmap(
        vmemmap,
        sizes=[(own["PAGESIZE"], 64 - own["TCR_EL1_T1SZ"])],
        va_bits=own["VA_BITS"],
        release=kernel.rpartition("-")[0],
        struct_page=own["page"],
    )
    found = answer.window
    assert found is not None
    assert (found.start, found.end) == (own["VMEMMAP_START"], own["VMEMMAP_END"])
    assert (found.memstart, found.vmemmap) == (own["PHYS_OFFSET"], vmemmap)
    assert (answer.built_for, answer.backport) == ((own["VA_BITS"],), False)
    # what it was built for need not be known: the window in use and every pfn are the same
    answer = window_from_vmemmap(
        vmemmap,
        sizes=[(own["PAGESIZE"], 64 - own["TCR_EL1_T1SZ"])],
        release=kernel.rpartition("-")[0],
        struct_page=own["page"],
    )
    alike = answer.window
    assert alike is not None
    assert (alike.used, alike.pfn_range, alike.vmemmap) == (
        found.used,
        found.pfn_range,
        found.vmemmap,
    )
    assert own["VA_BITS"] in answer.built_for
    assert alike.va_bits == min(answer.built_for)
    # neither need its bits and page size, where the note's own are told from the others
    assert read_machine(captures / kernel).window is not None


# -- an Oops ----------------------------------------------------------------------------------


def test_an_oops_of_a_kernel_with_a_newer_layout_than_its_release() -> None:
    """6.8.7-demo, 4k pages, 48-bit VAs, pgdp=0000080002879000; its VMCOREINFO note says so, too."""
    vmemmap = (0x1FF_B200_0000 - 0xF_FFD0_0000 * 64) % TOP
    answer = window_from_vmemmap(
        vmemmap, sizes=[(4096, 48)], release="6.8.7-demo", ram=[0x800_0287_9000]
    )
    assert answer.window is not None
    assert (answer.window.start, answer.window.end) == (0xFFFFFDFFC0000000, 0xFFFFFFFFC0000000)
    assert (answer.window.memstart, answer.window.family) == (0x8000_0000, Family.V6_9)
    assert answer.backport
    assert "memstart_addr would be -0x7fef80000000" in answer.reason
    assert answer.built_for == (48, 52)


@pytest.mark.parametrize("ram", [(), (0x9000_0000,)])
def test_a_backport_that_kaslr_could_explain_too_gives_no_window(ram: tuple[int, ...]) -> None:
    """The same Oops without pgdp, or one in the first GiB: the largest seed would do it, too."""
    answer = window_from_vmemmap(
        0xFFFFFDFFBE000000, sizes=[(4096, 48)], release="6.8.7-demo", ram=ram
    )
    assert answer.window is None
    assert "fits the layout of 5.11-6.8 with KASLR, and that of 6.9+" in answer.reason
    # a 6.1 that KASLR moved somewhere is a 6.1
    moved = (0xFFFFFC0000000000 + (0x1234 << 30 >> 12) * 64) % TOP
    answer = window_from_vmemmap(moved, sizes=[(4096, 48)], release="6.1.192", ram=ram)
    assert answer.window is not None
    assert answer.window.memstart == -(0x1234 << 30) % TOP
    assert answer.window.family is Family.V5_11


def test_an_oops_that_names_no_size() -> None:
    """wrap.console.txt: [000003fdfe000034] address between user and kernel address ranges."""
    sizes = sizes_possible(between=[0x3FD_FE00_0034])
    assert sizes == {(4096, 39), (16384, 36)}
    answer = window_from_vmemmap(
        0xFFFFFFFDFF000000, sizes=sizes, release="6.1.192-vmemlab", pfns=[0xF_FFFC_0000]
    )
    assert answer.window is not None
    assert (answer.window.start, answer.window.end) == (0xFFFFFFFE00000000, 0xFFFFFFFF00000000)
    assert (answer.window.page_size, answer.window.memstart) == (4096, 0x4000_0000)
    # without the pfn, whose physical address 16K pages would put past 2^48, both are possible
    answer = window_from_vmemmap(0xFFFFFFFDFF000000, sizes=sizes, release="6.1.192-vmemlab")
    assert answer.window is None
    assert "16K pages and 36 bits" in answer.reason
    assert "4K pages and 39 bits" in answer.reason


def test_sizes_are_those_of_kconfig() -> None:
    assert sizes_possible([4096]) == {(4096, 39), (4096, 48), (4096, 52)}
    assert sizes_possible([16384], [47, 48]) == {(16384, 47), (16384, 48)}
    assert sizes_possible(between=[0x0010_0000_0000_0000]) == sizes_possible()
    assert sizes_possible([4096], between=[0xFFF0_0000_0000_0000]) == {(4096, 39), (4096, 48)}
    assert built_for(Family.V6_9, 4096, 48) == (48, 52)
    assert built_for(Family.V6_9, 16384, 47) == (47, 52)
    assert built_for(Family.V6_9, 16384, 48) == (48,)
    assert built_for(Family.V5_11, 4096, 48) == (48,)
    assert built_for(Family.V5_11, 65536, 48) == (48, 52)
    assert built_for(Family.V4_14, 65536, 52) == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"vmemmap": 0xFFFFFDFFBE000040}, "not a multiple"),
        ({"vmemmap": 0x0000_01FF_B200_0000}, "fits no layout"),
        ({"pfns": [1 << 40]}, "a pfn is beyond"),
        ({"ram": [0x1000]}, "outside of the linear map"),
        ({"sizes": []}, "fits no layout"),
    ],
)
def test_what_fits_nothing_is_no_window(changed: dict[str, object], said: str) -> None:
    numbers = {"vmemmap": 0xFFFFFDFFBE000000, "sizes": [(4096, 48)]} | changed
    answer = window_from_vmemmap(**numbers, release="6.12.1")  # type: ignore[arg-type]
    assert answer.window is None
    assert said in answer.reason


# -- arm64_memblock_init, written out ---------------------------------------------------------


def memstart_addr(build: Build, ram: tuple[int, int], parange: int, seed: int) -> int:
    """As arm64_memblock_init computes it; ``ram``: where it begins and ends."""
    version, va, bits = build.version, build.va, build.bits
    section = 30 if version < (5, 12) else 29 if build.page == 65536 else 27
    align = 1 << max({4096: 30, 16384: 30, 65536: 29}[build.page], section)
    first, last = ram
    if version < (5, 4):
        linear = 1 << (va - 1)
    else:
        end = bits if version < (5, 11) else build.fewest  # PAGE_END: by the bits in use at first
        linear = (1 << bits) - (1 << (end - 1))
    memstart = first // align * align
    if memstart + linear < last:
        memstart = -(-(last - linear) // align) * align
    if version >= (5, 10) and bits < va:
        memstart -= (1 << va) - (1 << bits)
    span = linear - (last - first if version < (5, 11) else 1 << parange)
    if seed and span >= align and version < (6, 15):
        memstart -= align * (span // align * seed >> 16)
    return memstart


def kernel_vmemmap(build: Build, size: int, memstart: int) -> tuple[int, int, int]:
    """(VMEMMAP_START, VMEMMAP_END, vmemmap) by the macros of the release."""
    version, va = build.version, build.va
    shift = build.page.bit_length() - 1
    order = (size - 1).bit_length()
    linear = (1 << va) - (1 << (build.fewest - 1))
    if version < (5, 4):
        length = 1 << (va - shift - 1 + order)
        start = TOP - (1 << (va - 1)) - length
    elif version < (5, 11):
        length = linear >> (shift - order)
        start = TOP - length - (2 << 20)
    elif version < (6, 9):
        length = linear >> (shift - order)
        start = TOP - (1 << (va - (shift - order)))
    else:
        length = (linear >> shift) * size
        start = TOP - (1 << 30) - length
    vmemmap = start - (memstart >> shift) * size
    if (5, 4) <= version < (5, 10) and build.bits < va:
        vmemmap += ((1 << va) - (1 << build.bits) >> shift) * size
    return start, start + length, vmemmap % TOP


@given(
    st.sampled_from(BUILDS),
    st.sampled_from([56, 64, 80]),
    st.tuples(st.integers(0, 1 << 44), st.integers(1 << 28, 1 << 40)),
    st.sampled_from([36, 40, 44, 48]),
    st.integers(0, 0xFFFF),
)
def test_every_kernel_is_told_by_where_its_pfn_0_lies(
    build: Build, size: int, dram: tuple[int, int], parange: int, seed: int
) -> None:
    first, last = dram[0] >> 20 << 20, sum(dram) >> 20 << 20
    assume(last <= 1 << parange)
    if build.version < (5, 10):
        seed = 0  # vmemmap was set before KASLR there: not by what memstart_addr is in the end
    memstart = memstart_addr(build, (first, last), parange, seed)
    start, end, vmemmap = kernel_vmemmap(build, size, memstart)
    moved = (1 << build.va) - (1 << build.bits) if build.version >= (5, 10) else 0
    # what lies outside of the linear map is no RAM for the kernel
    used = [at for at in (first, last - 4096) if at >= memstart + moved]
    facts: dict[str, Any] = {
        "sizes": [(build.page, build.bits)],
        "release": build.release,
        "struct_page": size,
    }
    answer = window_from_vmemmap(vmemmap, va_bits=build.va, ram=used, **facts)
    found = answer.window
    if found is None:  # KASLR, and as good with a later layout and none
        assert (memstart + moved) < 0
        assert "which vendors backport, without" in answer.reason
        return
    assert (found.start, found.end, found.memstart) == (start, end, memstart % TOP)
    assert found.vmemmap == vmemmap
    assert not answer.backport
    # not knowing what it is built for, or any RAM, changes no pfn and no regime
    loose = window_from_vmemmap(vmemmap, **facts)
    if loose.window is None and memstart + moved < 0:
        assert "without" in loose.reason or build.bits < build.va
    elif loose.window is None:  # 48 or 52: VMEMMAP_SIZE rounded up for struct pages of 56 or 80
        assert build.bits < build.va
        assert found.family is not Family.V6_9
        assert size != 64
    else:
        assert build.va in loose.built_for
        assert (loose.window.used, loose.window.vmemmap) == (found.used, vmemmap)
    # knowing the window, memstart_addr follows
    bare = replace(found, memstart=None)
    known = with_vmemmap(bare, vmemmap, release=build.release, ram=used)
    assert known.window == found


@given(st.integers(0, TOP - 1), st.sampled_from(BUILDS), st.none() | st.just("custom"))
def test_any_address_gives_an_answer_or_a_reason(
    vmemmap: int, build: Build, release: str | None
) -> None:
    answer = window_from_vmemmap(vmemmap, sizes=sizes_possible(), release=release or build.release)
    if answer.window is None:
        assert answer.reason
    else:
        assert answer.window.vmemmap == vmemmap


def test_an_address_has_64_bits() -> None:
    with pytest.raises(WindowError, match="64 bits"):
        window_from_vmemmap(TOP, sizes=[(4096, 48)], release="6.1")
    with pytest.raises(WindowError, match="not known"):
        with_vmemmap(Window(TOP - 2048, TOP - 1024), 0, release=None)
