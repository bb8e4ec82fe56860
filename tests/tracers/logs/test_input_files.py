# SPDX-License-Identifier: GPL-2.0-only
"""What a log is read from: files, pipes, packed or not, whole or not."""

import codecs
import gzip
import hashlib
import lzma
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TESTS
from tests.kernels.files import zstd
from tracers.logs import input_files
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
        source.peek(lambda _: True)
        assert len(source.sha256) in (0, 64)  # asked for between the head and the rest
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


def test_a_regular_file_is_only_hashed_when_somebody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "log"
    path.write_bytes(RAW)
    real = os.pread

    def pread(*_: object) -> bytes:
        raise AssertionError("hashed before it was known to be a log")

    monkeypatch.setattr(os, "pread", pread)
    with Input(path) as source:
        assert source.peek(lambda _: False) == RAW[:HEAD_BYTES]
        monkeypatch.setattr(os, "pread", real)
        assert source.sha256 == hashlib.sha256(RAW).hexdigest()
        assert b"".join(iter(lambda: source.read1(1 << 20), b"")) == RAW


def test_the_digest_begins_where_standard_input_stands(tmp_path: Path):
    (tmp_path / "log").write_bytes(RAW)
    saved = os.dup(0)
    file = os.open(tmp_path / "log", os.O_RDONLY)
    os.lseek(file, 1000, os.SEEK_SET)
    os.dup2(file, 0)
    try:
        with Input(STDIN) as source:
            assert source.peek(lambda _: True)
            assert source.sha256 == hashlib.sha256(RAW[1000:]).hexdigest()
            assert b"".join(iter(lambda: source.read1(1 << 20), b"")) == RAW[1000:]
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(file)


def sparse(path: Path, *pieces: int, size: int) -> Path:
    """A file of that size with a kilobyte written at each of the places."""
    with path.open("wb") as file:
        for at in pieces:
            file.seek(at)
            file.write(RAW[:1024])
        file.truncate(size)
    return path


@pytest.mark.parametrize(
    ("pieces", "size"),
    [
        ((), 1 << 40),
        ((0,), 1 << 40),
        (((1 << 40) - 1024,), 1 << 40),
        ((0, 900 << 20, 1800 << 20), 1900 << 20),
    ],
)
def test_a_file_of_holes_is_no_log(tmp_path: Path, pieces: tuple[int, ...], size: int):
    path = sparse(tmp_path / "log", *pieces, size=size)
    with pytest.raises(OSError, match="more than 1 GiB of it were never written"):
        Input(path)


def test_a_log_may_have_holes(tmp_path: Path):
    path = sparse(tmp_path / "log", 0, 3 << 20, size=4 << 20)
    with Input(path) as source:
        assert source.read1(1024) == RAW[:1024]
        assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/dev/zero", "no log but a device without an end"),
        ("/dev/full", "no log but a device without an end"),
        ("/dev/urandom", "no log but a device without an end"),
        ("/proc/self", "no log but a directory"),
        ("/proc/kmsg", "gone for the log daemon and all others; give the output of dmesg"),
    ],
)
@pytest.mark.parametrize("by", ["name", "link", "stdin"])
def test_what_has_no_end_or_is_taken_away_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, target: str, message: str
):
    path = tmp_path / "link" if by == "link" else Path(target)
    if by == "link":
        path.symlink_to(target)
    if by != "stdin":
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
        with pytest.raises(OSError, match=message):
            Input(path)
        return
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        pytest.skip(f"{path}: {error}")
    saved = os.dup(0)
    os.dup2(file, 0)
    try:
        with pytest.raises(OSError, match=message):
            Input(STDIN)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(file)


def test_sockets_are_streams_but_their_names_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("log")
        with pytest.raises(OSError, match="no log but a socket"):
            Input(Path("log"))
    ours, theirs = socket.socketpair()
    saved = os.dup(0)
    os.dup2(theirs.fileno(), 0)
    theirs.close()
    ours.sendall(b"[    0.1] x\n")
    ours.close()
    try:
        with Input(STDIN) as source:
            assert source.read1(99) == b"[    0.1] x\n"
            assert source.read1(99) == b""
            assert source.sha256 == hashlib.sha256(b"[    0.1] x\n").hexdigest()
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_what_the_kernel_makes_is_a_stream():
    with Input(Path("/proc/self/mountinfo")) as source:
        assert source.sha256 == ""
        text = b"".join(iter(lambda: source.read1(100), b""))
        assert text == Path("/proc/self/mountinfo").read_bytes()
        assert source.sha256 == hashlib.sha256(text).hexdigest()


def test_a_device_without_a_log_has_an_end():
    with Input(Path("/dev/null")) as source:
        assert source.read1(9) == b""


@pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK), reason="no /dev/kmsg for us")
def test_dev_kmsg_ends_where_the_log_does():
    with Input(Path("/dev/kmsg")) as source:
        text = b"".join(iter(lambda: source.read1(100), b""))
    lines = text.splitlines()
    assert lines
    assert all(line.partition(b";")[0].count(b",") >= 3 for line in lines if line[:1] != b" ")


def test_a_terminal_is_read_until_its_end(tmp_path: Path):
    master, slave = os.openpty()
    name = Path(os.ttyname(slave))
    os.write(master, b"# tracer: nop\n\x04")
    with Input(name) as source:
        assert source.read1(99) == b"# tracer: nop\n"
        assert source.read1(99) == b""
    os.close(master)
    os.close(slave)


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
    with (
        Input(path) as source,
        pytest.raises(PackedError, match="takes more than 1 MiB unpacked: make it a file"),
    ):
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


@pytest.mark.parametrize("how", ["file", "packed", "pipe"])
def test_a_container_is_opened_whatever_it_comes_in(tmp_path: Path, how: str):
    raw = b'{"dmesg": [' + b",".join(b'{"time": 1.5, "msg": "%d"}' % n for n in range(9999)) + b"]}"
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(raw) if how == "packed" else raw)
    with ExitStack() as stack:
        if how == "pipe":
            path = piped(stack, tmp_path, raw)
        source = stack.enter_context(Input(path))
        source.take_out()
        text = b"".join(iter(lambda: source.read1(1000), b""))
        assert text == b"".join(b"[    1.500000] %d\n" % n for n in range(9999))
        assert not source.torn
        assert (
            source.sha256 == hashlib.sha256(path.read_bytes() if how != "pipe" else raw).hexdigest()
        )


@pytest.mark.parametrize("how", ["file", "packed", "pipe", "container"])
def test_what_was_looked_at_ahead_is_read_all_the_same(tmp_path: Path, how: str, monkeypatch):
    monkeypatch.setattr(input_files, "AHEAD", 300_000)
    raw = b"".join(b"[    1.%06d] x\n" % n for n in range(40_000))
    path = tmp_path / "log"
    path.write_bytes(
        {"packed": gzip.compress(raw), "container": codecs.BOM_UTF8 + raw}.get(how, raw)
    )
    with ExitStack() as stack:
        if how == "pipe":
            path = piped(stack, tmp_path, raw)
        source = stack.enter_context(Input(path))
        source.take_out()
        source.peek(lambda _: True)
        seen = b"".join(source.ahead())
        assert seen == (raw if how == "file" else raw[: len(seen)])
        assert len(seen) >= 300_000
        assert b"".join(source.ahead()) == seen
        assert b"".join(iter(lambda: source.read1(777), b"")) == raw


def piped(stack: ExitStack, folder: Path, raw: bytes) -> Path:
    """A pipe that a thread writes ``raw`` to."""
    path = folder / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(raw,))
    writer.start()
    stack.callback(writer.join)
    return path
