# SPDX-License-Identifier: GPL-2.0-only
"""The dmesg reader on a large log, beside ``grep -c``: ``python -m benchmarks.dmesg``.

Two logs of the same size are grown from the lab kernels' own and thrown away: one of splats alone,
a WARN storm's dmesg copied again and again; and one as machines have it, a boot's lines with two
splats in every thousand. The times of each copy go on where the last one's ended. What is measured
are processes of their own, CPU seconds, time by the clock, which is less where a second CPU is
idle, and peak RSS: the reader with a vmlinux, and ``vmemscope import`` with the machine's files.
Peer: ``grep -c WARNING`` on the same file in the same run.
"""

import argparse
import json
import lzma
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import importers

CAPTURES = Path(__file__).resolve().parents[1] / "tests/captures/6.1.192-vmemlab-39bit"
_STAMP = 12  # columns of "%5lu.%06lu"


class Growth:
    """Lines with the kernel's times, and copies of them moved on in time."""

    def __init__(self, raw: bytes) -> None:
        lines = raw.replace(b"\r\n", b"\n").splitlines(keepends=True)
        lines = [line for line in lines if line[:1] == b"[" and line[13:14] == b"]"]
        self._bytes = np.frombuffer(b"".join(lines), np.uint8).copy()
        starts = np.cumsum([0, *map(len, lines[:-1])])
        self._at = starts[:, None] + np.arange(1, 1 + _STAMP)
        self._micros = np.array([int(line[1:6]) * 10**6 + int(line[7:13]) for line in lines])
        self._micros = (self._micros - self._micros[0]) // 8  # "%5lu" has room for a day
        self.period = int(self._micros[-1]) + 100

    def copy(self, base: int) -> bytes:
        """Return the lines, the first at ``base`` microseconds (at most 99999 s)."""
        seconds, micros = np.divmod(self._micros + base, 10**6)
        digits = [seconds // 10**n % 10 + ord("0") for n in range(4, -1, -1)]
        digits += [np.full(len(seconds), ord("."))]
        digits += [micros // 10**n % 10 + ord("0") for n in range(5, -1, -1)]
        for column in range(4):  # leading zeros are spaces
            digits[column] = np.where(seconds < 10 ** (4 - column), ord(" "), digits[column])
        self._bytes[self._at] = np.stack(digits, axis=1)
        return self._bytes.tobytes()


def grow(out: Path, parts: list[tuple[Growth, int]], size: int) -> None:
    """Write about ``size`` bytes: each part its number of times, from the first again."""
    base = written = 0
    with out.open("wb") as file:
        while written < size:
            for growth, times in parts:
                for _ in range(times):
                    written += file.write(growth.copy(base))
                    base += growth.period


def read(path: Path) -> dict[str, float]:
    """Read a log with vmlinux and window, as an import does; what it says and what it cost."""
    from tests.kernels.files import kernel  # noqa: PLC0415
    from tracers.constants.image.kernel_image import open_kernel  # noqa: PLC0415
    from tracers.logs.dmesg.reader import DmesgLog  # noqa: PLC0415
    from tracers.logs.dmesg.registers import Arguments  # noqa: PLC0415
    from tracers.machine import read_machine  # noqa: PLC0415

    rows = known = 0
    began = time.perf_counter()
    with open_kernel(kernel("lab-6.1.192-39bit-4k")) as image:
        arguments = Arguments.from_image(image)
    with path.open("rb") as stream:
        log = DmesgLog(
            stream,
            arguments=arguments,
            window=read_machine(CAPTURES).window,
        )
        for batch in log.batches():
            rows += batch.events.num_rows
            known += batch.events.num_rows - batch.events.column("start").null_count
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "lines": log.lines,
        "rows": rows,
        "known": known,
        "missing": log.torn + log.rejected + log.lost_unknown,
        "cpu": used.ru_utime + used.ru_stime,
        "wall": time.perf_counter() - began,
        "peak": used.ru_maxrss / 1024,
    }


def measure(command: list[str]) -> tuple[str, float]:
    """Run it; return what it printed and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print a line for each log."""
    parser = argparse.ArgumentParser(prog="benchmarks.dmesg")
    parser.add_argument("--size", type=float, default=1000, help="MB of each log")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read)))
        return
    storm = Growth(lzma.decompress((CAPTURES / "hole.dmesg.txt.xz").read_bytes()))
    console = (CAPTURES / "wrap.console.txt").read_bytes()
    boot = Growth(console[: console.index(b"------------[ cut here")].rpartition(b"\n")[0])
    pair = Growth((CAPTURES / "below.dmesg.txt").read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grown.txt"
        for name, parts in (
            ("splats alone", [(storm, 1)]),
            ("two splats in 1,000 lines", [(boot, 6), (pair, 1)]),
        ):
            grow(path, parts, int(options.size * 1e6))
            ours = [sys.executable, "-m", "benchmarks.dmesg", "--read", str(path)]
            told = json.loads(measure(ours)[0])
            imported = importers.imported(path, Path(folder) / "out.arrows")
            count, peer = measure(["grep", "-c", "WARNING", str(path)])
            if told["rows"] != 2 * int(count):
                sys.exit(f"{told['rows']} rows of {count.strip()} splats")
            print(
                f"{name}: {path.stat().st_size / 1e6:,.0f} MB, {told['lines']:,} lines, "
                f"{told['rows']:,} rows, {told['known']:,} with arguments, {told['missing']} "
                f"missing: {told['cpu']:.1f} CPU s, {told['cpu'] / peer:.0f} times grep -c "
                f"({peer:.2f} CPU s)"
            )
            read_in = importers.Cost(told["cpu"], told["wall"], told["peak"])
            for what, cost in (("read with a vmlinux", read_in), ("imported", imported)):
                rates = [f"{told['lines'] / took / 1e6:.2f} M lines/s" for took in cost[:2]]
                print(
                    f"  {what}: {cost.cpu:.1f} CPU s, {rates[0]}; {cost.wall:.1f} s by the clock,"
                    f" {rates[1]}; peak RSS {cost.peak:.0f} MiB"
                )


if __name__ == "__main__":
    main()
