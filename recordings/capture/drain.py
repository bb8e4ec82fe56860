# SPDX-License-Identifier: GPL-2.0-only
"""Captures a live event feed: its events go to the file first, then into the numbers.

Promises: a thread of its own drains the feed, and neither a screen nor a slow disk can block it;
``stop`` returns with the feed stopped and the file whole, whatever went wrong before; a failure of
the file or of the feed is remembered, reported once, and never loses what was already taken.
Memory is bounded: events wait for ``fold`` up to ``MAX_WAITING``, then the draining thread folds
them itself.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa

from recordings.capture.rotation import Rotation
from recordings.capture.writer_thread import MAX_WAITING, WriterThread
from recordings.format.final_numbers import Numbers
from recordings.format.header import ASKED_ENDS, AtEnd, Header, RecordingError
from recordings.ledger.ledger import Ledger
from recordings.ledger.sink import Sink
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.stored import numbers_of
from tracers.batch import Batch, Losses
from tracers.errors import VmemscopeError
from tracers.machine import Machine
from tracers.observer import Observer

#: Seconds a feed is asked to wait for events: the longest until a stop is noticed.
POLL_S: Final = 0.1


class EventFeed(Protocol):
    """A live feed of events. Made with its probes attached and disabled."""

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

    @property
    def observer(self) -> Observer:
        """What watching a call costs the machine; before ``start`` an estimate."""
        ...

    def start(self) -> None:
        """Enable the probes. Raises ``VmemscopeError``."""
        ...

    def poll(self, timeout_s: float) -> Batch | None:
        """Return events as soon as there are some, ``None`` after ``timeout_s`` without."""
        ...

    def stop(self) -> Iterator[Batch]:
        """Disable the probes; yield what was still buffered."""
        ...

    def closing(self) -> tuple[str, ...]:
        """Return sentences about the whole capture, after ``stop``: witnesses, losses."""
        ...

    def close(self) -> None:
        """Leave nothing behind in the kernel. Again: does nothing."""
        ...


#: Looks at what the machine has mapped: what a recording keeps of an audit, {} for nothing.
Audited = Callable[[Machine], Mapping[str, Any]]


def header_of(feed: EventFeed, audit: Mapping[str, Any] | None = None) -> Header:
    """Return the header of a recording of ``feed``; ``audit``: of the machine at its start."""
    return Header(
        machine=feed.machine,
        probes=feed.probes,
        clock=feed.clock,
        origin=feed.origin,
        warn_sites=feed.warn_sites,
        notes=feed.notes,
        audit=audit or {},
        observer=feed.observer.to_dict(),
    )


class Capture:
    """One feed being captured, to ``out`` or, without it, into numbers only.

    ``start``, then ``fold`` and ``snapshot`` from any thread now and then, then ``stop``. A
    ``sink`` gets what is found in the events that are folded. ``header``: the file's. ``audit`` is
    asked once the feed has ended; it raises nothing.
    """

    def __init__(
        self,
        feed: EventFeed,
        out: Rotation | None = None,
        *,
        sink: Sink | None = None,
        header: Header | None = None,
        audit: Audited | None = None,
    ) -> None:
        self.header = header_of(feed) if header is None else header
        self.out = out
        self.events = 0  # taken from the feed
        self.version = 0  # grows with every fold that changes the numbers
        self.failure = ""  # the first thing that went wrong: one line
        self.closing: tuple[str, ...] = ()  # the feed's closing notes, after ``stop``
        self.started = 0.0  # time.monotonic() when the probes were on
        self._feed = feed
        self._writer = WriterThread(out, self._fail) if out is not None else None
        self._sink = sink
        self._audit = audit
        self._observer: Mapping[str, Any] = {}
        self._ledger = Ledger.of(self.header)
        self._folded = 0
        self._fold_lock = threading.Lock()
        self._waiting: list[Batch] = []
        self._rows_waiting = 0
        self._queue_lock = threading.Lock()
        self._reason = "closed"
        self._stopping = threading.Event()
        self._begun = threading.Event()
        self._start_error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Enable the probes and begin; raises what the feed raises, which is then closed."""
        self._thread.start()
        self._begun.wait()
        if self._start_error is not None:
            self._thread.join()
            raise self._start_error

    @property
    def running(self) -> bool:
        """Whether events are still taken; not after ``stop`` or when the feed has failed."""
        return self._thread.is_alive()

    def stop(self, reason: str = "closed") -> None:
        """Stop the feed, take the rest, close the file; ``reason`` goes into it."""
        if self._thread.is_alive() and not self._stopping.is_set():
            self._reason = reason
            self._stopping.set()
        self._thread.join()
        self.fold()

    def fold(self) -> None:
        """Fold what waits into the numbers; cheapest seldom and much at once."""
        with self._fold_lock:
            with self._queue_lock:
                batches, self._waiting, self._rows_waiting = self._waiting, [], 0
            if batches:
                self.version += 1
                losses, events = merged(batches)
                self._ledger.add_losses(losses)
                self._ledger.fold(events, self._sink)
                self._folded += events.num_rows

    def snapshot(self) -> Snapshot:
        """Return the numbers of all that was folded; after ``stop`` they are final."""
        with self._fold_lock:
            return self._ledger.snapshot(final=not self.running)

    def counts(self) -> tuple[int, int]:
        """Return the events and the hits folded so far."""
        with self._fold_lock:
            return self._folded, self._ledger.counts()[1]

    @property
    def waiting(self) -> int:
        """Events that wait for ``fold``."""
        return self._rows_waiting

    def _run(self) -> None:
        try:
            if self._writer is not None:
                self._writer.start()
            self._feed.start()
        except Exception as error:  # noqa: BLE001 (raised by ``start``)
            self._start_error = error
            if self._writer is not None:
                self._writer.stop()
            self._feed.close()
            return
        finally:
            self.started = time.monotonic()
            self._begun.set()
        try:
            self._drain()
        except Exception as error:  # noqa: BLE001 (whatever it is, what was seen must be kept)
            self._fail(error)
        notes = self._end()
        audit = self._audit(self.header.machine) if self._audit else {}
        at_end = AtEnd(audit, self._observer)
        with self._fold_lock:
            self._ledger.end_with(at_end)
        if self._reason not in ASKED_ENDS:
            with self._fold_lock:
                self._ledger.add_losses(Losses(without_end=1))
        try:
            if self._writer is not None:
                self._writer.close(self._reason, notes, at_end, self._numbers())
        except RecordingError as error:
            self._fail(error)

    def _numbers(self) -> Numbers | None:
        """Return the final numbers for the file, of all that was taken."""
        try:
            self.fold()
            with self._fold_lock:
                return numbers_of(self._ledger.figures(), self._ledger.losses)
        except Exception as error:  # noqa: BLE001 (the file is closed without them)
            self._fail(error)
            return None

    def _drain(self) -> None:
        while not self._stopping.is_set():
            batch = self._feed.poll(POLL_S)
            if batch is not None:
                self._take(batch)

    def _end(self) -> tuple[str, ...]:
        """Stop the feed whatever happens; return its closing notes."""
        try:
            for batch in self._feed.stop():
                self._take(batch)
            self.closing = self._feed.closing()
            self._observer = self._feed.observer.to_dict()
        except Exception as error:  # noqa: BLE001 (as above)
            self._fail(error)
            self._reason = self.failure  # whatever was asked for: its last events are missing
        try:
            self._feed.close()
        except Exception as error:  # noqa: BLE001 (as above)
            self._fail(error)
        return (*self.closing, *([self.failure] if self.failure else ()))

    def _take(self, batch: Batch) -> None:
        """Queue it for the file first, which is what survives, then for the numbers."""
        self.events += batch.events.num_rows
        if self._writer is not None:
            self._writer.put(batch)
        with self._queue_lock:
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
