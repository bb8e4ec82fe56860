# SPDX-License-Identifier: GPL-2.0-only
"""Advice in the state it is given in: following it changes the answer, or none is given.

Each row makes a state of a machine where everything works, says which step doctor has to offer for
a check there, and follows it, as far as files can: the answer is another then. The states that a
booted kernel can be brought into are in tests/lab/test_advice.py, too.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernels.files import kernel
from tests.tracers.live.booted import FILES, LAB, STATUS, TRACING, hide, named, write
from tests.tracers.live.machines import other_build
from tracers.live.doctor.examine import OK, examine
from tracers.live.tracefs import breakpoints

RELEASE = "6.1.192-vmemlab"
MOUNTS = "tracefs /sys/kernel/tracing tracefs rw,nosuid 0 0\n"
LOCKED = "none integrity [confidentiality]\n"
Follow = Callable[[Path, pytest.MonkeyPatch], None]


def nothing(root: Path, patch: pytest.MonkeyPatch) -> None:
    del root, patch


def become(uid: int) -> Follow:
    def follow(root: Path, patch: pytest.MonkeyPatch) -> None:
        del root
        patch.setattr(os, "geteuid", lambda: uid)

    return follow


def written(files: dict[str, str]) -> Follow:
    return lambda root, _: write(root, files)


def both(*steps: Follow) -> Follow:
    def follow(root: Path, patch: pytest.MonkeyPatch) -> None:
        for step in steps:
            step(root, patch)

    return follow


def hidden(root: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    shutil.copy(root / "proc/kallsyms", root / "proc/kallsyms.whole")
    hide(root)


def shown(root: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    shutil.copy(root / "proc/kallsyms.whole", root / "proc/kallsyms")


def gone(*names: str) -> Follow:
    def follow(root: Path, patch: pytest.MonkeyPatch) -> None:
        del patch
        for name in names:
            (root / name).rename((root / name).with_name(f"{Path(name).name}.away"))

    return follow


def back(*names: str) -> Follow:
    def follow(root: Path, patch: pytest.MonkeyPatch) -> None:
        del patch
        for name in names:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).with_name(f"{Path(name).name}.away").rename(root / name)

    return follow


def emptied(root: Path, patch: pytest.MonkeyPatch) -> None:
    """What a kernel booted with lockdown=confidentiality shows: nothing below the mount."""
    gone(TRACING, "proc/kcore")(root, patch)
    (root / TRACING).mkdir()
    write(root, {"proc/self/mounts": MOUNTS, "sys/kernel/security/lockdown": LOCKED})


def unlocked(root: Path, patch: pytest.MonkeyPatch) -> None:
    back(TRACING, "proc/kcore")(root, patch)
    write(root, {"sys/kernel/security/lockdown": FILES["sys/kernel/security/lockdown"]})


def own_file(root: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    (root / "boot").mkdir()
    shutil.copy(kernel(LAB), root / f"boot/vmlinuz-{RELEASE}")


def slots(free: int) -> Follow:
    def follow(root: Path, patch: pytest.MonkeyPatch) -> None:
        del root
        patch.setattr(breakpoints, "free_breakpoints", lambda: free)

    return follow


NO_CAPS = {"proc/self/status": STATUS.format("0" * 16)}
CAPS = {"proc/self/status": FILES["proc/self/status"]}
DOCKER = {"proc/self/status": STATUS.format("00000000a80425fb")}
PANIC = {"proc/sys/kernel/panic_on_warn": "1\n", "proc/sys/kernel/panic_on_oops": "1\n"}
BCC = "usr/lib/python3/dist-packages/bcc"

#: (state, check, the step or what it has to contain, how it is followed)
TABLE: dict[str, tuple[Follow, str, str, Follow]] = {
    "not root": (
        both(become(1000), written(NO_CAPS)),
        "rights",
        "run it with sudo, or give the service AmbientCapabilities=",
        both(become(0), written(CAPS)),
    ),
    "root of a container": (
        written(DOCKER),
        "rights",
        "run it outside of the container",
        written(CAPS),
    ),
    "locked down": (
        emptied,
        "lockdown",
        "boot without lockdown=confidentiality",
        unlocked,
    ),
    "securityfs not mounted": (
        both(gone("sys/kernel/security"), lambda root, _: (root / "sys/kernel/security").mkdir()),
        "lockdown",
        "mount -t securityfs nodev /sys/kernel/security",
        back("sys/kernel/security"),
    ),
    "kptr_restrict 2": (
        both(hidden, written({"proc/sys/kernel/kptr_restrict": "2\n"})),
        "symbols",
        "sysctl kernel.kptr_restrict=1",
        both(shown, written({"proc/sys/kernel/kptr_restrict": "1\n"})),
    ),
    "kptr_restrict 2, not root": (
        both(hidden, become(1000), written({"proc/sys/kernel/kptr_restrict": "2\n"})),
        "symbols",
        "sudo sysctl kernel.kptr_restrict=1, then run it with sudo",
        both(shown, become(0), written({"proc/sys/kernel/kptr_restrict": "1\n"})),
    ),
    "names hidden from others": (
        both(hidden, become(1000)),
        "symbols",
        "run it with sudo",
        both(shown, become(0)),
    ),
    "names hidden from a container": (
        both(hidden, written(DOCKER)),
        "symbols",
        "run it outside of the container",
        both(shown, written(CAPS)),
    ),
    "names hidden, text too": (
        both(hidden, become(1000)),
        "kernel text",
        "run it with sudo",
        both(shown, become(0)),
    ),
    "no BTF": (
        gone("sys/kernel/btf/vmlinux"),
        "BTF",
        "CONFIG_DEBUG_INFO_BTF=y",
        back("sys/kernel/btf/vmlinux"),
    ),
    "tracefs not mounted": (
        both(gone(TRACING), lambda root, _: (root / TRACING).mkdir()),
        "tracefs",
        "mount -t tracefs nodev /sys/kernel/tracing",
        back(TRACING),
    ),
    "tracefs not mounted, not root": (
        both(gone(TRACING), become(1000), lambda root, _: (root / TRACING).mkdir()),
        "tracefs",
        "sudo mount -t tracefs nodev /sys/kernel/tracing, then run it with sudo",
        both(back(TRACING), become(0)),
    ),
    "tracefs mounted and empty": (
        emptied,
        "tracefs",
        "boot without lockdown=confidentiality",
        unlocked,
    ),
    "tracefs not mounted, under lockdown": (
        both(emptied, written({"proc/self/mounts": ""})),
        "tracefs",
        "boot without lockdown=confidentiality",
        unlocked,
    ),
    "a kernel without tracefs": (
        both(gone(TRACING), written({"proc/filesystems": "nodev\tsysfs\nnodev\tproc\n"})),
        "tracefs",
        "CONFIG_FTRACE=y",
        both(back(TRACING), written({"proc/filesystems": "nodev\tsysfs\nnodev\ttracefs\n"})),
    ),
    "no kprobe events": (
        gone(f"{TRACING}/kprobe_events"),
        "tracefs",
        "CONFIG_KPROBE_EVENTS=y",
        back(f"{TRACING}/kprobe_events"),
    ),
    "no BCC": (gone(BCC), "BCC", "apt install python3-bpfcc", back(BCC)),
    "a broken BCC": (
        written({f"{BCC}/libbcc.py": "raise OSError('libbcc.so.0: cannot open')\n"}),
        "BCC",
        "apt install --reinstall python3-bpfcc libbpfcc",
        written({f"{BCC}/libbcc.py": "lib = 'libbcc.so.0'\n"}),
    ),
    "breakpoints taken": (slots(1), "breakpoints", "close debuggers", slots(6)),
    "panics": (
        written(PANIC),
        "panics",
        "sysctl kernel.panic_on_warn=0 kernel.panic_on_oops=0",
        written(dict.fromkeys(PANIC, "0\n")),
    ),
    "panics, not root": (
        both(written(PANIC), become(1000)),
        "panics",
        "sudo sysctl kernel.panic_on_warn=0 kernel.panic_on_oops=0",
        written(dict.fromkeys(PANIC, "0\n")),
    ),
}


@pytest.fixture
def alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine, with no Python's BCC but its own, seen by root."""
    monkeypatch.setattr(sys, "path", [str(machine)])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return machine


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_following_the_step_changes_the_answer(
    alone: Path, monkeypatch: pytest.MonkeyPatch, row: tuple[Follow, str, str, Follow]
) -> None:
    make, name, step, follow = row
    make(alone, monkeypatch)
    before = named(examine(alone), name)
    assert before.status != OK
    assert step in (before.steps.get("debian") or before.steps[""])
    follow(alone, monkeypatch)
    after = named(examine(alone), name)
    assert (after.status, dict(after.steps)) == (OK, {})


