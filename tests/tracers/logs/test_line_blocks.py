# SPDX-License-Identifier: GPL-2.0-only
"""Blocks of whole lines: independent of the reads, and in bounded memory."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.logs import line_blocks
from tracers.logs.line_blocks import Blocks


def read(data: bytes, size: int) -> tuple[bytes, bytes, bool, int]:
    cut = Blocks(io.BytesIO(data), size)
    pieces = list(cut)
    assert all(piece.endswith(b"\n") or not piece for piece, _ in pieces)
    return b"".join(piece for piece, _ in pieces), cut.rest, cut.overlong, sum(o for _, o in pieces)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_nothing_is_lost_between_reads(data: bytes, size: int) -> None:
    end = data.rfind(b"\n") + 1
    assert read(data, size) == (data[:end], data[end:], False, 0)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_line_too_long_is_dropped_and_reported(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(line_blocks, "LONGEST", 20)
    assert read(b"a\n" + b"x" * 50 + b"\nb\nc", size) == (b"a\nb\n", b"c", False, 1)
    assert read(b"a\n" + b"x" * 50, size)[2:] == (True, 0)
