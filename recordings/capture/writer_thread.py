# SPDX-License-Identifier: GPL-2.0-only
"""Keeps a capture's events in its files: a thread that writes, so that a slow disk holds up nobody.

Promises: what is given after a quiet moment is on its way to the disk at once, for a kernel that
panics gives no second chance; under a steady stream files are written to ten times a second; a disk
that stalls makes events wait here, up to ``MAX_WAITING``, and then in the kernel's own rings, which
count what they lose; a disk that fails is told once and stops nothing.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from recordings.capture.rotation import Rotation
from tracers.batch import Batch

#: Events that may wait to be written, some 100 MB.
MAX_WAITING: Final = 1 << 20
#: Seconds between two writes once they come one after the other: a batch costs some 2 kB and a
#: trip to the disk, however few its events.
EVERY_S: Final = 0.1
#: Writes that may follow each other at once; each ``EVERY_S`` allows one more.
BURST: Final = 16
_TICK_S: Final = 1.0  # between two looks at whether a file's time is over


class Pace:
    """When the next write may be: a burst at once, then one each ``EVERY_S`` (a token bucket)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._at = clock()

    def wrote(self) -> float:
        """Count a write; return the seconds that the next has to wait."""
        now = self._clock()
        self._left = min(float(BURST), self._left + (now - self._at) / EVERY_S) - 1
        self._at = now
        return max(0.0, (1 - self._left) * EVERY_S)


class Keeper:
    """Writes what it is given to ``out``; ``failed`` is called, by its thread, where it cannot."""

    def __init__(self, out: Rotation, failed: Callable[[Exception], None]) -> None:
        self._out = out
        self._failed = failed
        self._waiting: list[Batch] = []
        self._rows = 0  # that wait or are being written
        self._ending = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Make ready, then begin."""
        self._out.rehearse()
        self._thread.start()

    def give(self, batch: Batch) -> None:
        """Have ``batch`` written; comes back at once, unless too much waits already."""
        with self._wake:
            self._wake.wait_for(lambda: self._rows < MAX_WAITING)
            self._waiting.append(batch)
            self._rows += batch.events.num_rows
            self._wake.notify_all()

    def halt(self) -> None:
        """Write what waits and end; ``out`` stays open. Again: does nothing."""
        with self._wake:
            self._ending = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def close(self, reason: str, notes: Sequence[str]) -> None:
        """Halt, and end the last file. Raises ``RecordingError``."""
        self.halt()
        self._out.close(reason, notes)

    def _run(self) -> None:
        pace = Pace()
        while (batches := self._next()) is not None:
            try:
                self._write(batches)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next may be kept)
                self._failed(error)
            with self._wake:
                self._rows -= sum(batch.events.num_rows for batch in batches)
                self._wake.notify_all()
                if batches:
                    self._wake.wait_for(lambda: self._ending, pace.wrote())

    def _next(self) -> Sequence[Batch] | None:
        """Return what waits, after a while without nothing; None when it is over."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._ending, _TICK_S)
            batches, self._waiting = self._waiting, []
            return None if self._ending and not batches else batches

    def _write(self, batches: Sequence[Batch]) -> None:
        """Write every batch, also behind one that failed: there it is counted as missing."""
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
