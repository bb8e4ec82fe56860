# SPDX-License-Identifier: GPL-2.0-only
"""Writer thread: a slow disk never blocks capture.

Promises: a batch that comes after a quiet moment is written at once, for a kernel that panics gives
no second chance; under a steady stream files are written ten times a second; when a disk stalls,
events wait here, up to ``MAX_WAITING``, and then in the kernel's own rings, which count what they
lose; a disk that fails is reported once and stops nothing.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from recordings.capture.rotation import Rotation
from recordings.format.final_numbers import Numbers
from recordings.format.header import AtEnd
from tracers.batch import Batch

#: Events that may wait to be written, some 100 MB.
MAX_WAITING: Final = 1 << 20
#: Seconds between two writes once they come one after the other: a batch costs some 2 kB and a
#: trip to the disk, however few its events.
EVERY_S: Final = 0.1
#: Writes that may follow each other at once; each ``EVERY_S`` allows one more.
BURST: Final = 16
_TICK_S: Final = 1.0  # between two looks at whether a file's time is over


class RateLimiter:
    """Limits the rate of writes: a burst at once, then one each ``EVERY_S`` (a token bucket)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens = float(BURST)
        self._at = clock()

    def count_write(self) -> float:
        """Count a write; return the seconds that the next has to wait."""
        now = self._clock()
        self._tokens = min(float(BURST), self._tokens + (now - self._at) / EVERY_S) - 1
        self._at = now
        return max(0.0, (1 - self._tokens) * EVERY_S)


class WriterThread:
    """Writes batches to ``out``; its thread calls ``failed`` with each error."""

    def __init__(self, out: Rotation, failed: Callable[[Exception], None]) -> None:
        self._out = out
        self._failed = failed
        self._waiting: list[Batch] = []
        self._rows = 0  # that wait or are being written
        self._ending = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Warm up, then start the thread."""
        self._out.warm_up()
        self._thread.start()

    def put(self, batch: Batch) -> None:
        """Queue ``batch``; returns at once, unless ``MAX_WAITING`` events wait already."""
        with self._wake:
            self._wake.wait_for(lambda: self._rows < MAX_WAITING)
            self._waiting.append(batch)
            self._rows += batch.events.num_rows
            self._wake.notify_all()

    def stop(self) -> None:
        """Write what waits and end the thread; ``out`` stays open. Again: does nothing."""
        with self._wake:
            self._ending = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def close(
        self,
        reason: str,
        notes: Sequence[str],
        at_end: AtEnd = AtEnd(),  # noqa: B008 (frozen)
        numbers: Numbers | None = None,
    ) -> None:
        """Stop, and end the last file. Raises ``RecordingError``."""
        self.stop()
        self._out.close(reason, notes, at_end, numbers)

    def _run(self) -> None:
        limiter = RateLimiter()
        while (batches := self._next()) is not None:
            try:
                self._write(batches)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next may be written)
                self._failed(error)
            with self._wake:
                self._rows -= sum(batch.events.num_rows for batch in batches)
                self._wake.notify_all()
                if batches:
                    self._wake.wait_for(lambda: self._ending, limiter.count_write())

    def _next(self) -> Sequence[Batch] | None:
        """Return what waits, nothing after ``_TICK_S``; None when the thread is to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._ending, _TICK_S)
            batches, self._waiting = self._waiting, []
            return None if self._ending and not batches else batches

    def _write(self, batches: Sequence[Batch]) -> None:
        """Write every batch, also after one that failed: the file counts those as missing."""
        if not batches:
            self._out.tick()
            return
        failure: Exception | None = None
        for batch in batches:
            try:
                self._out.write(batch)
            except Exception as error:  # noqa: BLE001 (raised below)
                failure = failure or error
        if failure is not None:
            raise failure
        self._out.flush()
