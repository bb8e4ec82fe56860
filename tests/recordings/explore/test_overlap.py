# SPDX-License-Identifier: GPL-2.0-only
"""Overlaps on the circle of 2^64 addresses, against addresses counted one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.explore.overlap import overlaps, struct_pages
from tests.tui.small_recordings import WINDOW
from tracers.formulas import WindowError

TOP = 1 << 64
NEAR = st.integers(TOP - 12, TOP + 12).map(lambda address: address % TOP)


@given(start=NEAR, size=st.integers(1, 12), low=NEAR, length=st.integers(1, 12))
def test_ranges_meet_where_they_share_an_address(start, size, low, length):
    columns = {
        "start": np.array([start], np.uint64),
        "end": np.array([(start + size) % TOP], np.uint64),
        "flags": np.array([3], np.uint8),
    }
    shared = {(start + at) % TOP for at in range(size)} & {(low + at) % TOP for at in range(length)}
    assert bool(overlaps(columns, low, low + length)[0]) == bool(shared)


def test_struct_pages_are_one_behind_the_other_from_vmemmap_on():
    size = WINDOW.struct_page
    low, high = struct_pages(3, 10, WINDOW)
    assert (low, high) == (WINDOW.pfn_to_page(3), WINDOW.pfn_to_page(10))
    assert high - low == 7 * size
    with pytest.raises(WindowError, match="not known"):
        struct_pages(0, 1, None)
