# SPDX-License-Identifier: GPL-2.0-only
"""Text with a byte order mark, as UTF-8."""

import io

import pytest

from tracers.logs.containers.utf16 import Utf8, looks_like

TEXT = "[    1.000000] x\u20ac\U0001f600\r\n"


def read(raw: bytes) -> tuple[str, bool]:
    stream = Utf8(io.BytesIO(raw))
    return b"".join(iter(lambda: stream.read1(3), b"")).decode(), stream.torn


@pytest.mark.parametrize("name", ["utf-16le", "utf-16be", "utf-32le", "utf-32be", "utf-8"])
def test_every_mark(name: str):
    raw = ("\ufeff" + TEXT).encode(name)
    assert looks_like(raw)
    assert read(raw) == (TEXT, False)


def test_what_is_no_character_is_marked_and_a_cut_is_torn():
    raw = b"\xff\xfea\0\x00\xd8b\0"  # half of a pair
    assert read(raw) == ("a\ufffdb", False)
    assert read(b"\xff\xfea\0b") == ("a\ufffd", True)


def test_without_a_mark_it_is_left_alone():
    assert not looks_like(TEXT.encode("utf-16le"))
