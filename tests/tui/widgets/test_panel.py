# SPDX-License-Identifier: GPL-2.0-only
"""The economy of repaints: only the cells that differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.widgets.panel import differing

PARTS = st.lists(st.tuples(st.text("ab│漢", max_size=4), st.sampled_from("xy")), max_size=5)


def cells(line):
    """Each cell's character and style, wide characters in the two cells they take."""
    return [(char, style) for text, style in line for char in text for _ in range(cell_len(char))]


@given(PARTS, PARTS, st.integers(1, 50))
def test_outside_of_what_is_drawn_again_nothing_differs(before, after, width):
    first, last = differing(tuple(before), tuple(after), width)
    assert 0 <= first < last <= width
    old, new = cells(before)[:width], cells(after)[:width]
    blank = [(" ", "")] * width
    old, new = (old + blank)[:width], (new + blank)[:width]
    assert old[:first] == new[:first]
    assert old[last:] == new[last:]


@pytest.mark.parametrize(("at", "expected"), [(0, (0, 1)), (40, (40, 41)), (99, (99, 100))])
def test_a_colour_that_moves_by_a_cell_is_a_cell(at, expected):
    def split(column):
        return (("x" * column, "red"), ("x" * (100 - column), ""))

    assert differing(split(at), split(at + 1), 100) == expected
