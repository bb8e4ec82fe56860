# SPDX-License-Identifier: GPL-2.0-only
"""What must hold of every recording whose framing is right, whatever is in it.

``python -m tests.tui.fuzz_recordings FOLDER SECONDS [SEED]`` forges recordings (tests.recordings.
format.forge) for so long, runs every output and the replay core on each, keeps one file of each
fault in FOLDER, and prints what was found, with the process's largest memory. ``check_file`` is the
whole list of promises; test_forged.py runs it on a few.

No error but one of ours, of one line; no warning; JSON is strict; no control character in any
text; exit codes of the documented set; sums add up, and the same numbers from any cut into
batches; never "clean" with losses; what has passed depends on the position alone.
"""

import asyncio
import io
import json
import random
import re
import resource
import signal
import sys
import time
import traceback
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import click
import pyarrow as pa
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, seed, settings
from perfetto.protos.perfetto.trace import perfetto_trace_pb2
from pyarrow import csv, parquet
from rich.cells import cell_len
from rich.console import Console

import vmemscope
from recordings.analysis.compare import Side, compare, load_side
from recordings.api import OpenRecording
from recordings.explore.tally import Passed
from recordings.export import FORMATS, total_losses
from recordings.export import export as export_to
from recordings.ledger.columns import COLUMNS
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.reports.compare_json import comparison_dict
from recordings.reports.compare_text import render as render_comparison
from tests.recordings.format import forge
from tests.recordings.oracle import regime
from tests.tui.dashboard.test_app import press, settle
from tracers.errors import VmemscopeError
from tracers.window import Regime, Window
from tui.commands.check import check
from tui.commands.compare import compare as compare_command
from tui.commands.export import export
from tui.commands.report import report
from tui.commands.window import explain, window
from tui.dashboard.app import ReplayApp
from tui.playback.replay import MAX_SPEED, Replay
from tui.widgets import address_map, headline, timeline, timing
from tui.widgets.calls import CallsTable
from tui.widgets.regimes import RegimesPanel
from tui.widgets.replay_bar import ReplayBar
from tui.widgets.span_tree import SpanTree
from tui.widgets.warnings import WarningsPanel

#: One file may take so much time of the CPU before it counts as a hang.
PATIENCE_S: Final = 60
#: The process that checks forged files may grow to so much, all libraries included.
BUDGET: Final = 1 << 30
_WHAT_IFS: Final = (
    ("--warn", "once"),
    ("--warn", "always"),
    ("--warn", "error"),
    ("--physmem-end", "linear"),
    ("--physmem-end", "0"),
    ("--physmem-end", "0xffffffffffffffff"),
    ("--window-of", "sample:silent-7.3"),
    ("--window-of", "sample:storm", "--physmem-end", "0x4000000000", "--warn", "error"),
    ("--va-bits", "52", "--page-size", "64K", "--struct-page", "64", "--release", "7.3"),
    ("--memstart", "0xffffffffffffffff"),
    ("--ram", "0", "--physmem-end", "linear", "--warn", "once"),
    ("--vabits-actual", "48"),
)
_LIMITS: Final = ("--max-warn-share", "0", "--max-p99", "1us", "--expect-sections", "1")
_KEYS: Final = ("n", "N", "enter", "tab", "down", "p", "escape", "question_mark", "left", "home",
                "end", "v", "space", "comma", "full_stop", "t", "f", "right", "5", "s",
                "left_square_bracket", "right_square_bracket")  # fmt: skip
#: Below so many rows, numbers are counted again one by one.
_FEW: Final = 1000
#: Categories of characters that no text for a terminal may hold.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def check_file(path: Path) -> None:
    """Check everything that is promised of a file."""
    for part in parts(path, random.Random(path.stat().st_size)):  # noqa: S311
        part()


