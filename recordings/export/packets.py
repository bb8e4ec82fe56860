# SPDX-License-Identifier: GPL-2.0-only
"""Protobuf messages as columns: many packets of one form are a block of bytes with numbers in it.

A packet's ``Form`` is its bytes with holes. A hole has one width in all packets of a block, and
its number is a varint padded to that width, as Perfetto's own protozero pads the sizes of messages
(WriteRedundantVarInt of include/perfetto/protozero/proto_utils.h). Numbers take up to 10 bytes,
sizes 4 as there, tags are never padded: readers refuse that. What has no fixed size, text, is a
``Texts`` of ready bytes behind it. ``Pieces`` puts blocks and texts in their order.

Promises: no Python code runs for each packet; any reader of protobuf finds the numbers and texts
that went in, and no more.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recordings.ledger.columns import I64, U64
from tracers import arrow
from tracers.arrow import numbers

#: What a padded varint can be: bytes, and the first number that is too large.
_LIMITS: Final = ((1, 1 << 7), (2, 1 << 14), (4, 1 << 28), (8, 1 << 56), (10, 1 << 64))
_DTYPES: Final = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
_LOW_56: Final = (1 << 56) - 1
_MORE: Final = 0x8080_8080_8080_8080  # the bit that says another byte follows, in eight of them


class Hole(NamedTuple):
    """Where a number is."""

    name: str
    width: int


Parts = tuple[bytes | Hole, ...]


def varint(value: int) -> bytes:
    """Return a number as it is shortest."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tag(field: int, wire: int) -> bytes:
    """Return what stands before a field: wire 0 for a varint, 2 for text and messages."""
    return varint(field << 3 | wire)


def delimited(field: int, content: bytes) -> bytes:
    """Return text or a message as a field."""
    return tag(field, 2) + varint(len(content)) + content


def message(field: int, *parts: bytes | Hole) -> Parts:
    """Return a message of known size as a field."""
    return (tag(field, 2) + varint(size_of(parts)), *parts)


def size_of(parts: Parts) -> int:
    """Return how many bytes these are."""
    return sum(part.width if isinstance(part, Hole) else len(part) for part in parts)


def width_of(top: int) -> int:
    """Return the least width that holds every number up to ``top``."""
    return next(width for width, limit in _LIMITS if top < limit)


def width_for(values: U64) -> int:
    """Return the least width that holds all of ``values``."""
    return width_of(int(values.max()) if len(values) else 0)


class Form:
    """The bytes that packets have in common, and where their numbers are."""

    def __init__(self, parts: Parts) -> None:
        names, formats, offsets = [], [], []
        template = bytearray()
        self._holes: list[Hole] = []
        for part in parts:
            if not isinstance(part, Hole):
                template += part
                continue
            self._holes.append(part)
            place = len(template)
            names.append(part.name)
            formats.append(_DTYPES[min(part.width, 8)])
            offsets.append(place)
            if part.width > 8:
                names.append(f"{part.name}+8")
                formats.append(_DTYPES[2])
                offsets.append(place + 8)
            template += bytes(part.width)
        self._template = bytes(template)
        self.size = len(template)
        self._dtype = np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.size}
        )

    def block(self, rows: I64, values: Mapping[str, U64]) -> bytearray:
        """Return a packet for each of ``rows``; ``values``: of all rows, by hole."""
        block = bytearray(self._template) * len(rows)
        table = np.frombuffer(block, self._dtype)
        for name, width in self._holes:
            _pad(values[name].take(rows), width, table, name)
        return block


