# SPDX-License-Identifier: GPL-2.0-only
"""The shapes of arm64's page tables, and addresses in descriptors, one by one and in columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.constants.memory.descriptors import Tables, is_leaf


@pytest.mark.parametrize(
    ("page", "built", "in_use", "levels", "top"),
    [
        # Documentation/arch/arm64/memory.rst, and the kernels' own PGTABLE_LEVELS
        (4096, 39, 39, 3, 512),
        (4096, 48, 48, 4, 512),
        (4096, 52, 52, 5, 16),
        (4096, 52, 48, 4, 512),
        (16384, 47, 47, 3, 2048),
        (16384, 48, 48, 4, 2),
        (16384, 52, 47, 3, 2048),
        (16384, 52, 52, 4, 32),
        (65536, 42, 42, 2, 8192),
        (65536, 48, 48, 3, 64),
        (65536, 52, 52, 3, 1024),
        (65536, 52, 48, 3, 1024),  # of which the CPU uses the end
    ],
)
def test_shapes(page: int, built: int, in_use: int, levels: int, top: int) -> None:
    made = Tables.of(page, built, in_use)
    assert made.levels == levels
    assert made.entries(levels - 1) == top
    if levels > 1:
        assert made.entries(0) == page // 8
    assert made.wide == (page < 65536 and in_use == 52)


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1), st.booleans())
def test_columns_are_as_single_entries(entries: list[int], wide: bool) -> None:
    for shift in (12, 14, 16):
        made = Tables(shift, 52, wide=wide and shift < 16)
        column = made.output(np.array(entries, np.uint64))
        assert column.tolist() == [made.output(each) for each in entries]
        assert all(address < 1 << 52 and not address % (1 << shift) for address in column.tolist())


@pytest.mark.parametrize(
    ("shift", "wide", "entry", "address"),
    [
        (12, False, 0x0068_0000_4000_0F03, 0x4000_0000),
        (12, True, 0x0003_0000_4000_0303, 0xF_0000_4000_0000),
        (16, False, 0x0000_0000_4000_F003, 0xF_0000_4000_0000),
    ],
)
def test_addresses_of_52_bits(shift: int, wide: bool, entry: int, address: int) -> None:
    assert Tables(shift, 52, wide=wide).output(entry) == address


def test_leaves() -> None:
    assert [is_leaf(kind, 0) for kind in range(4)] == [False, False, False, True]
    assert [is_leaf(kind, 1) for kind in range(4)] == [False, True, False, False]
