# SPDX-License-Identifier: GPL-2.0-only
"""Inputs that never end, that act when they are opened, or that make a reader loop: one line each.

Whatever is named as a log, a recording, a kernel or a machine's file, a command ends with an exit
code of its own and one line on stderr, and leaves no file behind.
"""

import gzip
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TESTS
from tests.kernels.files import LAB, kernel, zstd
from tests.recordings.made import PATIENCE_S
from tests.tui.commands.test_main import COMMAND, one_line

LOG = TESTS / "captures" / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"
TRACE_DAT = TESTS / "captures" / "6.1.192-vmemlab-39bit" / "trace-cmd-hole.dat"
HUGE = 1 << 40


def run(folder: Path, *args: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command; it must end, and leave nothing in its temporary folder."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [*COMMAND, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        timeout=PATIENCE_S * 2,
        env=os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(TESTS.parent)},
        **options,
    )
    assert not list(temporary.iterdir())
    return done


def refused(folder: Path, *args: object, **options: object) -> str:
    """Return the one line that the command ends with, and 2."""
    done = run(folder, *args, **options)
    assert done.returncode == 2, (done.returncode, done.stderr)
    return one_line(done)


def huge(path: Path, begin: bytes = b"") -> Path:
    """A file of a terabyte that takes a block of the disk."""
    path.write_bytes(begin)
    os.truncate(path, HUGE)
    return path