#: Where nothing helps, nothing is offered: (state, check).
HOPELESS: dict[str, tuple[Follow, str]] = {
    "names hidden from root all the same": (hidden, "symbols"),
    "damaged BTF": (written({"sys/kernel/btf/vmlinux": "no BTF"}), "BTF"),
    "tracefs mounted and empty, nobody knows why": (
        both(
            gone(TRACING),
            lambda root, _: (root / TRACING).mkdir(),
            written({"proc/self/mounts": MOUNTS}),
        ),
        "tracefs",
    ),
    "no securityfs in the kernel": (
        both(gone("sys/kernel/security"), written({"proc/filesystems": "nodev\tsysfs\n"})),
        "lockdown",
    ),
    "witnesses": (gone("sys/kernel/warn_count", f"{TRACING}/events"), "witnesses"),
}


@pytest.mark.parametrize("row", HOPELESS.values(), ids=HOPELESS)
def test_where_nothing_helps_nothing_is_offered(
    alone: Path, monkeypatch: pytest.MonkeyPatch, row: tuple[Follow, str]
) -> None:
    make, name = row
    make(alone, monkeypatch)
    check = named(examine(alone), name)
    assert (check.status == OK, dict(check.steps)) == (False, {})


# -- memory that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize("state", [gone("proc/kcore"), emptied], ids=["no kcore", "locked down"])
def test_the_kernels_own_file_comes_before_a_gigabyte_of_packages(
    alone: Path, monkeypatch: pytest.MonkeyPatch, state: Follow
) -> None:
    both(state, own_file)(alone, monkeypatch)
    text = named(examine(alone), "kernel text")
    path = alone / f"boot/vmlinuz-{RELEASE}"
    assert text.steps == {
        "": f"vmemscope doctor --vmlinux {path}; record and live take it, too",
    }
    found = examine(alone, vmlinux=path)
    assert named(found, "kernel text").status == OK
    assert named(found, "window").status == OK


def test_a_file_of_another_build_is_not_offered(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(gone("proc/kcore"), own_file)(alone, monkeypatch)
    other_build(alone)
    text = named(examine(alone), "kernel text")
    assert "linux-image-6.1.192-vmemlab-dbg" in text.steps["debian"]


def test_whoever_is_not_root_is_told_that_first(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (alone / "proc/kcore").write_bytes(b"")  # as one that may not be read
    both(own_file, become(1000))(alone, monkeypatch)
    assert named(examine(alone), "kernel text").steps == {"": "run it with sudo"}
