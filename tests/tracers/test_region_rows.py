# SPDX-License-Identifier: GPL-2.0-only
"""Requests for regions: bytes in registers and memory become pages, errors stay errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordings import plain
from tracers.region_rows import in_pages

RES = -0x7FFF_8000_0000_1000 + 0x40  # a struct resource of the linear map


def row(phase="entry", kind="request_region", **more):
    return {"ts_ns": 1, "kind": kind, "phase": phase, "source": "kprobe"} | more


def told(*rows, page_size=4096):
    events = in_pages(plain.batch(list(rows)).events, page_size)
    keys = ("start", "end", "pfn", "nr_pages", "ret", "site")
    return [tuple(each[key] for key in keys) for each in events.to_pylist()]


def test_a_request_and_its_region():
    asked = row(nr_pages=(1 << 30) + 1, site="devpriv")
    found = row("exit", ret=RES, start=0xFFFF_C000_0000, end=0xFFFF_FFFF_FFFF, site="devpriv")
    assert told(asked, found) == [
        (None, None, None, (1 << 18) + 1, None, "devpriv"),
        (None, None, 0xFFFF_C000_0, 1 << 18, RES, "devpriv"),
    ]
    assert [each[3] for each in told(asked, found, page_size=65536)] == [(1 << 14) + 1, 1 << 14]


@pytest.mark.parametrize("ret", [-34, -12, -1, -4095, 0, None])
def test_of_an_error_nothing_else_is_read(ret):
    stale = row("exit", ret=ret, start=1 << 40, end=(1 << 41) - 1, site="(fault)")
    assert told(stale) == [(None, None, None, None, ret, None)]


def test_without_a_page_size_sizes_are_not_known():
    rows = (row(nr_pages=4096), row("exit", ret=RES, start=0, end=4095))
    assert told(*rows, page_size=None) == [
        (None, None, None, None, ret, None) for ret in (None, RES)
    ]


def test_others_are_left_alone():
    free = row(kind="free", start=2**64 - 4096, end=2**64 - 1)
    add = row(kind="add_pages", pfn=7, nr_pages=3)
    assert told(free, add)[0][:2] == (2**64 - 4096, 2**64 - 1)
    batch = plain.batch([free, add]).events
    assert in_pages(batch, 4096) is batch
    mixed = told(free, row(nr_pages=8192), add)
    assert mixed[0] == told(free)[0]
    assert mixed[2] == told(add)[0]
    assert mixed[1][3] == 2


_U64 = st.none() | st.integers(0, 2**64 - 1)
_ROWS = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(["entry", "exit", "point"]),
        "kind": st.sampled_from(["request_region", "devm_request_region"]),
        "start": _U64,
        "end": _U64,
        "nr_pages": _U64,
        "ret": st.none() | st.integers(-(2**63), 2**63 - 1),
    }
)


@given(_ROWS, st.sampled_from([4096, 16384, 65536]))
def test_any_numbers(raw, page):
    start, end, pages, ret = (raw[key] for key in ("start", "end", "nr_pages", "ret"))
    ((low, high, pfn, count, kept, _),) = told(row(**raw), page_size=page)
    assert (low, high, kept) == (None, None, ret)
    if raw["phase"] != "exit":
        assert count == (None if pages is None else -(-pages // page))
        assert pfn is None
    elif None in (start, end, ret) or end < start or ret == 0 or -4095 <= ret < 0:
        assert (pfn, count) == (None, None)
    else:
        assert (pfn, count) == (start // page, (end - start) // page + 1)
