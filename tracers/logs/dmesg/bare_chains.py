# SPDX-License-Identifier: GPL-2.0-only
"""Finds call chains through vmemmap_populate or vmemmap_free that are in no report of their own.

A reporter pastes the chain and leaves the rest away; hung tasks and stalls print one, too. It says
that the kernel was there, not with which range. Promises: a chain is two frames or more, one a
line; a mention in a sentence is none; text is searched, not split, where there is none.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from tracers.kernel_functions import CHECKED
from tracers.logs.dmesg.lines import read_line
from tracers.logs.dmesg.symbols import Frame, chain_of, read_frame

_NAMES: Final = tuple(name.encode() for name in CHECKED)
_COMMON: Final = b"vmemmap_"  # what they begin with: one search is faster than two
_AROUND: Final = 8192  # bytes looked at before and behind
_MARKS: Final = b" ()PKF\r"  # behind a frame: how it was found
_KEPT: Final = 64  # distinct chains
_SHOWN: Final = 4


class BareChains:
    """Counts them; ``notes`` says what is missing and how to get it."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._rest = b""  # frames that the next lines may go on with

    def may_be_in(self, data: bytes, start: int, end: int) -> bool:
        """Whether lines are to be looked at: nearly all of a log are not."""
        return bool(self._rest) or data.find(_COMMON, start, end) >= 0

    def look(self, data: bytes, *, end: bool) -> None:
        """Look at whole lines that belong to no report; ``end``: a report follows, or nothing."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        stop = len(data) if end else _end_of_chains(data)
        data, self._rest = data[:stop], data[stop:]
        at = 0
        while (hit := _next(data, at)) >= 0:
            start = max(data.rfind(b"\n", at, hit) + 1, at)
            newline = data.find(b"\n", hit)
            line_end = len(data) if newline < 0 else newline
            if not any(_frames([data[start:line_end]])):  # it is mentioned, no more
                at = line_end + 1
                continue
            above = data[max(at, start - _AROUND) : start].split(b"\n")[:-1]
            below = data[start : start + _AROUND].split(b"\n")
            callees, callers = list(_frames(reversed(above))), list(_frames(below))
            if len(callees) + len(callers) > 1:
                chain = chain_of((*reversed(callees), *callers)) or ""
                if chain in self.found or len(self.found) < _KEPT:
                    self.found[chain] += 1
            at = start + sum(len(line) + 1 for line in below[: len(callers)])

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each of the first chains, and one on what to do."""
        for chain, number in self.found.most_common(_SHOWN):
            times = "once" if number == 1 else f"{number} times"
            yield f"a call chain without its splat, {times}: {chain}"
        if self.found:
            yield (
                "such a chain does not say for which addresses the call was: the registers above it"
                ' do. Give all of the report, from "cut here" or "Unable to handle" to "end'
                ' trace", as dmesg or journalctl -k prints it'
            )


def _end_of_chains(data: bytes) -> int:
    """Return where the frames begin that ``data`` ends with; its length if it does not."""
    first = at = len(data)
    while at > 0 and len(data) - at < _AROUND:
        at = data.rfind(b"\n", 0, at - 1) + 1
        if not any(_frames([data[at : first - 1]])):
            break
        first = at
    return first


def _next(data: bytes, at: int) -> int:
    """Return where the next of the names stands, -1 if there is none."""
    while (at := data.find(_COMMON, at)) >= 0 and not data.startswith(_NAMES, at):
        at += 1
    return at


def _frames(lines: Iterable[bytes]) -> Iterator[Frame]:
    """Yield the frames until a line is none."""
    for raw in lines:
        text = read_line(raw).text
        found = read_frame(text)
        if found is None or text[found[1] :].strip(_MARKS):
            return
        yield found[0]
