# SPDX-License-Identifier: GPL-2.0-only
"""A triage in words: each log's own verdict, nothing cut, nothing that harms."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from recordings.ledger.snapshot import Verdict
from recordings.reports.lkml import lkml
from recordings.reports.markdown import markdown
from recordings.reports.triage_document import overall, triage_document
from recordings.reports.triage_json import triage_dict
from recordings.reports.triage_text import render_triage
from recordings.triage.reading import Options
from recordings.triage.triage import Triaged, triage
from recordings.triage.workplace import Workplace
from tests.recordings.bug_reports import BELOW, as_folder, as_tar, sosreport
from tests.recordings.pasted import words
from tests.tui.commands.test_main import KEYS


def text_of(told: Triaged) -> str:
    out = io.StringIO()
    render_triage(Console(file=out, width=80), told, name=False)
    return out.getvalue()


def of(path: Path) -> tuple[Triaged, dict[str, str]]:
    """What is told of a path, in every form."""
    with Workplace() as place:
        told = triage(path, place, Options())
        forms = {
            "text": text_of(told),
            "mail": lkml(triage_document([told])),
            "markdown": markdown(triage_document([told])),
        }
    return told, forms


def test_every_form_names_what_was_read_and_what_is_missing(tmp_path: Path) -> None:
    told, forms = of(as_folder(sosreport(note=False), tmp_path))
    assert told.verdict is Verdict.INCONCLUSIVE
    for form in forms.values():
        said = words(form.replace("\\", ""))
        assert "What was read" in said
        assert "sosreport-lab-1/sos_commands/kernel/dmesg: a kernel log" in said
        assert "the same 256 calls" in said
        assert "What would make it conclusive" in said
        assert "> kcore-vmcoreinfo" in said
        assert "uname -a > uname" not in said  # it is there


def test_a_command_can_be_copied(tmp_path: Path) -> None:
    _, forms = of(as_folder(sosreport(note=False), tmp_path))
    for form in forms.values():
        lines = [line.strip() for line in form.splitlines()]
        at = lines.index("sudo head -c 65536 /proc/kcore | tr '\\0' '\\n' \\")
        assert lines[at + 1] == "| grep -aE '^[A-Z-]+(\\(.*\\))?=' > kcore-vmcoreinfo"
    assert max(map(len, forms["text"].splitlines())) <= 80
    assert max(map(len, forms["mail"].splitlines())) <= 75
    assert forms["mail"].isascii()


def test_a_proof_asks_for_nothing(tmp_path: Path) -> None:
    _, forms = of(as_folder(sosreport(), tmp_path))
    for form in forms.values():
        assert "Nothing: no doubt is left about this verdict." in form
        assert "kcore | tr" not in form


def test_a_hit_with_losses_stands(tmp_path: Path) -> None:
    files = sosreport(BELOW + b"[    9.000000] ** 3 printk messages dropped **\n")
    told, forms = of(as_folder(files, tmp_path))
    assert told.verdict is Verdict.OUT_OF_RANGE
    for form in forms.values():
        said = words(form)
        assert "What would complete it (the verdict stands)" in said
        assert "log_buf_len=16M" in said


def test_hostile_names_are_harmless(tmp_path: Path) -> None:
    name = "\x1b]0;x\x07[bold]|`</code>@torvalds\u202e"
    path = tmp_path / "report.tar"
    path.write_bytes(as_tar({f"{name}/dmesg": BELOW, f"{name}/a/vmcore-dmesg.txt": b"BZh9"}))
    _, forms = of(path)
    for form in forms.values():
        assert "\x1b" not in form
        assert "\u202e" not in form
    assert "@torvalds" not in forms["markdown"]


def test_the_verdict_of_all_where_it_is_another(tmp_path: Path) -> None:
    told, _ = of(as_folder(sosreport(), tmp_path))
    assert overall(told) == ""
    clean = Path(__file__).parents[2] / "captures" / "6.12.117-vmemlab-48bit"
    names = ("in-range.ftrace.txt", "kcore-vmcoreinfo")
    files = {name: (clean / name).read_bytes() for name in names}
    told, forms = of(as_folder({**files, "vmcore-dmesg.txt": b"BZh9"}, tmp_path / "clean"))
    assert told.readings[0].verdict is Verdict.CLEAN
    start = "INCONCLUSIVE in all, as not all of it could be read; the log with most evidence:"
    assert overall(told) == start
    for form in forms.values():
        assert words(form).lstrip("# ").startswith(start)
        assert "What should have been read and was not: see above." in words(form)
        assert "no doubt is left" not in form


def test_the_advice_is_that_of_the_log_whose_verdict_counts(tmp_path: Path) -> None:
    """A trace that is clean, and a shorter one that is cut off in a call."""
    clean = Path(__file__).parents[2] / "captures" / "6.12.117-vmemlab-48bit"
    whole = (clean / "in-range.ftrace.txt").read_bytes()
    files = {"a.txt": whole, "b.txt": whole[:6000]}
    files["kcore-vmcoreinfo"] = (clean / "kcore-vmcoreinfo").read_bytes()
    told, forms = of(as_folder(files, tmp_path))
    assert [each.verdict for each in told.readings] == [Verdict.CLEAN, Verdict.INCONCLUSIVE]
    for form in forms.values():
        said = words(form)
        assert "INCONCLUSIVE in all, as another log is; the log with most evidence:" in said
        after = said.partition("What would make it conclusive")[2]
        assert "b.txt:" in after
        assert "have no end in this recording" in after


@pytest.mark.parametrize("note", [True, False])
def test_json_has_every_log_with_its_report(tmp_path: Path, note: bool) -> None:
    with Workplace() as place:
        told = triage(as_folder(sosreport(note=note), tmp_path), place, Options())
    fields = json.loads(json.dumps(triage_dict([told], told.verdict), allow_nan=False))
    verdict = "out-of-range" if note else "inconclusive"
    assert fields["verdict"] == verdict
    (file,) = fields["files"]
    assert [each["verdict"] for each in file["readings"]] == [verdict, verdict]
    for reading in file["readings"]:
        assert set(reading["report"]) >= KEYS
        assert reading["report"]["doubts"] == [each["doubt"] for each in reading["advice"]]
