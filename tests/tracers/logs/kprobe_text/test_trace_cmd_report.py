# SPDX-License-Identifier: GPL-2.0-only
"""trace-cmd's report, compared with the kernel's trace of the same moments."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TESTS
from tests.tracers.logs import tools
from tests.tracers.logs.tools import LAB
from tracers.logs.kprobe_text.definitions import ProbeLocation, read_probe_locations
from tracers.logs.kprobe_text.ftrace import looks_like_ftrace
from tracers.logs.kprobe_text.function_names import FunctionNames
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.kprobe_text.trace_cmd_report import TraceCmdLog, looks_like_trace_cmd

HOLE = (TESTS / "captures" / LAB / "trace-cmd-hole.report-t.txt").read_bytes()


def parse(raw: bytes, block: int = 4 << 20, names: FunctionNames | None = None):
    log = TraceCmdLog(io.BytesIO(raw), names=names, block=block)
    rows, missing = tools.read(log)
    return rows, log, missing


def one(line: bytes) -> dict:
    rows, _, missing = parse(b"cpus=2\n" + line + b"\n")
    assert missing == {}
    assert len(rows) == 1
    return {name: value for name, value in rows[0].items() if value is not None}


@pytest.mark.parametrize("name", ["trace-cmd.report.txt", "trace-cmd-hole.report.txt"])
def test_every_event_of_a_capture_becomes_a_row(captures: Path, name: str):
    raw = tools.raw(captures / LAB, name)
    rows, log, missing = parse(raw)
    assert missing == {}
    assert (len(rows), log.lines, log.skipped, log.cpus) == (
        raw.count(b"\n") - 1, raw.count(b"\n"), 0, 2,
    )  # fmt: skip
    counts = tools.counted(rows)
    for kind, event in {"memremap": b"memremap_pages", "add_pages": b"add_pages", "warn": b"warn",
                        "free": b"vmemmap_free"}.items():  # fmt: skip
        assert counts.get((kind, "entry"), 0) == raw.count(b" " + event + b": ")
        assert counts.get((kind, "exit"), 0) == raw.count(b" " + event + b"_ret: ")


@pytest.mark.parametrize("scene", ["hole", "instance"])
def test_the_kernel_saw_the_same_calls(captures: Path, scene: str):
    calls = tools.truth(tools.raw(captures / LAB, f"trace-cmd-{scene}.truth.txt"))
    rows, _, _ = parse(tools.raw(captures / LAB, f"trace-cmd-{scene}.report.txt"))
    assert tools.like_truth(rows, calls) == calls


def test_the_kernel_log_of_the_same_run_shows_the_same_warnings(captures: Path):
    splats = tools.raw(captures / LAB, "trace-cmd.dmesg.txt").count(b"mmu.c:1222 vmemmap_populate")
    rows, _, _ = parse(tools.raw(captures / LAB, "trace-cmd.report.txt"))
    lines = [row["line"] for row in rows if (row["kind"], row["phase"]) == ("warn", "entry")]
    assert lines == [1222] * splats == [1222] * 32


def test_the_forms_of_a_report_tell_the_same(captures: Path):
    exact, _, _ = parse(HOLE)
    for row in exact:
        row["ts_ns"] = (row["ts_ns"] + 500) // 1000 * 1000  # as trace-cmd rounds
    for form in ("txt", "l.txt"):
        name = f"trace-cmd-hole.report{'-' if form != 'txt' else '.'}{form}"
        rows, _, missing = parse(tools.raw(captures / LAB, name))
        assert (rows, missing) == (exact, {})


def test_times_or_formats_that_cannot_be_read_are_rejected(captures: Path):
    with pytest.raises(LogError, match="without"):
        parse(b"cpus=2\n          insmod-107   [001]           5: add_pages:            "
              b"(ffffffc0086b08e0) nid=0 pfn=0x5000000 nr_pages=32768\n")  # fmt: skip
    with pytest.raises(LogError, match="with -R"):
        parse(tools.raw(captures / LAB, "trace-cmd-hole.report-R.txt"))


def test_losses_with_a_number(captures: Path):
    raw = tools.raw(captures / LAB, "trace-cmd-lost.report-t.txt")
    rows, log, missing = parse(raw)
    # trace-cmd record printed at its end: CPU 0: 107 events lost
    assert (missing, log.skipped) == ({"lost": 107}, 0)
    # memremap, add_pages, remove_pages, memunmap and 128 frees, 256 WARNs, each with its return
    assert len(rows) + 107 == 2 * (4 + 128 + 256)


def test_losses_without_a_number_and_the_name_of_the_instance(captures: Path):
    raw = tools.raw(captures / LAB, "trace-cmd-lost-unnumbered.report-t.txt")
    rows, _, missing = parse(raw)
    assert missing == {"lost_unknown": 2}
    # The line behind a mark does not bear the name.
    assert len(rows) == sum(raw.count(b" %s: " % name) for name in (
        b"memremap_pages", b"memremap_pages_ret", b"memunmap_pages", b"memunmap_pages_ret",
        b"add_pages", b"add_pages_ret", b"remove_pages", b"remove_pages_ret", b"warn", b"warn_ret",
        b"vmemmap_free", b"vmemmap_free_ret",
    ))  # fmt: skip


PLACE = b"(ffffffc008028690) start=0x1 end=0x2"
FREE = {
    "ts_ns": 8_107_110_000, "kind": "free", "phase": "entry", "cpu": 1, "tid": 85,
    "comm": "insmod", "start": 1, "end": 2, "source": "kprobe",
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        # tracecmd/trace-read.c, trace_show_data: from 3.2 on the flags are always there
        (b"          insmod-85    [001] d....     8.107110: vmemmap_free:         " + PLACE, {}),
        (b"          insmod-85    [001] dNh2.11     8.107110: vmemmap_free:         " + PLACE, {}),
        (b"          insmod-4194303 [127]     8.107110: vmemmap_free: " + PLACE,
         {"tid": 4194303, "cpu": 127}),
        (b"          insmod-85    [001]     8.107110: (+17)    vmemmap_free:         " + PLACE, {}),
        (b"           <...>-85    [001]     8.107110: vmemmap_free:         " + PLACE,
         {"comm": "<...>"}),
        (b"a-1 [000] 1.5: x-85    [001]     8.107110: vmemmap_free:         " + PLACE,
         {"comm": "a-1 [000] 1.5: x"}),
        (b"  insmod-85      1dN...     8.107110: vmemmap_free:         " + PLACE, {}),
        (b"host.dat:           insmod-85    [001]     8.107110: vmemmap_free:       " + PLACE, {}),
        (b"                    insmod-85    [001]     8.107110: vmemmap_free:       " + PLACE, {}),
    ],
)  # fmt: skip
def test_columns_of_all_versions(line: bytes, changes: dict):
    assert one(line) == FREE | changes


@pytest.mark.parametrize(
    "event",
    [
        b'warn:                 (ffffffc008034400) file="arch',
        b"vmemmap_free:         (ffffffc0080286",
        b"vmemmap_free:         [FAILED TO PARSE] __probe_ip=18446743799133668240 start=1 end=2",
        b"vmemmap_free:         (ffffffc008028690) start=0x1 end=0x2~",
    ],
)
def test_damaged_lines_of_ours_are_rejected_and_counted(event: bytes):
    line = b"          insmod-85    [001]     8.107110: "
    good = line + b"vmemmap_free:         " + PLACE + b"\n"
    rows, _, missing = parse(b"cpus=2\n" + good + line + event + b"\n" + good)
    assert (len(rows), missing) == (2, {"rejected": 1})


@pytest.mark.parametrize(
    "event",
    [
        b"sched_switch:         prev_comm=warn: prev_pid=1 ==> next_comm=vmemmap_free next_pid=0",
        b"vmemmap_free:         (aaaae1f48690) start=0x1 end=0x2",  # a uprobe's address
        b"vmemmap_free_1:       (ffffffc008028690) start=0x1 end=0x2",
        b"function:             vmemmap_free <-- section_deactivate",
    ],
)
def test_other_events_are_skipped(event: bytes):
    rows, log, missing = parse(
        b"cpus=2\n          insmod-85    [001]     8.107110: " + event + b"\n"
    )
    assert (rows, missing, log.skipped) == ([], {}, 1)
    assert log.notes == ("no event of a function we watch in 2 lines",)


def test_kprobe_events_say_what_a_name_is_on(captures: Path):
    names = FunctionNames(read_probe_locations((captures / LAB / "kprobe_events").read_text()))
    rows, log, _ = parse(HOLE, names=names)
    assert len(rows) == 56
    assert log.notes == ()
    names = FunctionNames(
        {"warn": ProbeLocation("__warn", 8), "vmemmap_free": ProbeLocation("other")}
    )
    rows, log, _ = parse(HOLE, names=names)
    assert ("warn", "entry") not in tools.counted(rows)
    assert ("free", "entry") not in tools.counted(rows)
    assert log.midway == 16


def test_how_the_format_is_recognised(captures: Path):
    folder = captures / LAB
    for name in ("trace-cmd.report.txt", "trace-cmd-hole.report-l.txt",
                 "trace-cmd-instance.report.txt"):  # fmt: skip
        raw = tools.raw(folder, name)
        assert looks_like_trace_cmd(raw)
        assert looks_like_trace_cmd(raw.partition(b"\n")[2])  # without the first line
    for name in ("hole.ftrace.txt", "perf.script.txt", "perf-g.script.txt", "bpftrace.txt"):
        assert not looks_like_trace_cmd(tools.raw(folder, name))
    assert looks_like_ftrace(tools.raw(folder, "hole.ftrace.txt"))
    with pytest.raises(LogError, match="trace-cmd report"):
        parse(b"hello\n")


def test_cut_at_every_byte_no_row_is_wrong():
    raw = tools.one_of_each(HOLE, b"cpus=", b" add_pages: ", b" warn: ", b"_ret: ", b"_free: ")
    tools.cuts_tell_no_lies(raw, lambda part: TraceCmdLog(io.BytesIO(part)))


def test_a_loss_of_any_number_of_digits_is_one():
    mark = b"CPU:0 [18446744073709551615 EVENTS DROPPED]\n"
    assert parse(HOLE + mark)[2] == {"lost": 2**63 - 1}


@given(block=st.integers(1, 400))
@settings(max_examples=30)
def test_any_cut_into_reads_gives_the_same(block: int):
    mark = b"CPU:0 [7 EVENTS DROPPED]\n"
    raw = mark.join(line + b"\n" for line in HOLE.splitlines()[:12])
    whole, log, missing = parse(raw)
    rows, cut, missed = parse(raw, block)
    assert (rows, missed) == (whole, missing)
    facts = ("skipped", "midway", "rejected", "torn", "lines", "cpus", "probes")
    assert [getattr(cut, name) for name in facts] == [getattr(log, name) for name in facts]


@given(raw=tools.mutated(HOLE))
@settings(max_examples=150)
def test_damage_invents_nothing_and_raises_nothing_but_logerror(raw: bytes):
    looks_like_trace_cmd(raw)
    with contextlib.suppress(LogError):
        rows, _, _ = parse(raw)
        tools.assert_nothing_invented(rows, raw)
