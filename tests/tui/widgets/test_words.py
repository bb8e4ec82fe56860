# SPDX-License-Identifier: GPL-2.0-only
"""Numbers as the screen shows them."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.widgets import words


@given(st.integers(0, 2**64 - 1))
def test_a_duration_fits_its_column(nanoseconds):
    assert len(words.duration(nanoseconds)) <= words.DURATION_WIDTH


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
