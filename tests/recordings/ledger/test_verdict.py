# SPDX-License-Identifier: GPL-2.0-only
"""When a recording is clean, out of range, or neither."""

import pytest

from recordings.ledger.snapshot import Regimes, SiteCount, Verdict
from recordings.ledger.verdict import Evidence, judge, section_add_reason
from tracers.batch import Losses
from tracers.events import Kind


def evidence(*, begun=None, **more):
    counts = dict.fromkeys(Kind, 0) | (begun or {Kind.POPULATE: 3, Kind.FREE: 2})
    told = {
        "window": True, "agree": True, "regimes": Regimes(inside=5), "derived": 0,
        "silent": 0, "undecided": 0, "failed": {}, "sites": (),
        "losses": Losses(), "unfinished": 0, "orphans": {},
    }  # fmt: skip
    return Evidence(begun=counts, **(told | more))


def test_sources_that_contradict_each_other_leave_no_verdict():
    for regimes in (Regimes(inside=5), Regimes(above=5)):
        verdict, reasons = judge(evidence(agree=False, regimes=regimes))
        assert verdict is Verdict.INCONCLUSIVE
        assert "contradict" in reasons[0]


def test_clean_needs_every_call_inside_and_nothing_missing():
    assert judge(evidence()) == (Verdict.CLEAN, ("All 5 vmemmap calls lie inside the window.",))


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"losses": Losses(lost=1)}, "missing"),
        ({"losses": Losses(lost_unknown=1)}, "missing"),
        ({"losses": Losses(torn=1)}, "missing"),
        ({"losses": Losses(rejected=1)}, "missing"),
        ({"window": False, "regimes": Regimes(unknown=5)}, "window is not known"),
        ({"regimes": Regimes(inside=4, unknown=1)}, "arguments of 1 call "),
        ({"regimes": Regimes(), "begun": {Kind.MEMREMAP: 1}}, "No populate or free"),
        ({"unfinished": 2}, "2 calls have no end"),
        ({"orphans": {Kind.FREE: 1}}, "1 call ended"),
        ({"orphans": {Kind.ADD_PAGES: 1}, "derived": 3}, "1 call ended"),
        ({"failed": {Kind.ADD_PAGES: 2}, "derived": 3}, "2 __add_pages calls failed"),
        ({"begun": {Kind.ADD_PAGES: 2, Kind.FREE: 5}}, "2 __add_pages calls but no populate"),
        ({"sites": (SiteCount("arch/arm64/mm/mmu.c:1222", 1, 0, 1),)}, "1 WARN fired"),
    ],
)
def test_any_doubt_is_inconclusive(more, word):
    verdict, reasons = judge(evidence(**more))
    assert verdict is Verdict.INCONCLUSIVE
    assert any(word in reason for reason in reasons)


def test_what_does_not_touch_the_question_is_no_doubt():
    """Another subsystem's WARN; an operation that had begun before populate was observed."""
    elsewhere = (SiteCount("drivers/base/core.c:99", 7, 0, 0),)
    orphans = {Kind.MEMREMAP: 1, Kind.ADD_PAGES: 1}
    assert judge(evidence(sites=elsewhere, orphans=orphans))[0] is Verdict.CLEAN
    # a failure, where populate itself was observed
    assert judge(evidence(failed={Kind.ADD_PAGES: 1}))[0] is Verdict.CLEAN


def test_a_hit_is_proof_whatever_is_missing():
    verdict, reasons = judge(evidence(regimes=Regimes(inside=4, wrapped=1), losses=Losses(lost=9)))
    assert verdict is Verdict.OUT_OF_RANGE
    assert reasons[0] == "1 of 5 vmemmap calls lies outside the window."
    assert "lower bounds" in reasons[1]


def test_why_there_is_no_section_add_timing():
    assert "6.11" in section_add_reason(0, add_pages=True, probes={})
    assert "__add_pages timing" in section_add_reason(0, add_pages=True, probes={})
    assert "__add_pages timing" not in section_add_reason(0, add_pages=False, probes={})
    unprobed = section_add_reason(0, add_pages=True, probes={"vmemmap_free": "entry"})
    assert "no probe was on" in unprobed
    placed = section_add_reason(0, add_pages=True, probes={"sparse_add_section": "entry+return"})
    assert "no call" in placed
    refused = section_add_reason(0, add_pages=True, probes={"sparse_add_section": "notrace"})
    assert "notrace" in refused
    assert "none was seen to end" in section_add_reason(1, add_pages=True, probes={})
