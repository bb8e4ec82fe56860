# SPDX-License-Identifier: GPL-2.0-only
"""Oopses in the ledger: counted by regime, the newest kept, and what they prove."""

from dataclasses import replace

import pyarrow as pa
import pytest

from recordings.ledger.faults import CHAIN, LISTED, operation
from recordings.ledger.headline import verdict_summary
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Regimes, Verdict
from tests.recordings import oops, plain
from tracers.batch import Losses
from tracers.events import KIND_NAMES, Kind, Source
from tracers.window import Window

INSIDE = oops.WINDOW.start + 64 * 1000


def told(rows, header=oops.HEADER, **losses):
    ledger = Ledger.of(header)
    for row in rows:  # each a batch of its own
        ledger.fold(plain.batch([row], **losses))
    return ledger.snapshot(final=True)


def test_has_all_that_the_log_says():
    snapshot = told(oops.rows())
    (fault,) = snapshot.faults
    assert (fault.start, fault.end, fault.pfn) == (oops.PAGE, oops.PAGE + 64, oops.PFN)
    assert (fault.phys, fault.regime, fault.lands_on) == (oops.PFN << 12, "wrapped", "user half")
    assert (fault.row, fault.ts_ns, fault.source) == (16, 22_177_085_000, Source.DMESG)
    assert (fault.comm, fault.tid, fault.pid, fault.cpu) == ("kworker/0:2", 564, None, 0)
    assert (fault.chain, fault.operation) == (oops.CHAIN, Kind.MEMREMAP)
    assert fault.outside


def test_is_no_call_no_hit_and_no_warning():
    snapshot, without = told(oops.rows()), told(oops.rows()[:-1])
    assert (snapshot.populate, snapshot.free, snapshot.hits, snapshot.warnings) == (8, 0, 8, 8)
    same = replace(
        snapshot,
        events=without.events,
        last_ns=without.last_ns,
        series=without.series,
        newest=snapshot.newest[:-1],
        verdict_reasons=without.verdict_reasons,
        fault_regimes=Regimes(),
        faults=(),
    )
    assert same == without


def test_the_newest_are_kept_and_all_are_counted():
    pages = [oops.PAGE + 64 * number for number in range(LISTED + 30)] + [INSIDE, None]
    rows = [oops.fault(at, page) for at, page in enumerate(pages)]
    whole = Ledger.of(oops.HEADER)
    whole.fold(plain.batch(rows))
    snapshot = told(rows)
    assert whole.snapshot(final=True) == snapshot
    assert snapshot.fault_regimes == Regimes(inside=1, wrapped=LISTED + 30, unknown=1)
    assert snapshot.faults_total == LISTED + 32
    assert [fault.start for fault in snapshot.faults] == pages[-LISTED:]


def test_what_is_not_a_point_is_no_oops():
    snapshot = told([oops.fault(phase="entry"), oops.fault(phase="exit")])
    assert (snapshot.faults_total, snapshot.faults, snapshot.unfinished_total) == (0, (), 0)


def test_a_chain_of_any_length_is_bounded():
    chain = " <- ".join(["ä" * 100] * 1000)
    (fault,) = told([oops.fault(site=chain)]).faults
    assert fault.chain.endswith("…")
    assert chain.startswith(fault.chain[:-1])
    assert CHAIN - 4 < len(fault.chain[:-1].encode()) <= CHAIN


@pytest.mark.parametrize(
    ("chain", "kind"),
    [
        (oops.CHAIN, Kind.MEMREMAP),
        ("a+0x1 <- section_deactivate.isra.0 <- __remove_pages", Kind.SECTION_REMOVE),
        ("vmemmap_populate+0x40 <- __add_pages <- memremap_pages+0x18c", Kind.POPULATE),
        ("memremap_pages_of_mine [demo] <- kthread", None),
        ("", None),
        (None, None),
    ],
)
def test_the_innermost_watched_function_is_what_it_failed_in(chain, kind):
    assert operation(chain) is kind


def test_out_of_the_window_it_is_proof_without_any_call():
    snapshot = told(oops.rows(0))
    assert (snapshot.verdict, snapshot.verdict.exit_code) == (Verdict.OUT_OF_RANGE, 1)
    first, *others = snapshot.verdict_reasons
    assert first == "The kernel failed (Oops) at a struct page outside the window."
    assert others == ["No populate or free call is in this recording."]
    assert verdict_summary(snapshot) == "1 Oops at a struct page outside the window; no WARN seen"


def test_beside_hits_it_is_one_sentence():
    snapshot = told(oops.rows())
    (reason,) = snapshot.verdict_reasons
    assert reason == (
        "8 of 8 vmemmap calls lie outside the window, and the kernel failed (Oops) at a struct page"
        " outside the window."
    )
    assert verdict_summary(snapshot) == (
        "8 of 8 calls outside the window; 1 Oops at a struct page outside; 8 WARNs, cost unknown"
    )


def inside(**more):
    """A populate call inside the window."""
    start = oops.WINDOW.start + oops.SECTION
    return oops.rows(1)[1] | {"start": start, "end": start + oops.SECTION} | more


