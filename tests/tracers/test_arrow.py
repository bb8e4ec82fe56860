# SPDX-License-Identifier: GPL-2.0-only
"""NumPy to Arrow, by pyarrow's own account of the same values."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.arrow import column, empty, filled, flags, masked, numbers, strings, true, valid
from tracers.events import SCHEMA


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.int32, np.uint16, np.uint8])
def test_the_same_as_pyarrow_makes_of_it(dtype) -> None:
    limits = np.iinfo(dtype)
    values = np.array([limits.min, 0, 1, limits.max], dtype)
    assert column(values).equals(pa.array(values))
    assert column(values[::2]).equals(pa.array(values[::2]))
    assert column(values[:0]).equals(pa.array(values[:0]))


def test_pandas_stays_unloaded() -> None:
    code = (
        "import sys, numpy\nimport tracers.events\nfrom tracers.arrow import column\n"
        "column(numpy.arange(3))\nsys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


_SOME = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.booleans()), max_size=70)


@given(_SOME)
def test_masked_is_null_where_told(pairs) -> None:
    values = np.array([value for value, _ in pairs], np.uint64)
    known = np.array([known for _, known in pairs], np.bool_)
    made = masked(values, known)
    made.validate(full=True)
    assert made.equals(pa.array([v if k else None for v, k in pairs], pa.uint64()))
    assert made.null_count == sum(not k for _, k in pairs)


@given(st.lists(st.text(max_size=5), max_size=20))
def test_strings_are_the_texts(texts) -> None:
    made = strings([text.encode() for text in texts])
    made.validate(full=True)
    assert made.equals(pa.array(texts, pa.utf8()))


def test_strings_of_bytes_need_not_be_text() -> None:
    made = strings([b"\xff", b"", b"a\0b"], pa.binary())
    assert made.equals(pa.array([b"\xff", b"", b"a\0b"], pa.binary()))


@given(st.lists(st.booleans(), max_size=70))
def test_flags_are_the_booleans(values) -> None:
    made = flags(np.array(values, np.bool_))
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.bool_()))


def test_empty_is_of_any_schema_we_have() -> None:
    made = empty(SCHEMA)
    made.validate(full=True)
    assert made.schema == SCHEMA
    assert made.num_rows == 0
    odd = pa.schema([("a", pa.list_(pa.int8())), ("b", pa.bool_()), ("c", pa.binary())])
    assert empty(odd).schema == odd


@given(st.lists(st.none() | st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 20))
def test_values_and_nulls_of_any_slice(values, start) -> None:
    whole = pa.array(values, pa.uint64())
    part, cut = whole.slice(start), values[start:]
    got, known = numbers(part)
    if known is None:
        assert None not in cut
    else:
        assert known.tolist() == [value is not None for value in cut]
    assert [v for v, k in zip(got.tolist(), cut, strict=True) if k is not None] == [
        value for value in cut if value is not None
    ]
    assert filled(part, 7).tolist() == [7 if value is None else value for value in cut]
    assert filled(part, 7).dtype == np.uint64
    assert valid(part).tolist() == [value is not None for value in cut]


@given(st.lists(st.sampled_from([True, False, None]), max_size=40), st.integers(0, 20))
def test_true_is_neither_false_nor_null(values, start) -> None:
    part = pa.array(values, pa.bool_()).slice(start)
    assert true(part).tolist() == [value is True for value in values[start:]]


def test_columns_of_nothing_but_nulls() -> None:
    assert valid(pa.nulls(3, pa.uint64())).tolist() == [False] * 3
    assert valid(pa.nulls(3)).tolist() == [False] * 3
    assert filled(pa.nulls(3, pa.int64()), -1).tolist() == [-1] * 3
    assert true(pa.nulls(9, pa.bool_())).tolist() == [False] * 9
