# SPDX-License-Identifier: GPL-2.0-only
"""What reading each kind of log costs: ``python -m benchmarks.importers --mb 1000 --dat FILE``.

Each log is a real one, laid behind itself until it is as large as asked, its times going on from
copy to copy. Figures are of whole processes: CPU, and the time until it was over, which is less
where a second CPU is idle; lines a second of both, peak RSS; and, beside each, ``grep -c`` of one
word on the same file, one CPU's as well. ``--dat`` is a trace-cmd file, grown in the same way: what
reading it takes, against ``trace-cmd report`` and reading its text.
"""

import argparse
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_CAPTURES = Path("tests/captures/6.1.192-vmemlab-39bit")
_LOGS = {
    "ftrace": "hole.ftrace.txt",
    "trace-cmd": "trace-cmd-lost.report-t.txt.xz",
    "perf": "perf-lost.script.txt.xz",
    "bpftrace": "bpftrace.txt",
    "bpftrace, JSON": "bpftrace.jsonl",
}
_WORD = "vmemmap_free"
_PAGE = 4096
_TIME = re.compile(rb"(?<= )(\d+)(?=\.\d{6,9}: )")
#: Lines that stand once, before the events or behind them.
_ONCE = re.compile(
    rb"^(?:#|cpus=|Attaching|@|CPU:|\{\"type\": \"(?!printf)|.*vmemscope\.bt|$).*\n", re.MULTILINE
)
_MEASURE = (
    "import resource, subprocess, sys, time\n"
    "began = time.perf_counter()\n"
    "with open(sys.argv[1], 'wb') as out:\n"
    "    code = subprocess.call(sys.argv[2:], stdout=out, stderr=subprocess.DEVNULL)\n"
    "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "took = time.perf_counter() - began\n"
    "print(used.ru_utime + used.ru_stime, took, used.ru_maxrss / 1024, code)\n"
)


def grow(base: bytes, out: Path, size: int) -> int:
    """Write at least ``size`` bytes of copies of ``base`` to ``out``; return the lines."""
    first = b"".join(line for line in _ONCE.findall(base) if b"vmemscope.bt" in line)
    if base.startswith((b"cpus=", b"# tracer")):
        first = base.partition(b"\n")[0] + b"\n"
    body = _ONCE.sub(b"", base)
    seconds = [int(match[1]) for match in _TIME.finditer(body)]
    step = max(seconds) - min(seconds) + 1
    lines = first.count(b"\n")
    with out.open("wb") as file:
        file.write(first)
        moved = 0
        while file.tell() < size:
            file.write(_TIME.sub(lambda match, by=moved: b"%d" % (int(match[1]) + by), body))
            lines += body.count(b"\n")
            moved += step
    return lines


class Cost(NamedTuple):
    """What a process took: seconds of CPU and by the clock, and peak RSS in MiB."""

    cpu: float
    wall: float
    peak: float


def measure(*command: str | Path, out: Path = Path("/dev/null")) -> Cost:
    """Return what a command takes whose stdout goes to ``out``."""
    # A process between, so that the peak is this child's alone.
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(out), *map(str, command)],
        check=True,
        capture_output=True,
        text=True,
    )
    cpu, wall, peak, code = done.stdout.split()
    if int(code) not in (0, 3):  # 3: the log's own losses
        raise SystemExit(f"{command}: exit code {code}")
    return Cost(float(cpu), float(wall), float(peak))


