# SPDX-License-Identifier: GPL-2.0-only
"""The sentences of ``--cover``, with the numbers they must have."""

from recordings.reports.cover_text import percent, sentences, verdict
from recordings.reports.window_report import WindowReport
from tests.recordings.windows import report, seattle, window

GIB, TIB = 1 << 30, 1 << 40


def said(told: WindowReport) -> str:
    assert told.cover is not None
    assert told.window is not None
    return " ".join((verdict(told.cover), *sentences(told.cover, told.window)))


def test_a_region_inside_needs_nothing() -> None:
    text = said(seattle((0x80_0000_0000, 0x84_0000_0000)))
    assert text == (
        "all struct pages of 16 GiB at 0x8000000000 - 0x8400000000 lie in the window. Its pages,"
        " pfn 0x8000000 to 0x83fffff, have their struct pages at 0xfffffffe00000000 -"
        " 0xfffffffe10000000."
    )


def test_a_region_in_the_hole_of_the_mail() -> None:
    text = said(seattle((0xC0_0000_0000, 0xC4_0000_0000)))
    for part in (
        "no struct page of 16 GiB at 0xc000000000 - 0xc400000000 lies in the window.",
        "fall above the window, on unused (0xffffffff00000000 - 0xffffffff10000000)",
        "VMEMMAP_SIZE must be 0x110000000 (4.25 GiB; 4 GiB now): 256 MiB more.",
        "256 MiB of that is free above VMEMMAP_END",
        "It takes nothing from vmalloc",
        "pages: 48 (VMEMMAP_SIZE 2 TiB, up to 0x808000000000).",
    ):
        assert part in text
    assert "LPA2" not in text


def test_a_region_that_wraps_and_does_not_fit() -> None:
    # 39 bits, 2^52 bytes: 64 TiB of struct pages; vmalloc has some 250 GiB
    text = said(seattle((0x80_0000_0000, 1 << 52)))
    assert "wrapped into the user half, on user half" in text
    assert "it does not fit" in text
    assert "No VA_BITS of 5.11-6.8 with 4 KiB pages covers it." in text
    assert "CONFIG_ARM64_PA_BITS=52" in text


def test_half_in_half_out() -> None:
    text = said(seattle((0xBF_0000_0000, 0xC1_0000_0000)))
    assert text.startswith("50 % of 8 GiB at 0xbf00000000 - 0xc100000000 have no struct page")
    assert "Outside: 4 GiB, 0xc000000000 - 0xc100000000" in text


def test_vmalloc_pays_from_6_9_on() -> None:
    # 256 MiB of 250 GiB less modules and gaps
    text = said(report(window("6.12"), (0xC0_0000_0000, 0xC4_0000_0000)))
    assert "It takes 256 MiB (268435456 bytes) from vmalloc, 0.1 % of its 248.99 GiB." in text
    assert "52 only on a CPU with 52-bit addresses: on others it covers as 48 do." in text
    assert "52 bits with these pages is LPA2" in text
    assert "take 62 TiB of the 128 TiB above the linear map" in text


def test_below_ram() -> None:
    text = said(seattle((0x7F_C000_0000, 0x80_0000_0000)))
    assert "16 MiB of that lies below the struct page of the first page of RAM" in text
    assert "It takes 16 MiB (16777216 bytes) from vmalloc" in text


def test_why_lpa2_is_tricky() -> None:
    told = report(window("6.12", va_bits=52), (0x80_0000_0000, 1 << 48))
    text = said(told)
    assert "Judged for a CPU with 52-bit addresses; on one with 48 less is in use" in text
    # (2^52 - 2^47) / 4096 * 64 of 2^47
    assert "take 62 TiB, 48.4 % of the 128 TiB above it" in text
    wide = said(report(window("6.12", va_bits=52, page_size=16384), (0x80_0000_0000, 1 << 48)))
    # (2^52 - 2^46) / 16384 * 64 of 2^46
    assert "take 15.75 TiB, 24.6 % of the 64 TiB above it" in wide
    assert "say --vabits-actual 47" in wide


def test_an_unused_part_is_not_a_larger_window() -> None:
    memstart = (0x4000_0000 - (1 << 52) + (1 << 48)) % 2**64
    small = window("6.12", va_bits=52, vabits_actual=48, memstart=memstart)
    text = said(report(small, (0, 0x4000_0000)))
    assert "below the window in use, where the WARN is blind, on vmalloc" in text
    assert "VMEMMAP_SIZE need not grow" in text


def test_percent_has_three_digits() -> None:
    assert percent(1, 1) == "100 %"
    assert percent(62, 128) == "48.4 %"
    assert percent(1, 10**6) == "under 0.01 %"
