# SPDX-License-Identifier: GPL-2.0-only
"""Engine kmsg: the past and a storm beside engine tracefs, a ring that wraps, lockdown."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.lab.compare import SECTION_PAGES, left_nothing
from tests.lab.harness import Boot, Kernel, Lab, Recording

pytestmark = pytest.mark.long


def calls(recording: Recording) -> list[tuple[Any, ...]]:
    """Return populate and free calls in the order of time."""
    return [
        (row["kind"], row["start"], row["end"], row["tid"], row["comm"])
        for row in sorted(recording.rows, key=lambda row: row["ts_ns"])
        if row["kind"] in ("populate", "free") and row["phase"] != "exit"
    ]


@pytest.fixture(scope="module")
def log(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(lab_kernel("6.1"), "kmsg.sh", timeout_s=600)


def test_what_was_before_is_there(log: Boot) -> None:
    ours = log.recording("past")
    # 2 GiB from 0x5000000000: 16 sections, populated and freed, and nothing forged among them
    first = 0xFFFFFFFE00000000 + (0x5000000 - 0x40000) * 64
    starts = [(first + number * SECTION_PAGES * 64) % 2**64 for number in range(16)]
    seen = [(kind, start, comm) for kind, start, _, _, comm in calls(ours)]
    assert seen == [
        *(("populate", start, "insmod") for start in starts),
        *(("free", start, "rmmod") for start in starts),
    ]
    assert ours.lost() == 0
    assert len(ours.of("warn", "point")) == int(log.text("before.warns")) == 32
    assert log.exit_code("past") == 1
    assert "kernel log 32, warn_count 32" in log.text("past.text")
    left_nothing(log, "past")


@pytest.mark.parametrize("reader", ["one", "two"])
def test_a_storm_is_what_engine_tracefs_saw(log: Boot, reader: str) -> None:
    ours, probed = log.recording(reader), log.recording("storm")
    assert ours.lost() == 0
    assert calls(ours)[32:] == calls(probed)
    assert len(calls(probed)) == 256
    assert {row["source"] for row in ours.rows} == {"dmesg"}


def test_its_times_lie_in_the_warns(log: Boot) -> None:
    """The first line of each splat was printed between the entry and the exit of its __warn."""
    ours, probed = log.recording("one"), log.recording("storm")
    clock = ours.header["clock"]
    assert clock["name"] == "mono"
    error = clock["printk_error_ns"] + 1000  # and printk's times are cut to microseconds
    warns = {"entry": probed.of("warn"), "exit": probed.of("warn", "exit")}
    spans = zip(*(sorted(row["ts_ns"] for row in rows) for rows in warns.values()), strict=True)
    printed = sorted(row["ts_ns"] for row in ours.of("warn", "point"))[32:]
    for stamp, (entry, end) in zip(printed, spans, strict=True):
        assert entry - error <= stamp <= end + error


def test_who_may_not_read_it(log: Boot) -> None:
    assert log.exit_code("restricted") == 2
    (line,) = log.text("restricted.text").splitlines()
    assert line.startswith("vmemscope: /dev/kmsg: Operation not permitted: root or CAP_SYSLOG")


def test_auto_without_rights_takes_it(log: Boot) -> None:
    """kernel.dmesg_restrict=0: anybody may read it. Without kcore arithmetic proves the calls."""
    text = log.text("auto.text")
    assert "reading the kernel log, no probes (engine kmsg)" in text
    assert "note: engine tracefs: tracefs: permission denied" in text
    assert "arithmetic: one pair of registers fits" in text
    assert log.exit_code("auto") == 1
    assert calls(log.recording("auto")) == calls(log.recording("one"))


@pytest.mark.xdist_group("kmsg-flood")
def test_a_ring_that_wraps_is_counted(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> None:
    boot = lab.boot(lab_kernel("6.1"), "flood.sh", append="log_buf_len=256K")
    (_, last), (first, _) = (map(int, boot.text(name).split()) for name in ("before", "after"))
    assert first > last + 1, "the ring did not wrap"
    ours = boot.recording("flood")
    assert ours.closing is not None
    assert ours.closing["lost_unknown"] == 1  # one gap
    text = boot.text("flood.text")
    assert f"{first - last - 1} lines are missing by the sequence numbers of /dev/kmsg" in text
    # 8 sections before it, 8 in it, 8 after it
    assert int(boot.text("flood.warns")) == 48
    assert "kernel log 32, warn_count 48" in text
    assert "16 WARNs that the kernel counted are not in its log" in text
    assert len(calls(ours)) == 32
    assert boot.exit_code("flood") == 1


@pytest.mark.xdist_group("kmsg-panic")
def test_a_panic_leaves_what_came_before(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> None:
    boot = lab.boot(lab_kernel("6.1"), "wrap-log.sh", append="oops=panic")
    assert "Kernel panic - not syncing: Oops: Fatal exception" in boot.console
    ours = boot.recording("wrap")
    assert ours.closing is None
    seen = calls(ours)
    assert [(kind, comm) for kind, _, _, _, comm in seen[:4]] == [
        *[("populate", "insmod")] * 2,
        *[("free", "rmmod")] * 2,
    ]
    # then 1 GiB: 8 sections where the kernel's own arithmetic wraps; each splat takes half a second
    starts = [0x000003FDFE000000 + section * 0x200000 for section in range(8)]
    wrapped = [start for _, start, _, _, _ in seen[4:]]
    assert len(wrapped) >= 7
    assert wrapped == starts[: len(wrapped)]


@pytest.fixture(scope="module")
def locked(lab: Lab, debian: Callable[[str], Kernel]) -> Boot:
    return lab.boot(
        debian("7.x"),
        "locked.sh",
        append="lockdown=confidentiality",
        memory=True,
        timeout_s=900,
    )


@pytest.mark.xdist_group("kmsg-locked")
def test_under_lockdown_breakpoints_with_bpf_see_every_call(locked: Boot) -> None:
    """No kprobe, no tracefs; 1 GiB behind the guest's 2 GiB from 0x40000000, in 128 MiB each."""
    assert "[confidentiality]" in locked.text("lockdown")
    ours = locked.recording("auto")
    assert (ours.header["origin"]["live"], ours.lost()) == ("bcc", 0)
    assert {row["source"] for row in ours.rows} == {"breakpoint"}
    pfns = [(0xC0000000 >> 12) + number * SECTION_PAGES for number in range(8)]
    assert [row["pfn"] for row in ours.of("section_add", None)] == pfns
    kinds = {
        kind: [row for row in ours.rows if row["kind"] == kind] for kind in ("populate", "free")
    }
    starts = [row["start"] for row in kinds["populate"]]
    assert sorted(row["start"] for row in kinds["free"]) == starts
    assert len(starts) == 8
    assert {b - a for a, b in pairwise(starts)} == {SECTION_PAGES * 64}
    assert locked.exit_code("auto") == 0
    assert "CLEAN: all 16 calls lie inside the window" in locked.text("auto.text")


