# SPDX-License-Identifier: GPL-2.0-only
"""The histogram against sorted lists, and its bins against exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.ledger.histogram import ERROR, Histogram, bin_of, bin_range, exact_sum, exact_sums

NEAR_POWERS = st.builds(
    lambda power, step: (2**power + step) % 2**64, st.integers(0, 64), st.integers(-2, 2)
)
U64 = st.one_of(st.integers(0, 300), st.integers(0, 10**9), st.integers(0, 2**64 - 1), NEAR_POWERS)
VALUES = st.lists(U64, max_size=80)


def made(values):
    return Histogram().added(np.array(values, np.uint64))


@settings(deadline=None)
@given(U64)
def test_every_value_lies_in_its_bin(value):
    low, high = bin_range(int(bin_of(np.array([value], np.uint64))[0]))
    assert low <= value < high
    # 64 bins to an octave: a bin is no wider than 1/64 of what is in it, or holds one value.
    assert high - low == 1 or Fraction(high - low, low) <= Fraction(1, 64)


def test_bins_are_the_64_to_an_octave_that_the_text_promises():
    octave = np.arange(2**20, 2**21, dtype=np.uint64)
    assert len(np.unique(bin_of(octave))) == 64
    assert bin_of(np.array([0, 1, 2, 2**63, 2**64 - 1], np.uint64)).tolist() == [
        0, 1, 65, 1 + 63 * 64, 64 * 64,
    ]  # fmt: skip


@settings(deadline=None)
@given(VALUES.filter(bool))
def test_numbers_are_those_of_the_sorted_list(values):
    histogram, ordered = made(values), sorted(values)
    assert histogram.count == len(values)
    assert histogram.total == sum(values)
    assert (histogram.low, histogram.high) == (ordered[0], ordered[-1])
    for percent in (1, 50, 99, 100):
        rank = -(-percent * len(values) // 100)
        exact = ordered[max(rank, 1) - 1]
        assert abs(histogram.quantile(percent) - exact) <= Fraction(ERROR) * exact


@settings(deadline=None)
@given(st.lists(st.integers(0, 127), min_size=1))
def test_small_values_are_exact(values):
    assert made(values).quantile(50) == sorted(values)[(len(values) + 1) // 2 - 1]


@settings(deadline=None)
@given(VALUES, VALUES)
def test_merging_is_adding(one, two):
    merged, whole = made(one).merged(made(two)), made(one + two)
    assert merged.timing() == whole.timing()
    assert made(one).added(np.array(two, np.uint64)).timing() == whole.timing()


def test_nothing_has_no_quantile():
    assert Histogram().timing() is None
    with pytest.raises(ValueError, match="no values"):
        Histogram().quantile(50)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), U64), max_size=80))
def test_sums_are_exact_beyond_64_bits(pairs):
    groups = np.array([group for group, _ in pairs], np.int64)
    values = np.array([value for _, value in pairs], np.uint64)
    assert exact_sum(values) == sum(value for _, value in pairs)
    low, high = exact_sums(groups, values, 4)
    for group in range(4):
        expected = sum(value for g, value in pairs if g == group)
        assert int(low[group]) + (int(high[group]) << 32) == expected


@settings(deadline=None)
@given(VALUES.filter(bool), st.data())
def test_what_is_shorter_is_at_most_a_bin_short(values, data):
    timing, value = made(values).timing(), data.draw(st.sampled_from(values))
    low, high = bin_range(int(bin_of(np.array([value], np.uint64))[0]))
    surely, perhaps = (sum(each < edge for each in values) for edge in (low, high))
    assert timing.shorter(value) == surely / len(values)
    assert surely <= sum(each < value for each in values) <= perhaps
