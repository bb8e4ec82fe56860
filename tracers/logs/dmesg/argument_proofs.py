# SPDX-License-Identifier: GPL-2.0-only
"""Turns splats into rows, proving arguments; a splat waits if a later one may prove its arguments.

Promises: rows come in the order of the splats, whether their arguments are known or not; no splat
waits for more than ``_WAITING`` later ones; what is proven depends on the splats alone, not on when
rows are taken; one call is one row, also if two WARNs fired in it. How arguments were proven, and
why not, is counted.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow as pa

from tracers.events import Kind
from tracers.families import MASK
from tracers.logs.byte_text import U64, Index, Mask
from tracers.logs.dmesg import riscv
from tracers.logs.dmesg.oopses import Fault, Oops, fault_of
from tracers.logs.dmesg.register_pairs import RangeRules, RegisterPairs
from tracers.logs.dmesg.registers import ARITHMETIC, Arguments, read_range, read_ranges
from tracers.logs.dmesg.rows import Row, alike_rows
from tracers.logs.dmesg.shapes import Alike
from tracers.logs.dmesg.splats import Splat
from tracers.window import Regime, Window

if TYPE_CHECKING:
    from tracers.constants.dataflow.parameters import ParameterLocation

_WAITING: Final = 4096
_AT_ONCE: Final = 512  # of splats that are alike
_THREADS: Final = 4096  # whose last WARN is remembered
_CALLS: Final = {"vmemmap_populate": Kind.POPULATE, "vmemmap_free": Kind.FREE}
#: The file of arm64's vmemmap_populate: other architectures have their own.
_MMU_C: Final = b"arch/arm64/mm/mmu.c"
_U16, _U32 = 0xFFFF, 0xFFFFFFFF

_FOREIGN_CHECK: Final = "the registers of {}'s own check: not judged"
_CUT: Final = "the registers are not all there, or not beyond doubt its own"
_NOTHING: Final = "neither a vmlinux nor a machine's window and sizes were given"
_FOREIGN: Final = "the splat is of another kernel than the one given"
_ELSEWHERE: Final = "the vmlinux given has no such WARN there: it is of another build"
_AGAINST: Final = "the registers contradict what the WARN fires for"
_OPEN: Final = "more than one pair of registers fits: a vmlinux would tell"


@dataclass(slots=True)
class _Waiting:
    """The rows of one splat; ``place`` and ``registers`` are set while it waits for a proof."""

    rows: list[Row]
    number: int  # of the splat
    place: tuple[object, ...] | None = None
    registers: tuple[int, ...] = ()


_Warns = dict[int, "ParameterLocation | None"]  # by the number of a shape


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Start and end of splats that are alike, where they are known; how, and why not, by shape."""

    start: U64
    end: U64
    known: Mask
    ways: dict[int, tuple[str, str]]

    @classmethod
    def unknown(cls, count: int) -> Self:
        nothing = np.zeros(count, np.uint64)
        return cls(nothing, nothing.copy(), np.zeros(count, np.bool_), {})

    def take(self, which: Index, start: U64, end: U64, known: Mask) -> None:
        """Set those of ``which``."""
        self.start[which], self.end[which], self.known[which] = start, end, known


