# SPDX-License-Identifier: GPL-2.0-only
"""Rows made of sources that are given: who is believed where several are, or none can tell."""

from dataclasses import replace

import numpy as np
import pytest

from recordings.audit.audit import audit
from recordings.ledger.snapshot import Verdict
from tests.recordings.windows import window
from tracers.layout import layout_for
from tracers.machine import Machine
from tracers.mapped.device_pages import PageMap
from tracers.mapped.kernel_lists import Area, Resource
from tracers.mapped.mappings import DEVICE, NORMAL, Mappings
from tracers.mapped.memory_sections import MemorySections, Run
from tracers.mapped.sources import DUMP, WALK, DeviceMemory, Sources
from tracers.window import Regime

#: The 39-bit lab kernel's: vmemmap is at 0xfffffffdff000000.
LAB = window(memstart=0x4000_0000)
MACHINE = Machine(window=LAB, layout=layout_for(LAB))
RAM = Resource(0x4000_0000, 0xC000_0000, "System RAM")
GIB = 1 << 30


def tables(*ranges: tuple[int, int], kind: int = NORMAL, unseen: tuple = ()) -> Mappings:
    return Mappings.of(
        np.array([start for start, _ in ranges], np.uint64),
        np.array([start + size - 1 for start, size in ranges], np.uint64),
        np.full(len(ranges), kind, np.uint8),
        unseen,
    )


def sections(*runs: Run, base: int = LAB.vmemmap) -> MemorySections:
    return MemorySections(runs, 1, 32768, (base,))


def device(first: int, pages: int) -> DeviceMemory:
    told = PageMap(((first << 12, (first + pages) << 12),), "device-private", None)
    return DeviceMemory(first, pages, told, "amdgpu")


#: 1 GiB of a device at 0x5000000000, as captured in the lab.
HOLE = device(0x5000000, 1 << 18)
HOLE_PAGES = (0xFFFFFFFF3F000000, 16 << 20)


def test_both_tables_and_sections_agree() -> None:
    found = audit(
        Sources(
            MACHINE,
            {DUMP: tables(HOLE_PAGES), WALK: tables(HOLE_PAGES)},
            sections(Run(HOLE.first, HOLE.pages, online=False)),
            (HOLE,),
            (RAM, Resource(0x5000000000, 0x5040000000, "0000:65:00.0")),
        ),
        None,
        "no log",
    )
    (row,) = found.rows
    assert (row.name, row.owner) == ("0000:65:00.0", "device-private, module amdgpu")
    assert row.mapped == {DUMP: 16 << 20, WALK: 16 << 20}
    assert (found.verdict, found.agree, found.problems) == (Verdict.OUT_OF_RANGE, True, ())


def test_tables_that_do_not_have_what_a_section_says() -> None:
    found = audit(
        Sources(
            MACHINE, {WALK: tables()}, sections(Run(HOLE.first, HOLE.pages, online=False)), (HOLE,)
        ),
        None,
    )
    assert not found.agree
    assert found.problems == (
        (
            "mem_section has struct pages of 0x5000000000 - 0x503fffffff at 0xffffffff3f000000,"
            " swapper_pg_dir has 0x0 of 0x1000000 bytes mapped there"
        ),
    )
    # inside the window the same is a doubt, and never clean
    inside = device(0x2000000, 1 << 18)
    found = audit(
        Sources(
            MACHINE,
            {WALK: tables()},
            sections(Run(inside.first, inside.pages, online=False)),
            (inside,),
        ),
        None,
    )
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reasons[0] == "The sources contradict each other: see the problems."


def test_sections_of_another_base_contradict_the_window() -> None:
    found = audit(Sources(MACHINE, {}, sections(base=LAB.vmemmap + (2 << 20))), None)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "mem_section has the struct page of pfn 0 at 0xfffffffdff200000" in found.problems[0]


