# SPDX-License-Identifier: GPL-2.0-only
"""Reports of other architectures: named, read as far as all have in common, never judged."""

from collections import Counter

import pytest

from tests.tracers.logs.dmesg.fuzz_dmesg import CAPTURES, read
from tracers.logs.dmesg.architectures import ARM64, architecture_of

X86 = """\
[   49.116710] BUG: unable to handle page fault for address: ffffea3ff1400000
[   49.117175] #PF: supervisor write access in kernel mode
[   49.117511] #PF: error_code(0x0002) - not-present page
[   49.118015] Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI
[   49.118366] CPU: 3 UID: 0 PID: 302 Comm: modprobe Tainted: G        W          6.13.0-demo #62
[   49.119710] RIP: 0010:vmemmap_set_pmd+0xff/0x230
[   49.125880] Call Trace:
[   49.126078]  <TASK>
[   49.127919]  vmemmap_populate_hugepages+0x176/0x180
[   49.128194]  vmemmap_populate+0x34/0x80
[   49.141424]  </TASK>
[   49.143010] ---[ end trace 0000000000000000 ]---
"""
X86_WARN = """\
[    9.000000] ------------[ cut here ]------------
[    9.000001] WARNING: CPU: 3 PID: 302 at mm/page_alloc.c:4000 get_page+0xff/0x230
[    9.000002] Modules linked in:
[    9.000003] CPU: 3 PID: 302 Comm: modprobe Not tainted 6.1.0-demo #62
[    9.000004] RIP: 0010:get_page+0xff/0x230
[    9.000005] RSP: 0018:ffffbf1c85b3fc88 EFLAGS: 00010206
[    9.000006] RAX: 00000000000200ff RBX: 000000000f200000 RCX: 0000000000020000
[    9.000007] Call Trace:
[    9.000008]  <TASK>
[    9.000009]  get_page+0xff/0x230
[    9.000010]  memremap_pages+0x3dc/0x810
[    9.000011]  </TASK>
[    9.000012] ---[ end trace 0000000000000000 ]---
"""
RISCV_OLD = """\
[38179.087918] Unable to handle kernel paging request at virtual address 00000061fed09482
[38179.096079] Oops [#1]
[38179.098421] Modules linked in: demo
[38179.140298] CPU: 0 PID: 1842 Comm: kworker/0:1H Tainted: G        W         5.10.6+ #26
[38179.152768] epc: ffffffe00022affe ra : ffffffe00022afea sp : ffffffe086d3fe30
[38179.160087]  gp : ffffffe0018416a8 tp : ffffffe080735040 t0 : ffffffe086d3fcc0
[38179.180000] ---[ end trace 4456a1917aa7e1d7 ]---
"""
POWER = """\
[  218.533737] BUG: Unable to handle kernel data access on write at 0xc00c000000000000
[  218.533821] Faulting instruction address: 0xc000000000353484
[  218.533879] Oops: Kernel access of bad area, sig: 11 [#1]
[  218.533917] LE PAGE_SIZE=64K MMU=Radix SMP NR_CPUS=2048 NUMA PowerNV
[  218.534303] CPU: 24 PID: 3409 Comm: sshd Not tainted 6.1.0-33-generic #36-Ubuntu
[  218.534369] NIP:  c000000000353484 LR: c00000000033720c CTR: c00000000032d280
[  218.534552] GPR00: c00000000033720c c000003fdce37970 c0000000016eb000 c000003fbafa9990
[  223.606866] NIP [c000000000ac0ce8] memmap_init_zone_device+0x18/0xf0
[  223.606954] Call Trace:
[  223.606972] [c000003fdc18bc80] [c000000000159400] memremap_pages+0x160/0x5f0 (unreliable)
[  223.607287] ---[ end trace 4456a1917aa7e1d7 ]---
"""
S390 = """\
[    1.707778] Unable to handle kernel pointer dereference in virtual kernel address space
[    1.707942] Failing address: 000000000133b000 TEID: 000000000133b407
[    1.709436] Oops: 0004 ilc:2 [#1] SMP
[    1.709851] CPU: 0 PID: 32 Comm: kworker/u2:1 Not tainted 5.17.0-next-20220321 #1
[    1.710420] Krnl PSW : 0704d00180000000 00000000009e59e4 (number+0x464/0x5d0)
[    1.710645] Krnl GPRS: ffffff01fffffffc 0000000000000000 0000000000000001 0000000000000000
[    1.711937] Call Trace:
[    1.711940]  [<00000000009e59e4>] number+0x464/0x5d0
[    1.711950] ---[ end trace 0000000000000000 ]---
"""
LOONGARCH = """\
[  206.917050] CPU 8 Unable to handle kernel paging request at virtual address ffff8000020ec000,\
 era == 9000000003bf3bec, ra == 9000000002a032dc
[  206.929690] Oops[#3]:
[  206.931943] CPU: 8 PID: 99 Comm: insmod Tainted: G      D            6.6.0-demo #1
[  206.931950] pc 9000000003bf3bec ra 9000000002a032dc tp 9000000112c98000 sp 9000000112c9bb90
[  206.931960]  CRMD: 000000b0 (PLV0 -IE -DA +PG DACF=CC DACM=CC -WE)
[  206.931970]  BADV: ffff8000020ec000
[  206.931980] Call Trace:
[  206.931990] [<9000000003bf3bec>] __memset_fast+0x18/0x138
[  206.932000] ---[ end trace 0000000000000000 ]---
"""
ARM = """\
[   10.683249] 8<--- cut here ---
[   10.686330] Unable to handle kernel paging request at virtual address 81b144a8
[   10.693547] [81b144a8] *pgd=00000000
[   10.697128] Internal error: Oops: 5 [#1] SMP ARM
[   10.706191] CPU: 0 PID: 0 Comm: swapper/0 Not tainted 6.0.1-demo #24
[   10.718623] PC is at update_vsyscall+0x1c/0x380
[   10.723159] LR is at timekeeping_update+0xe4/0x258
[   10.727951] pc : [<c019d604>]    lr : [<c018dcc8>]    psr: 000f0193
[   10.777290] ---[ end trace 0000000000000000 ]---
"""
MIPS = """\
[ 5229.581876] ------------[ cut here ]------------
[ 5229.586642] WARNING: CPU: 0 PID: 1569 at drivers/net/x.c:1285 mac_work+0x12c/0x24c [mt7603e]
[ 5229.607389] Modules linked in: pppoe
[ 5229.670490] CPU: 0 PID: 1569 Comm: kworker/u2:0 Not tainted 4.9.54 #0
[ 5229.682189] Stack : 83803414 830e9918 00000088 8004d640 83995c4c 80401307 803b1fe0 00000621
[ 5229.690693]         803b1f4c 8384bd64 80400000 8007cc5c 00000088 8004d640 803b77a4 80400000
[ 5229.700000] Call Trace:
[ 5229.700001] [<8004d640>] mac_work+0x12c/0x24c [mt7603e]
[ 5229.700002] ---[ end trace 4456a1917aa7e1d7 ]---
"""
REPORTS = {
    "x86_64": X86,
    "x86_64 ": X86_WARN,
    "riscv64": RISCV_OLD,
    "ppc64le": POWER,
    "s390x": S390,
    "loongarch64": LOONGARCH,
    "armv7l": ARM,
    "mips64": MIPS,
}


