# SPDX-License-Identifier: GPL-2.0-only
"""The kernels' own dumps: what they show as mapped, and dumps of which something is missing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.mapped.mappings import DEVICE, NORMAL, Stretch
from tracers.mapped.page_table_dump import mapped_in_dump

LAB = "6.1.192-vmemlab-39bit"


def dump(captures: Path) -> str:
    return (captures / LAB / "mapped" / "kernel_page_tables").read_text()


def test_a_device_outside_the_window(captures: Path) -> None:
    found = mapped_in_dump(dump(captures))
    assert found is not None
    assert not found.unseen
    # 16 MiB of PMDs behind "vmemmap end", RAM's own in the window, and the PCI I/O registers
    assert list(found.within(0xFFFFFFFF00000000, 1 << 32).stretches()) == [
        Stretch(0xFFFFFFFF3F000000, 16 << 20)
    ]
    assert found.within(0xFFFFFFFE00000000, 1 << 32).size == 32 << 20
    pci = found.within(0xFFFFFFFDFE800000, 16 << 20)
    assert [(each.size, each.device) for each in pci.stretches()] == [(65536, True)]
    assert found.of_kind(DEVICE).size < found.of_kind(NORMAL).size


def test_missing_lines_are_not_known(captures: Path) -> None:
    lines = dump(captures).splitlines(keepends=True)
    at = next(n for n, text in enumerate(lines) if text.startswith("0xffffffff00000000"))
    found = mapped_in_dump("".join(lines[:at] + lines[at + 1 :]))
    assert found is not None
    assert found.unseen == ((0xFFFFFFFF00000000, 0x3F000000),)
    found = mapped_in_dump("".join(lines[:at]))
    assert found is not None
    assert found.unseen == ((0xFFFFFFFF00000000, 1 << 32),)


def test_kernels_that_print_no_empty_ranges() -> None:
    """Linux 4.19: a gap is not mapped."""
    found = mapped_in_dump(
        "---[ vmemmap start ]---\n"
        "0xffff7e0000000000-0xffff7e0002000000          32M PMD       RW NX SHD AF        BLK UXN"
        " MEM/NORMAL\n"
        "0xffff7e0003000000-0xffff7e0004000000          16M PMD       RW NX SHD AF        BLK UXN"
        " MEM/NORMAL\n"
    )
    assert found is not None
    assert not found.unseen
    assert found.size == 48 << 20


@pytest.mark.parametrize("text", ["", "no dump\n", "---[ vmemmap start ]---\n"])
def test_no_dump(text: str) -> None:
    assert mapped_in_dump(text) is None


@pytest.mark.parametrize(
    "line",
    [
        "0xffff7e0000000000-0xffff7e0002000000          32M PMD    F  RW NX SHD AF   MEM/NORMAL",
        "0xffff7e0002000000-0xffff7e0000000000          32M PMD       RW NX SHD AF   MEM/NORMAL",
    ],
)
def test_entries_that_map_nothing(line: str) -> None:
    found = mapped_in_dump(line + "\n0xffffffff40000000-0x0000000000000000           3G PGD\n")
    assert found is not None
    assert not len(found)


@given(st.text(alphabet="0x123f-kKMG PGDTE\n", max_size=400))
def test_whatever_the_text_is(text: str) -> None:
    mapped_in_dump(text)
