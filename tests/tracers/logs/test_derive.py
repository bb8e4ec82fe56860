# SPDX-License-Identifier: GPL-2.0-only
"""Derived populate calls, compared with the frees and populates that kernels printed."""

import itertools
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracers.events import SCHEMA
from tracers.logs.derive import Deriver
from tracers.logs.kprobe_text.ftrace import FtraceLog
from tracers.window import Window

SECTION = 1 << 27 >> 12  # SECTION_SIZE_BITS 27, 4K pages: the lab kernels' vmcoreinfo
FACTS = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "section_size_bits": 27}
# NUMBER(VMEMMAP_START), NUMBER(VMEMMAP_END), NUMBER(PHYS_OFFSET) of the same.
LAB_6_1 = Window(0xFFFFFFFE00000000, 0xFFFFFFFF00000000, memstart=0x40000000, **FACTS)
LAB_6_12 = Window(
    0xFFFFFDFFC0000000, 0xFFFFFFFFC0000000, memstart=0xFFFFC6FB80000000, **FACTS | {"va_bits": 48}
)
MMU = "arch/arm64/mm/mmu.c"
RANGE = re.compile(rb"vmemmap_free\+0x0\S+ start=(0x[0-9a-f]+) end=(0x[0-9a-f]+)")


def log(path: Path) -> pa.RecordBatch:
    with path.open("rb") as stream:
        (batch,) = FtraceLog(stream).batches()
    return batch.events


def derive(events: pa.RecordBatch, window: Window | None = LAB_6_1, cuts=()) -> tuple:
    deriver = Deriver(window, SECTION)
    edges = [0, *sorted(cuts), events.num_rows]
    out = [
        deriver.feed(events.slice(first, last - first)) for first, last in itertools.pairwise(edges)
    ]
    for batch in out:
        batch.validate(full=True)
        assert batch.schema == SCHEMA
    return [row for batch in out for row in batch.to_pylist()], deriver.notes


def made(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["source"] == "derived"]


def ranges(rows: list[dict]) -> list[tuple]:
    return [(row["start"], row["end"]) for row in rows]


def freed(raw: bytes) -> list[tuple]:
    return [(int(start, 16), int(end, 16)) for start, end in RANGE.findall(raw)]


def event(kind: str, phase: str, ts: int = 1, tid: int | None = 7, **fields) -> dict:
    row = dict.fromkeys(SCHEMA.names)
    return (
        row | {"ts_ns": ts, "kind": kind, "phase": phase, "source": "kprobe", "tid": tid} | fields
    )


def batch(*rows: dict) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=SCHEMA)


def add(pfn: int | None = 0x5000000, nr_pages: int | None = 3 * SECTION, **fields) -> dict:
    return event("add_pages", "entry", pfn=pfn, nr_pages=nr_pages, **fields)


def added(ret: int | None = 0, **fields) -> dict:
    return event("add_pages", "exit", ret=ret, **fields)


def warn(**fields) -> dict:
    return event("warn", "entry", **{"site": MMU, "line": 1222} | fields)


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("6.1.192-vmemlab-39bit/hole", 128),
        ("6.1.192-vmemlab-39bit/below", 1),
        ("6.1.192-vmemlab-39bit/in-range", 16),
        ("6.1.192-vmemlab-once-39bit/hole", 128),
        ("6.1.192-vmemlab-once-39bit/subsection", 1),
    ],
)
def test_what_was_mapped_is_what_was_freed(captures: Path, name: str, calls: int):
    path = captures / f"{name}.ftrace.txt"
    events = log(path)
    rows, notes = derive(events)
    derived = made(rows)
    assert ranges(derived) == freed(path.read_bytes())
    assert (len(derived), notes) == (calls, ())
    # Nothing else changed, time never goes back, and a derived row says what it is.
    assert [row for row in rows if row["source"] != "derived"] == events.to_pylist()
    assert [row["ts_ns"] for row in rows] == sorted(row["ts_ns"] for row in rows)
    assert {(row["kind"], row["phase"], row["comm"], row["nid"]) for row in derived} == {
        ("populate", "point", "insmod", 0)
    }


def test_each_warning_of_the_storm_follows_its_call(captures: Path):
    rows, _ = derive(log(captures / "6.1.192-vmemlab-39bit/hole.ftrace.txt"))
    for before, row in itertools.pairwise(rows):
        if (row["kind"], row["phase"], row["line"]) == ("warn", "entry", 1222):
            assert before["source"] == "derived"
            assert before["ts_ns"] == row["ts_ns"]


