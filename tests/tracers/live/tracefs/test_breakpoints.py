# SPDX-License-Identifier: GPL-2.0-only
"""Breakpoint samples, in a ring laid out as in include/uapi/linux/perf_event.h."""

import mmap
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.events import Phase
from tracers.live.probes.engine import AttachError
from tracers.live.records import KNOWN_ARGS, KNOWN_PID
from tracers.live.tracefs import breakpoints as module
from tracers.live.tracefs.breakpoints import Breakpoints, Mark, split

SIZE = 4096
ENTRY, EXIT = 0xFFFFFFC0086B236C, 0xFFFFFFC0086B3464
START, END = 0xFFFFFFFF3F000000, 0xFFFFFFFF3F200000


def sample(
    address: int,
    ts: int,
    registers: tuple[int, ...] = (START, END, 0, 0),
    *,
    pid: int = 60,
    tid: int = 60,
    cpu: int = 1,
    stack: int = 0x5000,
) -> bytes:
    """Return a PERF_RECORD_SAMPLE of arm64: x0 to x3, lr, sp."""
    body = struct.pack("<QIIQII", address, pid, tid, ts, cpu, 0)
    body += struct.pack("<7Q", 2, *registers, 0x7777, stack)
    return struct.pack("<IHH", 9, 1, 8 + len(body)) + body


def lost(number: int) -> bytes:
    return struct.pack("<IHHQQ", 2, 0, 24, 5, number)


WORDS = len(sample(0, 0)) // 8


class Kernel:
    """The writer's side of one CPU's ring, in a file."""

    def __init__(self, path: Path, head: int = 0) -> None:
        path.write_bytes(bytes(mmap.PAGESIZE + SIZE))
        self.descriptor = os.open(path, os.O_RDWR)
        self.memory = mmap.mmap(self.descriptor, mmap.PAGESIZE + SIZE)
        self.head = head
        struct.pack_into("<QQQQ", self.memory, 1024, head, head, mmap.PAGESIZE, SIZE)

    def write(self, *records: bytes) -> None:
        for byte in b"".join(records):
            self.memory[mmap.PAGESIZE + self.head % SIZE] = byte
            self.head += 1
        struct.pack_into("<Q", self.memory, 1024, self.head)

    @property
    def tail(self) -> int:
        return int(struct.unpack_from("<Q", self.memory, 1032)[0])


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path / "ring", head=3 * SIZE - 200)


