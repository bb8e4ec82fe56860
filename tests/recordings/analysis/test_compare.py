# SPDX-License-Identifier: GPL-2.0-only
"""Comparisons: the thread's slowdown in the kernels' own text, and every reason against a ratio."""

import io
import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from recordings.analysis.alignment import aligned
from recordings.analysis.compare import Outcome, compare, load_side
from recordings.analysis.durations import Calls, Durations
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.reports.compare_json import comparison_dict
from recordings.reports.compare_text import headline, render
from tests.recordings import made, oops, plain
from tracers.events import Kind
from tracers.machine import read_machine
from tracers.observer import Observer, ProbeCost

STORM, ONCE, NEW = (
    "6.1.192-vmemlab-39bit",
    "6.1.192-vmemlab-once-39bit",
    "6.12.117-vmemlab-48bit",
)


def sample(samples, name):
    with open_recording(samples / f"{name}.arrows") as recording:
        return load_side(f"sample:{name}", recording)


def measure(comparison, kind):
    (found,) = [m for m in comparison.measures if m.kind is kind]
    return found


def shown(comparison, width=80):
    out = io.StringIO()
    render(Console(file=out, width=width, color_system=None), comparison)
    return out.getvalue()


# -- the thread's slowdown ----------------------------------------------------------------------


