# SPDX-License-Identifier: GPL-2.0-only
"""A mail: never wider than 75 columns, ASCII, and nothing foreign at the start of a line."""

import re
from pathlib import Path

from hypothesis import given

from recordings.reports.document import Facts, Foreign, Heading, Items, Lines, Paragraph, Table
from recordings.reports.lkml import lkml
from recordings.samples import sample_names
from tests.recordings.pasted import TEXT, document


def test_no_unit_is_torn_off_its_number(samples: Path) -> None:
    for name in sample_names():
        assert not re.search(r"[0-9]\n *(ms|us|ns|%|[KMGTP]iB|B)\b", lkml(document(name, samples)))


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
