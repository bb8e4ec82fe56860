# SPDX-License-Identifier: GPL-2.0-only
"""What a command costs before it has anything to do: ``python -m benchmarks.start``.

CPU seconds of the whole process, minimum and median of several runs that take turns. The peer is a
Python that imports pyarrow and nothing else: what reads a recording cannot start for less.
"""

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

_IMAGE = Path("tests/kernels/debian-6.12.117-16k.elf")
_PEER = "import pyarrow"
_COMMANDS: dict[str, tuple[str, ...]] = {
    _PEER: ("-c", _PEER),
    "--help": ("-m", "vmemscope", "--help"),
    "report sample:storm": ("-m", "vmemscope", "report", "sample:storm"),
    "report sample:storm --json": ("-m", "vmemscope", "report", "sample:storm", "--json"),
    "check sample:storm": ("-m", "vmemscope", "check", "sample:storm"),
    "window IMAGE": ("-m", "vmemscope", "window", str(_IMAGE)),
}


def cpu(*command: str) -> float:
    """CPU seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.start")
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for run in range(options.runs + 1):
        for name, args in _COMMANDS.items():
            seconds = cpu(sys.executable, *args)
            if run:  # the first one compiles
                taken[name].append(seconds)
    peer = statistics.median(taken[_PEER])
    print(f"CPU seconds of a process, {options.runs} runs; ratio to: python -c '{_PEER}'")
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:27} min {min(seconds):.2f}, median {median:.2f}, ratio {median / peer:.1f}")


if __name__ == "__main__":
    main()
