# SPDX-License-Identifier: GPL-2.0-only
"""One chunk of a batch as NumPy columns, the input of every part of the ledger.

Promises: no value is widened or copied unless necessary, validity is kept beside the values (the
content of a null slot is never used), and text that is not UTF-8 is kept, not rejected. Of a long
text only its beginning is copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracers import arrow
from tracers.arrow import numbers
from tracers.codes import codes
from tracers.events import SCHEMA, Kind, Phase

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]
Objects = NDArray[np.object_]

#: Rows folded at once: few enough that 16-bit codes number anything in a chunk (radix sorts).
CHUNK: Final = 65_536
#: Bytes kept of a text, as a rule; the kernel's own names are below 16 (comm) and about 50 (a
#: source file). What is cut ends in ``CUT``.
TEXT: Final = 256
CUT: Final = "…"
#: What the ledger reads; a reader may leave the rest on disk.
COLUMNS: Final = tuple(name for name in SCHEMA.names if name != "nid")

# Thread keys: the tid, or beyond 32 bits the CPU, where tid 0 is that CPU's idle task.
CPU_KEY: Final = 1 << 32
_NO_CPU: Final = np.uint64(1 << 16)


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most ``CHUNK`` rows. ``row`` is the number of its first in the whole recording.

    ``code`` is kind * 4 + phase, ``counts`` the number of rows by code. ``threads`` holds the
    distinct thread keys and ``thread`` each row's index into it; ``by_thread`` lists the rows
    thread by thread, in order within each (``None``: one thread, the rows as they are).
    """

    batch: pa.RecordBatch
    row: int
    code: U8
    counts: I64
    ts: U64
    threads: U64
    thread: NDArray[np.uint16]
    by_thread: I64 | None

    def __len__(self) -> int:
        return len(self.code)

    def column(self, name: str) -> pa.Array:
        """Return one Arrow column."""
        return self.batch.column(name)

    def sorted(self, values: U8) -> U8:
        """Return a per-row array thread by thread."""
        return values if self.by_thread is None else values.take(self.by_thread)

    def rows(self, places: I64) -> I64:
        """Turn places in the thread-by-thread order into rows of the chunk."""
        return places if self.by_thread is None else self.by_thread[places]


class Columns:
    """Base of dataclasses whose fields are arrays of one length; it has no fields of its own."""

    __slots__: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(getattr(self, self.__slots__[0]))

    def pick(self, which: Bool | I64 | slice) -> Self:
        """Return some of the rows."""
        make: Any = type(self)
        made: Self = make(*(getattr(self, name)[which] for name in self.__slots__))
        return made

    def joined(self, other: Self) -> Self:
        """Return the rows of both, in arrays of their own."""
        make: Any = type(self)
        made: Self = make(
            *(np.concatenate((getattr(self, n), getattr(other, n))) for n in self.__slots__)
        )
        return made

    def values(self) -> Iterator[Any]:
        """Yield a tuple of Python values per row."""
        return zip(*(getattr(self, name).tolist() for name in self.__slots__), strict=True)


def codeset(kinds: tuple[Kind, ...], phases: tuple[Phase, ...]) -> Bool:
    """Return a table bool[64] by ``Chunk.code``, true for these kinds in these phases."""
    table = np.zeros(64, np.bool_)
    for kind in kinds:
        for phase in phases:
            table[kind * 4 + phase] = True
    return table


def among(values: I64, some: I64) -> Bool:
    """Return which of ``values`` are among ``some``, few: with less ado than ``numpy.isin``."""
    if not len(some):
        return np.zeros(len(values), np.bool_)
    ordered = np.sort(some)
    found: Bool = ordered.take(ordered.searchsorted(values), mode="clip") == values
    return found


def chunks(batch: pa.RecordBatch, row: int) -> Iterator[Chunk]:
    """Cut a batch whose first row is number ``row`` into chunks.

    None goes across a multiple of ``CHUNK`` in the recording: what the ledger does there does not
    depend on how batches were cut.
    """
    offset = 0
    while offset < batch.num_rows:
        part = batch.slice(offset, CHUNK - (row + offset) % CHUNK)
        kind = codes(part.column("kind"), Kind)
        phase = codes(part.column("phase"), Phase)
        threads, thread, by_thread = _grouped(_thread_keys(part))
        code = (kind << np.uint8(2)) | phase
        yield Chunk(
            batch=part,
            row=row + offset,
            code=code,
            counts=np.bincount(code, minlength=64),
            ts=numbers(part.column("ts_ns"))[0].astype(np.uint64, copy=False),
            threads=threads,
            thread=thread,
            by_thread=by_thread,
        )
        offset += part.num_rows


