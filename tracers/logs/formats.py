# SPDX-License-Identifier: GPL-2.0-only
"""The log formats we read: how to recognise each by its beginning, and how to open it.

A format is added by one entry in ``FORMATS``; they are tried in this order, so the most distinctive
ones come first. Promises: an opened log yields batches, and has its notes afterwards.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from tracers.batch import Batch
from tracers.logs.dmesg.reader import DmesgLog
from tracers.logs.dmesg.registers import Arguments
from tracers.logs.dmesg.scan import looks_like_dmesg
from tracers.logs.dmesg.told import Told, told_by
from tracers.logs.input_files import Input
from tracers.logs.kprobe_text.bpftrace import BpftraceLog, looks_like_bpftrace
from tracers.logs.kprobe_text.definitions import ProbeLocation
from tracers.logs.kprobe_text.ftrace import FtraceLog, looks_like_ftrace
from tracers.logs.kprobe_text.function_names import FunctionNames
from tracers.logs.kprobe_text.perf import PerfLog, looks_like_perf
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.kprobe_text.trace_cmd_report import TraceCmdLog, looks_like_trace_cmd
from tracers.logs.trace_dat.reader import TraceDat, looks_like_trace_dat
from tracers.window import Window

if TYPE_CHECKING:
    from tracers.constants.image.kernel_image import KernelImage


class Log(Protocol):
    """One pass over a log; its properties are complete once ``batches`` is exhausted."""

    @property
    def lines(self) -> int:
        """Lines read so far."""

    @property
    def release(self) -> str | None:
        """The kernel's, once the first batch is there; None if the log does not say."""

    @property
    def arch(self) -> str | None:
        """The kernel's, as ``release``, if it is another than arm64 and the log says so."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the recording should know, a sentence each."""

    def batches(self) -> Iterator[Batch]:
        """Yield the events, with what is missing around them. Raises ``LogError``, ``OSError``."""


@dataclass(frozen=True, slots=True)
class LogContext:
    """What is known besides the log: the machine's window, release, kernel image and probes."""

    window: Window | None = None
    release: str | None = None
    image: "KernelImage | None" = None  # open while the log is being opened
    probes: Mapping[str, ProbeLocation] = field(default_factory=dict)  # of kprobe_events, by event


@dataclass(frozen=True, slots=True)
class Opened:
    """A log, and its trace clock, where that is known before the first event."""

    log: Log
    clock: str | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A log format."""

    name: str  # for --format and a recording's header
    title: str  # for people
    looks_like: Callable[[bytes], bool]
    open: Callable[[Input, LogContext], Opened]
    #: What the log tells of its machine before it is read.
    told: Callable[[Input], Told] = field(default=lambda _: Told())


def _trace_dat(source: Input, context: LogContext) -> Opened:
    log = TraceDat(source.file(), locations=context.probes)
    return Opened(log, log.clock)


def _dmesg(source: Input, context: LogContext) -> Opened:
    arguments = Arguments.from_image(context.image) if context.image else None
    return Opened(
        DmesgLog(source, arguments=arguments, window=context.window, release=context.release)
    )


FORMATS: Final = (
    Format("trace.dat", "a trace-cmd file", looks_like_trace_dat, _trace_dat),
    Format(
        "bpftrace",
        "the output of vmemscope.bt",
        looks_like_bpftrace,
        lambda source, _: Opened(BpftraceLog(source), "boot"),
    ),
    Format(
        "trace-cmd",
        "trace-cmd report's text",
        looks_like_trace_cmd,
        lambda source, context: Opened(TraceCmdLog(source, names=FunctionNames(context.probes))),
    ),
    Format(
        "perf",
        "perf script's text",
        looks_like_perf,
        lambda source, context: Opened(PerfLog(source, names=FunctionNames(context.probes))),
    ),
    Format(
        "ftrace",
        "the kernel's ftrace text",
        looks_like_ftrace,
        lambda source, _: Opened(FtraceLog(source)),
    ),
    Format(
        "dmesg", "a kernel log", looks_like_dmesg, _dmesg, lambda source: told_by(source.ahead())
    ),
)


def recognise(head: bytes) -> Format | None:
    """Return the format of a log that begins with ``head``, None if we do not read it."""
    return next((known for known in FORMATS if known.looks_like(head)), None)


def named(name: str) -> Format:
    """Return the format of that name.

    Raises:
        LogError: there is none.
    """
    for known in FORMATS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FORMATS)
    raise LogError(f"there is no format {name}; there are {names}")
