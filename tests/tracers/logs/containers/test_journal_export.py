# SPDX-License-Identifier: GPL-2.0-only
"""The journal's export: text and binary fields, whose message it is, and what is cut off."""

import io

import pytest

from tracers.logs.containers.journal_export import JournalExport, looks_like

ENTRY = (
    b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1700000022700000\n_SOURCE_MONOTONIC_TIMESTAMP=22700000\n"
    b"_TRANSPORT=kernel\nMESSAGE=%s\n\n"
)
BINARY = b"_TRANSPORT=kernel\nMESSAGE\n\x05\0\0\0\0\0\0\0a\nb=c\n\n"


def read(raw: bytes, size: int = 1 << 16) -> tuple[bytes, bool]:
    stream = JournalExport(io.BytesIO(raw))
    return b"".join(iter(lambda: stream.read1(size), b"")), stream.torn


def test_fields_of_text_and_of_bytes():
    assert looks_like(ENTRY)
    raw = ENTRY % b"WARN" + BINARY + ENTRY % b"end"
    assert read(raw, 3) == (b"[   22.700000] WARN\na\nb=c\n[   22.700000] end\n", False)


def test_other_programs_messages_are_not_the_kernels():
    raw = (ENTRY % b"x").replace(b"kernel", b"stdout")
    assert read(raw + ENTRY % b"y") == (b"[   22.700000] y\n", False)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (ENTRY % b"a" + (ENTRY % b"b")[:-9], b"[   22.700000] a\n"),
        (ENTRY % b"a" + BINARY[:-4], b"[   22.700000] a\n"),
        (ENTRY % b"a" + b"MESSAGE\n" + b"\xff" * 8 + b"x" * 100, b"[   22.700000] a\n"),
    ],
)
def test_what_is_cut_off_is_torn(raw: bytes, text: bytes):
    assert read(raw) == (text, True)
