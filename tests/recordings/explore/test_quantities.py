# SPDX-License-Identifier: GPL-2.0-only
"""Numbers as typed: exact where a float would not be."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.explore.quantities import SIZES, TIME_UNITS, integer, scaled


@given(
    st.integers(0, 10**15 - 1),
    st.text("0123456789", min_size=1, max_size=9),
    st.sampled_from([*TIME_UNITS.values(), *(1 << power for power in SIZES.values())]),
)
def test_a_decimal_is_taken_exactly_and_rounded_down(whole, rest, unit):
    assert scaled(f"{whole}.{rest}", unit) == int(Fraction(f"{whole}.{rest}") * unit)
    assert scaled(str(whole), unit, 100) == whole * unit // 100


@pytest.mark.parametrize(
    ("text", "value"),
    [("0x10", 16), ("10", 10), ("010", 10), ("0x10000000000000000", 1 << 64), ("", None),
     ("0x", None), ("-1", None), ("1_0", None), ("0xfg", None), ("٣", None), ("9" * 21, None)],
)  # fmt: skip
def test_an_integer_is_hexadecimal_with_0x_and_decimal_without(text, value):
    assert integer(text) == value
