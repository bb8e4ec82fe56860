# SPDX-License-Identifier: GPL-2.0-only
"""Where zstd's frames begin and end, by frames that its own program and Arrow's encoder made."""

import io
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.files import zstd
from tracers import packed
from tracers.zstd_frames import MAGIC, FrameError, frames

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="no program zstd")
#: As small as a frame gets: one empty raw block, or one that repeats a byte.
EMPTY, RLE = b"\1\0\0", b"\x83\0\0x"


def frame(flags: int, header: bytes, blocks: bytes = EMPTY) -> bytes:
    return MAGIC + bytes([flags]) + header + blocks


def skippable(content: bytes, magic: int = 0x184D2A50) -> bytes:
    return struct.pack("<II", magic, len(content)) + content


def kept(data: bytes, size: int = 1 << 20) -> bytes:
    source = io.BytesIO(data)
    return b"".join(frames(lambda asked: source.read(min(asked, size))))


def by_program(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-qc", *options], input=data, stdout=-1, check=True).stdout


@given(
    contents=st.lists(st.binary(max_size=300), max_size=4),
    between=st.sampled_from([b"", skippable(b""), skippable(b"x" * 999, 0x184D2A5F), bytes(7)]),
    size=st.integers(1, 400),
)
def test_what_holds_no_data_is_left_out(contents: list[bytes], between: bytes, size: int) -> None:
    whole = [zstd(content) for content in contents]
    assert kept(between + between.join(whole) + between, size) == b"".join(whole)


@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_a_cut_is_left_to_the_decoder(content: bytes, at: int) -> None:
    data = zstd(content)
    assert kept(data[:at]) == data[:at]


@pytest.mark.parametrize(
    "data",
    [
        frame(0x20, b"\0"),
        frame(0x24, b"\3", RLE) + b"sums",
        frame(0x00, b"\x58"),
        frame(0x40, b"\x58\0\0"),
        frame(0x80, b"\x58\0\0\0\0"),
        frame(0xE0, bytes(8)),
        frame(0x03, b"\x58\0\0\0\0"),  # names no dictionary with four bytes
        frame(0x20, b"\x05", bytes(6) + b"\x29\0\0hello"),
    ],
)
def test_every_form_of_a_header(data: bytes) -> None:
    assert kept(data + skippable(b"behind")) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame(0x00, b"\xa8"), r"window of 2048 MiB, and 128 is .* \(zstd -d --long=31\)"),
        (frame(0x00, b"\x89"), r"window of 144 MiB.* \(zstd -d --long=28\)"),
        (frame(0xA0, struct.pack("<I", 300 << 20)), r"window of 300 MiB.* \(zstd -d --long=29\)"),
        (frame(0x01, b"\x58\7"), "packed with a dictionary"),
        (frame(0x23, b"\7\0\0\0\0"), "packed with a dictionary"),
    ],
)
def test_what_takes_more_than_we_have_says_so(data: bytes, message: str) -> None:
    for before in (b"", zstd(b"a frame that can be unpacked"), skippable(b"x")):
        with pytest.raises(FrameError, match=message):
            kept(before + data)
        with pytest.raises(packed.PackedError, match=message) as caught:
            b"".join(packed.unpacked(io.BytesIO(before + data).read, "zst"))
        assert not isinstance(caught.value, packed.DamagedError)


@pytest.mark.parametrize("data", [b"garbage", skippable(b"hello")[:-1], b"\x50\x2a\x4d\x18\1"])
def test_what_is_no_frame_is_damage(data: bytes) -> None:
    for before in (b"", zstd(b"x")):
        with pytest.raises(EOFError):
            kept(before + data)


@needs_zstd
@pytest.mark.parametrize("options", [["--long=31"], ["--ultra", "-22", "--long=31"], ["--long=28"]])
def test_a_long_window_of_the_program_itself(options: list[str]) -> None:
    with pytest.raises(packed.PackedError, match=r"zstd -d --long="):
        b"".join(packed.unpacked(io.BytesIO(by_program(b"log\n" * 99, *options)).read, "zst"))


@needs_zstd
@pytest.mark.parametrize("options", [["--long=27"], ["-19"], ["--no-check"], ["-T2", "-B1MiB"]])
def test_other_options_of_the_program_are_read(options: list[str]) -> None:
    raw = bytes(range(256)) * 20_000
    data = skippable(b"pzstd's size") + by_program(raw, *options) + skippable(b"a seek table")
    assert packed.packing(data[: packed.MAGIC_BYTES]) == "zst"
    assert b"".join(packed.unpacked(io.BytesIO(data + bytes(512)).read, "zst")) == raw
