# SPDX-License-Identifier: GPL-2.0-only
"""Numbers as they stand on the screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.widgets import words


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (None, "-"),
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.000 µs"),
        (13_370, "13.37 µs"),
        (999_960, "1.000 ms"),
        (119_900_000, "119.9 ms"),
        (57_168_000, "57.17 ms"),
        (999_960_000, "1.000 s"),
        (5_237_968_000, "5.238 s"),
        (3_600_000_000_000, "3600 s"),
    ],
)
def test_duration(nanoseconds, text):
    assert words.duration(nanoseconds) == text


@given(st.integers(0, 2**64 - 1))
def test_a_duration_fits_its_column(nanoseconds):
    assert len(words.duration(nanoseconds)) <= words.DURATION_WIDTH + 1
    if nanoseconds < 10**13:  # ten thousand seconds
        assert len(words.duration(nanoseconds)) <= words.DURATION_WIDTH


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(None, "-"), (0, "0 %"), (0.001, "<1 %"), (0.93, "93 %"), (0.999, ">99 %"), (1.0, "100 %")],
)
def test_share(fraction, text):
    assert words.share(fraction) == text


def test_bars_show_whatever_is_above_zero():
    assert words.bar(0, 10, 8) == ""
    assert words.bar(0.001, 10, 8) == "▏"
    assert words.bar(10, 10, 8) == "█" * 8
    assert words.bar(5, 10, 8) == "█" * 4
    assert words.columns([0, 1, 8, 16], 16, 2) == ["   █", " ▁██"]


@given(st.text(max_size=20), st.integers(0, 12))
def test_pad_gives_exactly_the_cells(text, width):
    printable = "".join(char for char in text if char.isprintable())
    assert cell_len(words.pad(printable, width)) == width


def test_every_regime_has_a_mark_of_its_own():
    assert len(set(words.MARKS.values())) == len(words.MARKS) == 6
    assert words.mark("a regime of the future") == "?"