def test_the_slowdown_of_the_thread(captures, traced):
    found = compare(sample(traced, "storm"), sample(traced, "storm-once"))
    assert found.outcome is Outcome.SLOWER
    assert found.obstacles == ()
    a, b = (plain.lasted(captures / kernel / "hole.ftrace.txt", "free") for kernel in (STORM, ONCE))
    frees = measure(found, Kind.FREE)
    assert frees.totals == (sum(a), sum(b)) == (79_624_000, 4_043_000)
    assert frees.paired
    assert frees.counts == (128, 128)
    assert frees.ratio.value == pytest.approx(sum(a) / sum(b))  # 20 times
    assert frees.ratio.low < 17.1 < frees.ratio.high  # and so was __add_pages
    # pairs drawn again by the plain loop; both captures free the same sections in one order
    rng = random.Random(4)  # noqa: S311
    drawn = []
    for _ in range(3000):
        at = [rng.randrange(128) for _ in a]
        drawn.append(sum(a[i] for i in at) / sum(b[i] for i in at))
    drawn.sort()
    assert frees.ratio.low == pytest.approx(drawn[75], rel=0.03)
    assert frees.ratio.high == pytest.approx(drawn[2924], rel=0.03)
    for kind, times in ((Kind.ADD_PAGES, 17.1), (Kind.REMOVE_PAGES, 15.9)):
        (one,), (other,) = (
            plain.lasted(captures / kernel / "hole.ftrace.txt", kind.label)
            for kernel in (STORM, ONCE)
        )
        told = measure(found, kind)
        assert told.ratio.value == pytest.approx(one / other)
        assert told.ratio.value == pytest.approx(times, abs=0.1)
        assert told.ratio.low is None  # one call each says nothing about their spread
        assert told.per_section == (one // 128, other // 128)
    for quantile, percent in zip(frees.quantiles, (50, 90, 99), strict=True):
        rank = -(-percent * 128 // 100) - 1
        assert (quantile.a, quantile.b) == (sorted(a)[rank], sorted(b)[rank])


def test_it_is_said_first_and_as_an_interval(traced):
    found = compare(sample(traced, "storm"), sample(traced, "storm-once"))
    text = shown(found)
    low, high = (f"{x:.1f}" for x in (measure(found, Kind.FREE).ratio.low,
                                      measure(found, Kind.FREE).ratio.high))  # fmt: skip
    assert text.splitlines()[0] == (
        f"SLOWER  vmemmap_free takes {low} to {high} times as long in A as in B (95 %)."
    )
    said = " ".join(text.split())
    assert "Too few calls for an interval: __add_pages took 17.1 times as long" in said
    assert "WARNs 256, 119.9 ms 2, 2.322 ms" in said
    assert "in WARN, hot-add 91 % 52 %" in said
    assert max(map(cell_len, text.splitlines())) <= 80
    back = compare(sample(traced, "storm-once"), sample(traced, "storm"))
    assert back.outcome is Outcome.FASTER
    assert "as long in B as in A (95 %)" in headline(back)


def test_a_recording_is_like_itself(samples):
    one = sample(samples, "storm")
    found = compare(one, one)
    assert found.outcome is Outcome.ALIKE
    assert measure(found, Kind.FREE).ratio.value == 1
    assert found.outcome.exit_code == 0


# -- what forbids it ----------------------------------------------------------------------------


def test_few_calls_are_not_given_a_number(samples):
    found = compare(sample(samples, "below-6.1"), sample(samples, "below-6.12"))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.outcome.exit_code == 3
    assert headline(found).startswith("too few calls")
    assert measure(found, Kind.FREE).ratio.low is None


def test_different_rungs_are_loud_and_not_divided(samples):
    found = compare(sample(samples, "in-range-6.1"), sample(samples, "in-range-6.12"))
    assert "vmemmap_populate is known by derived in A, by kprobe in B." in found.obstacles
    populate = measure(found, Kind.POPULATE)
    assert populate.ratio is None
    assert populate.why_not == "A has it derived: not timed"
    assert measure(found, Kind.SECTION_ADD).why_not == "A did not time it"
    add = measure(found, Kind.ADD_PAGES)  # B's has three probes a section in it, A's has none
    assert add.ratio is None
    assert "probes inside" in add.why_not
    assert measure(found, Kind.FREE).why_not is None
    text = " ".join(shown(found).split())
    assert "NOT ALIKE vmemmap_populate is known by derived in A" in text
    assert "__add_pages: not compared, the probes inside of it differ" in text


def synthetic(tmp_path, captures, name, *, ways="kprobe", slow=1, sections=30, base=0x200_0000,
              threads=1, **machine):  # fmt: skip
    """A kernel that adds and removes ``sections`` sections, on several threads at once."""
    step, rows, ts = 32768, [], 0
    rng = random.Random(9)  # noqa: S311
    for kind, inner in (("add_pages", "section_add"), ("remove_pages", "free")):
        for thread in range(threads):
            pages = {"pfn": base + thread * sections * step, "nr_pages": sections * step}
            rows.append({"kind": kind, "phase": "entry", "ts_ns": ts, "tid": 10 + thread} | pages)
        for at in range(sections):
            for thread in range(threads):
                pfn = (base + (thread * sections + at) * step) % 2**64
                who = {"kind": inner, "ts_ns": ts, "tid": 10 + thread, "source": ways}
                start = (0xFFFF_FFFD_FF00_0000 + pfn * 64) % 2**64
                where = {"start": start, "end": start + step * 64}
                where = where if inner == "free" else {"pfn": pfn, "nr_pages": step}
                rows.append(who | where | {"phase": "entry"})
                ts += slow * rng.randint(900, 1100)
                rows.append(who | {"phase": "exit", "ts_ns": ts, "ret": 0})
        end = {"kind": kind, "phase": "exit", "ts_ns": ts, "ret": 0}
        rows += [end | {"tid": 10 + thread} for thread in range(threads)]
    for row in rows:
        row.setdefault("source", "kprobe")
    path = tmp_path / name
    header = Header(machine=replace(read_machine(captures / STORM), **machine))
    made.record(path, [plain.batch(rows)], header)
    with open_recording(path) as recording:
        return load_side(name, recording)


def test_sections_are_aligned_by_place_on_every_thread(tmp_path, captures):
    one = synthetic(tmp_path, captures, "a", threads=3)
    other = synthetic(tmp_path, captures, "b", threads=3, slow=5, base=0x300_0000)
    for kind in (Kind.SECTION_ADD, Kind.FREE):
        pairs = aligned(other.durations, one.durations, kind)
        assert len(pairs.a) == len(pairs.b) == 90
        assert (pairs.a == 5 * pairs.b).all()
    found = compare(other, one)
    assert found.outcome is Outcome.SLOWER
    ratio = measure(found, Kind.SECTION_ADD).ratio
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((5, 5, 5))
    assert "sparse_add_section takes 5.00 to 5.00 times as long in A as in B" in headline(found)


def test_other_work_is_compared_section_by_section_and_said(tmp_path, captures):
    one = synthetic(tmp_path, captures, "a", sections=30)
    other = synthetic(tmp_path, captures, "b", sections=60, slow=3)
    found = compare(other, one)
    sections = measure(found, Kind.SECTION_ADD)
    assert not sections.paired
    assert sections.counts == (60, 30)
    assert sections.ratio.value == pytest.approx(3, rel=0.05)
    assert any(text.startswith("The work differs") for text in found.differences)
    add = measure(found, Kind.ADD_PAGES)
    assert (add.ratio, add.why_not) == (None, "the operations are not the same")


def test_call_sites_against_kprobes_are_not_divided(tmp_path, captures):
    one = synthetic(tmp_path, captures, "a")
    other = synthetic(tmp_path, captures, "b", ways="callsite", slow=9)
    found = compare(one, other)
    told = measure(found, Kind.SECTION_ADD)
    assert told.ratio is None
    assert told.why_not == "timed in different ways: A by kprobe, B by callsite"
    assert found.outcome is Outcome.INCONCLUSIVE


def test_sections_of_another_size_are_not_divided(tmp_path, captures):
    window = read_machine(captures / STORM).window
    one = synthetic(tmp_path, captures, "a")
    other = synthetic(tmp_path, captures, "b", window=replace(window, section_size_bits=30))
    found = compare(one, other)
    assert "Sections differ in size: A 128 MiB, B 1 GiB." in found.obstacles
    assert measure(found, Kind.SECTION_ADD).why_not == "sections differ in size"
    assert found.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0), (0, 0)])
