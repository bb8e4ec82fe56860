# SPDX-License-Identifier: GPL-2.0-only
"""The window's arithmetic against the mail's example, Hubbard's machine and kernels' own notes."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracers.families import Family
from tracers.formulas import WindowError, family_for_release, formula, memstart_for
from tracers.window import Regime, Window, window_from_facts

# The mail of 7 April 2023: a 39-bit kernel on AMD Seattle
SEATTLE = Window(
    0xFFFF_FFFE_0000_0000,
    0xFFFF_FFFF_0000_0000,
    va_bits=39,
    page_size=4096,
    struct_page=64,
    memstart=0x80_0000_0000,
    section_size_bits=27,
)
# Hubbard's machine: 48 bits, memstart 0x8000_0000
HUBBARD = Window(
    0xFFFF_FC00_0000_0000,
    0xFFFF_FE00_0000_0000,
    va_bits=48,
    page_size=4096,
    struct_page=64,
    memstart=0x8000_0000,
)
U64 = st.integers(0, 2**64 - 1)
CAPTURED = ("6.1.192-vmemlab-39bit", "6.1.192-vmemlab-once-39bit", "6.12.117-vmemlab-48bit")


def notes(captures: Path, kernel: str) -> dict[str, str]:
    text = (captures / kernel / "kcore-vmcoreinfo").read_text()
    return dict(re.findall(r"^([\w()-]+)=(.*)$", text, re.MULTILINE))


# -- the mail ---------------------------------------------------------------------------------


def test_seattle_window_follows_from_the_formula() -> None:
    sizes = {"va_bits": 39, "page_size": 4096, "struct_page": 64}
    assert formula(Family.V5_11, **sizes) == (SEATTLE.start, SEATTLE.end)
    assert SEATTLE.size == 0x1_0000_0000


def test_seattle_memstart_is_where_its_memory_begins() -> None:
    memstart = memstart_for(0x80_0000_0000, page_size=4096, section_size_bits=27)
    assert memstart == SEATTLE.memstart


def test_seattle_first_dram_page_is_the_first_of_the_window() -> None:
    assert SEATTLE.phys_to_pfn(0x80_0000_0000) == 0x800_0000
    assert SEATTLE.pfn_to_page(0x800_0000) == 0xFFFF_FFFE_0000_0000


@pytest.mark.parametrize(
    ("pfn", "regime", "warns"),
    [
        (0, Regime.BELOW, True),
        (0x7FF_FFFF, Regime.BELOW, True),
        (0x800_0000, Regime.INSIDE, False),
        (0x800_0001, Regime.INSIDE, False),
        (0xBFF_FFFF, Regime.INSIDE, False),
        (0xC00_0000, Regime.ABOVE, True),
        (0xC00_0001, Regime.ABOVE, True),
        # the last one ends exactly at 2^64: out of the window, yet no WARN
        (0xFFF_FFFE, Regime.ABOVE, True),
        (0xFFF_FFFF, Regime.ABOVE, False),
        (0x1000_0000, Regime.WRAPPED, True),
        (0x1000_0001, Regime.WRAPPED, True),
    ],
)
def test_seattle_pfns_fall_where_the_mail_says(pfn: int, regime: Regime, warns: bool) -> None:
    start = SEATTLE.pfn_to_page(pfn)
    assert SEATTLE.regime(start, start + 64) is regime
    assert SEATTLE.warns(start, start + 64) is warns


def test_seattle_covers_256_gib_from_its_memory_on() -> None:
    assert SEATTLE.pfn_range == (0x800_0000, 0xC00_0000)
    assert SEATTLE.phys_range == (0x80_0000_0000, 0xC0_0000_0000)


# -- Hubbard ----------------------------------------------------------------------------------


def test_hubbard_window_and_offending_page() -> None:
    sizes = {"va_bits": 48, "page_size": 4096, "struct_page": 64}
    assert formula(Family.V5_11, **sizes) == (HUBBARD.start, HUBBARD.end)
    assert HUBBARD.page_to_pfn(0xFFFF_FFFF_AEE0_0000) == 0xF_FEC3_8000
    assert HUBBARD.regime(0xFFFF_FFFF_AEE0_0000, 0xFFFF_FFFF_AF00_0000) is Regime.ABOVE


# -- formulas ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", CAPTURED)
def test_formula_equals_the_constants_the_kernel_notes(captures: Path, kernel: str) -> None:
    note = notes(captures, kernel)
    start, end = (int(note[f"NUMBER(VMEMMAP_{side})"], 16) for side in ("START", "END"))
    facts = {
        "va_bits": int(note["NUMBER(VA_BITS)"]),
        "page_size": int(note["PAGESIZE"]),
        "struct_page": int(note["SIZE(page)"]),
    }
    window = window_from_facts(facts, start=start, end=end)
    assert window.family is family_for_release(note["OSRELEASE"])
    assert formula(window.family, **facts) == (start, end)


def test_negative_memstart_gives_the_vmemmap_the_kernel_notes(captures: Path) -> None:
    note = notes(captures, "6.12.117-vmemlab-48bit")
    memstart = int(note["NUMBER(PHYS_OFFSET)"], 16)
    assert memstart == 0xFFFF_C6FB_8000_0000
    window = Window(
        int(note["NUMBER(VMEMMAP_START)"], 16),
        int(note["NUMBER(VMEMMAP_END)"], 16),
        page_size=4096,
        struct_page=64,
        memstart=memstart,
    )
    assert f"{window.vmemmap:x}" == note["SYMBOL(vmemmap)"] == "fffffee3d2000000"
    assert window.regime(window.vmemmap, window.vmemmap + 0x20_0000) is Regime.INSIDE
    assert window.pfn_range[0] == 0


# -- memstart and the window in use -----------------------------------------------------------


def on_48_bits(family: Family, page_size: int, memstart: int) -> Window:
    start, end = formula(family, va_bits=52, page_size=page_size, struct_page=64)
    return Window(
        start,
        end,
        va_bits=52,
        page_size=page_size,
        struct_page=64,
        memstart=memstart,
        vabits_actual=48,
        family=family,
    )


@pytest.mark.parametrize(
    ("family", "page_size"), [(Family.V6_9, 4096), (Family.V5_11, 65536), (Family.V5_4, 65536)]
)
def test_52_bit_kernel_on_48_bits_begins_in_the_part_in_use(family: Family, page_size: int) -> None:
    memstart = memstart_for(
        0x8000_0000, page_size=page_size, section_size_bits=29, va_bits=52, vabits_actual=48
    )
    window = on_48_bits(family, page_size, memstart)
    unused = (2**52 - 2**48) // page_size * 64  # VMEMMAP_UNUSED_NPAGES struct pages
    assert window.used == (window.start + unused, window.end)
    assert window.pfn_to_page(0x8000_0000 // page_size) == window.used[0]


def test_through_5_9_vmemmap_moved_and_not_memstart() -> None:
    window = on_48_bits(Family.V5_4, 65536, 0x8000_0000)
    assert window.pfn_to_page(0x8000_0000 // 65536) == window.used[0]
    # KASLR may leave a memstart_addr a little below 0, here by 1 TiB: still the one that moved
    window = on_48_bits(Family.V5_4, 65536, 2**64 - 2**40)
    assert window.vmemmap == window.used[0] + 2**40 // 65536 * 64


def test_window_in_use_of_a_52_bit_kernel_needs_the_bits_in_use() -> None:
    start, end = formula(Family.V6_9, va_bits=52, page_size=4096, struct_page=64)
    window = Window(start, end, va_bits=52, page_size=4096, struct_page=64)
    assert not window.use_known
    # in use whatever the CPU: what 48 bits need, 2^47 / 4096 * 64
    assert window.used == (end - (1 << 41), end)
    assert SEATTLE.use_known
    assert SEATTLE.used == (SEATTLE.start, SEATTLE.end)


def test_sections() -> None:
    assert SEATTLE.section_pages == 0x8000
    assert SEATTLE.section_vmemmap == 0x20_0000  # one populate call of the captures


@pytest.mark.parametrize("name", ["vmemmap", "section_pages", "pfn_range"])
def test_a_missing_fact_is_named(name: str) -> None:
    with pytest.raises(WindowError, match="is not known"):
        getattr(Window(SEATTLE.start, SEATTLE.end), name)


# -- regimes ----------------------------------------------------------------------------------

S, E, H, T = SEATTLE.start, SEATTLE.end, 1 << 63, 1 << 64


@pytest.mark.parametrize(
    ("start", "end", "regime", "warns"),
    [
        (S, E, Regime.INSIDE, False),
        (S, S + 1, Regime.INSIDE, False),
        (E - 1, E, Regime.INSIDE, False),
        (S - 1, S, Regime.BELOW, True),
        (S - 1, S + 1, Regime.STRADDLING, True),
        (E - 1, E + 1, Regime.STRADDLING, True),
        (S - 1, E + 1, Regime.STRADDLING, True),
        (E, E + 1, Regime.ABOVE, True),
        (E, T, Regime.ABOVE, False),  # the kernel's end is 0
        (T - 1, T, Regime.ABOVE, False),
        (E - 1, T, Regime.STRADDLING, False),
        (S, T + 1, Regime.STRADDLING, False),
        (E, T + 1, Regime.STRADDLING, False),
        (0, 1, Regime.WRAPPED, True),
        (H - 1, H, Regime.WRAPPED, True),
        (H - 1, H + 1, Regime.STRADDLING, True),
        (H, H + 1, Regime.BELOW, True),
        (0, S, Regime.STRADDLING, True),
        (S - 1, T, Regime.STRADDLING, True),
    ],
)
def test_every_border_and_one_beside_it(start: int, end: int, regime: Regime, warns: bool) -> None:
    assert SEATTLE.regime(start, end % T) is SEATTLE.regime(start, end) is regime
    assert SEATTLE.warns(start, end) is warns


@given(U64, U64)
def test_what_warns_is_never_inside(start: int, end: int) -> None:
    if SEATTLE.warns(start, end):
        assert SEATTLE.regime(start, end) is not Regime.INSIDE


# -- round trips ------------------------------------------------------------------------------

NEGATIVE = Window(
    0xFFFF_FDFF_C000_0000,
    0xFFFF_FFFF_C000_0000,
    va_bits=48,
    page_size=4096,
    struct_page=64,
    memstart=0xFFFF_C6FB_8000_0000,
)
ODD = Window(NEGATIVE.start, NEGATIVE.end, page_size=16384, struct_page=56, memstart=0x8000_0000)
WINDOWS = st.sampled_from([SEATTLE, HUBBARD, NEGATIVE, ODD])


@given(WINDOWS, st.integers(0, 2**52 - 1))
@example(NEGATIVE, 0)
def test_page_pfn_and_physical_address_round_trip(window: Window, pfn: int) -> None:
    page = window.pfn_to_page(pfn)
    assert window.page_to_pfn(page) == pfn
    assert window.page_to_pfn(page + 1) == pfn  # inside a struct page: that page
    assert window.page_to_pfn(page - 1) == (pfn - 1) % 2**64
    if pfn < 2**48:
        assert window.phys_to_pfn(window.pfn_to_phys(pfn)) == pfn


@given(WINDOWS, U64)
def test_any_address_lies_in_the_struct_page_of_its_pfn(window: Window, addr: int) -> None:
    assert window.struct_page is not None
    page = window.pfn_to_page(window.page_to_pfn(addr))
    assert 0 <= (addr - page) % 2**64 < window.struct_page


# -- dictionaries -----------------------------------------------------------------------------


@pytest.mark.parametrize("window", [SEATTLE, NEGATIVE, ODD, on_48_bits(Family.V6_9, 4096, 0)])
def test_dictionary_round_trip(window: Window) -> None:
    told = window.to_dict()
    assert Window.from_dict(told) == window
    assert told["start"] == f"0x{window.start:016x}"


def test_dictionary_of_a_newer_writer_is_read() -> None:
    told = SEATTLE.to_dict() | {"family": "9.1+", "colour": "blue"}
    assert Window.from_dict(told) == SEATTLE


@pytest.mark.parametrize(
    "change",
    [
        {"start": None},
        {"start": 5},
        {"start": "0xzz"},
        {"start": "0x0"},
        {"end": "0xffffffffffffffffff"},
        {"va_bits": "39"},
        {"va_bits": True},
        {"memstart": "-0x1"},
        {"provenance": 3},
        {"provenance": "vmcoreinfo"},
    ],
)
def test_bad_dictionary_is_a_window_error(change: dict[str, object]) -> None:
    with pytest.raises(WindowError):
        Window.from_dict(SEATTLE.to_dict() | change)


def test_window_from_facts_names_what_is_missing() -> None:
    with pytest.raises(WindowError, match="struct_page, release"):
        window_from_facts({"va_bits": 39, "page_size": 4096})


def test_window_from_facts_by_release() -> None:
    facts = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0}
    window = window_from_facts(facts, release="5.15.0", provenance={"va_bits": "config"})
    assert (window.start, window.end, window.memstart) == (SEATTLE.start, SEATTLE.end, 0)
    assert window.provenance == {"va_bits": "config", "window": "release+formula"}


def test_no_family_where_no_formula_fits() -> None:
    facts = {"va_bits": 48, "page_size": 4096, "struct_page": 64}
    assert window_from_facts(facts, start=SEATTLE.start, end=SEATTLE.end).family is None
