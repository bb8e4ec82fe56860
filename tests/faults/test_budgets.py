# SPDX-License-Identifier: GPL-2.0-only
"""Whatever a recording holds: memory within the budgets of docs/limits.md, numbers still honest."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recordings.analysis import durations, placements
from recordings.analysis.compare import Outcome
from recordings.explore import section_strip
from recordings.format import final_numbers, header_limits
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.format.schema import to_schema
from recordings.ledger import columns, operation_totals, operations, ranges, spans, warn_sites
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.samples import sample_path
from tests.faults.ledger_memory import held
from tests.recordings.made import PATIENCE_S, events, foreign, metas, record
from tests.tui.small_recordings import MACHINE, WINDOW
from tracers.batch import Batch
from tracers.events import Kind, Phase
from tracers.regimes import page_to_pfn
from tui.playback import timeline

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
#: What docs/limits.md says.
LEDGER_MIB, REPORT_MIB, COMPARE_MIB, REPLAY_MIB = 96, 320, 448, 400


def calls(starts: np.ndarray, kind: Kind = Kind.POPULATE, **more: object) -> pa.RecordBatch:
    return events(len(starts), kind, Phase.POINT, start=starts, end=starts + np.uint64(64), **more)


def places(count: int, base: int, seed: int = 1) -> np.ndarray:
    """Addresses of ``count`` ranges that do not touch, in no order."""
    order = np.random.default_rng(seed).permutation(count).astype(np.uint64)
    return np.uint64(base) + order * np.uint64(128)


def cut(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    for at in range(0, len(batch), rows):
        yield batch.slice(at, rows)


def told(batches: list[pa.RecordBatch], rows: int = 65_536) -> Snapshot:
    """Fold in batches of ``rows``; the ledger is within its budget at each."""
    ledger = Ledger(WINDOW, MACHINE.layout)
    for batch in batches:
        for part in cut(batch, rows):
            ledger.fold(part)
            assert held(ledger) < LEDGER_MIB * MIB
    return ledger.snapshot(final=True)


@pytest.mark.parametrize(
    ("base", "verdict"), [(WINDOW.start, Verdict.CLEAN), (WINDOW.end, Verdict.OUT_OF_RANGE)]
)
def test_distinct_ranges(base: int, verdict: Verdict) -> None:
    beyond = 70_000
    starts = places(ranges.KEPT + beyond, base)
    snapshot = told([calls(starts)])
    assert snapshot.sections == ranges.KEPT
    assert snapshot.calls_beyond == beyond
    assert snapshot.pairing.never_freed == ranges.KEPT
    assert snapshot.regimes.inside + snapshot.hits == snapshot.populate == len(starts)
    assert snapshot.verdict is verdict  # every call was judged
    assert snapshot.verdict_reasons[-1] == (
        "70,000 calls lie in ranges beyond those kept (524,288 inside the window, as many"
        " outside): judged, but neither paired nor in a stretch."
    )


@pytest.mark.parametrize("rows", [65_536, 50_021])
def test_a_range_for_each_event_on_both_sides(rows: int) -> None:
    """Twice the budget, hits last: they are found all the same."""
    starts = np.concatenate(
        [places(ranges.KEPT + 1000, base) for base in (WINDOW.start, WINDOW.end)]
    )
    snapshot = told([calls(starts), calls(starts, Kind.FREE)], rows)
    assert (snapshot.sections, snapshot.calls_beyond) == (2 * ranges.KEPT, 4000)
    assert snapshot.pairing.paired == 2 * ranges.KEPT
    assert snapshot.hits == snapshot.regimes.inside == 2 * (ranges.KEPT + 1000)
    assert snapshot.extents_total == ranges.KEPT


@pytest.mark.parametrize("rows", [65_536, 30_011])
@pytest.mark.parametrize("kind", [Kind.MEMREMAP, Kind.FREE, Kind.WARN, Kind.ADD_PAGES])
def test_open_calls(kind: Kind, rows: int) -> None:
    """A thread for each event, none of which ends before the next 65,536 have begun."""
    count = 3 * columns.CHUNK
    tids = np.arange(1, count + 1, dtype=np.uint32)
    comm = pa.array([f"{tid}-{'x' * 300}" for tid in tids.tolist()])
    begins = events(count, kind, Phase.ENTRY, tid=tids, comm=comm)
    snapshot = told(
        [begins, events(count, kind, Phase.EXIT, tid=tids), calls(places(9, WINDOW.start))], rows
    )
    # at each multiple of 65,536 the newest are kept
    assert snapshot.given_up == count - spans.OPEN
    assert snapshot.orphan_exits == count - spans.OPEN
    assert snapshot.timings[kind].count == spans.OPEN
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert (
        "More than 4,096 calls of one kind were open at once: 192,512 calls could not be followed,"
        " and their ends count as ends without a beginning."
    ) in snapshot.verdict_reasons


def test_calls_that_never_end() -> None:
    count = 5 * columns.CHUNK
    begins = events(count, Kind.FREE, Phase.ENTRY, tid=np.arange(count, dtype=np.uint32))
    snapshot = told([begins])
    assert snapshot.given_up + snapshot.unfinished_total == count
    assert len(snapshot.unfinished) == spans.LISTED
    assert snapshot.verdict is Verdict.INCONCLUSIVE


def test_places_of_warns() -> None:
    """A file of 20,000 characters for each WARN."""
    count = 3000
    site = pa.array([f"{n:06}{'x' * 20_000}.c" for n in range(count)])
    lines = np.arange(count, dtype=np.uint32)
    snapshot = told([events(count, Kind.WARN, Phase.POINT, site=site, line=lines)])
    assert len(snapshot.sites) == warn_sites.SITES + 1
    assert sum(site.count for site in snapshot.sites) == snapshot.warnings == count
    rest = next(site for site in snapshot.sites if site.site == warn_sites.OTHER)
    assert rest.count == count - warn_sites.SITES
    assert max(len(site.site) for site in snapshot.sites) < columns.TEXT + 10


def test_orphans_and_names_of_tasks() -> None:
    count = 2 * columns.CHUNK
    tids = np.arange(count, dtype=np.uint32)
    comm = pa.array(["\x1b" + "世" * 400] * count)
    ends = events(count, Kind.FREE, Phase.EXIT, tid=tids, comm=comm)
    snapshot = told([ends, calls(places(1000, WINDOW.end), comm=comm[:1000])])
    assert (snapshot.orphan_exits, snapshot.unfinished_total) == (count, 0)
    assert {len((call.comm or "").encode()) for call in snapshot.newest} == {columns.TEXT + 3}


def run(*args: object) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a program of ours; return what it said and its peak RSS in MiB."""
    # Not ru_maxrss: that of a child begins with its parent's.
    code = (
        "import runpy, sys, atexit\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "peak = lambda: int(status().split('VmHWM:')[1].split()[0]) >> 10\n"
        "atexit.register(lambda: print('peak', peak(), file=sys.stderr))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=PATIENCE_S * 20,
    )
    return done, int(done.stderr.rsplit("peak ", 1)[1])


