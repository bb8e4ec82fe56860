# SPDX-License-Identifier: GPL-2.0-only
"""trace-cmd files through the program, and what happens when the program fails."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tracers.logs import tools
from tests.tracers.logs.kprobe_text.test_trace_cmd_report import parse as parse_report
from tests.tracers.logs.tools import LAB
from tracers.logs.kprobe_text import trace_cmd_file
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.kprobe_text.trace_cmd_file import MAGIC, TraceCmdFile, looks_like_trace_cmd_file

needs_trace_cmd = pytest.mark.skipif(
    trace_cmd_file.shutil.which("trace-cmd") is None,
    reason="the program trace-cmd is not installed",
)
SHARED = Path(__file__).parents[5] / "shared" / "captures" / LAB / "trace-cmd.dat"


def parse(path: Path):
    with path.open("rb") as file:
        log = TraceCmdFile(file.fileno())
        rows, missing = tools.read(log)
    return rows, log, missing


@needs_trace_cmd
@pytest.mark.parametrize("scene", ["hole", "instance", "lost", "lost-unnumbered"])
def test_the_file_and_its_report_tell_the_same(captures: Path, scene: str):
    path = captures / LAB / f"trace-cmd-{scene}.dat"
    assert looks_like_trace_cmd_file(path.read_bytes()[:64])
    rows, log, _ = parse(path)
    packed = captures / LAB / f"trace-cmd-{scene}.report-t.txt.xz"
    name = f"trace-cmd-{scene}.report{'-t' if packed.is_file() or scene == 'hole' else ''}.txt"
    expected, _, _ = parse_report(tools.raw(captures / LAB, name))
    if "-t" not in name:
        for row in rows:
            row["ts_ns"] = (row["ts_ns"] + 500) // 1000 * 1000
    assert rows == expected
    assert (log.clock, log.release) == ("mono", "6.1.192-vmemlab")
    assert log.notes == ()  # the symbols are in the file: no name had to be believed


@needs_trace_cmd
def test_the_kernel_saw_the_same_calls(captures: Path):
    calls = tools.truth(tools.raw(captures / LAB, "trace-cmd-hole.truth.txt"))
    rows, _, missing = parse(captures / LAB / "trace-cmd-hole.dat")
    assert (tools.like_truth(rows, calls), missing) == (calls, {})
    lossy, _, missing = parse(captures / LAB / "trace-cmd-lost.dat")
    rest = iter(tools.truth(tools.raw(captures / LAB, "trace-cmd-lost.truth.txt")))
    assert all(call in rest for call in tools.like_truth(lossy, calls))
    assert missing == {"lost": 107}


@needs_trace_cmd
def test_the_kernels_own_count_of_what_its_marks_do_not_number(captures: Path):
    # trace-cmd record printed: CPU 0: 178 events lost, CPU 1: 179 events lost
    assert parse(captures / LAB / "trace-cmd-lost-unnumbered.dat")[2] == {"lost": 178 + 179}


@needs_trace_cmd
@pytest.mark.skipif(not SHARED.is_file(), reason="the shared capture is not here")
def test_the_shared_capture_tells_what_its_report_tells(captures: Path):
    rows, log, missing = parse(SHARED)
    expected, _, _ = parse_report(tools.raw(captures / LAB, "trace-cmd.report.txt"))
    for row in rows:
        row["ts_ns"] = (row["ts_ns"] + 500) // 1000 * 1000
    assert (rows, missing, log.clock) == (expected, {}, "local")


@needs_trace_cmd
def test_a_clock_that_counts_is_rejected(captures: Path):
    with pytest.raises(LogError, match="-C mono"):
        parse(captures / LAB / "trace-cmd-counter.dat")


@needs_trace_cmd
def test_a_file_cut_anywhere_is_an_error_or_complete(captures: Path, tmp_path: Path):
    whole = (captures / LAB / "trace-cmd-hole.dat").read_bytes()
    rows, _, _ = parse(captures / LAB / "trace-cmd-hole.dat")
    path = tmp_path / "cut.dat"
    for size in (len(MAGIC), 100, 4000, 8000, len(whole) - 512, len(whole) - 1):
        path.write_bytes(whole[:size])
        try:
            found, _, _ = parse(path)
        except LogError as error:
            assert "trace-cmd cannot read it" in str(error)  # noqa: PT017
        else:
            assert found == rows


def looping(captures: Path) -> bytes:
    """A capture in which the size of an option is 2^64 - 1 and a clock's name is damaged."""
    data = bytearray((captures / LAB / "trace-cmd-hole.dat").read_bytes())
    data[559:567] = b"\xff" * 8
    data[8597] = 0o115
    return bytes(data)


