# SPDX-License-Identifier: GPL-2.0-only
"""Splats that wait for a proof: order of rows, how long they wait, contradictions."""

from tests.tracers.logs.dmesg.fuzz_dmesg import WINDOW, check_text
from tests.tracers.logs.dmesg.splat_texts import END, SECTION, log_of, registers
from tests.tracers.logs.dmesg.test_reader import calls, read
from tracers.events import Kind
from tracers.logs.dmesg import argument_proofs
from tracers.logs.dmesg.argument_proofs import ArgumentProofs
from tracers.logs.dmesg.splats import Splat

HOLE = END + 0x3F000000
STACK = [0xFFFFFF80057C7980] * 30
#: A splat with a rival pair of registers (x4, x5), and one without: x4 and x5 are apart.
UNCLEAR = registers(HOLE, HOLE + SECTION, [*STACK[:4], 0xFFFFA8000, 0xFFFFE8000, *STACK[:24]])
CLEAR = registers(HOLE + SECTION, HOLE + 2 * SECTION, STACK)
RANGES = [(HOLE, HOLE + SECTION), (HOLE + SECTION, HOLE + 2 * SECTION)]


def splat(values: list[int], offset: int = 0x40) -> Splat:
    return Splat(
        0, 68, b"insmod", b"arch/arm64/mm/mmu.c", 1222, "vmemmap_populate", offset, 0x1C4, None,
        "6.1.192-vmemlab", tainted=False, sp=1, registers=tuple(values), chain=None, arch=None,
    )  # fmt: skip


def test_a_later_splat_settles_an_earlier_one():
    assert calls(read(log_of([UNCLEAR]))[0], "populate") == [(None, None)]
    assert calls(read(log_of([UNCLEAR, CLEAR]))[0], "populate") == RANGES


def test_rows_keep_the_order_of_their_splats():
    waiting = ArgumentProofs(None, WINDOW, None)
    waiting.add(splat(UNCLEAR), 1, doubtful=False)
    waiting.add(splat(CLEAR, offset=0x50), 2, doubtful=False)
    assert list(waiting.rows(final=False)) == []
    waiting.add(splat(CLEAR), 3, doubtful=False)
    rows = list(waiting.rows(final=False))
    assert [row.ts_ns for row in rows] == [1, 1, 2, 2, 3, 3]
    assert [(row.start, row.end) for row in rows if row.kind is Kind.POPULATE] == [
        RANGES[0], RANGES[1], RANGES[1]
    ]  # fmt: skip


def test_none_waits_for_long(monkeypatch):
    monkeypatch.setattr(argument_proofs, "_WAITING", 10)
    waiting = ArgumentProofs(None, WINDOW, None)
    waiting.add(splat(UNCLEAR), 0, doubtful=False)
    for number in range(1, 40):
        waiting.add(splat(CLEAR, offset=0x50), number, doubtful=False)
        rows = list(waiting.rows(final=False))
        assert len(rows) == (0 if number <= 10 else 24 if number == 11 else 2)
    assert list(waiting.notes())[1].startswith("start and end of 1 calls are not known")


def test_a_contradiction_is_noted_and_does_not_depend_on_reads():
    """The registers of the last splat are damaged, or those before were a coincidence."""
    raw = log_of([CLEAR, UNCLEAR, STACK, CLEAR])
    rows, log = read(raw)
    assert calls(rows, "populate") == [RANGES[1], RANGES[0], (None, None), (None, None)]
    assert any("what it told of that place before is in doubt" in note for note in log.notes)
    check_text(raw)


def test_numbers_no_kernel_has_are_rejected():
    raw = log_of([CLEAR])
    for old, new in ((b"CPU: 0 PID: 68", b"CPU: 99999 PID: 68"), (b"PID: 68", b"PID: 9999999999")):
        rows, log = read(raw.replace(old, new))
        assert (rows, log.rejected) == ([], 1)
