# SPDX-License-Identifier: GPL-2.0-only
"""What watching costs, and whether we know it: ``python -m benchmarks.observer``.

Boots lab kernels (docs/lab.md), adds and removes a device of 128 sections again and again, with
nothing probed, with the kernel's own ftrace, with each engine and rung of ours and with bpftrace on
the same points, all in one boot. The peers are rows of the same table: ftrace with its share of
WARN, bpftrace with its time. The measure, a probe on __add_pages and __remove_pages, is in every
figure alike. Emulated: only ratios mean something, and only where the host is idle.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recordings.format.reader import open_recording
from recordings.ledger.ours import ours
from recordings.ledger.warn_shares import warn_shares
from recordings.ledger.whole import fold
from tests.lab.harness import Boot, Lab, kernel
from tracers.kinds import Kind

_HEADS = (
    "add_pages ms", "(first left out)", "x none", "section-add µs",
    "WARN recorded", "corrected", "ours ms", "by difference", "predicts",
)  # fmt: skip


def durations(boot: Boot, name: str, call: str) -> list[float]:
    """Milliseconds of each call, by the kernel's own trace; the first, which warms up, left out."""
    begun: dict[int, int] = {}
    took = []
    for line in boot.truth(name):
        if line.name == call:
            begun[line.tid] = line.us
        elif line.name == f"{call}_ret" and line.tid in begun:
            took.append((line.us - begun.pop(line.tid)) / 1000)
    return took[1:]


def share_of(boot: Boot, name: str) -> float:
    """WARN's share of hot-add by the kernel's own trace, percent."""
    shares, spent, begun, warned = [], 0, 0, 0
    for line in boot.truth(name):
        match line.name:
            case "add_pages":
                begun, spent = line.us, 0
            case "warn":
                warned = line.us
            case "warn_ret":
                spent += line.us - warned
            case "add_pages_ret":
                shares.append(100 * spent / (line.us - begun))
    return statistics.median(shares[1:])


def recorded(boot: Boot, name: str) -> Iterator[str]:
    """Yield section-add, WARN's share as recorded and corrected, and what of a hot-add was ours."""
    path = boot.out / f"{name}.arrows"
    if not path.exists():
        return
    with open_recording(path) as recording:
        snapshot = fold(recording)
    section = snapshot.timings.get(Kind.SECTION_ADD)
    yield f"{section.p50_ns / 1000:.1f}" if section else "-"
    part = next((each for each in warn_shares(snapshot) if each.kind is Kind.ADD_PAGES), None)
    yield f"{100 * part.warn_ns / part.total_ns:.1f} %" if part else "-"
    yield f"{100 * part.share:.1f} %" if part and part.corrected else "-"
    own = ours(snapshot, Kind.ADD_PAGES)
    yield f"{own.each_ns / 1e6:.2f}" if own else "-"


def table(boot: Boot) -> None:
    """Print a line a configuration."""
    none = statistics.median(durations(boot, "none", "add_pages"))
    print("", *(f"{head:>17}" for head in _HEADS))
    for path in sorted(boot.out.glob("*.truth"), key=lambda each: each.stat().st_mtime_ns):
        name = path.stem
        took = durations(boot, name, "add_pages")
        middle = statistics.median(took)
        below = name.endswith("-below")
        cells = [f"{middle:.2f}", f"{min(took):.2f} to {max(took):.2f}"]
        cells.append("" if below else f"{middle / none:.2f}")
        cells += list(recorded(boot, name))
        if name.startswith("ftrace") and any(line.name == "warn" for line in boot.truth(name)):
            cells += ["-", f"{share_of(boot, name):.1f} %"]
        elif len(cells) > 3 and not below:
            cells.append(f"{middle - none:.2f}")
            known = cells[-2] != "-" and middle > none
            cells.append(f"{float(cells[-2]) / (middle - none):.2f}" if known else "-")
        print(f"{name:20}", *(f"{cell:>17}" for cell in cells), flush=True)


def main() -> None:
    """Boot and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.observer")
    parser.add_argument("--kernels", nargs="+", default=["6.1", "6.12"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        for name in options.kernels:
            boot = lab.boot(kernel(name), "observer.sh", append="nokaslr", timeout_s=2400)
            print(f"{name}:")
            table(boot)


if __name__ == "__main__":
    main()
