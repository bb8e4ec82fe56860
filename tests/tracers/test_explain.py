# SPDX-License-Identifier: GPL-2.0-only
"""The explanation of one range, line by line, on the machines of the captures and the mail."""

from pathlib import Path

import pytest

from tracers.explain import borders, explain, pfn_and_section
from tracers.formulas import memstart_for
from tracers.layout import layout_for
from tracers.machine import read_machine
from tracers.window import Window, window_from_facts

SEATTLE = window_from_facts(
    {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0x80_0000_0000},
    start=0xFFFF_FFFE_0000_0000,
    end=0xFFFF_FFFF_0000_0000,
)


def test_a_call_of_the_hole_capture(captures: Path) -> None:
    machine = read_machine(captures / "6.1.192-vmemlab-39bit")
    # hole.ftrace.txt: 16 GiB from 0x5000000000, first section
    lines = explain(machine.window, machine.layout, 0xFFFF_FFFF_3F00_0000, 0xFFFF_FFFF_3F20_0000)
    assert lines == (
        "range  0xffffffff3f000000 - 0xffffffff3f200000",
        "window 0xfffffffe00000000 - 0xffffffff00000000 (vmcoreinfo)",
        "memstart_addr = 0x40000000",
        "vmemmap = VMEMMAP_START - (memstart_addr >> 12) * 64 = 0xfffffffdff000000",
        "pfn of start = (start - vmemmap) / 64 = 0x5000000",
        "physical address = pfn << 12 = 0x5000000000",
        "end - start = 0x200000: struct pages of 0x8000 pages",
        "start > VMEMMAP_START by 0x13f000000",
        "end   > VMEMMAP_END by 0x3f200000",
        "regime: above (from VMEMMAP_END on, not past 2^64)",
        "lands on: unused (0x3f000000 above its start)",
        (
            "WARN_ON(start < VMEMMAP_START || end > VMEMMAP_END): false || true"
            " -> it warns (a WARN_ON_ONCE only the first time)"
        ),
    )


def test_the_address_that_crashed_the_6_1_kernel(captures: Path) -> None:
    machine = read_machine(captures / "6.1.192-vmemlab-39bit")
    # wrap.console.txt: pfn 0xffffc0000
    lines = explain(machine.window, machine.layout, 0x3FD_FE00_0000, 0x3FD_FE20_0000)
    assert "pfn of start = (start - vmemmap) / 64 = 0xffffc0000" in lines
    assert "regime: wrapped (the address went past 2^64, into the user half)" in lines
    assert "lands on: user half (past its 2^39: any access faults)" in lines


def test_negative_memstart_is_said(captures: Path) -> None:
    machine = read_machine(captures / "6.12.117-vmemlab-48bit")
    assert machine.window is not None
    start = machine.window.vmemmap
    lines = explain(machine.window, machine.layout, start, start + 0x20_0000)
    # 2^64 - 0xffffc6fb80000000
    assert "memstart_addr = -0x390480000000" in "\n".join(lines)
    assert "pfn of start = (start - vmemmap) / 64 = 0x0" in lines
    assert lines[-1].endswith("false || false -> no warning")


def test_a_hit_that_does_not_warn_says_why() -> None:
    lines = explain(SEATTLE, layout_for(SEATTLE), 0xFFFF_FFFF_FFE0_0000, 0)
    assert any(line.startswith("regime: above") for line in lines)
    assert lines[-1].startswith(
        "A silent hit: out of the window in use all the same. Its end is at"
    )


