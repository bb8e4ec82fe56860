# SPDX-License-Identifier: GPL-2.0-only
"""Requests for free regions: counted by error, the newest kept, the same for any cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.ledger import requests
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Verdict
from tests.recordings import oops, plain
from tracers.events import Kind

RES = -0x7FFF_8000_0000_1000 + 0x40


def asked(at, pages=256, name="devpriv", tid=7, kind="request_region", **more):
    return {
        "ts_ns": at, "kind": kind, "phase": "entry", "tid": tid, "comm": "insmod",
        "nr_pages": pages, "site": name, "source": "kprobe",
    } | more  # fmt: skip


def ended(at, ret, pfn=None, pages=None, **more):
    return {
        "ts_ns": at, "kind": "request_region", "phase": "exit", "tid": 7, "comm": "insmod",
        "ret": ret, "pfn": pfn, "nr_pages": pages, "source": "kprobe",
    } | more  # fmt: skip


def told(rows, cuts=()):
    ledger = Ledger.of(oops.HEADER)
    for first, end in zip((0, *cuts), (*cuts, len(rows)), strict=True):
        ledger.fold(plain.batch(rows[first:end]))
    return ledger.snapshot(final=True)


def test_a_region_and_a_refusal():
    rows = [
        asked(10),
        ended(20, RES, 0x1000, 32768),
        asked(30, 1 << 35, None, kind="devm_request_region"),
        ended(40, -34, kind="devm_request_region"),
    ]
    snapshot = told(rows)
    one, two = snapshot.requests
    assert (one.name, one.asked, one.pfn, one.nr_pages, one.error) == (
        "devpriv", 256, 0x1000, 32768, None,
    )  # fmt: skip
    assert (two.kind, two.asked, two.pfn, two.error) == (
        Kind.DEVM_REQUEST_REGION, 1 << 35, None, 34,
    )  # fmt: skip
    assert (one.row, two.row, two.comm, two.tid) == (0, 2, "insmod", 7)
    assert (snapshot.requests_total, snapshot.refused, snapshot.refusals) == (2, ((34, 1),), 1)
    assert snapshot.timings[Kind.REQUEST_REGION].total_ns == 10


def test_it_is_no_call_and_no_verdict():
    snapshot = told([asked(1), ended(2, -34)])
    assert (snapshot.populate, snapshot.free, snapshot.hits) == (0, 0, 0)
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert "No populate or free call" in snapshot.verdict_reasons[0]


@pytest.mark.parametrize("ret", [RES, 0, -4096, 4095, -(2**63), None])
def test_what_is_no_error_is_no_refusal(ret):
    snapshot = told([asked(1), ended(2, ret)])
    assert snapshot.refused == ()
    (one,) = snapshot.requests
    assert (one.error, one.known) == (None, ret is not None)


def test_a_refusal_whose_beginning_was_not_seen_counts():
    snapshot = told([ended(2, -16)])
    assert (snapshot.refused, snapshot.requests, snapshot.requests_total) == (((16, 1),), (), 0)


def test_the_newest_are_kept_and_all_are_counted():
    rows = []
    for number in range(requests.LISTED + 20):
        rows += [asked(2 * number, number + 1), ended(2 * number + 1, -34 if number % 2 else -12)]
    snapshot = told(rows)
    assert len(snapshot.requests) == requests.LISTED
    assert snapshot.requests[-1].asked == requests.LISTED + 20
    assert snapshot.refused == ((12, 60), (34, 60))


_ROWS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from([7, 8]),
        st.sampled_from(["request_region", "devm_request_region"]),
        st.sampled_from([RES, -34, -16]),
    ),
    min_size=1,
    max_size=30,
)


@given(_ROWS, st.data())
def test_any_cut_gives_the_same(drawn, data):
    rows = [
        asked(at, at + 1, tid=tid, kind=kind)
        if begins
        else ended(at, ret, 16, 32768, tid=tid, kind=kind)
        for at, (begins, tid, kind, ret) in enumerate(drawn)
    ]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)), max_size=4)) - {len(rows)})
    assert told(rows, tuple(cuts)) == told(rows)
    assert told(rows).refusals == sum(
        not begins and ret < -1 and ret > -4096 for begins, _, _, ret in drawn
    )
