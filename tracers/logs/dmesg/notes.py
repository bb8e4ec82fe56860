# SPDX-License-Identifier: GPL-2.0-only
"""Statistics of a kernel log and notes on it: call chains, missing lines, Oopses and panics.

Promises: every note is one printable sentence; there are few of them, however hostile the log.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tracers.logs.dmesg.architectures import ARM64
from tracers.logs.dmesg.lines import Clock
from tracers.logs.dmesg.oopses import Oops
from tracers.logs.dmesg.reports import Report
from tracers.logs.dmesg.splats import Splat

_CHAINS: Final = 64  # counted separately
_SHOWN: Final = 8  # of chains, Oopses
_RELEASES: Final = 16
_SECOND: Final = 1e6  # microseconds
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
        self._architectures: Counter[str] = Counter()  # reports by what they show to be of
        self.repeated = 0  # reports that are in the log twice
        self.panics: list[bytes] = []

    def boot(self, release: str) -> None:
        """Count a boot, by the kernel's banner."""
        self._boots += 1
        self._name(release)

    def begins(self, micros: int) -> None:
        """Remember the first kernel time."""
        if self._begins is None:
            self._begins = micros

    def splat(self, splat: Splat, report: Report, times: int = 1) -> None:
        """Count a splat, or as many that are alike."""
        if not self._splats and not self._boots:
            self._tainted_before = splat.tainted
        self._splats += times
        if splat.release:
            self._name(splat.release)
        chain = None if report.mixed or not report.whole else splat.chain
        chain = chain or _NO_CHAIN
        if chain not in self._chains and len(self._chains) >= _CHAINS:
            chain = _OTHERS
        self._chains[chain] += times
        self._architecture(splat.arch, times)
        self._time(report)

    def oops(self, oops: Oops, report: Report, *, arch: str | None, taken: bool) -> None:
        """Count an Oops; ``taken``: it is a row of the recording."""
        self._oops_count += 1
        self._architecture(arch)
        if oops.thread:
            self._name(oops.thread.release)
        if taken:
            self._time(report)
        if len(self._oopses) >= _SHOWN or arch not in (None, ARM64):
            return
        after = f"after {self._splats} splats " if self._splats else ""
        place = oops.place
        self._oopses.append(
            f"{after}the kernel failed: {oops.error or 'an error that is cut short'}"
            + (f", at {place.text}" if place else "")
            + (f", virtual address 0x{oops.address:016x}" if oops.address is not None else "")
        )
        if taken and (chain := oops.chain):
            self._oopses.append(f"its chain: {chain}")
        if taken and (words := ", ".join(_words(oops))):
            self._oopses.append(f"its own words: {words}")

    @property
    def arch(self) -> str | None:
        """The architecture of most reports, where none is of arm64; else None."""
        foreign = self._foreign()
        return foreign[0][0] if foreign and not self._architectures[ARM64] else None

    def _foreign(self) -> list[tuple[str, int]]:
        """Return the other architectures with their numbers of reports, the most first."""
        return [each for each in self._architectures.most_common() if each[0] != ARM64]

    def _architecture(self, arch: str | None, times: int = 1) -> None:
        if arch is not None:
            self._architectures[arch] += times

    def _time(self, report: Report) -> None:
        """Note the clock of a report that is a row."""
        if report.ts_ns is None:
            self._untimed += 1
            return
        self._clocks.add(report.clock)
        if self.clock is Clock.NONE:
            self.clock = report.clock

    def notes(self, lines: int) -> Iterator[str]:
        """Yield the notes on a log of so many lines."""
        if not self._splats:
            yield f"no WARN splat in {lines} {'line' if lines == 1 else 'lines'}"
        for arch, number in self._foreign():
            what = "1 report is" if number == 1 else f"{number} reports are"
            yield f"{what} of {arch}: that is not an arm64 log, and nothing of it is judged"
        yield from self._chain_notes()
        yield from self._oopses
        if self._oops_count > len(self._oopses):
            yield f"{self._oops_count - len(self._oopses)} more Oopses"
        for panic in self.panics[:_SHOWN]:
            yield re.sub(rb"[^ -~]", b"?", panic).decode("ascii").strip()
        if self.repeated:
            yield (
                f"{self.repeated} reports are in the log twice, with the same times and registers"
                " (a console's text and dmesg's of one boot): counted once"
            )
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


def _words(oops: Oops) -> Iterator[str]:
    """Yield what else an Oops says, each in a few words."""
    if oops.thread:
        comm = re.sub(rb"[^ -~]", b"?", oops.thread.comm).decode("ascii")
        yield f"{comm} on CPU {oops.thread.cpu}"
        yield f"taint {oops.thread.taint}" if oops.thread.taint else "not tainted"
    if oops.page_size:
        yield f"pages of {oops.page_size >> 10}k, {oops.bits}-bit addresses"
    if oops.between is not None:
        yield f"0x{oops.between:016x} is between user and kernel addresses"
    if oops.walk:
        yield f"level walk {oops.walk}"
    if oops.esr is not None:
        yield f"ESR 0x{oops.esr:x}"
    if oops.code:
        yield f"Code: {oops.code}"
