# SPDX-License-Identifier: GPL-2.0-only
"""Test data for the Markdown and mail reports: their blocks, and text that attacks them."""

from pathlib import Path

from hypothesis import strategies as st

from recordings.analysis.what_if import WhatIf, judge_what_if, remedies
from recordings.format.reader import open_recording
from recordings.ledger.whole import fold
from recordings.reports.document import Block
from recordings.reports.recording_document import document_of

CHAIN = "128 splats: vmemmap_populate <- __populate_section_memmap <- sparse_add_section"
HOSTILE = [
    "a|b | c",
    "a`b``c",
    "C:\\path\\",
    "\x1b]0;x\x07[bold]\u202e" + "x" * 300,
    "a|b`c`` <b>@torvalds</b> [x](http://x) ![y](z) #1 **",
    "\\|`\\` | </code> <script>\\",
    "From me Mon Sep 17",
    "--- a/mm/mmu.c",
    "日本語" * 90,
    "www.example.org http://example.org you@example.org",
    "```",
    "",
    " ",
]
TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=120))


def document(
    name: str, samples: Path, asked: WhatIf | None = None, closing: tuple[str, ...] = ()
) -> list[Block]:
    with open_recording(samples / f"{name}.arrows") as recording:
        own = fold(recording)
        what_if = judge_what_if(recording, asked, own) if asked else None
        found = remedies(recording, own)
        return list(
            document_of(recording.header, own, closing=closing, what_if=what_if, remedies=found)
        )


def words(text):
    return " ".join(text.split())
