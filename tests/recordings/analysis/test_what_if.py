# SPDX-License-Identifier: GPL-2.0-only
"""What-if verdicts, compared with kernels on which the condition was real."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.analysis.refused_calls import RefusedCounter
from recordings.analysis.what_if import Warn, WhatIf, judge_what_if, remedies, warning_once
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.snapshot import Verdict
from recordings.ledger.whole import fold
from recordings.reports.what_if_report import headline, what_if_dict
from tests.recordings import made, oops, plain
from tests.recordings.traces import ROWS, WINDOW
from tracers import placement
from tracers.formulas import WindowError
from tracers.layout import layout_for
from tracers.machine import Machine, read_machine
from tracers.window import Window, window_from_facts

STORM, ONCE, NEW = (
    "6.1.192-vmemlab-39bit",
    "6.1.192-vmemlab-once-39bit",
    "6.12.117-vmemlab-48bit",
)


def what_if_result(path, asked):
    with open_recording(path) as recording:
        return judge_what_if(recording, asked, fold(recording))


def trace(captures, kernel, scene="hole"):
    return plain.read_trace(captures / kernel / f"{scene}.ftrace.txt")


def lasted(rows, kind):
    """Durations of one kind: in these captures each exit ends the entry before it."""
    told, began = [], None
    for row in rows:
        if row["kind"] == kind and row["phase"] == "entry":
            began = row["ts_ns"]
        elif row["kind"] == kind:
            told.append(row["ts_ns"] - began)
    return told


def recorded(tmp_path, captures, kernel, scene, *, drop=0, **machine):
    """A capture as a recording, with what its machine is known by changed."""
    rows = trace(captures, kernel, scene)
    if all(row["kind"] != "populate" for row in rows):
        rows = plain.derived(rows, plain.read_note(captures / kernel / "kcore-vmcoreinfo"))
    path = tmp_path / "made.arrows"
    header = Header(machine=replace(read_machine(captures / kernel), **machine))
    made.record(path, [plain.batch(rows[: len(rows) - drop])], header)
    return path


# -- patches ------------------------------------------------------------------------------------


def test_warn_on_once_would_do_to_the_storm_what_it_did_on_the_patched_kernel(captures, traced):
    found = what_if_result(traced / "storm.arrows", WhatIf(warn=Warn.ONCE))
    patched = trace(captures, ONCE)
    assert found.fired.would == len(lasted(patched, "warn")) == 2
    assert found.verdict is Verdict.OUT_OF_RANGE  # the pages lie where they lay
    assert found.regimes.above == 256
    storm = trace(captures, STORM)
    warned = lasted(storm, "warn")
    assert found.fired.saved_ns == sum(warned) - 2 * max(warned)
    with open_recording(traced / "storm.arrows") as recording:
        assert warning_once(fold(recording)) == found.fired  # from the numbers alone
    # a lower bound of what the patch really saved, and not an empty one
    for saving, kind in zip(found.fired.savings, ("add_pages", "remove_pages"), strict=True):
        really = sum(lasted(storm, kind)) - sum(lasted(patched, kind))
        assert 0.8 * really < saving.saved_ns <= really


def test_warn_on_would_fire_as_often_as_on_the_unpatched_kernel(captures, traced):
    found = what_if_result(traced / "storm-once.arrows", WhatIf(warn=Warn.ALWAYS))
    assert found.fired.would == len(lasted(trace(captures, STORM), "warn")) == 256
    two = lasted(trace(captures, ONCE), "warn")
    assert found.fired.saved_ns is None
    assert found.fired.more_ns == 254 * sum(two) // 2


def test_warns_of_other_places_are_no_saving(tmp_path, captures):
    folder = captures / STORM
    note = plain.read_note(folder / "kcore-vmcoreinfo")
    rows = plain.derived(trace(captures, STORM), note)
    other = next(row for row in rows if row["kind"] == "warn")
    other |= {"site": "kernel/module.c", "line": 1}
    path = tmp_path / "made.arrows"
    made.record(path, [plain.batch(rows)], Header(machine=read_machine(folder)))
    found = what_if_result(path, WhatIf(warn=Warn.ERROR))
    assert found.fired.recorded == 255
    first, *window = lasted(rows, "warn")
    assert found.fired.saved_ns == sum(window)
    assert first
    assert found.fired.savings == ()  # the shares hold that one, too


def test_a_hard_error_refuses_the_hot_add_at_its_first_section(captures, traced):
    found = what_if_result(traced / "storm.arrows", WhatIf(warn=Warn.ERROR))
    assert found.verdict is Verdict.CLEAN
    assert (found.refused.adds_refused, found.refused.at_first) == (1, 1)
    assert found.refused.not_made == 255
    assert found.fired.would == 0
    assert found.fired.saved_ns == sum(lasted(trace(captures, STORM), "warn"))


@pytest.mark.parametrize("sample", ["in-range-6.1", "in-range-6.12", "below-6.12"])
@pytest.mark.parametrize("warn", list(Warn))
def test_a_patch_of_the_warning_changes_nothing_where_nothing_is_out(samples, sample, warn):
    found = what_if_result(samples / f"{sample}.arrows", WhatIf(warn=warn))
    assert found.verdict is Verdict.CLEAN
    assert found.fired.would == 0
    assert found.refused is None or found.refused.not_made == 0


# -- layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", ["in-range", "below"])
@pytest.mark.parametrize(("kernel", "other"), [(STORM, NEW), (NEW, STORM)])
def test_under_the_other_kernel_s_window_it_is_what_that_kernel_recorded(
    tmp_path, captures, kernel, other, scene
):
    """Both kernels ran the same scenes: the same physical pages."""
    machine = read_machine(captures / other)
    path = recorded(tmp_path, captures, kernel, scene)
    found = what_if_result(path, WhatIf(machine.window, machine.layout))
    rows = [row for row in trace(captures, other, scene) if row["kind"] == "free"]
    frees = [row for row in rows if row["phase"] == "entry"]
    window = (machine.window.start, machine.window.end)
    out = [row for row in frees if not window[0] <= row["start"] < row["end"] <= window[1]]
    assert found.regimes.hits == 2 * len(out)  # each was populated, too
    assert found.verdict is (Verdict.OUT_OF_RANGE if out else Verdict.CLEAN)
    for extent in found.extents:
        assert extent.start == min(row["start"] for row in out)
        assert extent.end == max(row["end"] for row in out)
    assert (found.populate, found.free) == (len(frees), len(frees))


def test_48_bits_would_have_covered_the_storm(samples):
    facts = {"va_bits": 48, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
    window = window_from_facts(facts, release="6.1")
    found = what_if_result(samples / "storm.arrows", WhatIf(window, layout_for(window), "48 bits"))
    assert found.verdict is Verdict.CLEAN
    assert (found.regimes.inside, found.would_warn, found.extents) == (256, 0, ())
    assert found.fired.would == 0
    assert found.fired.recorded == 256


def test_a_smaller_window_would_have_missed_what_was_in_range(samples):
    """36 bits of 16K pages hold 32 GiB of linear map; 128 GiB of physical address lie beyond."""
    facts = {"va_bits": 36, "page_size": 16384, "struct_page": 64, "memstart": 0x4000_0000}
    window = window_from_facts(facts, release="6.1")
    found = what_if_result(samples / "in-range-6.1.arrows", WhatIf(window, layout_for(window)))
    assert found.verdict is Verdict.OUT_OF_RANGE
    assert found.regimes.hits == 32
    (extent,) = found.extents
    pages = 0x20_0000_0000 // 16384
    assert extent.start == (window.start + (pages - 0x4000_0000 // 16384) * 64) % 2**64
    assert found.fired is None  # the layout does not say how often a kernel warns


def test_without_memstart_there_is_no_answer(samples):
    window = window_from_facts({"va_bits": 48, "page_size": 4096, "struct_page": 64}, release="6.1")
    with pytest.raises(WindowError, match="memstart"):
        what_if_result(samples / "storm.arrows", WhatIf(window))


# -- placement ----------------------------------------------------------------------------------


def test_under_the_cap_the_storm_s_region_lies_in_the_window(samples):
    found = what_if_result(samples / "storm.arrows", WhatIf(physmem_end=0x40_3FFF_FFFF))
    (move,) = found.relocations
    assert (move.pfn, move.nr_pages) == (0x500_0000, 4194304)  # add_pages of the capture
    assert move.to == 0x3C1_0000  # below PCI ECAM at 0x4010000000, where iomem has it
    assert found.verdict is Verdict.CLEAN
    assert found.regimes.inside == 256


def test_a_cap_above_the_region_moves_nothing(samples):
    last = (0x500_0000 + 4194304) * 4096 - 1
    assert what_if_result(samples / "storm.arrows", WhatIf(physmem_end=last)).relocations == ()
    (move,) = what_if_result(samples / "storm.arrows", WhatIf(physmem_end=last - 1)).relocations
    assert move.to is not None


def test_a_region_without_a_place_is_no_clean_verdict(samples):
    found = what_if_result(samples / "storm.arrows", WhatIf(physmem_end=(8 << 30) - 1))
    assert found.relocations[0].full
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reasons[0].startswith("1 region has no place below that end")


def test_without_iomem_nobody_knows_the_place(tmp_path, captures):
    path = recorded(tmp_path, captures, STORM, "hole", iomem=())
    found = what_if_result(path, WhatIf(physmem_end=0x40_3FFF_FFFF))
    assert (found.relocations[0].to, found.relocations[0].full) == (None, False)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "iomem" in found.reasons[0]
    assert found.regimes.unknown == 256


def test_placement_needs_the_recording_s_sizes(tmp_path, captures):
    path = recorded(tmp_path, captures, STORM, "hole", window=None, layout=None)
    with pytest.raises(WindowError, match="page size"):
        what_if_result(path, WhatIf(physmem_end=1 << 38))


# -- doubts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked", [WhatIf(warn=Warn.ERROR), WhatIf(physmem_end=0x40_3FFF_FFFF)], ids=["error", "cap"]
)
def test_what_is_missing_keeps_the_answer_open(tmp_path, captures, asked):
    torn = recorded(tmp_path, captures, STORM, "hole")
    torn.write_bytes(torn.read_bytes()[:-100])
    found = what_if_result(torn, asked)
    assert found.verdict is Verdict.INCONCLUSIVE
    torn.unlink()
    doubted = recorded(tmp_path, captures, STORM, "hole", agree=False)
    assert what_if_result(doubted, asked).verdict is Verdict.INCONCLUSIVE
    doubted.unlink()
    cut = recorded(tmp_path, captures, STORM, "hole", drop=3)
    assert what_if_result(cut, asked).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("how", ["hits-only", "dmesg"])
def test_calls_that_nobody_kept_leave_another_window_open(tmp_path, captures, how):
    """They lay inside the recorded window: nothing says that they would in another."""
    rows = trace(captures, STORM)
    frees = [row for row in rows if row["kind"] == "free" and row["phase"] == "entry"]
    frees = [row | {"phase": "point"} | ({"source": how} if how == "dmesg" else {})
             for row in frees]  # fmt: skip
    machine = read_machine(captures / STORM)
    origin = {} if how == "dmesg" else {how: "yes"}
    path = tmp_path / "made.arrows"
    made.record(path, [plain.batch(frees)], Header(machine=machine, origin=origin))
    facts = {"va_bits": 48, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
    found = what_if_result(path, WhatIf(window_from_facts(facts, release="6.1")))
    assert found.regimes.inside == 128
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "are not in it" in found.reasons[0]
    # what is out stays proof, and a cap at the window's own end moves none of the others
    assert what_if_result(path, WhatIf(machine.window)).verdict is Verdict.OUT_OF_RANGE
    assert what_if_result(path, WhatIf(physmem_end=0x40_3FFF_FFFF)).verdict is Verdict.CLEAN


@pytest.mark.parametrize(
    ("made_of", "asked"),
    [
        ((64, 0, 3000, 1), 1024),  # more regions to place than any machine has
        ((64, 3000, 5, 1), 5),  # many that stay, without room for a section between them: one
        (((1 << 15) + 1, 1500, 5, 1), 0),  # with room: too many to search
        ((64, 0, 5, 3000), 0),  # an /proc/iomem as no machine has
    ],
)
def test_placing_regions_is_bounded_whatever_a_file_holds(tmp_path, monkeypatch, made_of, asked):
    step, below, above, entries = made_of
    end = 0x40_3FFF_FFFF
    iomem = tuple((at << 28, (at << 28) + 4095, "busy") for at in range(entries))
    window = Window(*WINDOW, **FACTS, section_size_bits=27)
    firsts = [0x10_0000 + step * n for n in range(below)]
    firsts += [(end >> 12) + 1 + 64 * n for n in range(above)]
    rows = [{"ts_ns": 1, "kind": "add_pages", "phase": "point", "pfn": pfn, "nr_pages": 1,
             "source": "kprobe"} for pfn in firsts]  # fmt: skip
    path = tmp_path / "many.arrows"
    made.record(path, [plain.batch(rows)], Header(machine=Machine(window=window, iomem=iomem)))
    searched = []

    def place(size, align, last, busy):
        searched.append(len(busy))
        return placement.place(size, align, last, busy)

    monkeypatch.setattr("recordings.analysis.placements.place", place)
    found = what_if_result(path, WhatIf(physmem_end=end))
    assert len(searched) == asked
    assert max(searched, default=0) <= 2048
    told = " ".join(found.reasons)
    assert "no /proc/iomem" not in told
    left = sum(each.to is None and not each.full for each in found.relocations)
    assert left == above - asked
    assert ("more than 1,024" in told) == bool(left)


def test_remedies_are_told_for_hits_alone(samples):
    with open_recording(samples / "storm.arrows") as recording:
        found = dict(remedies(recording, fold(recording)))
    verdicts = [each.verdict for each in found.values()]
    assert verdicts == [Verdict.OUT_OF_RANGE, Verdict.CLEAN, Verdict.CLEAN]
    assert any("0x403fffffff" in name for name in found)
    with open_recording(samples / "in-range-6.12.arrows") as recording:
        assert remedies(recording, fold(recording)) == []


FACTS = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
ASKED = st.builds(
    WhatIf,
    window=st.sampled_from([None, *(window_from_facts(FACTS | {"va_bits": bits}, release="6.12")
                                    for bits in (39, 48))]),
    physmem_end=st.sampled_from([None, 0, 1 << 36, 0x40_3FFF_FFFF, 2**64 - 1]),
    warn=st.sampled_from([None, *Warn]),
)  # fmt: skip


@given(ROWS, ASKED, st.booleans())
def test_any_trace_has_an_answer_that_adds_up(tmp_path_factory, rows, asked, placed):
    path = tmp_path_factory.mktemp("made") / "x.arrows"
    iomem = ((0x4000_0000, 0xBFFF_FFFF, "System RAM"),) if placed else ()
    window = Window(*WINDOW, **FACTS, section_size_bits=27)
    made.record(path, [plain.batch(rows)], Header(machine=Machine(window=window, iomem=iomem)))
    with open_recording(path) as recording:
        own = fold(recording)
        found = judge_what_if(recording, asked, own)
    regimes = found.regimes
    assert regimes.hits + regimes.inside + regimes.unknown == own.populate + own.free
    assert (found.populate, found.free) == (own.populate, own.free)
    refused = found.refused.populate_refused if found.refused else 0
    if found.verdict is Verdict.CLEAN:
        assert not regimes.unknown
        assert not regimes.hits or refused or found.refused.free_not_made
    if found.verdict is Verdict.OUT_OF_RANGE:
        assert regimes.hits or found.fault_regimes.hits
        # an error in place of the WARN refuses what the check sees: silent hits happen as before
        assert found.refused is None or found.refused.silent_made
    assert found.reasons
    # nothing supposed of layout or place: the calls are judged as they were
    assert found.fault_regimes.total == own.faults_total
    if found.fault_regimes.total:
        assert found.verdict is not Verdict.CLEAN
    if asked.window is None and asked.physmem_end is None:
        assert (regimes, found.fault_regimes) == (own.regimes, own.fault_regimes)
    if found.fired is not None and found.fired.saved_ns is not None:
        assert found.fired.saved_ns <= own.warn_ns


def test_with_calls_that_are_unsure_an_error_is_no_clean_verdict(samples, monkeypatch):
    """The storm's region, its 128 sections out: without room for a thread none is followed."""
    monkeypatch.setattr(RefusedCounter.__init__, "__kwdefaults__", {"budget": 0, "open_budget": 9})
    assert what_if_result(samples / "storm.arrows", WhatIf(warn=Warn.ERROR)).verdict is (
        Verdict.CLEAN  # its frees are hits themselves
    )
    real = RefusedCounter.refused
    monkeypatch.setattr(RefusedCounter, "refused", lambda self: replace(real(self), unsure=7))
    found = what_if_result(samples / "storm.arrows", WhatIf(warn=Warn.ERROR))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reasons[0] == (
        "Whether 7 calls would happen is not known, beyond the 524,288 ranges and 16,384 threads"
        " that are kept: what is refused is a lower bound."
    )
    assert what_if_dict(found)["refused"]["unsure"] == 7


