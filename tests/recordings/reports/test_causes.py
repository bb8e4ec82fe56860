# SPDX-License-Identifier: GPL-2.0-only
"""The sentences on cause and cost, with figures from the capture's own text."""

import re

import pytest

from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.whole import fold
from recordings.reports.causes import causes, cost
from tests.recordings import plain
from tracers.layout import layout_for
from tracers.window import window_from_facts


def told(path):
    with open_recording(path) as recording:
        snapshot = fold(recording)
        return list(causes(recording.header.machine.window, snapshot)), cost(snapshot)


def test_the_storm_is_explained_by_where_its_region_starts(captures, traced):
    (why,), what = told(traced / "storm.arrows")
    text = (captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt").read_text()
    pfn, pages = re.search(r"add_pages: .* pfn=(0x\w+) nr_pages=(\d+)", text).groups()
    gib = int(pfn, 16) * 4096 >> 30
    sections = int(pages) * 4096 >> 27
    assert why.startswith(
        f"These {sections} struct-page ranges lie above the window because the device region starts"
        f" at {gib} GiB (pfn {pfn})"
    )
    assert (gib, sections) == (320, 128)
    assert "pages up to 257 GiB only: 63 GiB too high" in why  # memstart 1 GiB, 256 GiB of window
    assert what.startswith(
        "WARN cost 91 % of the hot-add (52.13 ms of the 57.17 ms in __add_pages, as recorded)"
    )


def test_below_and_clean(samples):
    (why,), _ = told(samples / "below-6.1.arrows")
    assert why.startswith("This struct-page range lies below the window because the device region")
    assert "starts at 0 B (pfn 0x0), and the window has pages from 1 GiB on only" in why
    assert told(samples / "in-range-6.12.arrows") == ([], None)


def judged(rows, **facts):
    sizes = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
    window = window_from_facts(sizes | {"section_size_bits": 27} | facts, release="6.1")
    ledger = Ledger(window, layout_for(window))
    ledger.fold(plain.batch(rows))
    return list(causes(window, ledger.snapshot(final=True)))


def free(start, end):
    return {"ts_ns": 1, "kind": "free", "phase": "entry", "source": "kprobe", "tid": 1,
            "start": start, "end": end}  # fmt: skip


def test_the_wrapped_and_what_no_page_has():
    # the lab's default placement on 39 bits: pfn 0xffffc0000
    (why,) = judged([free(0x3FD_FE00_0000, 0x3FD_FE20_0000)])
    assert why.startswith("This struct-page range lies past 2^64, in the user half,")
    assert "region starts at 256 TiB (pfn 0xffffc0000)" in why
    (why,) = judged([free(0xFFFF_FF80_0000_0000, 0xFFFF_FF80_0020_0000)])
    assert "no page frame number has such a struct page" in why


@pytest.mark.parametrize("fact", ["memstart"])
def test_without_memstart_the_cause_is_not_made_up(fact):
    (why,) = judged([free(0xFFFF_FFFF_3F00_0000, 0xFFFF_FFFF_3F20_0000)], **{fact: None})
    assert why.endswith(f"why cannot be told: the window's {fact} is not known.")
