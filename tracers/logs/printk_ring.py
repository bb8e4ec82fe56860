# SPDX-License-Identifier: GPL-2.0-only
"""Reads the kernel log out of a kernel's memory, as text in the form that dmesg has.

The ring's place and layout are in the VMCOREINFO note: the lockless ring of 5.10 on, and the
records one behind the other of before. Promises: how much is read is capped, and each record is
read once, whatever the ring says of itself; a record counts only where its descriptor has its own
number and is committed; what is missing is counted and stands in the text in the kernel's words
("** 3 printk messages dropped **"), so that whoever reads it counts losses.

Source: kernel/printk/printk_ringbuffer.c (896fbe20b4e2, 5.10), printk.c (log_buf_vmcoreinfo_setup,
print_time, print_caller), and struct printk_log of printk.c before 5.10.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from tracers.constants.core_file import Core
from tracers.errors import VmemscopeError
from tracers.machine_files import number, read_notes

_MOST_RECORDS: Final = 1 << 22  # descriptors of a ring of 128 MiB
_ITEMS: Final = 4096  # descriptors that are read together
_MOST_BYTES: Final = 128 << 20
_PIECE: Final = 1 << 20
_PAGE: Final = 4096
_MASK: Final = (1 << 64) - 1
_STATE_SHIFT: Final = 62
_COMMITTED: Final = (1, 2)  # desc_committed, desc_finalized
_ID: Final = 8  # of a data block, before its text
_DATALESS: Final = 1
_NO_TEXT: Final = 3  # NO_LPOS: a record of an empty line; FAILED_LPOS is one that found no room
_CPU: Final = 1 << 31
_CONTROL: Final = re.compile(rb"[\0-\x08\x0b-\x1f\x7f]")  # dmesg shows them so, too


class PrintkRingError(VmemscopeError):
    """The log cannot be read; one line says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its number (None: the kernel kept none), time, who printed it, and its text."""

    seq: int | None
    ts_ns: int
    caller: int | None
    text: bytes


class PrintkRing:
    """A kernel's log. ``lost`` and ``records`` are complete once ``lines`` is exhausted.

    ``lost``: records that the ring had no longer, or not whole, as far as it tells.
    """

    def __init__(self, core: Core) -> None:
        """Find the ring.

        Raises:
            PrintkRingError: the note does not say where it is, or it is not in the memory.
        """
        self._core = core
        self._notes = read_notes(core.vmcoreinfo, [])
        self.lost = 0
        self.records = 0
        if "SYMBOL(prb)" in self._notes:
            self._source = _lockless(core, self._notes)
        elif "SYMBOL(log_buf)" in self._notes:
            self._source = _consecutive(core, self._notes)
        else:
            raise PrintkRingError(
                f"{core.path}: its VMCOREINFO note does not say where the kernel log is"
                " (CONFIG_PRINTK=n, or no whole note)"
            )

    def lines(self, *, callers: bool = False) -> Iterator[bytes]:
        """Yield the log's lines, each with its newline; ``callers``: as with CONFIG_PRINTK_CALLER.

        Raises:
            PrintkRingError: as above.
        """
        for found in self._source:
            if isinstance(found, int):
                self.lost += found
                yield b"** %d printk messages dropped **\n" % found
                continue
            self.records += 1
            seconds, rest = divmod(found.ts_ns, 10**9)
            prefix = b"[%5d.%06d]" % (seconds, rest // 1000)
            if callers and found.caller is not None:
                letter = b"C" if found.caller & _CPU else b"T"
                who = b"%s%d" % (letter, found.caller & ~_CPU)
                prefix += b"[%6s]" % who
            for line in found.text.split(b"\n"):
                yield prefix + b" " + _CONTROL.sub(_escaped, line) + b"\n"


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"\\x%02x" % ord(match[0])


class _Ring(NamedTuple):
    """Where the parts of the lockless ring are."""

    count_bits: int
    descs: int
    infos: int
    head: int
    tail: int
    size_bits: int
    data: int


class _Items:
    """An array in the kernel's memory, read as far as it is looked at, a piece at a time."""

    def __init__(self, core: Core, address: int, size: int, count: int) -> None:
        self._core, self._address, self._size, self._count = core, address, size, count
        self._piece, self._data = -1, bytearray()

    def get(self, index: int) -> tuple[bytearray, int]:
        """Return bytes, and where in them the item begins."""
        piece, rest = divmod(index, _ITEMS)
        if piece != self._piece:
            first = piece * _ITEMS
            size = min(_ITEMS, self._count - first) * self._size
            self._data = _array(self._core, self._address + first * self._size, size)
            self._piece = piece
        return self._data, rest * self._size


