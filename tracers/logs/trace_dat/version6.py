# SPDX-License-Identifier: GPL-2.0-only
"""Reads a trace-cmd file of version 6, in which one part follows the other, up to its events.

Promises: those of ``tracers.logs.trace_dat.headers``.
"""

from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.trace_dat.fields import CutError, Fields
from tracers.logs.trace_dat.headers import (
    LATENCY,
    MOST_CPUS,
    MOST_EVENTS,
    MOST_OPTIONS,
    CpuData,
    Instance,
    Option,
    Version,
    read_page,
    readable,
)


class Version6(Version):
    """One part after the other."""

    def read(self) -> None:
        """Read it all. Raises ``LogError``, ``OSError``."""
        fields, headers = self._fields, self._headers
        headers.page = read_page(fields)
        for _ in range(min(fields.number(4), MOST_EVENTS)):  # ftrace's own
            fields.skip(fields.number(8))
        self._add_formats(fields)
        self._add_symbols(fields)
        fields.skip(fields.number(4))  # formats of trace_printk
        self._add_commands(fields)
        self._cpus = cpus = fields.number(4)
        self._others: list[tuple[int, str]] = []
        self._clock_behind = False
        kind = fields.take(10)
        if kind == b"options  \0":
            for _ in range(MOST_OPTIONS):
                number = fields.number(2)
                if number == Option.DONE:
                    break
                self._take_option(number, fields.part(fields.number(4)))
            kind = fields.take(10)
        self._add_data("", kind)
        if self._clock_behind and headers.clock is None:  # as trace-cmd 2 has it
            fields.skip(16 if cpus < self._cpus else 0)
            self._option(Option.CLOCK, fields.part(fields.number(8)))
        for offset, name in self._others[:MOST_CPUS]:
            try:
                self._add_data(name, fields.seek(offset).take(10))
            except CutError as error:
                headers.note(error)

    def _add_data(self, name: str, kind: bytes) -> None:
        fields = self._fields
        if kind == b"latency  \0":
            raise LogError(LATENCY)
        if kind != b"flyrecord\0":
            raise CutError(f"expected events, or a tracer's text, at {fields.at - 10:,}")
        cpus: list[CpuData] = []
        self._add_instance(Instance(name, None, self._headers.page_size, False, cpus), self._cpus)
        cpus.extend(CpuData(cpu, fields.number(8), fields.number(8)) for cpu in range(self._cpus))

    def _take_option(self, number: int, fields: Fields) -> None:
        """Understand an option of this version."""
        if number == Option.CPUS:
            self._cpus = fields.number(4)
        elif number == Option.BUFFER:
            offset, name = fields.number(8), fields.string()
            if name:
                self._others.append((offset, readable(name)))
        else:
            self._clock_behind |= number == Option.CLOCK
            self._option(number, fields)