def test_where_no_time_passed_nothing_is_divided(tmp_path, captures, a, b):
    """A clock that stands still, as a forged file's, or one too coarse for the calls."""
    sides = [synthetic(tmp_path, captures, side, slow=n) for side, n in (("A", a), ("B", b))]
    found = compare(*sides)
    assert found.outcome is Outcome.INCONCLUSIVE
    for kind in (Kind.SECTION_ADD, Kind.FREE, Kind.ADD_PAGES):
        told = measure(found, kind)
        assert told.ratio is None
        assert told.why_not == f"by its clock no time passed in {'B' if a else 'A'}"
    assert "not compared, by its clock no time passed" in " ".join(shown(found).split())
    json.dumps(comparison_dict(found), allow_nan=False)


def test_pages_past_the_end_of_memory_are_no_sections(tmp_path, captures):
    """A pfn + nr_pages beyond 2^64 is no range of pages: no time a section can be told."""
    wrapped = synthetic(tmp_path, captures, "a", base=2**64 - 32768)
    assert measure(compare(wrapped, wrapped), Kind.ADD_PAGES).per_section == (None, None)


def test_losses_leave_it_open(tmp_path, captures, samples):
    path = tmp_path / "torn.arrows"
    path.write_bytes((samples / "storm.arrows").read_bytes()[:-100])
    with open_recording(path) as recording:
        torn = load_side("torn", recording)
    found = compare(torn, sample(samples, "storm-once"))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.obstacles[0].startswith("A has losses")
    assert headline(found).startswith("events are missing")


def test_calls_that_are_not_timed_leave_it_open(samples):
    """However clear the others are: what the rest took is not known."""
    storm, once = sample(samples, "storm"), sample(samples, "storm-once")
    cut = replace(storm, durations=replace(storm.durations, beyond=1234))
    for sides in ((cut, once), (once, cut)):
        found = compare(*sides)
        assert found.outcome is Outcome.INCONCLUSIVE
        letter = "AB"[sides.index(cut)]
        (obstacle,) = found.obstacles
        assert obstacle == (
            f"{letter} has 1,234 calls behind the first 1,048,576, which alone are timed here:"
            " their totals are lower bounds."
        )
        assert measure(found, Kind.FREE).ratio.low is not None  # of those that were
        said = " ".join(shown(found).split())
        assert said.startswith("INCONCLUSIVE there are more calls than are timed")
        assert f"NOT ALIKE {letter} has 1,234 calls behind" in said
        assert comparison_dict(found)[letter.lower()]["calls_beyond"] == 1234


OPERATIONS = st.lists(st.integers(0, 3), max_size=12)


@given(OPERATIONS, OPERATIONS)
def test_the_nth_of_so_many_pages_is_the_nth_of_as_many(a, b):
    def side(sizes, factor):
        n = np.arange(len(sizes))
        wide = n.astype(np.uint64)
        pages = np.array(sizes, np.uint64)
        good = pages < 3  # of the others the pfn is not known
        calls = Calls(n, wide, wide, pages, good, good, wide * np.uint64(factor))
        return Durations({Kind.ADD_PAGES: calls}, {})

    found = aligned(side(a, 1), side(b, 100), Kind.ADD_PAGES)
    expected = []
    for at, size in enumerate(a):
        same = [place for place, other in enumerate(b) if other == size]
        turn = a[:at].count(size)
        if size in (1, 2) and turn < len(same):
            expected.append((at, 100 * same[turn]))
    assert list(zip(found.a.tolist(), found.b.tolist(), strict=True)) == expected


