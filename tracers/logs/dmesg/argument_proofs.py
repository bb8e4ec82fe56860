# SPDX-License-Identifier: GPL-2.0-only
"""Turns splats into rows, and waits where a later splat may settle an earlier one's arguments.

Promises: rows come in the order of the splats, whether their arguments are known or not; none
waits for more than ``_WAITING`` later splats; what is settled depends on the splats alone, not on
when rows are taken; one call is one row, also where two WARNs fired in it. Why arguments are
known, and why not, is counted.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tracers.events import Kind
from tracers.logs.dmesg.register_pairs import RegisterPairs, Shape
from tracers.logs.dmesg.registers import ARITHMETIC, Arguments, read_range
from tracers.logs.dmesg.rows import Row
from tracers.logs.dmesg.splats import Splat
from tracers.window import Window

_WAITING: Final = 4096
_THREADS: Final = 4096  # whose last WARN is remembered
_CALLS: Final = {"vmemmap_populate": Kind.POPULATE, "vmemmap_free": Kind.FREE}
#: Whose vmemmap_populate it is: other architectures have their own.
_MMU_C: Final = b"arch/arm64/mm/mmu.c"
_U16, _U32 = 0xFFFF, 0xFFFFFFFF

_CUT: Final = "the registers are not all there, or not beyond doubt its own"
_NOTHING: Final = "neither a vmlinux nor a machine's window and sizes were given"
_FOREIGN: Final = "the splat is of another kernel than the one given"
_ELSEWHERE: Final = "the vmlinux given has no such WARN there: it is of another build"
_AGAINST: Final = "the registers contradict what the WARN fires for"
_OPEN: Final = "more than one pair of registers fits: a vmlinux would tell"


@dataclass(slots=True)
class _Waiting:
    """The rows of one splat; ``place`` and ``registers`` while arithmetic is to tell the range."""

    rows: list[Row]
    number: int  # of the splat
    place: tuple[object, ...] | None = None
    registers: tuple[int, ...] = ()


class ArgumentProofs:
    """What is known of the calls; ``rows`` gives those that are settled."""

    def __init__(
        self, arguments: Arguments | None, window: Window | None, release: str | None
    ) -> None:
        self._known = arguments or Arguments()
        self._release = self._known.release or release
        self._window = window
        self._shape = Shape.of(window)
        self._pairs = RegisterPairs(self._shape) if self._shape else None
        self._queue: deque[_Waiting] = deque()
        self._open: dict[tuple[object, ...], list[_Waiting]] = {}  # those that wait, by place
        self._oldest: deque[_Waiting] = deque()  # those that wait, and some that do no more
        self._count = 0
        self._last: dict[int, tuple[str, int | None, int, int | None]] = {}
        self._boots = 0
        self._proven: Counter[str] = Counter()
        self._unproven: Counter[str] = Counter()
        self._second = 0

    def boot(self) -> None:
        """Note that another kernel began: nothing carries over."""
        self._boots += 1
        self._last.clear()

    def add(self, splat: Splat, ts_ns: int, *, doubtful: bool) -> bool:
        """Take the next splat; False if its numbers are none a kernel can have.

        ``doubtful``: what it shows besides its first line may be another's.
        """
        if splat.cpu > _U16 or splat.tid > _U32 or (splat.line or 0) > _U32:
            return False
        warn = Row(
            ts_ns, Kind.WARN, splat.cpu, splat.tid, splat.comm, site=splat.file, line=splat.line
        )
        kind = self._call(splat)
        self._count += 1
        self._too_old()
        if kind is None:
            self._queue.append(_Waiting([warn], self._count))
            return True
        call = Row(ts_ns, kind, splat.cpu, splat.tid, splat.comm)
        waiting = _Waiting([call, warn], self._count)
        self._queue.append(waiting)
        if doubtful or splat.registers is None:
            self._unproven[_CUT] += 1
        else:
            self._prove(splat, splat.registers, waiting)
        return True

    def rows(self, *, final: bool) -> Iterator[Row]:
        """Yield the rows that nothing later can change; ``final``: nothing comes later."""
        if final:
            for place in list(self._open):
                self._settle(place, over=True)
        while self._queue and self._queue[0].place is None:
            yield from self._queue.popleft().rows

    def notes(self) -> Iterator[str]:
        """Yield how many arguments are known, by how, and why the others are not."""
        for way, number in sorted(self._proven.items()):
            yield f"start and end of {number} calls are known by {way}"
        for reason, number in sorted(self._unproven.items()):
            yield f"start and end of {number} calls are not known: {reason}"
        if self._second:
            yield f"{self._second} WARNs are the second of one call, and no call of their own"
        if self._pairs is not None and self._pairs.contradicted:
            yield (
                "registers of one place fit no range in common: arithmetic tells nothing from there"
                " on, and what it told of that place before is in doubt"
            )
        yield from self._known.problems

    def _call(self, splat: Splat) -> Kind | None:
        """Return which call the splat stands for; None: none, or one that has its row already."""
        kind = _CALLS.get(splat.function or "")
        if kind is None or splat.function is None:
            return None
        if splat.file is not None and not splat.file.endswith(_MMU_C):
            return None
        before = self._last.get(splat.tid)
        if len(self._last) >= _THREADS:
            self._last.clear()
        self._last[splat.tid] = (splat.function, splat.sp, splat.offset, splat.line)
        place = self._known.place(splat.function, splat.offset, splat.size, site_of(splat))
        if place is not None:
            other = self._known.other(place)
        else:
            # The check of the range comes first in the source; the loop around calls comes back
            # to it before any other WARN, in the same frame.
            other = (
                before is not None
                and splat.sp is not None
                and before[:2] == (splat.function, splat.sp)
                and before[2] != splat.offset
                and (before[3] or 0) < (splat.line or 0)
            )
        self._second += other
        return None if other else kind

    def _prove(self, splat: Splat, registers: tuple[int, ...], waiting: _Waiting) -> None:
        function = splat.function or ""
        if self._release and splat.release and splat.release != self._release:
            self._unproven[_FOREIGN] += 1
            return
        place = self._known.place(function, splat.offset, splat.size, site_of(splat))
        if place is not None:
            found = read_range(place, registers, self._window, self._shape)
            if found:
                waiting.rows[0].start, waiting.rows[0].end = found
                self._proven[" and ".join(place.known_by)] += 1
            else:
                self._unproven[_AGAINST] += 1
        elif any(name == function for name, _ in self._known.places):
            self._unproven[_ELSEWHERE] += 1
        elif self._pairs is None:
            self._unproven[_NOTHING] += 1
        else:
            waiting.registers = registers
            self._wait(
                (self._boots, splat.release, function, splat.offset, splat.size),
                waiting,
                self._pairs,
            )

    def _wait(self, place: tuple[object, ...], waiting: _Waiting, pairs: RegisterPairs) -> None:
        """Take what a splat shows of its place, and see what it settles."""
        waiting.place = place
        changed = pairs.see(place, waiting.registers)
        same = self._open.setdefault(place, [])
        same.append(waiting)
        self._oldest.append(waiting)
        over = pairs.exhausted(place)
        if changed or len(same) == 1 or over:
            self._settle(place, over=over)
        elif self._told(waiting):  # none of the others can have become clear
            same.pop()

    def _too_old(self) -> None:
        """Give those up that have waited for long: what follows them waits as well."""
        while self._oldest:
            oldest = self._oldest[0]
            if oldest.place is not None:
                if self._count - oldest.number <= _WAITING:
                    break
                self._open[oldest.place].remove(oldest)
                self._give_up(oldest)
            self._oldest.popleft()

    def _settle(self, place: tuple[object, ...], *, over: bool) -> None:
        """Tell the ranges of those that wait and are clear; ``over``: the others never will be."""
        left = [waiting for waiting in self._open.pop(place) if not self._told(waiting)]
        if over:
            for waiting in left:
                self._give_up(waiting)
        elif left:
            self._open[place] = left

    def _told(self, waiting: _Waiting) -> bool:
        if waiting.place is None or self._pairs is None:
            return False
        found = self._pairs.range(waiting.place, waiting.registers)
        if found is None:
            return False
        waiting.rows[0].start, waiting.rows[0].end = found
        waiting.place = None
        self._proven[ARITHMETIC] += 1
        return True

    def _give_up(self, waiting: _Waiting) -> None:
        waiting.place = None
        self._unproven[_OPEN] += 1


def site_of(splat: Splat) -> str | None:
    """Return file:line of a splat, None where it does not tell."""
    if splat.file is None or splat.line is None:
        return None
    return f"{splat.file.decode('utf-8', 'backslashreplace')}:{splat.line}"
