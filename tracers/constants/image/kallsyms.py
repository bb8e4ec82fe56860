# SPDX-License-Identifier: GPL-2.0-only
"""Decodes the symbols built into a kernel (CONFIG_KALLSYMS), for files without a symbol table.

Promises: every step is checked against the next (token index, markers, ascending addresses, the
address the kernel relocates itself from); where one fails the result is None, never a guess.

Source: scripts/kallsyms.c. Names and tokens are those of 2.6.10; long names since 73bbb94466fd
(6.1); offsets behind the tokens since 404bad70fcf7 (6.4), relative to their own place in 7.x.
"""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from tracers.constants.image.elf import KERNEL_HALF
from tracers.constants.image.symbols import SymbolTable

_DIGITS: Final = b"".join(b"%d\0" % digit for digit in range(10))  # tokens never replaced
_TOKENS: Final = 256
_LEAST: Final = 1000  # names; a booting arm64 kernel has over 20000
_MOST: Final = 1 << 22
_NAMES_CAP: Final = 12 << 20  # bytes of packed names; Debian's have 2.7 MB
_IMAGE_CAP: Final = 256 << 20
_TOKENS_CAP: Final = 8192
_STRIDE: Final = 256  # names a marker counts
_RUN: Final = 16  # markers that must ascend
_TRIES: Final = 8  # of what looks right and is not
_STEP: Final = (_STRIDE, _STRIDE * 512)  # bytes 256 packed names can have
_PIECE: Final = 1 << 20
_RELATIVE: Final = 0x403  # R_AARCH64_RELATIVE
#: pointer -> what it points to; in sys_call_table, entry 63 of include/uapi/asm-generic/unistd.h.
_POINTERS: Final = {"kimage_vaddr": "_text", "sys_call_table": "__arm64_sys_read"}
_WANTED: Final = ("_text", "linux_banner")
_READ: Final = {"sys_call_table": 63 * 8}
_BEHIND: Final = 2 << 20
_NEWLINE: Final = 256
_NOTHING: Final = 257

_U64 = npt.NDArray[np.uint64]
_Index = npt.NDArray[np.int64]


class Memory(Protocol):
    """A kernel as it lies in memory, from its first byte on; reads are short at the end."""

    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes at ``offset``."""
        ...


def built_in(source: Memory) -> tuple[SymbolTable, int] | None:
    """Return a kernel's names and the link address of its first byte; None: not decodable."""
    if source.size > _IMAGE_CAP:
        return None
    for at in _occurrences(source, _DIGITS):
        token_table = _tokens(source, at)
        if token_table is None:
            continue
        tokens, start, end = token_table
        names = _names(source, start)
        if names is None:
            continue
        packed, lengths_at, count_at = names
        text, at_names = _expanded(packed, lengths_at, tokens)
        decoded = _addressed(source, text, at_names, count_at, end)
        if decoded is not None:
            return decoded
    return None


