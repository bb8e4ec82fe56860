# SPDX-License-Identifier: GPL-2.0-only
"""The window as text: the mail's example in full, the first line, and the width."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from recordings.reports.window_report import WindowReport
from recordings.reports.window_text import render, render_families
from tests.recordings.windows import debian, hostile, report, seattle, torn, window
from tracers.machine import read_machine

GIB = 1 << 30
DEVICE = (0xC0_0000_0000, 0xC4_0000_0000)  # 16 GiB from where Seattle's window ends


def shown(told, *, width=80, terminal=False) -> str:
    out = io.StringIO()
    colours = "truecolor" if terminal else None
    console = Console(file=out, width=width, force_terminal=terminal, color_system=colours)
    (render if isinstance(told, WindowReport) else render_families)(console, told)
    return out.getvalue()


def words(told, **options) -> str:
    return " ".join(shown(told, **options).split())


def rows(text: str) -> list[list[str]]:
    """Lines cut into cells at two or more blanks."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


def test_the_mail_in_full() -> None:
    text = shown(seattle())
    assert text.startswith("COMPUTED  0xfffffffe00000000 - 0xffffffff00000000")
    cells = [row[:2] for row in rows(text)]
    for constant in (
        ["memstart_addr", "0x8000000000"],
        ["PAGE_OFFSET", "0xffffff8000000000"],
        ["VMEMMAP_SHIFT", "6"],
        ["VMEMMAP_START", "0xfffffffe00000000"],
        ["VMEMMAP_SIZE", "0x100000000"],
        ["VMEMMAP_END", "0xffffffff00000000"],
        ["pfn >= 0x10000000", "wrapped: user half"],
        ["0xc000000 <= pfn < 0x10000000", "above: unused"],
        ["0x8000000 <= pfn < 0xc000000", "inside: vmemmap"],
    ):
        assert constant in cells
    assert re.search(r"pfn < 0x8000000 +below: vmalloc", text)
    assert "physical 0x8000000000 - 0xc000000000, 256 GiB" in text


def test_the_address_space_of_the_mail() -> None:
    cells = rows(shown(seattle()))
    for row in (
        ["0xffffff8000000000 - 0xffffffc000000000", "256 GiB", "linear map"],
        ["0xfffffffe00000000 - 0xffffffff00000000", "4 GiB", "vmemmap <- the window"],
        ["0xffffffff00000000 - 2^64", "4 GiB", "unused"],
    ):
        assert row in cells


def test_methods_that_agree() -> None:
    text = shown(debian())
    first = text.splitlines()[0]
    assert first == "WINDOW  0xfffffc0000000000 - 0xfffffe0000000000, 3 methods agree"
    cells = rows(text)
    assert ["code:vmemmap_free", "0xfffffc0000000000 - 0xfffffe0000000000"] in cells
    assert ["what btf+formula rests on"] in cells
    assert ["vmcoreinfo", "-", "no running kernel was asked"] in cells
    assert ["arch/arm64/mm/mmu.c:1222", "vmemmap_populate", "once"] in cells
    assert ["arch/arm64/mm/mmu.c:1268", "vmemmap_free", "every time"] in cells
    assert ["vmemmap_populate", "notrace"] in cells
    # 2^47 bytes have 2 TiB of struct pages; where they begin nobody said
    assert "128 TiB of physical memory from memstart_addr on, which is not known" in words(debian())


def test_a_contradiction_is_the_first_thing_said() -> None:
    text = shown(torn())
    assert text.startswith("CONTRADICTION  the methods contradict each other (2 name a window)")
    cells = rows(text)
    assert ["code:vmemmap_free", "0xfffffc0000000000 - 0xfffffe0000000000"] in cells
    assert ["btf+formula", "0xfffffdffc0000000 - 0xffffffffc0000000"] in cells
    assert ["code:vmcoreinfo", "0xfffffc0000000000 - ?"] in cells
    # what follows rests on one of them, and says on which
    assert "one of several, used for what follows: 0xfffffc0000000000" in words(torn())
    assert ["problem", "code:vmemmap_free and btf+formula contradict each other"] in cells


