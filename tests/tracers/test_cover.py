# SPDX-License-Identifier: GPL-2.0-only
"""Ard's question in numbers: the mail's machine, Hubbard's, the lab kernels, Debian's 52 bits."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.cover import cover, fewest_bits, lpa2, pfn_spans, upper_space, va_choices
from tracers.families import Family
from tracers.formulas import WindowError, formula
from tracers.layout import layout_for
from tracers.machine import read_machine
from tracers.window import Regime, Window, window_from_facts

GIB, TIB = 1 << 30, 1 << 40


def made(release: str = "6.1", **facts: int) -> Window:
    sizes = {"va_bits": 48, "page_size": 4096, "struct_page": 64, "memstart": 0x8000_0000}
    return window_from_facts(sizes | facts, release=release)


# The mail of 7 April 2023: a 39-bit kernel on AMD Seattle
SEATTLE = made(va_bits=39, memstart=0x80_0000_0000)
# Hubbard's machine: 48 bits, memstart 0x8000_0000
HUBBARD = made()


def answered(window: Window, first: int, end: int):
    return cover(window, layout_for(window), first, end)


# -- the mail ---------------------------------------------------------------------------------


def test_the_three_bad_regimes_of_the_mail() -> None:
    spans = pfn_spans(SEATTLE, layout_for(SEATTLE), 0, 1 << 40)
    assert [(s.first_pfn, s.end_pfn, s.regime, s.start, s.end) for s in spans] == [
        (0, 0x800_0000, Regime.BELOW, 0xFFFF_FFFC_0000_0000, 0xFFFF_FFFE_0000_0000),
        (0x800_0000, 0xC00_0000, Regime.INSIDE, 0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000),
        (0xC00_0000, 0x1000_0000, Regime.ABOVE, 0xFFFF_FFFF_0000_0000, 0),
        (0x1000_0000, 1 << 40, Regime.WRAPPED, 0, ((1 << 40) - 0x1000_0000) * 64),
    ]
    assert spans[0].lands_on.startswith("vmalloc")
    assert spans[2].lands_on == "unused"
    assert spans[3].lands_on == "user half"
    assert [s.in_use for s in spans] == [False, True, False, False]


@pytest.mark.parametrize(
    ("first", "end", "covered"),
    [
        (0x80_0000_0000, 0xC0_0000_0000, True),
        (0x80_0000_0000, 0xC0_0000_0001, False),
        (0x7F_FFFF_FFFF, 0x80_0000_1000, False),
        (0xBF_FFFF_F000, 0xC0_0000_0000, True),
        (0xC0_0000_0000, 0xC0_0000_1000, False),
    ],
)
def test_seattle_covers_its_256_gib_and_not_a_byte_more(first, end, covered) -> None:
    assert answered(SEATTLE, first, end).covered is covered


def test_growth_into_the_unused_hole_costs_no_vmalloc() -> None:
    # 16 GiB past the window: 4 Mi pages of 64 bytes each
    growth = answered(SEATTLE, 0xC0_0000_0000, 0xC4_0000_0000).growth
    assert (growth.more, growth.size) == (256 << 20, (4 << 30) + (256 << 20))
    assert (growth.hole, growth.taken, growth.below) == (256 << 20, 0, 0)


def test_the_same_growth_from_6_9_on_is_paid_by_vmalloc() -> None:
    growth = answered(replace_release("6.12"), 0xC0_0000_0000, 0xC4_0000_0000).growth
    assert (growth.more, growth.hole, growth.taken) == (256 << 20, 0, 256 << 20)
    assert growth.fits


def replace_release(release: str) -> Window:
    return made(release, va_bits=39, memstart=0x80_0000_0000)


def test_growth_past_the_hole_pushes_the_start_down() -> None:
    # the hole of 4 GiB less 2 MiB at the top; 512 GiB past the window need 8 GiB
    growth = answered(SEATTLE, 0xC0_0000_0000, 0x140_0000_0000).growth
    assert growth.more == 8 * GIB
    assert growth.hole == 4 * GIB - (2 << 20)
    assert growth.taken == 4 * GIB + (2 << 20)


def test_below_ram_the_window_must_begin_lower() -> None:
    # a device region of 1 GiB that ends where RAM begins: 16 MiB of struct pages
    answer = answered(SEATTLE, 0x7F_C000_0000, 0x80_0000_0000)
    assert answer.growth.below == answer.growth.more == answer.growth.taken == 16 << 20
    assert answer.growth.hole == 0
    assert answer.start_page == 0xFFFF_FFFE_0000_0000 - (16 << 20)


def test_which_va_bits_would_cover_it() -> None:
    answer = answered(SEATTLE, 0xC0_0000_0000, 0xC4_0000_0000)
    assert [(c.va_bits, c.size) for c in answer.choices] == [(48, 2 * TIB)]
    # memstart + 2^47, what a 48-bit linear map holds
    assert answer.choices[0].end == 0x80_0000_0000 + (1 << 47)
    newer = answered(replace_release("6.12"), 0xC0_0000_0000, 0xC4_0000_0000)
    assert [c.va_bits for c in newer.choices] == [48, 52]


@pytest.mark.parametrize(
    ("release", "page_size", "offered"),
    [
        ("6.12", 4096, [39, 48, 52]),
        ("6.12", 16384, [36, 47, 48, 52]),
        ("6.12", 65536, [42, 48, 52]),
        ("6.1", 4096, [39, 48]),
        ("6.1", 16384, [36, 47, 48]),
        ("6.1", 65536, [42, 48, 52]),
        ("4.14", 65536, [42, 48]),
    ],
)
def test_va_bits_that_kconfig_offers(release, page_size, offered) -> None:
    window = made(release, page_size=page_size)
    assert [c.va_bits for c in va_choices(window, 0, 1)] == offered


# -- real kernels -----------------------------------------------------------------------------


def test_hubbards_region_is_not_covered_and_its_first_page_is_where_he_saw_it() -> None:
    answer = answered(HUBBARD, 0xF_FEC3_8000 << 12, (0xF_FEC3_8000 << 12) + 16 * GIB)
    assert not answer.covered
    assert answer.start_page == 0xFFFF_FFFF_AEE0_0000
    assert [(s.regime, s.lands_on) for s in answer.spans] == [(Regime.ABOVE, "unused")]
    assert answer.choices == ()  # no 52 bits with 4K pages before 6.9


def test_the_lab_kernels_pfns_as_they_booted(captures: Path) -> None:
    machine = read_machine(captures / "6.1.192-vmemlab-39bit")
    window, layout = machine.window, machine.layout
    assert window is not None
    assert layout is not None
    # kernel-facts: pfn 0 in PCI I/O; pfn 0xffffc0000 wraps to 0x000003fdfe000000 and crashes
    assert pfn_spans(window, layout, 0, 1)[0].lands_on == "PCI I/O"
    (wrapped,) = pfn_spans(window, layout, 0xF_FFFC_0000, 0xF_FFFC_0001)
    assert (wrapped.regime, wrapped.start) == (Regime.WRAPPED, 0x3FD_FE00_0000)
    # hole.ftrace.txt: 16 GiB at 0x5000000000, 0xffffffff3f000000 - 0xffffffff4f000000
    hole = cover(window, layout, 0x50_0000_0000, 0x54_0000_0000)
    assert (hole.start_page, hole.end_page) == (0xFFFF_FFFF_3F00_0000, 0xFFFF_FFFF_4F00_0000)
    assert hole.spans[0].regime is Regime.ABOVE


def test_kaslr_puts_memstart_below_0_and_the_answer_stands(captures: Path) -> None:
    machine = read_machine(captures / "6.12.117-vmemlab-48bit")
    window, layout = machine.window, machine.layout
    assert window is not None
    assert layout is not None
    # the window still holds 2^47 bytes, but from 0xffffc6fb80000000 on, which is below 0
    reach = (0xFFFF_C6FB_8000_0000 + (1 << 47)) % 2**64
    assert cover(window, layout, 0, reach).covered
    assert not cover(window, layout, 0, reach + 1).covered


def test_debians_52_bits_on_a_48_bit_cpu() -> None:
    # Debian 6.12.117-arm64: 0xffffc1ffc0000000 - 0xffffffffc0000000; RAM from 1 GiB
    memstart = (0x4000_0000 - (1 << 52) + (1 << 48)) % 2**64
    small = made("6.12.117", va_bits=52, vabits_actual=48, memstart=memstart)
    assert (small.start, small.end) == (0xFFFF_C1FF_C000_0000, 0xFFFF_FFFF_C000_0000)
    # by hand: what 48 bits need, 2^47 / 4096 * 64, below -1 GiB
    used = 2**64 - GIB - 2 * TIB
    answer = answered(small, 0, 0x8000_0000)
    assert [(s.regime, s.in_use, s.silent) for s in answer.spans] == [
        (Regime.BELOW, False, True),
        (Regime.INSIDE, True, False),
    ]
    assert answer.spans[1].start == used
    assert answer.spans[0].lands_on.startswith("vmalloc")
    assert not answer.covered
    # the addresses are the window's already, but vmalloc's on this CPU
    assert (answer.growth.more, answer.growth.taken) == (0, 16 << 20)
    assert answered(small, 0x4000_0000, (1 << 47) + 0x4000_0000).covered
    assert not answered(small, 0x4000_0000, (1 << 47) + 0x4000_0001).covered
    big = replace(small, vabits_actual=52, memstart=0x4000_0000)
    assert answered(big, 0x4000_0000, 1 << 48).covered


def test_before_6_9_nobody_has_what_the_cpu_does_not_use() -> None:
    memstart = (0x4000_0000 - (1 << 52) + (1 << 48)) % 2**64
    small = made("6.1", va_bits=52, page_size=65536, vabits_actual=48, memstart=memstart)
    answer = answered(small, 0, 0x8000_0000)
    assert not answer.covered
    assert answer.spans[0].lands_on == "unused vmemmap"
    # struct pages of 1 GiB: 1 MiB
    assert (answer.growth.below, answer.growth.more, answer.growth.taken) == (1 << 20, 0, 0)


def test_52_bits_of_an_unknown_cpu_are_judged_as_52_and_said_so() -> None:
    unknown = made("6.12", va_bits=52)
    answer = answered(unknown, 0x8000_0000, 1 << 48)
    assert answer.covered
    assert not answer.use_known
    assert answered(HUBBARD, 0x8000_0000, 0x8000_1000).use_known


def test_lpa2_takes_half_of_the_upper_space() -> None:
    # the mail: "the 4k pages configuration already uses up half of the vmalloc region"
    window = made("6.12", va_bits=52)
    assert lpa2(window)
    assert fewest_bits(window) == 48
    assert upper_space(window) == 128 * TIB
    assert window.size == 62 * TIB
    wide = made("6.12", va_bits=52, page_size=16384)
    assert lpa2(wide)
    assert (fewest_bits(wide), upper_space(wide)) == (47, 64 * TIB)
    assert not lpa2(made("6.12", va_bits=52, page_size=65536))
    assert not lpa2(HUBBARD)


def test_physical_addresses_past_48_bits() -> None:
    assert answered(HUBBARD, 0x8000_0000, 1 << 48).pa_bits == 48
    assert answered(HUBBARD, 0x8000_0000, (1 << 48) + 1).pa_bits == 52


# -- promises ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "first", "end", "said"),
    [
        (SEATTLE, 5, 5, "no physical range"),
        (SEATTLE, 6, 5, "no physical range"),
        (SEATTLE, -1, 5, "no physical range"),
        (SEATTLE, 0, (1 << 52) + 1, "at most 52 bits"),
        (Window(SEATTLE.start, SEATTLE.end, page_size=4096, struct_page=64), 0, 1, "memstart"),
        (Window(SEATTLE.start, SEATTLE.end, page_size=4096, memstart=0), 0, 1, "struct_page"),
        (Window(SEATTLE.start, SEATTLE.end, struct_page=64, memstart=0), 0, 1, "page_size"),
    ],
)
def test_what_cannot_be_answered_says_why(window, first, end, said) -> None:
    with pytest.raises(WindowError, match=said):
        answered(window, first, end)


def test_without_a_known_formula_the_price_is_not_known() -> None:
    window = replace(SEATTLE, family=None)
    answer = answered(window, 0xC0_0000_0000, 0xC4_0000_0000)
    assert not answer.covered
    assert answer.growth.more == 256 << 20
    assert answer.growth.taken is None
    assert answer.growth.fits is None
    assert answer.choices == ()
    assert upper_space(window) is None


KERNELS = st.builds(
    lambda family, size, struct_page, memstart: Window(
        *formula(family, va_bits=size[1], page_size=size[0], struct_page=struct_page),
        va_bits=size[1],
        page_size=size[0],
        struct_page=struct_page,
        memstart=memstart << 30,
        family=family,
    ),
    st.sampled_from(Family),
    st.sampled_from([(4096, 39), (4096, 48), (16384, 47), (65536, 42), (65536, 48)]),
    st.sampled_from([56, 64, 80, 128]),
    st.integers(0, 1 << 14),
)


@given(window=KERNELS, first=st.integers(0, (1 << 36) - 1), data=st.data())
def test_each_page_of_a_span_lies_as_the_span_says(window: Window, first: int, data) -> None:
    end = first + data.draw(st.integers(1, 1 << 36))
    layout = layout_for(window)
    spans = pfn_spans(window, layout, first, end)
    assert [spans[0].first_pfn, spans[-1].end_pfn] == [first, end]
    assert all(a.end_pfn == b.first_pfn for a, b in pairwise(spans))
    for span in spans:
        last = span.end_pfn - 1
        for pfn in (span.first_pfn, (span.first_pfn + last) // 2, last):
            start = window.pfn_to_page(pfn)
            regime = window.regime(start, start + window.struct_page)
            if regime is not Regime.STRADDLING:
                assert regime is span.regime or span.regime is Regime.STRADDLING
            assert span.in_use == (span.regime is Regime.INSIDE)


@given(window=KERNELS, gib=st.integers(0, 1 << 16), pages=st.integers(1, 1 << 24))
def test_a_window_of_the_size_told_covers_it(window: Window, gib: int, pages: int) -> None:
    first = gib << 30
    end = first + pages * window.page_size
    answer = answered(window, first, end)
    growth = answer.growth
    assert answer.covered == (growth.more == 0)
    assert growth.hole + growth.taken == growth.more
    # START lower by what is taken, END higher by what the hole gives; memstart's struct page
    # moves with START, except for what lies below it
    start = window.start - growth.taken
    grown = Window(
        start,
        start + growth.size,
        page_size=window.page_size,
        struct_page=window.struct_page,
        memstart=0,
    )
    base = start + growth.below - (window.memstart // window.page_size) * window.struct_page
    at = base + (first // window.page_size) * window.struct_page
    assert grown.start <= at
    assert at + pages * window.struct_page <= grown.end
