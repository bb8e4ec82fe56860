# SPDX-License-Identifier: GPL-2.0-only
"""Oopses: what they say, and the struct page that is proven by two of their registers."""

import re

import pytest

from tests.tracers.logs.dmesg.fuzz_dmesg import CAPTURES, WINDOW, read
from tests.tracers.logs.dmesg.test_reader import BELOW
from tracers.logs.dmesg import oopses
from tracers.logs.dmesg.lines import read_line
from tracers.window import Window

CONSOLE = (CAPTURES / "wrap.console.txt").read_bytes().replace(b"\r", b"")
RAW = CONSOLE[CONSOLE.index(b"[    1.402893]") : CONSOLE.index(b"[    1.408034]")]
PAGE, PFN = 0x000003FDFE000000, 0x0000000FFFFC0000
#: Made: the form of the Oopses in public logs of 6.8 on 48-bit machines.
DEMO = b"""\
[   22.177085] Unable to handle kernel paging request at virtual address 000001ffb2000034
[   22.186641] Mem abort info:
[   22.192201]   ESR = 0x0000000096000044
[   22.256145] user pgtable: 4k pages, 48-bit VAs, pgdp=0000080002879000
[   22.265357] [000001ffb2000034] pgd=0000000000000000, p4d=0000000000000000
[   22.265362] Internal error: Oops: 0000000096000044 [#1] SMP
[   22.265365] Modules linked in: demo(+)
[   22.292879] CPU: 0 PID: 564 Comm: kworker/0:2 Tainted: G        W          6.8.7-demo #2
[   22.300957] Hardware name: Example Board/Example Board, BIOS 1.0 01/01/2024
[   22.314763] Workqueue: events work_for_cpu_fn
[   22.319112] pstate: 80400009 (Nzcv daif +PAN -UAO -TCO -DIT -SSBS BTYPE=--)
[   22.326062] pc : __init_zone_device_page.constprop.0+0x2c/0xa8
[   22.331886] lr : memmap_init_zone_device+0xf0/0x210
[   22.336751] sp : ffff80008359b9f0
[   22.404164] x2 : 0000000000000000 x1 : 0000000fffd00000 x0 : 000001ffb2000000
[   22.411287] Call trace:
[   22.413721]  __init_zone_device_page.constprop.0+0x2c/0xa8
[   22.419194]  memmap_init_zone_device+0xf0/0x210
[   22.423713]  pagemap_range+0x1e0/0x410
[   22.427452]  memremap_pages+0x18c/0x2e0
[   22.431275]  devm_memremap_pages+0x30/0x90
[   22.435360]  demo_probe+0x98/0x180 [demo]
[   22.481696]  ret_from_fork+0x10/0x20
[   22.485261] Code: d2880006 a90153f3 91002004 f2dfffe6 (b9003405)
[   22.491342] ---[ end trace 0000000000000000 ]---
"""
DEMO_WINDOW = Window(
    0xFFFFFDFFC0000000, 0xFFFFFFFFC0000000, va_bits=48, page_size=4096, struct_page=64,
    memstart=0x80000000, section_size_bits=27,
)  # fmt: skip


def text(raw: bytes) -> bytes:
    return b"\n".join(read_line(line).text for line in raw.split(b"\n"))


def fault(raw: bytes, window: Window = WINDOW) -> dict:
    rows, _ = read(raw, window=window)
    (row,) = [row for row in rows if row["kind"] == "fault"]
    return row


def test_what_the_kernels_own_oops_says():
    oops = oopses.parse(text(RAW))
    assert oops.error == "Oops: 0000000096000044 [#1] SMP"
    assert (oops.address, oops.between) == (PAGE + 0x34, PAGE + 0x34)
    assert (oops.page_size, oops.bits, oops.ram, oops.walk) == (None, None, None, None)
    assert oops.esr == 0x96000044
    assert oops.code == "f9401bf7 a8c47bfd d65f03c0 52800024 (b9003404)"
    thread = oops.thread
    assert (thread.cpu, thread.tid, thread.comm) == (0, 50, b"insmod")
    assert (thread.release, thread.taint) == ("6.1.192-vmemlab", "G W O")
    assert len(oops.registers) == 30
    assert oops.registers[0] == oops.registers[19] == PAGE
    assert [frame.name for frame in oops.frames[-2:]] == ["el0t_64_sync_handler", "el0t_64_sync"]
    assert oops.whole