@pytest.fixture
def breakpoints(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> Breakpoints:
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(module, "_open", lambda *_: os.dup(kernel.descriptor))
    monkeypatch.setattr(module.fcntl, "ioctl", lambda *_: 0)
    made = Breakpoints([1], SIZE)
    made.attach({ENTRY: Mark(4, Phase.ENTRY), EXIT: Mark(4, Phase.EXIT)})
    return made


def test_samples_become_records(kernel: Kernel, breakpoints: Breakpoints) -> None:
    assert not breakpoints.waiting
    kernel.write(sample(ENTRY, 100), sample(EXIT, 250, (0, 8, 9, 10)), sample(ENTRY, 300, tid=61))
    assert breakpoints.waiting
    records = breakpoints.drain()  # the second sample lies across the ring's end
    assert records["ts_ns"].tolist() == [100, 250, 300]
    assert records["phase"].tolist() == [Phase.ENTRY, Phase.EXIT, Phase.ENTRY]
    assert records["probe"].tolist() == [4, 4, 4]
    assert records["tid"].tolist() == [60, 60, 61]
    assert records["cpu"].tolist() == [1, 1, 1]
    assert records["known"].tolist() == [KNOWN_ARGS | KNOWN_PID] * 3
    assert records["args"].tolist() == [[START, END, 0, 0], [0, 0, 0, 0], [START, END, 0, 0]]
    assert kernel.tail == kernel.head
    assert len(breakpoints.drain()) == 0


def test_warm_up_records_are_of_every_mark_and_not_counted(
    kernel: Kernel, breakpoints: Breakpoints
) -> None:
    records = breakpoints.warm_up_records()
    assert records["phase"].tolist() == [Phase.ENTRY, Phase.EXIT]
    kernel.write(sample(ENTRY, 100, (0, 0, 0, 0), tid=0))
    assert len(breakpoints.drain()) == 1  # the same again would be no second call
    assert breakpoints.announced == breakpoints.torn == 0


def test_a_full_ring_is_read_whole(kernel: Kernel, breakpoints: Breakpoints) -> None:
    many = SIZE // (8 * WORDS)
    kernel.write(*(sample(ENTRY, ts, (ts, END, 0, 0)) for ts in range(many)))
    kernel.write(lost(7), bytes([0] * (SIZE - many * 8 * WORDS - 24)))
    assert breakpoints.drain()["ts_ns"].tolist() == list(range(many))
    assert breakpoints.announced == 7


def test_the_same_hit_again_is_no_second_call(kernel: Kernel, breakpoints: Breakpoints) -> None:
    # an interrupt before the step; another thread's hit between does not matter
    kernel.write(
        sample(ENTRY, 100),
        sample(ENTRY, 110, tid=61),
        sample(ENTRY, 120),
        sample(EXIT, 200, (0, 0, 0, 0)),
        sample(EXIT, 210, (0, 0, 0, 0)),
        sample(ENTRY, 300),
    )
    records = breakpoints.drain()
    assert records["ts_ns"].tolist() == [100, 110, 200, 300]


def test_a_hit_is_known_again_in_the_next_drain_and_on_another_cpu(
    kernel: Kernel, breakpoints: Breakpoints
) -> None:
    kernel.write(sample(ENTRY, 100))
    assert breakpoints.drain()["ts_ns"].tolist() == [100]
    kernel.write(sample(ENTRY, 120, cpu=0), sample(EXIT, 200), sample(ENTRY, 300))
    assert breakpoints.drain()["ts_ns"].tolist() == [200, 300]


def test_what_is_newer_than_the_drain_waits(kernel: Kernel, breakpoints: Breakpoints) -> None:
    kernel.write(sample(ENTRY, 100), sample(EXIT, 200))
    assert breakpoints.drain(150)["ts_ns"].tolist() == [100]
    assert breakpoints.waiting
    assert breakpoints.drain(200)["ts_ns"].tolist() == [200]
    assert not breakpoints.waiting


def test_where_exits_are_not_watched_time_tells(kernel: Kernel, breakpoints: Breakpoints) -> None:
    breakpoints._marks[ENTRY] = Mark(4, Phase.POINT)
    kernel.write(sample(ENTRY, 0), sample(ENTRY, 90_000_000), sample(ENTRY, 300_000_000))
    kernel.write(sample(ENTRY, 300_000_100, stack=0x6000))
    assert breakpoints.drain()["ts_ns"].tolist() == [0, 300_000_000, 300_000_100]


def test_hits_without_a_record_are_lost_exactly(
    kernel: Kernel, breakpoints: Breakpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.write(sample(ENTRY, 100), sample(ENTRY, 120), sample(EXIT, 200, (0, 0, 0, 0)))
    breakpoints.drain()
    counts = iter([5, 1])  # what the kernel counted at the entry and at the exit
    monkeypatch.setattr(module.os, "read", lambda _, size: next(counts).to_bytes(size, "little"))
    assert breakpoints.lost() == {(4, 1): 3}


def test_attach_is_all_or_nothing(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(module.fcntl, "ioctl", lambda *_: 0)
    free, opened = [3], []

    def hand_out(*_: object) -> int:
        if not free[0]:
            raise OSError(28, "No space left on device")
        free[0] -= 1
        opened.append(os.dup(kernel.descriptor))
        return opened[-1]

    monkeypatch.setattr(module, "_open", hand_out)
    made = Breakpoints([0, 1], SIZE)
    with pytest.raises(AttachError, match="no hardware breakpoint register is free"):
        made.attach({ENTRY: Mark(0, Phase.ENTRY), EXIT: Mark(0, Phase.EXIT)})
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    assert made.descriptors == []
    made.close()
    made.close()


def test_an_address_is_watched_once(breakpoints: Breakpoints) -> None:
    with pytest.raises(AttachError, match="0xffffffc0086b236c is watched already"):
        breakpoints.attach({ENTRY: Mark(5, Phase.ENTRY)})


PIECES = st.one_of(
    st.tuples(st.just("sample"), st.integers(0, 2**60)),
    st.tuples(st.just("lost"), st.integers(0, 2**60)),
)


@given(st.lists(PIECES, max_size=40))
def test_samples_and_other_records_are_separated(pieces: list[tuple[str, int]]) -> None:
    data = b"".join(sample(ENTRY, n) if kind == "sample" else lost(n) for kind, n in pieces)
    samples, others, whole = split(np.frombuffer(data, np.uint64), WORDS)
    assert samples[:, 3].tolist() == [n for kind, n in pieces if kind == "sample"]
    assert [int(each[2]) for each in others] == [n for kind, n in pieces if kind == "lost"]
    assert whole


@given(st.binary(max_size=800), st.integers(0, 10))
def test_any_bytes_are_cut_without_a_crash(data: bytes, good: int) -> None:
    data = sample(ENTRY, 1) * good + data[: len(data) // 8 * 8]
    samples, others, whole = split(np.frombuffer(data, np.uint64), WORDS)
    assert len(samples) >= good
    used = samples.size + sum(len(each) for each in others)
    assert used == len(data) // 8 if whole else used < len(data) // 8