@pytest.mark.parametrize("calls", [[], [inside()]])
@pytest.mark.parametrize(
    ("page", "said"),
    [(None, "At which struct page the kernel failed (Oops) is not known."),
     (INSIDE, "The struct page of 1 Oops lies inside the window:")],
)  # fmt: skip
def test_what_proves_nothing_is_never_clean(calls, page, said):
    assert told([inside()]).verdict is Verdict.CLEAN
    snapshot = told([*calls, oops.fault(page=page)])
    assert (snapshot.verdict, snapshot.verdict.exit_code) == (Verdict.INCONCLUSIVE, 3)
    assert snapshot.verdict_reasons[0].startswith(said)


def test_one_that_proves_nothing_beside_hits_is_said():
    snapshot = told([*oops.rows(), oops.fault(page=None)])
    assert snapshot.verdict is Verdict.OUT_OF_RANGE
    assert snapshot.verdict_reasons[1].startswith("At which struct page")
    assert "1 Oops not known to be outside" in verdict_summary(snapshot)


def test_without_a_window_it_cannot_be_judged():
    header = replace(oops.HEADER, machine=replace(oops.MACHINE, window=None, layout=None))
    alone, both = told(oops.rows(0), header), told(oops.rows(), header)
    assert (alone.verdict, both.verdict) == (Verdict.INCONCLUSIVE,) * 2
    assert alone.verdict_reasons[0] == "The window is not known, so no Oops can be judged."
    assert both.verdict_reasons[0] == (
        "The window is not known, so no call and no Oops can be judged."
    )
    (fault,) = alone.faults
    assert (fault.pfn, fault.phys, fault.regime) == (oops.PFN, None, "unknown")


def test_where_the_bits_in_use_decide_that_is_said():
    start, end = 0xFFFF_C1FF_C000_0000, 0xFFFF_FFFF_C000_0000  # Debian 6.12, 52-bit
    window = Window(start, end, va_bits=52, page_size=4096, struct_page=64, memstart=0)
    assert not window.use_known
    header = replace(oops.HEADER, machine=replace(oops.MACHINE, window=window, layout=None))
    snapshot = told([oops.fault(page=start + 4096)], header)
    assert snapshot.fault_regimes == Regimes(unknown=1)
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert "--vabits-actual" in snapshot.verdict_reasons[0]


def test_losses_are_said_as_of_calls():
    ledger = Ledger.of(oops.HEADER)
    ledger.fold(plain.batch(oops.rows(0)))
    ledger.add_losses(Losses(torn=1))
    snapshot = ledger.snapshot(final=True)
    assert snapshot.verdict is Verdict.OUT_OF_RANGE
    assert "lower bounds" in snapshot.verdict_reasons[1]


def test_sources_that_contradict_each_other_leave_no_verdict():
    header = replace(oops.HEADER, machine=replace(oops.MACHINE, agree=False))
    snapshot = told(oops.rows(0), header)
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert "contradict" in snapshot.verdict_reasons[0]


@pytest.mark.parametrize("arch", [None, "aarch64", "aarch64_be", "arm64"])
def test_arm64_is_judged(arch):
    header = replace(oops.HEADER, machine=replace(oops.MACHINE, arch=arch))
    assert told(oops.rows(), header).verdict is Verdict.OUT_OF_RANGE


@pytest.mark.parametrize("arch", ["riscv64", "x86_64", "ppc64le", "", "\x1b]0;x\x07"])
def test_nothing_else_is(arch):
    header = replace(oops.HEADER, machine=replace(oops.MACHINE, arch=arch))
    snapshot = told([*oops.rows(), inside()], header, lost=1)
    assert (snapshot.verdict, snapshot.verdict.exit_code) == (Verdict.INCONCLUSIVE, 3)
    assert snapshot.verdict_reasons[0].startswith("This is a log of ")
    assert (arch if arch.isalnum() else "") in snapshot.verdict_reasons[0]
    assert ", not an arm64 log: " in snapshot.verdict_reasons[0]
    assert snapshot.verdict_reasons[0].isprintable()
    assert "lower bounds" in snapshot.verdict_reasons[1]
    assert (snapshot.hits, snapshot.regimes.unknown) == (0, 9)
    assert (snapshot.fault_regimes, snapshot.would_warn) == (Regimes(unknown=1), 0)
    assert {call.lands_on for call in snapshot.newest} == {None}


@pytest.mark.parametrize("phase", ["entry", "exit", "point"])
def test_a_kind_of_a_newer_writer_is_an_event_and_nothing_else(phase):
    """As readers of formats 1.0 to 1.2 take an Oops."""
    batch = plain.batch([*oops.rows(2)[:-1], oops.fault(phase=phase)]).events
    at, kinds = batch.schema.get_field_index("kind"), batch.column("kind")
    names = pa.array([f"{name}?" if name == "fault" else name for name in KIND_NAMES.to_pylist()])
    renamed = pa.DictionaryArray.from_arrays(kinds.indices, names)
    ledger = Ledger.of(oops.HEADER)
    ledger.fold(batch.set_column(at, "kind", renamed))
    without = Ledger.of(oops.HEADER)
    without.fold(plain.batch(oops.rows(2)[:-1]))
    told, before = ledger.snapshot(final=True), without.snapshot(final=True)
    assert told.events == before.events + 1
    same = {"events": before.events, "last_ns": before.last_ns, "series": before.series}
    assert replace(told, **same) == before
