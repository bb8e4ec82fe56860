# SPDX-License-Identifier: GPL-2.0-only
"""Captures a live source: what it yields goes to a file first and into the numbers after.

Promises: the source is drained by a thread of its own, which neither a screen nor a slow disk can
hold up; ``stop`` comes back with the source stopped and the file whole, whatever went wrong before;
a failure of the file or of the source is remembered, told once, and never loses what was already
taken. Memory is bounded: events wait for ``fold`` up to ``MAX_WAITING``, then the draining thread
folds them itself.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import pyarrow as pa

from recordings.capture.rotation import Rotation
from recordings.capture.writer_thread import MAX_WAITING, Keeper
from recordings.format.header import Header, RecordingError
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot
from tracers.batch import Batch, Losses
from tracers.errors import VmemscopeError
from tracers.machine import Machine

#: Seconds a source is asked to wait for events: the longest until a stop is noticed.
POLL_S: Final = 0.1


class Source(Protocol):
    """A live source of events. Made with its probes attached and disabled."""

    @property
    def machine(self) -> Machine:
        """The machine it runs on."""
        ...

    @property
    def probes(self) -> Mapping[str, str]:
        """Function -> how it is seen, or why it is not."""
        ...

    @property
    def warn_sites(self) -> tuple[str, ...]:
        """See ``Header``; so are the next three."""
        ...

    @property
    def clock(self) -> Mapping[str, str | int | None]: ...  # noqa: D102

    @property
    def origin(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102

    def start(self) -> None:
        """Enable the probes. Raises ``VmemscopeError``."""
        ...

    def poll(self, timeout_s: float) -> Batch | None:
        """Return events as soon as there are some, ``None`` after ``timeout_s`` without."""
        ...

    def stop(self) -> Iterator[Batch]:
        """Disable the probes; yield what was still under way."""
        ...

    def closing(self) -> tuple[str, ...]:
        """Return sentences about the whole capture, after ``stop``: witnesses, losses."""
        ...

    def close(self) -> None:
        """Leave nothing behind in the kernel. Again: does nothing."""
        ...


def header_of(source: Source) -> Header:
    """Return the header of a recording of ``source``."""
    return Header(
        machine=source.machine,
        probes=source.probes,
        clock=source.clock,
        origin=source.origin,
        warn_sites=source.warn_sites,
        notes=source.notes,
    )


class Capture:
    """One source being captured, to ``out`` or, without it, into numbers only.

    ``start``, then ``fold`` and ``snapshot`` from any thread now and then, then ``stop``.
    """

    def __init__(self, source: Source, out: Rotation | None = None) -> None:
        self.header = header_of(source)
        self.out = out
        self.events = 0  # taken from the source
        self.version = 0  # grows with every fold that changes the numbers
        self.failure = ""  # the first thing that went wrong: one line
        self.closing: tuple[str, ...] = ()  # the source's last sentences, after ``stop``
        self.started = 0.0  # time.monotonic() when the probes were on
        self._source = source
        self._keeper = Keeper(out, self._fail) if out is not None else None
        self._ledger = Ledger.of(self.header)
        self._folding = threading.Lock()
        self._waiting: list[Batch] = []
        self._rows_waiting = 0
        self._handing = threading.Lock()
        self._reason = "closed"
        self._stopping = threading.Event()
        self._begun = threading.Event()
        self._refusal: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Enable the probes and begin; raises what the source raises, which is then closed."""
        self._thread.start()
        self._begun.wait()
        if self._refusal is not None:
            self._thread.join()
            raise self._refusal

    @property
    def running(self) -> bool:
        """Whether events are still taken; not after ``stop`` or when the source has failed."""
        return self._thread.is_alive()

    def stop(self, reason: str = "closed") -> None:
        """Stop the source, take the rest, close the file; ``reason`` goes into it."""
        if self._thread.is_alive() and not self._stopping.is_set():
            self._reason = reason
            self._stopping.set()
        self._thread.join()
        self.fold()

    def fold(self) -> None:
        """Take what waits into the numbers: seldom and much at once is cheapest."""
        with self._folding:
            with self._handing:
                batches, self._waiting, self._rows_waiting = self._waiting, [], 0
            if batches:
                self.version += 1
                losses, events = merged(batches)
                self._ledger.add_losses(losses)
                self._ledger.fold(events)

    def snapshot(self) -> Snapshot:
        """Return the numbers of all that was folded; after ``stop`` they are final."""
        with self._folding:
            return self._ledger.snapshot(final=not self.running)

    @property
    def waiting(self) -> int:
        """Events that wait for ``fold``."""
        return self._rows_waiting

    def _run(self) -> None:
        try:
            if self._keeper is not None:
                self._keeper.start()
            self._source.start()
        except Exception as error:  # noqa: BLE001 (raised by ``start``)
            self._refusal = error
            if self._keeper is not None:
                self._keeper.halt()
            self._source.close()
            return
        finally:
            self.started = time.monotonic()
            self._begun.set()
        try:
            self._drain()
        except Exception as error:  # noqa: BLE001 (whatever it is, what was seen must be kept)
            self._fail(error)
        notes = self._end()
        try:
            if self._keeper is not None:
                self._keeper.close(self._reason, notes)
        except RecordingError as error:
            self._fail(error)

    def _drain(self) -> None:
        while not self._stopping.is_set():
            batch = self._source.poll(POLL_S)
            if batch is not None:
                self._take(batch)

    def _end(self) -> tuple[str, ...]:
        """Stop the source whatever happens; return its last sentences."""
        try:
            for batch in self._source.stop():
                self._take(batch)
            self.closing = self._source.closing()
        except Exception as error:  # noqa: BLE001 (as above)
            self._fail(error)
        try:
            self._source.close()
        except Exception as error:  # noqa: BLE001 (as above)
            self._fail(error)
        return (*self.closing, *([self.failure] if self.failure else ()))

    def _take(self, batch: Batch) -> None:
        """Have it written first: the file is what survives."""
        self.events += batch.events.num_rows
        if self._keeper is not None:
            self._keeper.give(batch)
        with self._handing:
            self._waiting.append(batch)
            self._rows_waiting += batch.events.num_rows
            full = self._rows_waiting >= MAX_WAITING
        if full:
            self.fold()

    def _fail(self, error: Exception) -> None:
        if not self.failure:
            known = isinstance(error, VmemscopeError)
            self.failure = str(error) if known else f"{type(error).__name__}: {error}"
            if not self._stopping.is_set():
                self._reason = self.failure


def merged(batches: Sequence[Batch]) -> tuple[Losses, pa.RecordBatch]:
    """Return the batches' losses and their events in one batch."""
    losses = sum((batch.losses for batch in batches), start=Losses())
    table = pa.Table.from_batches([batch.events for batch in batches]).combine_chunks()
    whole = table.to_batches()
    return losses, whole[0] if whole else batches[0].events