def _socket(path: Path) -> Path:
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # a socket's name must be short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)
    return path


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _link(target: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.symlink_to(target)
        return path

    return make


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


THINGS: dict[str, Callable[[Path], Path]] = {
    "terabyte": huge,
    "zero": _link("/dev/zero"),
    "random": _link("/dev/urandom"),
    "fifo": _fifo,
    "socket": _socket,
    "folder": _folder,
    "loop": _link("thing"),
    "kmsg": _link("/proc/kmsg"),
    "memory": _link("/proc/self/mem"),
    "kcore": _link("/proc/kcore"),
    "terminal": _link("/dev/tty"),
}


@pytest.fixture(params=THINGS)
def thing(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = THINGS[request.param](tmp_path / "thing")
    if request.param != "loop" and not made.exists():
        pytest.skip(f"no {made.readlink()}")
    return made


def test_no_such_thing_is_a_log(thing: Path, tmp_path: Path) -> None:
    if os.access(thing, os.F_OK) and thing.is_fifo():
        pytest.skip("is waited for: a log may come through it")
    for options in ((), ("--format", "ftrace")):
        assert "thing" in refused(tmp_path, "import", thing, "-o", tmp_path / "out", *options)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "sample:storm"),
        ("export", "--to", "csv", "-o", "out"),
        ("window", "--vmcoreinfo"),
        ("window", kernel(LAB), "--config"),
    ],
    ids=lambda command: " ".join(map(str, command)).replace(str(TESTS), ""),
)
def test_nor_a_recording_nor_a_kernels_file(
    thing: Path, tmp_path: Path, command: tuple[object, ...]
) -> None:
    done = run(tmp_path, *command, thing, cwd=tmp_path)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_nor_a_kernel(thing: Path, tmp_path: Path) -> None:
    refused(tmp_path, "import", LOG, "--vmlinux", thing, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    refused(tmp_path, "window", thing)


def test_nor_a_machines_file(thing: Path, tmp_path: Path) -> None:
    names = ("iomem", "config", "kcore-vmcoreinfo", "kernel_page_tables")
    machine = tmp_path / "machine"
    machine.mkdir()
    (machine / "uname").write_text("Linux host 6.1.192-vmemlab #1 aarch64 GNU/Linux\n")
    for name in names:
        (machine / name).symlink_to(thing)
    out = tmp_path / "out"
    done = run(tmp_path, "import", LOG, "--machine", machine, "-o", out)
    assert done.returncode == 0, done.stderr
    report = run(tmp_path, "report", out)
    assert report.returncode == 3
    for name in () if thing.is_file() and thing.stat().st_size == HUGE else names:
        assert f"{name}: not read: " in " ".join(report.stdout.split())


def test_nor_a_machines_list_of_probes(thing: Path, tmp_path: Path) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    (machine / "uname").write_text("Linux host 6.1.192-vmemlab #1 aarch64 GNU/Linux\n")
    (machine / "kprobe_events").symlink_to(thing)
    out = tmp_path / "out"
    done = run(tmp_path, "import", LOG, "--machine", machine, "-o", out)
    if done.returncode:
        assert "kprobe_events: " in one_line(done)
        assert not out.exists()
    else:
        assert thing.stat().st_size == HUGE  # its first bytes are read, and say nothing


#: What a file of a terabyte may begin with.
BEGINS = {
    "gz": b"\x1f\x8b\x08\0\0\0\0\0\0\3",
    "zst": b"\x28\xb5\x2f\xfd\x04\x58",
    "skippable": b"\x50\x2a\x4d\x18\xff\xff\xff\xff",
    "xz": b"\xfd7zXZ\0",
    "lzma": b"\x5d\0\0\x10\0" + b"\xff" * 8,
    "Image": bytes(0x38) + b"ARM\x64" + bytes(100),
    "zboot": b"MZ\0\0zimg" + b"\0\2\0\0\xf0\xff\xff\xff" + bytes(8) + b"gzip",
    "BTF": b"\x9f\xeb\x01\0\x18\0\0\0",
    "trace.dat": TRACE_DAT.read_bytes(),
    "ftrace": LOG.read_bytes(),
    "kernel": kernel(LAB).read_bytes(),
}


@pytest.mark.parametrize("begin", BEGINS)
def test_a_terabyte_of_anything_has_an_answer(tmp_path: Path, begin: str) -> None:
    path = huge(tmp_path / "huge", BEGINS[begin])
    assert "never written" in refused(tmp_path, "import", path, "-o", tmp_path / "out")
    assert refused(tmp_path, "report", path)
    assert not (tmp_path / "out").exists()
    if begin == "kernel":
        assert run(tmp_path, "window", path).returncode == 0
    else:
        assert refused(tmp_path, "window", path)


def test_a_recording_with_a_terabyte_behind_it_is_read(tmp_path: Path, samples: Path) -> None:
    path = huge(tmp_path / "huge", (samples / "in-range-6.1.arrows").read_bytes())
    done = run(tmp_path, "check", path)
    assert (done.returncode, done.stderr) == (3, "")  # something stands behind its end


def test_a_bomb_leaves_room(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(TRACE_DAT.read_bytes())
        for _ in range(80):
            file.write(bytes(1 << 20))
    line = refused(tmp_path, "import", path, "-o", tmp_path / "out")
    assert "takes more than 64 MiB unpacked: make it a file first" in line


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gz", "zst"])
def test_a_full_temporary_folder_is_one_line(tmp_path: Path, pack) -> None:
    data = pack(TRACE_DAT.read_bytes() + os.urandom(4 << 20))
    reader, writer = os.pipe()
    limited = "import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)"
    child = subprocess.Popen(
        [
            *(sys.executable, "-c", f"{limited}; os.execv(sys.argv[1], sys.argv[1:])"),
            *(*COMMAND, "import", "-", "-o", str(tmp_path / "out")),
        ],
        stdin=reader,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TESTS.parent,
    )
    os.close(reader)
    with os.fdopen(writer, "wb", closefd=True) as file:
        try:
            file.write(data)
            file.flush()
        except BrokenPipeError:
            pass
    out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, out, len(err.splitlines())) == (2, "", 1), err
    assert not (tmp_path / "out").exists()


# -- trace-cmd ---------------------------------------------------------------------------------


def looping() -> bytes:
    """A trace-cmd file of which trace-cmd 3.1.6 does not find the end."""
    data = bytearray(TRACE_DAT.read_bytes())
    data[559:567] = b"\xff" * 8
    data[8597] = 0o115
    return bytes(data)


def test_a_file_in_which_trace_cmd_loops_ends(tmp_path: Path) -> None:
    path, out = tmp_path / "loops.dat", tmp_path / "out"
    path.write_bytes(looping())
    done = run(tmp_path, "import", path, "-o", out)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "missing: 1 torn records"
    assert run(tmp_path, "check", out).returncode == 3
