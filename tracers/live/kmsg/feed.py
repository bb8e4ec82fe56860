# SPDX-License-Identifier: GPL-2.0-only
"""One live capture by engine kmsg: the kernel log as it is written, as events.

What happened since the boot comes first, as far as the ring still has it, then what comes.
Promises: nothing is attached; rows are those that the log's importer makes, on CLOCK_MONOTONIC
where its distance from printk's clock can be measured; records overwritten before they were read
are losses, and so are WARNs that the kernel counted and the log does not have. Calls that do not
warn are not seen, and none is timed: ``probes`` says so, and the verdict is never "clean".
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
import pyarrow as pa

from tracers import arrow
from tracers.arrow import column
from tracers.batch import Batch, Losses
from tracers.codes import codes
from tracers.events import Kind
from tracers.kernel_functions import CHECKED, TABLE
from tracers.live import printk_clock
from tracers.live.kmsg import RUNG
from tracers.live.kmsg.ring import Ring
from tracers.live.probes.ladder import Attached
from tracers.logs.dmesg.reader import DmesgLog
from tracers.logs.dmesg.registers import Arguments
from tracers.logs.kprobe_text.rows import NO_ROWS
from tracers.machine import Machine
from tracers.observer import Observer

#: Seconds without a record after which a report no longer waits for a later one's proof.
_QUIET_S: Final = 1.0
_WARN_COUNT: Final = "sys/kernel/warn_count"
_MICROSECOND: Final = 1000  # ns; printk's times are cut to it
#: What the header says of each function.
_WARNED: Final = f"{RUNG}: calls whose WARN fired, from the kernel log; not timed"
_WARNS: Final = f"{RUNG}: from the kernel log, since the boot; not timed"
_NOTHING: Final = "no: engine kmsg attaches nothing, and the kernel log does not have it"


class KernelLogFeed:
    """An open capture. Not thread-safe: one thread starts, polls and stops it."""

    attached: tuple[Attached, ...] = ()  # as ``Live`` has it: there is nothing
    observer = Observer()  # nor does it cost anything

    def __init__(
        self,
        machine: Machine,
        *,
        warn_sites: Sequence[str] = (),
        notes: Sequence[str] = (),
        arguments: Callable[[], Arguments | None] = lambda: None,
        root: Path = Path("/"),
    ) -> None:
        """Open the ring. Raises ``LiveError``.

        ``arguments``: of the running kernel's code, read when the capture starts.
        """
        self._ring = Ring(root)
        self.machine = machine
        self.warn_sites = tuple(warn_sites)
        self.probes = {each.functions[0]: _NOTHING for each in TABLE}
        self.probes |= dict.fromkeys(CHECKED, _WARNED) | {"__warn": _WARNS}
        self.origin = {"live": "kmsg"}
        self._printk = printk_clock.measure()
        self.clock, clock_note = _clock(self._printk)
        self.notes = (*notes, clock_note)
        self._arguments = arguments
        self._root = root
        self._log: DmesgLog | None = None
        self._fed = 0.0  # time.monotonic() of the last record
        self._settled = True
        self._began = 0  # ns of printk's clock
        self._warns = 0  # read
        self._before = 0  # WARNs and Oopses read that are of before the capture began
        self._warned: int | None = None  # counted by the kernel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin. Raises ``ConstantsError`` where the kernel's code is damaged."""
        self._log = DmesgLog(
            arguments=self._arguments(),
            window=self.machine.window,
            release=self.machine.release or os.uname().release,
        )
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._began = now + self._printk.ns if self._printk else 0

    def poll(self, timeout_s: float) -> Batch | None:
        """Wait up to ``timeout_s`` for records; None if no event came of them."""
        if self._log is None:
            return None
        if data := self._ring.read() if self._ring.wait(timeout_s) else b"":
            self._fed, self._settled = time.monotonic(), False
            return self._on_clock(self._log.feed(data))
        if not self._settled and time.monotonic() - self._fed >= _QUIET_S:
            self._settled = True
            return self._on_clock(self._log.settle())
        return None

    def stop(self) -> Iterator[Batch]:
        """Read what is in the ring by now; yield it, and WARNs that it does not have as a loss."""
        if self._log is None:
            return
        # first the count: what it has was printed, or is being printed
        self._warned = _number(self._root / _WARN_COUNT)
        left = 64 << 20  # a ring may be filled faster than it is read
        while left > 0 and (data := self._ring.read()):
            left -= len(data)
            if (batch := self._on_clock(self._log.feed(data))) is not None:
                yield batch
        if (batch := self._on_clock(self._log.finish())) is not None:
            yield batch
        # Where lines are missing, or cut, the WARNs may be in these.
        log = self._log
        if self._unread and not (log.lost_unknown or log.torn or log.rejected):
            yield Batch(NO_ROWS, Losses(lost=self._unread))

    def closing(self) -> tuple[str, ...]:
        """Return sentences on the log, the losses and the witnesses, for the closing record."""
        return tuple(self._sentences())

    def close(self) -> None:
        """Close the ring. Safe to call again."""
        self._ring.close()

    @property
    def _unread(self) -> int:
        return max((self._warned or 0) - self._warns, 0)

    def _sentences(self) -> Iterator[str]:
        if self._log is None:
            return
        if self._before:
            yield (
                f"{self._before} of the WARNs and Oopses were in the kernel log before this"
                " recording began"
            )
        if self._ring.gone:
            yield (
                f"the log's ring begins with record {self._ring.gone}: what the kernel printed"
                " before is overwritten"
            )
        yield from self._log.notes
        if self._warned is not None:
            said = f"WARNs since the boot by witness: kernel log {self._warns}"
            yield f"{said}, warn_count {self._warned}"
        if self._unread:
            yield (
                f"{self._unread} WARNs that the kernel counted are not in its log (or were reports"
                " of a sanitizer: it counts these, too)"
            )
        now = printk_clock.measure() if self._printk else None
        if now and self._printk:
            moved = abs(now.ns - self._printk.ns)
            if moved > now.error + self._printk.error:
                yield f"printk's clock moved by {moved} ns against CLOCK_MONOTONIC meanwhile"

    def _on_clock(self, batch: Batch | None) -> Batch | None:
        """Count what is in a batch; return it on the recording's clock."""
        if batch is None:
            return None
        events = batch.events
        kind = codes(events["kind"], Kind)
        times, _ = arrow.numbers(events["ts_ns"])
        self._warns += int(np.count_nonzero(kind == Kind.WARN))
        reports = np.isin(kind, (Kind.WARN, Kind.FAULT))
        self._before += int(np.count_nonzero(reports & (times < self._began)))
        if self._printk is None:
            return batch
        shifted = np.maximum(times.astype(np.int64) - self._printk.ns, 0).astype(np.uint64)
        arrays = dict(zip(events.schema.names, events.columns, strict=True))
        arrays["ts_ns"] = column(shifted)
        rows = pa.RecordBatch.from_arrays(list(arrays.values()), schema=events.schema)
        return Batch(rows, batch.losses)


def _clock(printk: printk_clock.Offset | None) -> tuple[dict[str, str | int | None], str]:
    """Return the header's clock, and what is to be known of its times."""
    if printk is None:
        return (
            {"name": "local", "offset_ns": None},
            "times are printk's own: how far its clock is from CLOCK_MONOTONIC cannot be measured",
        )
    clock: dict[str, str | int | None] = {
        "name": "mono",
        "offset_ns": time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        "printk_offset_ns": printk.ns,
        "printk_error_ns": printk.error,
    }
    return clock, (
        f"times are printk's, put on CLOCK_MONOTONIC: right to {printk.error + _MICROSECOND} ns"
        " now; earlier ones also err by what time correction (NTP) has moved the one since"
    )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