# -- an Oops ------------------------------------------------------------------------------------


def oopsed(tmp_path, rows):
    path = tmp_path / "oops.arrows"
    made.record(path, [plain.batch(rows)], oops.HEADER)
    return path


def test_an_oops_lies_where_its_page_has_its_struct_page_in_the_other_window(tmp_path):
    """A 52-bit kernel with all bits in use has a window for 2^51 bytes from memstart_addr on."""
    path = oopsed(tmp_path, oops.rows(0))
    wide = window_from_facts(
        {"va_bits": 52, "page_size": 4096, "struct_page": 64, "memstart": 0x8000_0000,
         "vabits_actual": 52}, release="6.12",
    )  # fmt: skip
    found = what_if_result(path, WhatIf(window=wide))
    assert wide.regime(*(wide.pfn_to_page(oops.PFN + n) for n in (0, 1))) == "inside"
    assert (found.fault_regimes.inside, found.fault_regimes.hits) == (1, 0)
    assert found.verdict is Verdict.INCONCLUSIVE
    low = replace(wide, start=oops.WINDOW.start, end=oops.WINDOW.end, va_bits=48, vabits_actual=48,
                  memstart=0x4000_0000)  # fmt: skip
    lower = what_if_result(path, WhatIf(window=low))
    assert lower.verdict is Verdict.OUT_OF_RANGE
    assert what_if_dict(lower)["fault_regimes"]["wrapped"] == 1
    assert headline(lower).endswith(
        "the struct page of the Oops would still lie outside the window"
    )


def test_whether_it_would_have_failed_under_a_patch_is_not_known(tmp_path):
    path = oopsed(tmp_path, oops.rows())
    once = what_if_result(path, WhatIf(warn=Warn.ONCE))
    assert once.verdict is Verdict.OUT_OF_RANGE
    assert "and so would the struct page of the Oops" in headline(once)
    error = what_if_result(path, WhatIf(warn=Warn.ERROR))
    assert error.verdict is Verdict.INCONCLUSIVE
    assert error.reasons[0] == "Whether the kernel would still have failed (Oops) is not known."
    lower = what_if_result(path, WhatIf(physmem_end=(1 << 47) - 1))
    assert lower.verdict is Verdict.INCONCLUSIVE  # without /proc/iomem no place is known
    assert lower.fault_regimes.unknown == 1