@pytest.mark.parametrize("output", ["text", "json", "markdown", "lkml"])
def test_a_report_on_a_header_of_eight_megabytes_is_short(tmp_path: Path, output: str) -> None:
    path = tmp_path / "long.arrows"
    with open_recording(sample_path("storm")) as recording:
        header = json.loads(recording.header.to_json())
        batches = [to_schema(batch.events) for batch in recording.batches()]
    header["machine"]["release"] = "6" * (8 << 20)
    none = batches[0].slice(0, 0)
    counts = [len(batch) for batch in batches]
    foreign(path, [none, *batches, none], json.dumps(header).encode(), metas(*counts))
    assert path.stat().st_size > 8 << 20
    done, peak = run("vmemscope", "report", "--format", output, path)
    assert done.returncode == Verdict.OUT_OF_RANGE.exit_code
    assert len(done.stdout) < 200_000
    assert peak < REPORT_MIB


@pytest.fixture(scope="module")
def five_million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 5 M distinct ranges, all of them hits."""
    path = tmp_path_factory.mktemp("many") / "many.arrows"
    starts = places(5_000_000, WINDOW.end)
    record(path, map(Batch, cut(calls(starts), 65_536)), Header(machine=MACHINE))
    return path


@pytest.mark.long
@pytest.mark.parametrize("output", ["text", "json"])
def test_a_report_of_five_million_ranges(five_million: Path, output: str) -> None:
    done, peak = run("vmemscope", "report", "--format", output, five_million)
    assert done.returncode == Verdict.OUT_OF_RANGE.exit_code
    assert "4,475,712 calls lie in ranges beyond" in done.stdout.replace("\n           ", " ")
    assert peak < REPORT_MIB


@pytest.mark.long
@pytest.mark.parametrize("output", ["markdown", "lkml"])
def test_remedies_of_five_million_ranges(five_million: Path, output: str) -> None:
    done, peak = run("vmemscope", "report", "--format", output, five_million)
    assert done.returncode == Verdict.OUT_OF_RANGE.exit_code
    said = " ".join(done.stdout.split())
    assert "5,000,000 populate calls would return the error" in said
    assert "Only the 524,288 lowest regions are kept" in said
    assert peak < REPORT_MIB


@pytest.mark.long
@pytest.mark.parametrize("asked", [("--physmem-end", "linear"), ("--warn", "error")])
def test_a_what_if_of_five_million_ranges(five_million: Path, asked: tuple[str, str]) -> None:
    done, peak = run("vmemscope", "report", "--format", "json", *asked, five_million)
    assert done.returncode == Verdict.INCONCLUSIVE.exit_code
    told = json.loads(done.stdout)["what_if"]
    assert told["regimes"]["unknown"] == (5_000_000 if "linear" in asked else 0)
    assert told["moves_total"] == (ranges.KEPT if "linear" in asked else 0)
    assert len(told["moves"]) <= placements.LISTED
    assert peak < REPORT_MIB


@pytest.fixture(scope="module")
def hot_adds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.5 M hot-adds of a region each, all of whose one section ends: 5 M timed calls."""
    path = tmp_path_factory.mktemp("adds") / "adds.arrows"
    starts = places(2_500_000, WINDOW.end)
    n, step = np.arange(len(starts), dtype=np.uint64), 16_384
    pfn = page_to_pfn(starts, WINDOW)
    whole = []
    for kind, phase in (
        (Kind.ADD_PAGES, Phase.ENTRY),
        (Kind.POPULATE, Phase.ENTRY),
        (Kind.POPULATE, Phase.EXIT),
        (Kind.ADD_PAGES, Phase.EXIT),
    ):
        which = {"tid": (n % step + 1).astype(np.uint32), "pfn": pfn}
        which |= {"nr_pages": np.ones(len(n), np.uint64)} if kind is Kind.ADD_PAGES else {}
        which |= {"ts_ns": n * np.uint64(10) + np.uint64(phase)}
        ends = starts + np.uint64(64)
        which |= {"start": starts, "end": ends} if kind is Kind.POPULATE else {}
        whole.append(events(len(n), kind, phase, **which))
    parts = (batch.slice(at, step) for at in range(0, len(starts), step) for batch in whole)
    record(path, map(Batch, parts), Header(machine=MACHINE))
    return path