class ArgumentProofs:
    """Proves the arguments of calls; ``rows`` yields the rows that are final."""

    def __init__(
        self, arguments: Arguments | None, window: Window | None, release: str | None
    ) -> None:
        self._known = arguments or Arguments()
        self._release = self._known.release or release
        self._window = window
        self._rules = RangeRules.of(window)
        self._pairs = RegisterPairs(self._rules) if self._rules else None
        self._queue: deque[_Waiting | pa.RecordBatch] = deque()
        self._open: dict[tuple[object, ...], list[_Waiting]] = {}  # those that wait, by place
        self._oldest: deque[_Waiting] = deque()  # those that wait, and some that do no more
        self._count = 0
        self._last: dict[int, tuple[str, int | None, object, int | None]] = {}
        self._boots = 0
        self._proven: Counter[str] = Counter()
        self._unproven: Counter[str] = Counter()
        self._second = 0
        self._faults = [0, 0]  # Oopses whose struct page is not known, is known

    def boot(self) -> None:
        """Note that another kernel booted: nothing carries over."""
        self._boots += 1
        self._last.clear()

    def add(self, splat: Splat, ts_ns: int, *, doubtful: bool) -> bool:
        """Take the next splat; return False if its numbers are impossible.

        ``doubtful``: all but its first line may belong to another splat.
        """
        if splat.cpu > _U16 or splat.tid > _U32 or (splat.line or 0) > _U32:
            return False
        warn = Row(
            ts_ns, Kind.WARN, splat.cpu, splat.tid, splat.comm, site=splat.file, line=splat.line
        )
        known = self._known.warn(splat)
        kind = self._call(splat, splat.sp, known)
        self._count += 1
        self._too_old()
        if kind is None:
            self._queue.append(_Waiting([warn], self._count))
            return True
        call = Row(ts_ns, kind, splat.cpu, splat.tid, splat.comm)
        waiting = _Waiting([call, warn], self._count)
        self._queue.append(waiting)
        if splat.passed is not None and not doubtful:
            call.start, call.end = splat.passed
            self._proven[_FOREIGN_CHECK.format(splat.arch)] += 1
        elif doubtful or splat.registers is None:
            self._unproven[_CUT] += 1
        else:
            self._prove(splat, known, splat.registers, waiting)
        return True

    def add_alike(self, splats: Alike) -> None:
        """Take splats as ``add`` takes each, none of them doubtful."""
        for at in range(0, len(splats), _AT_ONCE):
            part = splats.taken(slice(at, at + _AT_ONCE))
            warns = {
                number: self._known.warn(splats.shapes[number].splat)
                for number in np.unique(part.shape).tolist()
            }
            ranges = self._ranges(part, warns)
            if ranges is None:
                self._one_by_one(part)
            else:
                self._at_once(part, warns, ranges)

    def _one_by_one(self, splats: Alike) -> None:
        for number, ts_ns, sp, x in zip(
            splats.shape.tolist(),
            splats.ts_ns.tolist(),
            splats.sp.tolist(),
            splats.x.tolist(),
            strict=True,
        ):
            splat = splats.shapes[number].splat._replace(sp=sp, registers=tuple(x))
            self.add(splat, ts_ns, doubtful=False)

    def _at_once(self, splats: Alike, warns: "_Warns", ranges: "_Ranges") -> None:
        kinds = np.zeros(len(splats), np.int8)
        for at, (number, sp) in enumerate(
            zip(splats.shape.tolist(), splats.sp.tolist(), strict=True)
        ):
            kinds[at] = self._call(splats.shapes[number].splat, sp, warns[number]) or 0
        self._count += len(splats)
        self._too_old()
        for number, (why, why_not) in ranges.ways.items():
            mine = (splats.shape == number) & (kinds != 0)
            for counter, way, which in (
                (self._proven, why, mine & ranges.known),
                (self._unproven, why_not, mine & ~ranges.known),
            ):
                if total := int(which.sum()):
                    counter[way] += total
        self._queue.append(alike_rows(splats, kinds, (ranges.start, ranges.end, ranges.known)))

    def _ranges(self, splats: Alike, warns: "_Warns") -> "_Ranges | None":
        """Return the ranges by splats' registers; None if one may prove, or wait for, another's."""
        found = _Ranges.unknown(len(splats))
        for number, warn in warns.items():
            splat = splats.shapes[number].splat
            mine = np.flatnonzero(splats.shape == number)
            reason = self._beyond_proof(splat, warn)
            if reason is not None:
                found.ways[number] = ("", reason)
            elif warn is not None:
                found.ways[number] = (" and ".join(warn.known_by), _AGAINST)
                found.take(mine, *read_ranges(warn, splats.x[mine], self._window, self._rules))
            elif splat.function in _CALLS and self._pairs is not None:
                place = self._place(splat)
                bounds = None if place in self._open else self._pairs.ranges(place, splats.x[mine])
                if bounds is None:
                    return None
                found.ways[number] = (ARITHMETIC, _OPEN)
                found.take(mine, *bounds, np.ones(len(mine), np.bool_))
        return found

    def fault(self, oops: Oops, ts_ns: int, *, doubtful: bool) -> bool:
        """Take the next Oops; return False if it is not about struct pages.

        ``doubtful``: lines of it may belong to another report.
        """
        fault = None if doubtful else self._struct_page(oops)
        if not oops.ours and (fault is None or self._inside(fault)):
            return False
        thread, chain = oops.thread, oops.chain
        row = Row(
            ts_ns,
            Kind.FAULT,
            thread.cpu if thread and thread.cpu <= _U16 else None,
            thread.tid if thread and thread.tid <= _U32 else None,
            thread.comm if thread else None,
            site=chain.encode() if chain else None,
        )
        if fault is not None:
            row.start, row.end = fault.page, (fault.page + fault.size) & MASK
            row.pfn, row.nr_pages = fault.pfn, 1
        self._count += 1
        self._queue.append(_Waiting([row], self._count))
        self._faults[fault is not None] += 1
        return True

    def _struct_page(self, oops: Oops) -> Fault | None:
        if self._window is None or self._foreign(oops.thread.release if oops.thread else None):
            return None
        return fault_of(oops, self._window)

    def _foreign(self, release: str | None) -> bool:
        """Whether a report is of another kernel than the machine's."""
        return bool(self._release and release and release != self._release)

    def _inside(self, fault: Fault) -> bool:
        window = self._window
        if window is None:
            return True
        return window.regime(fault.page, fault.page + fault.size) in (Regime.INSIDE, Regime.UNKNOWN)

    def rows(self, *, final: bool) -> Iterator[Row | pa.RecordBatch]:
        """Yield the rows that nothing later can change; ``final``: nothing comes later.

        Those of splats that are alike are batches.
        """
        if final:
            for place in list(self._open):
                self._settle(place, over=True)
        while self._queue:
            first = self._queue[0]
            if isinstance(first, _Waiting) and first.place is not None:
                break
            self._queue.popleft()
            yield from first.rows if isinstance(first, _Waiting) else (first,)

    def notes(self) -> Iterator[str]:
        """Yield how many arguments are known and how, and why the others are not."""
        for way, number in sorted(self._proven.items()):
            yield f"start and end of {number} calls are known by {way}"
        for reason, number in sorted(self._unproven.items()):
            yield f"start and end of {number} calls are not known: {reason}"
        unknown, known = self._faults
        if known:
            yield (
                f"the struct page of {known} {_oopses(known)} is known: the address that failed"
                " lies in it, its pfn is in a register, and vmemmap + pfn * sizeof(struct page) is"
                " its address"
            )
        if unknown:
            yield (
                f"the struct page of {unknown} {_oopses(unknown)} is not known: no two registers"
                " are a struct page of this machine and its pfn"
            )
        if self._second:
            yield f"{self._second} WARNs are the second of one call, and no call of their own"
        if self._pairs is not None and self._pairs.contradicted:
            yield (
                "registers of one place fit no range in common: arithmetic tells nothing from there"
                " on, and what it told of that place before is in doubt"
            )
        yield from self._known.problems

    def _call(self, splat: Splat, sp: int | None, warn: "ParameterLocation | None") -> Kind | None:
        """Return the kind of the splat's call; None if it has none, or a row already."""
        kind = _CALLS.get(splat.function or "")
        if kind is None or splat.function is None:
            return None
        if splat.file is not None and not splat.file.endswith((_MMU_C, riscv.INIT_C)):
            return None
        before = self._last.get(splat.tid)
        if len(self._last) >= _THREADS:
            self._last.clear()
        here = (splat.offset, splat.where)
        self._last[splat.tid] = (splat.function, sp, here, splat.line)
        if warn is not None:
            other = self._known.other(warn)
        else:
            # The check of the range comes first in the source; the loop around calls comes back
            # to it before any other WARN, in the same frame.
            other = (
                before is not None
                and sp is not None
                and before[:2] == (splat.function, sp)
                and before[2] != here
                and (before[3] or 0) < (splat.line or 0)
            )
        self._second += other
        return None if other else kind

    def _prove(
        self,
        splat: Splat,
        warn: "ParameterLocation | None",
        registers: tuple[int, ...],
        waiting: _Waiting,
    ) -> None:
        reason = self._beyond_proof(splat, warn)
        if reason is not None:
            self._unproven[reason] += 1
        elif warn is not None:
            bounds = read_range(warn, registers, self._window, self._rules)
            if bounds:
                waiting.rows[0].start, waiting.rows[0].end = bounds
                self._proven[" and ".join(warn.known_by)] += 1
            else:
                self._unproven[_AGAINST] += 1
        elif self._pairs is not None:
            waiting.registers = registers
            self._wait(self._place(splat), waiting, self._pairs)

    def _beyond_proof(self, splat: Splat, warn: "ParameterLocation | None") -> str | None:
        """Return why no splat like this can be proven; None if it may be."""
        if self._foreign(splat.release):
            return _FOREIGN
        if warn is not None:
            return None
        if any(name == (splat.function or "") for name, _ in self._known.warns):
            return _ELSEWHERE
        return _NOTHING if self._pairs is None else None

    def _place(self, splat: Splat) -> tuple[object, ...]:
        """Return what tells the places of WARNs apart whose registers are compared."""
        function = splat.function or ""
        return (self._boots, splat.release, function, splat.offset, splat.size, splat.where)

    def _wait(self, place: tuple[object, ...], waiting: _Waiting, pairs: RegisterPairs) -> None:
        """Use a splat's registers for its place, and finish the splats this decides."""
        waiting.place = place
        changed = pairs.see(place, waiting.registers)
        same = self._open.setdefault(place, [])
        same.append(waiting)
        self._oldest.append(waiting)
        over = pairs.exhausted(place)
        if changed or len(same) == 1 or over:
            self._settle(place, over=over)
        elif self._prove_by_arithmetic(waiting):  # it cannot decide any of the others
            same.pop()

    def _too_old(self) -> None:
        """Give up on splats that have waited too long: the rows behind them wait as well."""
        while self._oldest:
            oldest = self._oldest[0]
            if oldest.place is not None:
                if self._count - oldest.number <= _WAITING:
                    break
                self._open[oldest.place].remove(oldest)
                self._give_up(oldest)
            self._oldest.popleft()

    def _settle(self, place: tuple[object, ...], *, over: bool) -> None:
        """Set the ranges that are decided; ``over``: give up on the other splats."""
        left = [
            waiting for waiting in self._open.pop(place) if not self._prove_by_arithmetic(waiting)
        ]
        if over:
            for waiting in left:
                self._give_up(waiting)
        elif left:
            self._open[place] = left

    def _prove_by_arithmetic(self, waiting: _Waiting) -> bool:
        if waiting.place is None or self._pairs is None:
            return False
        bounds = self._pairs.range(waiting.place, waiting.registers)
        if bounds is None:
            return False
        waiting.rows[0].start, waiting.rows[0].end = bounds
        waiting.place = None
        self._proven[ARITHMETIC] += 1
        return True

    def _give_up(self, waiting: _Waiting) -> None:
        waiting.place = None
        self._unproven[_OPEN] += 1


def _oopses(number: int) -> str:
    return "Oops" if number == 1 else "Oopses"