@pytest.mark.parametrize("arch", REPORTS)
def test_another_architecture_is_named_and_nothing_is_lost(arch: str):
    raw = REPORTS[arch].encode()
    rows, log = read(raw * 1)
    assert log.arch == arch.strip()
    assert (log.torn, log.rejected, log.lost_unknown) == (0, 0, 0)
    assert Counter(row["kind"] for row in rows) == Counter(warn=raw.count(b"WARNING:"))
    assert (
        f"1 report is of {arch.strip()}: that is not an arm64 log, and nothing of it is judged"
        in (log.notes)
    )
    assert not any("cut short" in note for note in log.notes)


def test_arm64_is_not_taken_for_another():
    for name in ("wrap.console.txt", "below.dmesg.txt"):
        raw = (CAPTURES / name).read_bytes()
        assert architecture_of(raw) == ARM64
        assert read(raw)[1].arch is None


def test_a_log_of_two_machines_is_arm64s_too():
    _, log = read((CAPTURES / "below.dmesg.txt").read_bytes() + X86.encode())
    assert log.arch is None
    assert any(note.startswith("1 report is of x86_64") for note in log.notes)


def test_without_registers_nothing_tells():
    assert architecture_of(b"WARNING: CPU: 0 PID: 1 at mm/x.c:1 f+0x1/0x2") is None
