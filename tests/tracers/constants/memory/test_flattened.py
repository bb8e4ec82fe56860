# SPDX-License-Identifier: GPL-2.0-only
"""Flattened dumps: what is read is the file that makedumpfile -R would write."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.constants.kdumps import flattened
from tracers.constants.errors import ConstantsError
from tracers.constants.memory import flattened as module
from tracers.constants.memory.flattened import Flattened

PIECES = st.lists(st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=30)), max_size=8)


def opened(stream: bytes) -> Flattened:
    return Flattened(lambda offset, size: stream[offset : offset + size])


@given(PIECES, st.integers(0, 120), st.integers(0, 120))
def test_later_pieces_are_over_earlier_ones(
    pieces: list[tuple[int, bytes]], offset: int, size: int
) -> None:
    file = bytearray()
    for at, data in pieces:
        file += bytes(max(0, at + len(data) - len(file)))
        file[at : at + len(data)] = data
    assert opened(flattened(pieces)).read_at(offset, size) == bytes(file[offset : offset + size])


@given(st.binary(max_size=200))
def test_a_stream_of_any_bytes_ends(data: bytes) -> None:
    stream = flattened([])[:4096] + data
    assert len(opened(stream).read_at(0, 1 << 16)) <= 1 << 16


def test_what_a_piece_promises_beyond_the_stream_is_not_there() -> None:
    stream = flattened([(0, b"whole")])[:-16] + struct.pack(">qq", 5, 1 << 60) + b"cut"
    assert opened(stream).read_at(0, 1 << 20) == b"wholecut"


def test_pieces_without_end_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BACK", 10)
    with pytest.raises(ConstantsError, match="makedumpfile -R"):
        opened(flattened([(5, b"xy"), *((at % 3, b"z") for at in range(50))]))
    monkeypatch.setattr(module, "_MOST", 10)
    with pytest.raises(ConstantsError, match="makedumpfile -R"):
        opened(flattened([(at, b"z") for at in range(50)]))
