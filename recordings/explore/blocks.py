# SPDX-License-Identifier: GPL-2.0-only
"""Integer columns of any length in bounded memory: blocks in an unnamed temporary file.

Promises: what was appended can be read at any position, by any thread, while one thread appends;
values may change later, and a reader sees a change whole. In memory are the newest rows (at most
``BLOCK`` and what one append brings), where each block's columns lie in the file, and at most
``LATE`` changes of rows already in the file. Where the file cannot grow any more, ``full`` is true
and nothing more is appended; what is there stays readable.

A block keeps each column as distances from its smallest value, in as few bytes as they need: none
where all values are the same. The value of all ones, which columns use for "none", counts as the
smallest.
"""

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.ledger.columns import I64

Column = NDArray[Any]

#: Rows of a block.
BLOCK: Final = 65_536
#: Changes of rows in the file that are kept in memory; beyond it the blocks are written again.
LATE: Final = 16_384
#: Bytes of the file, which also never takes more than half of the free room.
CAP: Final = 4 << 30
#: Rows read at once, rather than one by one, when those asked for lie this close together.
_NEAR: Final = 512


class _Packed(NamedTuple):
    """One column of one block in the file."""

    offset: int
    width: int  # bytes of a distance, 0: all values are the same
    low: int  # smallest value plus one, modulo the column's width
    high: int  # greatest likewise


