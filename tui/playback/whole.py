# SPDX-License-Identifier: GPL-2.0-only
"""Reads a recording once, piece by piece, into the numbers of all of it.

Promises: ``read`` only grows, from 0 to 1; once it is 1, ``snapshot`` is what a report says of the
recording, and it is the same object from then on. Not thread-safe: it belongs to the player's
thread.
"""

from collections.abc import Iterator
from typing import Final

from recordings.explore.filler import Filler
from recordings.explore.span_table import SpanTable
from recordings.format.reader import Recording
from recordings.ledger.columns import CHUNK, COLUMNS
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot
from tracers.batch import Batch, Losses
from tui.playback.timeline import Passed

#: Rows read at once.
PIECE: Final = CHUNK


class Whole:
    """The numbers and the calls of a recording, as far as it was read."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._ledger = Ledger.of(recording.header)
        self.table = SpanTable()  # every call, as far as it was read
        self._filler = Filler(self.table)
        self._rows = sum(info.rows for info in recording.index)
        self._pieces = self._read()
        self._done = False
        self._snapshot: Snapshot | None = None
        self.events = 0  # rows read
        self.passed = Passed(0, 0, 0)  # what is in these

    @property
    def read(self) -> float:
        """How much was read, 0 to 1."""
        if self._done:
            return 1.0
        return min(0.999, self.events / self._rows) if self._rows else 0.0

    def advance(self) -> bool:
        """Read the next piece; return whether there may be more."""
        if self._done:
            return False
        piece = next(self._pieces, None)
        self._snapshot = None
        if piece is None:
            self._done = True
            self._ledger.add_losses(self._recording.losses)
            return False
        self._ledger.fold(piece, self._filler)
        self.events += piece.events.num_rows
        self.passed = Passed(*self._ledger.counts())
        return True

    def snapshot(self) -> Snapshot:
        """Return the numbers of what was read; only the last ones have lists."""
        if self._snapshot is None:
            self._snapshot = self._ledger.snapshot(final=self._done, lists=self._done)
        return self._snapshot

    def _read(self) -> Iterator[Batch]:
        for number, info in enumerate(self._recording.index):
            events = self._recording.read(number, COLUMNS)
            for first in range(0, max(1, info.rows), PIECE):
                last = first + PIECE >= info.rows
                yield Batch(events.slice(first, PIECE), info.losses if last else Losses())
