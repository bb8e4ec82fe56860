# SPDX-License-Identifier: GPL-2.0-only
"""Reads splats that are alike at once: those that differ in nothing but times and registers.

A WARN storm prints one text again and again. Such a text is read once, line by line, as any other
(``reports``, ``splats``); what comes of it is its shape's, and of the others with the same text
only the times and the registers are read, in whole columns. Promises: a splat taken this way is
what reading it line by line would give, as the digits that may differ decide nothing there but
numbers; whatever is not such a text is left to be read line by line; memory is bounded.

Only lines with the kernel's time before them, of one width, and nothing else.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa

from tracers import arrow
from tracers.logs import byte_text
from tracers.logs.byte_text import U64, Bytes, Index, Mask
from tracers.logs.dmesg.lines import Clock
from tracers.logs.dmesg.reports import CUT_HERE, WARNING, Report, ReportAssembler, ReportKind
from tracers.logs.dmesg.splats import REGISTER, SP, Splat, parse

_LONGEST: Final = 16 << 10  # bytes of a splat; with many modules it has 8
_MOST: Final = 1024  # shapes
_LENGTHS: Final = 1024  # of their texts
_LAYOUTS: Final = 4  # of one length: where the digits are
_ALIKE: Final = 4  # splats of a block from which on a shape is worth its while
_TRIED: Final = 8  # texts of one length in a row that had none: then no more are looked at
_REGISTERS: Final = 30
_DIGITS: Final = 16  # of a register
#: "[%5lu.%06lu]": wider ones have no spaces.
_TIME: Final = re.compile(rb"\[(?: {0,4}\d{1,5}|\d{6,10})\.\d{6}\]")
#: A number of the boot until 5.16, another for each report; zeros since.
_ID: Final = re.compile(rb"end trace ([0-9a-f]{16}) \]---")
_PADDED: Final = 5
_MICROS: Final = 6
#: What a marker line says beside, which has meanings of its own.
_OTHER: Final = b" messages"
_U16, _U32 = 0xFFFF, 0xFFFFFFFF
_SPACE, _ZERO = ord(" "), ord("0")


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What all splats of one text have in common: the first of them, as it was read."""

    splat: Splat
    report: Report  # without its lines
    printer: tuple[bytes, int | None]  # of its last line: ``ReportAssembler.printer``


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Splats that follow each other, each of one of ``shapes``."""

    first: Index  # row of the block's lines that each begins at; it has three marker lines
    begin: Index  # bytes of the block
    end: Index  # before the newline
    last: Index  # row of its last line
    shapes: list[Shape]
    shape: Index  # of each
    ts_ns: U64
    sp: U64
    x: U64  # [N, 30]: x0 to x29

    def __len__(self) -> int:
        return len(self.first)

    def taken(self, which: Index | slice) -> Self:
        """Return those of ``which``."""
        return type(self)(
            self.first[which],
            self.begin[which],
            self.end[which],
            self.last[which],
            self.shapes,
            self.shape[which],
            self.ts_ns[which],
            self.sp[which],
            self.x[which],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Where the digits are that may differ, in texts of one length."""

    values: Index  # of x0 to x29, sp, and what else has 16 digits
    seconds: Index  # [lines, width]: of the times
    micros: Index  # [lines, 6]
    warned: int  # which of the lines has the report's time
    keep: Bytes  # 0xff where a text must be the same, else 0

    @classmethod
    def of(cls, raw: bytes, values: list[int], width: int) -> Self:
        """``values``: where they begin; ``width``: of a time with its brackets."""
        lines = np.append(0, np.flatnonzero(np.frombuffer(raw, np.uint8) == ord("\n")) + 1)
        digits = width - len("[.]") - _MICROS
        seconds = lines[:, None] + np.arange(1, 1 + digits)
        micros = lines[:, None] + np.arange(2 + digits, 2 + digits + _MICROS)
        places = (np.array(values)[:, None] + np.arange(_DIGITS)).ravel()
        keep = np.full(len(raw), 255, np.uint8)
        for each in (seconds, micros, places):
            keep[each] = 0
        return cls(places, seconds, micros, 1, keep)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layout) and np.array_equal(self.keep, other.keep)

    def __hash__(self) -> int:
        return hash(self.keep.tobytes())

    def read(self, rows: Bytes) -> tuple[U64, U64, U64, Mask]:
        """Return time, sp and x0 to x29 of each row, and whether all its digits are some."""
        nibbles = byte_text.hex_values(np.take(rows, self.values, axis=1))
        good: Mask = np.all(nibbles < 16, axis=1)
        pairs = np.ascontiguousarray(nibbles[:, 0::2] << 4 | nibbles[:, 1::2])
        values = pairs.view(">u8").astype(np.uint64)
        seconds = np.take(rows, self.seconds, axis=1) - np.uint8(_ZERO)
        micros = np.take(rows, self.micros, axis=1) - np.uint8(_ZERO)
        digit = seconds <= 9
        if self.seconds.shape[1] == _PADDED:
            blank = seconds == np.uint8(_SPACE - _ZERO & 0xFF)
            good &= (digit | blank).all(axis=(1, 2)) & digit[:, :, -1].all(axis=1)
            good &= ~(digit[:, :, :-1] & blank[:, :, 1:]).any(axis=(1, 2))
        else:
            good &= digit.all(axis=(1, 2))
        good &= (micros <= 9).all(axis=(1, 2))
        ours = np.where(digit[:, self.warned], seconds[:, self.warned], 0)
        ts = _decimal(ours) * np.uint64(10**9) + _decimal(micros[:, self.warned]) * np.uint64(1000)
        return ts, values[:, _REGISTERS], values[:, :_REGISTERS], good


