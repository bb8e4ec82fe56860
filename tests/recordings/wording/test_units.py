# SPDX-License-Identifier: GPL-2.0-only
"""Formatting of durations, counts, addresses, sizes and shares."""

import pytest

from recordings.wording.units import address, count, duration, share, size


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "-"),
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 µs"),
        (13_400, "13.4 µs"),
        (119_901_000, "119.9 ms"),
        (1_352_000, "1.352 ms"),
        (57_168_000, "57.17 ms"),
        (999_999, "1 ms"),
        (999_999_999, "1 s"),
        (1_500_000_000, "1.5 s"),
        (3_600_000_000_000, "3,600 s"),
        (2**63, "106752 d"),
    ],
)
def test_duration(ns, text):
    assert duration(ns) == text


def test_address_is_as_the_kernel_prints_it():
    assert address(0xFFFF_FFFE_0000_0000) == "0xfffffffe00000000"
    assert address(0) == "0x0000000000000000"
    assert address(None) == "-"


def test_the_others():
    assert count(1_234_567) == "1,234,567"
    assert [size(n) for n in (0, 64, 4096, 3 << 29, 2 << 20)] == [
        "0 B", "64 B", "4 KiB", "1.5 GiB", "2 MiB",
    ]  # fmt: skip
    assert [share(part) for part in (None, 0.0, 1e-9, 0.004, 0.93, 0.9999, 1.0)] == [
        "-", "0 %", "<0.1 %", "0.4 %", "93 %", ">99 %", "100 %",
    ]  # fmt: skip
