# SPDX-License-Identifier: GPL-2.0-only
"""The recorded storms, compared with what their kernels logged of the same moments.

Each kernel's log (recorded.dmesg.txt.xz, by tests/lab/record_samples.py) is read in a plain way;
every number expected here is from it or from that kernel's VMCOREINFO.
"""

import lzma
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recordings.format.reader import open_recording
from recordings.ledger.warn_shares import warn_shares
from recordings.ledger.whole import fold
from tests.recordings import plain

KERNELS = {"storm": "6.1.192-vmemlab-39bit", "storm-once": "6.1.192-vmemlab-once-39bit"}

SPLAT = re.compile(
    r"\[ *(?P<s>\d+)\.(?P<us>\d{6})\] WARNING: CPU: (?P<cpu>\d+) PID: (?P<pid>\d+) "
    r"at (?P<file>\S+):(?P<line>\d+) (?P<function>\w+).*?"
    r"Comm: (?P<comm>\S+) .*?"
    # both functions hold start and end there when these kernels warn
    r"x19: (?P<start>\w{16}) .*? x1 : (?P<end>\w{16}) .*?"
    r"---\[ end trace",
    re.DOTALL,
)


@dataclass(frozen=True)
class Storm:
    """A recording's rows as plain Arrow gives them, its path, and its kernel's splats."""

    path: Path
    rows: list[dict[str, Any]]
    splats: list[re.Match[str]]
    note: plain.Machine

    def of(self, kind: str, phase: str = "entry") -> list[dict[str, Any]]:
        return [row for row in self.rows if (row["kind"], row["phase"]) == (kind, phase)]

    def lasted(self, kind: str, first: int = 0, last: int = 2**64) -> int:
        """Time in all calls of a kind that begin in [first, last]: one thread, none nests."""
        return sum(
            end["ts_ns"] - begin["ts_ns"]
            for begin, end in zip(self.of(kind), self.of(kind, "exit"), strict=True)
            if first <= begin["ts_ns"] <= last
        )


@pytest.fixture(params=KERNELS)
def storm(request: pytest.FixtureRequest, samples: Path, captures: Path) -> Storm:
    path, folder = samples / f"{request.param}.arrows", captures / KERNELS[request.param]
    log = lzma.decompress((folder / "recorded.dmesg.txt.xz").read_bytes()).decode()
    splats = list(SPLAT.finditer(log))
    assert len(splats) == log.count("WARNING: ")
    with pa.ipc.open_stream(path) as stream:
        rows = stream.read_all().to_pylist()
    return Storm(path, rows, splats, plain.read_note(folder / "kcore-vmcoreinfo"))


def test_each_warn_is_the_kernels(storm: Storm) -> None:
    fields = ("cpu", "pid", "comm", "site", "line")
    assert [[row[name] for name in fields] for row in storm.of("warn")] == [
        [int(s["cpu"]), int(s["pid"]), s["comm"], s["file"], int(s["line"])] for s in storm.splats
    ]
    # The log's clock and the recording's differ by a constant: each splat within its WARN.
    logged = [(int(s["s"]) * 10**6 + int(s["us"])) * 1000 for s in storm.splats]
    entries, exits = storm.of("warn"), storm.of("warn", "exit")
    shifts = zip(entries, exits, logged, strict=True)
    low, high = zip(*((a["ts_ns"] - t, b["ts_ns"] - t) for a, b, t in shifts), strict=True)
    assert max(low) - 1000 <= min(high)  # the log has microseconds


@pytest.mark.parametrize("kind", ["populate", "free"])
def test_calls_are_those_that_the_splats_are_of(storm: Storm, kind: str) -> None:
    size = storm.note.section_pages * storm.note.struct_page
    warned = [
        (int(s["start"], 16), int(s["end"], 16))
        for s in storm.splats
        if s["function"] == f"vmemmap_{kind}"
    ]
    calls = [(row["start"], row["end"]) for row in storm.of(kind)]
    assert calls[: len(warned)] == warned
    # one section after the other, also those of which WARN_ON_ONCE says nothing
    first = warned[0][0]
    assert calls == [(first + n * size, first + (n + 1) * size) for n in range(128)]
    assert len(storm.of(kind, "exit")) == 128
    assert {row["source"] for row in storm.of(kind)} <= {"breakpoint", "kprobe"}


def test_each_section_is_timed(storm: Storm) -> None:
    base = storm.note.start - storm.note.memstart // 4096 * storm.note.struct_page
    pfns = [(row["start"] - base) // storm.note.struct_page for row in storm.of("populate")]
    assert [row["pfn"] for row in storm.of("section_add")] == pfns
    assert [row["ret"] for row in storm.of("section_add", "exit")] == [0] * 128


def test_the_numbers_are_those_of_the_log_and_the_rows(storm: Storm) -> None:
    with open_recording(storm.path) as recording:
        window, found = recording.header.machine.window, fold(recording)
    assert (window.start, window.end) == (storm.note.start, storm.note.end)
    assert (window.memstart, window.struct_page) == (storm.note.memstart, storm.note.struct_page)
    outside = sum(not storm.note.start <= row["start"] < row["end"] <= storm.note.end
                  for kind in ("populate", "free") for row in storm.of(kind))  # fmt: skip
    assert (found.hits, found.derived, bool(found.losses)) == (outside, 0, False)
    sites = [f"{s['file']}:{s['line']}" for s in storm.splats]
    assert {site.site: site.count for site in found.sites} == {s: sites.count(s) for s in sites}
    assert (found.warnings, found.warn_ns) == (len(sites), storm.lasted("warn"))
    for share, kind in zip(warn_shares(found), ("add_pages", "remove_pages"), strict=True):
        (begin,), (end,) = storm.of(kind), storm.of(kind, "exit")
        spent = storm.lasted("warn", begin["ts_ns"], end["ts_ns"])
        assert (share.warn_ns, share.total_ns) == (spent, end["ts_ns"] - begin["ts_ns"])
