# SPDX-License-Identifier: GPL-2.0-only
"""Every doubt has its advice; nothing is asked for that is there; the commands do what they say."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from recordings.capture.importing import import_log
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Doubt, Snapshot, Verdict
from recordings.ledger.verdict import doubts_of, judge
from recordings.ledger.whole import fold
from recordings.reports import advice as module
from recordings.reports.advice import GIVE, Advice, Origin, advice, gives_files, origin_of
from tests.docs.pages import DOCS
from tests.recordings.bug_reports import LAB
from tests.recordings.ledger.test_verdict import evidence
from tracers.batch import Losses
from tracers.events import Kind
from tracers.machine import Machine
from tracers.machine_files import CAPS, read_notes

LOG = Header(origin={"importer": "dmesg"})
TRACE = Header(origin={"importer": "ftrace"})
BOOT = Header(origin={"boot": "kernel parameters"})
EMPTY = Ledger.of(Header()).snapshot(final=True)


def doubting(*doubts: Doubt, verdict: Verdict = Verdict.INCONCLUSIVE) -> Snapshot:
    facts = ("the fact",) if verdict is Verdict.OUT_OF_RANGE else ()
    reasons = (*facts, *(f"because of {each.value}" for each in doubts))
    return replace(EMPTY, verdict=verdict, verdict_reasons=reasons, doubts=doubts)


def on(header: Header, *doubts: Doubt, **more) -> list[Advice]:
    return list(advice(header, doubting(*doubts, **more)))


@pytest.mark.parametrize("doubt", Doubt)
@pytest.mark.parametrize("header", [LOG, TRACE, Header()], ids=("log", "trace", "live"))
def test_every_doubt_has_something_to_do(doubt: Doubt, header: Header) -> None:
    (found,) = on(header, doubt)
    assert found.reason == f"because of {doubt.value}"
    assert found.steps
    for step in found.steps:
        assert step.command
        assert all(len(line) <= 74 and line.isascii() for line in step.command)
        assert step.gives is None or step.gives in CAPS


def test_what_is_there_is_not_asked_for() -> None:
    there = Machine(sources=("config", "uname"))
    (bare,), (less,) = (
        on(replace(LOG, machine=machine), Doubt.WINDOW) for machine in (Machine(), there)
    )
    asked, rest = ({step.gives for step in each.steps} for each in (bare, less))
    assert asked == {"kcore-vmcoreinfo", "config", "uname", "kernel_page_tables", None}
    assert rest == {"kcore-vmcoreinfo", "kernel_page_tables", None}
    # What contradicts is taken anew.
    (anew,) = on(replace(LOG, machine=there), Doubt.CONTRADICTION)
    assert "uname" in {step.gives for step in anew.steps}


def test_nothing_is_asked_for_twice() -> None:
    found = on(LOG, Doubt.WINDOW, Doubt.ARGUMENTS, Doubt.WARNED_INSIDE)
    steps = [step for each in found for step in each.steps]
    assert len(steps) == len(set(steps))
    assert found[-1].steps == ()
    assert gives_files(tuple(found))
    assert not gives_files(tuple(on(LOG, Doubt.LOSSES)))


def test_a_hit_s_fact_is_no_doubt() -> None:
    (found,) = on(LOG, Doubt.LOSSES, verdict=Verdict.OUT_OF_RANGE)
    assert found.reason == "because of losses"


def test_what_a_recording_is_of() -> None:
    assert [origin_of(each) for each in (LOG, TRACE, Header(), BOOT)] == list(Origin)


def test_a_boot_that_lost_events_is_done_again_with_more_room() -> None:
    (found,) = on(BOOT, Doubt.LOSSES)
    assert [step.command for step in found.steps] == [("sudo vmemscope boot --buffer 64M",)]


def test_codes_stand_in_the_order_of_their_reasons() -> None:
    everything = evidence(
        agree=False,
        window=False,
        losses=Losses(lost=3, without_end=1),
        undecided=2,
        begun=dict.fromkeys(Kind, 0) | {Kind.ADD_PAGES: 2},
        failed={Kind.ADD_PAGES: 1},
        orphans={Kind.FREE: 1},
        unfinished=4,
        given_up=5,
        beyond=6,
    )
    _, reasons = judge(everything)
    codes = doubts_of(everything)
    assert len(reasons) == len(codes) + 1  # what lies beyond the budget is a remark
    words = {
        Doubt.CONTRADICTION: "contradict",
        Doubt.UNFINISHED: "unfinished",
        Doubt.LOSSES: "missing",
        Doubt.WINDOW: "window is not known",
        Doubt.BITS_IN_USE: "address bits",
        Doubt.GIVEN_UP: "open at once",
        Doubt.NO_CALLS: "No populate or free call",
        Doubt.NO_POPULATE: "but no populate call",
        Doubt.FAILED: "failed",
        Doubt.NO_BEGINNING: "whose beginning",
        Doubt.NO_END: "no end",
    }
    assert list(codes) == list(words)
    for code, reason in zip(codes, reasons, strict=False):
        assert words[code] in reason


def test_the_note_s_command_takes_the_note_out_of_a_core(tmp_path: Path) -> None:
    """As the lab's machine did, of whose note tests/captures has the text."""
    note = (LAB / "kcore-vmcoreinfo").read_text()
    core = b"\x7fELF" + bytes(2000) + b"VMCOREINFO\0\0" + note.encode() + bytes(70_000)
    (tmp_path / "kcore").write_bytes(core)
    command = "\n".join(module._NOTE.command)
    command = command.replace("sudo ", "").replace("/proc/kcore", str(tmp_path / "kcore"))
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    made = (tmp_path / "kcore-vmcoreinfo").read_text()
    assert read_notes(made, []) == read_notes(note, [])


def test_the_page_on_captures_by_hand_has_the_same_commands() -> None:
    page = " ".join((DOCS / "capture-by-hand.md").read_text().split())
    note = " ".join(" ".join(module._NOTE.command).replace("\\ ", " ").split())
    for command in (note, *module._UNAME.command, *module._TABLES.command):
        assert command.replace("sudo ", "") in page
    assert "cp /boot/config-$(uname -r) config" in page


def test_what_is_asked_for_settles_it(tmp_path: Path) -> None:
    """The lab's storm without a machine, then with the files that its advice asks for."""
    log, out = LAB / "hole.dmesg.txt.xz", tmp_path / "bare.arrows"
    import_log(log, out)
    with open_recording(out) as recording:
        found = tuple(advice(recording.header, fold(recording)))
    assert found[0].doubt is Doubt.WINDOW
    folder = tmp_path / "machine"
    folder.mkdir()
    for step in (step for each in found for step in each.steps if step.gives):
        (folder / step.gives).write_bytes((LAB / step.gives).read_bytes())
    again = tmp_path / "again.arrows"
    import_log(log, again, machine_dir=folder)
    with open_recording(again) as recording:
        snapshot = fold(recording)
        assert tuple(advice(recording.header, snapshot)) == ()
    assert (snapshot.verdict, snapshot.hits) == (Verdict.OUT_OF_RANGE, 256)
    assert "--machine" in GIVE.command[0]
