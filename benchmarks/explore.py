# SPDX-License-Identifier: GPL-2.0-only
"""What the table of every call costs: ``python -m benchmarks.explore``.

The peer is the ledger alone over the same recording, in the same process and taking turns; figures
are CPU time of one core, medians. Only the ratios travel.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.grow import grow
from recordings.explore.index import Index
from recordings.explore.matches import By, Everything, Matches
from recordings.explore.span_table import SpanTable
from recordings.explore.tally import Tally
from recordings.format.reader import Recording, open_recording
from recordings.ledger.columns import COLUMNS, Bool
from recordings.ledger.ledger import Ledger
from recordings.samples import sample_path

_RUNS = 5


class Slow:
    """A task's calls that took longer than the median."""

    names = ("comm", "duration", "end_row")

    def mask(self, columns: dict[str, np.ndarray], table: SpanTable) -> Bool:
        """Return them."""
        slow = (columns["end_row"] >= 0) & (columns["duration"] > 600_000)
        return slow & (columns["comm"] == table.comms.index("rmmod"))


def took(work: Callable[..., object], *given: object) -> float:
    """CPU seconds of some work."""
    before = time.process_time()
    work(*given)
    return time.process_time() - before


def median(work: Callable[..., object], *given: object) -> float:
    """Milliseconds of CPU that some work takes as a rule."""
    return statistics.median(took(work, *given) for _ in range(_RUNS)) * 1e3


def resident() -> int:
    """MiB of this process that are in memory now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


def ledger(recording: Recording) -> Ledger:
    """Fold a recording into the numbers alone."""
    numbers = Ledger.of(recording.header)
    for batch in recording.batches(columns=COLUMNS):
        numbers.fold(batch)
    return numbers


def indexed(recording: Recording) -> Index:
    """Fold it into the numbers and the table."""
    index = Index(recording)
    while index.advance():
        pass
    return index


def tallied(matches: Matches, index: Index, recording: Recording) -> Tally:
    """Count matches."""
    tally = Tally(matches, recording.header.machine)
    tally.refresh(index.snapshot())
    while tally.advance():
        pass
    return tally


def measured(recording: Recording) -> Iterator[str]:
    """Yield the lines to print."""
    ledger(recording)
    alone, both = [], []
    for _ in range(_RUNS):
        alone.append(took(ledger, recording))
        both.append(took(indexed, recording))
    peer, cost = statistics.median(alone), statistics.median(both)
    before = resident()
    index = indexed(recording)
    table = index.table
    yield f"ledger alone {peer:6.2f} s"
    yield f"index        {cost:6.2f} s, ratio {cost / peer:.2f}, RSS {resident() - before:+d} MiB"
    yield f"             {len(table):,} calls, {table.columns.size / 2**20:.0f} MiB of file"
    yield f"40 calls anywhere {median(table.spans, _anywhere(len(table), 40)):.1f} ms"
    for name, let in (("everything", Everything()), ("slow calls of rmmod", Slow())):
        matches = Matches(table, let)
        yield f"{name}: {len(matches):,} matches, filter {median(Matches, table, let):.0f} ms"
        orders = (f"{by.value} {took(matches.order, by) * 1e3:.0f} ms" for by in By)
        yield f"  ordered by {', '.join(orders)}"
        yield f"  tally {median(tallied, matches, index, recording):.0f} ms"
        tally = tallied(matches, index, recording)
        rows = _anywhere(recording.rows, 50).tolist()
        passed, seeks = (
            statistics.median(took(work, row) for row in rows) * 1e3
            for work in (tally.passed, tally.snapshot)
        )
        yield f"  at any position: passed {passed:.2f} ms, snapshot {seeks:.0f} ms"


def _anywhere(size: int, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, size, count)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.explore")
    parser.add_argument("--events", type=int, default=10_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grown.arrows"
        grow(sample_path("storm"), path, options.events)
        with open_recording(path, verify=False) as recording:
            print(f"{options.events:,} events grown from the storm; seconds are of CPU")
            for line in measured(recording):
                print(line, flush=True)


if __name__ == "__main__":
    main()
