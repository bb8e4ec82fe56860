# SPDX-License-Identifier: GPL-2.0-only
"""Reads kernel logs (dmesg, /dev/kmsg, syslog, journal, serial consoles, mails) into events.

Promises: one row per WARN splat, and one per call of vmemmap_populate or vmemmap_free in which it
fired, with start and end where they are proven (``tracers.logs.dmesg.registers``), else null;
memory use is constant; the result does not depend on how the stream is split into reads. A splat
cut short counts as torn, a damaged one as rejected, and every gap that the log shows as a loss
without a number: counts from a log are lower bounds.

Lines outside of splats are skipped in whole columns; only splats are read line by line. The formats
of a line: ``lines``; how lines are put together to splats: ``reports``.
"""

import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterator
from io import BytesIO
from typing import Final

import numpy as np

from tracers.batch import Batch, Losses
from tracers.logs import in_order
from tracers.logs.dmesg import oopses
from tracers.logs.dmesg.architectures import ARM64, architecture_of
from tracers.logs.dmesg.argument_proofs import ArgumentProofs
from tracers.logs.dmesg.bare_chains import BareChains
from tracers.logs.dmesg.lines import Clock
from tracers.logs.dmesg.notes import LogStatistics
from tracers.logs.dmesg.registers import Arguments
from tracers.logs.dmesg.repeated import Repeated
from tracers.logs.dmesg.reports import BANNER, ENDS, Report, ReportAssembler, ReportKind
from tracers.logs.dmesg.rows import batch_of
from tracers.logs.dmesg.scan import Form, Scanned, looks_like_dmesg, newlines_alone, scan
from tracers.logs.dmesg.shapes import Alike, Shapes
from tracers.logs.dmesg.splats import parse
from tracers.logs.kprobe_text.rows import NO_ROWS
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.line_blocks import BLOCK, Blocks, Readable
from tracers.window import Window

_JUMP: Final = 1_000_000  # microseconds back: more than CPUs printing at the same time explain
_FEW: Final = 4  # splats in a row: fewer are read sooner line by line
_DROPPED: Final = re.compile(
    rb"(\d{1,10}) printk messages dropped|issed (\d{1,10}) kernel messages"
)


