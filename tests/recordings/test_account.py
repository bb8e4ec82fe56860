"""The report that is pasted: what the mail and the Markdown say, and that neither can be broken."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from recordings.account import account
from recordings.document import Facts, Foreign, Heading, Items, Lines, Paragraph, Table
from recordings.escape import printable
from recordings.header import Header
from recordings.ledger import Ledger, fold
from recordings.lkml import lkml
from recordings.markdown import markdown
from recordings.reader import open_recording
from recordings.samples import sample_names
from recordings.whatif import Warn, WhatIf, remedies, suppose
from recordings.whatif_report import supposed_dict
from tests.recordings import plain
from tests.recordings.traces import ROWS, WINDOW
from tracers.layout import Layout, Region, layout_for
from tracers.machine import Machine
from tracers.window import Window

CHAIN = "128 splats: vmemmap_populate <- __populate_section_memmap <- sparse_add_section"
HOSTILE = [
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


def document(name, samples, asked=None, closing=()):
    with open_recording(samples / f"{name}.arrows") as recording:
        own = fold(recording)
        supposed = suppose(recording, asked, own) if asked else None
        found = remedies(recording, own)
        return list(
            account(recording.header, own, closing=closing, supposed=supposed, remedies=found)
        )


def words(text):
    return " ".join(text.split())


def test_the_storm_as_a_mail(samples: Path) -> None:
    text = lkml(document("storm", samples, closing=(CHAIN,)))
    said = words(text)
    for part in (
        "OUT OF RANGE: 256 of 256 calls outside the window; 256 WARNs cost 119.9 ms",
        "These 128 struct-page ranges lie above the window because the device region starts at 320",
        "WARN cost 91 % of the hot-add (52.13 ms of the 57.17 ms in __add_pages)",
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


def test_regions_are_the_kernel_s_own(captures: Path, samples: Path) -> None:
    """Borders in the table that debugfs' kernel_page_tables of that kernel marks, too."""
    text = lkml(document("storm", samples))
    shown = (captures / "6.1.192-vmemlab-39bit" / "kernel_page_tables").read_text()
    for mark, region in (("vmemmap start", "vmemmap"), ("Fixmap start", "fixmap")):
        found = re.search(rf"---\[ {mark} \]---\n(0x\w+)-", shown, re.IGNORECASE)
        assert found, mark
        assert re.search(rf"^  {found[1]} .* {region}", text, re.MULTILINE), mark


def test_no_unit_is_torn_off_its_number(samples: Path) -> None:
    for name in sample_names():
        assert not re.search(r"[0-9]\n *(ms|us|ns|%|[KMGTP]iB|B)\b", lkml(document(name, samples)))


@pytest.mark.parametrize("warn", list(Warn))
def test_a_what_if_is_marked_everywhere(samples: Path, warn: Warn) -> None:
    asked = WhatIf(warn=warn)
    blocks = document("storm", samples, asked)
    for text in (lkml(blocks), markdown(blocks)):
        assert words(text).count("ypothetical verdict") == 4  # the one asked, and three remedies
        assert "WHAT IF" in text
        assert "This did not happen; the rest of the report did." in words(text)
        assert text.splitlines()[0].endswith("OUT OF RANGE: 256 of 256 calls outside the window; "
                                             "256 WARNs cost 119.9 ms")  # fmt: skip
    with open_recording(samples / "storm.arrows") as recording:
        told = supposed_dict(suppose(recording, asked, fold(recording)))
    assert told["hypothetical"] is True
    assert json.loads(json.dumps(told, allow_nan=False)) == told


# -- widths and hostile text --------------------------------------------------------------------


def hostile_blocks(text):
    """Every kind of block with the text in it wherever foreign text can be."""
    dirty = Foreign(text)
    return [
        Heading("HEAD " * 30, 1),
        Paragraph("Ours. " * 30),
        Facts((("label", dirty), ("a label that is longer than twenty", dirty))),
        Table(("one", "two", "three"), ((dirty, "0xffffffff00000000", dirty),), frozenset({1}), 0),
        Table(("a", "b", "c", "d", "e", "f"), ((dirty,) * 6, (dirty,) * 6)),
        Lines((text, text)),
        Items((dirty, "ours")),
    ]  # fmt: skip