def parts(path: Path, choose: random.Random) -> Iterator[Callable[[], None]]:
    """Yield what is to be checked of a file, piece by piece, each with the file opened anew."""
    try:
        vmemscope.open(path).close()
    except VmemscopeError as error:
        line = str(error)
    else:
        yield from (partial(_with_opened, part, path, choose) for part in _PARTS)
        return
    yield partial(_check_refused, path, line)


def _with_opened(
    part: Callable[[OpenRecording, random.Random], None], path: Path, choose: random.Random
) -> None:
    with vmemscope.open(path) as recording:
        part(recording, choose)


def _check_refused(path: Path, line: str) -> None:
    assert len(line.splitlines()) == 1, line
    assert _command(report, path, codes={2}) == ""


# -- numbers --------------------------------------------------------------------------------


def check_numbers(recording: OpenRecording, choose: random.Random) -> None:
    """Sums add up, no cut into batches matters, and nothing is clean that is not whole."""
    told = recording.ledger.snapshot(final=True)
    _check_sums(recording, told)
    _check_sums(recording, recording.snapshot)  # as the closing record has it: maybe a lie
    _check_cuts(recording, told, choose)


def _check_sums(recording: OpenRecording, snapshot: Snapshot) -> None:
    calls = snapshot.populate + snapshot.free
    regimes = snapshot.regimes
    assert regimes.hits + regimes.inside + regimes.unknown == calls
    assert snapshot.events == recording.rows == sum(i.rows for i in recording.index)
    assert 0 <= snapshot.would_warn <= calls
    assert 0 <= snapshot.silent <= snapshot.hits
    assert sum(site.count for site in snapshot.sites) == snapshot.warnings
    assert sum(site.total_ns for site in snapshot.sites) == snapshot.warn_ns
    assert len(snapshot.operations) <= snapshot.operations_total
    for operation in snapshot.operations:
        assert operation.duration_ns is None or operation.duration_ns >= 0
        assert 0 <= operation.silent <= operation.hits <= operation.sections
    assert snapshot.losses == total_losses(recording)
    whole = recording.ended is not None and not recording.problems
    sure = recording.window is not None and recording.header.machine.agree
    if not whole or not sure or snapshot.losses or regimes.unknown or not calls:
        assert snapshot.verdict is not Verdict.CLEAN
    if snapshot.hits and sure:
        assert snapshot.verdict is Verdict.OUT_OF_RANGE
    if snapshot.verdict is Verdict.OUT_OF_RANGE:
        audited = snapshot.before.outside or snapshot.after.outside
        assert snapshot.hits or snapshot.fault_regimes.hits or audited
    assert all(map(_is_plain, snapshot.verdict_reasons))
    assert all(map(_is_plain, recording.problems))


def _check_cuts(recording: OpenRecording, snapshot: Snapshot, choose: random.Random) -> None:
    regimes = snapshot.regimes
    table = recording.to_arrow(COLUMNS)
    if table.num_rows < _FEW:
        arm64 = recording.header.machine.arch in (None, "aarch64", "aarch64_be")
        window = recording.window if arm64 else None  # of other machines nothing is judged
        assert _told(table, window) in (None, asdict(regimes))
    whole_ledger, cut = Ledger.of(recording.header), Ledger.of(recording.header)
    for batch in _unified(table).to_batches():
        whole_ledger.fold(batch)
    places = sorted(choose.choices(range(table.num_rows + 1), k=5))
    for start, end in zip([0, *places], [*places, table.num_rows], strict=True):
        for batch in table.slice(start, end - start).to_batches():
            cut.fold(batch)
    for ledger in (whole_ledger, cut):
        ledger.add_losses(snapshot.losses)
        assert ledger.snapshot(final=True) == snapshot


