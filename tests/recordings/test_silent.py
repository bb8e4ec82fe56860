# SPDX-License-Identifier: GPL-2.0-only
"""Silent hits end to end: two captures of one kernel on two CPUs, in everything we print."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recordings.analysis.compare import compare, load_side
from recordings.analysis.what_if import Warn, WhatIf, judge_what_if
from recordings.capture.importing import import_log
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.ledger.whole import fold
from recordings.reports.compare_json import comparison_dict
from recordings.reports.lkml import lkml
from recordings.reports.markdown import markdown
from recordings.reports.recording_document import document_of
from recordings.reports.recording_json import report_dict
from recordings.reports.what_if_report import what_if_dict
from recordings.samples import sample_path
from tests.recordings import plain
from tests.recordings.made import foreign
from tests.recordings.pasted import words
from tracers.layout import layout_for
from tracers.machine import read_machine
from tracers.window import Window

LVA, PLAIN = "7.3.4-vmemlab-64k-52bit", "7.3.4-vmemlab-64k-52bit-on-48bit"
SILENT = sample_path("silent-7.3")


@pytest.fixture(scope="module")
def recorded(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The scene "below" on both CPUs, imported."""
    folder, made = tmp_path_factory.mktemp("silent"), {}
    for kernel in (LVA, PLAIN):
        made[kernel] = folder / f"{kernel}.arrows"
        machine = captures / kernel
        import_log(machine / "below.ftrace.txt", made[kernel], machine_dir=machine)
    return made


def told(path: Path) -> tuple[Snapshot, Window]:
    with open_recording(path) as recording:
        window = recording.header.machine.window
        assert window is not None
        return fold(recording), window


