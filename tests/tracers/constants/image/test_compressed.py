# SPDX-License-Identifier: GPL-2.0-only
"""Packed kernels: bombs stop at a cap, damage is one line."""

import zlib

import pytest

from tests.kernels.files import LAB, PACKERS, kernel, refused, zboot


@pytest.mark.parametrize("packed", ["gz", "zst", "xz"])
def test_stops_at_the_cap(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("tracers.packed.FLOOR", 1 << 20)
    message = refused(tmp_path, PACKERS[packed](bytes(8 << 20)))
    assert "takes more than 1 MiB unpacked" in message


@pytest.mark.parametrize("packed", PACKERS)
def test_cut_short(packed, tmp_path):
    data = PACKERS[packed](kernel(LAB).read_bytes())
    for size in (6, 20, len(data) // 2, len(data) - 9):
        refused(tmp_path, data[:size])


@pytest.mark.parametrize("packed", PACKERS)
def test_damaged(packed, tmp_path):
    data = bytearray(PACKERS[packed](kernel(LAB).read_bytes()))
    data[len(data) // 2 :] = b"\xa5" * (len(data) - len(data) // 2)
    refused(tmp_path, bytes(data))


def test_no_bomb_inside_a_zboot(tmp_path, monkeypatch):
    monkeypatch.setattr("tracers.packed.FLOOR", 1 << 20)
    assert "MiB unpacked: make it a file first" in refused(
        tmp_path, zboot(zlib.compress(bytes(8 << 20), wbits=31))
    )
