# SPDX-License-Identifier: GPL-2.0-only
"""Chunks and texts: what the ledger reads of a batch, and how much of it."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.ledger.columns import CHUNK, CUT, TEXT, among, chunks, texts
from tests.recordings.made import events
from tracers.events import Kind, Phase

TEXTS = st.lists(
    st.none()
    | st.text(max_size=5)
    | st.builds(lambda text, n: text * n, st.text(min_size=1, max_size=5), st.integers(0, 400))
)


def taken(values, rows=None):
    column = pa.array(values, pa.utf8())
    return texts(column, np.arange(len(values)) if rows is None else np.array(rows)).tolist()


@given(TEXTS)
def test_texts_are_kept_up_to_the_budget_and_marked_beyond_it(values):
    for text, told in zip(values, taken(values), strict=True):
        if text is None or len(text.encode()) <= TEXT:
            assert told == text
        else:
            assert told.endswith(CUT)
            assert text.startswith(told.removesuffix(CUT))
            assert TEXT - 4 < len(told.removesuffix(CUT).encode()) <= TEXT


@pytest.mark.parametrize("char", ["x", "é", "世", "😀"])
@pytest.mark.parametrize("shift", range(4))
def test_no_character_is_cut_in_half(char, shift):
    (told,) = taken(["a" * shift + char * TEXT])
    assert set(told) <= {"a", char, CUT}


def test_only_some_rows_of_a_part_of_a_column():
    column = pa.array(["no", "x" * 300, None, "y" * 300, "z"]).slice(1)
    assert texts(column, np.array([3, 2, 1])).tolist() == ["z", "y" * TEXT + CUT, None]


def test_text_that_is_not_utf8_is_cut_and_kept():
    column = pa.array([b"\x80" * 1000, b"ok"], pa.binary()).view(pa.utf8())
    told = texts(column, np.arange(2)).tolist()
    assert told[1] == "ok"
    assert told[0].endswith(CUT)
    assert set(told[0].removesuffix(CUT)) == {"\udc80"}


@pytest.mark.parametrize("cut", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_chunks_end_at_the_same_rows_for_any_cut(cut):
    batch = events(2 * CHUNK + 5, Kind.FREE, Phase.POINT)
    found = [*chunks(batch.slice(0, cut), 0), *chunks(batch.slice(cut), cut)]
    ends = np.cumsum([len(chunk) for chunk in found]).tolist()
    assert ends[-1] == len(batch)
    assert {CHUNK, 2 * CHUNK} <= set(ends)
    assert [chunk.row for chunk in found] == [0, *ends[:-1]]


@given(st.lists(st.integers(-9, 9)), st.lists(st.integers(-9, 9)))
def test_among_finds_what_is_there(values, some):
    found = among(np.array(values, np.int64), np.array(some, np.int64))
    assert found.tolist() == [value in some for value in values]