def integers(column: pa.Array, rows: I64) -> I64:
    """Return a column of at most 32 bits at ``rows``, -1 where it is null."""
    values, valid = numbers(column)
    taken = values[rows].astype(np.int64)
    if valid is not None:
        taken[~valid[rows]] = -1
    return taken


def ranges(batch: pa.RecordBatch, rows: I64) -> tuple[U64, U64, Bool]:
    """Return start and end at ``rows``, and where both are known."""
    known = np.ones(len(rows), np.bool_)
    sides = []
    for name in ("start", "end"):
        values, valid = numbers(batch.column(name))
        sides.append(values[rows].astype(np.uint64))
        if valid is not None:
            known &= valid[rows]
    return sides[0], sides[1], known


def texts(column: pa.Array, rows: I64, *, most: int = TEXT) -> Objects:
    """Return a string column at ``rows`` as Python strings, ``None`` where it is null.

    ``most``: bytes of each.
    """
    taken = shortened(column, rows, most=most)
    try:
        values = taken.to_pylist()
    except UnicodeDecodeError:  # an Arrow file can claim UTF-8 and hold anything
        values = [
            None if raw is None else raw.decode("utf-8", "surrogateescape")
            for raw in taken.cast(pa.binary()).to_pylist()
        ]
    result = np.empty(len(values), np.object_)
    result[:] = values
    return result


def shortened(column: pa.Array, rows: I64, *, most: int = TEXT) -> pa.Array:
    """Return a string column at ``rows``, without the end of what is longer than ``most`` bytes."""
    _, offsets_buffer, data = column.buffers()
    if not len(rows) or data is None:
        return column.take(arrow.column(rows))
    offsets = np.frombuffer(offsets_buffer, np.int32, len(column) + 1, column.offset * 4)
    first, last = offsets[rows], offsets[rows + 1]
    if (last - first).max() <= most:
        return column.take(arrow.column(rows))
    # No text of a kernel comes here, so a loop may.
    known = column.is_valid().to_numpy(zero_copy_only=False)[rows]
    view = memoryview(data)
    values = [
        _cut(bytes(view[begin : min(end, begin + most + 1)]), most) if valid else None
        for begin, end, valid in zip(first.tolist(), last.tolist(), known.tolist(), strict=True)
    ]
    return pa.array(values, pa.binary()).view(pa.utf8())


def _cut(text: bytes, most: int) -> bytes:
    if len(text) <= most:
        return text
    end = most
    while end > most - 4 and text[end] & 0xC0 == 0x80:  # not inside a character
        end -= 1
    return text[:end] + CUT.encode()


def _thread_keys(batch: pa.RecordBatch) -> U64:
    tid, valid = numbers(batch.column("tid"))
    keys: U64 = tid.astype(np.uint64)
    nameless = keys == 0 if valid is None else (keys == 0) | ~valid
    if nameless.any():
        cpu, known = numbers(batch.column("cpu"))
        places = cpu.astype(np.uint64)
        if known is not None:
            places = np.where(known, places, _NO_CPU)
        keys = np.where(nameless, places | np.uint64(CPU_KEY), keys)
    return keys


def _grouped(keys: U64) -> tuple[U64, NDArray[np.uint16], I64 | None]:
    """Return the distinct keys, each row's index into them, and the rows key by key.

    Threads come in stretches, so stretches are hashed and sorted, not rows.
    """
    size = len(keys)
    heads = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    if not len(heads):
        return keys[:1].copy(), np.zeros(size, np.uint16), None
    heads = np.concatenate(([0], heads))
    encoded = arrow.column(keys[heads]).dictionary_encode()
    index = numbers(encoded.indices)[0].astype(np.uint16)
    lengths = np.diff(heads, append=size)
    order = np.argsort(index, kind="stable")
    sorted_lengths = lengths[order]
    shift = heads[order] - (np.cumsum(sorted_lengths) - sorted_lengths)
    rows = np.repeat(shift, sorted_lengths)
    rows += np.arange(size)
    return numbers(encoded.dictionary)[0], np.repeat(index, lengths), rows