def _told(table: pa.Table, window: Window | None) -> dict[str, int] | None:
    """Count calls by regime, one by one; ``None`` where the bits in use are not known."""
    if window is not None and not window.use_known:
        return None
    told = dict.fromkeys((each.value for each in Regime), 0)
    for row in table.select(["kind", "phase", "start", "end"]).to_pylist():
        if row["kind"] in ("populate", "free") and row["phase"] in ("entry", "point"):
            told[regime(row["start"], row["end"], window and window.used)] += 1
    return told


def _unified(table: pa.Table) -> pa.Table:
    return table.unify_dictionaries().combine_chunks()


# -- commands -------------------------------------------------------------------------------


def check_reports(recording: OpenRecording, choose: random.Random) -> None:
    """Every report, what-if, threshold and explanation."""
    path, snapshot = recording.path, recording.snapshot
    code = {snapshot.verdict.exit_code}
    for width in (choose.choice((1, 10, 20, 40)), 80, 200):
        text = _command(report, path, codes=code, width=width)
        if width >= 40:
            assert max(map(cell_len, text.splitlines())) <= width
    fields = _json(_command(report, path, "--json", codes=code))
    assert fields["events"] == snapshot.events
    told = recording.ledger.snapshot(final=True)
    anew = _command(report, path, "--json", "--recount", codes={told.verdict.exit_code})
    assert told != snapshot or _json(anew) == fields
    mail = _command(report, path, "--format", "lkml", codes=code)
    assert mail.isascii()
    assert max(map(len, mail.splitlines())) <= 75
    _command(report, path, "--format", "markdown", codes=code)
    for what_if in choose.sample(_WHAT_IFS, 3):
        output = choose.choice(("text", "json", "lkml", "markdown"))
        args = (*what_if, "--format", output)
        text = _command(report, path, *args, codes={0, 1, 2, 3})
        if output == "json" and text:
            hypothetical = _json(text)["what_if"]
            code_of = Verdict(hypothetical["verdict"]).exit_code
            _command(report, path, *what_if, codes={code_of})
            if snapshot.losses:
                assert hypothetical["verdict"] != "clean"
    gate = _command(check, path, codes=code)
    assert len(gate.splitlines()) == 1
    gate = _command(check, path, *_LIMITS, codes={0, 1, 3})
    assert len(gate.splitlines()) == 1
    if snapshot.losses:
        _command(check, path, *_LIMITS, codes={1, 3})
    for target in choose.sample(
        (
            "0xffffffff3f000000",
            "0xfffffffffffffff0+16",
            "pfn:0",
            "phys:0xffffffffffff0000",
            "pfn:0x5000000..0x5008000",
        ),
        2,
    ):
        _command(explain, target, "--window", path, codes={0, 2, 3})
    _command(window, path, codes={0, 2, 3})
    _json(_command(window, path, "--json", codes={0, 2, 3}) or "{}")


def _command(command: click.Command, *args: str | Path, codes: set[int], width: int = 80) -> str:
    """Run a command as ``main`` does; return its stdout, which is safe to show, as stderr is."""
    environment = {"COLUMNS": str(width), "LINES": "24", "TERM": "xterm"}
    done = CliRunner(env=environment).invoke(command, [*map(str, args)])
    code, error = done.exit_code, done.exception
    if isinstance(error, VmemscopeError):
        assert len(str(error).splitlines()) == 1, str(error)
        code = 2
    elif error is not None and not isinstance(error, SystemExit):
        raise error
    assert code in codes, (command.name, args, code, done.output)
    for line in (*done.stdout.split("\n"), *done.stderr.split("\n")):
        assert _is_plain(line), (command.name, args, line)
    return done.stdout


def _is_plain(text: str) -> bool:
    if text.isascii():
        return text.isprintable()
    return not any(unicodedata.category(char) in _UNSAFE for char in text)


def _json(text: str) -> dict[str, Any]:
    assert text.isascii()
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


# -- comparisons ----------------------------------------------------------------------------


@cache
def _sample(name: str) -> Side:
    with vmemscope.open(name) as recording:
        return load_side(name, recording)


