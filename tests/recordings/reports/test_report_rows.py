# SPDX-License-Identifier: GPL-2.0-only
"""Text, markdown and mail say the same of a recording, in the same words."""

import io

import pytest
from rich.console import Console

from recordings.format.header import Header
from recordings.ledger.snapshot import Regimes, SiteCount
from recordings.reports.markdown import markdown
from recordings.reports.recording_document import document_of
from recordings.reports.recording_text import render
from recordings.reports.report_rows import regime_counts, site_row
from tests.recordings.reports.test_recording_text import capture

SCENES = [
    ("6.1.192-vmemlab-39bit", "hole"),
    ("6.1.192-vmemlab-39bit", "below"),
    ("6.12.117-vmemlab-48bit", "in-range"),
]


def rows_of(text: str) -> set[tuple[str, ...]]:
    """The lines as words, without what a table is drawn with."""
    plain = (line.replace("|", " ").replace("`", "").replace("\\", "") for line in text.split("\n"))
    return {tuple(line.split()) for line in plain}


@pytest.mark.parametrize(("kernel", "scene"), SCENES)
def test_every_row_of_a_table_is_in_all_of_them(captures, kernel, scene) -> None:
    machine, snapshot = capture(captures, kernel, scene)
    header = Header(machine=machine)
    out = io.StringIO()
    render(Console(file=out, width=200), header, snapshot)
    text = out.getvalue()
    document = markdown(document_of(header, snapshot))
    tables = text[text.index("finished calls") :].split("\n\n")[0].split("\n")[1:-1]
    assert len(tables) == len(snapshot.timings)
    assert rows_of("\n".join(tables)) <= rows_of(document)
    for site in snapshot.sites:
        expected = tuple(" ".join(site_row(site)).split())
        assert expected in rows_of(text)
        assert expected in rows_of(document)
    for said in (text, document):
        assert regime_counts(snapshot.regimes) in said
        assert f"{machine.window.va_bits}-bit VA" in said


def test_what_was_not_timed_is_said() -> None:
    assert site_row(SiteCount("a.c:1", 3, 1_500, 0)) == ("a.c:1", "3", "1.5 µs")
    assert site_row(SiteCount("a.c:1", 3, 1_500, 1)) == ("a.c:1", "3", "1.5 µs + 1 untimed")
    assert site_row(SiteCount("a.c:1", 3, 0, 3)) == ("a.c:1", "3", "3 untimed")
    assert regime_counts(Regimes(0, 0, 0, 0, 0, 0)) == "no call judged"
