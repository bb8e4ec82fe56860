# SPDX-License-Identifier: GPL-2.0-only
"""The operations as a tree that opens in place: hot-add or hot-remove, sections, calls, WARNs.

Enter, or a second click, opens and closes a branch, and explains a call; so do the arrows to the
right and left. Nothing of it moves time.
"""

from collections.abc import Hashable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from recordings.explore.listing import Branch, Tree
from recordings.wording.escape import printable
from tracers.events import Kind, Source
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.asked import FilterWanted
from tui.widgets.table import Cell, Column, KeyedTable

_BRANCH_KEYS = Binding.Group("branch", compact=True)
_CALLS = (Kind.POPULATE, Kind.FREE, Kind.FAULT)
#: What stands beside the name of an operation that the kernel failed in.
_OOPS = f" {words.function(Kind.FAULT)}!"
#: Width of "120 of 128": with a filter it tells most, and so it is never left out.
_MATCH = 11


class SpanTree(KeyedTable[Branch]):
    """One line per operation, and per span in those that are open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "open", show=False),
        Binding("left", "close", "branch", group=_BRANCH_KEYS, key_display="←"),
        Binding("right", "open", "branch", group=_BRANCH_KEYS, key_display="→"),
        Binding("f", "only", "only this operation", show=False),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002
        self._first_ns = 0
        calls: Column[Branch] = Column("calls", 7, _calls, rank=4, right=True)
        columns: list[Column[Branch]] = [
            Column("what", 28, _what, grows=True),
            Column("time", 10, self._time, rank=6, right=True),
            calls,
            Column("hits", 7, _hits, rank=1, right=True),
            Column("WARNs", 7, _warns, rank=3, right=True),
            Column("took", 8, _took, right=True),
            Column("in WARN", 9, _warn_time, rank=5, right=True),
            Column("share", 6, _share, rank=2, right=True),
        ]
        super().__init__(columns, _key, lambda branch: branch.span.row, id=id)
        matching: Column[Branch] = Column("match", _MATCH, _matching, right=True)
        self._all = columns
        self._filtered = [matching if column is calls else column for column in columns]
        self.border_title = "Operations"
        self._tree: Tree | None = None
        self._opened = frozenset[int]()
        self.entered = False  # where the calls are not shown, the focus is here at the start
        self._subtitle = ""

    def show(self, view: PlayerView) -> None:
        """Take a view: what it lists."""
        snapshot = view.snapshot
        self._first_ns = view.first_ns or 0
        listed = view.listed
        rows = self.rows
        if listed.tree != self._tree:
            if self._tree is None or self._tree.filtered != listed.tree.filtered:
                self.set_columns(self._filtered if listed.tree.filtered else self._all)
            self._tree = listed.tree
            rows = self._tree.with_open(self._opened) if self._opened else self._tree
        self.set_rows(rows, played=view.played)
        text = f"{words.count(listed.tree.roots)} · by {listed.by.value}"
        if snapshot.unfinished_total:
            text += f" · {words.calls(snapshot.unfinished_total)} not ended"
        if text != self._subtitle:
            self._subtitle = text
            self.border_subtitle = Content(text)

    def action_choose(self) -> None:
        """Open or close the branch; send the row of a call."""
        branch = self.chosen_row
        if branch is None or self._tree is None:
            return
        if not branch.holds or (branch.span.kind in _CALLS and branch.opened):
            super().action_choose()
            return
        self._turn(branch)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave → and ← to time until somebody has gone into the tree."""
        return action not in ("open", "close") or self.entered

    def _put(self, cursor: Hashable, at: int) -> None:
        self.entered = True
        super()._put(cursor, at)

    def action_open(self) -> None:
        """Open the branch, or go into an open one."""
        branch = self.chosen_row
        if branch is not None and branch.holds:
            if branch.opened:
                self.action_move(1)
            else:
                self._turn(branch)

    def action_close(self) -> None:
        """Close the branch, or go to what it is in."""
        branch = self.chosen_row
        if branch is None or self._tree is None:
            return
        if branch.opened:
            self._turn(branch)
        elif isinstance(self.rows, Tree):
            parent = self.rows.find(branch.span.parent)
            if parent is not None:
                self.put(parent)

    def action_only(self) -> None:
        """Ask for the calls of this operation alone, or for all again."""
        branch = self.chosen_row
        if branch is not None and self._tree is not None:
            row = self._tree.operation(branch.span)
            if row is not None:
                self.post_message(FilterWanted(f"op:{row}"))

    def _turn(self, branch: Branch) -> None:
        """Open a branch, or close it."""
        if self._tree is None:
            return
        self._opened ^= {branch.span.position}
        self._put(_key(branch), self.index)
        self.set_rows(self._tree.with_open(self._opened), played=self._played)

    def row_text(self, row: Branch) -> str:
        """Return all cells of a row, without the sign of a branch."""
        return super().row_text(row).lstrip("▾▸ ")

    def _time(self, branch: Branch) -> Cell:
        return f"{(branch.span.ts_ns - self._first_ns) / 1e9:.6f}", "muted"


