# SPDX-License-Identifier: GPL-2.0-only
"""Markdown as a parser of GitHub's dialect reads it: foreign text stays text."""

from pathlib import Path

from hypothesis import given
from markdown_it import MarkdownIt

from recordings.reports.document import Foreign, Items, Lines, Paragraph, Table
from recordings.reports.markdown import markdown
from recordings.wording.escape import printable
from tests.recordings.pasted import CHAIN, TEXT, document

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
    if len(expected) > 300:
        expected = expected[:297] + "..."
    # a code span drops one blank at both ends, if there is one at both
    told = [" ".join(cell.split()) for cell in shown]
    foreign = " ".join(expected.split())
    assert told == ["a", "b", "c", *[foreign, "ours", foreign] * 2, foreign]


def test_markdown_escapes_our_own_words_as_well() -> None:
    source = markdown([Paragraph("__add_pages() || a < b && *p, #1"), Table(("x|y",), (("a|b",),))])
    tokens = list(parsed(source))
    kinds = [token.type for token in tokens]
    assert not {"em_open", "strong_open", "html_inline"} & set(kinds)
    inline = [token for token in tokens if token.type == "inline"]
    assert "".join(p.content for p in inline[0].children) == "__add_pages() || a < b && *p, #1"
    assert kinds.count("td_open") == 1


def test_the_storm_as_markdown_is_tables(traced: Path) -> None:
    source = markdown(document("storm", traced, closing=(CHAIN,)))
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