@given(TEXT)
def test_a_mail_is_never_wider_than_75_columns(text: str) -> None:
    mail = lkml(hostile_blocks(text))
    assert mail.isascii()
    lines = mail.splitlines()
    assert max(map(len, lines)) <= 75
    assert all(line.isprintable() and line == line.rstrip() for line in lines)
    # what is not ours begins no line
    ours = ("HEAD", "Ours.")
    assert all(line.startswith(("  ", *ours)) for line in lines if line)


def test_what_is_cut_has_a_mark() -> None:
    cell = Foreign("long" * 40)
    mail = lkml(
        [Table(("a", "b"), ((cell, "0xffffffff00000000"),), wide=0), Items((Foreign(cell * 3),))]
    )
    assert re.search(r"^  (long)+\w*\.\.\.  0xffffffff00000000$", mail, re.MULTILINE)
    assert mail.rstrip().endswith("...")


@given(ROWS, TEXT, TEXT)
def test_any_recording_fits_a_mail(rows: list[dict], text: str, other: str) -> None:
    for row in rows:
        if row.get("comm"):
            row["comm"] = text.encode(errors="replace").decode()
    window = Window(*WINDOW, va_bits=39, page_size=4096, struct_page=64, memstart=0x4000_0000)
    regions = layout_for(window).regions
    layout = Layout(tuple(Region(other, r.start, r.end, r.note) for r in regions), other)
    machine = Machine(release=text, build_id=other, window=window, layout=layout, problems=(text,))
    ledger = Ledger(window, layout)
    ledger.fold(plain.batch(rows))
    header = Header(machine=machine, notes=(f"{text} <- {other}", other))
    blocks = list(account(header, ledger.snapshot(final=True), closing=(text,)))
    assert max(map(len, lkml(blocks).splitlines())) <= 75
    assert markdown(blocks).endswith("\n")


PARSER = MarkdownIt("gfm-like")


def parsed(text):
    """All tokens of a Markdown text, those inside of lines, too."""
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


@given(TEXT)
def test_markdown_shows_foreign_text_and_nothing_else(text: str) -> None:
    rows = ((Foreign(text), "ours", Foreign(text)),) * 2
    source = markdown([Table(("a", "b", "c"), rows), Items((Foreign(text),)), Lines((text,))])
    tokens = list(parsed(source))
    kinds = [token.type for token in tokens]
    assert kinds.count("td_open") == 6
    assert kinds.count("tr_open") == 3
    assert kinds.count("list_item_open") == kinds.count("fence") == 1
    assert not {"link_open", "image", "em_open", "strong_open", "s_open", "html_block"} & set(kinds)
    html = {token.content for token in tokens if token.type == "html_inline"}
    assert html <= {"<code>", "</code>"}
    (fence,) = (token for token in tokens if token.type == "fence")
    assert fence.content == printable(text) + "\n"
    cells = [token for token in tokens if token.type == "inline"]
    shown = [
        "".join(part.content for part in cell.children if part.type != "html_inline")
        for cell in cells
    ]
    expected = printable(text) if printable(text).strip() else "(empty)"
    if len(expected) <= 300:
        # a code span drops one blank at both ends, if there is one at both
        assert {" ".join(cell.split()) for cell in shown} >= {" ".join(expected.split())}


def test_markdown_escapes_our_own_words_as_well() -> None:
    source = markdown([Paragraph("__add_pages() || a < b && *p, #1"), Table(("x|y",), (("a|b",),))])
    tokens = list(parsed(source))
    kinds = [token.type for token in tokens]
    assert not {"em_open", "strong_open", "html_inline"} & set(kinds)
    inline = [token for token in tokens if token.type == "inline"]
    assert "".join(p.content for p in inline[0].children) == "__add_pages() || a < b && *p, #1"
    assert kinds.count("td_open") == 1


def test_the_storm_as_markdown_is_tables(samples: Path) -> None:
    source = markdown(document("storm", samples, closing=(CHAIN,)))
    tokens = list(parsed(source))
    assert [t.type for t in tokens].count("table_open") == 8
    cells = [
        "".join(part.content for part in token.children)
        for token in tokens
        if token.type == "inline"
    ]
    assert "arch/arm64/mm/mmu.c:1222" in cells
    assert "52.13 ms" in cells
    assert CHAIN in cells
