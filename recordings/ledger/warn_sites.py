# SPDX-License-Identifier: GPL-2.0-only
"""Counts WARNs by their place in the source, with the time each place cost.

Memory is bounded: after ``SITES`` places (a kernel has a few that fire, a forged file any
number) further ones share the entry ``OTHER``, in order of first appearance.
"""

from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recordings.ledger.columns import I64, U64, Chunk, Objects, shortened, texts
from recordings.ledger.histogram import exact_sums
from recordings.ledger.snapshot import SiteCount
from recordings.ledger.spans import Finished
from tracers import arrow
from tracers.arrow import numbers

#: Places counted separately.
SITES: Final = 1024
OTHER: Final = "(other places)"

_T = TypeVar("_T", bound=np.generic)


class Sites:
    """WARNs so far."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._counts: I64 = np.zeros(0, np.int64)
        self._timed: I64 = np.zeros(0, np.int64)
        self._low: U64 = np.zeros(0, np.uint64)  # time, low and high 32 bits summed apart
        self._high: U64 = np.zeros(0, np.uint64)

    @property
    def names(self) -> list[str]:
        """The places in order of first appearance: a tag of ``begin`` is the position."""
        return list(self._numbers)

    def begin(self, chunk: Chunk, rows: I64) -> I64:
        """Count the WARNs at ``rows``; return tags i64[len(chunk)], meaningful at ``rows``."""
        tags = np.zeros(len(chunk), np.int64)
        if len(rows):
            tags[rows] = self._places(chunk, rows)
            size = len(self._numbers)
            self._counts = _grown(self._counts, size) + np.bincount(tags[rows], minlength=size)
        return tags

    def end(self, finished: Finished) -> None:
        """Add the time of WARNs that ended."""
        size = len(self._numbers)
        low, high = exact_sums(finished.site, finished.duration, size)
        self._timed = _grown(self._timed, size) + np.bincount(finished.site, minlength=size)
        self._low = _grown(self._low, size) + low
        self._high = _grown(self._high, size) + high

    def sites(self) -> tuple[SiteCount, ...]:
        """Return every place, most frequent first, then by name."""
        size = len(self._numbers)
        columns = (_grown(a, size).tolist() for a in (self._counts, self._timed, self._low))
        sites = [
            SiteCount(name, count, low + (high << 32), count - timed)
            for name, count, timed, low, high in zip(
                self._numbers, *columns, _grown(self._high, size).tolist(), strict=True
            )
        ]
        return tuple(sorted(sites, key=lambda site: (-site.count, site.site)))

    def _places(self, chunk: Chunk, rows: I64) -> I64:
        """Return the number of each row's place, numbering new ones."""
        names, file = _files(chunk.column("site"), rows)
        lines, lines_known = numbers(chunk.column("line"))
        line = lines[rows].astype(np.int64)
        if lines_known is not None:
            line[~lines_known[rows]] = 1 << 32
        codes = arrow.column(file << 33 | line).dictionary_encode()
        place_numbers = []
        for code in codes.dictionary.to_pylist():
            at, number = code >> 33, code & (1 << 33) - 1
            name = names[at] if at < len(names) else "?"
            place_numbers.append(self._number(f"{name}:{'?' if number >> 32 else number}"))
        places: I64 = np.array(place_numbers, np.int64)[numbers(codes.indices)[0]]
        return places

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            if len(self._numbers) >= SITES:
                name = OTHER
            number = self._numbers.setdefault(name, len(self._numbers))
        return number


def _files(column: pa.Array, rows: I64) -> tuple[Objects, I64]:
    """Return the distinct file names at ``rows`` and each row's index, one beyond for null."""
    if _alike(column, rows):
        return texts(column, rows[:1]), np.zeros(len(rows), np.int64)
    files = shortened(column, rows).dictionary_encode()
    names = texts(files.dictionary, np.arange(len(files.dictionary)))
    index, known = numbers(files.indices)
    file = index.astype(np.int64)
    if known is not None:
        file[~known] = len(names)
    return names, file


def _alike(column: pa.Array, rows: I64) -> bool:
    """Whether all names are one and the same, as in a storm, without hashing any of them."""
    _, offsets_buffer, data = column.buffers()
    if column.type != pa.utf8() or data is None or len(column) - column.null_count != len(rows):
        return False
    offsets = np.frombuffer(offsets_buffer, np.int32, len(column) + 1, column.offset * 4)
    lengths = offsets[rows + 1] - offsets[rows]
    size, length = int(offsets[-1] - offsets[0]), int(lengths[0])
    if not length or size != length * len(rows) or (lengths != length).any():
        return False
    bytes_ = np.frombuffer(data, np.uint8, size, int(offsets[0])).reshape(-1, length)
    return bool((bytes_ == bytes_[0]).all())


def _grown(array: NDArray[_T], size: int) -> NDArray[_T]:
    return (
        array if len(array) == size else np.append(array, np.zeros(size - len(array), array.dtype))
    )
