# SPDX-License-Identifier: GPL-2.0-only
"""Regions placed anew, compared with the kernel's search step by step; and beyond the budgets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis import placements, relocation
from recordings.analysis.placements import Placements, place_regions
from recordings.analysis.what_if import WhatIf, judge_what_if
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.snapshot import Verdict
from recordings.ledger.whole import fold
from recordings.reports.what_if_report import sentences, what_if_dict
from tests.recordings import made
from tests.recordings.traces import WINDOW
from tracers.batch import Batch
from tracers.events import Kind, Phase
from tracers.machine import Machine
from tracers.window import Window

FACTS = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
LAB = Window(*WINDOW, **FACTS, section_size_bits=27)
RAM = ((0x4000_0000, 0x7FFF_FFFF, "System RAM"),)
SECTION = 1 << 15  # pages
END = 0x40_3FFF_FFFF  # the last byte of a linear map of 39 bits


def recorded(path, pfns, pages=1, iomem=RAM):
    pfn = np.array(pfns, np.uint64)
    events = made.events(len(pfn), Kind.ADD_PAGES, Phase.POINT, pfn=pfn,
                         nr_pages=np.full(len(pfn), pages, np.uint64))  # fmt: skip
    step = 65_536
    batches = (Batch(events.slice(at, step)) for at in range(0, len(events), step))
    made.record(path, batches, Header(machine=Machine(window=LAB, iomem=iomem)))
    return path


def placed(path, last=END) -> Placements:
    with open_recording(path) as recording:
        return place_regions(recording, last)


def step_by_step(regions, last, iomem):
    """get_free_mem_region(): from the top down by sections, the first place that nothing takes."""
    stay = [(first << 12, (end << 12) - 1) for first, end in regions if end << 12 <= last + 1]
    busy = [(first, end) for first, end, _ in iomem] + stay
    found = []
    for first, end in regions:
        if end << 12 <= last + 1:
            continue
        size = -(-(end - first) // SECTION) * SECTION << 12
        at = last - size + 1
        while at > SECTION << 12 and any(a < at + size and at <= b for a, b in busy):
            at -= SECTION << 12
        if at > SECTION << 12:
            busy.append((at, at + ((end - first) << 12) - 1))
        found.append(at >> 12 if at > SECTION << 12 else None)
    return found


@given(
    st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 3)), min_size=1, max_size=4),
    st.integers(4, 30),
)
def test_places_are_those_of_the_kernel_s_search(tmp_path_factory, sections, busy, sections_below):
    """Also where a region ends exactly at the end: it stays, and its place is taken."""
    path = tmp_path_factory.mktemp("made") / "x.arrows"
    iomem = tuple((at << 27, (at + count << 27) - 1, "busy") for at, count in busy)
    regions = sorted((at * SECTION, (at + 1) * SECTION) for at in sections)
    recorded(path, [first for first, _ in regions], SECTION, iomem)
    last = (sections_below << 27) - 1
    found = placed(path, last)
    assert [relocation.to for relocation in found.listed] == step_by_step(regions, last, iomem)
    assert found.full == sum(relocation.to is None for relocation in found.listed)
    assert (found.unknown, found.beyond) == (0, None)


def test_regions_that_are_not_listed_are_counted(tmp_path):
    count = placements.LISTED + 500
    pfns = (END + 1 >> 12) + 64 * np.arange(count)
    path = recorded(tmp_path / "x.arrows", pfns)
    found = placed(path)
    assert (len(found.listed), found.total) == (placements.LISTED, count)
    assert found.unknown == count - placements.SEARCHED
    assert found.lost[:, 0].tolist() == pfns[placements.LISTED :].tolist()
    with open_recording(path) as recording:
        result = judge_what_if(recording, WhatIf(physmem_end=END), fold(recording))
    assert result.reasons[0].startswith("Where 3,572 regions are placed instead is not known")
    assert f"{count - 4:,} more regions would be placed elsewhere." in list(sentences(result))
    told = what_if_dict(result)
    assert (len(told["moves"]), told["moves_total"]) == (placements.LISTED, count)
    assert told["moves_unknown_from_pfn"] is None


@pytest.mark.parametrize("below", [True, False])
def test_beyond_the_budget_no_place_is_told(tmp_path, monkeypatch, below):
    """Regions that stay and are not kept would take room: then nothing has a known place."""
    monkeypatch.setattr(relocation.Regions.__init__, "__kwdefaults__", {"budget": 8})
    top = END + 1 >> 12
    stay = [0x10_0000 + 64 * n for n in range(20 if below else 5)]
    pfns = stay + [top + 64 * n for n in range(10)]
    path = tmp_path / "x.arrows"
    recorded(path, pfns)
    found = placed(path)
    assert found.beyond == pfns[8]
    assert [r.to is None for r in found.listed] == ([] if below else [False] * 3)
    with open_recording(path) as recording:
        result = judge_what_if(recording, WhatIf(physmem_end=END), fold(recording))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reasons[0] == (
        "Only the 524,288 lowest regions are kept: where those from physical"
        f" 0x{pfns[8] << 12:x} on are placed instead is not known."
    )
    assert what_if_dict(result)["moves_unknown_from_pfn"] == f"0x{pfns[8]:x}"
    assert not any(text.startswith("No region") for text in sentences(result))


def test_a_call_in_a_region_that_is_not_kept_is_not_known(tmp_path, monkeypatch):
    """It would be a hit where it lies, and nobody knows where it would be."""
    monkeypatch.setattr(relocation.Regions.__init__, "__kwdefaults__", {"budget": 8})
    start = np.uint64(WINDOW[1]) + np.arange(20, dtype=np.uint64) * np.uint64(128)
    events = made.events(20, Kind.POPULATE, Phase.POINT, start=start, end=start + np.uint64(64))
    path = tmp_path / "x.arrows"
    made.record(path, [Batch(events)], Header(machine=Machine(window=LAB, iomem=RAM)))
    with open_recording(path) as recording:
        result = judge_what_if(recording, WhatIf(physmem_end=END), fold(recording))
    assert (result.regimes.inside, result.regimes.unknown) == (8, 12)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "At least 4 more regions would be placed elsewhere." in list(sentences(result))
