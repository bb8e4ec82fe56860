# SPDX-License-Identifier: GPL-2.0-only
"""The formula as a method, against the windows kernels noted and the LKML mail's machine."""

import pytest

from tracers.constants.arithmetic import Chosen, by_formula, solve_va_bits

OLD = (0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000)  # 6.1.192-vmemlab, 39 bits
NEW = (0xFFFF_FDFF_C000_0000, 0xFFFF_FFFF_C000_0000)  # 6.12.117-vmemlab, 48 bits
HUBBARD = (0xFFFF_FC00_0000_0000, 0xFFFF_FE00_0000_0000)  # 48 bits, before 6.9
DEBIAN = (0xFFFF_C1FF_C000_0000, 0xFFFF_FFFF_C000_0000)  # Debian's 6.12.117, 52 bits


def chosen(**sizes: int) -> Chosen:
    return {name: ("config", value) for name, value in sizes.items()}


def whole(va_bits: int) -> Chosen:
    return chosen(va_bits=va_bits, page_size=4096, struct_page=64)


@pytest.mark.parametrize(
    ("release", "va_bits", "window"),
    [
        ("6.1.192-vmemlab", 39, OLD),
        ("6.12.117-vmemlab", 48, NEW),
        ("6.3.0-rc4", 48, HUBBARD),
        ("6.12.117+deb12-arm64", 52, DEBIAN),
    ],
)
def test_by_release_alone(release: str, va_bits: int, window: tuple[int, int]) -> None:
    result, reason = by_formula(whole(va_bits), {}, release)
    assert result is not None
    assert (result.window, reason) == (window, "")
    assert f"by release {release}" in result.detail


def test_another_methods_window_outweighs_the_release() -> None:
    result, _ = by_formula(whole(48), {"code:vmemmap_free": NEW}, "6.1.0-vendor")
    assert result is not None
    assert result.window == NEW
    assert "gives what code:vmemmap_free says" in result.detail
    assert "though release 6.1.0-vendor is of 5.11-6.8" in result.detail
    # one that no formula gives does not
    result, _ = by_formula(whole(48), {"code:vmemmap_free": OLD}, "6.1.0-vendor")
    assert result is not None
    assert result.window == HUBBARD


def test_without_a_release_another_methods_window_decides() -> None:
    result, _ = by_formula(whole(48), {"vmcoreinfo": HUBBARD}, None)
    assert result is not None
    assert result.window == HUBBARD


@pytest.mark.parametrize(
    ("sizes", "release", "message"),
    [
        ({}, "6.1", "VA bits (its configuration: --config), the page size"),
        ({"va_bits": 48, "page_size": 4096}, "6.1", "sizeof(struct page)"),
        ({"va_bits": 48, "page_size": 4096, "struct_page": 64}, None, "no release"),
        ({"va_bits": 48, "page_size": 4096, "struct_page": 64}, "4.4.0", "before 4.14"),
        ({"va_bits": 48, "page_size": 4096, "struct_page": 64}, "x", "no kernel version"),
        ({"va_bits": 99, "page_size": 4096, "struct_page": 64}, "6.1", "va_bits = 99"),
    ],
)
def test_why_there_is_no_window(sizes: dict[str, int], release: str | None, message: str) -> None:
    result, reason = by_formula(chosen(**sizes), {}, release)
    assert result is None
    assert message in reason


@pytest.mark.parametrize(
    ("window", "va_bits"), [(OLD, 39), (NEW, 48), (HUBBARD, 48), (DEBIAN, 52), ((OLD[0], 1), None)]
)
def test_solved_for_va_bits(window: tuple[int, int], va_bits: int | None) -> None:
    sizes = chosen(page_size=4096, struct_page=64)
    assert solve_va_bits(window, sizes) == va_bits
    assert solve_va_bits(window, whole(48)) is None  # known already
    assert solve_va_bits(window, chosen(page_size=4096)) is None
    assert solve_va_bits(window, chosen(page_size=8192, struct_page=64)) is None
