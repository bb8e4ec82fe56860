# SPDX-License-Identifier: GPL-2.0-only
"""The columns of a line, in every format that kernels' sources can print."""

import io

import pytest

from tracers.logs.kprobe_text.ftrace import FtraceLog

HEAD = b"          insmod-76      [001] d....     6.347206: "


def one(line: bytes) -> dict:
    """Parse one line that must give one row; leave out what is null."""
    (batch,) = FtraceLog(io.BytesIO(line + b"\n")).batches()
    assert batch.losses.rejected == 0
    (row,) = batch.events.to_pylist()
    return {name: value for name, value in row.items() if value is not None}


@pytest.mark.parametrize(
    ("head", "changes"),
    [
        (b"          insmod-76      [001] d....     6.347206: ", {}),
        (b"          insmod-76    [001] d...     6.347206: ", {}),  # 5.10: %-5d, four flags
        (b"          insmod-76    [001]     6.347206: ", {}),  # no irq-info
        (b"          insmod-76      [001] d..1...     6.347206: ", {}),  # realtime patches
        (b"          insmod-76      (     75) [001] d....     6.347206: ", {"pid": 75}),
        (b"          insmod-76      (-------) [001] d....     6.347206: ", {}),
        (b"          insmod-76    (   75) [001] d...     6.347206: ", {"pid": 75}),
        (b"          insmod-76    (-----) [001] d...     6.347206: ", {}),
        (b"          insmod-76    [001] (   75) d...     6.347206: ", {"pid": 75}),  # 4.13
        (b"           <...>-76      [001] d....     6.347206: ", {"comm": "<...>"}),
        (b"          <idle>-0       [1023] DNZff     6.347206: ",
         {"comm": "<idle>", "tid": 0, "cpu": 1023}),
        (b"          insmod-4194303 [001] d....     6.347206: ", {"tid": 4194303}),
        (b"          insmod-76      [001] d.... 18446744072.999999: ",
         {"ts_ns": 18446744072_999999_000}),
        (b"          insmod-76      [001] d....     6.347206001: ", {"ts_ns": 6_347_206_001}),
        (b"                -76      [001] d....     6.347206: ", {"comm": ""}),
    ],
)  # fmt: skip
def test_columns_of_all_releases(head: bytes, changes: dict):
    expected = {
        "ts_ns": 6_347_206_000, "kind": "free", "phase": "entry", "cpu": 1, "tid": 76,
        "comm": "insmod", "start": 1, "end": 2, "source": "kprobe",
    }  # fmt: skip
    line = head + b"vmemmap_free: (vmemmap_free+0x0/0x70) start=0x1 end=0x2"
    assert one(line) == expected | changes


@pytest.mark.parametrize(
    ("event", "kind", "phase"),
    [
        (b"x: (section_deactivate.isra.0+0x0/0x218)", "section_remove", "entry"),
        (b"x: (section_deactivate.constprop.0.isra.1+0x0/0x218)", "section_remove", "entry"),
        (b"x: (devpriv_init+0x1c/0x40 [devpriv] <- memunmap_pages)", "memunmap", "exit"),
        (b"vmemmap_free: (0xffffffc008028690)", "free", "entry"),
        (b"p_vmemmap_free_0: (0xffffffc008028690)", "free", "entry"),
        (b"vmemmap_free_ret: (0xffffffc008028690 <- 0xffffffc008028690)", "free", "exit"),
        (b"__add_pages_exit: (0xffffffc008028690 <- 0xffffffc008028690)", "add_pages", "exit"),
        (b"__warn__return: (0xffffffc008028690 <- 0xffffffc008028690)", "warn", "exit"),
    ],
)
def test_the_function_is_found_by_the_location(event: bytes, kind: str, phase: str):
    row = one(HEAD + event)
    assert (row["kind"], row["phase"]) == (kind, phase)


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        (b" arg1=0x1 arg2=0x2 startx=3 xend=4", {}),
        (b" start=(fault) end=0x2", {"end": 2}),
        (b" start=-4096 end=18446744073709551615",
         {"start": (1 << 64) - 4096, "end": (1 << 64) - 1}),
        (b' comm="a start=0x9 end=8" start=0x1', {"start": 1}),
        (b' comm="x" start=0x1 s="=" end=0x2', {"start": 1, "end": 2}),
        (b" start={0x1,0x2} end=caller+0x1/0x2", {}),
        (b" pfn=0x1 nr_pages=2 nid=0 line=7 ret=0", {}),  # not this function's
    ],
)  # fmt: skip
def test_arguments_by_name_only(arguments: bytes, columns: dict):
    row = one(HEAD + b"x: (vmemmap_free+0x0/0x70)" + arguments)
    names = set(row) - {"ts_ns", "kind", "phase", "cpu", "tid", "comm", "source"}
    assert {name: row[name] for name in names} == columns


@pytest.mark.parametrize(
    ("event", "columns"),
    [
        (b"x: (c+0x1/0x2 <- __add_pages) ret=-17", {"ret": -17}),
        (b"x: (c+0x1/0x2 <- __add_pages) ret=0xffffffef", {"ret": -17}),  # an int's register
        (b"x: (c+0x1/0x2 <- vmemmap_populate) ret=18446744073709551604", {"ret": -12}),
        (b"x: (c+0x1/0x2 <- memremap_pages) ret=0xfffffffffffffff4", {"ret": -12}),
        (b"x: (c+0x1/0x2 <- vmemmap_free) ret=0x7", {}),  # returns nothing
        (b"x: (memremap_pages+0x0/0x2) nid=-1", {"nid": -1}),
        (b"x: (memremap_pages+0x0/0x2) nid=0xffffffff", {"nid": -1}),
        (b"x: (sparse_add_section+0x0/0x2) nid=3 start_pfn=0x10 nr_pages=0x8000",
         {"nid": 3, "pfn": 16, "nr_pages": 32768}),
        (b'x: (__warn+0x0/0x2) file="a b=c.c" line=0x4c6', {"site": "a b=c.c", "line": 1222}),
        (b"x: (__warn+0x0/0x2) file=(fault) line=(fault)", {}),
        (b'x: (__warn+0x0/0x2) file="\xff.c"', {"site": "\\xff.c"}),
    ],
)  # fmt: skip
def test_signed_and_text_arguments(event: bytes, columns: dict):
    row = one(HEAD + event)
    names = set(row) - {"ts_ns", "kind", "phase", "cpu", "tid", "comm", "source"}
    assert {name: row[name] for name in names} == columns
