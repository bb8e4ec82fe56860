# SPDX-License-Identifier: GPL-2.0-only
"""Columns as text: addresses, and names so long that a batch of them must be cut."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.export import texts
from tests.recordings.made import rows


@given(st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1))), st.integers(0, 9))
def test_addresses_are_what_the_kernel_prints(values: list[int | None], skip: int) -> None:
    column = pa.array(values, pa.uint64())[skip:]
    told = texts.address(column)
    told.validate(full=True)
    expected = [None if value is None else f"0x{value:016x}" for value in values[skip:]]
    assert told.to_pylist() == expected


@given(st.lists(st.one_of(st.none(), st.text(max_size=4))), st.integers(0, 9), st.booleans())
def test_each_name_is_changed_and_nulls_stay(values, skip: int, encoded: bool) -> None:
    column = pa.array(values, pa.utf8())
    column = (column.dictionary_encode() if encoded else column)[skip:]
    told = texts.text(column, lambda name: name * 2)
    assert told.type == texts.TEXT
    assert told.to_pylist() == [None if name is None else name * 2 for name in values[skip:]]


def test_a_dictionary_may_hold_null_itself() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["a", None]))
    assert texts.text(column, str.upper).to_pylist() == ["A", None, None]


@pytest.mark.parametrize("encoded", [False, True])
def test_long_names_are_handled_a_few_rows_at_a_time(encoded: bool) -> None:
    name = "x" * (20 << 20)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int8()), pa.array([name]))
    events = rows(100)
    place = events.schema.get_field_index("comm")
    column = column if encoded else column[:7].cast(pa.utf8())
    events = events.slice(0, len(column)).set_column(place, "comm", column)
    cut = list(texts.pieces(events))
    assert {piece.num_rows for piece in cut} <= {1, 2, 3}
    assert pa.Table.from_batches(cut).equals(pa.Table.from_batches([events]))


def test_ordinary_events_are_not_cut() -> None:
    assert len(list(texts.pieces(rows(65_536)))) == 1