def test_what_the_form_of_public_logs_says():
    oops = oopses.parse(text(DEMO))
    assert (oops.page_size, oops.bits, oops.ram) == (4096, 48, 0x80002879000)
    assert oops.walk == "pgd=0000000000000000, p4d=0000000000000000"
    assert oops.ours
    assert oops.chain == (
        "__init_zone_device_page.constprop.0+0x2c <- memmap_init_zone_device <- pagemap_range <- "
        "memremap_pages <- devm_memremap_pages <- demo_probe [demo] <- ret_from_fork"
    )


def test_the_struct_page_is_vmemmap_plus_pfn_times_its_size():
    row = fault(RAW)
    assert (row["start"], row["end"], row["pfn"], row["nr_pages"]) == (PAGE, PAGE + 64, PFN, 1)
    row = fault(DEMO, DEMO_WINDOW)
    assert (row["start"], row["pfn"]) == (0x1FFB2000000, 0xFFFD00000)
    assert (row["cpu"], row["tid"], row["comm"]) == (0, 564, "kworker/0:2")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"x1 : 0000000ffffc0000", b"x1 : 0000000ffffc0001"),  # another page's pfn
        (b"x1 : 0000000ffffc0000", b"x1 : 0000000ffffc000"),  # cut off
        (b"x0 : 000003fdfe000000", b"x0 : 000003fdfe000040"),  # and x19 holds it
        (b"virtual address 000003fdfe000034", b"virtual address 000003fdfe000040"),
        (b"pc : __init", b"pc : x+0x1/0x2\npc : __init"),  # two reports' lines
        (b"x28: 0000000000000001", b"x1 : 0000000000000001"),
    ],
)
def test_without_the_relation_there_is_no_page(old: bytes, new: bytes):
    raw = RAW.replace(old, new)
    assert raw != RAW
    if b"x0 " in old:
        raw = raw.replace(b"x19: 000003fdfe000000", b"x19: 000003fdfe000040")
    row = fault(raw)
    assert (row["start"], row["end"], row["pfn"]) == (None, None, None)
    assert "__init_single_page" in row["site"]
    assert "<- memmap_init_zone_device <- memremap_pages <- devpriv_init [devpriv]" in row["site"]


def test_another_kernels_oops_proves_nothing():
    """The window is of 48 bits: the relation does not hold there."""
    assert fault(RAW, DEMO_WINDOW)["start"] is None


def test_an_oops_elsewhere_is_no_row():
    raw = re.sub(
        rb"\n[^\n]*\] +(?:memmap_init_zone_device|memremap_pages|devpriv_init)[^\n]*", b"", RAW
    ).replace(b"__init_single_page", b"demo_read")
    raw = raw.replace(b"x1 : 0000000ffffc0000", b"x1 : 0000000000000000")
    rows, log = read(raw)
    assert rows == []
    assert any("the kernel failed: Oops: 0000000096000044" in note for note in log.notes)


def test_a_user_of_pfn_to_page_is_one_where_the_page_is_outside():
    """A driver that touches the struct page it computed: no function of ours in the chain."""
    raw = re.sub(
        rb"\n[^\n]*\] +(?:memmap_init_zone_device|memremap_pages)[^\n]*", b"", RAW
    ).replace(b"__init_single_page", b"demo_touch")
    assert fault(raw)["pfn"] == PFN


def test_vmemmap_is_told_by_the_functions_that_get_page_and_pfn():
    assert oopses.vmemmap_told(oopses.parse(text(RAW))) == (0xFFFFFFFDFF000000, PFN)
    assert oopses.vmemmap_told(oopses.parse(text(DEMO))) == (0xFFFFFDFFBE000000, 0xFFFD00000)
    elsewhere = text(RAW).replace(b"pc : __init_single_page", b"pc : demo_touch")
    assert oopses.vmemmap_told(oopses.parse(elsewhere)) is None


def test_any_beginning_of_it_can_be_read():
    whole = text(RAW)
    for end in range(0, len(whole), 7):
        oops = oopses.parse(whole[:end])
        found = oopses.fault_of(oops, WINDOW)
        assert found in (None, oopses.Fault(PAGE, 64, PFN))


def test_splats_before_it_are_read_as_well():
    rows, _ = read(BELOW + RAW)
    assert [row["kind"] for row in rows] == ["populate", "warn", "free", "warn", "fault"]
