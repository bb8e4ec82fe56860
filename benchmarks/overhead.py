# SPDX-License-Identifier: GPL-2.0-only
"""What probes cost the kernel a section, ours and bpftrace's: ``python -m benchmarks.overhead``.

Boots lab kernels (docs/lab.md), adds and removes a device of 128 sections again and again, with
nothing probed, with each engine and rung, and with bpftrace on the same points, all in one boot;
prints medians and ratios. The kernel's own trace of __add_pages and __remove_pages is the measure,
so what it costs itself is in every figure alike. Emulated: only the ratios mean something.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab.harness import Boot, Lab, kernel

SECTIONS = 128
NAMES = (
    "none",
    *(
        f"{engine}-{rung}"
        for engine in ("bcc", "tracefs")
        for rung in ("kprobe", "breakpoint", "derived", "filtered")
    ),
    "bpftrace-printf",
    "bpftrace-hist",
)


def durations(boot: Boot, name: str, call: str) -> Iterator[float]:
    """Microseconds of each call, a section."""
    begun: dict[int, int] = {}
    for line in boot.truth(name):
        if line.name == call:
            begun[line.tid] = line.us
        elif line.name == f"{call}_ret" and line.tid in begun:
            yield (line.us - begun.pop(line.tid)) / SECTIONS


def table(boot: Boot) -> None:
    """Print a line a configuration."""
    calls = {"add_pages": "section-add", "remove_pages": "section-remove"}
    base = {call: statistics.median(durations(boot, "none", call)) for call in calls}
    print(f"  {'µs a section, median (min to max)':24}", *(f"{v:>30}" for v in calls.values()))
    for name in NAMES:
        cells = []
        for call in calls:
            took = list(durations(boot, name, call))
            middle = statistics.median(took)
            cells.append(
                f"{middle:7.1f} ({min(took):.1f} to {max(took):.1f}) {middle / base[call]:5.2f}x"
            )
        print(f"  {name:33}", *(f"{cell:>32}" for cell in cells), flush=True)


def main() -> None:
    """Boot and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.overhead")
    parser.add_argument("--kernels", nargs="+", default=["6.1", "6.12"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        for name in options.kernels:
            boot = lab.boot(kernel(name), "overhead.sh", timeout_s=2400)
            print(f"{name}:")
            table(boot)


if __name__ == "__main__":
    main()
