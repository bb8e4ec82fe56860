# SPDX-License-Identifier: GPL-2.0-only
"""The output of vmemscope.bt, compared with the kernel's trace of the same moments."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TESTS
from tests.tracers.logs import tools
from tests.tracers.logs.tools import LAB, LAB_612
from tracers.kernel_functions import KINDS
from tracers.logs.kprobe_text.bpftrace import BpftraceLog, looks_like_bpftrace, script
from tracers.logs.kprobe_text.text_log import LogError

TEXT = (TESTS / "captures" / LAB / "bpftrace.txt").read_bytes()
JSON = (TESTS / "captures" / LAB / "bpftrace.jsonl").read_bytes()


def parse(raw: bytes, block: int = 4 << 20):
    log = BpftraceLog(io.BytesIO(raw), block=block)
    rows, missing = tools.read(log)
    return rows, log, missing


def wrapped(line: bytes) -> bytes:
    """As bpftrace's JsonOutput has it (src/output.cpp): no more escaped than JSON needs."""
    quoted = json.dumps(line.decode("utf-8", "surrogateescape") + "\n", ensure_ascii=False)
    return b'{"type": "printf", "data": %s}' % quoted.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("kernel", "name", "truth"),
    [
        (LAB, "bpftrace.txt", "bpftrace.truth.txt"),
        (LAB, "bpftrace.jsonl", "bpftrace.jsonl.truth.txt"),
        (LAB_612, "bpftrace.txt", "bpftrace.truth.txt"),
    ],
)
def test_the_kernel_saw_the_same_calls(captures: Path, kernel: str, name: str, truth: str):
    calls = tools.truth(tools.raw(captures / kernel, truth))
    rows, log, missing = parse(tools.raw(captures / kernel, name))
    assert tools.like_truth(rows, calls) == calls
    assert (len(rows), log.counted, missing, log.notes) == (56, 56, {}, ())
    assert {row["pid"] == row["tid"] for row in rows} == {True}
    assert {row["comm"] for row in rows} == {"insmod", "rmmod"}
    sites = {row["site"] for row in rows if row["kind"] == "warn" and row["phase"] == "entry"}
    assert sites == ({"arch/arm64/mm/mmu.c"} if kernel == LAB else set())


@pytest.mark.parametrize("name", ["bpftrace-lost.txt", "bpftrace-lost.jsonl"])
def test_losses_are_what_the_script_counted(captures: Path, name: str):
    raw = tools.raw(captures / LAB, name)
    calls = tools.truth(tools.raw(captures / LAB, f"{name}.truth.txt"))
    rows, log, missing = parse(raw)
    assert log.counted == 776 == len(rows) + missing["lost"]
    assert set(missing) == {"lost"}
    rest = iter(calls)
    assert all(call in rest for call in tools.like_truth(rows, calls))
    # The same without bpftrace's own marks, as when nobody kept stderr.
    silent = b"".join(
        line
        for line in raw.splitlines(keepends=True)
        if b"Lost" not in line and b"lost" not in line
    )
    assert len(silent) < len(raw)
    assert parse(silent)[2] == missing