class _Note:
    """The note's numbers."""

    def __init__(self, core: Core, notes: Mapping[str, str]) -> None:
        self._core = core
        self._notes = notes

    def get(self, key: str, most: int = 4096) -> int:
        """Return SIZE(…) or OFFSET(…), which are small."""
        value = number(self._notes.get(key, ""))
        if value is None or value > most:
            raise PrintkRingError(f"{self._core.path}: its VMCOREINFO note has no usable {key}")
        return value

    def symbol(self, name: str) -> int:
        value = number("0x" + self._notes.get(f"SYMBOL({name})", ""))
        if value is None:
            raise PrintkRingError(f"{self._core.path}: its VMCOREINFO note does not name {name}")
        return value

    def word(self, address: int, size: int = 8) -> int:
        """Return an unsigned number of the kernel's memory."""
        data = self._core.read(address & _MASK, size)
        if data is None:
            raise PrintkRingError(
                f"{self._core.path}: the kernel log is not in its memory"
                f" (0x{address & _MASK:016x} cannot be read)"
            )
        return int.from_bytes(data, "little")


def _lockless(core: Core, notes: Mapping[str, str]) -> Iterator[Record | int]:
    """Find the ring of 5.10 on; return its records, with how many are missing between them."""
    note = _Note(core, notes)
    ring = _ring(note)
    count, size = 1 << ring.count_bits, 1 << ring.size_bits
    sizes = note.get("SIZE(prb_desc)"), note.get("SIZE(printk_info)")
    if count > _MOST_RECORDS or size > _MOST_BYTES or min(sizes) < 16 or not ring.count_bits:
        raise PrintkRingError(
            f"{core.path}: a log of 2^{ring.count_bits} records and 2^{ring.size_bits} bytes:"
            " no kernel has that"
        )
    items = (
        _Items(core, ring.descs, sizes[0], count),
        _Items(core, ring.infos, sizes[1], count),
    )
    return _records(note, ring, sizes, items, _array(core, ring.data, size))


def _ring(note: _Note) -> _Ring:
    at = note.word(note.symbol("prb"))
    desc_at = at + note.get("OFFSET(printk_ringbuffer.desc_ring)")
    text_at = at + note.get("OFFSET(printk_ringbuffer.text_data_ring)")

    def desc(name: str, size: int = 8) -> int:
        return note.word(desc_at + note.get(f"OFFSET(prb_desc_ring.{name})"), size)

    def text(name: str, size: int = 8) -> int:
        return note.word(text_at + note.get(f"OFFSET(prb_data_ring.{name})"), size)

    return _Ring(
        min(desc("count_bits", 4), 255),
        desc("descs"),
        desc("infos"),
        desc("head_id"),
        desc("tail_id"),
        min(text("size_bits", 4), 255),
        text("data"),
    )


def _array(core: Core, address: int, size: int) -> bytearray:
    """Read up to ``_MOST_BYTES``; pages that the dump lacks are zeros: no valid record is there."""
    data = bytearray(size)
    for at in range(0, size, _PIECE):
        length = min(_PIECE, size - at)
        piece = core.read(address + at & _MASK, length)
        data[at : at + length] = _pages(core, address + at, length) if piece is None else piece
    return data


def _pages(core: Core, address: int, size: int) -> bytes:
    parts: list[bytes] = []
    end = address + size
    while address < end:
        length = min(_PAGE - address % _PAGE, end - address)
        parts.append(core.read(address & _MASK, length) or bytes(length))
        address += length
    return b"".join(parts)


