# SPDX-License-Identifier: GPL-2.0-only
"""Thresholds: kept, broken and unknown, with the captures' own durations on the border."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis import thresholds
from recordings.analysis.thresholds import Check, State, Thresholds, check, exit_code, worst
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.snapshot import Verdict
from recordings.ledger.whole import fold
from tests.recordings import made, plain
from tracers.machine import read_machine

LAB, NEW = "6.1.192-vmemlab-39bit", "6.12.117-vmemlab-48bit"
KEPT, BROKEN, UNKNOWN = State


def checked(path, **limits):
    with open_recording(path) as recording:
        return check(recording, fold(recording), Thresholds(**limits))


def one(path, **limits):
    (found,) = checked(path, **limits)
    return found


def recorded(tmp_path, captures, kernel, scene, *, keep=lambda row: True, probes=None):
    rows = [r for r in plain.read_trace(captures / kernel / f"{scene}.ftrace.txt") if keep(r)]
    path = tmp_path / "made.arrows"
    machine = read_machine(captures / kernel)
    made.record(path, [plain.batch(rows)], Header(machine=machine, probes=probes or {}))
    return path


# -- p99 of section-add -------------------------------------------------------------------------


def test_p99_is_exact_at_its_border(captures, samples):
    path = samples / "in-range-6.12.arrows"
    told = sorted(plain.lasted(captures / NEW / "in-range.ftrace.txt", "section_add"))
    p99 = told[math.ceil(0.99 * len(told)) - 1]
    assert p99 == told[-1] == 1_142_000
    assert one(path, max_p99_ns=p99).state is KEPT
    broken = one(path, max_p99_ns=p99 - 1)
    assert broken.state is BROKEN
    assert broken.finding == "sparse_add_section p99 is 1.142 ms (16 calls)"


@pytest.mark.parametrize("limit", [1, 10**9])
def test_p99_of_some_calls_alone_tells_nothing(samples, monkeypatch, limit):
    real = thresholds.durations
    some = lambda *args: replace(real(*args), beyond=5000)  # noqa: E731
    monkeypatch.setattr(thresholds, "durations", some)
    found = one(samples / "in-range-6.12.arrows", max_p99_ns=limit)
    assert found.state is UNKNOWN
    assert found.finding == (
        "sparse_add_section p99 is 1.142 ms (16 calls), but 5,000 more are beyond those kept"
    )


def test_without_a_section_add_it_cannot_be_told(samples):
    found = one(samples / "in-range-6.1.arrows", max_p99_ns=10**9)
    assert found.state is UNKNOWN
    assert "kernels before 6.11 refuse a kprobe there" in found.finding


# -- WARN's share -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [LAB, "6.1.192-vmemlab-once-39bit"])
def test_the_share_is_that_of_the_worse_side(captures, traced, kernel):
    """WARNs before the hot-remove belong to the hot-add; in percent of each."""
    rows = plain.read_trace(captures / kernel / "hole.ftrace.txt")
    cut = next(i for i, row in enumerate(rows) if row["kind"] == "remove_pages")
    shares, began = [], {}
    for part, kind in ((rows[:cut], "add_pages"), (rows[cut:], "remove_pages")):
        spent = dict.fromkeys(("warn", kind), 0)
        for row in part:
            if row["phase"] == "entry":
                began[row["kind"]] = row["ts_ns"]
            elif row["kind"] in spent:
                spent[row["kind"]] += row["ts_ns"] - began[row["kind"]]
        shares.append(100 * spent["warn"] / spent[kind])
    path = traced / ("storm.arrows" if kernel == LAB else "storm-once.arrows")
    assert one(path, max_warn_share=max(shares)).state is KEPT
    under = one(path, max_warn_share=max(shares) - 0.01)
    assert under.state is BROKEN
    assert f"{max(shares):.1f} % of hot-add" in under.finding
    both = one(path, max_warn_share=min(shares) - 0.01)
    assert "of hot-remove" in both.finding


def test_no_warn_is_no_share_only_where_warns_were_watched(tmp_path, captures, samples):
    assert one(samples / "in-range-6.12.arrows", max_warn_share=0).state is KEPT
    path = recorded(tmp_path, captures, NEW, "in-range")
    found = one(path, max_warn_share=50)
    assert (found.state, found.finding) == (
        UNKNOWN,
        "no WARN was seen, but nothing says that WARNs were watched",
    )
    path.unlink()
    path = recorded(
        tmp_path, captures, NEW, "in-range", probes={"__warn": "entry"},
        keep=lambda row: row["kind"] not in ("add_pages", "remove_pages"),
    )  # fmt: skip
    assert one(path, max_warn_share=50).finding == "no hot-add or hot-remove call was timed"


def test_warns_without_an_end_have_no_share(tmp_path, captures):
    path = recorded(
        tmp_path, captures, LAB, "hole", probes={"__warn": "entry"},
        keep=lambda row: (row["kind"], row["phase"]) != ("warn", "exit"),
    )  # fmt: skip
    found = one(path, max_warn_share=99)
    assert (found.state, found.finding) == (UNKNOWN, "some WARNs were not timed")


# -- sections -----------------------------------------------------------------------------------


def test_sections_are_those_observed(captures, samples):
    rows = plain.read_trace(captures / NEW / "in-range.ftrace.txt")
    number = sum(row["kind"] == "populate" and row["phase"] == "entry" for row in rows)
    path = samples / "in-range-6.12.arrows"
    assert number == 16
    assert one(path, expect_sections=16).state is KEPT
    for wrong in (15, 17):
        found = one(path, expect_sections=wrong)
        assert (found.state, found.finding) == (BROKEN, "16 sections were added")


def test_derived_sections_are_not_observed(samples):
    found = one(samples / "in-range-6.1.arrows", expect_sections=16)
    assert (found.state, found.finding) == (UNKNOWN, "16 sections are derived, not observed")


def test_section_adds_count_where_populate_was_not_probed(tmp_path, captures):
    path = recorded(tmp_path, captures, NEW, "in-range", keep=lambda row: row["kind"] != "populate")
    assert one(path, expect_sections=16).state is KEPT


def test_hits_alone_and_splats_are_not_all_sections(tmp_path, captures):
    rows = plain.read_trace(captures / NEW / "in-range.ftrace.txt")
    rows = [row for row in rows if row["kind"] in ("populate", "free", "section_add")]
    machine = read_machine(captures / NEW)
    path = tmp_path / "hits.arrows"
    bare = [row for row in rows if row["kind"] != "section_add"]
    made.record(path, [plain.batch(bare)], Header(machine=machine, origin={"hits-only": "yes"}))
    found = one(path, expect_sections=16)
    assert (found.state, found.finding) == (
        UNKNOWN,
        "at least 16 sections were added: hits alone were kept",
    )
    assert one(path, expect_sections=15).state is BROKEN
    path.unlink()  # sparse_add_section is not filtered, so it tells
    some = [row for row in rows if row["kind"] != "populate"]
    made.record(path, [plain.batch(some)], Header(machine=machine, origin={"hits-only": "yes"}))
    assert one(path, expect_sections=16).state is KEPT
    path.unlink()
    splats = [row | {"source": "dmesg", "phase": "point"} for row in bare
              if row["phase"] == "entry"]  # fmt: skip
    made.record(path, [plain.batch(splats)], Header(machine=machine))
    assert one(path, expect_sections=16).finding.endswith("a log of WARNs shows no others")


# -- losses, codes ------------------------------------------------------------------------------


def test_losses_break_nothing_that_is_no_proof(tmp_path, samples):
    path = tmp_path / "torn.arrows"
    path.write_bytes((samples / "in-range-6.12.arrows").read_bytes()[:-100])
    limits = {"max_warn_share": 0, "max_p99_ns": 10**9, "expect_sections": 99}
    assert [each.state for each in checked(path, **limits)] == [UNKNOWN] * 3
    # more than expected were seen, whatever is missing
    whole = samples / "in-range-6.12.arrows"
    with open_recording(whole) as recording:
        lossy = fold(recording)
        lossy = replace(lossy, losses=replace(lossy.losses, lost=1))
        (found,) = check(recording, lossy, Thresholds(expect_sections=15))
    assert found.state is BROKEN


@pytest.mark.parametrize(
    ("verdict", "states", "code"),
    [
        (Verdict.CLEAN, (), 0),
        (Verdict.CLEAN, (KEPT, KEPT), 0),
        (Verdict.CLEAN, (KEPT, UNKNOWN), 3),
        (Verdict.CLEAN, (UNKNOWN, BROKEN), 1),
        (Verdict.INCONCLUSIVE, (KEPT,), 3),
        (Verdict.INCONCLUSIVE, (BROKEN,), 1),
        (Verdict.OUT_OF_RANGE, (KEPT, UNKNOWN), 1),
    ],
)
def test_the_code_of_a_file(verdict, states, code):
    assert exit_code(verdict, tuple(Check("--x", state, "") for state in states)) == code


@given(st.lists(st.sampled_from([0, 1, 2, 3])))
def test_the_code_of_several_is_the_worst(codes):
    found = worst(codes)
    order = [2, 1, 3, 0]
    assert found == next((code for code in order if code in codes), 0)