@pytest.mark.xdist_group("kmsg-locked")
def test_under_lockdown_tracefs_has_nothing(locked: Boot) -> None:
    assert locked.exit_code("tracefs") == 2
    assert "tracefs is mounted and empty" in locked.text("tracefs.text")
    # perf alone gives a breakpoint's time, and no registers: kernel/events/core.c, LOCKDOWN_PERF
    assert locked.text("perf").splitlines() == ["time ok", "registers Operation not permitted"]


@pytest.mark.xdist_group("kmsg-locked")
def test_under_lockdown_the_log_is_what_is_left_without_bcc(locked: Boot) -> None:
    ours = locked.recording("nobcc")
    assert (ours.header["origin"]["live"], ours.rows) == ("kmsg", [])
    assert locked.exit_code("nobcc") == 3  # calls that do not warn are not seen
    assert "INCONCLUSIVE: Only the kernel log was read" in locked.text("nobcc.text")
    fields = json.loads(locked.text("doctor.text"))  # without BCC, too
    assert (fields["engine"], fields["exit_code"]) == ("kmsg", 3)
    checks = {each["name"]: each for each in fields["checks"]}
    assert checks["kernel log"]["status"] == "ok"
    assert re.search(r"/dev/kmsg: \d+ records from the boot on", checks["kernel log"]["said"])
