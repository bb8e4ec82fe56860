# SPDX-License-Identifier: GPL-2.0-only
"""perf script's text, compared with the kernel's trace of the same moments."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TESTS
from tests.tracers.logs import tools
from tests.tracers.logs.tools import LAB, LAB_612
from tracers.logs.kprobe_text.perf import PerfLog, looks_like_perf
from tracers.logs.kprobe_text.text_log import LogError

SCRIPT = (TESTS / "captures" / LAB / "perf.script-ns.txt").read_bytes()
CHUNKS = b"Warning:\nProcessed 1005 events and lost 1 chunks!\n\nCheck IO/CPU overload!\n\n"


def parse(raw: bytes, block: int = 4 << 20):
    log = PerfLog(io.BytesIO(raw), block=block)
    rows, missing = tools.read(log)
    return rows, log, missing


def one(line: bytes) -> dict:
    rows, _, missing = parse(line + b"\n")
    assert missing == {}
    assert len(rows) == 1
    return {name: value for name, value in rows[0].items() if value is not None}


@pytest.mark.parametrize("kernel", [LAB, LAB_612])
def test_every_event_of_a_capture_becomes_a_row(captures: Path, kernel: str):
    raw = tools.raw(captures / kernel, "perf.script.txt")
    rows, log, missing = parse(raw)
    assert (len(rows), log.skipped, missing) == (raw.count(b"\n"), 0, {})
    for kind, names in {
        "memremap": (b"memremap_pages",),
        "add_pages": (b"add_pages", b"__add_pages"),
        "section_add": (b"sparse_add_section",),
        "populate": (b"vmemmap_populate",),
        "free": (b"vmemmap_free",),
        "warn": (b"__warn",),
    }.items():
        for phase, ends in {"entry": (b"",), "exit": (b"_ret", b"__return")}.items():
            events = sum(raw.count(b":%s%s: " % (name, end)) for name in names for end in ends)
            assert tools.counted(rows).get((kind, phase), 0) == events


def test_section_adds_of_6_12(captures: Path):
    rows, _, _ = parse(tools.raw(captures / LAB_612, "perf.script.txt"))
    adds = [row for row in rows if row["kind"] == "section_add" and row["phase"] == "entry"]
    assert [row["pfn"] for row in adds] == list(range(0x2000000, 0x2100000, 0x8000))
    populate = [row for row in rows if row["kind"] == "populate" and row["phase"] == "entry"]
    free = [row for row in rows if row["kind"] == "free" and row["phase"] == "entry"]
    assert [(row["start"], row["end"]) for row in populate] == [
        (row["start"], row["end"]) for row in free
    ]


def test_the_kernel_saw_the_same_calls(captures: Path):
    """Three runs after each other: plain, with call chains, and with a ring of one page."""
    folder = captures / LAB
    calls = tools.truth(tools.raw(folder, "perf-all.truth.txt"))
    seen = []
    for name in ("perf.script.txt", "perf-g.script.txt"):
        rows, _, missing = parse(tools.raw(folder, name))
        assert missing == {}
        seen += tools.like_truth(rows, calls)
    assert seen == calls[: len(seen)]
    rows, _, missing = parse(tools.raw(folder, "perf-lost.script.txt"))
    lossy = tools.like_truth(rows, calls)
    rest = iter(calls[len(seen) :])
    assert all(call in rest for call in lossy)  # in this order
    # perf's own count, and what the kernel saw of 128 sections: 2 * (4 + 128 + 256) events
    assert missing == {"lost": 5}
    assert len(rows) + 5 == 2 * (4 + 128 + 256)


def test_the_forms_of_perf_tell_the_same(captures: Path):
    exact, _, _ = parse(SCRIPT)
    for row in exact:
        assert row["pid"] == row["tid"]
        row["pid"] = None
        row["ts_ns"] = row["ts_ns"] // 1000 * 1000  # as perf cuts
    rows, _, missing = parse(tools.raw(captures / LAB, "perf.script.txt"))
    assert (rows, missing) == (exact, {})


def test_what_stderr_says_of_losses_counts_where_the_data_do_not(captures: Path):
    rows, _, missing = parse(SCRIPT + CHUNKS)
    assert (len(rows), missing) == (56, {"lost_unknown": 1})
    lossy = tools.raw(captures / LAB, "perf-lost.script.txt")
    assert parse(lossy + CHUNKS)[2] == parse(CHUNKS + lossy)[2] == {"lost": 5}
    assert parse(SCRIPT + b"LOST 7 events!\n")[2] == {"lost": 7}  # perf trace
    assert parse(SCRIPT + b"Processed 1005 events and lost 0 chunks!\n")[2] == {}


@pytest.mark.parametrize(
    "mark", [b"LOST %s events!\n", b" rmmod 240 [000]  64.245813952: PERF_RECORD_LOST lost %s\n"]
)
def test_a_loss_of_any_number_of_digits_is_one(mark: bytes):
    assert parse(SCRIPT + mark % b"18446744073709551615")[2] == {"lost": 2**63 - 1}


EVENT = b"probe:vmemmap_free: (ffffffc008028690) start=0x1 end=0x2"
FREE = {
    "ts_ns": 5_621_510_000, "kind": "free", "phase": "entry", "cpu": 0, "tid": 86,
    "comm": "rmmod", "start": 1, "end": 2, "source": "kprobe",
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        (b"           rmmod    86 [000]     5.621510:           " + EVENT, {}),
        (b"rmmod    86 [000]     5.621510: " + EVENT, {}),  # with call chains
        (b"           rmmod    80/86    [000]     5.621510:           " + EVENT, {"pid": 80}),
        (b"           rmmod    86 [000]     5.621510321:           " + EVENT,
         {"ts_ns": 5_621_510_321}),
        (b"           rmmod    86     5.621510:           " + EVENT, {"cpu": None}),
        (b"           rmmod 4194303 [1023]     5.621510:           " + EVENT,
         {"tid": 4194303, "cpu": 1023}),
        (b"         a 12 34    86 [000]     5.621510:           " + EVENT, {"comm": "a 12 34"}),
        (b"     x [001] 1.5:    86 [000]     5.621510:           " + EVENT,
         {"comm": "x [001] 1.5:"}),
        (b"           rmmod    86 [000]     5.621510:           " + EVENT
         + b" ffffffc008028690 vmemmap_free+0x0 ([kernel.kallsyms])", {}),
        (b"           rmmod    86 [000]     5.621510:           " + EVENT.replace(b"e:", b"es:", 1),
         {}),
    ],
)  # fmt: skip
def test_columns_of_all_options(line: bytes, changes: dict):
    expected = {name: value for name, value in (FREE | changes).items() if value is not None}
    assert one(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"           rmmod    86 [000] " + EVENT,  # -F without time
        b"     5.621510:           " + EVENT,  # -F without a thread
        b"           rmmod    86 [000]     5.6215:           " + EVENT,
        b"           rmmod    -1 [000]     5.621510:           " + EVENT,
        b"       0.000000: x    86 [000]     5.621510:           " + EVENT,  # a comm's fault
        b"           rmmod    86 [000]     5.621510:           probe:vmemmap_free: [FAILED]",
    ],
)  # fmt: skip
def test_lines_of_ours_that_cannot_be_read_are_rejected(line: bytes):
    good = b"           rmmod    86 [000]     5.621510:           " + EVENT + b"\n"
    rows, _, missing = parse(good + line + b"\n" + good)
    assert (len(rows), missing) == (2, {"rejected": 1})


def test_other_events_are_skipped(captures: Path):
    line = (
        b"          insmod    85 [000]     5.382217: sched:sched_switch: prev_comm=probe:x: "
        b"prev_pid=1 next_comm=vmemmap_free\n"
    )
    rows, log, missing = parse(line)
    assert (rows, missing, log.skipped) == ([], {}, 1)
    assert log.notes == ("no event of a function we watch in 1 lines",)


def test_how_the_format_is_recognised(captures: Path):
    folder = captures / LAB
    for name in ("perf.script.txt", "perf.script-ns.txt", "perf-g.script.txt"):
        assert looks_like_perf(tools.raw(folder, name))
    for name in ("hole.ftrace.txt", "trace-cmd.report.txt", "bpftrace.txt", "trace-cmd.dmesg.txt"):
        assert not looks_like_perf(tools.raw(folder, name))
    with pytest.raises(LogError, match="perf script"):
        parse(b"hello\n")


def test_cut_at_every_byte_no_row_is_wrong():
    raw = tools.one_of_each(SCRIPT, b":__add_pages: ", b":__warn: ", b"__return: ", b"_free: ")
    tools.cuts_tell_no_lies(raw, lambda part: PerfLog(io.BytesIO(part)))


@given(block=st.integers(1, 400))
@settings(max_examples=30)
def test_any_cut_into_reads_gives_the_same(block: int):
    mark = b"           rmmod   240 [000]    64.245813952: PERF_RECORD_LOST lost 5\n"
    raw = mark.join(line + b"\n" for line in SCRIPT.splitlines()[:12]) + CHUNKS
    whole, log, missing = parse(raw)
    rows, cut, missed = parse(raw, block)
    assert (rows, missed) == (whole, missing)
    assert missed == {"lost": 55}
    facts = ("skipped", "midway", "rejected", "torn", "lines", "probes")
    assert [getattr(cut, name) for name in facts] == [getattr(log, name) for name in facts]


@given(raw=tools.mutated(SCRIPT))
@settings(max_examples=150)
def test_damage_invents_nothing_and_raises_nothing_but_logerror(raw: bytes):
    looks_like_perf(raw)
    with contextlib.suppress(LogError):
        rows, _, _ = parse(raw)
        tools.assert_nothing_invented(rows, raw)


#: As perf script --header begins (util/header.c); no more than that is from a real one.
HEADER = (
    b"# ========\n# captured on    : Mon Jan  1 10:00:00 2024\n# header version : 1\n"
    b"# hostname : host1\n# os release : 6.6.20-demo\n# perf version : 6.6.20\n# arch : %s\n"
    b"# nrcpus online : 8\n# cmdline : /usr/bin/perf record -a -g\n# ========\n#\n"
)
SAMPLES = (
    b"demo  4210 [002]   812.104512:   10101010 cpu-clock:pppH: \n"
    b"\tffffa3b2c1d0e0f0 el0_svc+0x30 ([kernel.kallsyms])\n"
    b"\t            a1b2 main+0x2 (/usr/bin/demo)\n\n"
    b"           sleep   715 57764.237035:     250000 armv8_pmuv3_0/cycles/:  ffffffff81587915 "
    b"__x64_sys_rseq+0x5 ([kernel.kallsyms])\n"
)


@pytest.mark.parametrize("header", [HEADER % b"aarch64", b""])
def test_samples_are_named_and_the_way_out(header: bytes):
    assert looks_like_perf(header + SAMPLES)
    with pytest.raises(LogError) as told:
        parse(header + SAMPLES)
    assert "samples of cpu-clock, armv8_pmuv3_0/cycles/: no kprobe events of ours" in str(
        told.value
    )
    assert "perf record -a -e 'kprobes:*'" in str(told.value)


def test_samples_beside_our_events_are_skipped():
    expected, _, _ = parse(SCRIPT)
    for text in (SAMPLES + SCRIPT, SCRIPT + SAMPLES):
        rows, log, missing = parse(text)
        assert (rows, missing, log.skipped) == (expected, {}, SAMPLES.count(b"\n"))


@pytest.mark.parametrize("arch", [b"aarch64", b"x86_64"])
def test_the_header_says_which_kernel(arch: bytes):
    assert looks_like_perf(HEADER % arch)
    rows, log, missing = parse(HEADER % arch + SCRIPT)
    assert (rows, missing) == (parse(SCRIPT)[0], {})
    assert log.release == "6.6.20-demo"
    assert log.arch == (None if arch == b"aarch64" else "x86_64")
    assert parse(SCRIPT)[1].release is None
