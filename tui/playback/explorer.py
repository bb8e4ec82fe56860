# SPDX-License-Identifier: GPL-2.0-only
"""What of a recording is listed: the filter, the order, and the numbers of what matches.

Promises: without a filter the numbers are the ledger's own; with one they are those of the calls
that match, and only the verdict stays that of the whole recording. The lists are there at once, the
numbers of a long recording piece by piece. Not thread-safe but for the lists it hands out: it
belongs to the player's thread.
"""

from dataclasses import dataclass
from threading import RLock
from typing import Final

from recordings.explore.filter import Facts, Filter, FilterError
from recordings.explore.listing import Calls, Tree
from recordings.explore.matches import By, Everything, Matches
from recordings.explore.section_strip import Sections, Strip
from recordings.explore.span_table import SpanTable
from recordings.explore.sums import Passed
from recordings.explore.tally import Tally
from recordings.format.header import Header
from recordings.ledger.snapshot import Snapshot

#: Steps of counting that a view may wait for, some ten milliseconds each at most.
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Listed:
    """What is listed, as a value."""

    calls: Calls
    tree: Tree
    by: By
    filter: str = ""  # as typed; "": all is listed
    matching: int = 0  # calls and Oopses
    total: int = 0
    faults: int = 0  # of the total, Oopses
    counted: float = 1.0  # how much of them the numbers are of, 0 to 1
    error: str = ""  # why what was typed last is no filter


class Explorer:
    """The filter and the order of what one table lists."""

    def __init__(self, header: Header, table: SpanTable) -> None:
        self._header = header
        self._table = table
        self._lock = RLock()
        self._by = By.TIME
        self._error = ""
        self._filter = Filter()
        self._matches = Matches(table, Everything())
        self._sections = Sections(self._matches, header.machine.window)
        self._strip: Strip | None = None
        self._tally: Tally | None = None  # of the matches; ``None``: without a filter
        self._numbers: tuple[Snapshot, Snapshot] | None = None  # of everything, of the matches
        self._listed: Listed | None = None

    @property
    def matches(self) -> Matches | None:
        """What the filter lets through; ``None`` while there is none."""
        return self._matches if self._filter else None

    def let(self, text: str, first_ns: int | None) -> None:
        """List only what matches ``text``, all with an empty one; an error changes nothing."""
        machine = self._header.machine
        try:
            wanted = Filter.parse(text, Facts(machine.window, machine.layout, first_ns))
        except FilterError as error:
            self._error = str(error)
        else:
            self._error = ""
            self._filter = wanted
            self._matches = Matches(self._table, wanted or Everything())
            self._sections = Sections(self._matches, machine.window)
            self._tally = Tally(self._matches, machine) if wanted else None
            self._numbers = self._strip = None
        self._listed = None

    def order(self) -> None:
        """Take the next order of the lists."""
        orders = list(By)
        self._by = orders[(orders.index(self._by) + 1) % len(orders)]
        self._listed = None

    def update(self) -> None:
        """Take in what the table has gained."""
        with self._lock:
            if self._matches.update():
                self._numbers = self._strip = None
        self._listed = None

    def advance(self, whole: Snapshot) -> bool:
        """Count some of the matches; return whether there is more to count."""
        if self._tally is None:
            return False
        before = self._tally.done
        with self._lock:
            self._tally.refresh(whole)
            more = self._tally.advance()
        if self._tally.done != before:
            self._numbers = self._listed = None
        return more

    def snapshot(self, whole: Snapshot) -> Snapshot:
        """Return the numbers of what is listed; ``whole``: those of everything."""
        if self._tally is None:
            return whole
        for _ in range(_AT_ONCE):
            if not self.advance(whole):
                break
        if self._numbers is None or self._numbers[0] is not whole:
            self._numbers = whole, self._tally.snapshot(whole)
        return self._numbers[1]

    def strip(self) -> Strip:
        """Return the sections of what is listed: counted when it changes, and then kept."""
        if self._strip is None:
            with self._lock:
                self._sections.update()
                self._strip = self._sections.strip()
        return self._strip

    def passed(self, row: int) -> Passed | None:
        """Return what matches and begins before an event; ``None``: without a filter."""
        return None if self._tally is None else self._tally.passed(row)

    def listed(self, whole: Snapshot) -> Listed:
        """Return what is listed; ``whole``: the numbers of everything."""
        faults = whole.faults_total
        total = whole.populate + whole.free + faults
        if self._listed is None or self._listed.total != total:
            calls = Calls(self._matches, self._lock, self._header.machine.layout, self._by)
            around = self._tally.around if self._tally else None
            filtered = self._tally is not None
            tree = Tree(self._matches, self._lock, self._by, filtered=filtered, around=around)
            counted = self._tally.done if self._tally else 1.0
            self._listed = Listed(
                calls,
                tree,
                self._by,
                self._filter.text,
                len(calls),
                total,
                faults,
                counted,
                self._error,
            )
        return self._listed
