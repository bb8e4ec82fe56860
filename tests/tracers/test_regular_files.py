# SPDX-License-Identifier: GPL-2.0-only
"""Only regular files are opened, and of the kernel's none whose content is gone once it is read."""

import os
import socket
from pathlib import Path

import pytest

from tracers import regular_files
from tracers.regular_files import consumed, of_kernel, open_regular, read_regular

KMSG = Path("/proc/kmsg")


def test_a_regular_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert (read_regular(path, 3), read_regular(path, 9)) == (b"123", b"12345")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_regular(link, 9) == b"12345"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("folder", "not a regular file but a directory"),
        ("pipe", "not a regular file but a pipe: save what it gives to a file first"),
        ("socket", "not a regular file but a socket"),
        ("zero", "not a regular file but a device: save what it gives to a file first"),
        ("loop", "Too many levels of symbolic links"),
        ("nothing", "No such file or directory"),
    ],
)
def test_anything_else_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")

    def opened(*_: object) -> int:
        raise AssertionError("opening alone acts on some devices")

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the text is compared)
        open_regular(Path(kind))
    assert caught.value.strerror == message


def test_what_became_a_pipe_meanwhile_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular = tmp_path / "file"
    regular.touch()
    status = regular.stat()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Path, "stat", lambda _: status)
    with pytest.raises(OSError, match="but a pipe"):
        open_regular(tmp_path / "pipe")


def test_files_that_the_kernel_makes_are_known(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    link = tmp_path / "link"
    link.symlink_to("/proc/self/status")
    assert not of_kernel((tmp_path / "file").stat())
    assert of_kernel(link.stat())
    assert read_regular(link, 5) == b"Name:"


@pytest.mark.skipif(not KMSG.exists(), reason="no /proc/kmsg")
def test_the_kernels_log_is_not_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "iomem"
    link.symlink_to(KMSG)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    for path in (KMSG, link):
        assert consumed(path.stat(), path) == "kmsg"
        with pytest.raises(OSError, match="reading takes away"):
            open_regular(path)


@pytest.mark.parametrize("name", ["trace_pipe", "trace_pipe_raw", "snapshot_raw"])
def test_so_is_what_the_tracer_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.touch()
    assert read_regular(path, 1) == b""  # one's own file of that name is a file
    monkeypatch.setattr(regular_files, "_file_system", lambda _: "tracefs")
    with pytest.raises(OSError, match="reading takes away"):
        open_regular(path)
