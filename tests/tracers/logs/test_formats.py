# SPDX-License-Identifier: GPL-2.0-only
"""Each log is recognised as its own format."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.recordings.made import PATIENCE_S
from tests.tracers.logs import tools
from tests.tracers.logs.tools import LAB, LAB_612
from tracers.logs.formats import FORMATS, named, recognise
from tracers.logs.kprobe_text.text_log import LogError

FORMS = {
    "ftrace": ["hole.ftrace.txt", "below.ftrace.txt", "trace-cmd-hole.truth.txt"],
    "trace-cmd": ["trace-cmd.report.txt", "trace-cmd-hole.report-l.txt",
                  "trace-cmd-instance.report.txt", "trace-cmd-lost-unnumbered.report-t.txt"],
    "trace.dat": ["trace-cmd-hole.dat", "trace-cmd-counter.dat"],
    "perf": ["perf.script.txt", "perf-g.script.txt", "perf-lost.script.txt"],
    "bpftrace": ["bpftrace.txt", "bpftrace.jsonl", "bpftrace-lost.txt", "bpftrace-lost.jsonl"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("log_format", "name"), [(log_format, n) for log_format in FORMS for n in FORMS[log_format]]
)
def test_every_capture_is_known_by_its_beginning(captures: Path, log_format: str, name: str):
    raw = tools.raw(captures / LAB, name)
    for size in (2000, 65536):
        assert recognise(raw[:size]) is named(log_format)


@pytest.mark.parametrize(
    ("log_format", "name"),
    [("perf", "perf.script.txt"), ("bpftrace", "bpftrace.txt"), ("ftrace", "in-range.ftrace.txt")],
)
def test_of_another_kernel(captures: Path, log_format: str, name: str):
    assert recognise(tools.raw(captures / LAB_612, name)[:65536]) is named(log_format)


@pytest.mark.parametrize("head", [b"", b"hello\n", b"\x7fELF", b"cpus=\n", b"PERFILE2", b"\n\n"])
def test_what_is_no_log(head: bytes):
    assert recognise(head) is None


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(LogError) as raised:
        named("dtrace")
    for log_format in FORMATS:
        assert log_format.name in str(raised.value)


#: What a long line can be made of: all that the patterns repeat.
_RUNS = (
    " ",
    "\t",
    "a",
    "0",
    "-",
    "[",
    "(",
    ":",
    ".",
    "a ",
    "0 ",
    "a-1 ",
    "0.0: ",
    "a:",
    "<0>",
    "+0x0/",
)
_RECOGNISE = f"""
import itertools
from tracers.logs.formats import recognise
tails = ("", "\\n", " insmod-68    [000] d..1.  1.0: populate: (x)\\n", " insmod 68 [000] 1.0: a:b: (f)\\n")
for run, tail in itertools.product({_RUNS!r}, tails):
    recognise((run * (64000 // len(run)) + tail).encode())
"""  # noqa: E501


def test_no_line_takes_for_ever_to_recognise() -> None:
    # 2,000 blanks took 10 s, 64,000 would have taken days: a deadline here is no measurement.
    subprocess.run([sys.executable, "-c", _RECOGNISE], check=True, timeout=2 * PATIENCE_S)
