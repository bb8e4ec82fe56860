# SPDX-License-Identifier: GPL-2.0-only
"""The ftrace reader on what kernels printed, and on what their sources can print."""

import contextlib
import io
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracers.batch import Losses
from tracers.events import SCHEMA
from tracers.logs.kprobe_text.ftrace import FtraceLog, LogError, looks_like_ftrace

HOLE = "6.1.192-vmemlab-39bit/hole.ftrace.txt"
BELOW = "6.1.192-vmemlab-39bit/below.ftrace.txt"
IN_RANGE = "6.12.117-vmemlab-48bit/in-range.ftrace.txt"
ALL = sorted(
    f"{kernel}/{scene}.ftrace.txt"
    for kernel, scenes in {
        "6.1.192-vmemlab-39bit": ("below", "hole", "in-range"),
        "6.1.192-vmemlab-once-39bit": ("below", "hole", "in-range", "subsection"),
        "6.12.117-vmemlab-48bit": ("below", "in-range"),
    }.items()
    for scene in scenes
)


def parse(raw: bytes, block: int = 4 << 20) -> tuple[list[dict], FtraceLog, dict[str, int]]:
    log = FtraceLog(io.BytesIO(raw), block=block)
    batches = list(log.batches())
    rows = []
    for batch in batches:
        batch.events.validate(full=True)
        assert batch.events.schema == SCHEMA
        rows += batch.events.to_pylist()
    sums = asdict(sum((batch.losses for batch in batches), start=Losses()))
    assert sums["torn"] == log.torn
    assert sums["rejected"] == log.rejected
    return rows, log, {name: count for name, count in sums.items() if count}


def one(line: bytes) -> dict:
    rows, _, missing = parse(line + b"\n")
    assert missing == {}
    assert len(rows) == 1
    return {name: value for name, value in rows[0].items() if value is not None}


@pytest.mark.parametrize("name", ALL)
def test_every_event_of_a_capture_becomes_a_row(captures: Path, name: str):
    raw = (captures / name).read_bytes()
    events = [line for line in raw.splitlines() if not line.startswith(b"#")]
    rows, log, missing = parse(raw)
    assert missing == {}
    assert (len(rows), log.skipped, log.midway) == (len(events), 0, 0)
    assert log.entries_in_buffer == log.entries_written == len(events)
    assert log.cpus == 2
    counted = {}
    for row in rows:
        counted[row["kind"], row["phase"]] = counted.get((row["kind"], row["phase"]), 0) + 1
    for kind, function in {
        "memremap": b"memremap_pages",
        "memunmap": b"memunmap_pages",
        "add_pages": b"__add_pages",
        "remove_pages": b"__remove_pages",
        "section_add": b"sparse_add_section",
        "populate": b"vmemmap_populate",
        "free": b"vmemmap_free",
        "warn": b"__warn",
    }.items():
        assert counted.get((kind, "entry"), 0) == raw.count(b": (" + function + b"+0x0/")
        assert counted.get((kind, "exit"), 0) == raw.count(b" <- " + function + b")")


def test_the_storm_of_the_thread(captures: Path):
    rows, log, _ = parse((captures / HOLE).read_bytes())
    warns = [row for row in rows if row["kind"] == "warn"]
    lines = [row["line"] for row in warns if row["phase"] == "entry"]
    assert (lines.count(1222), lines.count(1268), len(lines)) == (128, 128, 256)
    assert {row["site"] for row in warns} == {"arch/arm64/mm/mmu.c", None}
    spent = sum(row["ts_ns"] * (1 if row["phase"] == "exit" else -1) for row in warns)
    assert round(spent / 1e6, 1) == 119.9
    free = [row for row in rows if row["kind"] == "free" and row["phase"] == "entry"]
    assert (free[0]["start"], free[-1]["end"]) == (0xFFFFFFFF3F000000, 0xFFFFFFFF4F000000)
    assert log.probes == dict.fromkeys(
        ("memremap_pages", "memunmap_pages", "__add_pages", "__remove_pages", "vmemmap_free",
         "__warn"), "entry+return"
    )  # fmt: skip


def test_section_adds_of_6_12(captures: Path):
    rows, _, _ = parse((captures / IN_RANGE).read_bytes())
    adds = [row for row in rows if row["kind"] == "section_add"]
    spent = sum(row["ts_ns"] * (1 if row["phase"] == "exit" else -1) for row in adds)
    assert (len(adds), spent) == (32, 1_352_000)
    assert [row["pfn"] for row in adds[::2]] == list(range(0x2000000, 0x2080000, 0x8000))
    assert {row["ret"] for row in adds[1::2]} == {0}


