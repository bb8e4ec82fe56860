# SPDX-License-Identifier: GPL-2.0-only
"""The verdict on a recording of a kernel log: out of range or inconclusive, never clean."""

import io

import pytest

from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot, Verdict
from tests.tracers.logs.dmesg import splat_texts
from tests.tracers.logs.dmesg.fuzz_dmesg import CAPTURES, arguments
from tests.tracers.logs.dmesg.test_reader import BELOW, LINES
from tracers.logs.dmesg.reader import DmesgLog
from tracers.machine import read_machine

MACHINE = read_machine(CAPTURES)


def numbers(raw: bytes, *, proven: bool = True, window: bool = True) -> Snapshot:
    """Fold a log whose splats' arguments are proven or not, with the window known or not."""
    log = DmesgLog(io.BytesIO(raw), arguments=arguments() if proven else None)
    ledger = Ledger(MACHINE.window if window else None, MACHINE.layout)
    for batch in log.batches():
        ledger.fold(batch)
    return ledger.snapshot(final=True)


def test_proven_calls_lie_outside():
    snapshot = numbers(BELOW)
    assert snapshot.verdict is Verdict.OUT_OF_RANGE
    assert (snapshot.populate, snapshot.free, snapshot.warnings) == (1, 1, 2)
    assert snapshot.regimes.below == 2
    assert [(site.site, site.count) for site in snapshot.sites] == [
        ("arch/arm64/mm/mmu.c:1222", 1),
        ("arch/arm64/mm/mmu.c:1268", 1),
    ]


def test_calls_without_arguments_are_counted_and_of_unknown_place():
    snapshot = numbers(BELOW, proven=False)
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert (snapshot.populate, snapshot.free, snapshot.regimes.unknown) == (1, 1, 2)
    assert "The arguments of 2 calls are not known." in snapshot.verdict_reasons


@pytest.mark.parametrize("proven", [True, False])
def test_without_a_window(proven: bool):
    assert numbers(BELOW, proven=proven, window=False).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    "raw",
    [
        (CAPTURES / "in-range.dmesg.txt").read_bytes(),
        BELOW[: BELOW.index(b"Call trace")],
        BELOW[BELOW.index(b"pc :") : BELOW.index(b"devpriv: [mem")],
        b"[    1.000000] ** 3 printk messages dropped **\n",
        splat_texts.prefixed([*LINES[:1], *LINES[36:37]], "/dev/kmsg"),
    ],
    ids=["no splat", "cut at its end", "cut at its beginning", "dropped", "nothing of ours"],
)
@pytest.mark.parametrize("proven", [True, False])
def test_never_clean(raw: bytes, proven: bool):
    assert numbers(raw, proven=proven).verdict is not Verdict.CLEAN


def test_gaps_make_the_numbers_lower_bounds():
    gap = b"[    6.000000] ** 3 printk messages dropped **\n"
    reasons = numbers(gap + BELOW).verdict_reasons
    assert any("counts are lower bounds" in reason for reason in reasons)
