# SPDX-License-Identifier: GPL-2.0-only
"""``make bench``: what reading costs, beside what trace-cmd takes for the same kernel's events.

Every figure is of one process, the median of several runs: CPU time, and wall time beside it since
folding decodes ahead in a thread. The limit is decoding all columns; the peer is
``trace-cmd report`` on the kernel's own trace-cmd.dat, in the same run on the same machine.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.grow import grow
from recordings.samples import sample_path

_RUNS = 5
_DAT = Path("../shared/captures/6.1.192-vmemlab-39bit/trace-cmd.dat")


def measure(what: str, path: Path, runs: int = _RUNS) -> tuple[int, float, float, float]:
    """Events, median CPU and wall seconds and peak RSS in MiB of ``what`` on ``path``."""
    lines = [
        subprocess.run(
            [sys.executable, "-m", "benchmarks.work", what, str(path)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for _ in range(runs)
    ]
    cpu, wall = (statistics.median(float(line[at]) for line in lines) for at in (1, 3))
    return int(lines[0][0]), cpu, wall, max(float(line[2]) for line in lines)


def trace_cmd(path: Path) -> tuple[int, float]:
    """Events and median CPU seconds of ``trace-cmd report`` on ``path``, whole process."""
    seconds = []
    events = 0
    for _ in range(_RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            ["trace-cmd", "report", "-i", str(path)], check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        events = sum(b": " in line for line in done.stdout.splitlines())
    return events, statistics.median(seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000_000, 100_000_000])
    parser.add_argument("--dat", type=Path, default=_DAT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grown.arrows"
        grow(sample_path("storm"), path, options.events)
        size = path.stat().st_size
        print(f"recording: {options.events:,} events grown from the storm, {size / 2**20:.0f} MiB")
        rate = {}
        for what in ("decode", "classify", "ledger"):
            events, cpu, wall, peak = measure(what, path)
            rate[what] = events / cpu
            print(
                f"{what:9} {events / cpu / 1e6:7.1f} M events/s a CPU second, "
                f"{events / wall / 1e6:.1f} a second, peak RSS {peak:.0f} MiB, "
                f"{rate['decode'] / rate[what]:.1f}x the CPU of decoding alone"
            )
        _peer(options.dat, rate)
        path.unlink()
        for events in options.sizes:
            grow(sample_path("storm"), path, events)
            *_, peak = measure("ledger", path, runs=1)
            print(f"ledger of {events:>11,} events streamed: peak RSS {peak:.0f} MiB")
            path.unlink()


def _peer(dat: Path, rate: dict[str, float]) -> None:
    if not shutil.which("trace-cmd") or not dat.is_file():
        print("peer: trace-cmd or its capture is not here: no ratio")
        return
    events, cpu = trace_cmd(dat)
    print(f"peer: trace-cmd report, {events} events, {cpu / events * 1e6:.1f} µs an event")
    for what, per_second in rate.items():
        print(f"ratio: {what} is {cpu / events * per_second:,.0f}x trace-cmd report per event")


if __name__ == "__main__":
    main()
