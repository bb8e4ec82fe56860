# SPDX-License-Identifier: GPL-2.0-only
"""The document of real recordings, as mail and as Markdown."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis.what_if import Warn, WhatIf, judge_what_if
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.whole import fold
from recordings.reports.lkml import lkml
from recordings.reports.markdown import markdown
from recordings.reports.recording_document import document_of
from recordings.reports.what_if_report import what_if_dict
from tests.recordings import plain
from tests.recordings.pasted import CHAIN, TEXT, document, words
from tests.recordings.traces import ROWS, WINDOW
from tracers.layout import Layout, Region, layout_for
from tracers.machine import Machine
from tracers.window import Window


def test_the_storm_as_a_mail(traced: Path) -> None:
    text = lkml(document("storm", traced, closing=(CHAIN,)))
    said = words(text)
    for part in (
        "OUT OF RANGE: 256 of 256 calls outside the window; 256 WARNs cost 119.9 ms",
        "These 128 struct-page ranges lie above the window because the device region starts at 320",
        "WARN cost 91 % of the hot-add (52.13 ms of the 57.17 ms in __add_pages, as recorded)",
        "release 6.1.192-vmemlab",
        "0xfffffffe00000000 0xffffffff00000000 4 GiB vmemmap <- the window",
        "0xffffffff00000000 2^64 4 GiB unused <- 256 calls",
        "0x4040000 <= pfn < 0x8040000 above unused",
        "pfn of start = (start - vmemmap) / 64 = 0x5000000",
        "128 (128 derived, not observed)",
        "arch/arm64/mm/mmu.c:1222 128 52.13 ms",
        "What would change it (hypothetical)",
        "256 of 256 calls would still lie outside the window. 2 WARNs would fire in place of 256",
        "That saves at least 116.6 ms of WARN time",
        "16 GiB at physical 0x5000000000 would go to 0x3c10000000.",
        "What is not known - No event is known to be lost.",
    ):
        assert part in said
    assert words(CHAIN) in said
    assert text.isascii()


def test_regions_are_the_kernel_s_own(captures: Path, traced: Path) -> None:
    """Borders in the table that debugfs' kernel_page_tables of that kernel marks, too."""
    text = lkml(document("storm", traced))
    shown = (captures / "6.1.192-vmemlab-39bit" / "kernel_page_tables").read_text()
    for mark, region in (("vmemmap start", "vmemmap"), ("Fixmap start", "fixmap")):
        found = re.search(rf"---\[ {mark} \]---\n(0x\w+)-", shown, re.IGNORECASE)
        assert found, mark
        assert re.search(rf"^  {found[1]} .* {region}", text, re.MULTILINE), mark


@pytest.mark.parametrize("warn", list(Warn))
def test_a_what_if_is_marked_everywhere(traced: Path, warn: Warn) -> None:
    asked = WhatIf(warn=warn)
    blocks = document("storm", traced, asked)
    for text in (lkml(blocks), markdown(blocks)):
        assert words(text).count("ypothetical verdict") == 4  # the one asked, and three remedies
        assert "WHAT IF" in text
        assert "This did not happen; the rest of the report did." in words(text)
        assert text.splitlines()[0].endswith("OUT OF RANGE: 256 of 256 calls outside the window; "
                                             "256 WARNs cost 119.9 ms")  # fmt: skip
    with open_recording(traced / "storm.arrows") as recording:
        told = what_if_dict(judge_what_if(recording, asked, fold(recording)))
    assert told["hypothetical"] is True
    assert json.loads(json.dumps(told, allow_nan=False)) == told


FACTS = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
SOME = st.fixed_dictionaries({name: st.sampled_from([None, v]) for name, v in FACTS.items()})


@given(ROWS, TEXT, TEXT, SOME)
def test_any_recording_fits_a_mail(rows: list[dict], text: str, other: str, facts: dict) -> None:
    for row in rows:
        if row.get("comm"):
            row["comm"] = text.encode(errors="replace").decode()
    window = Window(*WINDOW, **facts)
    regions = layout_for(window).regions
    layout = Layout(tuple(Region(other, r.start, r.end, r.note) for r in regions), other)
    machine = Machine(release=text, build_id=other, window=window, layout=layout, problems=(text,))
    ledger = Ledger(window, layout)
    ledger.fold(plain.batch(rows))
    header = Header(machine=machine, notes=(f"{text} <- {other}", other))
    blocks = list(document_of(header, ledger.snapshot(final=True), closing=(text,)))
    assert max(map(len, lkml(blocks).splitlines())) <= 75
    assert markdown(blocks).endswith("\n")
