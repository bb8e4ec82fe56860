# SPDX-License-Identifier: GPL-2.0-only
"""What the packers made comes out again; bombs end at the cap, damage is one error."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.files import PACKERS
from tracers import packed


@pytest.mark.parametrize("kind", PACKERS)
@given(raw=st.binary(max_size=3000), size=st.integers(1, 700))
def test_what_was_packed_comes_out(kind: str, raw: bytes, size: int) -> None:
    data = PACKERS[kind](raw)
    assert packed.packing(data[: packed.MAGIC_BYTES]) == kind
    source = io.BytesIO(data)
    assert b"".join(packed.unpacked(lambda asked: source.read(min(asked, size)), kind)) == raw


@pytest.mark.parametrize("kind", PACKERS)
def test_a_cut_is_an_error_of_one_line(kind: str) -> None:
    data = PACKERS[kind](bytes(range(256)) * 40)
    for size in (packed.MAGIC_BYTES, len(data) // 2, len(data) - 9):
        source = io.BytesIO(data[:size])
        with pytest.raises(packed.PackedError, match=r"^damaged or cut short \(\w+ data\)$"):
            b"".join(packed.unpacked(source.read, kind))


@pytest.mark.parametrize("kind", PACKERS)
def test_an_error_of_the_source_stays_what_it_is(kind: str) -> None:
    def read(_: int) -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        b"".join(packed.unpacked(read, kind))


def test_a_spool_ends_at_its_cap() -> None:
    file, size = packed.spool([b"12", b"345"], lambda: 5)
    with file:
        assert (size, file.tell()) == (5, 5)
    with pytest.raises(packed.PackedError, match="unpacks to more than"):
        packed.spool([bytes(1 << 20)] * 3, lambda: 2 << 20)
    assert packed.capped(1) == packed.FLOOR
    assert packed.capped(packed.FLOOR) == packed.RATIO_CAP * packed.FLOOR
