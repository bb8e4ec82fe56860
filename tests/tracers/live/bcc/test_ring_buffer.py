# SPDX-License-Identifier: GPL-2.0-only
"""The ring's consumer, on memory laid out as in Documentation/bpf/ringbuf.rst."""

import mmap
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.live.bcc.ring_buffer import Ring
from tracers.live.probes.engine import LiveError

PAGE = 64
BUSY, DISCARD = 1 << 31, 1 << 30  # include/uapi/linux/bpf.h: BPF_RINGBUF_*_BIT
DTYPE = np.dtype([("number", "<u8"), ("text", "S10"), ("last", "<u2")])  # 20 bytes: 24 in the ring
STRIDE = 8 + 24


class Kernel:
    """The producer's side, after kernel/bpf/ringbuf.c."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.consumer = bytearray(PAGE)
        self.producer = bytearray(PAGE + 2 * size)
        self.produced = 0

    def reserve(self, number: int) -> int | None:
        consumed = struct.unpack_from("<Q", self.consumer)[0]
        if self.produced + STRIDE - consumed > self.size - 1:
            return None
        position = self.produced
        payload = struct.pack("<Q10sH", number, b"%d" % number, number % 65536)
        self._write(position, struct.pack("<II", DTYPE.itemsize | BUSY, 7) + payload)
        self.produced += STRIDE
        struct.pack_into("<Q", self.producer, 0, self.produced)
        return position

    def commit(self, position: int, *, discard: bool = False) -> None:
        self._write(position, struct.pack("<I", DTYPE.itemsize | (DISCARD if discard else 0)))

    def _write(self, position: int, data: bytes) -> None:
        for i, byte in enumerate(data):  # the data area is mapped twice: what is in one is in both
            at = PAGE + (position + i) % self.size
            self.producer[at] = self.producer[at + self.size] = byte

    def ring(self) -> Ring:
        return Ring(self.consumer, self.producer, DTYPE, page=PAGE)


def send(kernel: Kernel, *numbers: int) -> None:
    for number in numbers:
        position = kernel.reserve(number)
        assert position is not None
        kernel.commit(position)


def test_all_that_is_committed_comes_in_order_and_once() -> None:
    kernel = Kernel(1024)
    ring = kernel.ring()
    assert len(ring.drain()) == 0
    send(kernel, 1, 70000)
    records = ring.drain()
    assert records.tolist() == [(1, b"1", 1), (70000, b"70000", 70000 - 65536)]
    assert len(ring.drain()) == 0


def test_nothing_behind_a_record_that_is_still_written_comes_before_it() -> None:
    kernel = Kernel(1024)
    ring = kernel.ring()
    send(kernel, 1)
    busy = kernel.reserve(2)
    send(kernel, 3)
    assert busy is not None
    assert ring.drain()["number"].tolist() == [1]
    assert ring.drain()["number"].tolist() == []
    kernel.commit(busy)
    assert ring.drain()["number"].tolist() == [2, 3]


def test_discarded_records_are_passed_over_and_their_room_is_given_back() -> None:
    kernel = Kernel(256)
    ring = kernel.ring()
    for number in range(100):
        position = kernel.reserve(number)
        assert position is not None
        kernel.commit(position, discard=number % 2 == 1)
        assert ring.drain()["number"].tolist() == ([] if number % 2 else [number])


def test_records_across_the_end_and_positions_past_32_bits() -> None:
    kernel = Kernel(256)  # a record is 32 bytes: start so that some lie across the end
    kernel.produced = (1 << 33) + 256 - 16
    struct.pack_into("<Q", kernel.consumer, 0, kernel.produced)
    struct.pack_into("<Q", kernel.producer, 0, kernel.produced)
    ring = kernel.ring()
    for lap in range(20):
        send(kernel, *range(lap, lap + 5))
        assert ring.drain()["number"].tolist() == list(range(lap, lap + 5))


def test_what_was_returned_is_a_copy() -> None:
    kernel = Kernel(256)
    ring = kernel.ring()
    send(kernel, 1)
    records = ring.drain()
    for number in range(100):
        send(kernel, number)
        ring.drain()
    assert records["number"].tolist() == [1]


def test_a_record_of_another_size_is_rejected() -> None:
    kernel = Kernel(256)
    send(kernel, 1)
    struct.pack_into("<I", kernel.producer, PAGE, 8)
    with pytest.raises(LiveError, match="foreign"):
        kernel.ring().drain()


@given(st.lists(st.sampled_from(["reserve", "submit", "discard", "drain"]), max_size=200))
def test_any_order_of_work(steps: list[str]) -> None:
    kernel = Kernel(256)
    ring = kernel.ring()
    waiting: list[tuple[int, int]] = []  # (position, number), reserved and not committed
    log: list[int | None] = []  # by reservation: what is to come, None for discarded
    state: dict[int, int] = {}  # number -> 1 committed
    came: list[int] = []
    number = 0
    for step in steps:
        if step == "reserve":
            position = kernel.reserve(number)
            if position is not None:
                waiting.append((position, number))
                log.append(number)
                number += 1
        elif step == "drain":
            ready = 0
            while ready < len(log) and state.get(ready):
                ready += 1
            came += ring.drain()["number"].tolist()
            assert came == [each for each in log[:ready] if each is not None]
        elif waiting:
            position, which = waiting.pop(len(waiting) // 2)
            kernel.commit(position, discard=step == "discard")
            state[which] = 1
            if step == "discard":
                log[which] = None


def test_mapped_memory_is_given_back(tmp_path) -> None:
    size = mmap.PAGESIZE
    path = tmp_path / "ring"
    path.write_bytes(bytes(2 * mmap.PAGESIZE + 2 * size))
    with path.open("r+b") as file:
        ring = Ring.map(file.fileno(), size, DTYPE)
        assert len(ring.drain()) == 0
        mapped = list(ring._mapped)
        ring.close()
        assert [each.closed for each in mapped] == [True, True]
        ring.close()
