# SPDX-License-Identifier: GPL-2.0-only
"""``triage``: exit codes, what goes to which stream, pipes, and what is left behind."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recordings.format.reader import open_recording
from recordings.ledger.whole import fold
from tests.conftest import TESTS
from tests.recordings.bug_reports import BELOW, LAB, STORM, as_folder, as_tar, sosreport
from tests.recordings.made import PATIENCE_S
from tests.tui.commands.test_main import COMMAND, loaded_by, one_line, vmemscope
from tracers.errors import VmemscopeError
from tui.commands.triage import triage

CLEAN = TESTS / "captures" / "6.12.117-vmemlab-48bit"


def run(*args: str | Path, **options) -> Result:
    return CliRunner().invoke(triage, [str(arg) for arg in args], **options)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    names = ("in-range.ftrace.txt", "kcore-vmcoreinfo", "uname")
    return as_folder({name: (CLEAN / name).read_bytes() for name in names}, tmp_path / "clean")


@pytest.fixture
def storm(tmp_path: Path) -> Path:
    path = tmp_path / "report.tar.xz"
    path.write_bytes(as_tar(sosreport(), "w:xz"))
    return path


@pytest.fixture
def doubtful(tmp_path: Path) -> Path:
    path = tmp_path / "pasted.txt"
    path.write_bytes(BELOW)
    return path


@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",), ("--reply",)])
def test_every_form_has_the_verdict_s_code(storm, clean, doubtful, form) -> None:
    for path, code in ((clean, 0), (storm, 1), (doubtful, 3)):
        done = run(path, *form)
        assert (done.exit_code, done.stderr) == (code, "")
        assert done.stdout


def test_the_strongest_verdict_of_several_counts(storm, clean, doubtful, tmp_path) -> None:
    nope = tmp_path / "nope"
    for paths, code in (
        ((clean, doubtful), 3),
        ((clean, storm, doubtful), 1),
        ((clean, clean), 0),
        ((clean, nope), 3),
        ((nope, storm), 1),
        ((nope, nope), 2),
    ):
        done = run(*paths)
        assert done.exit_code == code, paths
        lines = [f"vmemscope: {nope}: No such file or directory"] * paths.count(nope)
        assert done.stderr.splitlines() == lines
    text = run(nope, clean, storm).stdout
    assert text.endswith(f"\n{nope}: UNREADABLE\n{clean}: CLEAN\n{storm}: OUT OF RANGE\n")
    assert f"== {storm}: OUT OF RANGE\n" in text


def test_the_report_is_that_of_report(storm, tmp_path) -> None:
    kept = tmp_path / "kept.arrows"
    done = run(storm, "-o", kept)
    assert (done.exit_code, done.stderr) == (
        1,
        f"{kept}: sosreport-lab-1/sos_commands/kernel/dmesg\n",
    )
    report = vmemscope("report", kept).stdout
    assert done.stdout.startswith(report)
    with open_recording(kept) as recording:
        assert fold(recording).hits == 256  # ftrace's 128 populate and 128 free calls
    fields = json.loads(run(storm, "--json").stdout)["files"][0]["readings"][0]
    own = json.loads(vmemscope("report", kept, "--json").stdout)
    own.pop("what_if")
    assert fields["report"] == own


def test_a_mail_is_made_to_be_pasted(doubtful) -> None:
    text = run(doubtful, "--reply").stdout
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 75
    assert text.startswith("INCONCLUSIVE: ")
    assert str(doubtful.parent) not in text  # what is mine is nobody else's
    assert "What would make it conclusive" in text


def test_a_sample_and_a_recording_are_reports_too() -> None:
    done = run("sample:storm", "sample:in-range-6.12")
    assert done.exit_code == 1
    assert run("sample:nope").exit_code == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--json", "--reply"), "give one of them"),
        (("-", "-"), "can be read once"),
        (("-o", "-"), "name a file"),
        (("--format", "nope"), "is not one of"),
    ],
)
def test_what_cannot_be_asked_for(doubtful, args, said) -> None:
    done = run(doubtful, *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("-o", "KEPT"), "exists already"),
        (("--machine", "/nonexistent"), "/nonexistent"),
    ],
)
def test_what_no_log_could_be_read_with_is_told_first(doubtful, tmp_path, args, said) -> None:
    (tmp_path / "kept").write_bytes(b"")
    args = [str(tmp_path / "kept") if arg == "KEPT" else arg for arg in args]
    with pytest.raises(VmemscopeError, match=said):
        run(doubtful, *args, catch_exceptions=False)


def test_machine_and_format_are_those_of_import(tmp_path) -> None:
    path = tmp_path / "log"
    path.write_bytes(STORM)
    done = run(path, "--machine", LAB, "--format", "dmesg", "--json")
    assert done.exit_code == 1
    (reading,) = json.loads(done.stdout)["files"][0]["readings"]
    assert (reading["report"]["hits"], reading["what"]) == (256, "a kernel log")
    assert run(path, "--format", "ftrace").exit_code == 2


def test_nothing_is_kept_of_a_recording(tmp_path) -> None:
    done = vmemscope("triage", "sample:storm", "-o", tmp_path / "kept")
    assert done.returncode == 2
    assert done.stderr == f"vmemscope: {tmp_path}/kept: not made: no log was read\n"


# -- the program itself --------------------------------------------------------------------------


def process(*args: str | Path, tmp: Path, **options) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "triage", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=os.environ | {"TMPDIR": str(tmp)},
        **options,
    )


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def test_help_is_quick_and_no_form_loads_textual_or_pandas(storm) -> None:
    assert not {"textual", "pyarrow", "numpy", "pandas", "rich"} & loaded_by("triage", "--help")
    for form in ("--json", "--reply", "--format=dmesg"):
        assert not {"textual", "pandas"} & loaded_by("triage", str(storm), form)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_through_stdin(mode: str, tmp: Path) -> None:
    done = process("-", "--json", tmp=tmp, stdin=subprocess.PIPE)
    out, err = done.communicate(as_tar(sosreport(), mode), timeout=PATIENCE_S)
    assert (done.returncode, err) == (1, b"")
    (file,) = json.loads(out)["files"]
    assert (file["file"], file["readings"][0]["report"]["hits"]) == ("stdin", 256)
    assert list(tmp.iterdir()) == []


def test_a_log_through_stdin_and_through_a_fifo(tmp: Path, tmp_path: Path) -> None:
    done = process("-", "--machine", LAB, "--json", tmp=tmp, stdin=subprocess.PIPE)
    out, err = done.communicate(STORM, timeout=PATIENCE_S)
    assert (done.returncode, err) == (1, b"")
    assert json.loads(out)["files"][0]["readings"][0]["report"]["hits"] == 256
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = process(fifo, "--machine", LAB, tmp=tmp)
    fifo.write_bytes(STORM)
    out, err = done.communicate(timeout=PATIENCE_S)
    assert (done.returncode, err) == (1, b"")
    assert list(tmp.iterdir()) == []


def test_a_reader_that_goes_away_changes_nothing(storm: Path, tmp: Path) -> None:
    with process(storm, tmp=tmp) as done:
        done.stdout.close()
        assert done.stderr.read() == b""
        assert done.wait(PATIENCE_S) == 1
    assert list(tmp.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(number: signal.Signals, tmp: Path, tmp_path: Path) -> None:
    data = as_tar({"a/dmesg": STORM * 4})
    with process("-", "-o", tmp_path / "kept", tmp=tmp, stdin=subprocess.PIPE) as done:
        half = memoryview(data)[: len(data) // 2]
        while half:  # all but what a pipe holds was taken when this ends: it waits for the rest
            half = half[done.stdin.write(half) :]
        (folder,) = tmp.iterdir()
        assert [path.name for path in folder.glob("*/*")] == ["dmesg"]
        done.send_signal(number)
        assert done.wait(PATIENCE_S) == 128 + number
        assert b"Traceback" not in done.stderr.read()
    assert list(tmp.iterdir()) == []
    assert not (tmp_path / "kept").exists()


def test_what_is_no_report_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(b"no log\n")
    done = vmemscope("triage", path)
    assert done.returncode == 2
    assert "is no log of a kind we know" in one_line(done)
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "no kernel log, no trace and no recording in it" in one_line(vmemscope("triage", folder))