def test_where_calls_are_observed_nothing_is_added(captures: Path):
    events = log(captures / "6.12.117-vmemlab-48bit/in-range.ftrace.txt")
    rows, notes = derive(events, LAB_6_12)
    assert (rows, notes) == (events.to_pylist(), ())


@pytest.mark.parametrize("hidden", [{"populate"}, {"populate", "section_add"}])
def test_calls_hidden_from_a_capture_are_found_again(captures: Path, hidden: set[str]):
    observed = log(captures / "6.12.117-vmemlab-48bit/in-range.ftrace.txt").to_pylist()
    rows, notes = derive(batch(*(r for r in observed if r["kind"] not in hidden)), LAB_6_12)
    calls = [row for row in observed if row["kind"] == "populate" and row["phase"] == "entry"]
    assert len(calls) == 16
    assert (ranges(made(rows)), notes) == (ranges(calls), ())


@pytest.mark.parametrize("scene", ["hole", "below"])
def test_a_capture_cut_anywhere_tells_only_what_had_happened(captures: Path, scene: str):
    events = log(captures / f"6.1.192-vmemlab-39bit/{scene}.ftrace.txt")
    rows, _ = derive(events)
    for count in range(events.num_rows + 1):
        part, notes = derive(events.slice(0, count))
        assert part == rows[: len(part)]
        assert len(part) - count == len(made(part))
        if 2 <= count < events.num_rows and len(made(part)) < len(made(rows)):
            (note,) = notes
            missing = len(made(rows)) - len(made(part))
            assert note.startswith(f"{missing} sections are unknown: ")
            assert note.endswith("never returned in this log")


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_cut_into_batches_gives_the_same(data: st.DataObject):
    pick = data.draw
    spans = st.tuples(
        st.sampled_from([0, 0x40000, 0x3FF8000, 0x4040000 - SECTION, 0x5000200, 0x403F000]),
        st.sampled_from([1, 512, SECTION, SECTION + 512, 4 * SECTION, 1 << 60, 0]),
    )
    one = st.one_of(
        spans.map(lambda span: add(*span)),
        st.sampled_from([0, 0, 0, -17, None]).map(added),
        st.builds(warn),
        st.just(warn(site="mm/other.c")),
        st.just(event("warn", "exit")),
        st.sampled_from(["entry", "exit"]).map(lambda phase: event("free", phase)),
        spans.map(lambda span: event("section_add", "entry", pfn=span[0], nr_pages=span[1])),
        st.sampled_from([0, -17]).map(lambda ret: event("section_add", "exit", ret=ret)),
    )
    rows = [
        row | {"ts_ns": ts, "tid": pick(st.sampled_from([7, 8, None]))}
        for ts, row in enumerate(pick(st.lists(one, max_size=40)))
    ]
    if pick(st.integers(0, 4)) == 0:
        rows.insert(pick(st.integers(0, len(rows))), event("populate", "entry"))
    events = batch(*rows)
    cuts = pick(st.lists(st.integers(0, len(rows)), max_size=8))
    whole = derive(events)
    assert derive(events, LAB_6_1, cuts) == whole
    assert derive(events, LAB_6_1, range(len(rows))) == whole
    assert [row for row in whole[0] if row["source"] != "derived"] == events.to_pylist()


def test_partial_first_and_last_sections():
    rows, _ = derive(batch(add(0x5000200, SECTION + 0x200), added()))
    assert [(row["pfn"], row["nr_pages"]) for row in made(rows)] == [
        (0x5000200, SECTION - 0x200),
        (0x5000000 + SECTION, 0x400),
    ]
    # vmemmap of the lab kernel is 0xfffffffdff000000 (kernel-facts: where pfn 0 lands)
    assert made(rows)[0]["start"] == 0xFFFFFFFDFF000000 + 0x5000200 * 64
    assert made(rows)[1]["end"] == 0xFFFFFFFDFF000000 + (0x5000000 + SECTION + 0x400) * 64


def test_a_warning_proves_the_sections_before_it_too():
    # The window of the lab kernel covers pfn 0x40000 to 0x4040000: two sections in, two out.
    first = 0x4040000 - 2 * SECTION
    rows, notes = derive(batch(add(first, 4 * SECTION, ts=1), warn(ts=2), added(-12, ts=3)))
    assert [(row["ts_ns"], row["pfn"]) for row in made(rows)] == [
        (2, first), (2, first + SECTION), (2, first + 2 * SECTION)
    ]  # fmt: skip
    assert [row["kind"] for row in rows] == ["add_pages", *["populate"] * 3, "warn", "add_pages"]
    assert notes == (
        (
            "1 sections are unknown: their __add_pages call failed, "
            "or the log does not hold its result"
        ),
    )