class DmesgLog:
    """One pass over a log. The properties are complete once ``batches`` is exhausted.

    A log that is still being written has no ``stream``: it is fed with ``feed``, and ends with
    ``finish``.

    ``arguments``: of the log's kernel's vmlinux. ``window``: of its machine, with the sizes the
    arithmetic needs. ``release``: the machine's; splats of another kernel get no arguments.
    ``lines``: of the log; ``torn``, ``rejected``, ``lost_unknown``: as in ``Batch``.
    """

    def __init__(
        self,
        stream: Readable | None = None,
        *,
        arguments: Arguments | None = None,
        window: Window | None = None,
        release: str | None = None,
        block: int = BLOCK,
    ) -> None:
        self._blocks = Blocks(stream or BytesIO(), block, _cut)
        self._recognised = False
        self._assembler = ReportAssembler()
        self._statistics = LogStatistics()
        self._proofs = ArgumentProofs(arguments, window, release)
        self._chains = BareChains()
        self._repeated = Repeated()
        self._backwards = 0  # times that time ran backwards, and not yet why
        self._headless = 0  # reports since then whose beginning is not in the log
        self._now = 0  # time of the last splat, nanoseconds
        self._reported_losses = Losses()  # of the batches so far
        self._form = Form()
        self._shapes = Shapes()
        self._micros: int | None = None  # the last of the kernel's times
        self._number: int | None = None  # the last of /dev/kmsg's sequence numbers
        self.lines = self.torn = self.rejected = self.lost_unknown = 0

    @property
    def release(self) -> str | None:
        """The kernel's release, from its banner or splats; the first if there are several."""
        return self._statistics.release

    @property
    def clock(self) -> str:
        """The clock of the rows' times."""
        return self._statistics.clock.value

    @property
    def notes(self) -> tuple[str, ...]:
        """What else the log says, a sentence each; parts come from the log: escape them."""
        return (
            *self._statistics.notes(self.lines),
            *self._chains.notes(),
            *self._proofs.notes(),
        )

    @property
    def arch(self) -> str | None:
        """The architecture of its reports, where it is another than arm64; else None."""
        return self._statistics.arch

    def batches(self) -> Iterator[Batch]:
        """Yield the events block by block, with what is missing around them.

        Raises:
            LogError: it is not a kernel log.
            OSError: the stream cannot be read.
        """
        for (data, overlong), look in in_order.in_order(self._blocks, self._scanned, self._worth):
            if overlong:
                self._overlong()
            if data and not self._form.known:
                self._form = self._form.seen(newlines_alone(data))
            if data:
                self._read(look())
            yield from self._settled(final=False)
        self._last(self._blocks.rest, overlong=self._blocks.overlong)
        yield from self._settled(final=True)
        if self.lines and not self._recognised:
            raise LogError(
                "this is no kernel log; expected dmesg, journalctl -k, syslog, /dev/kmsg or a "
                "serial console's text"
            )

    def _worth(self, item: tuple[bytes, bool]) -> bool:
        """Whether a block is looked through ahead: once it is known where its times are."""
        return len(item[0]) >= in_order.WORTH and self._form.known

    def _scanned(self, item: tuple[bytes, bool]) -> Scanned:
        """Look through a block: what several threads do."""
        return scan(newlines_alone(item[0]), self._form, self._shapes)

    def feed(self, data: bytes) -> Batch | None:
        """Take whole lines of a log that is still being written; return what is final by now."""
        self._take(data)
        return next(self._settled(final=False), None)

    def settle(self) -> Batch | None:
        """Return what still waits for a later report's proof, without it."""
        return next(self._settled(final=True), None)

    def finish(self) -> Batch | None:
        """End a log that was fed; return the rest."""
        self._last(b"", overlong=False)
        return self.settle()

    def _last(self, rest: bytes, *, overlong: bool) -> None:
        """Read what follows the last newline: a number cut short would be a wrong number."""
        cut = 0 if overlong else rest.rfind(b"\r") + 1
        self._take(rest[:cut])
        rest = rest[cut:]
        if overlong:
            self._overlong()
        elif rest:
            self.lines += 1
            self._recognised = self._recognised or looks_like_dmesg(rest)
            if ENDS.search(rest):
                self._assembler.line(rest)
            elif b"WARNING:" in rest:
                self.torn += 1
        self._chains.look(b"", end=True)
        self._assembler.close()

    def _overlong(self) -> None:
        """Count a line that is too long for a kernel; it is not read."""
        self.lines += 1
        self.rejected += 1
        self._assembler.gap()

    def _take(self, data: bytes) -> None:
        """Read whole lines."""
        data = newlines_alone(data)
        if data:
            self._form = self._form.seen(data)
            self._read(scan(data, self._form, self._shapes))

    def _read(self, block: Scanned) -> None:
        """Read the lines of a block in order: most by the block, few one by one."""
        data, starts, ends = block.data, block.starts, block.ends
        if not self._recognised:
            self._recognised = block.recognised()
        long = set(block.long.tolist())
        self.lines += len(starts) - len(long)
        gaps = self._gaps(block)
        alike, single = block.apart([*gaps])
        stops = sorted({*single.tolist(), *gaps, *long})
        before = np.searchsorted(alike.first, stops).tolist() if alike else [0] * len(stops)
        at = done = 0
        for row, upto in zip(stops, before, strict=True):
            if alike and upto > done:
                at = self._alike(block, alike.taken(slice(done, upto)), at)
                done = upto
            start, end = int(starts[row]), int(ends[row])
            self._between(data, at, start)
            if row in gaps:
                self._gap(gaps[row])
            if row in long:
                self._overlong()
            else:
                self._marker(data[start:end])
            at = end + 1
        if alike and len(alike) > done:
            at = self._alike(block, alike.taken(slice(done, None)), at)
        self._between(data, at, len(data))

    def _alike(self, block: Scanned, splats: Alike, at: int) -> int:
        """Take splats between which there is nothing to be read; return where they end.

        ``at``: where the line before them ends.
        """
        data, taken = block.data, 0
        begins: list[int] = splats.begin.tolist()
        ends: list[int] = splats.end.tolist()
        while taken < len(splats):
            self._between(data, at, begins[taken])
            if not self._assembler.busy and len(splats) - taken >= _FEW:
                break
            # It may be one of a report's that is under way; few are not worth it: as any other.
            first, last = int(splats.first[taken]), int(splats.last[taken])
            for row in (first, first + 1):
                self._marker(data[block.starts[row] : block.ends[row]])
            self._between(data, int(block.ends[first + 1]) + 1, int(block.starts[last]))
            self._marker(data[block.starts[last] : block.ends[last]])
            at = ends[taken] + 1
            taken += 1
        rest = splats.taken(slice(taken, None))
        if len(rest):
            for row in (np.flatnonzero(rest.begin[1:] - rest.end[:-1] > 1) + 1 + taken).tolist():
                self._between(data, ends[row - 1] + 1, begins[row])
            self._reports()
            self._splats(rest)
        return ends[-1] + 1

    def _between(self, data: bytes, start: int, end: int) -> None:
        """Read lines between two that may begin or end a report, or those at the end of a block."""
        at_end = end == len(data)
        if self._assembler.busy:
            self._assembler.body(data[start:end])
        elif at_end or self._chains.may_be_in(data, start, end):
            self._chains.look(data[start:end], end=not at_end)

    def _marker(self, raw: bytes) -> None:
        """Read one line that may begin or end a report, or show a boot or a gap."""
        line = self._assembler.line(raw)
        if banner := BANNER.match(line.text):
            self._assembler.close()
            self._reports()
            self._proofs.boot()
            self._statistics.boot(banner["release"].decode("ascii"))
        elif b" messages" in raw and (dropped := _DROPPED.search(raw)):
            self._assembler.gap()  # on some consoles that stands before another line
            self.lost_unknown += 1
            self._statistics.dropped += int(dropped[1] or dropped[2])

    def _gap(self, missing: int | None) -> None:
        self._assembler.gap()
        if missing is None:
            self._reports()
            self._backwards += 1
        else:
            self.lost_unknown += 1
            self._statistics.missing += missing

    def _settle_backwards(self, *, repeated: bool) -> None:
        """Say why time ran backwards: the log starts over, if what follows is in it already."""
        if not repeated:
            self.lost_unknown += self._backwards
            self._statistics.back += self._backwards
            self._orphaned(self._headless)
        self._backwards = self._headless = 0

    def _orphaned(self, number: int) -> None:
        """Count reports whose beginning is not in the log."""
        self.torn += number
        self.lost_unknown += number
        self._statistics.orphans += number

    def _gaps(self, block: Scanned) -> dict[int, int | None]:
        """Return the rows before which lines are missing: how many, None if time runs backwards."""
        numbers, rows = block.numbers, block.timed
        if not len(numbers):
            return {}
        first, last = int(numbers[0]), int(numbers[-1])
        if self._form.numbered:
            steps = np.diff(numbers, prepend=-1 if self._number is None else self._number)
            self._number = last
            odd = np.flatnonzero(steps != 1).tolist()
            # From 0 again is another boot's.
            return {
                int(rows[i]): int(steps[i]) - 1 if steps[i] > 0 else None for i in odd if numbers[i]
            }
        self._statistics.begins(first)
        steps = np.diff(numbers, prepend=first if self._micros is None else self._micros)
        self._micros = last
        # A boot begins at 0: that is no gap.
        return dict.fromkeys(rows[(steps < -_JUMP) & (numbers > 0)].tolist())

    def _settled(self, *, final: bool) -> Iterator[Batch]:
        """Read the reports that are finished, and yield the rows that are final."""
        self._reports()
        if final:
            self._settle_backwards(repeated=False)
            self._statistics.repeated = self._repeated.count
        rows = list(self._proofs.rows(final=final))
        self._statistics.torn, self._statistics.rejected = self.torn, self.rejected
        losses = Losses(0, self.lost_unknown, self.torn, self.rejected)
        new, self._reported_losses = losses.beyond(self._reported_losses), losses
        if rows or new:
            yield Batch(batch_of(rows) if rows else NO_ROWS, new)

    def _reports(self) -> None:
        """Read the reports that are finished."""
        assembler, statistics = self._assembler, self._statistics
        if self._backwards:  # dmesg's ring begins anywhere in what a console has whole
            self._headless += assembler.orphans
        else:
            self._orphaned(assembler.orphans)
        assembler.orphans = 0
        for report in assembler.done:
            ts_ns = self._now if report.ts_ns is None else report.ts_ns
            read = self._oops if report.kind is ReportKind.OOPS else self._splat
            if read(report, ts_ns):
                self._now = ts_ns
        assembler.done.clear()
        statistics.panics = assembler.panics

    def _splat(self, report: Report, ts_ns: int) -> bool:
        """Take a splat; return False if it cannot be read, or was there already."""
        splat = parse(report.text)
        if splat is None:
            self.rejected += 1
            return False
        name = (report.ts_ns, splat.cpu, splat.tid, splat.offset, splat.where, splat.line)
        held = splat.registers and (splat.sp, splat.registers[:3], splat.registers[19])
        if self._is_repeated(report, (name,), held):
            return False
        if not self._proofs.add(splat, ts_ns, doubtful=report.mixed):
            self.rejected += 1
            return False
        self.torn += not report.whole
        self._statistics.splat(splat, report)
        return True

    def _splats(self, splats: Alike) -> None:
        """Take splats that were read at once, as ``_splat`` takes one."""
        shapes, number = splats.shapes, splats.shape.tolist()
        fields = [
            (each.cpu, each.tid, each.offset, each.where, each.line)
            for each in (shape.splat for shape in shapes)
        ]
        columns = (splats.ts_ns, splats.sp, *(splats.x[:, n] for n in (0, 1, 2, 19)))
        new = np.ones(len(splats), np.bool_)
        is_one = self._repeated.is_one
        for at, (which, ts_ns, sp, *x) in enumerate(
            zip(number, *(column.tolist() for column in columns), strict=True)
        ):
            if ts_ns and is_one(((ts_ns, *fields[which]),), (sp, tuple(x[:3]), x[3])):
                new[at] = False
            if not at:
                self._settle_backwards(repeated=not new[0])
        if not new.all():
            splats = splats.taken(np.flatnonzero(new))
        if len(splats):
            self._proofs.add_alike(splats)
            self._now = int(splats.ts_ns[-1])
            for which, times in Counter(splats.shape.tolist()).items():
                shape = shapes[which]
                self._statistics.splat(shape.splat, shape.report, times)
        last = shapes[number[-1]]
        self._assembler.printer = last.printer

    def _oops(self, report: Report, ts_ns: int) -> bool:
        """Take an Oops; return whether it is a row."""
        arch = architecture_of(report.text)
        oops = oopses.parse(report.text)
        # Its first line may be lost, in one of two prints.
        moments = {report.ts_ns, report.error_ns} - {None}
        if self._is_repeated(report, moments):
            return False
        taken = arch in (None, ARM64) and self._proofs.fault(oops, ts_ns, doubtful=report.mixed)
        self._statistics.oops(oops, report, arch=arch, taken=taken)
        return taken

    def _is_repeated(
        self, report: Report, names: Collection[Hashable], registers: Hashable | None = None
    ) -> bool:
        """Return whether a report is there for the second time."""
        # Before the clock runs, all times are 0.
        known = report.clock is Clock.BOOT and bool(report.ts_ns)
        repeated = known and self._repeated.is_one(names, registers)
        self._settle_backwards(repeated=repeated)
        return repeated


def _cut(data: bytes, /, *, first: bool = False) -> int:
    """Return where the last whole line of ``data`` ends, or the first; 0 if there is none.

    A carriage return ends a line, too, unless a newline may follow it.
    """
    find = data.find if first else data.rfind
    return find(b"\n") + 1 or find(b"\r", 0, -1) + 1