def test_without_the_count_nobody_knows(captures: Path):
    rows, log, missing = parse(TEXT.replace(b"@events: 56", b""))
    assert (len(rows), missing) == (56, {"lost_unknown": 1})
    assert "count of events" in log.notes[0]
    assert parse(TEXT[: len(TEXT) // 2])[2] == {"torn": 1}
    assert parse(TEXT.replace(b"@events: 56", b"@events: 58"))[2] == {"lost": 2}


def test_a_loss_of_any_number_of_digits_is_one():
    huge = b"18446744073709551615"
    assert parse(TEXT + b"Lost " + huge + b" events\n")[2]["lost"] == 2**63 - 1
    counted = parse(TEXT.replace(b"@events: 56", b"@events: " + huge))[2]
    assert counted == {"lost": 2**64 - 1 - 56}


HEAD = b"          insmod-80      (     77) [003]    10.053029872: "
COMMON = {
    "ts_ns": 10_053_029_872, "cpu": 3, "pid": 77, "tid": 80, "comm": "insmod", "source": "kprobe",
}  # fmt: skip
LONG = b"/build/" + b"x" * 55


@pytest.mark.parametrize("wrap", [bytes, wrapped])
@pytest.mark.parametrize(
    ("event", "row"),
    [
        (b"memremap_pages: (entry) nid=-1 ;", {"kind": "memremap", "phase": "entry", "nid": -1}),
        (b"memremap_pages: (exit) ret=0xfffffffffffffff4 ;",
         {"kind": "memremap", "phase": "exit", "ret": -12}),
        (b"__add_pages: (exit) ret=-17 ;", {"kind": "add_pages", "phase": "exit", "ret": -17}),
        (b"vmemmap_populate: (entry) start=0xfffffe4410000000 end=0x0 nid=0 ;",
         {"kind": "populate", "phase": "entry", "start": 0xFFFFFE4410000000, "end": 0, "nid": 0}),
        (b"__warn: (entry) line=1222 file=arch/arm64/mm/mmu.c ;",
         {"kind": "warn", "phase": "entry", "line": 1222, "site": "arch/arm64/mm/mmu.c"}),
        (b"__warn: (entry) line=1 file=a b=c; line=2 ;",
         {"kind": "warn", "phase": "entry", "line": 2, "site": "a b=c; line=2"}),
        (b"__warn: (entry) line=1 file= ;", {"kind": "warn", "phase": "entry", "line": 1,
         "site": ""}),
        # str() holds 63 bytes: there may have been more
        (b"__warn: (entry) line=1 file=%s ;" % LONG,
         {"kind": "warn", "phase": "entry", "line": 1, "site": LONG.decode()}),
        (b"__warn: (entry) line=1 file=%sx ;" % LONG,
         {"kind": "warn", "phase": "entry", "line": 1}),
    ],
)  # fmt: skip
def test_lines_of_every_kind(wrap, event: bytes, row: dict):
    rows, _, missing = parse(b"# vmemscope.bt 1\n" + wrap(HEAD + event) + b"\n@events: 1\n")
    assert missing == {}
    (found,) = rows
    assert {name: value for name, value in found.items() if value is not None} == COMMON | row


@given(
    comm=st.one_of(
        st.binary(max_size=15),
        st.text(max_size=15).map(lambda text: text.encode("utf-8", "surrogatepass")[:15]),
        st.text(" -[]():.0123456789<>#=\"'\\;", max_size=15).map(str.encode),
    ).filter(lambda raw: not set(raw) & set(b"\n\0"))
)
@settings(max_examples=100)
def test_any_comm_comes_back(comm: bytes):
    line = comm.rjust(16) + HEAD[16:] + b"vmemmap_free: (entry) start=0x1 end=0x2 ;"
    for text in (line, wrapped(line)):
        rows, _, missing = parse(b"# vmemscope.bt 1\n" + text + b"\n@events: 1\n")
        if missing:  # a name that looks like a time, made wide by its escapes
            assert (rows, missing) == ([], {"rejected": 1})
            assert text is not line
            continue
        (row,) = rows
        assert row["comm"] == comm.decode("utf-8", "backslashreplace").lstrip(" ")
        assert (row["tid"], row["cpu"], row["start"], row["end"]) == (80, 3, 1, 2)


@pytest.mark.parametrize("raw", [TEXT, JSON], ids=["text", "json"])
def test_a_line_cut_anywhere_gives_no_row(raw: bytes):
    lines = raw.splitlines()
    line = next(line for line in lines if b"__add_pages: (entry)" in line)
    other = next(line for line in lines if b"memunmap_pages: (exit)" in line)
    for size in range(len(line)):
        rows, _, missing = parse(b"\n".join([other, line[:size], other, b"@events: 3", b""]))
        if size < len(line) - len(b'\\n"}' if raw is JSON else b""):
            assert len(rows) == 2
            assert missing in ({"rejected": 1}, {"lost": 1})


def test_how_the_format_is_recognised(captures: Path):
    folder = captures / LAB
    for name in ("bpftrace.txt", "bpftrace.jsonl", "bpftrace-lost.txt"):
        raw = tools.raw(folder, name)
        assert looks_like_bpftrace(raw)
        assert looks_like_bpftrace(raw.partition(b"# vmemscope")[2].partition(b"\n")[2])
    for name in ("hole.ftrace.txt", "trace-cmd.report.txt", "perf.script.txt"):
        assert not looks_like_bpftrace(tools.raw(folder, name))
    with pytest.raises(LogError, match=r"vmemscope\.bt"):
        parse(b"hello\n")


def test_the_script_prints_what_is_read():
    """Each printf of the script, with numbers in it, is a line this version reads."""
    formats = re.findall(r'printf\("(.*?)\\n"', script())
    functions = set()
    assert formats.pop(0) == "# vmemscope.bt 1"
    for form in formats:
        values = ("insmod", 80, 77, 3, 10, 53_029_872)
        made = form.replace("llu", "d").replace("llx", "x")
        rest = made.count("%") - len(values)
        line = made % (*values, *(("x.c" if "file" in form and at else 7) for at in range(rest)))
        rows, log, missing = parse(f"{line}\n@events: 1\n".encode())
        assert (len(rows), missing) == (1, {})
        functions |= set(log.probes)
    assert functions == set(KINDS) - {"sparse_remove_section", "section_deactivate"}


@pytest.mark.parametrize("raw", [TEXT, JSON], ids=["text", "json"])
def test_cut_at_every_byte_no_row_is_wrong(raw: bytes):
    raw = tools.one_of_each(raw, b"# vmemscope", b"__add_pages: (en", b"__warn: (en", b"(exit)")
    rows, _, _ = parse(raw)
    for size in range(len(raw)):
        with contextlib.suppress(LogError):
            found, _, missing = parse(raw[:size])
            assert found == rows[: len(found)]
            assert missing == ({"torn": 1} if raw[size - 1 : size] not in (b"\n", b"") else
                               {"lost_unknown": 1})  # fmt: skip


@given(block=st.integers(1, 400))
@settings(max_examples=30)
def test_any_cut_into_reads_gives_the_same(block: int):
    for raw in (TEXT[:1500], JSON[:1500]):
        whole, log, missing = parse(raw)
        rows, cut, missed = parse(raw, block)
        assert (rows, missed) == (whole, missing)
        facts = ("skipped", "rejected", "torn", "lines", "counted", "events", "lost", "probes")
        assert [getattr(cut, name) for name in facts] == [getattr(log, name) for name in facts]


@pytest.mark.parametrize("base", [TEXT, JSON], ids=["text", "json"])
@given(data=st.data())
@settings(max_examples=100)
def test_damage_invents_nothing_and_raises_nothing_but_logerror(base: bytes, data):
    raw = data.draw(tools.mutated(base))
    looks_like_bpftrace(raw)
    with contextlib.suppress(LogError):
        rows, _, _ = parse(raw)
        tools.assert_nothing_invented(rows, raw)
