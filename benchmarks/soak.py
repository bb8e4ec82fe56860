# SPDX-License-Identifier: GPL-2.0-only
"""Hours of live capture, watched from outside: ``python -m benchmarks.soak --minutes 60``.

The storm is played as a live feed, round after round, through the very capture that ``record``
and ``live`` run: the writer with rotation and deletion, the ledger, and the player that makes the
dashboard's views. Prints the process's RSS every minute and, at the end, its slope.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.feed import Feed
from recordings.capture.drain import Capture, header_of
from recordings.capture.rotation import Limits, Rotation
from recordings.explore.filler import Filler
from recordings.explore.span_table import SpanTable
from recordings.samples import sample_path
from tui.playback.live_player import LivePlayer


def rss_kib() -> int:
    """Resident set size of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise OSError("no VmRSS")


def slope(minutes: list[float], kib: list[int]) -> float:
    """KiB a minute, least squares, without the first quarter, in which caches fill."""
    skip = len(minutes) // 4
    return float(np.polyfit(minutes[skip:], kib[skip:], 1)[0])


def main() -> None:
    """Run it and print a line a minute."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=5_000, help="events a second")
    parser.add_argument("--every", type=float, default=60, help="seconds between figures")
    options = parser.parse_args()
    views = 0

    def count(_: object) -> None:
        nonlocal views
        views += 1

    with tempfile.TemporaryDirectory() as folder:
        feed = Feed(sample_path("storm"), rate=options.rate, rounds=None)
        limits = Limits(size=4 << 20, keep=3)
        out = Rotation(Path(folder) / "soak.arrows", header_of(feed), limits)
        table = SpanTable()
        capture = Capture(feed, out, sink=Filler(table))
        capture.start()
        player = LivePlayer(capture, table)
        thread = threading.Thread(target=player.run, args=[count])
        thread.start()
        at, kib = [], []
        began = time.monotonic()
        print(
            "minute  RSS MiB     events     views  files  MiB on disk  Arrow MiB  CPU s", flush=True
        )
        while (passed := time.monotonic() - began) < options.minutes * 60:
            time.sleep(options.every - passed % options.every)
            at.append((time.monotonic() - began) / 60)
            kib.append(rss_kib())
            there = [path.stat().st_size for path in Path(folder).iterdir()]
            print(
                f"{at[-1]:6.1f} {kib[-1] / 1024:8.2f} {capture.events:10,} {views:9,} "
                f"{len(out.parts) + 1:6} {sum(there) / 2**20:12.1f} "
                f"{pa.total_allocated_bytes() / 2**20:10.1f} {time.process_time():6.0f}",
                flush=True,
            )
        player.stop()
        thread.join()
        capture.stop()
        snapshot = capture.snapshot()
        print(
            f"sent {feed.sent:,}, written {out.rows:,}, folded {snapshot.events:,}, failure: "
            f"{capture.failure or 'none'}; {snapshot.hits:,} hits, {snapshot.warnings:,} WARNs"
        )
        # A busy host makes the feed come in larger pieces; a leak would raise the lowest, too.
        lowest = [f"{part.min() / 1024:.1f}" for part in np.array_split(kib, 4) if len(part)]
        print("lowest RSS of each quarter:", *lowest, "MiB")
        print(f"RSS slope after the first quarter: {slope(at, kib):+.1f} KiB a minute")


if __name__ == "__main__":
    main()