def children() -> set[int]:
    """The processes that this one has started and not yet waited for."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = stat.read_text().partition(" ")
            if int(rest.rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(pid))
    return found


@pytest.fixture(autouse=True)
def no_child_left():
    before = children()
    yield
    assert children() <= before


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A program of that name, whose report is what the given Python code does."""

    def make(code: str) -> Path:
        path = tmp_path / "bin" / "trace-cmd"
        path.parent.mkdir()
        path.write_text(
            f"#!{sys.executable}\nimport os, sys, time\nif '-t' in sys.argv:\n"
            + "".join(f"    {line}\n" for line in code.splitlines())
        )
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent))
        file = tmp_path / "x.dat"
        file.write_bytes(MAGIC + b"6\0")
        return file

    return make


LINE = (
    "          insmod-85    [001]     8.107110: vmemmap_free:         "
    "(ffffffc008028690) start=0x1 end=0x2"
)


def test_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LogError, match=r"package trace-cmd .* trace-cmd report -t"):
        TraceCmdFile(0)


def test_a_program_that_stops_half_way(stand_in):
    file = stand_in(
        f"print('cpus=2\\n{LINE}', flush=True)\nprint('x' * 9999, 'no memory', file=sys.stderr)\n"
        "sys.exit(12)"
    )
    rows, log, missing = parse(file)
    assert (len(rows), missing) == (1, {"torn": 1})
    assert log.notes[-1].startswith("trace-cmd stopped: xxx")
    assert log.notes[-1].endswith("no memory")
    assert len(log.notes[-1]) < 5000


def test_a_program_that_was_killed(stand_in):
    rows, log, missing = parse(
        stand_in(f"print('cpus=2\\n{LINE}', flush=True)\nos.kill(os.getpid(), 9)")
    )
    assert (len(rows), missing) == (1, {"torn": 1})
    assert log.notes[-1] == "trace-cmd stopped: killed by signal 9"


def test_a_program_that_says_why_it_cannot(stand_in):
    with pytest.raises(LogError, match="cannot read it: no such section"):
        parse(stand_in("print('no such\\n  section', file=sys.stderr)\nsys.exit(1)"))


def test_the_program_ends_when_reading_does(stand_in, tmp_path: Path):
    file = stand_in(
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        f"print('cpus=2\\n' + {LINE + chr(10)!r} * 100_000, flush=True)\ntime.sleep(600)"
    )
    with file.open("rb") as opened:
        batches = TraceCmdFile(opened.fileno(), block=1000).batches()
        assert next(batches).events.num_rows
        batches.close()
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not [thread for thread in threading.enumerate() if thread.name == "trace-cmd"]


def test_questions_share_one_patience(stand_in, monkeypatch: pytest.MonkeyPatch):
    file = stand_in(f"print('cpus=2\\n{LINE}')")
    program = Path(os.environ["PATH"]) / "trace-cmd"
    program.write_text(program.read_text() + "else:\n    time.sleep(0.4)\n")
    monkeypatch.setattr(trace_cmd_file, "QUERIES_S", 600)
    assert parse(file)[2] == {}
    monkeypatch.setattr(trace_cmd_file, "QUERIES_S", 1)  # for four of them
    with pytest.raises(LogError, match="reads in it without end"):
        parse(file)


