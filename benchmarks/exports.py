# SPDX-License-Identifier: GPL-2.0-only
"""``python -m benchmarks.exports``: what each export costs, beside duckdb's, orjson's, Perfetto's.

Every figure is CPU time and peak RSS of one process, the median and maximum of several runs; all
write to a file in the same folder. duckdb reads the recording as the Arrow stream it is and writes
it with COPY; orjson encodes it row by row, and Perfetto's own Python package makes a packet a row.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from benchmarks.grow import grow
from recordings.export import FORMATS, export
from recordings.format.reader import open_recording
from recordings.samples import sample_path

_RUNS = 3
_COPY = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "csv": "FORMAT csv, HEADER",
    "jsonl": "FORMAT json",
}


def ours(to: str, path: Path, out: Path) -> None:
    """Export as ``vmemscope export`` does, checksums included."""
    with open_recording(path) as recording, out.open("wb") as sink:
        export(recording, to, sink)


def duckdb(to: str, path: Path, out: Path) -> None:
    """Write the same events with duckdb, on one core as ours."""
    import duckdb  # noqa: PLC0415 (a peer that may not be here)

    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.register("events", pa.ipc.open_stream(path))
        connection.execute(f"COPY events TO '{out}' ({_COPY[to]})")


def orjson(to: str, path: Path, out: Path) -> None:
    """Encode row by row."""
    import orjson  # noqa: PLC0415 (a peer that may not be here)

    with out.open("wb") as sink:
        for batch in pa.ipc.open_stream(path):
            for row in batch.to_pylist():
                sink.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def perfetto(to: str, path: Path, out: Path) -> None:
    """Write each row as a packet with its numbers, by Perfetto's package; no hit, no counter."""
    from perfetto.trace_builder.proto_builder import TraceProtoBuilder  # noqa: PLC0415 (a peer)

    with out.open("wb") as sink:
        for batch in pa.ipc.open_stream(path):
            builder = TraceProtoBuilder()
            for row in batch.to_pylist():
                packet = builder.add_packet()
                packet.timestamp, packet.trusted_packet_sequence_id = row["ts_ns"], 1
                event = packet.track_event
                event.type = {"entry": 1, "exit": 2}.get(row["phase"], 3)
                event.track_uuid, event.name = row["tid"] or 0, row["kind"]
                for name in ("start", "end", "pfn", "nr_pages", "cpu"):
                    if row[name] is not None:
                        note = event.debug_annotations.add()
                        note.name, note.uint_value = name, row[name]
            sink.write(builder.serialize())


_WHO: dict[str, Callable[[str, Path, Path], None]] = {
    "vmemscope": ours,
    "duckdb": duckdb,
    "orjson": orjson,
    "perfetto": perfetto,
}
_PEERS = {
    "parquet": ("duckdb",),
    "csv": ("duckdb",),
    "jsonl": ("duckdb", "orjson"),
    "perfetto": ("perfetto",),
}


def peak() -> float:
    """Peak RSS in MiB of this program; getrusage counts what forked it, too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def measure(who: str, to: str, path: Path, runs: int) -> tuple[float, float, float] | None:
    """Median CPU seconds, peak RSS and size of the output in MiB; None if it is not here."""
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for run in range(runs):
            out = Path(folder) / f"{run}.{to}"
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.exports", "--work", who, to, path, out],
                capture_output=True,
                text=True,
                check=False,
            )
            if "ModuleNotFoundError" in done.stderr:
                return None
            lines.append([float(value) for value in done.stdout.split()])
            size = out.stat().st_size / 2**20
            out.unlink()
    return statistics.median(line[0] for line in lines), max(line[1] for line in lines), size


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.exports")
    parser.add_argument("--events", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=_RUNS)
    known = [known.name for known in FORMATS]
    parser.add_argument("--to", nargs="*", choices=known, default=known)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        who, to, path, out = options.work
        before = time.process_time()
        _WHO[who](to, Path(path), Path(out))
        cpu = time.process_time() - before
        print(f"{cpu:.3f}", peak())
        return
    print(f"{os.cpu_count()} cores; CPU seconds, median of {options.runs}; peak RSS, maximum")
    with tempfile.TemporaryDirectory() as folder:
        for events in options.events:
            path = Path(folder) / f"{events}.arrows"
            grow(sample_path("storm"), path, events)
            print(f"{events:,} events, {path.stat().st_size / 2**20:.0f} MiB")
            for to in options.to:
                _compare(to, path, events, options.runs)


def _compare(to: str, path: Path, events: int, runs: int) -> None:
    costs = {}
    for who in ("vmemscope", *_PEERS[to]):
        measured = measure(who, to, path, runs)
        if measured is None:
            print(f"{to:9}{who:10} is not here")
            continue
        cpu, memory, size = measured
        costs[who] = cpu
        ratio = f"  {cpu / costs['vmemscope']:.2f}x our time" if who != "vmemscope" else ""
        print(
            f"{to:9}{who:10}{events / cpu / 1e6:6.2f} M events/s  peak RSS {memory:4.0f} MiB"
            f"  writes {size:5.0f} MiB{ratio}"
        )


if __name__ == "__main__":
    main()
