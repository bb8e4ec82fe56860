# SPDX-License-Identifier: GPL-2.0-only
"""What the final numbers of a closing record save and cost: ``-m benchmarks.final_numbers``.

CPU seconds of whole processes that take turns, minimum and median: ``report`` and ``check`` of
recordings grown from the storm, the same with ``--recount``, and, the peers, what nothing that
reads the file can do without: ``cat FILE | sha256sum`` and a Python that imports pyarrow. Then what
an import pays for counting: the same log, written with and without.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.grow import grow
from benchmarks.importers import grow as grow_log
from benchmarks.start import cpu
from recordings.samples import sample_path

_OURS = (sys.executable, "-m", "vmemscope")
_CAPTURE = Path("tests/captures/6.1.192-vmemlab-39bit")
#: An import as it is, and one whose writer does not count.
_IMPORT = """
import sys
from pathlib import Path
from recordings.capture import importing
from recordings.format.writer import Writer
log, folder, out, counts = sys.argv[1:]
if counts == "no":
    importing.CountingWriter = Writer
Path(out).unlink(missing_ok=True)
importing.import_log(Path(log), Path(out), machine_dir=Path(folder))
"""


def commands(path: Path) -> dict[str, tuple[str, ...]]:
    """What is measured on one recording."""
    return {
        "report": (*_OURS, "report", str(path)),
        "report --recount": (*_OURS, "report", "--recount", str(path)),
        "check": (*_OURS, "check", str(path)),
        "check --recount": (*_OURS, "check", "--recount", str(path)),
        "cat | sha256sum": ("sh", "-c", f"cat {path} | sha256sum"),
        "python -c 'import pyarrow'": (sys.executable, "-c", "import pyarrow"),
    }


def measured(what: dict[str, tuple[str, ...]], runs: int) -> dict[str, list[float]]:
    """CPU seconds of each, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(runs):
        for name, command in what.items():
            taken[name].append(cpu(*command))
    return taken


def line(name: str, seconds: list[float], ratio: str) -> None:
    """Print one figure."""
    print(f"{name:27} min {min(seconds):5.2f}, median {statistics.median(seconds):5.2f}, {ratio}")


def report(path: Path, events: int, runs: int) -> None:
    """Measure reading."""
    grow(sample_path("storm"), path, events)
    print(f"{events:,} events, {path.stat().st_size / 2**20:.0f} MiB")
    texts = {
        subprocess.run([*_OURS, "report", *args, path], capture_output=True, check=False).stdout
        for args in ((), ("--recount",))
    }
    print("report and report --recount print", "the same" if len(texts) == 1 else "DIFFERENT TEXTS")
    taken = measured(commands(path), runs)
    peers = sum(statistics.median(taken[name]) for name in list(taken)[-2:])
    for name, seconds in taken.items():
        line(name, seconds, f"{statistics.median(seconds) / peers:.2f} of both peers together")
    path.unlink()


def importing(folder: Path, mb: int, runs: int) -> None:
    """Measure what counting adds to an import: of a capture's text, laid behind itself."""
    log = folder / "log.ftrace.txt"
    grow_log((_CAPTURE / "hole.ftrace.txt").read_bytes(), log, mb * 1_000_000)
    command = (sys.executable, "-c", _IMPORT, str(log), str(_CAPTURE), str(folder / "out"))
    taken = measured({"import": (*command, "yes"), "without": (*command, "no")}, runs)
    without = statistics.median(taken["without"])
    print(f"import of {mb} MB of ftrace text")
    for name, seconds in taken.items():
        line(name, seconds, f"{statistics.median(seconds) / without:.2f} of it without counting")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.final_numbers")
    parser.add_argument("--events", type=int, nargs="*", default=[10_000_000, 50_000_000])
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for events in options.events:
            report(Path(folder) / "grown.arrows", events, options.runs)
        importing(Path(folder), options.mb, options.runs)


if __name__ == "__main__":
    main()
