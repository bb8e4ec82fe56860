# SPDX-License-Identifier: GPL-2.0-only
"""Reads a recording once, piece by piece: its numbers and the table of all its calls.

Promises: the snapshot is that of ``recordings.ledger.ledger.fold`` once all is read, and that of
what was read before; ``advance`` takes at most ``PIECE`` rows, so whoever calls it can stop any
time. One thread advances; the table may be read by others meanwhile.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Self

from recordings.explore.filler import Filler
from recordings.explore.span_table import SpanTable
from recordings.ledger.columns import COLUMNS
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot
from tracers.batch import Batch, Losses

if TYPE_CHECKING:
    from recordings.format.header import Header
    from recordings.format.reader import Recording

_NOTHING: Final = Losses()
#: Rows taken in at once.
PIECE: Final = 65_536


class Index:
    """The numbers and the calls of what was read so far.

    One of a ``recording`` is filled by ``advance``; a ``live`` one by ``take`` and ``finish``.
    """

    def __init__(self, recording: "Recording | None", *, header: "Header | None" = None) -> None:
        if recording is not None:
            header = recording.header
        if header is None:
            raise ValueError("neither a recording nor a header")
        self.table = SpanTable()
        self.done = False  # nothing follows
        self.events = 0  # read so far
        self._recording = recording
        self._rows = 0 if recording is None else recording.rows
        self._pieces = iter(()) if recording is None else _pieces(recording)
        self._ledger = Ledger.of(header)
        self._filler = Filler(self.table)
        self._snapshot: Snapshot | None = None

    @classmethod
    def live(cls, header: "Header") -> Self:
        """Return an index for events that are happening now."""
        return cls(None, header=header)

    @property
    def read(self) -> float:
        """How much of the recording was read, 0 to 1; 1 only when it is ``done``."""
        return 1.0 if self.done else min(self.events / max(self._rows, 1), 0.999)

    def advance(self) -> bool:
        """Take in the next piece; return whether there may be more.

        Raises ``ValueError`` if the recording was closed meanwhile.
        """
        batch = None if self.done else next(self._pieces, None)
        if batch is not None:
            self.take(batch)
            return True
        if self._recording is not None and not self.done:
            self._ledger.end_with(self._recording.at_end)
            self.finish(self._recording.losses)
        return False

    def take(self, batch: Batch) -> None:
        """Take in the next events, and what is missing around them."""
        self._ledger.fold(batch, self._filler)
        self.events += batch.events.num_rows
        self._snapshot = None

    def finish(self, losses: Losses = _NOTHING) -> None:
        """Nothing follows: what is open never ended. ``losses``: those that no batch reported."""
        if not self.done:
            self._ledger.add_losses(losses)
            self.done = True
            self._snapshot = None

    def snapshot(self) -> Snapshot:
        """Return the numbers of all that was read; final, and with lists, when it is ``done``.

        It is the same object until something more was read.
        """
        if self._snapshot is None:
            lists = self.done or self._recording is None
            self._snapshot = self._ledger.snapshot(final=self.done, lists=lists)
        return self._snapshot

    def counts(self) -> tuple[int, int, int]:
        """Return how many calls, hits and WARNs were read."""
        return self._ledger.counts()


def _pieces(recording: "Recording") -> Iterator[Batch]:
    for batch in recording.batches(columns=COLUMNS):
        rows = batch.events.num_rows
        for first in range(0, rows, PIECE):
            last = first + PIECE >= rows
            yield Batch(batch.events.slice(first, PIECE), batch.losses if last else Losses())
        if not rows:
            yield batch
