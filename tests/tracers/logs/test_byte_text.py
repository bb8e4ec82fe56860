# SPDX-License-Identifier: GPL-2.0-only
"""Vectorised number parsing, compared with Python's int()."""

import re

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracers.logs import byte_text

U64 = (1 << 64) - 1
# What kernel/trace/trace_probe.c prints for x64, u64, s64: "0x%Lx", "%Lu", "%Ld".
PRINTED = re.compile(rb"(?:0x[0-9a-f]{1,16}|-?[0-9]{1,20})\Z")


def read(*values: bytes) -> list[int | str | None]:
    line = b" " * 40 + b" ".join(values) + b"\n"
    starts = 40 + np.cumsum([0, *(len(value) + 1 for value in values[:-1])])
    buffer = np.frombuffer(line + bytes(byte_text.PAD), np.uint8)
    found, number, bad = byte_text.numbers(buffer, starts.astype(np.int64))
    assert not (number & bad).any()
    return [
        "bad" if b else int(value) if n else None
        for value, n, b in zip(found, number, bad, strict=True)
    ]


@settings(deadline=None)
@given(st.lists(st.integers(0, U64), min_size=1, max_size=20))
@example([0, 1, 9, 10, U64, 1 << 63, (1 << 63) - 1, 10**19, 10**10, 10**10 - 1])
def test_unsigned_hexadecimal_and_signed_values_of_all_u64(values: list[int]):
    assert read(*(b"0x%x" % value for value in values)) == values
    assert read(*(b"%d" % value for value in values)) == values
    signed = [value - (1 << 64) if value >> 63 else value for value in values]
    assert read(*(b"%d" % value for value in signed)) == values


def test_what_is_no_number_and_what_is_a_broken_one():
    none = [b"(fault)", b'"text"', b"{0x1,0x2}", b"'a'", b"vmemmap_free+0x64/0x70"]
    assert read(*none) == [None] * len(none)
    broken = [
        b"0x", b"0x1g", b"0xFF", b"0x12345678901234567", b"18446744073709551616", b"-", b"12,3",
        b"99999999999999999999", b"-9223372036854775809", b"123456789012345678901234567", b"1\0",
        b"0x1\xff", b"",
    ]  # fmt: skip
    assert read(*broken) == ["bad"] * len(broken)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=26).filter(lambda raw: not set(raw) & set(b" \r\n")))
def test_any_bytes_are_the_number_python_reads_or_no_number(raw: bytes):
    (found,) = read(raw)
    if isinstance(found, int):
        assert PRINTED.match(raw)
        assert found == int(raw, 16 if raw.startswith(b"0x") else 10) % (1 << 64)
    elif PRINTED.match(raw):
        value = int(raw, 16 if raw.startswith(b"0x") else 10)
        assert found == "bad"
        assert not -(1 << 63) <= value <= U64


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=70), min_size=1, max_size=30))
def test_distinct_pieces_are_those_pieces(parts: list[bytes]):
    buffer = np.frombuffer(b"".join(parts) + bytes(byte_text.PAD), np.uint8)
    lengths = np.array([len(part) for part in parts], np.int64)
    starts = np.cumsum(lengths) - lengths
    assert byte_text.pieces(buffer, starts, lengths).to_pylist() == parts
    codes, kinds = byte_text.distinct(buffer, starts, lengths)
    # Trailing zero bytes, which no kernel prints, are not distinguished.
    assert [kinds[code].as_py().rstrip(b"\0") for code in codes] == [p.rstrip(b"\0") for p in parts]
    assert len(kinds) == len({part.rstrip(b"\0") for part in parts})
