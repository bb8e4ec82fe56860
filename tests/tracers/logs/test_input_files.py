# SPDX-License-Identifier: GPL-2.0-only
"""What a log is read from: files, pipes, packed or not, whole or not."""

import gzip
import hashlib
import lzma
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TESTS
from tests.kernels.files import zstd
from tracers.logs.input_files import HEAD_BYTES, STDIN, Input
from tracers.packed import PackedError

RAW = (TESTS / "captures" / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt").read_bytes() * 8


PACKERS = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstd,
}


def read(path: Path, size: int = 100_000) -> tuple[bytes, Input]:
    with Input(path) as source:
        return b"".join(iter(lambda: source.read1(size), b"")), source


@pytest.mark.parametrize("packed", PACKERS)
def test_packed_files_of_one_and_several_members(tmp_path: Path, packed: str):
    path = tmp_path / "log"
    pack = PACKERS[packed]
    for members in ([RAW], [RAW, b"", b"more\n"]):
        content = b"".join(map(pack, members))
        path.write_bytes(content)
        raw, source = read(path)
        assert raw == b"".join(members)
        assert (source.packed, source.torn) == (packed, False)
        assert source.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("packed", ["gz", "xz"])
def test_padding_is_no_damage(tmp_path: Path, packed: str):
    path = tmp_path / "log"
    path.write_bytes(PACKERS[packed](RAW) + bytes(512))
    raw, source = read(path)
    assert (raw, source.torn) == (RAW, False)


@pytest.mark.parametrize("packed", PACKERS)
def test_cut_short_what_came_is_kept(tmp_path: Path, packed: str):
    path = tmp_path / "log"
    # Noise between the lines, so that the packers have something to put in the later bytes.
    whole = b"".join(RAW[at : at + 999] + os.urandom(400) for at in range(0, len(RAW), 999))
    content = PACKERS[packed](whole)
    came = 0
    for size in (6, len(content) // 4, len(content) * 3 // 4, len(content) - 1):
        path.write_bytes(content[:size])
        raw, source = read(path)
        assert source.torn
        assert whole.startswith(raw)
        assert len(raw) >= came
        came = len(raw)
    assert came > len(whole) // 2


@pytest.mark.parametrize("packed", PACKERS)
def test_damage_is_seen(tmp_path: Path, packed: str):
    content = bytearray(PACKERS[packed](RAW))
    for at in range(len(content) // 2, len(content) // 2 + 64):
        content[at] ^= 0x55
    (tmp_path / "log").write_bytes(content)
    assert read(tmp_path / "log")[1].torn


@given(packed=st.sampled_from(sorted(PACKERS)), size=st.integers(1, 3000), head=st.integers(0, 9))
@settings(max_examples=30)
def test_any_size_of_reads_gives_the_same(tmp_path_factory, packed: str, size: int, head: int):
    path = tmp_path_factory.mktemp("inputs") / "log"
    path.write_bytes(PACKERS[packed](RAW[:20_000]))
    with Input(path) as source:
        peeked = source.peek(lambda raw: len(raw) >= head)
        assert RAW.startswith(peeked)
        assert b"".join(iter(lambda: source.read1(size), b"")) == RAW[:20_000]


def fed(path: Path, write: Callable[[int], None]) -> threading.Thread:
    """A FIFO at ``path``, with a writer."""
    os.mkfifo(path)

    def run() -> None:
        descriptor = os.open(path, os.O_WRONLY)
        write(descriptor)
        os.close(descriptor)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gz", "zst"])
def test_a_pipe_is_read_once_and_hashed_on_the_way(tmp_path: Path, pack):
    content = pack(RAW)

    def write(descriptor: int) -> None:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)

    thread = fed(tmp_path / "pipe", write)
    with Input(tmp_path / "pipe") as source:
        assert source.sha256 == ""
        assert source.peek(lambda _: True)
        assert b"".join(iter(lambda: source.read1(1 << 20), b"")) == RAW
        assert source.sha256 == hashlib.sha256(content).hexdigest()
    thread.join()


def test_a_pipe_gives_what_is_there_without_waiting_for_more(tmp_path: Path):
    go = threading.Event()

    def write(descriptor: int) -> None:
        os.write(descriptor, b"# tracer: nop\n")
        go.wait(60)

    thread = fed(tmp_path / "pipe", write)
    with Input(tmp_path / "pipe") as source:
        assert source.peek(lambda head: b"\n" in head) == b"# tracer: nop\n"
        go.set()
        assert source.read1(1 << 20) == b"# tracer: nop\n"
        assert source.read1(1 << 20) == b""
    thread.join()


def test_a_pipe_without_writer_yet_is_waited_for(tmp_path: Path):
    thread = fed(
        tmp_path / "pipe", lambda descriptor: time.sleep(0.3) or os.write(descriptor, b"x")
    )
    with Input(tmp_path / "pipe") as source:
        assert source.read1(9) == b"x"
    thread.join()


def test_a_regular_file_holds_it_all(tmp_path: Path):
    plain = tmp_path / "plain"
    plain.write_bytes(RAW)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(RAW))
    for path in (plain, packed):
        with Input(path) as source:
            assert source.peek(lambda _: False) == RAW[:HEAD_BYTES]
            assert os.pread(source.file(), len(RAW) + 1, 0) == RAW


def test_a_bomb_ends_at_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tracers.packed.FLOOR", 1 << 20)
    path = tmp_path / "trace.dat.gz"
    path.write_bytes(gzip.compress(bytes(32 << 20)))
    with Input(path) as source, pytest.raises(PackedError, match="takes more than 1 MiB unpacked: make it a file"):
        source.file()
    # read on the way it takes no room, so nothing ends it
    assert len(read(path)[0]) == 32 << 20


@pytest.mark.parametrize("magic", [b"BZh9", b"\x02\x21\x4c\x18", b"\x89LZO"])
def test_what_cannot_be_unpacked_says_how_to(tmp_path: Path, magic: bytes):
    path = tmp_path / "log"
    path.write_bytes(magic + bytes(99))
    with pytest.raises(PackedError, match="unpack it first"):
        Input(path)


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert Path("-") == STDIN
    path = tmp_path / "-"
    path.write_bytes(b"a file of that name\n")
    monkeypatch.chdir(tmp_path)
    saved = os.dup(0)
    reader, writer = os.pipe()
    os.write(writer, b"piped\n")
    os.close(writer)
    os.dup2(reader, 0)
    try:
        assert read(Path("-"))[0] == b"piped\n"
        os.fstat(0)  # it stays open
    finally:
        os.dup2(saved, 0)
    assert read(path)[0] == b"a file of that name\n"
