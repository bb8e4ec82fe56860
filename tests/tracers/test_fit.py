# SPDX-License-Identifier: GPL-2.0-only
"""Where a region would be, whether it is covered, and in how many boots: all seeds, one by one."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracers.test_placement import brute
from tracers.fit import Fit, Result, fit
from tracers.formulas import WindowError
from tracers.kaslr import SEEDS
from tracers.layout import layout_for
from tracers.machine import read_machine
from tracers.region_search import Search
from tracers.window import Regime, window_from_facts

GIB, TIB = 1 << 30, 1 << 40
OLD, NEW = "6.1.192-vmemlab-39bit", "6.12.117-vmemlab-48bit"
NEW_SEARCH = Search(capped=True, by_size=False, physmem_bits=48)
OLD_SEARCH = Search(capped=False, by_size=True, physmem_bits=48)


@pytest.fixture
def iomem(captures):
    return read_machine(captures / NEW).iomem


def made(iomem, size=16 * GIB, release="6.12.117", search=NEW_SEARCH, pa_range=44, **facts):
    sizes = {"va_bits": 48, "page_size": 4096, "struct_page": 64, "memstart": GIB}
    window = window_from_facts(sizes | {"section_size_bits": 27} | facts, release=release)
    return fit(size, window, layout_for(window), search, iomem, release=release, pa_range=pa_range)


def of_machine(folder, size, **more):
    machine = read_machine(folder)
    return fit(
        size, machine.window, machine.layout, machine.search, machine.iomem,
        release=machine.release, **more,
    )  # fmt: skip


def test_the_lab_s_6_1_wraps(captures):
    found = of_machine(captures / OLD, GIB)
    # wrap.console.txt: pfn 0xffffc0000, start 0x000003fdfe000000
    assert (found.at, found.start_page) == (0xFFFF_C000_0000, 0x0000_03FD_FE00_0000)
    assert (found.result, found.regime) == (Result.OUTSIDE, Regime.WRAPPED)
    assert found.largest_covered == 0
    assert not found.good


def test_the_lab_s_6_12_is_covered(captures):
    found = of_machine(captures / NEW, 16 * GIB)
    assert (found.result, found.regime, found.good) == (Result.COVERED, Regime.INSIDE, True)
    assert found.end_page == 0xFFFF_FFFF_C000_0000  # VMEMMAP_END, as its note says
    assert found.largest == found.largest_covered == found.gap.size


@pytest.mark.parametrize("name", ["7.3.4-vmemlab-64k-52bit", "7.3.4-vmemlab-64k-52bit-on-48bit"])
def test_where_7_3_really_put_its_2_gib(captures, name):
    # the same image on two CPUs, nokaslr; the kernel's own trace of its __add_pages
    trace = (captures / name / "placed.ftrace.txt").read_text()
    pfn, pages = re.search(r"__add_pages.*pfn=0x(\w+) nr_pages=(\d+)", trace).groups()
    found = of_machine(captures / name, 2 * GIB)
    assert (found.at, found.size) == (int(pfn, 16) << 16, int(pages) << 16)
    assert (found.result, found.moves) == (Result.COVERED, False)


def test_a_size_is_rounded_up_to_sections(iomem):
    assert made(iomem, 1).size == made(iomem, 1 << 27).size == 1 << 27


def test_refused(iomem):
    found = made(iomem, 100 * TIB, memstart=(GIB - 90 * TIB) % 2**64)
    assert (found.result, found.at) == (Result.REFUSED, None)
    assert found.largest < 100 * TIB


def by_seed(size, iomem, room, *, capped, by_size, linear=1 << 47):
    """Every seed, its end and its window: (fits, covered)."""
    busy = [(first, last) for first, last, _ in iomem]
    known, fits, covered = {}, 0, 0
    for seed in range(SEEDS):
        moved = GIB * ((room // GIB * seed) >> 16) if room >= GIB else 0
        if moved not in known:
            start = GIB - moved
            last = start + linear - 1 if capped else (1 << 48) - 1
            at = None if last < size else brute(size, 1 << 27, last, busy, by_size=by_size)
            known[moved] = (
                at is not None,
                at is not None and at >= start and at + size <= start + linear,
            )
        fits += known[moved][0]
        covered += known[moved][1]
    return fits, covered


@pytest.mark.parametrize("size", [16 * TIB, 40 * TIB, 120 * TIB])
def test_the_share_of_boots_is_that_of_all_seeds(iomem, size):
    (chance,) = made(iomem, size).chances
    # steps of 128 MiB down to 40 TiB would be many: what is free begins above 1 TiB, and no
    # more than two places can differ
    room = (1 << 47) - (1 << 44)
    fits = sum(
        GIB - GIB * ((room // GIB * seed) >> 16) + (1 << 47) - size >= 1 << 40
        for seed in range(SEEDS)
    )
    assert (chance.fits, chance.covered, chance.pa_range) == (fits, fits, 44)


def test_before_the_cap_it_always_fits_and_kaslr_decides_what_is_covered():
    # 39 bits, RAM at the top of 48 bits' space: some boots' windows reach what is placed there
    ram = (1 << 48) - 260 * GIB
    iomem = [(ram, ram + 2 * GIB - 1, "System RAM")]
    sizes = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "section_size_bits": 27}
    window = window_from_facts(sizes | {"memstart": ram}, release="6.1")
    found = fit(GIB, window, layout_for(window), OLD_SEARCH, iomem, release="6.1", pa_range=36)
    (chance,) = found.chances
    room = (1 << 38) - (1 << 36)
    covered = sum(
        ram - GIB * ((room // GIB * seed) >> 16) + (1 << 38) >= 1 << 48 for seed in range(SEEDS)
    )
    assert (chance.fits, chance.covered) == (SEEDS, covered)
    assert chance.covered in (0, SEEDS) or 0 < chance.covered < SEEDS


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2000), st.booleans(), st.booleans())
def test_small_machines_seed_by_seed(number, capped, by_size):
    iomem = [(GIB, 3 * GIB - 1, "System RAM"), (200 * GIB, 210 * GIB, "device")]
    size = (1 + number) * (1 << 27)
    search = Search(capped=capped, by_size=by_size, physmem_bits=48)
    found = made(iomem, size, release="6.1", search=search, va_bits=39, pa_range=36)
    (chance,) = found.chances
    room, linear = (1 << 38) - (1 << 36), 1 << 38
    expected = by_seed(size, iomem, room, capped=capped, by_size=by_size, linear=linear)
    assert (chance.fits, chance.covered) == expected


def test_where_the_cpu_s_bits_are_not_known_each_is_told(iomem):
    found = made(iomem, 64 * TIB, pa_range=None)
    assert [each.pa_range for each in found.chances] == [32, 36, 40, 42, 44, 48, 52]
    assert found.chances[-1].fits == SEEDS  # no room: nothing moves
    alike = made(iomem, GIB, pa_range=None)
    assert [(each.pa_range, each.fits) for each in alike.chances] == [(None, SEEDS)]


def test_who_does_not_move(iomem):
    assert made(iomem, release="6.16.1").moves is False
    assert made(iomem, search=replace(NEW_SEARCH, seeded=False)).moves is False
    found = made(iomem, memstart=12345 * GIB)
    assert (found.moves, "no seed" in found.why) == (None, True)
    found = made(iomem, memstart=12345 * GIB, pa_range=None)
    assert (found.moves, "no seed" in found.why) == (None, True)


def test_no_region_at_all():
    assert made((), search=Search(outside=True)) == Fit(16 * GIB, Result.NO_REGION)


@pytest.mark.parametrize(
    ("search", "why"),
    [
        (Search(), "no release"),
        (Search(capped=False, by_size=True), "MAX_PHYSMEM_BITS"),
    ],
)
def test_what_is_not_known_is_said(iomem, search, why):
    with pytest.raises(WindowError, match=why):
        made(iomem, search=search)


def test_the_step_is_asked_for_only_where_it_matters(iomem):
    unknown = replace(NEW_SEARCH, by_size=None)
    with pytest.raises(WindowError, match="659aa050a538"):
        made(iomem, 70 * TIB, search=unknown)


def test_without_iomem_nothing_is_guessed():
    for iomem in ((), ((0, 0, "System RAM"),)):
        with pytest.raises(WindowError, match="iomem"):
            made(iomem)
    with pytest.raises(WindowError, match="entries"):
        made([(at, at, "x") for at in range(1, 6000)])