class Shapes:
    """The shapes of a log, found while it is read; to be asked by several threads."""

    def __init__(self) -> None:
        self._layouts: dict[int, list[_Layout]] = {}  # by the length of their text
        self._known: dict[bytes, Shape] = {}  # by their text, zeros for the digits
        self._failed: dict[int, int] = {}  # by length: texts in a row that have no shape

    def find(
        self, data: bytes, buffer: Bytes, starts: Index, ends: Index, markers: Index
    ) -> Alike | None:
        """Find the splats among a block's lines that have a shape.

        ``markers``: rows of the lines that may begin or end a report.
        """
        if len(markers) < 3:
            return None
        at = np.flatnonzero(markers[1:-1] - markers[:-2] == 1)
        first, last = markers[at], markers[at + 2]
        begin, end = starts[first], ends[last]
        length = end - begin
        found: list[tuple[Index, list[Shape], Index, U64, U64, U64]] = []
        lengths, counts = np.unique(length, return_counts=True)
        for size, count in zip(lengths.tolist(), counts.tolist(), strict=True):
            if size > _LONGEST or (size not in self._layouts and count < _ALIKE):
                continue
            which = np.flatnonzero(length == size)
            if size not in self._layouts:
                here = int(begin[which[0]])
                if not self._learn(data[here : here + size]):
                    continue
            found += self._alike(buffer, begin, which, size)
        if not found:
            return None
        return _joined(found, first, last, begin, end)

    def _alike(
        self, buffer: Bytes, begin: Index, which: Index, size: int
    ) -> list[tuple[Index, list[Shape], Index, U64, U64, U64]]:
        """Read those of ``which``, of one length, that have a shape."""
        found = []
        rows = byte_text.gather(buffer, begin[which], size)
        for layout in tuple(self._layouts.get(size, ())):
            texts = rows & layout.keep
            encoded = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(size), len(texts), [None, pa.py_buffer(texts)]
            ).dictionary_encode()
            codes = arrow.numbers(encoded.indices)[0].astype(np.int64)
            distinct = encoded.dictionary.to_pylist()
            counts = np.bincount(codes, minlength=len(distinct))
            shapes = []
            for code, text in enumerate(distinct):
                shape = self._known.get(text)
                if shape is None and counts[code] >= _ALIKE:
                    row = int(np.flatnonzero(codes == code)[0])
                    self._learn(rows[row].tobytes())
                    shape = self._known.get(text)
                shapes.append(shape)
            known = np.array([shape is not None for shape in shapes], np.bool_)[codes]
            ts, sp, x, good = layout.read(rows)
            mine = np.flatnonzero(known & good)
            if len(mine):
                present = [shape for shape in shapes if shape is not None]
                number = np.cumsum([shape is not None for shape in shapes]) - 1
                found.append(
                    (which[mine], present, number[codes[mine]], ts[mine], sp[mine], x[mine])
                )
                rest = np.ones(len(rows), np.bool_)
                rest[mine] = False
                rows, which = rows[rest], which[rest]
            if not len(rows):
                break
        return found

    def _learn(self, raw: bytes) -> bool:
        """Read a text line by line; note its shape, if it has one."""
        size = len(raw)
        failed = self._failed.get(size, 0)
        if failed >= _TRIED:
            return False
        if (made := _shape_of(raw)) is None:
            self._failed[size] = failed + 1
            return False
        shape, layout = made
        self._failed[size] = 0
        if len(self._known) >= _MOST:
            self._known.clear()
        if len(self._layouts) >= _LENGTHS:
            self._layouts.clear()
        same = self._layouts.setdefault(size, [])
        if layout not in same and len(same) < _LAYOUTS:
            same.append(layout)
        text = np.frombuffer(raw, np.uint8) & layout.keep
        self._known[text.tobytes()] = shape
        return True