def _key(branch: Branch) -> Hashable:
    return branch.span.position


def _what(branch: Branch) -> Cell:
    span = branch.span
    sign = " " if not branch.holds else "▾" if branch.opened else "▸"
    name, style = words.function(span.kind), "strong" if span.operation else ""
    if span.kind in _CALLS:
        regime = span.regime or "unknown"
        mark = words.mark(regime, silent=span.silent)
        derived = "†" if span.source is Source.DERIVED else ""
        start = "" if span.start is None else f" {span.start:016x}"
        name = f"{name.removeprefix('vmemmap_')}{derived}{start} {mark}"
        style = regime if regime in words.MARKS else "unknown"
    elif span.kind is Kind.WARN:
        name, style = f"WARN {printable((span.site or '?').rsplit('/', 1)[-1])}", "warn"
    elif span.operation:
        oops = _OOPS if span.faults else ""
        name = f"{name}{oops} {printable(span.comm)}-{'?' if span.tid is None else span.tid}"
    elif span.pfn is not None:
        name = f"{name.removeprefix('sparse_')} 0x{span.pfn:x}"  # so that no pfn is cut
    return " " * branch.depth + f"{sign} {name}", style


def _number(number: int, style: str) -> Cell:
    return words.count(number) if number else "", style


def _calls(branch: Branch) -> Cell:
    return _number(branch.span.calls, "")


def _matching(branch: Branch) -> Cell:
    """Return how much matches, and of how much if that has room: no number is cut."""
    if branch.matching is None:
        return "", ""
    some, of = words.count(branch.matching), words.count(branch.span.listed)
    ways = (f"{some} of {of}", f"{some}/{of}", some)
    return next((text for text in ways if len(text) <= _MATCH), some), "strong"


def _own(branch: Branch, style: str) -> str:
    """Return the style of a number of the whole span: muted where not all of its calls match."""
    return "muted" if branch.matching not in (None, branch.span.listed) else style


def _hits(branch: Branch) -> Cell:
    text, style = _number(branch.span.hits, _own(branch, "above"))
    return text + (words.SILENT if branch.silent and text else ""), style


def _warns(branch: Branch) -> Cell:
    return _number(branch.span.warns, _own(branch, "warn"))


def _warn_time(branch: Branch) -> Cell:
    return words.duration(branch.span.warn_ns) if branch.span.warns else "", ""


def _share(branch: Branch) -> Cell:
    if branch.span.kind is Kind.WARN:
        return "", ""
    return words.share(branch.span.warn_share), "strong"


def _took(branch: Branch) -> Cell:
    span = branch.span
    if span.duration_ns is not None:
        return words.duration(span.duration_ns), ""
    return ("", "") if span.point else ("no end", "warn")
