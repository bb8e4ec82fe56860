# SPDX-License-Identifier: GPL-2.0-only
"""How a kernel's memory is read, whoever shows it."""

from collections.abc import Callable

Read = Callable[[int, int], bytes | None]
"""Kernel memory: (address, size) to that many bytes, or None."""


def read_u64(read: Read, addr: int) -> int | None:
    """Return the little-endian u64 at ``addr``, None where there is no such memory."""
    data = read(addr, 8)
    return None if data is None else int.from_bytes(data, "little")


def either(first: Read, second: Read) -> Read:
    """Read by ``first``, and where that has no such memory by ``second``."""

    def read(addr: int, size: int) -> bytes | None:
        data = first(addr, size)
        return second(addr, size) if data is None else data

    return read
