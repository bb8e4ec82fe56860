# SPDX-License-Identifier: GPL-2.0-only
"""Reads a trace-cmd file (trace.dat) into events.

Promises: one pass, in flat memory, with no program's help; instances are read together, in the
order of their times; functions are found by the symbols in the file. What a kernel counted as
dropped and what stands in the pages as lost are the same events, and are counted once. A file that
is cut short or damaged gives what could be read, and a loss; one of which nothing could be, an
error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from tracers.batch import Batch, Losses
from tracers.logs.byte_text import U64
from tracers.logs.kprobe_text.definitions import ProbeLocation
from tracers.logs.kprobe_text.function_names import FunctionNames
from tracers.logs.kprobe_text.rows import NO_ROWS
from tracers.logs.kprobe_text.text_log import MOST_LOST, LogError
from tracers.logs.trace_dat.fields import Bytes, CutError, Fields, File
from tracers.logs.trace_dat.headers import MAGIC, CpuData, Headers, check_page
from tracers.logs.trace_dat.pages import read_pages
from tracers.logs.trace_dat.records import Records
from tracers.logs.trace_dat.streams import Budget, CpuPages, CpuRows, merged
from tracers.logs.trace_dat.version6 import Version6
from tracers.logs.trace_dat.version7 import Version7

#: kernel/trace/trace.c, trace_clocks: those that give nanoseconds ("uptime" in steps of a tick).
_CLOCKS: Final = ("local", "global", "uptime", "perf", "mono", "mono_raw", "boot", "tai")
_LOW: Final = np.uint64((1 << 32) - 1)
_DAMAGED: Final = "the trace-cmd file is cut short or damaged"
_MOST_PROBLEMS: Final = 8  # that are named
_SHIFTED: Final = (
    "the file is a guest's: its times are left as the guest had them, not moved to the host's"
)
_SEVERAL: Final = "instances of the file have different clocks ({}): their order is not known"


def looks_like_trace_dat(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is one that trace-cmd wrote."""
    return head.startswith(MAGIC)


def read_headers(source: Bytes) -> Headers:
    """Read all of the file but its events.

    Raises:
        LogError: it is no such file, or so little of it is there that no event can be read.
        OSError: it cannot be read.
    """
    fields = Fields(source)
    fields.expect(MAGIC)
    version = fields.string()
    if version not in {b"6", b"7"}:
        raise LogError(
            f"a trace-cmd file of version {version.decode(errors='backslashreplace')!r}: 6 and 7 "
            "are read; convert it with: trace-cmd convert --file-version 7"
        )
    big, long_size = fields.take(2)
    if big not in {0, 1} or long_size not in {4, 8}:
        raise CutError("it begins with what no machine has")
    fields.order = ">" if big else "<"
    headers = Headers(fields.order, fields.number(4))
    check_page(headers.page_size)
    if version == b"6":
        Version6(fields, headers).read()
    else:
        Version7(fields, headers).read()
    _separate(headers)
    return headers


def _separate(headers: Headers) -> None:
    """See to it that nothing is told twice, where CPUs' events are said to be in one place."""
    places = [
        (data.offset, instance, index)
        for instance in headers.instances
        for index, data in enumerate(instance.cpus)
        if data.size
    ]
    places.sort(key=lambda place: place[0])
    for (_, instance, index), (behind, other, number) in pairwise(places):
        data = instance.cpus[index]
        if data.offset == behind:
            instance.cpus[index] = replace(data, size=0)
            other.cpus[number] = replace(other.cpus[number], cpu=None)
        elif data.offset + data.size > behind and not instance.packed:
            instance.cpus[index] = replace(data, size=behind - data.offset)
        else:
            continue
        headers.note(CutError(f"events at {behind:,} would be there twice"))


