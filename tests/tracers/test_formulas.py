# SPDX-License-Identifier: GPL-2.0-only
"""The formulas by release family, against the kernels' sources and published constants."""

import pytest

from tracers.families import Family
from tracers.formulas import (
    WindowError,
    family_for_release,
    formula,
    memstart_for,
    section_size_bits_for,
)
from tracers.window import Window


@pytest.mark.parametrize(
    ("family", "va_bits", "page_size", "start", "end"),
    [
        # Debian's kernels, from their binaries (6.1.0-56, 6.12.117)
        (Family.V5_11, 48, 4096, 0xFFFF_FC00_0000_0000, 0xFFFF_FE00_0000_0000),
        (Family.V6_9, 52, 4096, 0xFFFF_C1FF_C000_0000, 0xFFFF_FFFF_C000_0000),
        # Documentation/arm64/memory.rst of 5.4: fffffdffffe00000 - ffffffffffdfffff
        (Family.V5_4, 48, 4096, 0xFFFF_FDFF_FFE0_0000, 0xFFFF_FFFF_FFE0_0000),
        # boot log of 4.14, 48 bits: "vmemmap : 0xffff7e0000000000 - 0xffff800000000000"
        (Family.V4_14, 48, 4096, 0xFFFF_7E00_0000_0000, 0xFFFF_8000_0000_0000),
        # by hand: 6.9+, 16K pages, 52 bits: MIN is 47, so (2^52 - 2^46) / 2^14 * 64 bytes
        (Family.V6_9, 52, 16384, 2**64 - 2**30 - (2**52 - 2**46) // 2**14 * 64, 2**64 - 2**30),
        # by hand: 64K pages, 52 bits, MIN 48
        (Family.V5_11, 52, 65536, 2**64 - 2**42, 2**64 - 2**42 + (2**52 - 2**47) // 2**10),
        (Family.V5_4, 52, 65536, 2**64 - 2**21 - (2**52 - 2**47) // 2**10, 2**64 - 2**21),
        (Family.V4_14, 42, 65536, 2**64 - 2**41 - 2**31, 2**64 - 2**41),
    ],
)
def test_formula(family: Family, va_bits: int, page_size: int, start: int, end: int) -> None:
    assert formula(family, va_bits=va_bits, page_size=page_size, struct_page=64) == (start, end)


def test_struct_page_of_56_bytes_is_rounded_up_only_before_6_9() -> None:
    sizes = {"va_bits": 48, "page_size": 4096, "struct_page": 56}
    assert formula(Family.V5_11, **sizes)[1] == 0xFFFF_FE00_0000_0000
    start, end = formula(Family.V6_9, **sizes)
    assert end - start == 2**47 // 4096 * 56


@pytest.mark.parametrize(
    ("name", "value"), [("va_bits", 999), ("page_size", 8192), ("struct_page", 0)]
)
def test_impossible_numbers_are_refused_by_name(name: str, value: int) -> None:
    sizes = {"va_bits": 48, "page_size": 4096, "struct_page": 64} | {name: value}
    with pytest.raises(WindowError, match=f"{name} = {value}"):
        formula(Family.V6_9, **sizes)
    with pytest.raises(WindowError, match=f"{name} = {value}"):
        Window(0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000, **sizes)


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ("4.14.0", Family.V4_14),
        ("5.3.18-lp", Family.V4_14),
        ("5.4", Family.V5_4),
        ("5.10.0-28-arm64", Family.V5_4),
        ("5.11.0", Family.V5_11),
        ("6.8.12", Family.V5_11),
        ("6.9.0-rc1", Family.V6_9),
        ("7.3.1", Family.V6_9),
    ],
)
def test_family_for_release(release: str, family: Family) -> None:
    assert family_for_release(release) is family


@pytest.mark.parametrize("release", ["4.9.337", "", "linux", "9" * 5000 + ".1", "\u0666.\u0661"])
def test_release_without_a_formula_is_a_window_error(release: str) -> None:
    with pytest.raises(WindowError):
        family_for_release(release)


def test_section_size_changed_in_5_12() -> None:
    assert section_size_bits_for("5.11.22", 4096) == 30
    assert section_size_bits_for("5.12.0", 4096) == 27
    assert section_size_bits_for("6.1", 16384) == 27
    assert section_size_bits_for("6.1", 65536) == 29


@pytest.mark.parametrize(
    ("page_size", "section", "align"),
    # 4K: PUD; 16K: 32 PMDs; 64K: PMD, unless a section is more (30 bits before 5.12)
    [(4096, 27, 30), (16384, 27, 30), (65536, 29, 29), (65536, 30, 30)],
)
def test_memstart_is_rounded_down(page_size: int, section: int, align: int) -> None:
    sizes = {"page_size": page_size, "section_size_bits": section}
    assert memstart_for((7 << align) - 1, **sizes) == 6 << align
    assert memstart_for(7 << align, **sizes) == 7 << align
    assert memstart_for((7 << align) + 1, **sizes) == 7 << align
