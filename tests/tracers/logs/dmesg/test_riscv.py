# SPDX-License-Identifier: GPL-2.0-only
"""riscv's own check of vmemmap_populate: what it was asked for is said, and not judged."""

from tests.tracers.logs.dmesg.fuzz_dmesg import read
from tests.tracers.logs.dmesg.test_reader import calls
from tracers.logs.dmesg.riscv import passed

SPLAT = b"""\
[   19.200000] ------------[ cut here ]------------
[   19.201000] WARNING: arch/riscv/mm/init.c:1480 at vmemmap_populate+0x4a/0x60, CPU#2: (udev)/844
[   19.202000] Modules linked in: demo(+)
[   19.203000] CPU: 2 UID: 0 PID: 844 Comm: (udev) Not tainted 7.0.0-demo #1 PREEMPTLAZY
[   19.205000] epc : vmemmap_populate+0x4a/0x60
[   19.206000]  ra : __populate_section_memmap+0x40/0x90
[   19.207000] epc : ffffffff8000f1be ra : ffffffff80210de8 sp : ffff8f8002ef3450
[   19.208000]  gp : ffffffff82290cc8 tp : ffffaf808f526c80 t0 : ffffffff800231a8
[   19.209000]  s1 : 00038d7fe6000000 a0 : 00038d7fe6000000 a1 : 00038d7fe6200000
[   19.210000] status: 0000000200000120 badaddr: 0000000000000000 cause: 0000000000000003
[   19.211000] [<ffffffff8000f1be>] vmemmap_populate+0x4a/0x60
[   19.212000] [<ffffffff80210de8>] __populate_section_memmap+0x40/0x90
[   19.214000] [<ffffffff803f6a7a>] memremap_pages+0x262/0x6b0
[   19.215000] ---[ end trace 0000000000000000 ]---
"""
CALL = (0x38D7FE6000000, 0x38D7FE6200000)


def test_its_warns_and_arguments_are_riscvs():
    rows, log = read(SPLAT)
    assert calls(rows, "populate") == [CALL]
    assert [row["site"] for row in rows if row["kind"] == "warn"] == ["arch/riscv/mm/init.c"]
    assert (log.arch, log.torn, log.rejected, log.lost_unknown) == ("riscv64", 0, 0, 0)
    assert "1 splat: vmemmap_populate <- __populate_section_memmap <- memremap_pages" in log.notes
    assert (
        "start and end of 1 calls are known by the registers of riscv64's own check: not judged"
        in (log.notes)
    )


def test_two_pairs_that_fit_prove_nothing():
    rival = SPLAT.replace(b"t0 : ffffffff800231a8", b"t0 : 00038d7fe5e00000")
    assert passed(SPLAT) == CALL
    assert passed(rival) is None
    assert calls(read(rival)[0], "populate") == [(None, None)]


def test_nothing_fits():
    assert passed(SPLAT.replace(b"a1 : 00038d7fe6200000", b"a1 : 00038d7fe6200040")) is None
