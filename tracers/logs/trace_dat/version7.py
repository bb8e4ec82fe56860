# SPDX-License-Identifier: GPL-2.0-only
"""Reads a trace-cmd file of version 7, in which options point to sections, up to its events.

Promises: those of ``tracers.logs.trace_dat.headers``; options that lead back to themselves, or have
no end, are a problem like any other. The table of where the events are stands at the end of the
file: where it is cut off, they are found without it, and only their CPU is not known.
"""

from collections.abc import Iterator
from typing import Final

from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.trace_dat.fields import MOST, CutError, Fields, Memory
from tracers.logs.trace_dat.headers import (
    LATENCY,
    MOST_OPTIONS,
    CpuData,
    Instance,
    Option,
    Version,
    check_page,
    read_page,
    readable,
)
from tracers.logs.trace_dat.packing import block, unpacker

_PACKED: Final = 1  # flag of a section
_LEAST_PACKED: Final = 8  # bytes that nothing packs to less than


class Version7(Version):
    """Sections anywhere in the file, which options point to."""

    def read(self) -> None:
        """Read it all. Raises ``LogError``, ``OSError``."""
        fields, headers = self._fields, self._headers
        headers.unpack = unpacker(fields.string())
        fields.string()  # the version of what packs
        options = fields.number(8)
        first = fields.at
        self._parts: dict[int, int] = {}
        self._latency = False
        self._buffers: set[int] = set()
        try:
            self._read_options(options)
        except CutError as error:
            headers.note(error)
        headers.page = read_page(self._part(Option.HEADERS))
        self._add_formats(self._part(Option.EVENTS))
        for number, add in (
            (Option.SYMBOLS, self._add_symbols),
            (Option.COMMANDS, self._add_commands),
        ):
            try:
                if number in self._parts:
                    add(self._part(number))
            except CutError as error:
                headers.note(error)
        if self._latency and not headers.instances:
            raise LogError(LATENCY)
        if headers.problems:
            self._find_data(first)
        if not headers.instances:
            if headers.problems:
                raise LogError(headers.problems[0])
            raise CutError("it does not say where its events are")

    def _read_options(self, at: int) -> None:
        """Follow the sections of options from the one at ``at`` on. Raises ``CutError``."""
        left, count = MOST, MOST_OPTIONS
        seen: set[int] = set()
        while at:
            if at in seen:
                raise CutError("its options lead back to themselves")
            seen.add(at)
            options = self._section(at, Option.DONE)
            left -= options.source.size
            if left < 0:
                raise CutError("its options have no end")
            number = None
            while number != Option.DONE:
                count -= 1
                if count < 0:
                    raise CutError("its options have no end")
                number = options.number(2)
                option = options.part(options.number(4))
                try:
                    self._take_option(number, option)
                except CutError as error:
                    self._headers.note(error)
            at = option.seek(0).number(8)

    def _take_option(self, number: int, fields: Fields) -> None:
        """Understand an option of this version."""
        if number == Option.BUFFER:
            self._add_buffer(fields)
        elif number == Option.TEXT:
            self._latency = True
        elif number in {Option.HEADERS, Option.EVENTS, Option.SYMBOLS, Option.COMMANDS}:
            self._parts[number] = fields.number(8)
        elif number != Option.DONE:
            self._option(number, fields)

    def _add_buffer(self, fields: Fields) -> None:
        offset, name, clock = fields.number(8), fields.string(), fields.string()
        page_size, count = fields.number(4), fields.number(4)
        check_page(page_size)
        cpus: list[CpuData] = []
        packed = self._head(offset, Option.BUFFER)[1]
        self._add_instance(
            Instance(readable(name), readable(clock) or None, page_size, packed, cpus), count
        )
        self._buffers.add(offset)
        cpus.extend(CpuData(_cpu(fields), fields.number(8), fields.number(8)) for _ in range(count))

    def _find_data(self, at: int) -> None:
        """Find events that no option points to, from the section at ``at`` on."""
        end, page_size = self._fields.source.size, self._headers.page_size
        try:
            while at < end:
                size, packed = self._head(at, None)
                inside = self._fields.at
                if self._found == Option.BUFFER and at not in self._buffers:
                    find = self._find_packed if packed else self._find_plain
                    begin = -(-inside // page_size) * page_size
                    cpus = list(find(begin, min(inside + size, end), page_size))
                    instance = Instance("", self._headers.clock, page_size, packed, cpus)
                    self._add_instance(instance, len(cpus))
                at = inside + size
        except CutError:
            return  # what led here is a problem already

    def _find_packed(self, at: int, end: int, page_size: int) -> Iterator[CpuData]:
        """Yield the CPUs' pages: each begins with how many pieces it has."""
        fields = self._fields
        while at + 4 < end:
            begin = at
            count = fields.seek(at).number(4)
            at += 4
            for _ in range(count):
                if at + 4 > end:
                    break
                at += 8 + max(fields.seek(at).number(4), _LEAST_PACKED)
            if count:
                yield CpuData(None, begin, min(at, end) - begin)
            at = -(-at // page_size) * page_size

    def _find_plain(self, at: int, end: int, page_size: int) -> Iterator[CpuData]:
        """Yield the CPUs' pages: where their times go back, another CPU's begin."""
        begin, before = at, 0
        for page in range(at, end - 8, page_size):
            stamp = self._fields.seek(page).number(8)
            if stamp < before:
                yield CpuData(None, begin, page - begin)
                begin = page
            before = stamp
        if end > begin:
            yield CpuData(None, begin, end - begin)

    def _part(self, number: int) -> Fields:
        if number not in self._parts:
            if self._headers.problems:
                raise LogError(self._headers.problems[0])
            raise CutError("it does not say what its events look like")
        return self._section(self._parts[number], number)

    def _head(self, at: int, number: int | None) -> tuple[int, bool]:
        """Return the size of the section at ``at``, and whether it is packed; go behind its head.

        Raises:
            CutError: it is not ``number``, or not there.
        """
        fields = self._fields.seek(at)
        self._found, flags = fields.number(2), fields.number(2)
        fields.skip(4)  # its name
        if number not in {None, self._found}:
            raise CutError(f"expected section {number} at {at:,}")
        return fields.number(8), bool(flags & _PACKED)

    def _section(self, at: int, number: int) -> Fields:
        """Return what the section at ``at`` holds. Raises ``CutError``."""
        size, packed = self._head(at, number)
        unpack = self._headers.unpack
        if packed and unpack is not None:
            return Fields(Memory(block(self._fields, unpack)), self._fields.order)
        return self._fields.part(size)


def _cpu(fields: Fields) -> int:
    number = fields.number(4)
    if number >= 1 << 16:
        raise CutError(f"it says that it has the events of CPU {number:,}")
    return number