LOOPS = {
    "silent": "while True: pass",
    "silent after a line": f"print('cpus=2\\n{LINE}', flush=True)\nwhile True: pass",
    "closed": f"print('cpus=2\\n{LINE}', flush=True)\nos.close(1)\ntime.sleep(600)",
    "complains": "while True: print('bad section', file=sys.stderr)",
}


@pytest.mark.parametrize("how", LOOPS)
def test_a_program_that_loops_is_ended(stand_in, monkeypatch: pytest.MonkeyPatch, how: str):
    monkeypatch.setattr(trace_cmd_file, "SILENCE_S", 1)
    with pytest.raises(LogError, match="reads in it without end"):
        parse(stand_in(LOOPS[how]))


@pytest.mark.parametrize("text", ["x", LINE + "\\n"])
def test_a_program_that_prints_for_ever_is_ended(
    stand_in, monkeypatch: pytest.MonkeyPatch, text: str
):
    monkeypatch.setattr(trace_cmd_file, "TEXT_FLOOR", 4 << 20)
    with pytest.raises(LogError, match="prints more of it than"):
        parse(stand_in(f"print('cpus=2\\n{LINE}')\nwhile True: print('{text}' * 999, end='')"))


def test_a_question_answered_for_ever_is_cut(stand_in, monkeypatch: pytest.MonkeyPatch):
    file = stand_in(f"print('cpus=2\\n{LINE}')")
    program = Path(os.environ["PATH"]) / "trace-cmd"
    program.write_text(program.read_text() + "else:\n    while True: print('x' * 9999)\n")
    monkeypatch.setattr(trace_cmd_file, "_MOST_OUTPUT", 1 << 20)
    assert parse(file)[2] == {}


def test_a_stop_is_no_silence(stand_in, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = stand_in(
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        f"time.sleep(0.5)\nprint('cpus=2\\n{LINE}')"
    )
    clock = iter(range(0, 10**9, 3600))  # an hour passes with every look
    monkeypatch.setattr(trace_cmd_file.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(trace_cmd_file, "SILENCE_S", 30)
    assert parse(file)[2] == {}


@needs_trace_cmd
def test_a_damaged_file_that_makes_the_real_program_loop(
    captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """trace-cmd 3.1.6 loops on it in ``dump``, others in ``report``; one that does not is fine."""
    path = tmp_path / "loops.dat"
    path.write_bytes(looping(captures))
    monkeypatch.setattr(trace_cmd_file, "QUERIES_S", 1)
    monkeypatch.setattr(trace_cmd_file, "SILENCE_S", 1)
    with pytest.raises(LogError, match=r"trace-cmd (reads in it|prints more|cannot read)"):
        parse(path)


def test_no_core_file_is_left_of_a_crash(stand_in):
    file = stand_in(
        "import resource\nprint(resource.getrlimit(resource.RLIMIT_CORE)[0], file=sys.stderr)\n"
        "sys.exit(1)"
    )
    with pytest.raises(LogError, match=r"cannot read it: 0$"):
        parse(file)


def test_a_program_that_cannot_be_run(stand_in):
    file = stand_in("")
    (Path(os.environ["PATH"]) / "trace-cmd").write_bytes(b"\x7fELF, but not of this machine")
    with pytest.raises(LogError, match="cannot read it: Exec format error"):
        parse(file)


def test_it_ends_with_the_thread_that_reads_it(stand_in, tmp_path: Path):
    """As it does with the process: the kernel sees to it (tests/faults has the signals)."""
    file = stand_in(
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        f"print('cpus=2\\n' + {LINE + chr(10)!r} * 100_000, flush=True)\ntime.sleep(600)"
    )
    with file.open("rb") as opened:
        batches = TraceCmdFile(opened.fileno(), block=1000).batches()
        first = threading.Thread(target=next, args=(batches,))
        first.start()
        first.join()
        list(batches)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
