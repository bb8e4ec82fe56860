# SPDX-License-Identifier: GPL-2.0-only
"""What stands in a trace-cmd file besides the events, in either version.

Format: trace-cmd's manual pages trace-cmd.dat.v6(5) and trace-cmd.dat.v7(5); where they are silent
(instances and the clock in version 6), what trace-cmd's lib/trace-cmd/trace-input.c expects.

Promises: what can be read without a missing part is read, and ``problems`` names the part.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Final

from tracers.kernel_functions import KINDS
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.trace_dat.event_formats import EventFormat, PageFormat, event_format, page_format
from tracers.logs.trace_dat.fields import CutError, Fields
from tracers.logs.trace_dat.packing import Unpack

MAGIC: Final = b"\x17\x08\x44tracing"
#: More than any machine has, of all instances together.
MOST_CPUS: Final = 1 << 14
MOST_EVENTS: Final = 1 << 17  # twice what their numbers can be
MOST_OPTIONS: Final = 1 << 17  # one for each CPU, and a few
_MOST_PROBES: Final = 1 << 12  # kinds of kprobe events
_MOST_SYMBOLS: Final = 1 << 12  # of our few functions
_MOST_COMMANDS: Final = 4 << 20  # bytes of threads' names
_MOST_PROBLEMS: Final = 1 << 10
_PAGE: Final = PageFormat(8, 16)
_PAGES: Final = tuple(1 << bits for bits in range(10, 21))
LATENCY: Final = (
    "the trace-cmd file holds the text of a latency tracer, no events; record them with: "
    "trace-cmd record -C mono -e kprobes"
)
_SYMBOL: Final = re.compile(
    rb"^([0-9a-f]{8,16}) \w (%s)(?:\.(?:isra|constprop|lto_priv|llvm)\.\d+)*\r?$"
    % b"|".join(name.encode() for name in KINDS),
    re.MULTILINE,
)
_COMMAND: Final = re.compile(rb"^(\d{1,10}) (.*)$", re.MULTILINE)
_RELEASE: Final = re.compile(rb"^Linux \S* ?(\S+) (\S+)$", re.MULTILINE)
_CHOSEN: Final = re.compile(rb"\[([^\]]*)\]")
#: The kernel's own counts of what its ring buffers dropped, by CPU.
_DROPPED: Final = re.compile(
    rb"^(?:overrun|commit overrun|dropped events): (\d{1,18})$", re.MULTILINE
)


class Option(IntEnum):
    """The numbers of options, and of the sections that some of them point to."""

    DONE = 0
    DATE = 1
    CPUSTAT = 2
    BUFFER = 3
    CLOCK = 4
    UNAME = 5
    OFFSET = 7
    CPUS = 8
    TIME_SHIFT = 12
    TSC = 14
    HEADERS = 16
    EVENTS = 18
    SYMBOLS = 19
    COMMANDS = 21
    TEXT = 22


@dataclass(frozen=True, slots=True)
class CpuData:
    """Where the events of a CPU are; ``cpu`` None: the file no longer says which."""

    cpu: int | None
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Instance:
    """A ring buffer: the main one has no name."""

    name: str
    clock: str | None
    page_size: int
    packed: bool
    cpus: list[CpuData]


@dataclass(slots=True)
class Headers:
    """What a file says of its events."""

    order: str  # "<" or ">"
    page_size: int
    page: PageFormat = _PAGE
    unpack: Unpack | None = None  # of version 7, where it is packed
    formats: dict[int, EventFormat] = field(default_factory=dict)  # kprobe events, by their type
    symbols: dict[int, str] = field(default_factory=dict)  # of the functions we watch
    commands: dict[int, bytes] = field(default_factory=dict)  # thread -> its name
    instances: list[Instance] = field(default_factory=list)
    clock: str | None = None
    release: str | None = None
    dropped: int = 0  # events that ring buffers lost, as the kernel counted them
    offset_ns: int = 0  # to be added to all times
    tsc: tuple[int, int] | None = None  # multiplier and shift of times that are counts
    shifted: bool = False  # a guest's times, with what makes the host's of them
    problems: list[str] = field(default_factory=list)  # parts that could not be read

    def note(self, problem: LogError) -> None:
        """Add a problem, unless there are far too many."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(str(problem))


