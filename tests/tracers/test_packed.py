# SPDX-License-Identifier: GPL-2.0-only
"""What the packers made comes out again; bombs end at the cap, damage is one error."""

import io
import lzma
import os

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


def test_a_large_dictionary_of_xz_is_no_damage() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    data = lzma.compress(b"log\n", filters=filters)
    with pytest.raises(packed.PackedError, match=r"more than 256 MiB.* \(xz -d\)") as caught:
        b"".join(packed.unpacked(io.BytesIO(data).read, "xz"))
    assert not isinstance(caught.value, packed.DamagedError)


def test_a_spool_leaves_half_of_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs

    def small(file: int) -> os.statvfs_result:
        values = list(real(file))
        values[1], values[4] = 4096, 1024  # f_frsize, f_bavail: 4 MiB
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", small)
    packed.spool([bytes(1 << 20)] * 2, lambda: 1 << 40)[0].close()
    with pytest.raises(packed.PackedError, match=r"2 MiB unpacked, half of the free room in /"):
        packed.spool([bytes(1 << 20)] * 3, lambda: 1 << 40)


def test_a_spool_is_never_larger_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SPOOL_CAP", 3 << 20)
    with pytest.raises(packed.PackedError, match="3 MiB unpacked: make it a file first"):
        packed.spool([bytes(1 << 20)] * 4, lambda: 1 << 40)


def test_a_spool_ends_at_its_cap() -> None:
    file, size = packed.spool([b"12", b"345"], lambda: 5)
    with file:
        assert (size, file.tell()) == (5, 5)
    with pytest.raises(packed.PackedError, match="takes more than 2 MiB unpacked"):
        packed.spool([bytes(1 << 20)] * 3, lambda: 2 << 20)
    assert packed.capped(1) == packed.FLOOR
    assert packed.capped(packed.FLOOR) == packed.RATIO_CAP * packed.FLOOR
