# SPDX-License-Identifier: GPL-2.0-only
"""An audit as text and JSON, and the lines that a report has of one."""

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from recordings.audit.gathering import of_folder
from recordings.audit.kept import audited, kept
from recordings.format.header import AtEnd
from recordings.ledger.audited import Audited
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot
from recordings.reports.audit_json import audit_dict
from recordings.reports.audit_lines import audit_lines, before_facts
from recordings.reports.audit_text import render
from tests.recordings.ledger.test_audited import OUT
from tracers.machine import Machine

MAPPED = "6.1.192-vmemlab-39bit/mapped"


def snapshot(before: Audited, after: Audited) -> Snapshot:
    ledger = Ledger(None, None, before=before)
    ledger.end_with(AtEnd(after.to_dict()))
    return ledger.snapshot(final=True)


def text_of(folder: Path, width: int = 80) -> str:
    out = io.StringIO()
    render(Console(file=out, width=width), of_folder(folder))
    return out.getvalue()


def test_the_first_line_is_the_answer(captures: Path) -> None:
    text = text_of(captures / MAPPED)
    assert text.startswith("OUT OF RANGE  1 GiB (devpriv) has its struct pages outside the window")
    assert max(map(len, text.splitlines())) <= 80
    plain = re.sub(r"\s+", " ", text)
    assert "struct pages 0xffffffff3f000000 - 0xffffffff40000000 above, on unused" in plain
    assert (
        "kernel_page_tables (all of 16 MiB mapped); iomem; kernel log (8 populate, 0 free)" in plain
    )
    assert "the largest free piece is 253.25 GiB at 0x00000000c0000000" in plain
    assert "mem_section not read: a folder has no memory of the kernel" in plain


def test_names_of_the_kernel_are_no_markup(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    shutil.copytree(captures / MAPPED, folder)
    iomem = folder / "iomem"
    iomem.write_text(iomem.read_text().replace("devpriv", "[red]\x1b]0;x\x07\u202e"))
    text = text_of(folder)
    assert "[red]" in text
    assert not re.search("[\x1b\x07\u202e]", text)


def test_json(captures: Path) -> None:
    fields = audit_dict(of_folder(captures / MAPPED))
    json.dumps(fields, allow_nan=False)
    assert fields["verdict"] == "out-of-range"
    assert fields["outside_bytes"] == 1 << 30
    (region,) = fields["regions"]
    assert region["physical"] == {"start": "0x0000005000000000", "end": "0x0000005040000000"}
    assert region["struct_pages"] == {
        "start": "0xffffffff3f000000",
        "end": "0xffffffff40000000",
        "size": 16 << 20,
    }
    assert region["seen_by"] == {
        "page_tables": {"kernel_page_tables": 16 << 20},
        "sections": None,
        "iomem": True,
    }
    assert (fields["log"]["warnings"], fields["log"]["hits"]) == (8, 8)
    assert fields["sources"]["mem_section"]["missing"]
    assert fields["sources"]["kernel_page_tables"]["missing"] is None


def test_what_a_recording_keeps_is_what_was_found(captures: Path) -> None:
    told = kept(of_folder(captures / MAPPED))
    assert Audited.from_dict(told.to_dict()) == told
    (region,) = told.outside
    assert (region.name, region.size, region.page_start) == ("devpriv", 1 << 30, 0xFFFFFFFF3F000000)
    assert (told.bytes, told.warnings, told.hits, told.faults) == (1 << 30, 8, 8, 0)


def test_on_another_machine_a_capture_goes_on_without() -> None:
    assert audited(Machine()) == {}


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (Audited(), Audited(), []),
        (
            OUT,
            Audited("clean", warnings=512, hits=512),
            [
                (
                    "before",
                    (
                        "1 GiB (devpriv) had struct pages outside the window; since boot, by the"
                        " kernel log: 256 WARNs, 256 calls outside"
                    ),
                ),
                (
                    "at the end",
                    (
                        "nothing outside the window; since boot, by the kernel log: 512 WARNs, 512"
                        " calls outside"
                    ),
                ),
                (
                    "gone",
                    "1 GiB (devpriv), struct pages at 0xffffffff3f000000 - 0xffffffff40000000",
                ),
            ],
        ),
        (
            Audited("inconclusive"),
            Audited(),
            [("before", "nothing outside the window that is known")],
        ),
    ],
)
def test_lines_of_a_report(before: Audited, after: Audited, lines: list[tuple[str, str]]) -> None:
    assert list(audit_lines(snapshot(before=before, after=after))) == lines


def test_one_line_on_the_screen() -> None:
    assert before_facts(snapshot(before=OUT, after=Audited("clean"))) == [
        "1 GiB (devpriv) had struct pages outside",
        "256 WARNs since boot",
        "gone meanwhile: devpriv",
    ]
    assert before_facts(snapshot(before=Audited("clean"), after=Audited())) == []
