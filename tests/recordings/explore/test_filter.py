# SPDX-License-Identifier: GPL-2.0-only
"""The filter against the kernel's own trace, and against plain arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.explore.filler import Filler
from recordings.explore.filter import KEYS, Facts, Filter, FilterError, complete, toggled
from recordings.explore.index import Index
from recordings.explore.matches import Matches
from recordings.explore.span_table import NAMES, SpanTable
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from tests.recordings import oops
from tests.recordings.plain import batch, read_trace
from tests.tui.small_recordings import WINDOW
from tracers.families import MASK

ADDRESSES = st.integers(0, MASK)


@pytest.fixture(scope="module")
def storm(traced):
    """The table and the facts of the storm that ftrace saw."""
    with open_recording(traced / "storm.arrows") as recording:
        index = Index(recording)
        while index.advance():
            pass
        machine = recording.header.machine
        first = index.snapshot().first_ns
        return index.table, Facts(machine.window, machine.layout, first)


@pytest.fixture(scope="module")
def rows(captures):
    """The kernel's own trace of it, row by row."""
    return list(read_trace(captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"))


def count(storm, text):
    table, facts = storm
    matches = Matches(table, Filter.parse(text, facts))
    while matches.update():
        pass
    return len(matches)


def test_each_name_lets_through_what_the_kernel_wrote_under_it(storm, rows):
    frees = [row for row in rows if row["kind"] == "free" and row["phase"] == "entry"]
    assert len(frees) == 128
    for text in (
        "kind:free", "kind:vmemmap_free", "comm:rmmod", "comm:rm*", "comm:'rmmod'", "!comm:insmod",
        "site:mmu.c:1268", "site:arch/arm64/mm/mmu.c:1268", "pid:69", "tid:69", "!known:derived",
        "regime:above kind:free", "kind:free comm:insmod,rmmod", "regime:outside comm:rmmod",
    ):  # fmt: skip
        assert count(storm, text) == len(frees), text
    for text in (
        "", "regime:above", "regime:outside", "kind:free,populate",
        "!regime:inside", "!comm:nobody", "lands:unused", "cpu:0,1,2,3",
    ):  # fmt: skip
        assert count(storm, text) == 256, text
    for text in ("comm:nobody", "regime:silent", "site:slub.c", "regime:wrapped", "lands:vmalloc"):
        assert count(storm, text) == 0, text


def test_ranges_are_those_of_the_trace(storm, rows):
    _, facts = storm
    frees = [row for row in rows if row["kind"] == "free" and row["phase"] == "entry"]
    took = [
        end["ts_ns"] - begin["ts_ns"]
        for begin, end in zip(
            frees,
            [row for row in rows if row["kind"] == "free" and row["phase"] == "exit"],
            strict=True,
        )
    ]
    limit = sorted(took)[64]
    assert count(storm, f"took>{limit}ns") == sum(each > limit for each in took)
    assert count(storm, f"took>={limit}ns") == sum(each >= limit for each in took)
    assert count(storm, f"took<{limit}ns") == sum(each < limit for each in took)
    at = frees[40]
    assert count(storm, f"addr:0x{at['start']:x} kind:free") == 1
    assert count(storm, f"addr:0x{at['start']:x}..0x{at['end']:x} kind:free") == 1
    assert count(storm, f"addr:0x{at['start']:x}+0x200001 kind:free") == 2
    pfn = facts.window.page_to_pfn(at["start"])
    assert count(storm, f"pfn:0x{pfn:x} kind:free") == 1
    assert count(storm, f"phys:0x{pfn << 12:x}+4K kind:free") == 1
    after = (at["ts_ns"] - facts.first_ns) / 1e9
    assert count(storm, f"kind:free time:{after:.6f}..") == 128 - 40
    assert count(storm, f"kind:free time<{after:.6f}") == 40


def test_an_operation_is_named_by_the_event_that_it_begins_with(storm, rows):
    table, facts = storm
    begins = {row["kind"]: at for at, row in enumerate(rows) if row["phase"] == "entry"}
    # 128 populate calls, which are derived, come between the two and are not in the text
    remap, unmap = begins["memremap"], begins["memunmap"] + 128
    assert count(storm, f"op:{unmap}") == count(storm, f"op:#{unmap} kind:free") == 128
    assert count(storm, f"op:{remap} kind:populate") == count(storm, f"!op:{unmap}") == 128
    assert count(storm, f"op:{remap},#{unmap}") == 256
    assert count(storm, f"op:{begins['add_pages']}") == 0  # what is inside of one is none
    assert count(storm, f"op:{len(rows) + 128}") == count(storm, f"op:{(1 << 63) - 1}") == 0
    assert Filter.parse(f"op:#{remap},'#{unmap}'", facts).text == f"op:{remap},{unmap}"
    assert complete("op:", table)[:2] == [f"op:{remap}", f"op:{unmap}"]
    assert complete("kind:free op:#", table)[-1] == f"kind:free op:#{unmap}"
    assert complete(f"op:{str(unmap)[:-1]}", table) == [f"op:{unmap}"]


@given(start=ADDRESSES, size=st.integers(0, MASK), low=ADDRESSES, length=st.integers(1, MASK))
def test_an_overlap_is_modulo_2_to_the_64(start, size, low, length):
    end = (start + size) & MASK
    columns = {
        "start": np.array([start], np.uint64),
        "end": np.array([end], np.uint64),
        "flags": np.array([3], np.uint8),
    }
    told = bool(Filter.parse(f"addr:{low}+{length}", Facts()).mask(columns, None)[0])
    # both on a circle: one's start lies in the other
    really = (low - start) % 2**64 < size or (start - low) % 2**64 < length
    assert told == really


@given(st.lists(st.integers(0, MASK), min_size=1), ADDRESSES, ADDRESSES)
def test_times_and_comparisons_are_of_all_64_bits(values, one, other):
    low, high = sorted((one, other))
    columns = {
        "duration": np.array(values, np.uint64),
        "end_row": np.zeros(len(values), np.int64),
    }
    for text, rule in (
        (f"event:{low}..{high + 1}", None),
        (f"took>{min(low, 10**14)}ns", lambda value: value > min(low, 10**14)),
        (f"took<={min(low, 10**14)}ns", lambda value: value <= min(low, 10**14)),
    ):
        found = Filter.parse(text, Facts())
        if rule is not None:
            assert found.mask(columns, None).tolist() == [rule(value) for value in values]


def test_what_is_not_known_matches_no_range():
    columns = {
        "start": np.zeros(3, np.uint64),
        "end": np.ones(3, np.uint64),
        "flags": np.array([0, 1, 2], np.uint8),
        "duration": np.zeros(3, np.uint64),
        "end_row": np.full(3, -1),
    }
    for text in ("addr:0..0x10000000000000000", "took>=0ns"):
        assert not Filter.parse(text, Facts()).mask(columns, None).any()
        assert Filter.parse(f"!{text}", Facts()).mask(columns, None).all()


@pytest.mark.parametrize(
    "text",
    [
        "rmmod", "what:ever", "comm:", "comm>3", "took:1", "took>fast", "took>1ms..", "pid:x",
        "pid:4294967296", "regime:up", "kind:warn", "known:rumour", "time:5..1", "event:1..1",
        "phys:lots", "addr:0xg", "addr:0x20000000000000000", "comm:'open", "lands:nowhere",
        "pid:,", "op:,", "op:memunmap", "op:##1", "op:9223372036854775808", "op>1",
        "event:" + "9" * 400, " ".join(["cpu:0"] * 65), "comm>\x1b[2J",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_line(storm, text):
    _, facts = storm
    with pytest.raises(FilterError) as caught:
        Filter.parse(text, facts)
    line = str(caught.value)
    assert line.isprintable()
    assert "\n" not in line


@pytest.mark.parametrize("key", ["pfn", "phys", "lands", "time"])
def test_what_needs_facts_that_are_not_there_says_so(key):
    with pytest.raises(FilterError, match=r"not known|no first event"):
        Filter.parse(KEYS[key][0], Facts())


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_one_line(text):
    facts = Facts(window=WINDOW, first_ns=0)
    lines = []
    found = Filter()
    try:
        found = Filter.parse(text, facts)
    except FilterError as error:
        lines.append(str(error))
    assert all(line.isprintable() for line in lines)
    assert Filter.parse(found.text, facts) == found
    assert set(found.names) <= set(NAMES)


def test_every_example_of_the_help_can_be_read(storm):
    _, facts = storm
    for key, (example, _) in KEYS.items():
        if key != "lands":  # a region of this kernel
            assert Filter.parse(example, facts), key


def test_completions_are_what_may_follow(storm):
    table, facts = storm
    assert complete("comm:r", table) == ["comm:rmmod"]
    assert complete("kind:free !comm:", table) == [
        "kind:free !comm:insmod",
        "kind:free !comm:rmmod",
    ]
    assert complete("pi", table) == ["pid:"]
    assert complete("took", table) == ["took>"]
    assert "site:mmu.c:1268" in complete("site:m", table)
    assert complete("regime:above,b", table) == ["regime:above,below"]
    assert complete("comm:'", table) == []
    for line in complete("regime:", table):
        assert Filter.parse(line, facts)


def test_a_name_with_spaces_is_completed_in_quotes():
    class Texts:
        comms = ("kworker 1", None, "\x1b[2J")
        sites = ()

    assert complete("comm:k", Texts()) == ['comm:"kworker 1"']
    assert all(line.isprintable() for line in complete("comm:", Texts()))
    found = Filter.parse('comm:"kworker 1"', Facts())
    assert found.mask({"comm": np.array([0, 1, 2, 9], np.uint32)}, Texts()).tolist() == [
        True, False, False, False,
    ]  # fmt: skip


def test_a_term_is_toggled():
    assert toggled("", "regime:above") == "regime:above"
    assert toggled("comm:rmmod regime:above", "regime:above") == "comm:rmmod"
    assert toggled("comm:rmmod regime:above", "regime:below") == "comm:rmmod regime:below"
    assert toggled("!regime:above", "regime:above") == "!regime:above regime:above"


@pytest.fixture(scope="module")
def failed():
    """The table of eight populate calls and an Oops, another one that is not proven, its facts."""
    table, ledger = SpanTable(), Ledger.of(oops.HEADER)
    ledger.fold(batch([*oops.rows(), oops.fault(80_000_000, None, site="die+0x1")]), Filler(table))
    return table, Facts(oops.WINDOW, oops.MACHINE.layout, oops.FIRST)


def test_an_oops_is_found_by_what_it_is(failed):
    for text, number in (
        ("kind:fault", 2), ("kind:Oops", 2), ("kind:populate", 8), ("kind:free,fault", 2), ("", 10),
        ("site:memremap_pages", 1), ("site:__init_zone_device_page", 1), ("site:demo*", 1),
        ("site:__init_zone_device_page+0x2c", 1), ("kind:fault !site:die", 1), ("site:any", 0),
        ("site:mmu.c:1187", 0), ("kind:fault regime:unknown", 1), ("kind:fault regime:outside", 1),
        (f"kind:fault pfn:{oops.PFN:#x}", 1), (f"addr:{oops.PAGE:#x}", 2), ("lands:user*", 9),
        (f"phys:{oops.PFN << 12:#x} kind:fault", 1), ("time:0.077..", 2), ("comm:kworker*", 10),
    ):  # fmt: skip
        assert count(failed, text) == number, text
    assert "kind:fault" in complete("kind:f", failed[0])
    with pytest.raises(FilterError, match="none of populate, free, fault"):
        Filter.parse("kind:warn", failed[1])
