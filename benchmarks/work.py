# SPDX-License-Identifier: GPL-2.0-only
"""One measured piece of work, run as a process of its own: ``python -m benchmarks.work WHAT FILE``.

Prints one line: events, CPU seconds of the work, peak RSS of the process in MiB.
WHAT is ``classify`` (read, verify, regime of every call) or ``ledger`` (every number).
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np

from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from tracers.codes import codes
from tracers.events import Kind, Phase
from tracers.regimes import REGIMES, classify

_COLUMNS = ("kind", "phase", "start", "end")


def classify_all(path: Path) -> int:
    """Count the events of ``path`` and the regime of its calls, as a verdict needs them."""
    with open_recording(path) as recording:
        window = recording.header.machine.window
        counts = np.zeros(len(REGIMES), np.int64)
        for batch in recording.batches(columns=_COLUMNS):
            events = batch.events
            kind = codes(events.column("kind"), Kind)
            calls = ((kind == Kind.POPULATE) | (kind == Kind.FREE)) & (
                codes(events.column("phase"), Phase) != Phase.EXIT
            )
            start, end = (
                events.column(name).fill_null(0).to_numpy(zero_copy_only=False)
                for name in ("start", "end")
            )
            counts += np.bincount(classify(start, end, window)[calls], minlength=len(REGIMES))
        return recording.rows


def ledger_all(path: Path) -> int:
    """Fold every event of ``path`` into the ledger."""
    with open_recording(path) as recording:
        ledger = Ledger.of(recording.header)
        for batch in recording.batches():
            ledger.fold(batch)
        return ledger.snapshot(final=True).events


if __name__ == "__main__":
    work = {"classify": classify_all, "ledger": ledger_all}[sys.argv[1]]
    before = time.process_time()
    events = work(Path(sys.argv[2]))
    cpu = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(events, f"{cpu:.4f}", f"{peak:.0f}")