class TraceDat:
    """One pass over an open trace-cmd file.

    ``clock``: name of the trace clock, None if the file does not say; ``release``: of the kernel;
    ``dropped``: events that its ring buffers lost, as the kernel counted them. ``probes``,
    ``lines`` (events), ``notes`` as in ``TextLog``, complete once ``batches`` is exhausted.

    Raises:
        LogError: it is no such file, or cut short before its events, or its times are counts.
        OSError: it cannot be read.
    """

    def __init__(self, file: int, *, locations: Mapping[str, ProbeLocation] | None = None) -> None:
        """Take the descriptor ``file`` of a regular file; it stays the caller's to close."""
        self._source = File(file)
        self._headers = headers = read_headers(self._source)
        self.release = headers.release
        self.arch: str | None = None  # it does not say
        self.dropped = headers.dropped
        self._several = ""
        self.clock = self._clock()
        names = FunctionNames(locations, headers.symbols)
        self._records = Records(headers.formats, names, headers.commands, headers.order)
        self._damaged = False

    @property
    def probes(self) -> dict[str, str]:
        """Functions seen so far: "entry", "return" or "entry+return"."""
        return self._records.probes

    @property
    def lines(self) -> int:
        """Events so far."""
        return self._records.events

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the recording should know, a sentence each."""
        headers = self._headers
        problems = list(dict.fromkeys(headers.problems))[:_MOST_PROBLEMS]
        if self._damaged and not problems:
            problems = [f"{_DAMAGED}: what could be read is here"]
        notes = [*self._records.notes(), *problems]
        if headers.shifted:
            notes.append(_SHIFTED)
        if self._several:
            notes.append(_SEVERAL.format(self._several))
        return tuple(notes)

    def batches(self) -> Iterator[Batch]:
        """Yield the events in the order of their times, with what is missing around them.

        Raises:
            LogError: the file is made so that it has no end, or no order.
            OSError: it cannot be read.
        """
        headers = self._headers
        if headers.problems:
            yield Batch(NO_ROWS, Losses(torn=len(headers.problems)))
        cpus = sum(len(instance.cpus) for instance in headers.instances)
        budget = Budget(self._source.size, cpus)
        reads = []
        for instance in headers.instances:
            unpack = headers.unpack if instance.packed else None
            for data in sorted(instance.cpus, key=lambda data: (data.cpu or 0, data.offset)):
                fields = Fields(self._source, headers.order, data.offset)
                pages = CpuPages(fields, data, instance.page_size, unpack, budget)
                reads.append(self._rows(data, pages))
        reported = 0
        for batch in merged(reads):
            reported += batch.losses.lost
            losses = batch.losses
            if self.dropped:
                # The kernel's count includes the losses that marks without a number stand for.
                losses = replace(losses, lost_unknown=0)
            if batch.events.num_rows or losses:
                yield Batch(batch.events, losses)
        if self.dropped > reported:
            yield Batch(NO_ROWS, Losses(lost=min(self.dropped - reported, MOST_LOST)))

    def _clock(self) -> str | None:
        """Return the clock of the events. Raises ``LogError`` if it counts."""
        headers = self._headers
        used = [each for each in headers.instances if any(data.size for data in each.cpus)]
        # trace-cmd writes "local" for an instance that has the main clock, whatever that is.
        clocks = {
            (each.clock if each.clock not in {None, "local"} else headers.clock or each.clock) or ""
            for each in used or headers.instances
        }
        for clock in sorted(clocks):
            if clock and clock not in _CLOCKS and not headers.tsc:
                raise LogError(
                    f"the file's times are counts, not seconds (clock {clock}); record with: "
                    "trace-cmd record -C mono"
                )
        if len(clocks) > 1:
            self._several = ", ".join(sorted(clocks))
            return None
        return clocks.pop() or None

    def _rows(self, data: CpuData, pages: CpuPages) -> CpuRows:
        """Yield the rows of a CPU, some pages at a time."""
        headers = self._headers
        damaged = 0
        while (read := pages.read()).count or pages.damaged > damaged:
            found = read_pages(read, headers.page, headers.order)
            ts = self._nanoseconds(found.ts)
            rows, which, rejected = self._records.read(
                read.buffer, found.at, found.length, ts, data.cpu
            )
            torn = max(found.losses.torn, pages.damaged - damaged)  # a page cut is counted once
            damaged = pages.damaged
            self._damaged |= torn > 0
            losses = replace(found.losses, torn=torn, rejected=rejected)
            yield rows, found.latest[which], found.last, losses

    def _nanoseconds(self, ts: U64) -> U64:
        """Return times as trace-cmd shows them."""
        headers = self._headers
        if headers.tsc and headers.tsc[0]:
            factor, shift = (np.uint64(each) for each in headers.tsc)
            low, high = ts & _LOW, ts >> np.uint64(32)
            ts = ((low * factor) >> shift) + ((high * factor) << (np.uint64(32) - shift))
        return ts + np.uint64(headers.offset_ns % (1 << 64)) if headers.offset_ns else ts
