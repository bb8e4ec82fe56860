# SPDX-License-Identifier: GPL-2.0-only
"""``python -m benchmarks.pieces``: what a live capture costs a tick, however few the events.

CPU time of a fold by the size of the batch, beside pyarrow's own count of kinds and phases of the
same batch, in turns in the same process; and of a snapshot by how many distinct ranges there are,
beside ``numpy.lexsort`` of them: whoever lists ranges by address sorts them at least.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from benchmarks.grow import grow
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.samples import sample_path
from tests.recordings.made import events
from tracers.events import Kind, Phase

_SIZES = (1, 10, 100, 1000, 10_000, 65_536)
_RANGES = (1000, 10_000, 100_000, 500_000)
_SECONDS = 1.0
_SECTION = 1 << 21


def cost(*works: Callable[[], object]) -> list[float]:
    """CPU microseconds of each, the median; all take turns."""
    spent: list[list[float]] = [[] for _ in works]
    until = time.process_time() + _SECONDS
    while time.process_time() < until or len(spent[0]) < 3:
        for work, times in zip(works, spent, strict=True):
            before = time.process_time()
            work()
            times.append(time.process_time() - before)
    return [float(np.median(times)) * 1e6 for times in spent]


def counted(batch: pa.RecordBatch) -> pa.Table:
    """Count kinds and phases, as pyarrow does it."""
    table = pa.Table.from_batches([batch.select(["kind", "phase"])])
    return table.group_by(["kind", "phase"]).aggregate([([], "count_all")])


def folds(path: Path) -> None:
    """Print the cost of a fold by size."""
    with open_recording(path) as recording:
        batches = [batch.events for batch in recording.batches()]
        ledger = Ledger.of(recording.header)
        ledger.fold(batches[0])
        for size in _SIZES:
            pieces = _endless(batches[1:], size)
            ours, peer = cost(
                lambda pieces=pieces: ledger.fold(next(pieces)),
                lambda size=size: counted(batches[0].slice(0, size)),
            )
            print(
                f"fold of {size:6,} events {ours:8.0f} µs, {size / ours:6.3f} M events/s; "
                f"{ours / peer:5.1f}x pyarrow's count of kinds"
            )


def snapshots() -> None:
    """Print the cost of a snapshot by distinct ranges, all beside each other or all apart."""
    with open_recording(sample_path("storm")) as recording:
        header = recording.header
    for number in _RANGES:
        for name, step in (("in one extent", 1), ("each alone", 2)):
            start = np.arange(number, dtype=np.uint64) * np.uint64(step * _SECTION)
            start += np.uint64(0xFFFF_8000_0000_0000)
            ledger, end = Ledger.of(header), start + np.uint64(_SECTION)
            ledger.fold(events(number, Kind.FREE, Phase.POINT, start=start, end=end))
            one = events(1, Kind.FREE, Phase.POINT, start=start[:1], end=end[:1])

            def ours(ledger: Ledger = ledger, one: pa.RecordBatch = one) -> None:
                ledger.fold(one)  # or nothing is computed anew
                ledger.snapshot(lists=False)

            mixed = np.random.default_rng(0).permutation(number)
            took, sort = cost(ours, lambda s=start[mixed], e=end[mixed]: np.lexsort((e, s)))
            print(
                f"snapshot of {number:7,} ranges {name:13} {took / 1000:6.2f} ms, "
                f"{took / sort:6.2f}x sorting them"
            )


def _endless(batches: list[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    while True:
        for batch in batches:
            for first in range(0, batch.num_rows - size + 1, size):
                yield batch.slice(first, size)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.pieces")
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "grown.arrows"
        grow(sample_path("storm"), path, options.events)
        folds(path)
    snapshots()


if __name__ == "__main__":
    main()
