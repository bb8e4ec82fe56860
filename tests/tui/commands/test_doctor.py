# SPDX-License-Identifier: GPL-2.0-only
"""``doctor``: exit codes, JSON, and on this very machine as root and as nobody."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

import tracers.live.doctor.examine
import tracers.live.doctor.steps
from tests.tui.commands.test_main import loaded_by
from tests.tui.processes import ROOT
from tracers.events import Kind
from tracers.live.doctor.examine import NO, Check, Diagnosis, Trial
from tracers.live.probes.ladder import Attached
from tracers.live.probes.points import Probe, ProbeAddress, Rung
from tracers.machine import Machine
from tracers.window import Window
from tui.commands.doctor import doctor

NOBODY = 65534
ATTACHED = Attached(
    Kind.FREE,
    "vmemmap_free",
    Probe(Kind.FREE, Rung.KPROBE, "vmemmap_free", (ProbeAddress("vmemmap_free", 0, 4),)),
)
NOT_ATTACHED = Attached(Kind.WARN, "__warn", None, ((Rung.KPROBE, "refused"),))
CHECK = Check("BCC", NO, "missing", {"debian": "apt install x", "fedora": "dnf install x"})


def examined(monkeypatch, *trials: Trial) -> None:
    machine = Machine(window=Window(0xFFFFFFFE00000000, 0xFFFFFFFF00000000))
    made = Diagnosis("6.1", "aarch64", (CHECK,), trials, machine)
    monkeypatch.setattr(tracers.live.doctor.examine, "examine", lambda **_: made)
    monkeypatch.setattr(tracers.live.doctor.steps, "distribution", lambda: "fedora")


@pytest.mark.parametrize(
    ("trial", "code", "word"),
    [
        (Trial("bcc", (ATTACHED,)), 0, "READY  "),
        (Trial("bcc", (ATTACHED, NOT_ATTACHED)), 3, "WITH GAPS  "),
        (Trial("bcc", failed="no BCC"), 2, "NOT POSSIBLE  "),
    ],
)
def test_the_exit_code_says_how_much_works(monkeypatch, trial, code, word):
    examined(monkeypatch, trial)
    done = CliRunner().invoke(doctor, [])
    assert (done.exit_code, done.stderr) == (code, "")
    assert done.stdout.startswith(word)
    assert "→ fedora: dnf install x" in done.stdout
    assert "apt install" not in done.stdout
    done = CliRunner().invoke(doctor, ["--json"])
    assert (done.exit_code, done.stderr) == (code, "")
    fields = json.loads(done.stdout)
    assert fields["exit_code"] == code
    assert fields["checks"][0]["steps"] == dict(CHECK.steps)


def test_arguments_are_a_usage_error():
    done = CliRunner().invoke(doctor, ["now"])
    assert (done.exit_code, done.stdout) == (2, "")


# -- this machine --------------------------------------------------------------------------------

# Whatever is imported late is imported before the rights are given up: nobody may not read
# everybody's Python.
AS_NOBODY = f"""
import os, sys
from click.testing import CliRunner
from tui.commands.main import cli
from tui.program import main
CliRunner().invoke(cli, sys.argv[1:])
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
main()
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=ROOT
    )


def sound(done: subprocess.CompletedProcess[str]) -> dict:
    """Return the JSON; no traceback, nothing on stderr, a code of the documented ones."""
    assert done.stderr == ""
    fields = json.loads(done.stdout)
    assert done.returncode == fields["exit_code"]
    assert done.returncode in {0, 2, 3}
    assert (fields["release"], fields["arch"]) == (os.uname().release, os.uname().machine)
    for check in fields["checks"]:
        assert check["status"] in {"ok", "no", "unknown"}
        assert not (check["steps"] and check["status"] == "ok")
    return fields


def rights(fields: dict) -> str:
    (status,) = [check["status"] for check in fields["checks"] if check["name"] == "rights"]
    return status


def test_on_this_machine():
    fields = sound(run("-m", "vmemscope", "doctor", "--json"))
    if os.getuid() != 0:
        assert rights(fields) == "no"
    done = run("-m", "vmemscope", "doctor")
    assert (done.returncode, done.stderr) == (fields["exit_code"], "")
    first = done.stdout.splitlines()[0]
    assert first.startswith(("READY", "WITH GAPS", "NOT POSSIBLE"))
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_on_this_machine_as_nobody():
    fields = sound(run("-c", AS_NOBODY, "doctor", "--json"))
    assert rights(fields) == "no"
    assert fields["exit_code"] != 0


def test_it_loads_nothing_that_only_events_or_other_commands_need():
    """What is imported in a guest, file by file over 9p, is most of what doctor takes there."""
    events = {"pyarrow", "pandas", "flatbuffers", "textual"}
    assert {"click", "rich"} < (loaded := loaded_by("doctor"))
    assert not events & loaded
    assert not {*events, "rich"} & loaded_by("doctor", "--json")
