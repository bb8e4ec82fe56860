# SPDX-License-Identifier: GPL-2.0-only
"""Names become codes by spelling, whatever a foreign writer did."""

import numpy as np
import pyarrow as pa
import pytest

from tracers.codes import codes
from tracers.events import KIND_NAMES, Kind, Phase


def encoded(names, order, width):
    indices = pa.array([None if n is None else order.index(n) for n in names], width)
    return pa.DictionaryArray.from_arrays(indices, pa.array(order, pa.utf8()))


@pytest.mark.parametrize("width", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint16()])
def test_any_order_and_width(width):
    names = ["warn", "free", None, "memremap", "of_a_newer_kernel"]
    column = encoded(names, ["of_a_newer_kernel", "free", "warn", "memremap"], width)
    expected = [Kind.WARN, Kind.FREE, Kind.UNKNOWN, Kind.MEMREMAP, Kind.UNKNOWN]
    assert codes(column, Kind).tolist() == expected
    assert codes(column.slice(1, 3), Kind).tolist() == expected[1:4]
    assert codes(column, Kind).dtype == np.uint8


def test_our_own_order():
    indices = pa.array(range(len(Kind)), pa.int8())
    column = pa.DictionaryArray.from_arrays(indices, KIND_NAMES)
    assert codes(column, Kind).tolist() == list(Kind)


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_indices_outside_the_dictionary_are_unknown(dtype):
    """Arrow does not check them when it reads a file."""
    raw = np.array([0, 1, 100, -1, -128], dtype)
    column = pa.DictionaryArray.from_arrays(pa.array(raw), pa.array(["exit", "entry"]), safe=False)
    assert codes(column, Phase).tolist() == [Phase.EXIT, Phase.ENTRY, 0, 0, 0]


@pytest.mark.parametrize("width", [np.int8, np.int32])
def test_indices_outside_our_own_dictionary_are_unknown(width):
    raw = pa.array(np.array([9, len(Kind), 127, -1, 8], width))
    column = pa.DictionaryArray.from_arrays(raw, KIND_NAMES, safe=False)
    assert codes(column, Kind).tolist() == [Kind.WARN, 0, 0, 0, Kind.FREE]
    assert codes(column.slice(4), Kind).tolist() == [Kind.FREE]


def test_plain_strings_and_no_rows():
    assert codes(pa.array(["entry", None, "x"]), Phase).tolist() == [Phase.ENTRY, 0, 0]
    assert codes(pa.array([], pa.dictionary(pa.int8(), pa.utf8())), Kind).tolist() == []
    odd = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array([b"\xff", b"warn"]))
    assert codes(odd, Kind).tolist() == [0, Kind.WARN]
