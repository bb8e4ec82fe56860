# SPDX-License-Identifier: GPL-2.0-only
"""Reads all committed records of a BPF ring buffer at once, as one NumPy array.

Layout after Documentation/bpf/ringbuf.rst and kernel/bpf/ringbuf.c of the kernel (5.8, commit
457f44363a88): a consumer page, a producer page, then the data, mapped twice in a row so that a
record across its end is contiguous. Both positions only grow. A record is a u32 length with two
flags, a u32 page offset, and the payload, rounded up to 8 bytes.
"""

import ctypes
import mmap
import platform
import select
import time
from collections.abc import Callable
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from tracers.live.probes.engine import LiveError

BUSY: Final = 1 << 31  # BPF_RINGBUF_BUSY_BIT: reserved, not yet submitted
DISCARD: Final = 1 << 30  # BPF_RINGBUF_DISCARD_BIT: submitted as void
HEADER_BYTES: Final = 8  # BPF_RINGBUF_HDR_SZ
_PAUSE_S: Final = 0.0005  # while the first record is still being written

_Array = npt.NDArray[Any]


class Ring:
    """The consumer's side of one BPF ring buffer. Not for two threads at a time."""

    def __init__(
        self,
        consumer: bytearray | memoryview | mmap.mmap,
        producer: bytes | bytearray | memoryview | mmap.mmap,
        dtype: np.dtype[np.void],
        *,
        page: int = mmap.PAGESIZE,
    ) -> None:
        """Read from memory: the consumer page; the producer page and the data twice."""
        self._consumed = np.frombuffer(consumer, np.uint64, 1)
        self._produced = np.frombuffer(producer, np.uint64, 1)
        self._data = np.frombuffer(producer, np.uint8, offset=page)
        self._size = len(self._data) // 2
        self._dtype = dtype
        self._stride = HEADER_BYTES + -(-dtype.itemsize // 8) * 8
        self._mapped: list[mmap.mmap] = []
        self._poll = select.poll()
        self._fence = _fence()

    @classmethod
    def map(cls, fd: int, size: int, dtype: np.dtype[np.void]) -> Self:
        """Map the ring buffer of map ``fd``, ``size`` bytes. Raises ``OSError``."""
        page = mmap.PAGESIZE
        consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        producer = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        ring = cls(consumer, producer, dtype, page=page)
        ring._mapped = [consumer, producer]
        ring._poll.register(fd, select.POLLIN)
        return ring

    def drain(self) -> _Array:
        """Return a copy of all records committed so far and free their space, without waiting.

        Raises ``LiveError`` where the ring holds a record of another size.
        """
        done = int(self._consumed[0])
        produced = int(self._produced[0])
        # The kernel stores the position with release after the headers, and each header after
        # its payload. NumPy's loads are plain: on arm64 each step needs a barrier, or a header
        # or payload of the previous round could be read. None is needed before our first load.
        self._fence()
        count = (produced - done) // self._stride
        if not count:
            return np.empty(0, self._dtype)
        first = done % self._size
        raw = self._data[first : first + count * self._stride].reshape(count, self._stride)
        headers = raw[:, :4].copy().view(np.uint32)[:, 0]
        self._fence()
        busy = np.flatnonzero(headers & BUSY)
        ready = int(busy[0]) if len(busy) else count
        headers = headers[:ready]
        if ready and np.any((headers & ~np.uint32(DISCARD)) != self._dtype.itemsize):
            raise LiveError("the BPF ring buffer holds foreign records: start again")
        payload = raw[:ready, HEADER_BYTES : HEADER_BYTES + self._dtype.itemsize]
        records = np.ascontiguousarray(payload[(headers & DISCARD) == 0]).reshape(-1)
        self._fence()  # the copy is complete before the kernel may write there again
        self._consumed[0] = done + ready * self._stride
        self._fence()  # ...and the kernel sees that before we sleep, or it would not wake us
        return records.view(self._dtype)

    def wait(self, timeout_s: float) -> None:
        """Sleep until a record arrives or the timeout passes; may return early."""
        before = int(self._consumed[0])
        if self._poll.poll(max(0, round(timeout_s * 1000))) and not self._committed(before):
            time.sleep(_PAUSE_S)  # woken by a record that is still being written: do not spin

    def close(self) -> None:
        """Unmap. The BPF map itself belongs to whoever opened its fd."""
        self._consumed = self._produced = np.zeros(1, np.uint64)
        self._data = np.zeros(0, np.uint8)
        self._size = 1
        for mapped in self._mapped:
            mapped.close()
        self._mapped = []
        self._poll = select.poll()

    def _committed(self, position: int) -> bool:
        first = position % self._size
        return not int(self._data[first : first + 4].view(np.uint32)[0]) & BUSY


def _fence() -> Callable[[], object]:
    """Return a function that is a full memory barrier, which Python itself does not have.

    membarrier(2) with MEMBARRIER_CMD_GLOBAL_EXPEDITED executes smp_mb() on the CPU that calls
    (kernel/sched/membarrier.c; 4.16, commit c5f58bd58f43) and reaches for other CPUs only if
    they run processes that asked for it. x86 orders loads with loads and stores with stores
    by itself, and ``wait`` is a system call that takes locks.
    """
    number = {"aarch64": 283}.get(platform.machine())
    if number is None:
        return lambda: None
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_int]
    call.restype = ctypes.c_long
    if call(number, 2, 0, 0):
        raise LiveError(
            "reading from BPF needs membarrier(2), which this kernel lacks: use --engine tracefs"
        )
    return lambda: call(number, 2, 0, 0)
