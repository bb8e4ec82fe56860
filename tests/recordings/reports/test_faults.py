# SPDX-License-Identifier: GPL-2.0-only
"""An Oops in every form of the report, and no text of its kernel raw in any."""

import io
import json

import pytest
from rich.console import Console

from recordings.analysis.what_if import remedies
from recordings.format.reader import open_recording
from recordings.ledger.whole import fold
from recordings.reports import faults
from recordings.reports.lkml import lkml
from recordings.reports.markdown import markdown
from recordings.reports.recording_document import document_of
from recordings.reports.recording_json import report_dict
from recordings.reports.recording_text import render
from tests.recordings import made, oops, plain
from tests.recordings.pasted import words

HOSTILE = "\x1b]0;x\x07[bold]<b>|`\u202e"


@pytest.fixture
def recorded(tmp_path):
    """A function that makes a recording of rows and returns all of its reports."""

    def reports(rows):
        path = tmp_path / "oops.arrows"
        made.record(path, [plain.batch(rows)], oops.HEADER)
        with open_recording(path) as recording:
            header, snapshot = recording.header, fold(recording)
            blocks = list(document_of(header, snapshot, remedies=remedies(recording, snapshot)))
        out = io.StringIO()
        render(Console(file=out, width=80, color_system=None), header, snapshot)
        return snapshot, {
            "text": out.getvalue(),
            "lkml": lkml(blocks),
            "markdown": markdown(blocks),
            "json": json.dumps(report_dict(header, snapshot)),
        }

    return reports


def test_says_where_and_why_and_who_called(recorded):
    _, told = recorded(oops.rows())
    for form in ("text", "lkml", "markdown"):
        said = words(told[form].replace("`", ""))
        for part in (
            "1 Oops at a struct page outside",
            "0x000001ffb2000000, wrapped, on user half",
            "pfn 0xfffd00000, physical 0xfffd00000000",
            "kworker/0:2-564 in memremap_pages",
            "demo_probe [demo]",
        ):
            assert part in said, (form, part)
    assert words(oops.CHAIN) in words(told["text"])
    lines = told["lkml"].splitlines()
    at = lines.index(f"  {oops.FAILED}")
    assert [line.strip() for line in lines[at : at + 7]] == oops.CHAIN.split(" <- ")
    # 48-bit: the linear map has 2^47 bytes, and so has what the window's struct pages are of
    assert "past 2^64, in the user half, because the region starts at 255.99 TiB" in words(
        told["lkml"]
    )
    assert "The kernel failed (Oops) at a struct page there, too: that of the page at 255.99" in (
        words(told["lkml"])
    )


def test_alone_it_has_the_reason_and_its_arithmetic(recorded):
    _, told = recorded(oops.rows(0))
    said = words(told["lkml"])
    assert said.startswith("OUT OF RANGE: 1 Oops at a struct page outside the window; no WARN seen")
    assert "the window has pages up to 128 TiB only: 127.99 TiB too high" in said
    assert "0x8000000000000000 8 EiB user half <- 1 Oops" in said
    assert "Example: the first struct page of an Oops that is wrapped" in said
    assert "pfn of start = (start - vmemmap) / 64 = 0xfffd00000" in said


def test_what_is_not_proven_is_said_so(recorded):
    _, told = recorded(oops.rows(0, None))
    for form in ("text", "lkml", "markdown"):
        assert "which struct page it was could not be proven" in words(told[form].replace("`", ""))


def test_as_json_it_is_added_to_what_was_there(recorded):
    snapshot, told = recorded(oops.rows())
    said = json.loads(told["json"])
    assert said["calls"] == {"populate": 8, "free": 0}
    assert said["faults"]["total"] == snapshot.faults_total == 1
    assert said["faults"]["regimes"] | {"wrapped": 0} == dict.fromkeys(said["regimes"], 0)
    (fault,) = said["faults"]["listed"]
    assert fault == {
        "row": 16, "ts_ns": 22_177_085_000, "source": "dmesg", "cpu": 0, "pid": None, "tid": 564,
        "comm": "kworker/0:2", "start": "0x000001ffb2000000", "end": "0x000001ffb2000040",
        "regime": "wrapped", "lands_on": "user half", "pfn": 0xFFFD00000,
        "phys": "0xfffd00000000", "chain": oops.CHAIN, "operation": "memremap_pages",
    }  # fmt: skip


def test_a_text_tells_the_newest_and_counts_the_others(recorded):
    rows = [oops.fault(at, oops.PAGE + 64 * at) for at in range(faults.SHOWN + 3)]
    snapshot, told = recorded(rows)
    assert [fault.row for fault in faults.shown(snapshot)] == [3, 4, 5, 6]
    assert "and 3 more Oopses" in words(told["text"])
    assert "And 3 Oopses before." in told["lkml"]
    assert "Oopses 7 wrapped" in words(told["text"])


def test_text_of_the_kernel_is_escaped(recorded):
    _, told = recorded([oops.fault(comm=HOSTILE, site=f"{HOSTILE} <- {HOSTILE}")])
    for form, text in told.items():
        assert "\x1b" not in text, form
        assert "\u202e" not in text, form
    assert "<b>" not in "".join(told["markdown"].split("```")[::2])  # outside of blocks of code