def _pad(values: U64, width: int, table: NDArray[np.void], name: str) -> None:
    """Write numbers as varints of ``width`` bytes; ``values`` is changed."""
    if width == 1:
        table[name] = values
    elif width == 2:
        high = values & np.uint64(0x3F80)
        high <<= np.uint64(1)
        values &= np.uint64(0x7F)
        values |= high
        values |= np.uint64(0x80)
        table[name] = values
    elif width == 4:
        _spread(values, ((14, 0x3FFF), (7, 0x007F_007F)))
        values |= np.uint64(_MORE & 0x0080_8080)
        table[name] = values
    else:
        if width > 8:
            high = values >> np.uint64(56)
            last = high >> np.uint64(7)
            last <<= np.uint64(8)
            high |= np.uint64(0x80)
            high &= np.uint64(0xFF)
            high |= last
            table[f"{name}+8"] = high
            values &= np.uint64(_LOW_56)
        _spread(values, ((28, 0xFFF_FFFF), (14, 0x3FFF_0000_3FFF), (7, 0x007F_007F_007F_007F)))
        values |= np.uint64(_MORE if width > 8 else _MORE >> 8)
        table[name] = values


def _spread(values: U64, steps: tuple[tuple[int, int], ...]) -> None:
    """Move groups of bits apart, halves before quarters, until each byte has seven."""
    for bits, low in steps:
        high = values & np.uint64(low << bits)
        high <<= np.uint64({28: 4, 14: 2, 7: 1}[bits])
        values &= np.uint64(low)
        values |= high


class Texts(NamedTuple):
    """Ready bytes, each used in any number of places."""

    ready: list[bytes]
    which: I64  # per place
    sizes: I64  # of each of ``ready``

    @classmethod
    def of(cls, ready: list[bytes], which: I64) -> Self:
        """Return these."""
        return cls(ready, which, np.array(list(map(len, ready)), np.int64))


class Pieces:
    """Packets and texts, each with a key, which ``joined`` puts in order."""

    def __init__(self) -> None:
        self._data: list[bytes | bytearray] = []
        self._sizes: list[I64] = []
        self._parts = 0
        self._keys: list[I64] = []
        self._numbers: list[I64] = []

    def block(self, keys: I64, form: Form, rows: I64, values: Mapping[str, U64]) -> None:
        """Put a packet for each of ``rows`` at the place that its key says."""
        self._data.append(form.block(rows, values))
        self._sizes.append(np.full(len(rows), form.size))
        self._place(keys, np.arange(self._parts, self._parts + len(rows)))
        self._parts += len(rows)

    def texts(self, keys: I64, texts: Texts) -> None:
        """Put a text at each place."""
        self._data.append(b"".join(texts.ready))
        self._sizes.append(texts.sizes)
        self._place(keys, texts.which + self._parts)
        self._parts += len(texts.ready)

    def _place(self, keys: I64, parts: I64) -> None:
        self._keys.append(keys)
        self._numbers.append(parts)

    def joined(self) -> memoryview:
        """Return all bytes in the order of their keys; of equal keys as they were put."""
        if not self._keys:
            return memoryview(b"")
        order = np.argsort(np.concatenate(self._keys), kind="stable")
        offsets = np.zeros(self._parts + 1, np.int64)
        np.cumsum(np.concatenate(self._sizes), out=offsets[1:])
        parts = pa.Array.from_buffers(
            pa.large_binary(),
            self._parts,
            [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(self._data))],
        )
        taken = parts.take(arrow.column(np.concatenate(self._numbers)[order]))
        _, ends, data = taken.buffers()
        last = int(np.frombuffer(ends, np.int64)[len(taken)])
        return memoryview(data)[:last]


def distinct(codes: I64) -> tuple[I64, I64]:
    """Return the distinct values in order of appearance, and the index of each value in them."""
    encoded = arrow.column(codes).dictionary_encode()
    return numbers(encoded.dictionary)[0], numbers(encoded.indices)[0].astype(np.int64)


def grouped(codes: I64) -> list[tuple[int, I64]]:
    """Return each distinct value with the rows that have it, ascending."""
    values, index = distinct(codes)
    order = np.argsort(index.astype(np.uint16), kind="stable")
    edges = np.cumsum(np.bincount(index, minlength=len(values)))[:-1]
    return list(zip(values.tolist(), np.split(order, edges), strict=True))
