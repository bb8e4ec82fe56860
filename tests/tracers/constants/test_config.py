# SPDX-License-Identifier: GPL-2.0-only
"""Configurations as files and inside images: packed, cut, foreign, absurd."""

import gzip
import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.constants.config import config_file, config_text, header_page_size, image_config
from tracers.constants.errors import ConstantsError

TEXT = "#\n# Linux/arm64 6.1.192 Kernel Configuration\n#\nCONFIG_ARM64_VA_BITS=39\n"
KERNEL = "6.1.192-vmemlab-39bit"


def test_plain_and_packed_are_the_same(captures: Path, tmp_path: Path) -> None:
    plain = captures / KERNEL / "config"
    packed = tmp_path / "config.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    assert config_file(packed) == config_file(plain) == plain.read_text()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no kernel configuration"),
        (b"\x7fELF", "no kernel configuration"),
        (TEXT.replace("arm64", "x86").encode(), "of a kernel for x86, not arm64"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "cut short"),
        (b"\x1f\x8b" + b"\xff" * 40, "damaged gzip data"),
        (gzip.compress(b"\0" * (64 << 20), mtime=0), "no kernel configuration"),  # a bomb: 64 KB
    ],
    ids=["empty", "ELF", "x86", "cut", "damaged", "bomb"],
)
def test_not_a_configuration_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ConstantsError, match=message) as caught:
        config_text(data, "config")
    assert "\n" not in str(caught.value)


def test_a_pipe_or_a_directory_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none", Path("a\0b")):
        with pytest.raises(ConstantsError):
            config_file(path)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_raise_nothing_else(data: bytes, packed: bool) -> None:
    try:
        text = config_text((b"\x1f\x8b\x08\0" if packed else b"") + data, "config")
    except ConstantsError:
        return
    assert "CONFIG_" in text


# -- inside an image ------------------------------------------------------------------------

BASE = 0xFFFF_FFC0_0800_0000


def image(data: bytes, symbols: dict[str, int] | None = None, **facts: Any) -> Any:
    """What holds ``data`` from BASE on and names ``symbols``, addresses relative to it."""
    named = {n: SimpleNamespace(va=BASE + at) for n, at in (symbols or {}).items()}

    def read(va: int, size: int) -> bytes | None:
        part = data[va - BASE : va - BASE + size]
        return part if len(part) == size else None

    fields = {
        "path": Path("vmlinux"),
        "names": "symtab" if symbols else None,
        "header_page_size": None,
        "read": read,
        "symbol": named.get,
        "symbols": lambda _: named,
        "find": lambda pattern: BASE + at if (at := data.find(pattern)) >= 0 else None,
    }
    return SimpleNamespace(**(fields | facts))


def test_by_its_names_and_by_its_marker() -> None:
    packed = gzip.compress(TEXT.encode(), mtime=0)
    data = b"..IKCFG_ST" + packed + b"IKCFG_ED" + b"\0" * (1 << 16)
    ends = {"kernel_config_data": 10, "kernel_config_data_end": 10 + len(packed)}
    assert image_config(image(data, ends)) == TEXT
    assert image_config(image(data)) == TEXT
    assert image_config(image(data, {"_text": 0})) is None  # named, and it has none
    assert image_config(image(b"")) is None


@pytest.mark.parametrize("end", [10, 0, 1 << 40, 60_000])
def test_names_that_make_no_sense(end: int) -> None:
    ends = {"kernel_config_data": 10, "kernel_config_data_end": end}
    assert image_config(image(b"..IKCFG_ST", ends)) is None


@pytest.mark.parametrize(
    ("flags", "size"), [(0b1010, 4096), (0b100, 16384), (0b110, 65536), (0, None)]
)
def test_page_size_of_the_boot_header(flags: int, size: int | None) -> None:
    header = struct.pack("<IIQQQQQQ4sI", 0, 0, 0, 0, flags, 0, 0, 0, b"ARM\x64", 0)
    assert header_page_size(image(header, {"_text": 0})) == size
    assert header_page_size(image(header[:60], {"_text": 0})) is None
    assert header_page_size(image(b"\0" * 64, {"_text": 0})) is None
    assert header_page_size(image(header)) is None
    assert header_page_size(image(b"", header_page_size=16384)) == 16384
