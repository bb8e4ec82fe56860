# SPDX-License-Identifier: GPL-2.0-only
"""The private instance's files: settings, pages in bounded parts, the kernel's numbers and reasons.

On a folder with a real kernel's files; that tracefs itself takes all this is tested in the lab.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.tracers.live import recorded
from tracers.live.probes.engine import AttachError, LiveError
from tracers.live.tracefs import cleanup, instance
from tracers.live.tracefs.instance import Instance
from tracers.live.tracefs.ring_pages import parse_pages

RELEASE = "6.1.192"
NAME = "vmemscope_1_2_3_4"
#: 6.1's message for a function that is notrace there.
LOG = """[    6.778177] trace_kprobe: error: Failed to register probe event
  Command: p:g/vmemmap_populate vmemmap_populate a0=%x0:u64
                                ^
[    6.784557] trace_kprobe: error: This function returns 'void' type
  Command: r64:g/vmemmap_free_ret vmemmap_free a0=$retval:u64 comm=$comm
                                                  ^
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tracing = tmp_path / "sys/kernel/tracing"
    ours = tracing / "instances" / NAME
    (tracing / "events").mkdir(parents=True)
    (tracing / "kprobe_events").write_text("")
    (tracing / "error_log").write_text(LOG)
    for name in ("header_page", "header_event"):
        (tracing / "events" / name).write_text((recorded.DATA / RELEASE / name).read_text())
    (ours / "options").mkdir(parents=True)
    for option in ("options/overwrite", "options/stacktrace", "buffer_percent"):
        (ours / option).write_text("")
    for cpu in (0, 1):
        (ours / f"per_cpu/cpu{cpu}").mkdir(parents=True)
        pages = recorded.pages(RELEASE, "lost", cpu)
        (ours / f"per_cpu/cpu{cpu}/trace_pipe_raw").write_bytes(pages.tobytes())
        stats = recorded.DATA / RELEASE / f"lost.cpu{cpu}.stats"
        (ours / f"per_cpu/cpu{cpu}/stats").write_text(stats.read_text())
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    1048576 kB\n")
    monkeypatch.setattr(Path, "rmdir", lambda _: None)  # tracefs takes it with all its files
    monkeypatch.setattr(cleanup, "new_name", lambda _: NAME)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(instance.os, "cpu_count", lambda: 16)
    return tmp_path


@pytest.fixture
def ours(root: Path) -> Path:
    return root / "sys/kernel/tracing/instances" / NAME


def test_it_is_made_switched_off_with_one_clock(root: Path, ours: Path) -> None:
    made = Instance(root)
    try:
        assert (ours / "tracing_on").read_text() == "0"
        assert (ours / "trace_clock").read_text() == "mono"
        assert (ours / "options/stacktrace").read_text() == "0"
        assert (ours / "buffer_percent").read_text() == "0"
        assert not (ours / "options/userstacktrace").exists()  # this kernel has none
        # 1 GiB free, a sixteenth of it, for 16 CPUs
        assert (ours / "buffer_size_kb").read_text() == str(1024 * 1024 // 16 // 16)
        assert len(made.descriptors) == 2
    finally:
        made.remove()
        made.remove()


@pytest.mark.parametrize("at_once", [1, 3, 4, 256])
def test_pages_come_in_parts_with_their_cpus(
    root: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(instance, "_AT_ONCE", at_once)
    made = Instance(root)
    seen: list[tuple[int, int]] = []
    for pages, cpus, torn in made.drain(None):
        assert len(pages) <= at_once
        assert torn == 0
        parsed = parse_pages(pages, made.layout)
        at = cpus[parsed.page].tolist()
        seen += zip(at, ((parsed.ts + 500) // 1000).tolist(), strict=True)
    made.remove()
    for cpu in (0, 1):
        assert [us for at, us in seen if at == cpu] == [
            line.us for line in recorded.lines(RELEASE, "lost", cpu)
        ]


def test_pages_that_begin_later_stay(root: Path) -> None:
    made = Instance(root)
    whole = recorded.pages(RELEASE, "lost", 0)
    second = int(whole[1, :8].copy().view(np.uint64)[0])
    parts = [(len(pages), cpus.tolist()) for pages, cpus, _ in made.drain(second - 1)]
    made.remove()
    # of CPU 0 one page past the time is read, to see that it is
    assert parts in ([(3, [0, 0, 1])], [(3, [1, 0, 0])])


def test_losses_are_the_kernels_and_reported_once(root: Path, ours: Path) -> None:
    made = Instance(root)
    assert made.losses() == {0: recorded.overrun(RELEASE, "lost", 0)}
    assert made.losses() == {}
    stats = ours / "per_cpu/cpu1/stats"
    text = stats.read_text().replace("commit overrun: 0", "commit overrun: 2")
    stats.write_text(text.replace("dropped events: 0", "dropped events: 5"))
    assert made.losses([0]) == {}
    assert made.losses([1]) == {1: 7}
    made.remove()


def test_the_kernels_own_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Instance(root)

    def fail(_: Path, __: str) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(cleanup, "append", fail)
    with pytest.raises(AttachError) as raised:
        made.define("r64:g/vmemmap_free_ret vmemmap_free a0=$retval:u64 comm=$comm")
    assert str(raised.value) == "This function returns 'void' type (Invalid argument)"
    with pytest.raises(AttachError) as raised:
        made.define("p:g/other other")
    assert str(raised.value) == "Invalid argument"
    monkeypatch.undo()
    made.remove()


def test_misses_by_name(root: Path) -> None:
    # kernel/trace/trace_kprobe.c, probes_profile_seq_show
    profile = root / "sys/kernel/tracing/kprobe_profile"
    profile.write_text(f"  {'free0_exit0':<44} {30:15d} {4:15d}\n")
    made = Instance(root)
    assert made.misses() == {"free0_exit0": 4}
    made.remove()


def test_a_failure_half_way_leaves_nothing(
    root: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[str] = []
    monkeypatch.setattr(cleanup, "clear", lambda _, name: cleared.append(name))
    (ours / "buffer_size_kb").symlink_to(ours / "nowhere/at/all")
    with pytest.raises(LiveError, match="lockdown"):
        Instance(root)
    assert cleared == [NAME]
