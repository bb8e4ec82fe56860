# SPDX-License-Identifier: GPL-2.0-only
"""The same file as the program trace-cmd reads it: what ours is compared with."""

import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recordings.made import PATIENCE_S
from tests.tracers.logs import tools
from tracers.batch import Batch, Losses
from tracers.kernel_functions import KINDS
from tracers.logs.kprobe_text.function_names import FunctionNames
from tracers.logs.kprobe_text.rows import NO_ROWS
from tracers.logs.kprobe_text.trace_cmd_report import TraceCmdLog
from tracers.logs.trace_dat.reader import TraceDat

needs_trace_cmd = pytest.mark.skipif(
    shutil.which("trace-cmd") is None, reason="the program trace-cmd is not installed"
)
_SYMBOL = re.compile(rf"^([0-9a-f]{{8,16}}) ({'|'.join(KINDS)})(?:\.\w+\.\d+)*$", re.MULTILINE)
_DROPPED = re.compile(r"^(?:overrun|commit overrun|dropped events): (\d+)$", re.MULTILINE)


def run(*arguments: str | Path) -> bytes:
    """What trace-cmd prints."""
    return subprocess.run(
        ["trace-cmd", *map(str, arguments)],
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    ).stdout


class _Report:
    """The report, with the losses that the kernel counted and the report does not number."""

    def __init__(self, path: Path) -> None:
        symbols = _SYMBOL.findall(run("report", "-N", "-f", "-i", path).decode())
        known = {int(address, 16): name for address, name in symbols if int(address, 16)}
        text = run("report", "-N", "-t", "-i", path)
        self._log = TraceCmdLog(io.BytesIO(text), names=FunctionNames(symbols=known))
        stats = run("report", "-N", "--stat", "-i", path).decode()
        self._dropped = sum(map(int, _DROPPED.findall(stats)))

    def batches(self):
        reported = 0
        for batch in self._log.batches():
            reported += batch.losses.lost
            unknown = 0 if self._dropped else batch.losses.lost_unknown
            yield replace(batch, losses=replace(batch.losses, lost_unknown=unknown))
        if self._dropped > reported:
            yield Batch(NO_ROWS, Losses(lost=self._dropped - reported))


def by_program(path: Path) -> tuple[list[dict], dict[str, int]]:
    """The rows and losses that trace-cmd's report comes to."""
    return tools.read(_Report(path))


def by_us(path: Path) -> tuple[list[dict], dict[str, int], TraceDat]:
    """The rows and losses of our reader, and the reader."""
    with path.open("rb") as file:
        log = TraceDat(file.fileno())
        rows, missing = tools.read(log)
    return rows, missing, log
