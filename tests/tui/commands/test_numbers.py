# SPDX-License-Identifier: GPL-2.0-only
"""Parsing of numbers as mails write them, never by guessing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tui.commands.numbers import extent, number, parse_target, signed_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x80_0000_0000", 0x80_0000_0000),
        ("0x8000000000", 0x80_0000_0000),
        ("0XFFFF_FFFE_0000_0000", 0xFFFF_FFFE_0000_0000),
        ("549755813888", 0x80_0000_0000),
        ("1_000", 1000),
        ("4K", 4096),
        ("4k", 4096),
        ("4KiB", 4096),
        ("16 GiB", 16 << 30),
        ("512G", 0x80_0000_0000),
        ("2TB", 2 << 40),
        ("0", 0),
    ],
)
def test_numbers(text: str, value: int) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "0x", "0x1G", "4Q", "-1", "1__0", "_1", "1.5G", "0x1_0000_0000_0000_0000", "16E",
        "9" * 5000, "1" + " " * 30 + "K", "٣", "0x٣", "1\n",
    ],
)  # fmt: skip
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|64 bits"):
        number(text)


def test_memstart_may_be_negative() -> None:
    # the 6.12 capture's PHYS_OFFSET
    assert signed_number("-0x390480000000") == 0xFFFF_C6FB_8000_0000
    assert signed_number("0xffffc6fb80000000") == 0xFFFF_C6FB_8000_0000
    with pytest.raises(ValueError, match="64 bits"):
        signed_number("-0xffffc6fb80000000")


@given(st.integers(0, 2**64 - 1))
def test_every_number_in_every_form(value: int) -> None:
    assert number(hex(value)) == number(str(value)) == number(f"{value:_}") == value
    assert number(f"0x{value:_x}") == value


def test_ranges() -> None:
    assert extent("0xc0_0000_0000..0xc4_0000_0000") == (0xC0_0000_0000, 0xC4_0000_0000)
    assert extent("0xc000000000+16G") == (0xC0_0000_0000, 0xC4_0000_0000)
    assert extent("1G .. 2G") == (1 << 30, 2 << 30)


@pytest.mark.parametrize("text", ["1", "1-2", "2..1", "1..1", "1+0", "..", "1..", "+1"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|empty|number"):
        extent(text)


@pytest.mark.parametrize(
    ("text", "given_kind", "kind", "start", "end"),
    [
        ("0xffffffff3f000000", None, "addr", 0xFFFF_FFFF_3F00_0000, None),
        ("18446744069414584320", None, "addr", 0xFFFF_FFFF_0000_0000, None),
        ("0x000003fdfe000000", None, "addr", 0x3FD_FE00_0000, None),
        ("000003fdfe000000", None, "addr", 0x3FD_FE00_0000, None),
        ("ffffffff3f000000", None, "addr", 0xFFFF_FFFF_3F00_0000, None),
        ("fffffffe00000000..ffffffff00000000", None, "addr", 2**64 - 2**33, 2**64 - 2**32),
        ("pfn:0x800_0000", None, "pfn", 0x800_0000, None),
        ("PHYS:512G", None, "phys", 0x80_0000_0000, None),
        ("phys:512G+16G", None, "phys", 0x80_0000_0000, 0x84_0000_0000),
        ("addr:0x10", None, "addr", 0x10, None),
        ("0x8000000", "pfn", "pfn", 0x800_0000, None),
        ("0xffffffff3f000000", "phys", "phys", 0xFFFF_FFFF_3F00_0000, None),
        ("phys:1", "pfn", "phys", 1, None),  # its own prefix says more than --as
    ],
)  # fmt: skip
def test_what_is_asked(text, given_kind, kind, start, end) -> None:
    target = parse_target(text, given_kind)
    assert (target.kind, target.start, target.end) == (kind, start, end)
    assert target.why


@pytest.mark.parametrize(
    "text", ["0x8000000", "134217728", "512G", "0x3fdfe000000", "1234567890123456", "0"]
)
def test_nothing_is_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="say --as, or write addr:"):
        parse_target(text)


@pytest.mark.parametrize("text", ["page:1", "pfn:", "pfn:x", ":1", "pfn:2..1", "ffffgfff3f000000"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ValueError, match=r"prefixes|number|empty"):
        parse_target(text)


@given(st.text(max_size=40))
@example("0\r")
def test_any_text_is_parsed_or_an_error_of_one_line(text: str) -> None:
    for read in (number, signed_number, extent, parse_target):
        try:
            read(text)
        except ValueError as error:
            lines = str(error).splitlines()
        else:
            continue
        assert len(lines) == 1