def read_formats(fields: Fields) -> Iterator[bytes]:
    """Read on: the descriptions of all events but ftrace's own. Raises ``CutError``."""
    left = MOST_EVENTS
    for _ in range(fields.number(4)):
        fields.string()
        count = fields.number(4)
        left -= count + 1
        if left < 0:
            raise CutError(f"it says that it has more than {MOST_EVENTS:,} kinds of events")
        for _ in range(count):
            yield fields.take(fields.number(8))


def read_page(fields: Fields) -> PageFormat:
    """Read on: the descriptions of a page and of an event's head. Raises ``CutError``."""
    fields.expect(b"header_page\0")
    page = page_format(fields.take(fields.number(8)))
    fields.expect(b"header_event\0")
    fields.skip(fields.number(8))
    if page is None:
        raise CutError("its ring buffer's pages are described as none that we know")
    return page


def check_page(size: int) -> None:
    """Raise ``CutError`` if no machine has pages of so many bytes."""
    if size not in _PAGES:
        raise CutError(f"it says that pages have {size:,} bytes")


class Version:
    """What both versions have, in different places. ``fields``: behind what both begin with."""

    def __init__(self, fields: Fields, headers: Headers) -> None:
        self._fields = fields
        self._headers = headers
        self._left = MOST_CPUS

    def _add_formats(self, fields: Fields) -> None:
        for text in read_formats(fields):
            layout = event_format(text)
            if layout is not None:
                self._headers.formats[layout.number] = layout
            if len(self._headers.formats) > _MOST_PROBES:
                raise CutError(f"it says that it has more than {_MOST_PROBES:,} kprobe events")

    def _add_symbols(self, fields: Fields) -> None:
        text = fields.take(fields.number(4))
        self._headers.symbols = {
            int(address, 16): name.decode()
            for address, name in map(re.Match.groups, islice(_SYMBOL.finditer(text), _MOST_SYMBOLS))
            if int(address, 16)  # all are 0 where kptr_restrict hid them
        }

    def _add_commands(self, fields: Fields) -> None:
        text = fields.take(fields.number(8))[:_MOST_COMMANDS]
        self._headers.commands = {int(each[1]): each[2] for each in _COMMAND.finditer(text)}

    def _add_instance(self, instance: Instance, cpus: int) -> None:
        """Add a ring buffer that has the events of so many CPUs. Raises ``CutError``."""
        if cpus >= self._left:
            raise CutError(f"it says that it has the events of more than {MOST_CPUS:,} CPUs")
        self._left -= cpus + 1
        self._headers.instances.append(instance)

    def _option(self, number: int, fields: Fields) -> None:
        """Understand an option that both versions have."""
        headers = self._headers
        if number in {Option.DATE, Option.OFFSET}:
            scale = 1000 if number == Option.DATE else 1
            headers.offset_ns += _integer(_text(fields)) * scale
        elif number == Option.CPUSTAT:
            headers.dropped += sum(map(int, _DROPPED.findall(_text(fields))))
        elif number == Option.CLOCK:
            chosen = _CHOSEN.search(_text(fields))
            headers.clock = readable(chosen[1]) if chosen else None
        elif number == Option.UNAME:
            uname = _RELEASE.search(_text(fields))
            headers.release = readable(uname[1]) if uname else None
        elif number == Option.TSC:
            headers.tsc = fields.number(4), fields.number(4)
            if not headers.tsc[0] or headers.tsc[1] > 32:
                raise LogError(
                    "the trace-cmd file says how its counts become times, and cannot be right"
                )
        elif number == Option.TIME_SHIFT:
            headers.shifted = True


def _text(fields: Fields) -> bytes:
    return fields.rest().rstrip(b"\0")


def readable(text: bytes) -> str:
    """Return text of the file, whatever its bytes."""
    return text.decode("utf-8", "backslashreplace")


def _integer(text: bytes) -> int:
    """Return a number as C's strtoll reads it. Raises ``LogError``."""
    try:
        return int(text, 0)
    except ValueError:
        raise LogError("the trace-cmd file's times are moved by what is no number") from None
