# SPDX-License-Identifier: GPL-2.0-only
"""Debian 6.12 in states where something lacks: doctor's step, run as it stands, changes its answer.

tests/tracers/live/doctor/test_advice.py has the table of all steps, on machines made of files.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.harness import Boot, Kernel, Lab

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def advice(lab: Lab, debian: Callable[[str], Kernel]) -> Boot:
    return lab.boot(debian("6.12"), "advice.sh", timeout_s=1500)


def check(boot: Boot, name: str, which: str) -> dict[str, Any]:
    fields = json.loads(boot.text(f"{name}.text"))
    (found,) = [each for each in fields["checks"] if each["name"] == which]
    assert not (found["steps"] and found["status"] == "ok")
    return dict(found)


def test_nothing_is_lacking_at_first(advice: Boot) -> None:
    fields = json.loads(advice.text("ready.text"))
    assert (advice.exit_code("ready"), fields["gaps"]) == (0, [])
    assert {each["status"] for each in fields["checks"]} == {"ok"}


#: state -> (check, the step, the state after it was followed)
FOLLOWED = {
    "securityfs": ("lockdown", "mount -t securityfs nodev /sys/kernel/security", "ready"),
    "hidden": ("symbols", "sysctl kernel.kptr_restrict=1", "shown"),
    "unmounted": ("tracefs", "mount -t tracefs nodev /sys/kernel/tracing", "mounted"),
    "panics": ("panics", "sysctl kernel.panic_on_oops=0", "calm"),
}


@pytest.mark.parametrize("state", FOLLOWED)
def test_the_step_run_as_it_stands_changes_the_answer(advice: Boot, state: str) -> None:
    name, step, then = FOLLOWED[state]
    before = check(advice, state, name)
    assert before["status"] != "ok"
    assert advice.text(f"{state}.step").strip() == step
    assert "rc=" not in advice.text(f"{state}.followed")
    assert check(advice, then, name)["status"] == "ok"


def test_nobody_is_told_to_become_root_or_to_have_capabilities(advice: Boot) -> None:
    found = check(advice, "nobody", "rights")
    assert found["steps"][""].startswith("run it with sudo, or give the service Ambient")
    assert check(advice, "ready", "rights")["status"] == "ok"
    # the capabilities of the step, as the service would have them
    assert check(advice, "ambient", "rights")["said"] == "the capabilities needed"
    for name in ("symbols", "kernel text", "tracefs"):
        assert check(advice, "nobody", name)["steps"] == {"": "run it with sudo"}
        assert check(advice, "ambient", name)["status"] == "ok", name
    assert advice.exit_code("ambient") == 0


def test_root_of_a_container_is_not_told_sudo(advice: Boot) -> None:
    fields = json.loads(advice.text("container.text"))
    assert "sudo" not in json.dumps([each["steps"] for each in fields["checks"]])
    for name in ("rights", "symbols", "kernel text", "breakpoints"):
        step = check(advice, "container", name)["steps"][""]
        assert "run it outside of the container" in step, name
        assert check(advice, "ready", name)["status"] == "ok"


def test_breakpoints_that_somebody_holds(advice: Boot) -> None:
    found = check(advice, "held", "breakpoints")
    assert found["said"].startswith("1 of the CPU's slots free")
    assert "close debuggers" in found["steps"][""]
    assert check(advice, "released", "breakpoints")["status"] == "ok"


def test_locked_down_no_step_is_one_that_lockdown_refuses(advice: Boot) -> None:
    for name in ("lockdown", "tracefs"):
        found = check(advice, "locked", name)
        assert found["status"] == "no"
        assert found["steps"][""].startswith("boot without lockdown=confidentiality"), name
    # breakpoints are still to be had, without their registers
    assert check(advice, "locked", "breakpoints")["status"] == "ok"


def test_locked_down_the_kernels_own_file_suffices(advice: Boot) -> None:
    step = advice.text("locked.step").strip()
    assert step.startswith("vmemscope doctor --vmlinux /boot/vmlinuz-6.12.")
    assert "-dbg" not in json.dumps(check(advice, "locked", "kernel text")["steps"])
    assert "kernel text  ok" in advice.text("locked.followed")
    fields = json.loads(advice.text("vmlinux.text"))
    before = json.loads(advice.text("locked.text"))
    assert check(advice, "vmlinux", "kernel text")["status"] == "ok"

    def seen(found: dict[str, Any]) -> set[str]:
        (bcc,) = [engine for engine in found["engines"] if engine["engine"] == "bcc"]
        return {point["function"] for point in bcc["points"] if point["rung"] == "breakpoint"}

    # the file tells where calls end, which costs no entry its slot
    assert len(seen(before)) == 6
    assert seen(fields) == seen(before)
