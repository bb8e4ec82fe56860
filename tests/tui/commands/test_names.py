# SPDX-License-Identifier: GPL-2.0-only
"""Names of files, and whatever else stands on a command line, in what the commands print.

A name may hold what ends a line, colours it or turns it round. None of that may reach a terminal,
and a message stays one line.
"""

import shutil
import unicodedata
from pathlib import Path

import pytest

from tests.tui.commands.test_main import vmemscope

NAME = "a\x1b[31m\nb\u202e\u05d0 [bold]\udcff.arrows"
SHOWN = r"a\x1b[31m\x0ab\u202e\u05d0 [bold]\udcff.arrows"
LOG = "6.1.192-vmemlab-39bit/hole.ftrace.txt"


def shown(*args: str | Path, code: int, lines: int | None = None) -> str:
    """Run the command; return what it printed, once it has been looked at."""
    done = vmemscope(*args)
    assert done.returncode == code, done.stderr
    for text in (done.stdout, done.stderr):
        for char in text.replace("\n", ""):
            assert unicodedata.category(char) not in {"Cc", "Cf", "Cs"}, repr(text)
            assert unicodedata.bidirectional(char) not in {"R", "AL"}, repr(text)
    if lines is not None:
        assert (done.stdout, done.stderr.count("\n")) == ("", lines)
    return done.stdout + done.stderr


@pytest.fixture
def recording(tmp_path: Path, samples: Path) -> Path:
    return Path(shutil.copy(samples / "storm-once.arrows", tmp_path / NAME))


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (("report",), (), 1),
        (("report", "--json"), (), 1),
        (("report", "--format", "markdown"), (), 1),
        (("report", "--format", "lkml"), (), 1),
        (("check",), (), 1),
        (("compare", "sample:storm"), (), 0),
        (("window",), (), 0),
        (("window", "--json"), (), 0),
        (("explain", "--window"), ("phys:0x1",), 0),
    ],
)
def test_a_recordings_name(recording: Path, before, after, code: int) -> None:
    shown(*before, recording, *after, code=code)


@pytest.mark.parametrize("to", ["csv", "jsonl", "parquet"])
def test_the_name_of_what_was_made(recording: Path, tmp_path: Path, to: str) -> None:
    made = tmp_path / f"{NAME}.{to}"
    assert SHOWN in shown("export", recording, "--to", to, "-o", made, code=0, lines=1)
    assert SHOWN in shown("export", recording, "--to", to, "-o", made, code=2, lines=1)  # exists


def test_the_name_of_a_log_and_of_its_recording(tmp_path: Path, captures: Path) -> None:
    log, made = tmp_path / f"{NAME}.txt", tmp_path / NAME
    shutil.copy(captures / LOG, log)
    assert SHOWN in shown("import", log, "-o", made, code=0, lines=3)
    assert SHOWN in shown("import", log, "-o", made, code=2, lines=1)  # exists
    shown("report", made, code=3)  # the log's name is in its header


@pytest.mark.parametrize(
    "args",
    [
        ("report", NAME),
        ("report", "sample:storm", NAME),
        ("report", f"--{NAME}"),
        ("report", f"sample:{NAME}"),
        ("report", "sample:storm", "--window-of", NAME),
        ("compare", "sample:storm", NAME),
        ("replay", "--speed", NAME),
        ("export", "sample:storm", "--to", NAME),
        ("import", NAME, "-o", "x"),
        ("import", "x", "--format", NAME, "-o", "y"),
        ("window", NAME),
        ("window", "--config", NAME),
        ("explain", "--window", NAME, "phys:1"),
        ("explain", NAME),
        ("record", "--rotate-size", NAME, "-o", "x"),
        ("record", "-o", "x", "--", NAME),
        (NAME,),
    ],
    ids=lambda args: " ".join(args).replace(NAME, "NAME"),
)
def test_an_error_that_names_it_is_one_line(args: tuple[str, ...]) -> None:
    shown(*args, code=2, lines=1)


def test_errors_about_a_file_that_is_there(tmp_path: Path, captures: Path) -> None:
    path, folder = tmp_path / f"{NAME}.txt", tmp_path / "machine\x1b[31m\n"
    path.write_text("nothing")
    folder.mkdir()
    out = tmp_path / "out"
    for args in (
        ("report", path),
        ("window", path),
        ("import", path, "-o", out),
        ("import", captures / LOG, "--vmlinux", path, "-o", out),
        ("import", captures / LOG, "--machine", path, "-o", out),
        ("import", captures / LOG, "--machine", folder, "-o", out),
        ("window", "--config", path),
        ("export", path, "--to", "csv", "-o", out),
    ):
        shown(*args, code=2, lines=1)
    assert not out.exists()