def check_comparisons(recording: OpenRecording, choose: random.Random) -> None:
    """Compared with itself, with samples, and the other way round."""
    path = recording.path
    own = load_side(str(path), recording)
    others = (_sample("sample:storm"), _sample("sample:in-range-6.12"))
    pairs = [*product((own,), others), *product(others, (own,))]
    for a, b in ((own, own), *choose.sample(pairs, 2)):
        comparison = compare(a, b)
        assert comparison.outcome.exit_code in {0, 3}
        if own.snapshot.losses:
            assert comparison.outcome.exit_code == 3
        _json(json.dumps(comparison_dict(comparison), allow_nan=False))
        console = Console(file=io.StringIO(), width=choose.choice((20, 40, 80, 200)))
        render_comparison(console, comparison)
        assert all(map(_is_plain, console.file.getvalue().split("\n")))
    _command(compare_command, path, "sample:storm", codes={0, 3})


# -- exports --------------------------------------------------------------------------------


def check_exports(recording: OpenRecording, _: random.Random) -> None:
    """Every format holds every row, and its own library reads it."""
    for known in FORMATS:
        sink = io.BytesIO()
        done = export_to(recording, known.name, sink)
        # a batch whose newer column is damaged is left out once that column is read
        assert done.rows == recording.rows
        _READERS[known.name](sink.getvalue(), recording.to_arrow(("ts_ns", *_EXACT)))
    # one to stdout, by the command
    done = CliRunner().invoke(export, [str(recording.path), "--to", "csv", "-o", "-"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == (3 if recording.snapshot.losses else 0)


def _read_parquet(data: bytes, events: pa.Table) -> None:
    table = parquet.read_table(io.BytesIO(data), columns=[*events.schema.names])
    assert table.replace_schema_metadata(None).equals(events)
    summary = json.loads(parquet.read_metadata(io.BytesIO(data)).metadata[b"vmemscope:export"])
    assert summary["events"] == events.num_rows


def _read_csv(data: bytes, events: pa.Table) -> None:
    options = csv.ParseOptions(newlines_in_values=True)
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(("start", "end", "comm", "site"), pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        include_columns=list(_EXACT),
    )
    table = csv.read_csv(io.BytesIO(data), parse_options=options, convert_options=convert)
    for name in _EXACT:
        told = [each and int(each, 16) for each in table.column(name).to_pylist()]
        assert told == events.column(name).to_pylist()


def _read_jsonl(data: bytes, events: pa.Table) -> None:
    assert data.isascii()
    lines = data.decode().split("\n")[:-1]
    assert len(lines) == events.num_rows
    for line, row in zip(lines[:50], events.slice(0, 50).to_pylist(), strict=True):
        assert line.isprintable()
        told = _json(line)
        assert told["ts_ns"] == row["ts_ns"]
        for name in _EXACT:
            assert (told[name] and int(told[name], 16)) == row[name]


def _read_perfetto(data: bytes, events: pa.Table) -> None:
    trace = perfetto_trace_pb2.Trace.FromString(data)
    depth: Counter[int] = Counter()
    drawn = 0
    for packet in trace.packet:
        assert packet.timestamp < 1 << 63
        if packet.HasField("track_event"):
            drawn += 1
            depth[packet.track_event.track_uuid] += {1: 1, 2: -1, 3: 0}[packet.track_event.type]
    assert drawn >= events.num_rows
    assert set(depth.values()) == {0}


#: Addresses, as text where a format has no u64.
_EXACT: Final = ("start", "end")
_READERS: Final[dict[str, Callable[[bytes, pa.Table], None]]] = {
    "parquet": _read_parquet,
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "perfetto": _read_perfetto,
}


# -- replay ---------------------------------------------------------------------------------


def check_replay(recording: OpenRecording, choose: random.Random) -> None:
    """The numbers are of what was read, what has passed is of the position, whatever led there."""
    replay = Replay(recording)
    passed: dict[int, Passed] = {}
    times = (recording.snapshot.first_ns, recording.snapshot.last_ns)
    honest = times == (replay.timeline.first_ns, replay.timeline.last_ns)  # or the index lies
    moves: list[Callable[[], object]] = [
        lambda: replay.advance(choose.choice((0, 1, 10**6, 10**9, 2**63))),
        lambda: replay.seek_by(choose.uniform(-1, 1)),
        lambda: replay.seek_time(choose.choice((0, -1, 10**9, 2**63, 2**64, 2**70))),
        lambda: replay.seek_row(choose.randint(-1, recording.rows + 1)),
        lambda: replay.step(choose.choice((-100, -1, 1, 100))),
        replay.next_hit, replay.previous_hit, replay.home, replay.end, replay.toggle,
        replay.next_operation, replay.previous_operation,
        replay.faster, replay.slower, replay.read_some,
        lambda: replay.set_speed(choose.choice((0.25, 1.0, 64.0, MAX_SPEED))),
    ]  # fmt: skip
    for _ in range(30):
        choose.choice(moves)()
        view = replay.view()
        assert 0 <= view.row <= view.rows == recording.snapshot.events
        assert 0 <= view.read <= 1
        assert _is_plain(view.note)
        if view.time_ns is not None and honest:
            assert view.first_ns <= view.time_ns <= view.last_ns
        if view.passed is not None:
            assert passed.setdefault(view.row, view.passed) == view.passed
    check_panels(recording, replay)
    replay.read_all()
    replay.end()
    view, whole = replay.view(), recording.ledger.snapshot(final=True)
    assert view.snapshot == whole
    assert view.passed == Passed(whole.populate + whole.free, whole.hits, whole.warnings)
    for position in choose.sample(sorted(passed), min(4, len(passed))):
        replay.seek_row(position)
        assert replay.view().passed == passed[position]
        assert replay.view().snapshot is view.snapshot
        check_panels(recording, replay)
    while not replay.at_end:
        before = replay.row
        replay.set_speed(MAX_SPEED)
        replay.paused = False
        replay.advance(1)
        assert replay.row > before


def check_panels(recording: OpenRecording, replay: Replay) -> None:
    """Panels draw any view; nothing of a file moves the cursor or reads as markup."""
    view, header = replay.view(), recording.header
    panels = [
        headline.Headline(header, recording.problems, id="headline"),
        address_map.AddressMap(recording.window, header.machine.layout, id="map"),
        RegimesPanel(id="regimes"),
        WarningsPanel(id="warnings"),
        timing.TimingTable(id="timing"),
        timing.Histogram(id="histogram"),
        timeline.Timeline(id="timeline"),
        ReplayBar(id="replay"),
    ]
    for panel in panels:
        for width, height in ((20, 3), (72, 5), (156, 9)):
            for line in panel.draw(panel.facts(view), width, height):
                assert all(_is_plain(text) for text, _ in line), (panel, line)
    for table in (CallsTable(id="calls"), SpanTree(id="operations")):
        table.show(view)
        for row in table._rows:
            for column in table._columns:
                assert _is_plain(column.cell(row)[0]), column.title


async def _played(recording: OpenRecording, keys: list[str], size: tuple[int, int]) -> str:
    """Press keys in the dashboard and return the text on its screen."""
    app = ReplayApp(recording, paused=True)
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot)
        await press(app, pilot, *keys)
        return "\n".join(line.text for line in app.screen._compositor.render_strips())


def check_dashboard(recording: OpenRecording, choose: random.Random) -> None:
    """The application itself, on a few of the files, as it takes a second each."""
    if choose.randrange(40):
        return
    keys = choose.choices(_KEYS, k=4)
    size = choose.choice(((160, 50), (80, 24), (40, 12)))
    screen = asyncio.run(_played(recording, ["end", *keys], size))
    assert all(map(_is_plain, screen.split("\n")))


# -- the API --------------------------------------------------------------------------------


def check_api(recording: OpenRecording, _: random.Random) -> None:
    """Programs get every row, in every way."""
    table = recording.to_arrow()
    assert table.num_rows == recording.rows
    table.validate(full=True)
    assert pa.table(recording).num_rows == recording.rows
    frame = recording.to_pandas(["ts_ns", "kind", "start", "end", "comm", "ret"])
    assert len(frame) == recording.rows
    assert str(frame.dtypes["start"]) == "UInt64"
    assert frame.start.tolist() == frame.start.astype("UInt64").tolist()
    assert len(recording.to_pandas()) == recording.rows


_PARTS: Final = (
    check_numbers,
    check_reports,
    check_comparisons,
    check_exports,
    check_replay,
    check_dashboard,
    check_api,
)


# -- by hand --------------------------------------------------------------------------------


class HangError(Exception):
    """One file took longer than ``PATIENCE_S``."""


def _hang(*_: object) -> None:
    raise HangError


class Run:
    """One run: what was found so far."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.end = time.monotonic() + seconds
        self.seed = self.files = self.refused = 0
        self.slowest = 0.0
        self.faults: Counter[str] = Counter()

    def once(self, data: bytes) -> None:
        """Check one file, each part by itself."""
        if time.monotonic() > self.end:
            return
        path = self.folder / "current.arrows"
        path.write_bytes(data)
        self.files += 1
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, PATIENCE_S)
        try:
            found = list(parts(path, random.Random(data)))  # noqa: S311
            self.refused += len(found) == 1
            for part in found:
                self._part(data, part)
        except Exception as error:  # noqa: BLE001 (opening it)
            self._keep(data, error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.slowest = max(self.slowest, time.process_time() - began)

    def _part(self, data: bytes, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception as error:  # noqa: BLE001 (each is a finding)
            self._keep(data, error)

    def _keep(self, data: bytes, error: Exception) -> None:
        """Count a finding; of each kind the first file is kept."""
        where = _where(error)
        self.faults[where] += 1
        if self.faults[where] == 1:
            kept = self.folder / f"fault-{len(self.faults)}.arrows"
            kept.write_bytes(data)
            text = "".join(traceback.format_exception(error))
            kept.with_suffix(".txt").write_text(f"seed {self.seed}\n{text}", errors="replace")
            print(f"{kept}: seed {self.seed}: {where}", flush=True)  # noqa: T201


def _where(error: BaseException) -> str:
    """Name a fault by its kind and the innermost line of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "site-packages" not in f.filename and "/python3" not in f.filename]
    at = ours[-1] if ours else frames[-1]
    text = re.sub(r"[0-9]+", "N", ascii(str(error)[:60]))
    return f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {text}"


def main() -> None:
    """Forge and check for so many seconds; exit 1 if anything was found."""
    run = Run(Path(sys.argv[1]), float(sys.argv[2]))
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    run.folder.mkdir(exist_ok=True)
    warnings.simplefilter("error")
    signal.signal(signal.SIGPROF, _hang)
    began, run.seed = time.monotonic(), first
    while time.monotonic() < run.end:
        settle = settings(
            max_examples=200, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        seed(run.seed)(settle(given(forge.recordings())(run.once)))()
        run.seed += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    summary = (
        f"seeds {first} to {run.seed - 1}: {run.files} files, {run.refused} of them refused, in "
        f"{time.monotonic() - began:.0f} s ({time.process_time():.0f} s of CPU time); slowest "
        f"{run.slowest:.1f} s, peak memory {peak >> 20} MiB; {len(run.faults)} faults"
    )
    found = (f"{times:6} {where}" for where, times in run.faults.most_common())
    print("\n".join((summary, *found)))  # noqa: T201
    sys.exit(1 if run.faults or peak > BUDGET else 0)


if __name__ == "__main__":
    main()