# -- shape --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 160])
def test_text_fits_and_says_nothing_a_kernel_made_up(tmp_path, captures, width):
    dirty = "\x1b]0;x\x07[bold]\u202e" + "x" * 300
    one = replace(synthetic(tmp_path, captures, "a", release=dirty), name=dirty)
    text = shown(compare(one, one), width)
    assert "\x1b" not in text
    assert max(map(cell_len, text.splitlines())) <= width


def test_json_is_whole(traced):
    found = comparison_dict(compare(sample(traced, "storm"), sample(traced, "storm-once")))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["outcome"] == "slower"
    (frees,) = [m for m in found["measures"] if m["kind"] == "vmemmap_free"]
    assert frees["a"]["total_ns"] == 79_624_000
    assert frees["aligned"] is True
    assert len(frees["ratio"]["interval"]) == 2
    (add,) = [m for m in found["measures"] if m["kind"] == "__add_pages"]
    assert add["ratio"]["interval"] is None
    (populate,) = [m for m in found["measures"] if m["kind"] == "vmemmap_populate"]
    assert (populate["ratio"], populate["not_compared"]) == (None, "A has it derived: not timed")
    assert found["a"]["sources"]["vmemmap_populate"] == ["derived"]


def test_oopses_are_compared(tmp_path):
    sides = []
    for name, rows in (("a", oops.rows()), ("b", oops.rows()[:-1])):
        path = tmp_path / f"{name}.arrows"
        made.record(path, [plain.batch(rows)], oops.HEADER)
        with open_recording(path) as recording:
            sides.append(load_side(name, recording))
    found = compare(*sides)
    assert found.differences[0].startswith("Oopses differ: 1 Oops in A, none in B.")
    assert re.search(r"Oopses +1 +0$", shown(found), re.MULTILINE)
    told = comparison_dict(found)
    assert (told["a"]["faults"], told["b"]["faults"]) == (1, 0)
    assert not any("Oops" in difference for difference in compare(sides[0], sides[0]).differences)
    assert "Oopses" not in shown(compare(sides[1], sides[1]))


# -- probed in different ways ----------------------------------------------------------------------


def probed(side, engine, section_ns, costs=None):
    """A side as another engine had it, each sparse_add_section ``section_ns`` longer by it."""
    calls = dict(side.durations.calls)
    section = calls[Kind.SECTION_ADD]
    longer = section.duration + np.uint64(section_ns)
    calls[Kind.SECTION_ADD] = replace(section, duration=longer)
    header = replace(side.header, origin={"live": engine})
    snapshot = replace(side.snapshot, observer=Observer(costs or {}))
    durations = replace(side.durations, calls=calls)
    return replace(side, header=header, snapshot=snapshot, durations=durations)


def costs_of(section_ns):
    whole = {kind: ProbeCost(0, 0) for kind in (Kind.POPULATE, Kind.WARN, Kind.ADD_PAGES)}
    return whole | {Kind.SECTION_ADD: ProbeCost(section_ns, section_ns)}


def test_other_engines_cost_other_times_so_nothing_is_divided(samples):
    side = sample(samples, "in-range-6.12")
    found = compare(probed(side, "bcc", 50_000), probed(side, "tracefs", 20_000))
    section = measure(found, Kind.SECTION_ADD)
    assert section.ratio is None
    assert section.why_not == "A is by bcc, B by tracefs: their probes take different times"
    assert "not compared, A is by bcc" in shown(found, 120)


def test_unless_it_is_known_how_much(samples):
    side = sample(samples, "in-range-6.12")
    own = side.durations.of(Kind.SECTION_ADD)
    a = probed(side, "bcc", 50_000, costs_of(50_000))
    b = probed(side, "tracefs", 20_000, costs_of(20_000))
    section = measure(compare(a, b), Kind.SECTION_ADD)
    assert section.why_not is None
    assert section.ours == (50_000, 20_000)
    assert section.totals == (int(own.sum()), int(own.sum()))
    assert section.ratio.value == 1
    assert "without what the probes took" in shown(compare(a, b), 120)
    one_alone = compare(a, probed(side, "tracefs", 20_000))
    assert measure(one_alone, Kind.SECTION_ADD).ratio is None
