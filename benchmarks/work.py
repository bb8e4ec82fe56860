# SPDX-License-Identifier: GPL-2.0-only
"""One measured piece of work, run as a process of its own: ``python -m benchmarks.work WHAT FILE``.

Prints one line: events, CPU seconds of the work, peak RSS of the process in MiB, wall seconds.
WHAT is ``decode`` (read and verify every column: no reader does less), ``classify`` (and the
regime of every call) or ``ledger`` (every number).
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np

from recordings.format.reader import open_recording
from recordings.ledger.ledger import folded
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


def decode_all(path: Path) -> int:
    """Read and verify every column of ``path``, and nothing else."""
    with open_recording(path) as recording:
        return sum(batch.events.num_rows for batch in recording.batches())


def ledger_all(path: Path) -> int:
    """Fold every event of ``path`` into the ledger, as a report does."""
    with open_recording(path) as recording:
        return folded(recording).snapshot(final=True).events


if __name__ == "__main__":
    work = {"decode": decode_all, "classify": classify_all, "ledger": ledger_all}[sys.argv[1]]
    began = time.perf_counter()
    before = time.process_time()
    events = work(Path(sys.argv[2]))
    cpu = time.process_time() - before
    wall = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(events, f"{cpu:.4f}", f"{peak:.0f}", f"{wall:.4f}")
