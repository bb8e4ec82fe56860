# SPDX-License-Identifier: GPL-2.0-only
"""Measures how far the clock of printk, which dmesg shows, is from CLOCK_MONOTONIC.

perf stamps its records with local_clock() unless told otherwise, as printk does its own, and gives
one for every change of a thread's name. So a thread that sets the name it has already, between two
readings of CLOCK_MONOTONIC, learns where the one lies on the other. It needs no privileges beyond
perf_event_open(2), and changes nothing.

Sources: kernel/printk/printk.c, vprintk_store(); kernel/events/core.c, perf_event_clock() and
perf_event_comm(); include/uapi/linux/perf_event.h.
"""

import ctypes
import mmap
import os
import struct
import time
from dataclasses import dataclass
from typing import Final

from tracers.live.perf_event import ATTR_SIZE, open_event

_SOFTWARE, _DUMMY, _TIME = 1, 9, 1 << 2  # PERF_TYPE_, PERF_COUNT_SW_, PERF_SAMPLE_
_EXCLUDE_KERNEL, _COMM, _SAMPLE_ID_ALL = 1 << 5, 1 << 9, 1 << 18
_HEAD: Final = 1024  # of perf_event_mmap_page, bytes
_SET_NAME, _GET_NAME = 15, 16  # prctl(2)
_TRIES: Final = 16


@dataclass(frozen=True, slots=True)
class Offset:
    """What to add to a time of CLOCK_MONOTONIC for printk's; ``error``: by how much it may err."""

    ns: int
    error: int


def measure() -> Offset | None:
    """Return the closest of a few measurements, ``None`` where the kernel allows none."""
    flags = _EXCLUDE_KERNEL | _COMM | _SAMPLE_ID_ALL
    attribute = struct.pack("=IIQQQQQ", _SOFTWARE, ATTR_SIZE, _DUMMY, 0, _TIME, 0, flags)
    try:
        descriptor = open_event(attribute, thread=0)
    except OSError:
        return None
    libc = ctypes.CDLL(None)
    try:
        with mmap.mmap(descriptor, 2 * mmap.PAGESIZE) as ring:
            found = [each for _ in range(_TRIES) if (each := _once(libc, ring)) is not None]
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return min(found, key=lambda each: each.error, default=None)


def _once(libc: ctypes.CDLL, ring: mmap.mmap) -> Offset | None:
    name = ctypes.create_string_buffer(16)
    libc.prctl(_GET_NAME, name, 0, 0, 0)
    (before,) = struct.unpack_from("=Q", ring, _HEAD)
    began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    libc.prctl(_SET_NAME, name, 0, 0, 0)
    ended = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    (head,) = struct.unpack_from("=Q", ring, _HEAD)
    if head == before or head > mmap.PAGESIZE:
        return None
    # The record ends with what sample_type names: the time alone.
    (stamp,) = struct.unpack_from("=Q", ring, mmap.PAGESIZE + head - 8)
    return Offset(stamp - (began + ended) // 2, (ended - began + 1) // 2)