def test_what_the_warn_takes_for_the_window_but_is_not_in_use() -> None:
    memstart = memstart_for(
        0x4000_0000, page_size=4096, section_size_bits=27, va_bits=52, vabits_actual=48
    )
    facts = {"va_bits": 52, "page_size": 4096, "struct_page": 64, "vabits_actual": 48}
    window = window_from_facts(facts | {"memstart": memstart}, release="6.12.117")
    lines = explain(window, layout_for(window), window.start, window.start + 0x20_0000)
    assert any("no pfn has this struct page" in line for line in lines)
    assert any(line.startswith("lands on: vmalloc") for line in lines)
    assert any(line.startswith("regime: below") for line in lines)
    assert lines[-1].startswith("A silent hit")
    # 4K pages, by hand: (2^52 - 2^48) / 4096 * 64 = 60 TiB
    assert (
        "With 48 in use vmemmap begins ((2^52 - 2^48) >> 12) * 64 = 0x3c0000000000 higher"
        in (lines[-1])
    )


@pytest.mark.parametrize(
    ("window", "start", "end", "said"),
    [
        (SEATTLE, None, 1, "arguments are not known"),
        (SEATTLE, 1, None, "arguments are not known"),
        (None, 1, 2, "window of this kernel is not known"),
        (Window(SEATTLE.start, SEATTLE.end, memstart=0), 1, 2, "page_size is not known"),
        (Window(SEATTLE.start, SEATTLE.end, page_size=4096), 1, 2, "memstart is not known"),
    ],
)
def test_missing_facts_are_said(
    window: Window | None, start: int | None, end: int | None, said: str
) -> None:
    layout = layout_for(window) if window else None
    for known in (layout, None):
        assert said in "\n".join(explain(window, known, start, end))


def test_every_line_is_plain_ascii(captures: Path) -> None:
    machine = read_machine(captures / "6.12.117-vmemlab-48bit")
    for start in (0, 1 << 63, (1 << 64) - 64):
        assert "\n".join(explain(machine.window, machine.layout, start, start + 64)).isascii()


def test_how_far_out_is_the_distance_to_the_border_that_it_is_past() -> None:
    low, high = SEATTLE.start, SEATTLE.end
    section = 0x20_0000
    for start, end, told in (
        (high, high + section, (("end > VMEMMAP_END by 0x200000", section),)),
        (high - section, 0, (("end > VMEMMAP_END by 0x100000000", 1 << 32),)),
        (low - 2 * section, low - section, (("start < VMEMMAP_START by 0x400000", 2 * section),)),
        (low, low + section, (("start = VMEMMAP_START", 0),)),
        (high - 3 * section, high - 2 * section, (("end < VMEMMAP_END by 0x400000", 2 * section),)),
        # past 2^64 into the user half: the way up from VMEMMAP_END
        (0, section, (("start > VMEMMAP_END by 0x100000000, modulo 2^64", 1 << 32),)),
    ):
        assert borders(SEATTLE, start, end) == told
    both = borders(SEATTLE, low - section, high + section)
    assert [size for _, size in both] == [section, section]


def test_the_border_of_a_silent_hit_is_that_of_the_part_in_use() -> None:
    window = window_from_facts(
        {"va_bits": 52, "vabits_actual": 48, "page_size": 65536, "struct_page": 64, "memstart": 0},
        start=0xFFFF_FC00_0000_0000, end=0xFFFF_FFC0_0000_0000,
    )  # fmt: skip
    first, _ = window.used
    assert first > window.start
    ((text, size),) = borders(window, first - 0x2000, first - 0x1000)
    assert (text, size) == ("start < the start of the window in use by 0x2000", 0x2000)


def test_pfn_and_section_are_of_the_kernels_own_numbers(captures: Path) -> None:
    window = read_machine(captures / "6.1.192-vmemlab-39bit").window
    assert window is not None
    # hole.ftrace.txt: the section at 0x5000000000, of 128 MiB
    assert pfn_and_section(window, 0xFFFF_FFFF_3F00_0000) == (0x500_0000, 0x50_0000_0000 >> 27)
    assert pfn_and_section(window, window.vmemmap - 64) == (None, None)
    assert pfn_and_section(Window(window.start, window.end), window.start) == (None, None)