def test_two_hits_on_both_and_the_kernel_says_nothing_of_one(recorded: dict[str, Path]) -> None:
    for kernel, silent in ((LVA, 0), (PLAIN, 2)):
        snapshot, _ = told(recorded[kernel])
        assert snapshot.verdict is Verdict.OUT_OF_RANGE
        assert (snapshot.hits, snapshot.regimes.below) == (2, 2)
        assert (snapshot.silent, snapshot.would_warn) == (silent, 2 - silent)
        assert snapshot.warnings == snapshot.would_warn
        assert [call.silent for call in snapshot.newest] == [bool(silent)] * 2
        assert [op.silent for op in snapshot.operations] == [silent // 2] * 2
        (extent,) = snapshot.extents
        assert (extent.silent, extent.lands_on) == (bool(silent), "guard hole")


def test_the_sample_is_that_capture() -> None:
    snapshot, window = told(SILENT)
    assert (snapshot.hits, snapshot.silent, snapshot.warnings) == (2, 2, 0)
    assert window.used[0] == 0xFFFF_FFDF_C000_0000
    assert snapshot.extents[0].start == 0xFFFF_FFDF_BFF0_0000


def test_where_the_kernel_puts_it_is_clean_on_both(captures: Path, tmp_path: Path) -> None:
    for kernel in (LVA, PLAIN):
        machine = captures / kernel
        path = tmp_path / f"{kernel}.arrows"
        import_log(machine / "placed.ftrace.txt", path, machine_dir=machine)
        snapshot, _ = told(path)
        assert (snapshot.verdict, snapshot.silent) == (Verdict.CLEAN, 0)


def test_the_json_counts_them_everywhere() -> None:
    with open_recording(SILENT) as recording:
        said = report_dict(recording.header, fold(recording))
    assert (said["silent"], said["hits"], said["would_warn"]) == (2, 2, 0)
    assert [each["silent"] for each in said["extents"]] == [True]
    assert [each["silent"] for each in said["operations"]] == [1, 1]
    assert said["window"]["used"]["start"] == "0xffffffdfc0000000"
    assert (
        "2 of 2 vmemmap calls lie outside the window, all of them silent"
        in (said["verdict_reasons"][0])
    )


@pytest.mark.parametrize("form", [lkml, markdown])
def test_the_reason_in_two_sentences_with_the_arithmetic(form) -> None:
    with open_recording(SILENT) as recording:
        text = words(form(list(document_of(recording.header, fold(recording)))).replace("\\", ""))
    # by hand: (2^52 - 2^48) / 65536 * 64 = 0x3c000000000
    assert (
        "The kernel says nothing about it. The WARN compares with VMEMMAP_START 0xfffffc1fc0000000,"
        " made for 52 bits. With 48 in use vmemmap begins ((2^52 - 2^48) >> 16) * 64 ="
        " 0x3c000000000 higher, at 0xffffffdfc0000000."
    ) in text
    assert "below, silent" in text
    assert "pages at physical addresses below 0x40000000" in text
    assert "0xffffffdfbff00000" in text


def test_compare_says_that_the_windows_in_use_differ(recorded: dict[str, Path]) -> None:
    with open_recording(recorded[LVA]) as a, open_recording(recorded[PLAIN]) as b:
        found = compare(load_side("a", a), load_side("b", b))
    assert any("in use differ (A 52 bits, B 48 bits)" in each for each in found.differences)
    said = comparison_dict(found)
    assert (said["a"]["silent"], said["b"]["silent"]) == (0, 2)


@pytest.mark.parametrize(("have", "want"), [(LVA, PLAIN), (PLAIN, LVA)])
def test_another_cpu_is_what_the_other_recording_says(
    recorded: dict[str, Path], have: str, want: str
) -> None:
    snapshot, other = told(recorded[want])
    with open_recording(recorded[have]) as recording:
        own = recording.header.machine.window
        assert own is not None
        window = own.with_bits(other.vabits_actual or 0)
        asked = WhatIf(window=window, layout=layout_for(window))
        found = judge_what_if(recording, asked, fold(recording))
    assert found.verdict is Verdict.OUT_OF_RANGE
    assert (found.silent, found.regimes) == (snapshot.silent, snapshot.regimes)
    assert [(e.start, e.end, e.silent) for e in found.extents] == [
        (e.start, e.end, e.silent) for e in snapshot.extents
    ]


def test_an_error_in_place_of_the_warn_would_stop_none() -> None:
    with open_recording(SILENT) as recording:
        found = judge_what_if(recording, WhatIf(warn=Warn.ERROR), fold(recording))
    assert found.verdict is Verdict.OUT_OF_RANGE
    assert found.reasons[0].startswith("The kernel's check lets 2 calls out of the window pass")
    said = what_if_dict(found)
    assert (said["silent"], said["refused"]["silent_made"]) == (2, 2)


# -- bits not known ---------------------------------------------------------------------------


def judged_without_bits(captures: Path, scene: str) -> Snapshot:
    machine = read_machine(captures / PLAIN)
    assert machine.window is not None
    window = replace(machine.window, vabits_actual=None)
    ledger = Ledger(window, layout_for(window))
    ledger.fold(plain.batch(plain.read_trace(captures / PLAIN / f"{scene}.ftrace.txt")))
    return ledger.snapshot(final=True)


def test_calls_in_the_ambiguous_part_make_it_inconclusive(captures: Path) -> None:
    snapshot = judged_without_bits(captures, "below")
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert (snapshot.regimes.unknown, snapshot.hits, snapshot.silent) == (2, 0, 0)
    (reason,) = snapshot.verdict_reasons
    assert reason.startswith("2 calls would be inside only with as many address bits in use")
    for way_out in ("TCR_EL1_T1SZ", "vmemscope window --live", "--vabits-actual"):
        assert way_out in reason


def test_calls_inside_whatever_the_bits_are_clean(captures: Path) -> None:
    snapshot = judged_without_bits(captures, "placed")
    assert (snapshot.verdict, snapshot.regimes.inside) == (Verdict.CLEAN, 8)


# -- older recordings -------------------------------------------------------------------------


def test_a_recording_of_format_1_1_is_judged_anew(captures: Path, tmp_path: Path) -> None:
    """Its header knows the bits in use, and not what they mean."""
    with pa.ipc.open_stream(SILENT) as stream:
        header = json.loads(stream.schema.metadata[b"vmemscope"])
        batches, metas = [], []
        try:
            while True:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                batches.append(batch)
                metas.append(metadata[b"vmemscope"])
        except StopIteration:
            pass
    header["format"] = "1.1"
    del header["machine"]["window"]["used"]
    text = json.dumps(header).replace("guard hole", "unused")
    path = tmp_path / "older.arrows"
    foreign(path, batches, text.encode(), metas)
    snapshot, _ = told(path)
    assert (snapshot.verdict, snapshot.silent) == (Verdict.OUT_OF_RANGE, 2)
    assert snapshot.extents[0].lands_on == "guard hole"


# -- any cut into batches ---------------------------------------------------------------------


def test_a_mixed_storm_keeps_silent_hits_apart(captures: Path) -> None:
    """Sections from below START to inside: warned, silent and inside, in any order."""
    machine = read_machine(captures / PLAIN)
    window = machine.window
    assert window is not None
    step = 0x20000
    places = [window.start - step, window.start, window.used[0] - step, window.used[0]]
    rows = [
        {"ts_ns": n, "kind": kind, "phase": "entry", "tid": 7, "source": "kprobe",
         "start": places[n % 4], "end": places[n % 4] + step}
        for n, kind in enumerate(["populate", "free"] * 50)
    ]  # fmt: skip
    expected = None
    for size in (1, 7, 100):
        ledger = Ledger(window, machine.layout)
        for at in range(0, len(rows), size):
            ledger.fold(plain.batch(rows[at : at + size]))
        snapshot = ledger.snapshot()
        assert (snapshot.hits, snapshot.silent, snapshot.would_warn) == (75, 50, 25)
        found = [(e.start, e.end, e.silent, e.lands_on) for e in snapshot.extents]
        assert found == [
            (window.start - step, window.start, False, "vmalloc"),
            (window.start, window.start + step, True, "vmalloc"),
            (window.used[0] - step, window.used[0], True, "guard hole"),
        ]
        assert expected in (None, snapshot)
        expected = snapshot
    kinds = np.array([call.silent for call in snapshot.newest])
    assert kinds.sum() == 50