@pytest.mark.long
def test_a_comparison_of_five_million_calls(hot_adds: Path) -> None:
    done, peak = run("vmemscope", "compare", hot_adds, hot_adds)
    assert done.returncode == Outcome.INCONCLUSIVE.exit_code
    said = " ".join(done.stdout.split())
    for side in "AB":
        assert f"{side} has 3,951,424 calls behind the first 1,048,576" in said
    assert said.count("524,288 aligned") == 2  # __add_pages and vmemmap_populate
    assert peak < COMPARE_MIB


@pytest.mark.long
def test_remedies_of_millions_of_hot_adds(hot_adds: Path) -> None:
    done, peak = run("vmemscope", "report", "--format", "markdown", hot_adds)
    assert done.returncode == Verdict.OUT_OF_RANGE.exit_code
    assert "2,500,000 of 2,500,000 hot-adds would be refused" in " ".join(done.stdout.split())
    assert peak < REPORT_MIB


@pytest.mark.long
def test_a_replay_of_five_million_ranges(five_million: Path) -> None:
    """Played as fast as it goes while it is read, as the player does."""
    done, peak = run("tests.faults.play", five_million)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5000000 of 5000000\n"
    assert peak < REPLAY_MIB


@pytest.mark.long
def test_a_replay_of_a_million_ranges_that_take_turns(tmp_path: Path) -> None:
    """The most that a table can hold, all of it written to again and again."""
    path, rng = tmp_path / "turns.arrows", np.random.default_rng(1)
    starts = np.concatenate([places(ranges.KEPT, base) for base in (WINDOW.start, WINDOW.end)])
    turns = (starts[rng.integers(0, len(starts), 65_536)] for _ in range(150))
    record(path, (Batch(calls(turn)) for turn in turns), Header(machine=MACHINE))
    done, peak = run("tests.faults.play", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "9830400 of 9830400\n"
    assert peak < REPLAY_MIB


def test_the_page_says_these_budgets() -> None:
    """Every number of the code is in the table of docs/limits.md."""
    page = (ROOT / "docs" / "limits.md").read_text()
    numbers = set(re.findall(r"\d[\d,]*\d(?: MiB)?|\d", page))
    counts = (
        header_limits.MAX_TEXT, header_limits.MAX_ENTRIES, header_limits.MAX_PARTS, columns.TEXT,
        ranges.KEPT, spans.OPEN, operations.OPEN, warn_sites.SITES, timeline.CACHED_BATCHES,
        timeline.MAX_GAPS, operation_totals.LISTED, placements.SEARCHED, placements.LISTED,
        durations.CALLS, section_strip.MOST,
    )  # fmt: skip
    assert {f"{number:,}" for number in counts} <= numbers
    said = (
        LEDGER_MIB,
        REPORT_MIB,
        COMPARE_MIB,
        REPLAY_MIB,
    )
    assert {f"{number} MiB" for number in said} <= numbers
    for budget, of in ((final_numbers.MAX_TEXT, "of JSON"), (final_numbers.MAX_PACKED, "packed")):
        assert f"{budget >> 20} MiB {of}" in page
