# SPDX-License-Identifier: GPL-2.0-only
"""Lists the operations: one memremap_pages or memunmap_pages each, with all it caused."""

from textual.content import Content

from recordings.ledger.snapshot import Operation
from recordings.wording.escape import printable
from tui.playback.view import PlayerView
from tui.widgets import words
from tui.widgets.table import Cell, Column, KeyedTable


def _range(operation: Operation) -> Cell:
    if operation.pfn is None:
        return "-", "muted"
    if operation.nr_pages is None:
        return f"0x{operation.pfn:x}", ""
    return f"0x{operation.pfn:x}+{operation.nr_pages:x}", ""


def _hits(operation: Operation) -> Cell:
    text, style = _number(operation.hits, "above")
    return text + (words.SILENT if operation.silent else ""), style


def _number(number: int, style: str) -> Cell:
    return (words.count(number), style if number else "muted")


class OperationsTable(KeyedTable[Operation]):
    """One line per operation, newest first."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        self._first_ns = 0
        columns: list[Column[Operation]] = [
            Column("time", 12, self._time, right=True),
            Column("operation", 14, lambda op: (words.function(op.kind), "strong")),
            Column("task", 12, self._who, rank=3, grows=True),
            Column("pfn+pages (hex)", 22, _range, rank=5),
            Column("sections", 8, lambda op: _number(op.sections, ""), rank=1, right=True),
            Column("hits", 7, _hits, right=True),
            Column("WARNs", 6, lambda op: _number(op.warnings, "warn"), right=True),
            Column("took", 11, self._took, right=True),
            Column("in WARN", 9, lambda op: (words.duration(op.warn_ns), ""), rank=4, right=True),
            Column("share", 6, lambda op: (words.share(op.warn_share), "strong"), 2, True),
        ]
        super().__init__(columns, lambda op: (op.start_ns, op.tid, op.kind), id=id)
        self.border_title = "Operations"
        self._subtitle = ""

    def show(self, view: PlayerView) -> None:
        """Take a view: its operations."""
        snapshot = view.snapshot
        self._first_ns = view.first_ns or 0
        self.set_rows(snapshot.operations[::-1])
        text = words.count(snapshot.operations_total)
        if snapshot.unfinished_total:
            text += f" · {words.calls(snapshot.unfinished_total)} not ended"
        if text != self._subtitle:
            self._subtitle = text
            self.border_subtitle = Content(text)

    def _time(self, operation: Operation) -> Cell:
        return f"{(operation.start_ns - self._first_ns) / 1e9:.6f}", "muted"

    def _who(self, operation: Operation) -> Cell:
        tid = "?" if operation.tid is None else operation.tid
        return f"{printable(operation.comm)}-{tid}", ""

    def _took(self, operation: Operation) -> Cell:
        if operation.duration_ns is None:
            return "not ended", "warn"
        return words.duration(operation.duration_ns), ""
