# SPDX-License-Identifier: GPL-2.0-only
"""The list of calls: what its columns have room for."""

from types import SimpleNamespace

import pytest

from tui.widgets.calls import CallsTable


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (0, "0.000000"),
        (999_999_999_000, "999.999999"),
        (3_196_446_234_000, "3196.446234"),
        (99_999_999_999_000, "99999.999999"),
        (100_000_123_456_000, "100000.12346"),
        (8_640_000_123_456_000, "8640000.1235"),  # a hundred days
        (-1_000_123_456_000, "-1000.123456"),  # before what came first: clocks of CPUs differ
    ],
)
def test_no_time_is_cut(ns, expected):
    table = CallsTable(id="calls")
    (column,) = (column for column in table._columns if column.title == "time")
    told, _ = column.cell(SimpleNamespace(ts_ns=ns))
    assert told == expected
    assert len(told) <= column.width