def imported(log: Path, out: Path) -> Cost:
    """Return what ``vmemscope import`` takes."""
    out.unlink(missing_ok=True)
    return measure(
        sys.executable, "-m", "vmemscope", "import", log, "-o", out, "--machine", _CAPTURES
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.importers")
    parser.add_argument("--mb", type=int, default=100, help="size of each log, 10^6 bytes")
    parser.add_argument("--only", nargs="*", default=list(_LOGS))
    parser.add_argument("--dat", type=Path, default=_CAPTURES / "trace-cmd-lost.dat")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"logs of {options.mb} MB; whole processes on {len(os.sched_getaffinity(0))} CPUs")
        print(
            "| log | lines | import: CPU s | M lines/s | s by the clock | M lines/s | peak MiB"
            " | grep -c: CPU s | ratio of CPU | by the clock |"
        )
        print("| --- |" + " ---: |" * 9)
        for kind in options.only:
            path = _CAPTURES / _LOGS[kind]
            raw = path.read_bytes()
            log = folder / "log"
            lines = grow(
                lzma.decompress(raw) if path.suffix == ".xz" else raw, log, options.mb * 10**6
            )
            ours = imported(log, folder / "out.arrows")
            # to a file: grep stops at the first match when nobody reads
            grep = measure("grep", "-c", _WORD, log, out=folder / "count")
            rates = " | ".join(f"{s:.1f} | {lines / s / 1e6:.2f}" for s in (ours.cpu, ours.wall))
            beside = f"{grep.cpu:.2f} | {ours.cpu / grep.cpu:.0f}x | {ours.wall / grep.wall:.0f}x"
            print(f"| {kind} | {lines:,} | {rates} | {ours.peak:.0f} | {beside} |", flush=True)
            log.unlink()
        _trace_cmd(options.dat, folder, options.mb * 10**6)


def grow_dat(base: bytes, out: Path, size: int) -> None:
    """Write a trace-cmd file of version 6 with at least ``size`` bytes of copies of the pages.

    ``base`` is one, of one buffer and a little-endian machine.
    """
    table = base.index(b"flyrecord\0") + 10
    cpus = []
    while True:
        at, length = struct.unpack_from("<QQ", base, table + 16 * len(cpus))
        if not at or at % _PAGE or at + length > len(base):
            break  # what stands behind the table
        cpus.append((at, length))
    pages = [page for at, length in cpus for page in range(at, at + length, _PAGE)]
    times = [struct.unpack_from("<Q", base, page)[0] for page in pages]
    step = max(times) - min(times) + 10**9
    copies = -(-size // (_PAGE * len(pages)))
    head = bytearray(base.ljust(-(-len(base) // _PAGE) * _PAGE, b"\0"))
    begin = len(head)
    for number, (_, length) in enumerate(cpus):
        struct.pack_into("<QQ", head, table + 16 * number, begin, length * copies)
        begin += length * copies
    with out.open("wb") as file:
        file.write(head)
        for at, length in cpus:
            body = bytearray(base[at : at + length])
            for _ in range(copies if length else 0):
                file.write(body)
                for page in range(0, length, _PAGE):
                    moved = struct.unpack_from("<Q", body, page)[0] + step
                    struct.pack_into("<Q", body, page, moved)


def _trace_cmd(base: Path, folder: Path, size: int) -> None:
    if not shutil.which("trace-cmd"):
        print("trace-cmd is not installed: nothing to compare with")
        return
    small, dat, text = folder / "small.dat", folder / "grown.dat", folder / "report"
    convert = ("trace-cmd", "convert", "-i", base, "-o", small, "--file-version", "6")
    measure(*convert, "--compression", "none")
    grow_dat(small.read_bytes(), dat, size)
    start = measure(sys.executable, "-m", "vmemscope", "import", "--help").cpu
    ours = imported(dat, folder / "a.arrows")
    dat_size = dat.stat().st_size
    report = measure("trace-cmd", "report", "-N", "-t", "-i", dat, out=text).cpu
    dat.unlink()
    lines = text.read_bytes().count(b"\n")
    reading = imported(text, folder / "b.arrows").cpu
    print(
        f"\n{base.name} grown to {dat_size / 1e6:.0f} MB, {lines:,} lines of report: import of it "
        f"{ours.cpu:.2f} s of CPU ({lines / ours.cpu / 1e6:.2f} M events/s, peak {ours.peak:.0f} "
        f"MiB); trace-cmd report {report:.2f} s, import of its text {reading:.2f} s\n"
        f"ratio: {(report + reading) / ours.cpu:.1f}x as fast as by way of the text; "
        f"a start alone: {start:.2f} s"
    )


if __name__ == "__main__":
    main()
