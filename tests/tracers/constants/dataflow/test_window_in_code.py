# SPDX-License-Identifier: GPL-2.0-only
"""The three readings of a kernel's code on real functions, against windows known from elsewhere.

The true windows are from the kernels' VMCOREINFO note where they were booted (the two of the lab),
else from the macros as the compiler printed them from the same tree.
"""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.constants.variants import VARIANTS, Body, Name, Variant
from tracers.constants.dataflow import window_in_code

CHECKED = [v for v in VARIANTS if "BUG=n" not in v.title]
CALLING = [v for v in VARIANTS if window_in_code.CALLEE in v.names]
titles = [v.title for v in CHECKED]


@pytest.mark.parametrize("function", ["vmemmap_free", "vmemmap_populate"])
@pytest.mark.parametrize("kernel", CHECKED, ids=titles)
def test_the_check_gives_the_window(kernel, function):
    found = window_in_code.from_compare(kernel.function(function))
    assert found is not None
    assert found.window == kernel.window
    assert found.method == f"code:{function}"
    assert "cmp" in found.detail
    assert "brk" in found.detail


@pytest.mark.parametrize("kernel", CALLING, ids=[v.title for v in CALLING])
def test_floor_and_ceiling_give_the_window(kernel):
    found = window_in_code.from_call(kernel.function("vmemmap_free"), kernel)
    assert found is not None
    assert found.window == kernel.window


@pytest.mark.parametrize("kernel", VARIANTS, ids=[v.title for v in VARIANTS])
def test_the_vmcoreinfo_code_gives_the_window(kernel):
    found = window_in_code.from_vmcoreinfo(kernel)
    assert found is not None
    assert (found.window, found.va_bits) == (kernel.window, kernel.va_bits)


@pytest.mark.parametrize(
    ("folder", "release"),
    [
        ("6.1.192-vmemlab-39bit", "6.1.192-vmemlab"),
        ("6.12.117-vmemlab-48bit", "6.12.117-vmemlab"),
    ],
)
def test_every_number_is_what_the_booted_kernel_printed(captures, folder, release):
    (kernel,) = (v for v in VARIANTS if v.release == release)
    text = (captures / folder / "kcore-vmcoreinfo").read_text()
    printed = dict(re.findall(r"^(\S+?)=(\S+)$", text, re.MULTILINE))
    printed |= {m[1]: v for k, v in printed.items() if (m := re.match(r"NUMBER\((\w+)\)$", k))}
    found = window_in_code.from_vmcoreinfo(kernel)
    assert found is not None
    assert {name: int(printed[name], 0) for name, _ in found.facts} == dict(found.facts)
    assert (found.page_size, found.struct_page) == (4096, 64)
    for name in ("VMEMMAP_START", "MODULES_VADDR", "VMALLOC_END", "SECTION_SIZE_BITS"):
        assert name in dict(found.facts)
    # Read from registers and memory at boot.
    assert not {"KERNELPACMASK", "TCR_EL1_T1SZ", "PHYS_OFFSET"} & dict(found.facts).keys()


def test_without_a_warn_the_check_is_not_in_the_code():
    (kernel,) = (v for v in VARIANTS if "BUG=n" in v.title)
    reading = window_in_code.read_compare(kernel.function("vmemmap_free"))
    assert reading.result is None
    assert reading.reason == "vmemmap_free: the arguments alone decide no WARN here"


def test_an_inlined_callee_is_named():
    kernel = next(v for v in VARIANTS if window_in_code.CALLEE not in v.names)
    reading = window_in_code.read_call(kernel.function("vmemmap_free"), kernel)
    assert reading.result is None
    assert reading.reason == "no free_empty_tables in the image: inlined, or no names"


class Renamed(Variant):
    """A kernel whose compiler made a copy of free_empty_tables with its own arguments."""

    def __init__(self, kernel: Variant) -> None:
        self.__dict__ |= kernel.__dict__

    def symbols(self, names):
        return {
            name: Name(f"{name}.constprop.0", symbol.va)
            for name, symbol in super().symbols(names).items()
        }


def test_a_callee_the_compiler_rewrote_is_not_read():
    kernel = Renamed(CALLING[0])
    reading = window_in_code.read_call(kernel.function("vmemmap_free"), kernel)
    assert reading.result is None
    assert "may take other arguments" in reading.reason


@pytest.mark.parametrize(
    ("words", "why"),
    [
        # mov x8, #0x1000; cmp x0, x8; b.lo 1f; mov x8, #0x2000; cmp x1, x8; b.hi 1f; ret; 1: brk
        (
            "080082d21f0008eba3000054080084d23f0008eb48000054c0035fd6000021d4",
            "no page of the",
        ),
        # the same with START and END of the 39-bit window, exchanged
        ("e87f60b21f0008eba3000054e87b5fb23f0008eb48000054c0035fd6000021d4", "is not below end"),
    ],
)
def test_implausible_bounds_are_not_given(words, why):
    reading = window_in_code.read_compare(
        Body("vmemmap_free", 0xFFFF800080010000, bytes.fromhex(words))
    )
    assert reading.result is None
    assert why in reading.reason


def test_one_bound_alone_is_no_window():
    # mov x8, #-0x200000000; cmp x0, x8; b.lo 1f; ret; 1: brk #0x800; ret
    words = bytes.fromhex("e87b5fb21f0008eb43000054c0035fd6000021d4c0035fd6")
    body = Body("vmemmap_free", 0xFFFF800080010000, words)
    reading = window_in_code.read_compare(body)
    assert reading.result is not None
    assert (reading.result.start, reading.result.end) == (0xFFFFFFFE00000000, None)
    assert reading.reason == "vmemmap_free: end is not checked"
    assert window_in_code.from_compare(body) is None


def test_an_image_without_names_says_so():
    kernel = Renamed(VARIANTS[0])
    kernel.names = {}
    reading = window_in_code.read_vmcoreinfo(kernel)
    assert reading.result is None
    assert "no vmcoreinfo_append_str" in reading.reason


@given(st.sampled_from(VARIANTS), st.integers(0, 2**32), st.integers(1, 4))
def test_damage_never_gives_an_implausible_window(kernel, seed, flips):
    dice = random.Random(seed)  # noqa: S311
    for name in ("vmemmap_free", "vmemmap_populate", "arch_crash_save_vmcoreinfo"):
        va, good = kernel.functions[name]
        damaged = bytearray(good)
        for _ in range(flips):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        hurt = Renamed(kernel)
        hurt.functions = {name: (va, bytes(damaged))}
        body = hurt.function(name)
        if name.startswith("arch"):
            found = window_in_code.from_vmcoreinfo(hurt)
        else:
            found = window_in_code.from_compare(body)
            window_in_code.read_call(body, kernel)
        if found is not None:
            assert 2**64 - 2**52 <= found.start < found.end < 2**64
            assert found.start % 4096 == found.end % 4096 == 0
