# SPDX-License-Identifier: GPL-2.0-only
"""Stale instances and probes of killed runs are found and removed; on folders like tracefs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracers.live.probes.engine import LiveError
from tracers.live.tracefs import cleanup

NAMESPACE = 4026531836


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sys/kernel/tracing/instances").mkdir(parents=True)
    (tmp_path / "sys/kernel/tracing/kprobe_events").write_text("")
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to(f"pid:[{NAMESPACE}]")
    for process, started in ((os.getpid(), 700), (41, 500)):
        (tmp_path / f"proc/{process}").mkdir()
        # proc(5): a name may hold anything; starttime is field 22
        stat = f"{process} (a) b) S {' '.join(['0'] * 18)} {started} 0 0"
        (tmp_path / f"proc/{process}/stat").write_text(stat)
    return tmp_path


def events(root: Path, *lines: str) -> None:
    (root / "sys/kernel/tracing/kprobe_events").write_text("".join(f"{line}\n" for line in lines))


def test_a_name_says_whose_it_is(root: Path) -> None:
    one, other = cleanup.new_name(root), cleanup.new_name(root)
    assert one.startswith(f"vmemscope_{os.getpid()}_700_{NAMESPACE}_")
    assert one != other
    assert len(one) < 64  # MAX_EVENT_NAME_LEN, kernel/trace/trace_probe.h


def test_only_what_nobody_owns_is_found(root: Path) -> None:
    instances = root / "sys/kernel/tracing/instances"
    running = f"vmemscope_41_500_{NAMESPACE}_0"
    used_again = f"vmemscope_41_499_{NAMESPACE}_0"
    gone = f"vmemscope_42_500_{NAMESPACE}_0"
    elsewhere = "vmemscope_42_500_4026532000_0"
    for name in (running, used_again, elsewhere, "vmemscope_mine", "other"):
        (instances / name).mkdir()
    events(
        root,
        "p:kprobes/mine vmemmap_free",
        f"p:{gone}/free0_entry0 vmemmap_free a0=%x0:u64",
        f"r256:{gone}/free0_exit0 vmemmap_free",
        f"p:{running}/free0_entry0 vmemmap_free",
    )
    assert cleanup.find_stale(root) == (used_again, gone)


def test_an_instance_and_its_events_go_and_no_others(root: Path) -> None:
    gone, other = f"vmemscope_42_500_{NAMESPACE}_0", f"vmemscope_42_500_{NAMESPACE}_01"
    (root / "sys/kernel/tracing/instances" / gone).mkdir()
    lines = [f"p:{gone}/a x", f"r256:{gone}/b x", f"p:{other}/c x", "p:kprobes/mine y"]
    events(root, *lines)
    assert cleanup.remove([gone], root) == ()
    assert not (root / "sys/kernel/tracing/instances" / gone).exists()
    # each "-:GROUP/EVENT" is a line of its own, behind what was there
    text = (root / "sys/kernel/tracing/kprobe_events").read_text()
    assert text.splitlines() == [*lines, f"-:{gone}/a", f"-:{gone}/b"]


def test_what_stays_is_reported(root: Path) -> None:
    gone = f"vmemscope_42_500_{NAMESPACE}_0"
    (root / "sys/kernel/tracing/instances" / gone / "busy").mkdir(parents=True)
    (reason,) = cleanup.remove([gone], root)
    assert reason == f"tracefs instance {gone} stays: Directory not empty"


def test_no_tracefs_says_how_to_mount_it(tmp_path: Path) -> None:
    with pytest.raises(LiveError, match="mount -t tracefs nodev /sys/kernel/tracing"):
        cleanup.find_stale(tmp_path)


def test_tracefs_of_old_is_under_debugfs(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel/debug/tracing").mkdir(parents=True)
    (tmp_path / "sys/kernel/debug/tracing/kprobe_events").write_text("")
    assert cleanup.tracing(tmp_path) == tmp_path / "sys/kernel/debug/tracing"


def test_no_permission_names_what_is_needed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", deny)
    with pytest.raises(LiveError, match="CAP_SYS_ADMIN"):
        cleanup.tracing(root)


CHILD = """
import sys, time
from pathlib import Path
from tracers.live.tracefs.cleanup import CleanupShell
where, name = Path(sys.argv[1]), sys.argv[2]
shell = CleanupShell(where, name)
(where / "instances" / name).mkdir()
print("ready", flush=True)
time.sleep(600)
"""


def test_the_cleanup_shell_removes_what_a_killed_run_leaves(root: Path) -> None:
    where, name = root / "sys/kernel/tracing", f"vmemscope_9_9_{NAMESPACE}_0"
    lines = [f"p:{name}/a x", "p:kprobes/mine y"]
    events(root, *lines)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(where), name], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert (where / "instances" / name).exists()
        child.send_signal(signal.SIGKILL)
    for _ in range(600):
        if f"-:{name}/a" in (where / "kprobe_events").read_text().splitlines():
            break
        time.sleep(0.05)
    assert not (where / "instances" / name).exists()
    listed = (where / "kprobe_events").read_text().splitlines()
    assert listed[:2] == lines
    assert set(listed[2:]) == {f"-:{name}/a"}
    events(root)  # as the kernel would have it: so it has nothing more to do


def test_the_cleanup_shell_is_dismissed(root: Path) -> None:
    shell = cleanup.CleanupShell(root / "sys/kernel/tracing", "vmemscope_9_9_9_9")
    process = shell._pid
    os.kill(process, 0)
    shell.dismiss(clean=True)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    shell.dismiss(clean=True)
