# SPDX-License-Identifier: GPL-2.0-only
"""``vmemscope export`` as a process: streams, exit codes, existing and missing files."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recordings.samples import sample_path
from tests.recordings.made import COMM, PATIENCE_S, foreign, metas, record, rows
from tests.tui.commands.test_main import COMMAND, loaded_by, one_line, vmemscope
from tracers.batch import Batch, Losses

FORMATS = ("parquet", "csv", "jsonl", "perfetto")
OPENS = {"parquet": b"PAR1", "csv": b'"ts_ns",', "jsonl": b'{"ts_ns":', "perfetto": b"\n"}


def export(*args: str | Path, **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, "export", *map(str, args)],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


def shell(line: str) -> subprocess.CompletedProcess[str]:
    code = line.replace("VMEMSCOPE", " ".join(COMMAND))
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("to", FORMATS)
def test_a_file_and_stdout_get_the_same(to: str, tmp_path: Path) -> None:
    out = tmp_path / f"storm.{to}"
    done = export("sample:storm", "--to", to, "-o", out)
    assert (done.returncode, done.stdout) == (0, b"")  # exported whole: the verdict is report's
    assert done.stderr.decode() == f"{out}: 1544 events\n"
    streamed = export("sample:storm", "--to", to, "-o", "-")
    assert (streamed.returncode, streamed.stderr) == (0, b"")
    assert streamed.stdout == out.read_bytes()
    assert streamed.stdout.startswith(OPENS[to])
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_missing_is_reported_with_exit_code_3(to: str, tmp_path: Path) -> None:
    path = tmp_path / "torn.arrows"
    path.write_bytes(sample_path("storm").read_bytes()[:-100])
    done = export(path, "--to", to, "-o", "-")
    assert done.returncode == 3
    assert done.stdout.startswith(OPENS[to])
    messages = done.stderr.decode().splitlines()
    assert len(messages) == 2
    assert "ends without its closing record" in messages[0]
    assert messages[1] == "missing from the recording: no proper end, 1 torn records"


def test_losses_inside_make_three_too(tmp_path: Path) -> None:
    path = tmp_path / "lost.arrows"
    record(path, [Batch(rows(4), Losses(lost=23))])
    done = export(path, "--to", "csv", "-o", tmp_path / "a.csv")
    assert done.returncode == 3
    assert done.stderr.decode().endswith("missing from the recording: 23 events lost\n")
    assert (tmp_path / "a.csv").read_text().count("\n") == 5


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "mine.csv"
    out.write_text("mine")
    done = vmemscope("export", "sample:storm", "--to", "csv", "-o", out)
    assert done.returncode == 2
    assert "exists already" in one_line(done)
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("to", FORMATS)
def test_a_full_disk_is_one_line_and_leaves_no_file(to: str, tmp_path: Path) -> None:
    # ulimit -f counts KiB; what is written beyond is refused as on a full disk
    out = tmp_path / "a.out"
    done = shell(f"trap '' XFSZ; ulimit -f 4; VMEMSCOPE export sample:storm --to {to} -o {out}")
    assert done.returncode == 2
    assert done.stderr == f"vmemscope: {out}: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", FORMATS)
def test_a_full_stdout_is_one_line(to: str) -> None:
    done = shell(f"VMEMSCOPE export sample:storm --to {to} -o - >/dev/full")
    assert (done.returncode, done.stderr) == (2, "vmemscope: stdout: No space left on device\n")


def test_a_closed_stdout_is_one_line() -> None:
    done = shell("VMEMSCOPE export sample:storm --to csv -o - >&-")
    assert done.returncode == 2
    assert done.stderr.startswith("vmemscope: stdout is closed")


@pytest.mark.parametrize("to", ["csv", "jsonl"])
def test_a_reader_that_has_seen_enough_is_no_error(to: str, tmp_path: Path) -> None:
    path = tmp_path / "long.arrows"
    record(path, [Batch(rows(60_000, 60_000 * i)) for i in range(4)])
    done = shell(f'VMEMSCOPE export {path} --to {to} -o - | head -1; echo "${{PIPESTATUS[0]}}"')
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2
    assert done.stdout.endswith("\n0\n")


def test_binary_is_not_for_a_terminal_and_text_is_made_safe(tmp_path: Path) -> None:
    path = tmp_path / "a.arrows"
    record(path, [Batch(rows(2))])
    for to in ("parquet", "perfetto"):
        code, shown = on_a_terminal("export", path, "--to", to, "-o", "-")
        assert code == 2
        assert "binary" in shown
        assert "name a file with -o" in shown
    for to in ("csv", "jsonl"):
        code, shown = on_a_terminal("export", path, "--to", to, "-o", "-")
        assert code == 0
        assert "\x1b" not in shown
        assert "[bold]" in shown
    assert COMM in export(path, "--to", "csv", "-o", "-").stdout.decode()


def on_a_terminal(*args: str | Path) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *map(str, args)], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65_536):
                shown += data
        except OSError:  # EIO: the other side is closed
            pass
        os.close(ours)
    return process.returncode, shown.decode().replace("\r\n", "\n")


def test_sigterm_leaves_no_file(tmp_path: Path) -> None:
    path, folder = tmp_path / "long.arrows", tmp_path / "out"
    folder.mkdir()
    record(path, [Batch(rows(50_000, 50_000 * i)) for i in range(10)])
    with subprocess.Popen(
        [*COMMAND, "export", path, "--to", "perfetto", "-o", folder / "a.perfetto"]
    ) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not has_open(process.pid, folder):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []


def has_open(pid: int, folder: Path) -> bool:
    """Return whether a process has a file in ``folder`` open, one without a name too."""
    links = list(Path(f"/proc/{pid}/fd").iterdir())
    return any(os.path.realpath(link).startswith(f"{folder}/") for link in links)


def test_without_perfetto_the_way_out_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['perfetto'] = None\n"
        f"sys.argv = ['vmemscope', 'export', 'sample:storm', '--to', 'perfetto', '-o', {str(tmp_path / 'a')!r}]\n"  # noqa: E501
        "from tui.program import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert one_line(done) == (
        "vmemscope: the Perfetto format needs the package perfetto: "
        "pip install 'vmemscope[perfetto]'"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", FORMATS)
def test_neither_textual_nor_pandas_is_loaded(to: str, tmp_path: Path) -> None:
    loaded = loaded_by("export", "sample:storm", "--to", to, "-o", str(tmp_path / "out"))
    assert "pyarrow" in loaded
    assert not {"textual", "pandas"} & loaded


def test_a_column_that_cannot_be_held_is_named(tmp_path: Path) -> None:
    path = tmp_path / "newer.arrows"
    events = rows(2).append_column("\x1b[2J", rows(2).column("kind").cast("binary"))
    foreign(path, [events.slice(0, 0), events, events.slice(0, 0)], b'{"format":"1.9"}', metas(2))
    done = export(path, "--to", "jsonl", "-o", "-")
    assert done.returncode == 0
    assert done.stderr.decode() == (
        "note: column \\x1b[2J has a type that this format cannot hold: left out\n"
    )
    assert [len(json.loads(line)) for line in done.stdout.splitlines()] == [18, 18]


@pytest.mark.parametrize(
    "args",
    [
        ("sample:nope", "--to", "csv", "-o", "-"),
        ("sample:storm", "--to", "xlsx", "-o", "-"),
        ("sample:storm", "--to", "csv"),
        ("sample:storm", "-o", "-"),
        ("/no/such/file.arrows", "--to", "csv", "-o", "-"),
    ],
)
def test_bad_input_is_one_line(args: tuple[str, ...]) -> None:
    done = vmemscope("export", *args)
    assert done.returncode == 2
    assert one_line(done).startswith("vmemscope: ")


def test_text_that_is_not_utf8_never_gets_out(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415

    events = rows(1)
    bad = pa.Array.from_buffers(
        pa.utf8(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    events = events.set_column(events.schema.get_field_index("comm"), "comm", bad)
    path = tmp_path / "bad.arrows"
    foreign(path, [events.slice(0, 0), events, events.slice(0, 0)], b'{"format":"1.1"}', metas(1))
    done = export(path, "--to", "jsonl", "-o", "-")
    assert (done.returncode, done.stdout) == (3, b"")
    assert "batch 0 (1 events) is left out" in done.stderr.decode()
