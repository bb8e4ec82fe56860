# SPDX-License-Identifier: GPL-2.0-only
"""Unpacks the parts of a trace-cmd file of version 7, which are packed each for itself.

Promises: a part becomes what the file says it does, or it is damaged; none becomes more than it may
(``fields.MOST``).
"""

import zlib
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.trace_dat.fields import MOST, CutError, Fields

#: (packed, bytes it becomes) -> unpacked. Raises ``CutError``.
Unpack = Callable[[bytes, int], bytes]


def unpacker(name: bytes) -> Unpack | None:
    """Return what unpacks "zstd" or "zlib"; None for "none".

    Raises:
        LogError: the name is another.
    """
    if name == b"none":
        return None
    if name not in _UNPACKERS:
        raise LogError(
            f"the trace-cmd file is packed by {name.decode(errors='backslashreplace')!r}, not by "
            "zstd or zlib; unpack it with: trace-cmd convert --compression none"
        )
    return _UNPACKERS[name]


def block(fields: Fields, unpack: Unpack) -> bytes:
    """Read on: a packed size, an unpacked size, the packed bytes. Raises ``CutError``."""
    packed, size = fields.number(4), fields.number(4)
    return unpack(fields.take(packed), size)


def _zstd(packed: bytes, size: int) -> bytes:
    # Frames without their own size: pyarrow takes ours, and writes no more than that.
    if size > MOST:
        raise CutError(f"a part of {size:,} bytes")
    try:
        data: bytes = pa.Codec("zstd").decompress(packed, size, asbytes=True)
    except (pa.ArrowException, OSError) as error:
        raise CutError("a packed part cannot be unpacked") from error
    return data


def _zlib(packed: bytes, size: int) -> bytes:
    if size > MOST:
        raise CutError(f"a part of {size:,} bytes")
    try:
        data = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise CutError("a packed part cannot be unpacked") from error
    if len(data) != size:
        raise CutError("a packed part has another size than it should")
    return data


_UNPACKERS: Final[dict[bytes, Unpack]] = {b"zstd": _zstd, b"zlib": _zlib}