class Blocks:
    """The columns: ``dtypes`` by name, integers. ``late``: those that may change."""

    def __init__(
        self,
        dtypes: Mapping[str, type[np.integer]],
        late: tuple[str, ...],
        *,
        block: int = BLOCK,
        most_late: int = LATE,
        cap: int = CAP,
    ) -> None:
        self.lock = threading.RLock()  # hold it to make several changes one
        self.block = block
        self.full = False
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._most_late = most_late
        self._cap = cap
        self._file = -1
        self.size = 0  # bytes of the file in use
        self._packed: list[dict[str, _Packed]] = []
        self._tail = {name: np.empty(block, dtype) for name, dtype in self._dtypes.items()}
        self._used = 0  # rows in the tail
        self._versions: list[int] = []  # by block: grows with every change
        self._late_at: I64 = np.zeros(0, np.int64)  # positions, ascending
        self._late = {name: np.zeros(0, self._dtypes[name]) for name in late}

    def __len__(self) -> int:
        with self.lock:
            return len(self._packed) * self.block + self._used

    @property
    def count(self) -> int:
        """Number of blocks; the last may not be full."""
        return -(-len(self) // self.block)

    def append(self, values: Mapping[str, Column]) -> None:
        """Append rows, unless ``full``: then nothing happens."""
        size = len(next(iter(values.values())))
        if self.full or not size:
            return
        with self.lock:
            end = self._used + size
            if end > len(next(iter(self._tail.values()))):
                self._tail = {name: _grown(column, end) for name, column in self._tail.items()}
            for name, column in self._tail.items():
                column[self._used : end] = values[name]
            self._touch(
                np.arange(len(self) // self.block, (len(self) + size - 1) // self.block + 1)
            )
            self._used = end
            while self._used >= self.block and not self.full:
                self._seal()

    def set(self, name: str, positions: I64, values: Column) -> None:
        """Change a column at distinct ``positions``."""
        self._change(name, positions, values, add=False)

    def add(self, name: str, positions: I64, values: Column) -> None:
        """Add to a column at distinct ``positions``."""
        self._change(name, positions, values, add=True)

    def read(self, start: int, stop: int, names: tuple[str, ...]) -> dict[str, Column]:
        """Return the rows from ``start`` to ``stop`` (both within the length) of some columns."""
        out = {name: np.empty(max(0, stop - start), self._dtypes[name]) for name in names}
        for number, low, high in self._spans(start, stop):
            first = number * self.block
            part = {name: column[low - start : high - start] for name, column in out.items()}
            with self.lock:
                packed = self._packed[number] if number < len(self._packed) else None
                if packed is None:
                    at = first - len(self._packed) * self.block
                    for name, column in part.items():
                        column[:] = self._tail[name][at + low - first : at + high - first]
                    continue
                late_first, late_last = self._late_at.searchsorted((low, high))
                late_at = self._late_at[late_first:late_last] - low
                late = {
                    name: column[late_first:late_last].copy()
                    for name, column in self._late.items()
                    if name in out and len(late_at)
                }
            for name, column in part.items():
                self._unpack(packed[name], low - first, column)
            for name, values in late.items():
                part[name][late_at] = values
        return out

    def take(self, positions: I64, names: tuple[str, ...]) -> dict[str, Column]:
        """Return some columns at ``positions``, in any order."""
        order = np.argsort(positions, kind="stable")
        wanted = positions[order]
        out = {name: np.empty(len(wanted), self._dtypes[name]) for name in names}
        edges = np.flatnonzero(np.diff(wanted) > _NEAR) + 1
        for group in np.split(np.arange(len(wanted)), edges):
            if not len(group):
                continue
            first, last = int(wanted[group[0]]), int(wanted[group[-1]])
            found = self.read(first, last + 1, names)
            for name in names:
                out[name][order[group]] = found[name][wanted[group] - first]
        return out

    def version(self, number: int) -> int:
        """Return a number that is another one whenever a block has changed."""
        return self._versions[number]

    def between(self, number: int, name: str) -> tuple[int, int] | None:
        """Return the smallest and greatest value of a column that never changes, in a block.

        All ones is -1. ``None``: the block is in memory.
        """
        with self.lock:
            if number >= len(self._packed):
                return None
            packed = self._packed[number][name]
        return packed.low - 1, packed.high - 1

    def _spans(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (block, first position, end) for each block from ``start`` to ``stop``."""
        while start < stop:
            number = start // self.block
            end = min(stop, (number + 1) * self.block)
            yield number, start, end
            start = end

    # -- changes -----------------------------------------------------------------------------

    def _touch(self, blocks: I64) -> None:
        """Note that blocks change."""
        for number in np.unique(blocks).tolist():
            self._versions += [0] * (number + 1 - len(self._versions))
            self._versions[number] += 1

    def _change(self, name: str, positions: I64, values: Column, *, add: bool) -> None:
        with self.lock:
            self._touch(positions // self.block)
            tail = len(self._packed) * self.block
            new = positions >= tail
            places = [(self._tail[name], positions[new] - tail, values[new])]
            if not new.all():
                rows = self._late_rows(positions[~new])
                places.append((self._late[name], rows, values[~new]))
            for column, at, given in places:
                column[at] = column[at] + given if add else given

    def _late_rows(self, positions: I64) -> I64:
        """Return the rows of the table of changes that belong to ``positions``."""
        missing = np.setdiff1d(positions, self._late_at)
        if len(self._late_at) + len(missing) > self._most_late:
            self._write_late()
            missing = np.setdiff1d(positions, self._late_at)
        if len(missing):
            now = self.take(missing, tuple(self._late))
            merged = np.concatenate((self._late_at, missing))
            order = np.argsort(merged)
            self._late_at = merged[order]
            for name, column in self._late.items():
                self._late[name] = np.concatenate((column, now[name]))[order]
        return self._late_at.searchsorted(positions)

    def _write_late(self) -> None:
        """Write the changed columns of the changed blocks anew, behind all others."""
        names = tuple(self._late)
        for number in np.unique(self._late_at // self.block).tolist():
            first = number * self.block
            columns = self.read(first, first + self.block, names)
            packed = self._write(columns)
            if packed is None:
                return
            self._packed[number] = self._packed[number] | packed
        self._late_at = np.zeros(0, np.int64)
        self._late = {name: column[:0] for name, column in self._late.items()}

    # -- the file ----------------------------------------------------------------------------

    def _seal(self) -> None:
        """Write the oldest block of the tail out."""
        packed = self._write({name: column[: self.block] for name, column in self._tail.items()})
        if packed is None:
            return
        self._packed.append(packed)
        rest = self._used - self.block
        for column in self._tail.values():
            column[:rest] = column[self.block : self._used].copy()
        self._used = rest

    def _write(self, columns: Mapping[str, Column]) -> dict[str, _Packed] | None:
        """Write columns behind all others; ``None``: there is no room, and ``full`` is true."""
        packed, data = {}, []
        offset = self.size
        for name, column in columns.items():
            where, distances = _pack(column, offset)
            packed[name] = where
            data.append(distances)
            offset += len(distances) * where.width
        try:
            if self._file < 0:
                with tempfile.TemporaryFile(buffering=0) as file:
                    self._file = os.dup(file.fileno())
                weakref.finalize(self, os.close, self._file)
                room = os.fstatvfs(self._file)
                self._cap = min(self._cap, room.f_bavail * room.f_frsize // 2)
            self.full |= offset > self._cap
            at = self.size
            for distances in data if not self.full else ():
                view = distances.data.cast("B")
                while view:
                    done = os.pwrite(self._file, view, at)
                    view, at = view[done:], at + done
        except OSError:
            self.full = True
        if self.full:
            return None
        self.size = offset
        return packed

    def _unpack(self, packed: _Packed, row: int, out: Column) -> None:
        """Read a column of a block from ``row`` on into ``out``."""
        unsigned = out.view(f"u{out.itemsize}")
        base = (packed.low - 1) % (1 << 8 * out.itemsize)
        if not packed.width:
            unsigned[:] = base
            return
        size = len(out) * packed.width
        data = os.pread(self._file, size, packed.offset + row * packed.width)
        np.add(np.frombuffer(data, f"u{packed.width}"), unsigned.dtype.type(base), out=unsigned)


def _pack(column: Column, offset: int) -> tuple[_Packed, Column]:
    size = column.itemsize
    values = np.ascontiguousarray(column).view(f"u{size}")
    values = values + values.dtype.type(1)  # wraps: all ones is 0
    low, high = int(values.min()), int(values.max())
    width = next(w for w in (0, 1, 2, 4, 8) if high - low < 1 << 8 * w)
    if not width:
        return _Packed(offset, 0, low, high), values[:0].view(np.uint8)
    values -= values.dtype.type(low)
    return _Packed(offset, width, low, high), values.astype(f"u{width}", copy=False)


def _grown(column: Column, size: int) -> Column:
    grown = np.empty(size, column.dtype)
    grown[: len(column)] = column
    return grown