def _decimal(digits: Bytes) -> U64:
    powers = 10 ** np.arange(digits.shape[1] - 1, -1, -1, dtype=np.uint64)
    value: U64 = digits.astype(np.uint64) @ powers
    return value


def _joined(
    found: list[tuple[Index, list[Shape], Index, U64, U64, U64]],
    first: Index,
    last: Index,
    begin: Index,
    end: Index,
) -> Alike:
    """Put the splats of all lengths in the order of the block."""
    shapes: list[Shape] = []
    numbers = []
    for _, own, number, *_ in found:
        numbers.append(number + len(shapes))
        shapes += own
    which = np.concatenate([part[0] for part in found])
    ts, sp, x = (np.concatenate([part[column] for part in found]) for column in (3, 4, 5))
    order = np.argsort(which, kind="stable")
    which = which[order]
    number = np.concatenate(numbers)[order]
    return Alike(
        first[which],
        begin[which],
        end[which],
        last[which],
        shapes,
        number,
        ts[order],
        sp[order],
        x[order],
    )


def _shape_of(raw: bytes) -> tuple[Shape, _Layout] | None:
    """Read the lines from "cut here" to "end trace"; None if it is not just a splat of ours."""
    lines = raw.split(b"\n")
    begun = CUT_HERE in lines[0] and WARNING in lines[1]
    stamps = [_TIME.match(line) for line in lines] if begun else [None]
    widths = {stamp.end() for stamp in stamps if stamp}
    if None in stamps or len(widths) != 1 or (read := _read(lines)) is None:
        return None
    report, printer = read
    splat = parse(report.text)
    if splat is None or splat.sp is None or splat.registers is None or splat.passed is not None:
        return None
    if splat.cpu > _U16 or splat.tid > _U32 or (splat.line or 0) > _U32:
        return None
    layout = _layout_of(raw, widths.pop())
    if layout is None:
        return None
    (ts_ns,), (sp,), (x,), _ = layout.read(np.frombuffer(raw, np.uint8)[None])
    if (int(ts_ns), int(sp), tuple(x.tolist())) != (report.ts_ns, splat.sp, splat.registers):
        return None
    report.lines.clear()
    return Shape(splat, report, printer), layout


def _read(lines: list[bytes]) -> tuple[Report, tuple[bytes, int | None]] | None:
    """Read the lines of a report and no more; None if they are not a splat, whole, with a time."""
    if any(_OTHER in lines[at] for at in (0, 1, -1)):
        return None
    assembler = ReportAssembler()
    for line in lines[:2]:
        assembler.line(line)
    assembler.body(b"\n".join(lines[2:-1]) + b"\n")
    if not assembler.busy or assembler.done:
        return None
    assembler.line(lines[-1])
    if assembler.busy or assembler.orphans or assembler.panics or len(assembler.done) != 1:
        return None
    report = assembler.done[0]
    good = report.kind is ReportKind.WARN and report.whole and not report.mixed
    timed = report.clock is Clock.BOOT and report.ts_ns is not None and report.prefix is None
    return (report, assembler.printer) if good and timed else None


def _layout_of(raw: bytes, width: int) -> _Layout | None:
    """Find the digits of a splat whose times are ``width`` wide, brackets included."""
    stack = SP.search(raw)
    if stack is None:
        return None
    places = list(REGISTER.finditer(raw, stack.end()))
    places.reverse()
    if [int(match[1]) for match in places] != [*range(_REGISTERS)]:
        return None
    begins = [*(match.start(2) for match in places), stack.start(1)]
    if identity := _ID.search(raw, raw.rfind(b"\n")):
        begins.append(identity.start(1))
    return _Layout.of(raw, begins, width)