def test_what_has_wrapped_is_where_its_low_bits_lead() -> None:
    """wrap.console.txt: pfn 0xffffc0000 at 0x000003fdfe000000, over the PCI I/O registers."""
    far = device(0xFFFFC0000, 1 << 18)
    found = audit(
        Sources(
            MACHINE,
            {
                WALK: Mappings.all_of(
                    (
                        tables((0xFFFFFFFDFE000000, 8 << 20), (0xFFFFFFFDFEA00000, 6 << 20)),
                        tables((0xFFFFFFFDFE800000, 0x10000), kind=DEVICE),
                    )
                )
            },
            sections(Run(far.first, far.pages, online=False)),
            (far,),
        ),
        None,
    )
    (row,) = found.rows
    assert (row.regime, row.page_start, row.page_end) == (
        Regime.WRAPPED,
        0x000003FDFE000000,
        0x000003FDFF000000,
    )
    assert (row.mapped_at, row.mapped) == (0xFFFFFFFDFE000000, {WALK: 14 << 20})
    assert row.also == ("0xfffffffdfe800000 - 0xfffffffdfe810000 a device's registers",)
    assert "PCI I/O" in row.mapped_on
    assert found.agree  # what is not mapped is where others are
    assert found.reasons[0].endswith("now, over what others have mapped there.")


#: A resource whose struct pages would lie in vmalloc: far below the start of memory.
FAR = window(memstart=0x100_0000_0000)
FAR_MACHINE = Machine(window=FAR, layout=layout_for(FAR))
LOW = Resource(0x10_0000_0000, 0x10_4000_0000, "accelerator")
LOW_PAGES = (FAR.pfn_to_page(LOW.start >> 12), 16 << 20)


@pytest.mark.parametrize(
    ("areas", "verdict"),
    [
        ((), Verdict.INCONCLUSIVE),  # whose mapping it is nobody says
        ((Area(*LOW_PAGES[:1], LOW_PAGES[0] + (32 << 20), "bpf"),), Verdict.CLEAN),  # theirs
        ((Area(0xFFFFFFC008000000, 0xFFFFFFC008001000, "x"),), Verdict.OUT_OF_RANGE),  # nobody's
    ],
)
def test_in_vmalloc_only_its_areas_can_tell(areas: tuple[Area, ...], verdict: Verdict) -> None:
    assert FAR_MACHINE.layout is not None
    assert FAR_MACHINE.layout.region_at(LOW_PAGES[0]).name == "vmalloc"
    found = audit(
        Sources(FAR_MACHINE, {DUMP: tables(LOW_PAGES)}, resources=(LOW,), areas=areas), None
    )
    if areas and verdict is Verdict.CLEAN:
        assert not found.outside
        return
    assert found.verdict is verdict
    (row,) = found.rows
    assert (row.name, row.unsure) == ("accelerator", verdict is Verdict.INCONCLUSIVE)


def test_ram_that_the_window_does_not_cover() -> None:
    """Sections of RAM behind the last pfn of a 39-bit window."""
    found = audit(
        Sources(
            MACHINE,
            {WALK: tables((0xFFFFFFFF00000000, 2 << 20))},
            sections(Run(0x40000, 1 << 19, online=True), Run(0x4040000, 1 << 15, online=True)),
        ),
        None,
    )
    (row,) = found.rows
    assert (row.name, row.ram, row.regime) == ("System RAM", True, Regime.ABOVE)
    assert row.start == 0x4040000000


def test_no_source_at_all() -> None:
    found = audit(Sources(MACHINE, missing={WALK: "no /proc/kcore"}), None, "no /dev/kmsg")
    assert (found.verdict, found.reasons) == (
        Verdict.INCONCLUSIVE,
        ("Neither page tables nor memory sections could be read: swapper_pg_dir: no /proc/kcore",),
    )
    assert found.missing["kernel log"] == "no /dev/kmsg"


@pytest.mark.parametrize(
    "machine",
    [
        Machine(),
        Machine(window=replace(LAB, memstart=None), layout=MACHINE.layout),
        Machine(arch="x86_64"),
    ],
)
def test_without_a_window_nothing_is_judged(machine: Machine) -> None:
    found = audit(Sources(machine, {WALK: tables(HOLE_PAGES)}, sections()), None)
    assert (found.verdict, found.rows) == (Verdict.INCONCLUSIVE, ())
