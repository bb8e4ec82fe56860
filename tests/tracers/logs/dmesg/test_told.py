# SPDX-License-Identifier: GPL-2.0-only
"""What a log's Oopses tell of its machine, held against what the machine's own files say."""

import pytest

from tests.tracers.logs.dmesg.fuzz_dmesg import CAPTURES
from tests.tracers.logs.dmesg.test_architectures import RISCV_OLD
from tests.tracers.logs.dmesg.test_oopses import CONSOLE, DEMO, RAW
from tracers.logs.dmesg.told import LOG, ORIGIN, Told, told_by
from tracers.machine import assemble, read_machine
from tracers.machine_files import SideFiles


@pytest.mark.parametrize("size", [100, 4096, 1 << 20])
def test_the_lab_by_its_console_alone(size: int):
    told = told_by([CONSOLE[at : at + size] for at in range(0, len(CONSOLE), size)])
    assert told.release == (ORIGIN, "6.1.192-vmemlab")
    window = assemble(SideFiles(), facts=told.facts, release=told.release).window
    kernels = read_machine(CAPTURES).window
    assert window is not None
    assert kernels is not None
    for fact in ("start", "end", "va_bits", "page_size", "struct_page", "memstart", "vmemmap"):
        assert getattr(window, fact) == getattr(kernels, fact), fact


def test_a_machine_of_48_bits():
    told = told_by([DEMO])
    machine = assemble(SideFiles(), facts=told.facts, release=told.release)
    assert machine.window is not None
    assert (machine.window.start, machine.window.end) == (0xFFFFFDFFC0000000, 0xFFFFFFFFC0000000)
    assert machine.window.page_to_pfn(0x1FFB2000000) == 0xFFFD00000
    assert machine.agree


@pytest.mark.parametrize("raw", [b"", b"no log", b"Linux version is new, Comm: x #1"])
def test_nothing_is_told(raw: bytes):
    assert told_by([raw]) == Told()


@pytest.mark.parametrize("size", [100, 1 << 20])
@pytest.mark.parametrize(
    ("raw", "release"),
    [
        ((CAPTURES / "below.dmesg.txt").read_bytes(), "6.1.192-vmemlab"),
        (RISCV_OLD.encode(), "5.10.6+"),
        (CONSOLE[: CONSOLE.index(b"Unable")], "6.1.192-vmemlab"),
        (b"[    0.000000] Linux version 6.2.0-x (a@b) #1\n" + DEMO[2500:], "6.2.0-x"),
    ],
)
def test_without_an_oops_the_release_is_told(raw: bytes, release: str, size: int):
    told = told_by([raw[at : at + size] for at in range(0, len(raw), size)])
    assert told == Told((LOG, release))


def test_of_two_kernels_the_first_is_asked():
    told = told_by([RAW + DEMO])
    assert told.release == (ORIGIN, "6.1.192-vmemlab")
    assert "page_size" not in told.facts


def test_many_oopses_cost_no_more_than_some():
    told = told_by([RAW * 40])
    assert {name: len(values) for name, values in told.facts.items()} == {
        "between": 1,
        "vmemmap": 1,
        "pfn": 1,
    }
