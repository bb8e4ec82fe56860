# SPDX-License-Identifier: GPL-2.0-only
"""What a recording keeps of an audit: kept and read back, whatever a file holds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.format.header import AtEnd
from recordings.ledger.audited import Audited, Outside
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Verdict
from tests.recordings.plain import batch
from tests.recordings.windows import window

LAB = window(memstart=0x4000_0000)
DEVICE = Outside("devpriv", 0x5000000000, 1 << 30, 0xFFFFFFFF3F000000, 16 << 20, "above", "unused")
OUT = Audited("out-of-range", (DEVICE,), 1 << 30, 1, warnings=256, hits=256, faults=0)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["verdict", "outside", "log", "bytes", "name", "start", "size", "warnings"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def test_kept_and_read_back() -> None:
    assert Audited.from_dict(OUT.to_dict()) == OUT
    nothing = Audited("clean")
    assert Audited.from_dict(nothing.to_dict()) == nothing
    assert Audited().to_dict() == {}
    assert not Audited.from_dict({})


@given(st.dictionaries(st.sampled_from(["verdict", "outside", "log", "bytes", "regions"]), JSON))
def test_whatever_a_file_holds(stored: dict) -> None:
    told = Audited.from_dict(stored | {"verdict": stored.get("verdict", "clean")})
    _ = told.told, told.amount, told.since_boot, told.gone(told)
    assert Audited.from_dict(told.to_dict()) == told


def test_in_words() -> None:
    assert OUT.told == "1 GiB (devpriv) had struct pages"
    assert OUT.since_boot == "256 WARNs, 256 calls outside"
    hostile = replace(OUT, outside=(replace(DEVICE, name="\x1b[31m[bold]"),))
    assert "\x1b" not in hostile.told
    stray = replace(OUT, outside=(replace(DEVICE, stray=True, size=0),), bytes=0)
    assert stray.told == "16 MiB of memory that nobody owns was mapped"


def test_what_is_gone() -> None:
    other = replace(DEVICE, name="other", start=0x6000000000, page_start=0xFFFFFFFF7F000000)
    both = replace(OUT, outside=(DEVICE, other))
    assert both.gone(replace(OUT, outside=(other,))) == (DEVICE,)
    assert both.gone(Audited("clean")) == (DEVICE, other)
    assert both.gone(Audited()) == ()  # nobody looked


@pytest.mark.parametrize(
    ("before", "after", "verdict", "says"),
    [
        (Audited("clean"), Audited("clean"), Verdict.CLEAN, "The one vmemmap call lies inside"),
        (OUT, Audited("clean"), Verdict.OUT_OF_RANGE, "before this recording began."),
        (Audited("clean"), OUT, Verdict.OUT_OF_RANGE, "outside the window when it ended."),
        # the log's calls of before are history, and no state
        (Audited("out-of-range", warnings=8, hits=8), Audited(), Verdict.CLEAN, "The one"),
    ],
)
def test_the_verdict_knows(before: Audited, after: Audited, verdict: Verdict, says: str) -> None:
    ledger = Ledger(LAB, None, before=before)
    call = {"kind": "populate", "source": "kprobe", "tid": 7}
    start, end = LAB.start, LAB.start + (2 << 20)
    ledger.fold(
        batch(
            [
                call | {"ts_ns": 1, "phase": "entry", "start": start, "end": end},
                call | {"ts_ns": 2, "phase": "exit", "ret": 0},
            ]
        )
    )
    ledger.end_with(AtEnd(after.to_dict()))
    snapshot = ledger.snapshot(final=True)
    assert snapshot.verdict is verdict
    assert says in snapshot.verdict_reasons[0]
    assert (snapshot.before, snapshot.after) == (before, after)