def test_addresses_wrap_around():
    # kernel-facts: pfn 0xffffc0000 lands at 0x000003fdfe000000 on the 39-bit kernel
    rows, _ = derive(batch(add(0xFFFFC0000, SECTION), added()))
    assert made(rows)[0]["start"] == 0x000003FDFE000000


@pytest.mark.parametrize(
    "inside",
    [
        [warn(site="mm/memory_hotplug.c")],
        [warn(site=None)],
        [warn(tid=8)],
        [warn(tid=None)],
        [event("warn", "exit")],
        [event("free", "entry"), warn(line=1268), event("free", "exit")],
    ],
)
def test_warnings_that_prove_nothing(inside: list[dict]):
    rows, _ = derive(batch(add(), *inside))
    assert made(rows) == []


def test_more_warnings_than_sections_out_of_the_window():
    rows, notes = derive(batch(add(0x5000000, SECTION), warn(), warn(), warn(), added()))
    assert len(made(rows)) == 1
    assert notes == (
        "2 warnings came inside __add_pages calls beyond their sections out of the window",
    )


@pytest.mark.parametrize("ret", [-17, None])
def test_a_failed_or_unknown_end_proves_nothing(ret: int | None):
    rows, notes = derive(batch(add(), added(ret)))
    assert made(rows) == []
    assert notes == (
        (
            "3 sections are unknown: their __add_pages call failed, "
            "or the log does not hold its result"
        ),
    )


def test_without_a_window_the_exit_still_proves():
    rows, notes = derive(batch(add(ts=1), warn(ts=2), added(ts=3)), None)
    assert [(row["ts_ns"], row["pfn"], row["start"], row["end"]) for row in made(rows)] == [
        (3, 0x5000000 + SECTION * nth, None, None) for nth in range(3)
    ]
    assert notes == ()


def test_without_a_section_size_only_sections_that_were_seen():
    deriver = Deriver(LAB_6_1, None)
    section = event("section_add", "entry", pfn=0x5000000, nr_pages=512)
    out = deriver.feed(batch(add(), section, event("section_add", "exit", ret=0), added()))
    assert [row["nr_pages"] for row in made(out.to_pylist())] == [512]
    assert deriver.notes == ()
    assert deriver.feed(batch(add(), added())).num_rows == 2
    assert len(deriver.notes) == 1


def test_section_adds_without_return_probes():
    first, second = (
        event("section_add", "entry", ts=ts, pfn=ts * SECTION, nr_pages=SECTION) for ts in (2, 3)
    )
    rows, notes = derive(batch(add(ts=1), first, second, added(ts=4)))
    assert [(row["ts_ns"], row["pfn"]) for row in made(rows)] == [
        (3, 2 * SECTION),
        (4, 3 * SECTION),
    ]
    assert notes == ()


@pytest.mark.parametrize(
    "span",
    [(0, 1 << 41), ((1 << 64) - 1, 1), (0, (1 << 64) - 1), (0, 0), (None, 1), (0, None),
     (1 << 52, 1 << 52)],
)  # fmt: skip
def test_impossible_ranges_take_no_memory(span: tuple):
    rows, notes = derive(batch(add(*span), warn(), added()))
    assert made(rows) == []
    assert len(notes) == 1
    assert notes[0].startswith("1 __add_pages calls have no page range or an impossible one")


def test_many_huge_claims_take_no_memory():
    claims = [row for _ in range(2000) for row in (add(0, 1 << 34), added())]
    deriver = Deriver(LAB_6_1, SECTION)
    fed = deriver.feed(batch(*claims))
    assert fed.num_rows == len(claims) + (2 << 19)  # two of 2^19 sections
    assert deriver.notes == (
        (
            "1998 __add_pages calls have no page range or an impossible one: "
            "nothing was derived from them"
        ),
    )


def test_a_section_seen_later_takes_nothing_back():
    later = event("section_add", "entry", ts=3, pfn=0x5000000 + SECTION, nr_pages=SECTION)
    rows, _ = derive(batch(add(ts=1), warn(ts=2), later, added(ts=4)))
    assert [(row["ts_ns"], row["pfn"]) for row in made(rows)] == [
        (2, 0x5000000),
        (4, 0x5000000 + SECTION),
    ]