def test_no_window_at_all() -> None:
    told = WindowReport("x", missing={"btf+formula": "no .BTF section"})
    assert shown(told).startswith("NOT KNOWN  no method gives the window")
    assert ["btf+formula", "-", "no .BTF section"] in rows(shown(told))


def test_debians_52_bits_without_and_with_the_cpu() -> None:
    # kernel-facts: 6.12.117-arm64; in use on 48 bits: 2 TiB below -1 GiB
    both = words(report(window("6.12.117", va_bits=52, memstart=None)))
    assert "0xffffc1ffc0000000 - 0xffffffffc0000000" in both
    assert "0xfffffdffc0000000 - 0xffffffffc0000000 with 48 (the WARN does not tell" in both
    memstart = (0x4000_0000 - (1 << 52) + (1 << 48)) % 2**64
    small = words(report(window("6.12.117", va_bits=52, vabits_actual=48, memstart=memstart)))
    assert "0xfffffdffc0000000 - 0xffffffffc0000000 with 48 bits (2 TiB)" in small
    assert "0xffffc1ffc0000000 - 0xfffffdffc0000000 is vmalloc's here" in small
    assert "memstart_addr -0xeffffc0000000" in small
    assert "PAGE_OFFSET 0xfff0000000000000 the linear map begins at 0xffff000000000000" in small
    assert "physical 0x40000000 - 0x800040000000, 128 TiB" in small
    assert "pfn < 0x40000 below, silent: vmalloc" in small
    assert "cannot see hits below 0xfffffdffc0000000" in small
    assert "pages at physical addresses below 0x40000000" in small
    old = words(report(window("6.1", va_bits=52, page_size=65536, vabits_actual=48)))
    assert "0xfffffc0000000000 - 0xffffffc000000000 is not used here" in old
    # 16K pages fall back to 47 bits
    wide = words(report(window("6.12", va_bits=52, page_size=16384, memstart=None)))
    assert "with 47 (the WARN does not tell" in wide


def test_the_lab_kernel_as_it_booted(captures) -> None:
    machine = read_machine(captures / "6.1.192-vmemlab-39bit")
    told = WindowReport("x", machine.window, machine.layout, machine.release)
    cells = rows(shown(told))
    assert ["memstart_addr", "0x40000000", "vmcoreinfo"] in cells
    assert ["vmemmap", "0xfffffffdff000000", "the struct page of pfn 0"] in cells
    assert ["pfn < 0x40000", "below: PCI I/O + unused"] in cells


def test_families_side_by_side() -> None:
    told = {name: seattle(DEVICE) for name in ("5.11-6.8",)}
    told["6.9+"] = report(window("6.12"), DEVICE)
    cells = rows(shown(told))
    for row in (
        ["5.11-6.8", "0xfffffffe00000000 - 0xffffffff00000000", "0x100000000", "4 GiB"],
        ["6.9+", "0xfffffffec0000000 - 0xffffffffc0000000", "0x100000000", "4 GiB"],
        [
            "5.11-6.8",
            "0xffffff8000000000",
            "0x8000000 <= pfn < 0xc000000",
            ">= 0x10000000",
        ],
        ["5.11-6.8", "not covered", "256 MiB more, none of it from vmalloc"],
        ["6.9+", "not covered", "256 MiB more, 256 MiB from vmalloc's 248.99 GiB"],
    ):
        assert row in cells


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("make", [seattle, debian, torn, hostile, lambda: seattle(DEVICE)])
def test_no_line_is_wider_than_the_screen(make, width) -> None:
    assert max(map(cell_len, shown(make(), width=width).splitlines())) <= width


def test_piped_text_is_plain_and_a_terminal_gets_the_same_words() -> None:
    told = seattle(DEVICE)
    plain = shown(told)
    assert "\x1b" not in plain
    assert not re.search(r" $", plain, re.MULTILINE)
    coloured = shown(told, terminal=True)
    assert "\x1b[1;31mNOT COVERED" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_files_text_cannot_reach_the_terminal(terminal) -> None:
    text = shown(hostile(), width=400, terminal=terminal)
    assert r"\x1b]0;x\x07[bold]\u202e\u200b" in text
    assert not re.search("[\x07\u202e\u200b]", text)
    assert not re.search(r"\x1b(?!\[[0-9;]*m)", text)