def _array(data: bytes, kind: str) -> npt.NDArray[np.uint64]:
    """Return ``data`` as numbers, without a torn last one."""
    return np.frombuffer(data, kind, len(data) // np.dtype(kind).itemsize)


def _occurrences(source: Memory, pattern: bytes) -> list[int]:
    """Return the offsets of ``pattern``, at most eight."""
    offsets: list[int] = []
    for start in range(0, source.size, _PIECE):
        data = source.read(start, _PIECE + len(pattern) - 1)
        at = data.find(pattern)
        while at >= 0 and len(offsets) < 8:
            offsets.append(start + at)
            at = data.find(pattern, at + 1)
    return offsets


def _tokens(source: Memory, zero: int) -> tuple[list[bytes], int, int] | None:
    """Return the 256 tokens, where their table begins, and where the index behind it ends.

    ``zero`` is the offset of the token "0", the 48th.
    """
    before = source.read(max(0, zero - _TOKENS_CAP), min(zero, _TOKENS_CAP)).split(b"\0")
    after = source.read(zero, _TOKENS_CAP).split(b"\0", _TOKENS - 48)[: _TOKENS - 48]
    if len(before) < 49 or before[-1]:  # what ends each token but the first, and token 47
        return None
    tokens = [*before[-49:-1], *after]
    sizes = [len(token) + 1 for token in tokens]
    end = zero + sum(sizes[48:])
    for place in range(end, end + 8):
        index = _array(source.read(place, 2 * _TOKENS), "<u2").astype(np.int64)
        if len(index) < _TOKENS or index[0] or np.diff(index)[1:].tolist() != sizes[1:-1]:
            continue
        first = int(index[1]) - 1  # what is before it need not end in NUL
        if 0 < first <= len(tokens[0]):
            tokens[0] = tokens[0][-first:]
            return tokens, zero - sum(sizes[1:48]) - first - 1, place + 2 * _TOKENS
    return None


def _names(source: Memory, end: int) -> tuple[npt.NDArray[np.uint8], _Index, int] | None:
    """Return the packed names, where in them each begins, and where their count is.

    The names are followed by the markers, the place of every 256th, somewhere before ``end``.
    """
    low = max(0, end - _NAMES_CAP) & ~3
    words = _array(source.read(low, (end - low) & ~3), "<u4")
    if len(words) <= _RUN:
        return None
    steps = np.diff(words.view("<i4"))
    good = (steps > _STEP[0]) & (steps < _STEP[1])
    starts = np.flatnonzero((words[:-1] == 0) & good)
    for ahead in range(1, _RUN):  # a run of good steps from a zero on
        starts = starts[starts + ahead < len(good)]
        starts = starts[good[starts + ahead]]
    for first in starts[::-1][:_TRIES].tolist():
        stop = first + int(np.argmin(np.append(good[first:], False)))
        markers = words[first : stop + 1].astype(np.int64)
        most = len(markers) * _STRIDE
        behind = first - int(markers[-1]) // 4
        before = max(0, behind - _STEP[1] // 4)
        near = words[before : max(behind, 0)]
        counts = np.flatnonzero((near > most - _STRIDE) & (near <= most)) + before
        for place in counts[::-1][:_TRIES].tolist():
            unpacked = _unpacked_names(source, low + 4 * place, int(words[place]), markers)
            if unpacked is not None:
                return *unpacked, low + 4 * place
    return None


def _unpacked_names(
    source: Memory, count_at: int, count: int, markers: _Index
) -> tuple[npt.NDArray[np.uint8], _Index] | None:
    """Return the packed names after the count, and their offsets, if the markers agree."""
    if not _LEAST <= count <= _MOST:
        return None
    for start in (count_at + 4, count_at + 8):
        data = source.read(start, int(markers[-1]) + _STEP[1])
        at = 0
        starts = []
        for number in range(count):
            if not number & 255 and at != markers[number >> 8]:
                break
            if at + 1 >= len(data):
                break
            starts.append(at)
            size = data[at]
            at += 1 + size if size < 128 else 2 + (size & 127) + (data[at + 1] << 7)
        if len(starts) == count and at <= len(data):
            return np.frombuffer(data[:at], np.uint8), np.array(starts, np.int64)
    return None


def _expanded(
    packed: npt.NDArray[np.uint8], places: _Index, tokens: list[bytes]
) -> tuple[bytes, _Index]:
    """Return all names as text, a newline before each, and where each one's type letter is."""
    stream = packed.astype(np.uint16)
    long = places[packed[places] >= 128]
    stream[long + 1] = _NOTHING
    stream[places] = _NEWLINE
    table = [*tokens, b"\n", b""]
    sizes = np.array([len(token) for token in table], np.int64)
    starts = np.cumsum(sizes) - sizes
    letters = np.frombuffer(b"".join(table), np.uint8)
    parts, letters_at = [], []
    total = 0
    for first in range(0, len(stream), _PIECE >> 4):  # in pieces: the indices take 8 bytes each
        piece = stream[first : first + (_PIECE >> 4)]
        lengths = sizes[piece]
        ends = np.cumsum(lengths)
        index = np.repeat(starts[piece] - (ends - lengths), lengths)
        index += np.arange(len(index))
        parts.append(letters[index].tobytes())
        low, high = np.searchsorted(places, [first, first + len(piece)])
        letters_at.append(total + ends[places[low:high] - first])
        total += len(index)
    return b"".join(parts) + b"\n", np.concatenate(letters_at)


def _addressed(
    source: Memory, text: bytes, letters_at: _Index, count_at: int, index_end: int
) -> tuple[SymbolTable, int] | None:
    """Return the table and the address, once the offsets ascend and the link address is known."""
    count = len(letters_at)
    for place, base_at in _offset_candidates(count, count_at, index_end):
        words = _array(source.read(place, 4 * count), "<u4")
        if len(words) < count:
            continue
        offsets = words.astype(np.int64)
        if words[0] >= 1 << 31:  # relative to its own place (7.x); the first name is far before
            offsets = words.view("<i4").astype(np.int64) + place + 4 * np.arange(count)
        if (np.diff(offsets) < 0).any():
            continue

        # As if linked for the kernel half's first byte: the real address is found below.
        symbols = _table(text, letters_at, offsets, KERNEL_HALF).find(
            [*_WANTED, *_POINTERS, *_POINTERS.values()]
        )
        at = {name: symbol.va - KERNEL_HALF for name, symbol in symbols.items()}
        known = {base_at: 0}
        if "_text" in at:
            for holder, target in _POINTERS.items():
                if holder in at and target in at:
                    known[at[holder] - at["_text"] + _READ.get(holder, 0)] = at[target]
        # The address of the Image's first byte, and that of the first name.
        bases = {
            (start, first)
            for start, first in _linked_for(source, known, at.get("_text"))
            if "linux_banner" not in at
            or source.read(first + at["linux_banner"] - start, 14) == b"Linux version "
        }
        if len(bases) == 1:  # a second pointer may fit by chance: then neither is trusted
            start, first = bases.pop()
            return _table(text, letters_at, offsets, first), start
    return None


def _table(text: bytes, letters_at: _Index, offsets: _Index, first: int) -> SymbolTable:
    """Return the names as a table, the first one at the address ``first``."""
    letters = np.frombuffer(text, np.uint8)[letters_at]
    return SymbolTable(
        "kallsyms",
        text,
        at=letters_at + 1,
        va=np.uint64(first) + offsets.astype(np.uint64),
        size=np.zeros(len(offsets), np.uint64),
        is_global=(letters >= ord("A")) & (letters <= ord("Z")),
    )


def _offset_candidates(count: int, count_at: int, index_end: int) -> list[tuple[int, int]]:
    """Return where the offsets may begin, and for each where the base behind them is."""
    size = 4 * count
    places = (index_end + 7 & ~7, index_end + 3 & ~3, (count_at - 8 & ~7) - (size + 7 & ~7))
    return [(place, place + size + 7 & ~7) for place in dict.fromkeys(places) if place > 0]


def _linked_for(source: Memory, known: dict[int, int], ahead: int | None) -> set[tuple[int, int]]:
    """Return the addresses the Image's first byte and the first name can have been linked for.

    ``known`` is place in the Image -> how far what is pointed to lies behind the first name. The
    pointer is in its place (RELR), or is the addend of the relocation of that place. ``ahead`` is
    how far the Image's first byte lies behind the first name; before 6.4 it has no name itself
    and the names begin up to 2 MiB behind it.
    """
    addresses = set()
    for place, distance in known.items():
        value = int.from_bytes(source.read(place, 8), "little")
        if ahead is not None and value >= KERNEL_HALF:
            addresses.add((value - distance + ahead, value - distance))
    for start in range(0, 0 if addresses else source.size, _PIECE):
        data = source.read(start, _PIECE + 16)
        words = _array(data, "<u8")
        rows = np.flatnonzero(words[1:-1] == np.uint64(_RELATIVE))
        for place, distance in known.items() if len(rows) else ():
            text = words[rows] - np.uint64(place)
            first = words[rows + 2] - np.uint64(distance)
            behind = first - text
            # _stext, the first name, begins a page.
            good = (behind <= np.uint64(_BEHIND)) & (behind & np.uint64(0xFFF) == 0)
            if ahead is not None:
                good = text == first + np.uint64(ahead)
            addresses |= set(zip(text[good].tolist(), first[good].tolist(), strict=True))
    # _text is 64 KiB aligned.
    return {(text, first) for text, first in addresses if not text & 0xFFFF and text >= KERNEL_HALF}
