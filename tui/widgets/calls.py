# SPDX-License-Identifier: GPL-2.0-only
"""Lists populate and free calls, and Oopses among them, one line each, newest first."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from recordings.ledger.snapshot import Call
from recordings.wording.escape import printable
from tracers.events import Kind, Source
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.table import Cell, Column, KeyedTable

DERIVED_MARK = "†"
TIME_WIDTH = 12


def _row(call: Call) -> int:
    return call.row


def _kind(call: Call) -> Cell:
    derived = call.source is Source.DERIVED
    name = words.function(call.kind).removeprefix("vmemmap_")
    return name + (DERIVED_MARK if derived else ""), "warn" if call.kind is Kind.FAULT else ""


def _regime(call: Call) -> Cell:
    name = call.regime if call.regime in words.MARKS else "unknown"
    return f"{words.mark(call.regime, silent=call.silent)} {printable(call.regime)}", name


class CallsTable(KeyedTable[Call]):
    """On narrow screens the least important columns are left out; no number is ever cut."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "explain", show=False)]

    def __init__(self, *, id: str) -> None:  # noqa: A002
        self._first_ns = 0
        columns: list[Column[Call]] = [
            Column("time", TIME_WIDTH, self._time, right=True),
            Column("call", 9, _kind),
            Column("start", 18, lambda call: (words.address(call.start), "")),
            Column("end", 18, lambda call: (words.address(call.end), "muted"), rank=4),
            Column("regime", 12, _regime),
            Column("lands on", 10, lambda c: (printable(c.lands_on), ""), rank=2, grows=True),
            Column("took", 8, lambda c: (words.duration(c.duration_ns), ""), rank=1, right=True),
            Column("task", 12, self._who, rank=3, grows=True),
            Column("cpu", 3, lambda c: ("-" if c.cpu is None else str(c.cpu), "muted"), 5, True),
            Column("known by", 10, lambda c: (c.source.label, "muted"), rank=6),
            Column("event", 9, lambda call: (f"#{call.row}", "muted"), 7, True),
        ]
        super().__init__(columns, _row, _row, id=id)
        self.border_title = "Calls"

    def show(self, view: PlayerView) -> None:
        """Take a view: the calls that it lists."""
        snapshot = view.snapshot
        self._first_ns = view.first_ns or 0
        listed = view.listed
        self.set_rows(listed.calls, listed.calls.before(view.followed) or 0, view.played)
        text = f"{words.count(snapshot.populate)} populate, {words.count(snapshot.free)} free"
        if snapshot.faults_total:
            text += f", {words.oopses(snapshot.faults_total)}"
        if snapshot.derived:
            text += f" · {DERIVED_MARK} {words.count(snapshot.derived)} derived"
        text += f" · by {listed.by.value}"
        if text != self._subtitle:
            self._subtitle = text
            self.border_subtitle = Content(text)

    _subtitle = ""

    def _time(self, call: Call) -> Cell:
        since = call.ts_ns - self._first_ns
        # From 100,000 s on a digit of the fraction less for each of the seconds: none is cut.
        places = max(0, min(6, TIME_WIDTH - 1 - len(str(abs(since) // 10**9)) - (since < 0)))
        return f"{since / 1e9:.{places}f}", "muted"

    def _who(self, call: Call) -> Cell:
        return f"{printable(call.comm)}-{'?' if call.tid is None else call.tid}", ""
