# SPDX-License-Identifier: GPL-2.0-only
"""The steps from a pfn, a physical address or an address, on the mail's and the lab's machine."""

import io

import pytest
from rich.console import Console

from recordings.reports.explain_target import Target
from recordings.reports.explain_text import render, steps
from tests.recordings.windows import window
from tracers.formulas import WindowError
from tracers.layout import layout_for
from tracers.machine import read_machine
from tracers.window import Window

SEATTLE = window()
LAYOUT = layout_for(SEATTLE)


def asked(kind: str, start: int, end: int | None = None) -> tuple[str, ...]:
    return steps(SEATTLE, LAYOUT, Target("x", kind, start, end, "said so"))


def test_the_first_page_of_ram_is_the_first_of_the_window() -> None:
    for lines in (asked("pfn", 0x800_0000), asked("phys", 0x80_0000_0000)):
        assert "struct page of pfn 0x8000000 = vmemmap + pfn * 64 = 0xfffffffe00000000" in lines
        assert "start = VMEMMAP_START" in lines
        assert "lands on: vmemmap" in lines
    assert asked("phys", 0x80_0000_0FFF)[0] == "pfn = physical address >> 12 = 0x8000000"


@pytest.mark.parametrize(
    ("pfn", "regime", "lands"),
    [
        (0x7FF_FFFF, "below", "unused"),
        (0xBFF_FFFF, "inside", "vmemmap"),
        (0xC00_0000, "above", "unused"),
        (0x1000_0000, "wrapped", "user half"),
    ],
)
def test_the_regimes_of_the_mail(pfn: int, regime: str, lands: str) -> None:
    lines = asked("pfn", pfn)
    assert any(line.startswith(f"regime: {regime} ") for line in lines)
    assert any(line.startswith(f"lands on: {lands}") for line in lines)


def test_an_address_is_its_struct_page() -> None:
    lines = asked("addr", 0xFFFF_FFFE_0000_0041)
    assert lines[0] == "0xfffffffe00000041 is 1 bytes into a struct page"
    assert lines[1] == "range  0xfffffffe00000040 - 0xfffffffe00000080"
    whole = asked("addr", 0xFFFF_FFFE_0000_0040)
    assert whole == lines[1:]


def test_ranges_stand_as_they_are() -> None:
    lines = asked("addr", 0xFFFF_FFFF_3F00_0000, 0xFFFF_FFFF_3F20_0000)
    assert lines[0] == "range  0xffffffff3f000000 - 0xffffffff3f200000"
    top = asked("addr", 0xFFFF_FFFF_FFE0_0000, 1 << 64)
    assert top[0].endswith("- 0x0000000000000000")
    pages = asked("phys", 0x80_0000_0001, 0x80_0000_1001)
    assert "end - start = 0x80: struct pages of 0x2 pages" in pages


def test_the_address_that_crashed_the_lab_kernel(captures) -> None:
    machine = read_machine(captures / "6.1.192-vmemlab-39bit")
    question = Target("pfn:0xffffc0000", "pfn", 0xF_FFFC_0000, None, "prefix pfn:")
    lines = steps(machine.window, machine.layout, question)
    # kernel-facts and wrap.console.txt
    assert lines[0].endswith("= 0x000003fdfe000000")
    assert "regime: wrapped (the address went past 2^64, into the user half)" in lines


def test_what_is_not_known_is_said() -> None:
    bare = Window(SEATTLE.start, SEATTLE.end)
    layout = layout_for(bare)
    told = steps(bare, layout, Target("x", "addr", SEATTLE.end, None, ""))
    assert any("page_size is not known" in line or "memstart is not known" in line for line in told)
    with pytest.raises(WindowError, match="not known"):
        steps(bare, layout, Target("x", "pfn", 1, None, ""))
    with pytest.raises(WindowError, match="beyond 2\\^64"):
        asked("pfn", 1 << 60)


def test_how_it_was_understood_comes_first() -> None:
    out = io.StringIO()
    questions = [
        Target("pfn:1", "pfn", 1, None, "prefix pfn:"),
        Target("\x1b", "addr", 1, 2, ""),
    ]
    render(Console(file=out, width=80), SEATTLE, LAYOUT, questions)
    text = out.getvalue()
    assert text.startswith("pfn:1  understood as a pfn: prefix pfn:\n")
    assert "\n\\x1b  understood as an address" in text
    assert max(map(len, text.splitlines())) <= 80