def _records(
    note: _Note,
    ring: _Ring,
    sizes: tuple[int, int],
    items: tuple[_Items, _Items],
    data: bytearray,
) -> Iterator[Record | int]:
    count = 1 << ring.count_bits
    state_at = note.get("OFFSET(prb_desc.state_var)", sizes[0] - 8)
    block_at = note.get("OFFSET(prb_desc.text_blk_lpos)", sizes[0] - 16)
    begin_at = block_at + note.get("OFFSET(prb_data_blk_lpos.begin)", 8)
    next_at = block_at + note.get("OFFSET(prb_data_blk_lpos.next)", 8)
    seq_at, ts_at, length_at, caller_at = (
        note.get(f"OFFSET(printk_info.{name})", sizes[1] - 8)
        for name in ("seq", "ts_nsec", "text_len", "caller_id")
    )
    word, half, short = struct.Struct("<Q"), struct.Struct("<I"), struct.Struct("<H")
    ids = (1 << _STATE_SHIFT) - 1
    due: int | None = None
    for step in range(min((ring.head - ring.tail & ids) + 1, count)):
        number_of = ring.tail + step & ids
        descs, desc = items[0].get(number_of & count - 1)
        state = word.unpack_from(descs, desc + state_at)[0]
        if state & ids != number_of or state >> _STATE_SHIFT not in _COMMITTED:
            continue
        infos, info = items[1].get(number_of & count - 1)
        seq = word.unpack_from(infos, info + seq_at)[0]
        begin, following = (word.unpack_from(descs, desc + at)[0] for at in (begin_at, next_at))
        length = short.unpack_from(infos, info + length_at)[0]
        block = _block(data, begin, following, number_of)
        text = None if block is None else block[:length]
        if text is None or (due is not None and seq < due):
            continue
        missing = seq - (due or 0)
        if missing:
            yield missing
        due = seq + 1
        ts_ns = word.unpack_from(infos, info + ts_at)[0]
        yield Record(seq, ts_ns, half.unpack_from(infos, info + caller_at)[0], text)


def _block(data: bytearray, begin: int, following: int, number_of: int) -> bytes | None:
    """Return what a record's block holds, None where the block is not its own."""
    if begin & _DATALESS and following & _DATALESS:
        return b"" if begin & _NO_TEXT == _NO_TEXT else None
    if (begin | following) & _ID - 1:
        return None
    size = len(data)
    first, end = begin % size, following % size
    # A block that does not fit before the end is at the beginning; it may end where the ring does.
    if begin // size != following // size and end:
        first = 0
    elif not end:
        end = size
    if end - first < _ID or int.from_bytes(data[first : first + _ID], "little") != number_of:
        return None
    return bytes(data[first + _ID : end])


def _consecutive(core: Core, notes: Mapping[str, str]) -> Iterator[Record | int]:
    """Find the log of before 5.10; return its records."""
    note = _Note(core, notes)
    address = note.word(note.symbol("log_buf"))
    size = note.word(note.symbol("log_buf_len"), 4)
    first = note.word(note.symbol("log_first_idx"), 4)
    end = note.word(note.symbol("log_next_idx"), 4)
    if not 0 < size <= _MOST_BYTES or max(first, end) > size:
        raise PrintkRingError(f"{core.path}: a log of {size} bytes: no kernel has that")
    offsets = [
        note.get(f"OFFSET(printk_log.{name})", 64) for name in ("ts_nsec", "len", "text_len")
    ]
    head = note.get("SIZE(printk_log)", 64)
    return _packed(_array(core, address, size), first, end, offsets, head)


def _packed(
    data: bytearray, first: int, end: int, offsets: list[int], head: int
) -> Iterator[Record | int]:
    """Go from record to record; how many the ring lost is not known: at least one."""
    if first:
        yield 1
    at, left = first, len(data)
    while left > 0 and at + head <= len(data):
        length = int.from_bytes(data[at + offsets[1] : at + offsets[1] + 2], "little")
        if not length:  # the rest of the ring is too small for the next one
            left -= len(data) - at
            if at == 0 or end > at:
                return
            at = 0
            continue
        if length < head or at + length > len(data):
            return
        ts_ns = int.from_bytes(data[at + offsets[0] : at + offsets[0] + 8], "little")
        text = int.from_bytes(data[at + offsets[2] : at + offsets[2] + 2], "little")
        yield Record(
            None, ts_ns, None, bytes(data[at + head : at + head + min(text, length - head)])
        )
        at += length
        left -= length
        if at == end:
            return
