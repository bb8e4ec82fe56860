# SPDX-License-Identifier: GPL-2.0-only
"""Statistics of a kernel log and notes on it: call chains, missing lines, Oopses and panics.

Promises: every note is one printable sentence; there are few of them, however hostile the log.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tracers.logs.dmesg.lines import Clock
from tracers.logs.dmesg.reports import Report
from tracers.logs.dmesg.splats import Splat, symbol

_CHAINS: Final = 64  # counted separately
_SHOWN: Final = 8  # of chains, Oopses
_RELEASES: Final = 16
_SECOND: Final = 1e6  # microseconds
_FAULT: Final = re.compile(
    rb"Unable to handle kernel [ -~]{1,80}? (?:at )?virtual address ([0-9a-f]{1,16})"
)
_ERROR: Final = re.compile(rb"Internal error: ([ -~]{1,120})")
_OTHERS: Final = "(other chains)"
_NO_CHAIN: Final = "(a chain that is cut short, or not beyond doubt its own)"


class LogStatistics:
    """Counts while a log is read; ``notes`` puts the counts into sentences."""

    def __init__(self) -> None:
        self.release: str | None = None
        self.clock = Clock.NONE
        self.dropped = 0  # lines that the kernel or the journal says it dropped
        self.missing = 0  # sequence numbers of /dev/kmsg that are missing
        self.back = 0  # how often time runs backwards
        self.torn = self.rejected = self.orphans = 0
        self._splats = self._untimed = self._boots = 0
        self._clocks: set[Clock] = set()
        self._releases: dict[str, None] = {}
        self._chains: Counter[str] = Counter()
        self._begins: int | None = None  # microseconds
        self._tainted_before = False
        self._oopses: list[str] = []
        self._oops_count = 0
        self.panics: list[bytes] = []

    def boot(self, release: str) -> None:
        """Count a boot, by the kernel's banner."""
        self._boots += 1
        self._name(release)

    def begins(self, micros: int) -> None:
        """Remember the first kernel time."""
        if self._begins is None:
            self._begins = micros

    def splat(self, splat: Splat, report: Report) -> None:
        """Count a splat."""
        if not self._splats and not self._boots:
            self._tainted_before = splat.tainted
        self._splats += 1
        if splat.release:
            self._name(splat.release)
        chain = None if report.mixed or not report.whole else splat.chain
        chain = chain or _NO_CHAIN
        if chain not in self._chains and len(self._chains) >= _CHAINS:
            chain = _OTHERS
        self._chains[chain] += 1
        if report.ts_ns is None:
            self._untimed += 1
        else:
            self._clocks.add(report.clock)
            if self.clock is Clock.NONE:
                self.clock = report.clock

    def oops(self, report: Report) -> None:
        """Count an Oops."""
        self._oops_count += 1
        if len(self._oopses) >= _SHOWN:
            return
        text = report.text
        fault, error = _FAULT.search(text), _ERROR.search(text)
        what = error[1].decode("ascii").strip() if error else "an error that is cut short"
        where = symbol(text, error.end() if error else 0)
        self._oopses.append(
            f"after {self._splats} splats the kernel failed: {what}"
            + (f", at {where}" if where else "")
            + (f", virtual address 0x{int(fault[1], 16):016x}" if fault else "")
        )

    def notes(self, lines: int) -> Iterator[str]:
        """Yield the notes on a log of so many lines."""
        if not self._splats:
            yield f"no WARN splat in {lines} {'line' if lines == 1 else 'lines'}"
        yield from self._chain_notes()
        yield from self._oopses
        if self._oops_count > len(self._oopses):
            yield f"{self._oops_count - len(self._oopses)} more Oopses"
        for panic in self.panics[:_SHOWN]:
            yield re.sub(rb"[^ -~]", b"?", panic).decode("ascii").strip()
        yield from self._gap_notes()
        yield from self._time_notes()
        if len(self._releases) > 1:
            yield f"splats and banners of several kernels: {', '.join(self._releases)}"

    def _name(self, release: str) -> None:
        self.release = self.release or release
        if len(self._releases) < _RELEASES:
            self._releases.setdefault(release)

    def _chain_notes(self) -> Iterator[str]:
        for chain, number in self._chains.most_common(_SHOWN):
            yield f"{number} {'splat' if number == 1 else 'splats'}: {chain}"
        rest = self._chains.most_common()[_SHOWN:]
        if rest:
            yield f"{sum(number for _, number in rest)} splats: {len(rest)} more call chains"

    def _gap_notes(self) -> Iterator[str]:
        gaps = (
            (self.dropped, "{} lines were dropped, as the log itself says"),
            (self.missing, "{} lines are missing by the sequence numbers of /dev/kmsg"),
            (
                self.back,
                "time runs backwards in {} places: lines are missing, or logs were put together",
            ),
            (self.orphans, "{} reports end whose beginning is not in the log"),
            (self.torn, "{} splats are cut short or mixed with another's lines"),
            (self.rejected, "{} splats cannot be read: their first line is damaged"),
        )
        sentences = [sentence.format(number) for number, sentence in gaps if number]
        yield from sentences
        if sentences:
            yield "so all counts from this log are lower bounds"
        elif self._tainted_before:
            yield "taint W: a WARN fired before this log begins, so counts are lower bounds"
        if not self._boots and self._begins:
            yield f"the log begins {self._begins / _SECOND:.6f} s after boot"

    def _time_notes(self) -> Iterator[str]:
        if self._splats and self._untimed:
            yield f"{self._untimed} splats have no time: the time before them, or 0, is given"
        for clock in Clock:
            if clock in self._clocks and clock is not Clock.BOOT:
                yield f"times are {clock.value}: durations say little"
        if len(self._clocks) > 1:
            yield "times of several clocks are in this log: they cannot be compared"