# Lines printed by the 6.1.192 and 6.12.117 lab kernels.
PLAIN = (
    b" a-1 [000]: x(-)-56      [001] d....     4.842873: add_pages: (__add_pages+0x0/0x140)"
    b" nid=0 pfn=0x5000000 nr_pages=65536"
)
ADDED = {
    "ts_ns": 4_842_873_000, "kind": "add_pages", "phase": "entry", "cpu": 1, "tid": 56,
    "comm": "a-1 [000]: x(-)", "pfn": 0x5000000, "nr_pages": 65536, "nid": 0, "source": "kprobe",
}  # fmt: skip
WARNED = {
    "ts_ns": 6_162_814_000, "kind": "warn", "phase": "entry", "cpu": 1, "pid": 61, "tid": 61,
    "comm": "x  ", "site": "arch/arm64/mm/mmu.c", "line": 1222, "source": "kprobe",
}  # fmt: skip
REAL = {
    "a comm that looks like columns": (PLAIN, ADDED),
    "record-tgid, no irq-info, a comm with trailing spaces": (
        (b"             x  -61      (     61) [001]      6.162814: warn: (__warn+0x0/0x190)"
        b' file="arch/arm64/mm/mmu.c" line=1222 caller=vmemmap_populate+0x40/0x1c4 taint=9'),
        WARNED,
    ),
    "record-tgid, a comm that is no UTF-8": (
        (b"     caf\xe9 \x01-9 [7-59      (     59) [000] d....     5.623593: odd:"
        b" (memremap_pages+0x0/0x5f4) pgmap=0xffffffc0006c2390 nid=0"),
        {
            "ts_ns": 5_623_593_000, "kind": "memremap", "phase": "entry", "cpu": 0, "pid": 59,
            "tid": 59, "comm": "caf\\xe9 \x01-9 [7", "nid": 0, "source": "kprobe",
        },
    ),
    "sym-addr, entry": (
        (b"         symaddr-76      [000] d....    13.349337: vmemmap_populate:"
        b" (vmemmap_populate+0x0/0x68 <ffffaf9464c28590>) start=0xffffff66b9000000"
        b" end=0xffffff66b9200000 node=0"),
        {
            "ts_ns": 13_349_337_000, "kind": "populate", "phase": "entry", "cpu": 0, "tid": 76,
            "comm": "symaddr", "start": 0xFFFFFF66B9000000, "end": 0xFFFFFF66B9200000, "nid": 0,
            "source": "kprobe",
        },
    ),
    "sym-addr, return of a static function, a name of the user's": (
        (b"         symaddr-76      [000] d....    13.413690: sect_ret:"
        b" (sparse_remove_section+0x50/0x68 <ffffaf9464e75d30> <- section_deactivate.isra.0"
        b" <ffffaf9464e74b50>)"),
        {
            "ts_ns": 13_413_690_000, "kind": "section_remove", "phase": "exit", "cpu": 0,
            "tid": 76, "comm": "symaddr", "source": "kprobe",
        },
    ),
    "the tai clock, a caller without a name, a pointer returned": (
        (b"         clk-tai-99      [000] ..... 1795379447.326335: kr: (0xffffffc0006c50dc <-"
        b" memremap_pages) ret=0xffffffcfc0000000"),
        {
            "ts_ns": 1_795_379_447_326_335_000, "kind": "memremap", "phase": "exit", "cpu": 0,
            "tid": 99, "comm": "clk-tai", "ret": 0xFFFFFFCFC0000000 - (1 << 64),
            "source": "kprobe",
        },
    ),
    "a probe the kernel named, decimal pfn, hexadecimal count": (
        (b" a-1 [000]: x(-)-65      [000] d....     9.173436: p___remove_pages_0:"
        b" (__remove_pages+0x0/0xb8) pfn=33554432 nr_pages=0x10000"),
        {
            "ts_ns": 9_173_436_000, "kind": "remove_pages", "phase": "entry", "cpu": 0, "tid": 65,
            "comm": "a-1 [000]: x(-)", "pfn": 0x2000000, "nr_pages": 0x10000, "source": "kprobe",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("line", "row"), REAL.values(), ids=REAL)
def test_lines_of_real_kernels(line: bytes, row: dict):
    assert one(line) == row


HEAD = b"          insmod-76      [001] d....     6.347206: "


@pytest.mark.parametrize(
    "event",
    [
        b"sched_switch: prev_comm=vmemmap_free prev_pid=50 ==> next_comm=swapper/1 next_pid=0",
        b"vmemmap_free <-section_deactivate",  # the function tracer
        b"__add_pages <-[unknown/kretprobe'd]",
        b"vmemmap_free: (other+0x0/0x70) start=0x1",  # the name is the user's
        b"vmemmap_free: (vmemmap_free+0x8/0x70) start=0x1",  # inside the function
        b"x: (vmemmap_free.cold+0x0/0x70) start=0x1",
        b"x: (vmemmap_free+0x0/0x70 [evil]) start=0x1",  # a module's own function
        b"add_pages: (0xffffffc008028690) pfn=0x1",  # no function is called so
        b"<stack trace>",
    ],
)
def test_other_events_are_skipped_and_counted(event: bytes):
    rows, log, missing = parse(HEAD + event + b"\n => memremap_pages\n")
    assert (rows, missing, log.skipped) == ([], {}, 2)
    assert log.midway == (b"+0x8/" in event)


FREE = b"vmemmap_free: (vmemmap_free+0x0/0x70) start=0x1 end=0x2"


@pytest.mark.parametrize(
    "line",
    [
        HEAD + b"x: (vmemmap_free+0x0/0x70) start=0x1 end=0xfffffffffffffffff",
        HEAD + b"x: (vmemmap_free+0x0/0x70) start=0x1 end=0x2~",
        HEAD + b"x: (vmemmap_free+0x0/0x70) start=",
        HEAD + b"vmemmap_free: (vmemmap_free+0x0",
        HEAD + b'x: (__warn+0x0/0x190) file="arch/arm64',
        HEAD + b"vmemmap_free: __probe_ip=0xffff (1) start=0x1 (1)",  # options/fields
        FREE,  # options/context-info off
        b"line-66      [001] d....     7.285566: " + FREE,  # a comm with a newline in it
        b"          insmod-76      [001] d....     6.3472: " + FREE,
        b"          insmod-76      [001] d....     6,347206: " + FREE,
        b"          insmod-76      [001] d.... 18446744073.999999: " + FREE,
        b"          insmod-x6      [001] d....     6.347206: " + FREE,
        b"          insmod-76      [70000] d....     6.347206: " + FREE,
        b"          insmod-4294967296 [001] d....     6.347206: " + FREE,
        b"          insmod-76      d....     6.347206: " + FREE,
    ],
)
def test_damaged_lines_of_ours_are_rejected_and_counted(line: bytes):
    before = HEAD + FREE + b"\n"
    rows, _, missing = parse(before + line + b"\n" + before)
    assert (len(rows), missing) == (2, {"rejected": 1})


def test_losses_of_trace_and_trace_pipe():
    marks = b"CPU:0 [LOST 694 EVENTS]\n" + PLAIN + b"\nCPU:1 [LOST EVENTS]\n" + PLAIN + b"\n"
    rows, log, missing = parse(marks)
    assert (len(rows), missing) == (2, {"lost": 694, "lost_unknown": 1})
    assert (log.entries_written, log.skipped) == (None, 0)
    header = b"# entries-in-buffer/entries-written: 266/460   #P:2\n#\n"
    _, log, missing = parse(header + PLAIN + b"\n##### CPU 1 buffer started ####\n")
    assert missing == {"lost": 194}
    assert (log.entries_in_buffer, log.entries_written, log.cpus) == (266, 460, 2)


@pytest.mark.parametrize("lost", [b"18446744073709551615", b"9" * 700], ids=len)
def test_a_loss_of_any_number_of_digits_is_one(lost: bytes):
    """The kernel prints an unsigned long: up to 20 digits."""
    missing = parse(b"CPU:0 [LOST " + lost + b" EVENTS]\n" + PLAIN + b"\n")[2]
    assert missing == {"lost": 2**63 - 1}  # the most that is told of a block
    header = b"# entries-in-buffer/entries-written: 266/" + lost + b"   #P:2\n#\n"
    assert parse(header + PLAIN + b"\n")[2] == {"lost": 2**63 - 1}


def test_clocks_that_count_are_rejected():
    # As the 6.1.192 lab kernel printed with trace_clock "counter".
    line = (
        b"     clk-counter-89      [000] d....            6: add_pages: (__add_pages+0x0/0x140)"
        b" nid=0 pfn=0x5000000 nr_pages=65536\n"
    )
    with pytest.raises(LogError, match="trace_clock"):
        parse(line)
    # Among lines with times it is damage, not another clock.
    assert parse(PLAIN + b"\n" + line)[2] == {"rejected": 1}


def test_the_latency_format_is_rejected():
    with pytest.raises(LogError, match="latency-format"):
        parse(b"# tracer: nop\n#\n# nop latency trace v1.1.5 on 6.1.192-vmemlab\n")


@pytest.mark.parametrize("raw", [b"hello\n", b"\x17\x08\x44tracing6\n\0", b"\n", b"PAR1\n" * 99])
def test_what_is_no_ftrace_text(raw: bytes):
    assert not looks_like_ftrace(raw)
    with pytest.raises(LogError):
        parse(raw)


def test_nothing_at_all_is_no_error():
    # trace_pipe of a kernel that had nothing to tell
    assert parse(b"")[::2] == ([], {})


def test_crlf_and_blank_lines():
    rows, _, missing = parse(b"# tracer: nop\r\n\r\n" + PLAIN + b"\r\n")
    assert ([row["nr_pages"] for row in rows], missing) == ([65536], {})


def test_a_line_without_end_does_not_fill_the_memory():
    long = b"x" * 300_000
    rows, _, missing = parse(PLAIN + b"\n" + long + b"\n" + PLAIN + b"\n", block=4096)
    assert (len(rows), missing) == (2, {"rejected": 1})
    assert parse(PLAIN + b"\n" + long + b"\n" + PLAIN + b"\n")[2] == {"rejected": 1}
    assert parse(PLAIN + b"\n" + long, block=4096)[2] == {"torn": 1}


def test_cut_at_every_byte_no_row_is_wrong(captures: Path):
    raw = (captures / BELOW).read_bytes()
    rows, _, _ = parse(raw)
    for size in range(len(raw)):
        part = raw[:size]
        found, _, missing = parse(part)
        whole = [line for line in part.split(b"\n")[:-1] if not line.startswith(b"#")]
        assert found == rows[: len(whole)]
        assert missing == ({"torn": 1} if part and not part.endswith(b"\n") else {})


@given(block=st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_any_cut_into_reads_gives_the_same(block: int):
    raw = b"".join(
        b"# entries-in-buffer/entries-written: 3/5   #P:2\n" + line + b"\nother\n" + HEAD + FREE
        + b"~\nCPU:0 [LOST 7 EVENTS]\n" for line, _ in REAL.values()
    )  # fmt: skip
    whole, log, missing = parse(raw)
    rows, cut, missed = parse(raw, block)
    assert (rows, missed) == (whole, missing)
    facts = ("skipped", "midway", "rejected", "torn", "lines", "entries_written", "probes")
    assert [getattr(cut, name) for name in facts] == [getattr(log, name) for name in facts]


@given(
    comm=st.one_of(
        st.binary(max_size=15),
        st.text(max_size=15).map(lambda text: text.encode("utf-8", "surrogatepass")[:15]),
        st.text(" -[]():.0123456789<>#=\"'", max_size=15).map(str.encode),
    ).filter(lambda raw: not set(raw) & set(b"\n\0"))
)
@settings(max_examples=300, deadline=None)
def test_any_comm_comes_back(comm: bytes):
    line = comm.rjust(16) + b"-56      [001] d....     4.842873: " + FREE
    row = one(line)
    assert row["comm"] == comm.decode("utf-8", "backslashreplace").lstrip(" ")
    assert (row["tid"], row["cpu"], row["start"], row["end"]) == (56, 1, 1, 2)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from([PLAIN, HEAD, FREE, b"\n", b"CPU:0 [LOST 1 EVENTS]\n", b"#", b"="]),
        ),
        max_size=12,
    ).map(b"".join)
)
@settings(max_examples=300, deadline=None)
def test_garbage_raises_nothing_but_logerror(raw: bytes):
    looks_like_ftrace(raw)
    with contextlib.suppress(LogError):
        parse(raw)


@given(at=st.integers(0, len(PLAIN) - 1), byte=st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_damaged_byte_never_invents_a_row(at: int, byte: int):
    raw = bytearray(PLAIN)
    raw[at] = byte
    rows = []
    with contextlib.suppress(LogError):
        rows, _, _ = parse(bytes(raw) + b"\n")
    for row in rows:
        assert row["kind"] in {"add_pages", "remove_pages"}
        assert row["tid"] < 1000
        assert row["nr_pages"] is None or row["nr_pages"] < 10**6


def test_batches_have_the_schema_when_empty_too():
    log = FtraceLog(io.BytesIO(b"# tracer: nop\n" + b"CPU:0 [LOST EVENTS]\n"))
    (batch,) = log.batches()
    assert isinstance(batch.events, pa.RecordBatch)
    assert batch.events.schema == SCHEMA
