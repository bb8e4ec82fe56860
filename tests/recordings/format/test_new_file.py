# SPDX-License-Identifier: GPL-2.0-only
"""A file exists whole or not at all: full disks, names taken meanwhile, exceptions."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recordings.format import new_file as new_file_module
from recordings.format.header import RecordingError
from recordings.format.new_file import new_file

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["O_TMPFILE", "named", "without hard links"], autouse=True)
def file_system(request, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test on three file systems: two of them by what this one is kept from."""
    if request.param != "O_TMPFILE":
        monkeypatch.setattr(new_file_module, "_DESCRIPTORS", Path("/proc/none"))
    if request.param == "without hard links":
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    return request.param


def test_it_has_its_name_when_it_is_whole_and_not_before(tmp_path: Path, file_system: str) -> None:
    path = tmp_path / "a.csv"
    with new_file(path) as file:
        file.write(b"half")
        assert not path.exists()
        parts = [] if file_system == "O_TMPFILE" else [".part"]
        assert [part.suffix for part in tmp_path.iterdir()] == parts
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_exists_is_never_touched(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        path.mkdir()
    with pytest.raises(RecordingError, match="exists already"), new_file(path):
        pytest.fail("opened all the same")
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_taken_meanwhile_is_not_touched_either(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def taken() -> None:
        with new_file(path) as file:
            file.write(b"ours")
            path.write_text("theirs")

    with pytest.raises(RecordingError, match="exists already"):
        taken()
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_any_exception_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def fails() -> None:
        with new_file(tmp_path / "a.csv") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files is a full disk to whoever writes (EFBIG for ENOSPC).
    code = """
import resource, signal, sys
from pathlib import Path
from recordings.format.new_file import new_file
from recordings.format.header import RecordingError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with new_file(Path(sys.argv[1])) as file:
        file.write(b"x" * 5000)
except RecordingError as error:
    print(error)
"""
    path = tmp_path / "a.csv"
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == f"{path}: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a.csv"
    with (
        pytest.raises(RecordingError, match=r"a\.csv: cannot be created: No such file"),
        new_file(path),
    ):
        pass


def test_an_error_of_what_is_read_stays_its_own(tmp_path: Path) -> None:
    def fails() -> None:
        with new_file(tmp_path / "a.csv"):
            raise OSError(errno.EIO, "Input/output error", "the source")

    with pytest.raises(OSError, match="the source"):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_nothing(tmp_path: Path, file_system: str) -> None:
    if file_system != "O_TMPFILE":
        return
    code = """
import os, sys
from pathlib import Path
from recordings.format.new_file import new_file
with new_file(Path(sys.argv[1])) as file:
    file.write(b"x" * 100_000)
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], check=False, cwd=ROOT)
    assert done.returncode == -9
    assert list(tmp_path.iterdir()) == []
