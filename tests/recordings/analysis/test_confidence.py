# SPDX-License-Identifier: GPL-2.0-only
"""Intervals, compared with a bootstrap in plain Python, a formula, and repeated random samples."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis.confidence import (
    BLOCKS,
    FEWEST,
    Ratio,
    quantile,
    quantile_of,
    quantile_ratio,
    total_ratio,
)

VALUES = st.lists(st.integers(1, 10**9), min_size=1, max_size=60)


def column(values):
    return np.array(values, np.uint64)


def plain_bootstrap(a, b, draws=3000):
    """The textbook's loop: resample pairs, take the ratio of sums, sort."""
    rng = random.Random(1)  # noqa: S311
    found = []
    for _ in range(draws):
        drawn = [rng.randrange(len(a)) for _ in a]
        found.append(sum(a[i] for i in drawn) / sum(b[i] for i in drawn))
    found.sort()
    return found[int(0.025 * draws)], found[int(0.975 * draws)]


def test_pairs_against_the_plain_loop():
    rng = random.Random(7)  # noqa: S311
    b = [rng.randint(1000, 90_000) for _ in range(128)]
    a = [value * rng.randint(1, 30) for value in b]
    low, high = plain_bootstrap(a, b)
    found = total_ratio(column(a), column(b), paired=True)
    assert found.value == pytest.approx(sum(a) / sum(b))
    assert found.low == pytest.approx(low, rel=0.02)
    assert found.high == pytest.approx(high, rel=0.02)


def test_the_same_times_a_factor_has_no_width_in_pairs():
    b = column(range(1000, 1100))
    found = total_ratio(b * np.uint64(17), b, paired=True)
    assert (found.value, found.low, found.high) == pytest.approx((17, 17, 17))
    assert found.differs
    loose = total_ratio(b * np.uint64(17), b, paired=False)
    assert loose.low < 17 < loose.high
    assert total_ratio(b, b, paired=True).differs is False


@given(VALUES, VALUES)
def test_the_ratio_is_that_of_the_means_and_its_interval_holds_it(a, b):
    found = total_ratio(column(a), column(b), paired=False)
    assert found.value == pytest.approx((sum(a) / len(a)) / (sum(b) / len(b)))
    if min(len(a), len(b)) < FEWEST:
        assert (found.low, found.high, found.differs) == (None, None, None)
    else:
        assert found.low <= found.high
        assert 0 < found.low <= max(a) / min(b)


@given(VALUES, VALUES)
def test_turned_around_it_is_the_inverse_and_twice_is_the_same(a, b):
    there, back = (total_ratio(column(x), column(y), paired=False) for x, y in ((a, b), (b, a)))
    assert there.value * back.value == pytest.approx(1)
    assert there == total_ratio(column(a), column(b), paired=False)


def test_nothing_is_divided_by_nothing():
    none, some = column([]), column([5] * 30)
    assert total_ratio(none, some, paired=False) is None
    assert total_ratio(some, none, paired=False) is None
    assert total_ratio(some, column([0] * 30), paired=False) is None
    assert total_ratio(some, column([0] * 29 + [1]), paired=False) == Ratio(150.0)
    # turned around it is the same: a bound of 0 would be infinitely many times as long
    assert total_ratio(column([0] * 30), some, paired=False) is None
    assert total_ratio(column([0] * 29 + [1]), some, paired=False) == Ratio(pytest.approx(1 / 150))
    assert total_ratio(column([0] * 29 + [1]), some, paired=True) == Ratio(pytest.approx(1 / 150))
    zeros = column([0] * 200)
    assert quantile_ratio(zeros, column([5] * 200), 50) is None
    assert quantile_ratio(column([5] * 200), zeros, 50) is None
    with pytest.raises(ValueError, match="pairs"):
        total_ratio(some, none, paired=True)


def test_blocks_keep_the_ratio_of_very_many():
    rng = np.random.default_rng(3)
    b = rng.integers(1, 1000, BLOCKS * 8).astype(np.uint64)
    a = b * np.uint64(3)
    found = total_ratio(a, b, paired=True)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3, 3))
    loose = total_ratio(a, b, paired=False)
    # the delta method for two independent means
    spread = math.sqrt(2 * (b.std() / b.mean()) ** 2 / len(b))
    assert loose.high - loose.low == pytest.approx(2 * 1.96 * 3 * spread, rel=0.15)


@given(VALUES, st.sampled_from([50, 90, 99]))
def test_quantiles_are_nearest_rank(values, percent):
    rank = max(1, math.ceil(percent * len(values) / 100))
    assert quantile_of(column(values), percent) == sorted(values)[rank - 1]
    told = quantile(column(values), percent)
    assert (told is None) == (len(values) * min(percent, 100 - percent) < 100)


def test_a_quantile_s_interval_is_that_of_its_resamples():
    rng = random.Random(5)  # noqa: S311
    a = [rng.randint(1, 10**6) for _ in range(200)]
    b = [1000] * 200
    found = quantile_ratio(column(a), column(b), 90)
    drawn = sorted(
        sorted(rng.choice(a) for _ in a)[180 - 1] / 1000 for _ in range(3000)
    )  # fmt: skip
    assert found.low == pytest.approx(drawn[75], rel=0.03)
    assert found.high == pytest.approx(drawn[2925], rel=0.03)


def test_few_samples_have_no_interval_and_fewer_no_quantile():
    many, some, few = (column(range(1, n + 1)) for n in (500, 128, 16))
    assert quantile_ratio(many, many, 99).low is not None
    assert quantile_ratio(some, some, 99) == Ratio(1.0)
    assert quantile_ratio(few, few, 99) is None
    assert quantile_ratio(few, few, 50) == Ratio(1.0)


def test_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        a, b = (rng.gamma(3, 1000, 150).astype(np.uint64) for _ in "ab")
        held += not total_ratio(a, b, paired=False).differs
    assert 0.9 <= held / 200 <= 0.99


def test_wider_for_fewer():
    rng = np.random.default_rng(2)
    pool = rng.gamma(2, 1000, 2000).astype(np.uint64)
    widths = []
    for number in (30, 120, 480, 1900):
        found = total_ratio(pool[:number], pool[-number:], paired=False)
        widths.append(found.high - found.low)
    assert all(more > less for more, less in pairwise(widths))
