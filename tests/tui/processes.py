# SPDX-License-Identifier: GPL-2.0-only
"""Runs ``record`` and ``live`` as processes, with a recorded feed in place of the kernel."""

import json
import subprocess
import sys
from pathlib import Path

from recordings.format.reader import Recording, open_recording
from tests.recordings.made import PATIENCE_S
from tracers.batch import Losses

ROOT = Path(__file__).resolve().parents[2]
ENDLESS = {"rate": 2000, "rounds": None}


def command(spec: dict[str, object], *args: object) -> list[str]:
    return [sys.executable, "-m", "tests.tui.feed", json.dumps(spec), *map(str, args)]


def record(spec: dict[str, object], *args: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(spec, "record", *args),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=PATIENCE_S * 2,
        **options,
    )


def started(spec: dict[str, object], *args: object, **options) -> subprocess.Popen[str]:
    """Start a recording, wait until its probes are on."""
    process = subprocess.Popen(
        command(spec, "record", *args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )
    assert process.stderr.readline().startswith("probes on (engine feed): ")
    return process


def ended(process: subprocess.Popen[str]) -> str:
    """Return its stderr, once it has ended."""
    out, err = process.communicate(timeout=PATIENCE_S * 2)
    assert "Traceback" not in err, err
    assert out == ""
    return err


def until(folder: Path) -> str:
    """Return the shell command that waits for the feed's last event."""
    return f"until [ -e {folder}/done ]; do sleep 0.05; done"


def early(path: Path) -> str:
    """Return why a recording ended before it should, as it says itself."""
    with open_recording(path) as recording:
        assert recording.losses == Losses(without_end=1)
        assert recording.ended is not None
        assert recording.problems == (f"ended early: {recording.ended}",)
    return recording.ended


def whole(path: Path) -> Recording:
    with open_recording(path) as recording:
        assert (recording.problems, recording.losses.torn) == ((), 0)
    return recording
