# SPDX-License-Identifier: GPL-2.0-only
"""6.1 under a load: `record` interrupted at random moments, 50 times.

What was on the disk before is in the file, byte by byte; a file that its recorder could not close
reads as unfinished and never as clean; of the probes nothing stays. A SIGKILL leaves them to the
shell that waits for the recorder's end; where that was killed as well, the next start removes them.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.harness import TOP, Boot, Kernel, Lab, read

pytestmark = pytest.mark.long
CODES = {0, 1, 2, 3}


@pytest.fixture(scope="module")
def interrupted(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(lab_kernel("6.1"), "interrupted.py", timeout_s=3000)


@pytest.fixture(scope="module")
def runs(interrupted: Boot) -> list[dict[str, Any]]:
    return [json.loads(line) for line in interrupted.text("runs").splitlines()]


def vmemscope(command: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmemscope", command, path],
        capture_output=True,
        text=True,
        check=False,
        cwd=TOP,
    )


def told(run: dict[str, Any]) -> str:
    return f"{run['number']}: {run['signal']} to {' '.join(run['command'])}"


def test_all_of_them_ran(runs: list[dict[str, Any]]) -> None:
    assert len(runs) == 50
    assert {run["signal"] for run in runs} == {"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"}
    assert sum(run["before"]["rows"] > 0 for run in runs) >= 25  # else this tests nothing
    assert any(run["shell_killed"] for run in runs)


def test_what_was_on_the_disk_is_in_the_file(interrupted: Boot, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        before, path = run["before"], interrupted.out / f"{run['number']}.arrows"
        data = path.read_bytes() if path.exists() else b""
        sha256 = hashlib.sha256(data[: before["bytes"]]).hexdigest()
        assert sha256 == before["sha256"], told(run)
        if before["rows"]:
            assert len(read(path).rows) >= before["rows"], told(run)


def test_a_polite_signal_ends_it_with_a_documented_code(
    interrupted: Boot, runs: list[dict[str, Any]]
) -> None:
    for run in runs:
        if run["signal"] != "SIGKILL":
            assert run["exit_code"] is not None, f"{told(run)}: still there after a minute"
            if run["before"]["rows"]:
                assert run["exit_code"] in CODES, told(run)
                closing = interrupted.recording(str(run["number"])).closing
                assert closing is not None, told(run)
                assert closing["rows"] >= run["before"]["rows"], told(run)
                assert "Traceback" not in interrupted.text(f"{run['number']}.text"), told(run)


def test_no_file_reads_better_than_it_is(interrupted: Boot, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        path = interrupted.out / f"{run['number']}.arrows"
        if not path.exists():
            continue
        done = vmemscope("check", path)
        if not path.stat().st_size:
            assert done.returncode == 2, told(run)
            continue
        ours = read(path)
        assert done.returncode in CODES, told(run)
        assert "Traceback" not in done.stderr, told(run)
        warned = bool(ours.of("warn"))
        if ours.closing is None:
            assert run["signal"] == "SIGKILL" or not ours.rows, told(run)
            assert done.returncode == (1 if warned else 3), told(run)
        elif ours.lost():
            assert done.returncode != 0, told(run)
        if warned:
            assert done.returncode == 1, told(run)
        # Else the signal is the end that was asked for.
        if run["signal"] == "SIGKILL" or {"--duration", "--"} & set(run["command"]):
            assert done.returncode == (1 if warned else 3), told(run)
            report = " ".join(vmemscope("report", path).stdout.split())
            assert "The recording is unfinished" in report, told(run)


def test_the_probes_are_gone(interrupted: Boot, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        if run["signal"] != "SIGKILL":
            assert run["left_at_once"] == [], told(run)
        assert run["left"] == [], told(run)
    assert any(run["left_at_once"] for run in runs if run["shell_killed"])  # there was a reason
    assert interrupted.text("left").strip() == ""
