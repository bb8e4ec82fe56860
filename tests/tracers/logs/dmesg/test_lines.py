# SPDX-License-Identifier: GPL-2.0-only
"""Every prefix of a kernel log's lines: the same splats, however printed, sent or quoted."""

import pytest

from tests.tracers.logs.dmesg import splat_texts
from tests.tracers.logs.dmesg.fuzz_dmesg import read
from tests.tracers.logs.dmesg.test_reader import BELOW, LINES, ROWS, without_nulls
from tracers.logs.dmesg.lines import Clock, Line, read_line
from tracers.logs.dmesg.scan import looks_like_dmesg


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("name", splat_texts.PREFIXES)
def test_a_prefix_changes_nothing_but_the_time(name: str, ends: bytes):
    raw = splat_texts.prefixed(LINES, name, ends)
    assert looks_like_dmesg(raw[:4096])
    rows, log = read(raw, vmlinux=True)
    assert without_nulls(rows) == ROWS
    assert (log.lost_unknown, log.torn, log.rejected) == (0, 0, 0)
    unit = splat_texts.PREFIXES[name][1]
    step = (6_459_288 - 6_347_350) * 1000
    spans = {rows[2]["ts_ns"] - rows[0]["ts_ns"]}
    assert spans <= ({0} if not unit else {step} if unit == 1000 else {0, 10**9})
    assert any("whole seconds" in note or "without a year" in note for note in log.notes) == (
        unit == 10**9 or name in {"journalctl -o short-precise", "logcat -v threadtime"}
    )


@pytest.mark.parametrize("change", [splat_texts.two_a_line, splat_texts.as_6_19])
def test_the_forms_of_other_releases(change):
    rows, log = read(splat_texts.prefixed(change(LINES), "dmesg"), vmlinux=True)
    assert without_nulls(rows) == ROWS
    assert log.torn == log.rejected == 0


def test_a_condition_in_front_of_the_place():
    lines = splat_texts.as_6_19(LINES, b"[(start < VMEMMAP_START) || a[0] > (end)] ")
    rows, _ = read(splat_texts.prefixed(lines, "dmesg"), vmlinux=True)
    assert without_nulls(rows) == ROWS


@pytest.mark.parametrize("width", [64, 72, 78])
@pytest.mark.parametrize("name", ["dmesg", "mail", "mail, quoted again", "dmesg -t"])
@pytest.mark.parametrize("change", [list, splat_texts.as_6_19])
def test_a_mailer_wraps_lines(name: str, width: int, change):
    quote = b"" if "mail" not in name else b"> " if name == "mail" else b"> > "
    raw = splat_texts.wrapped(splat_texts.prefixed(change(LINES), name), width, quote)
    assert raw.count(b"\n") > len(LINES)
    rows, log = read(raw, vmlinux=True)
    assert without_nulls(rows) == ROWS
    assert (log.lost_unknown, log.torn, log.rejected) == (0, 0, 0)


def test_pages_of_other_text_around_it():
    raw = b"Hi all,\n\nwe see this on our machine:\n\n" + BELOW + b"\nWARNING: no tests\n--\nBob\n"
    rows, log = read(raw, vmlinux=True)
    assert without_nulls(rows) == ROWS
    assert (log.torn, log.rejected) == (0, 0)


@pytest.mark.parametrize(
    ("raw", "text", "ts_ns", "clock", "caller"),
    [
        # printk.c: "[%5lu.%06lu]", then "[%*s]" with the caller
        (b"[100000.000001][  C12] x", b"x", 100_000_000_001_000, Clock.BOOT, b"C12"),
        (b"<6>[    0.000000] x", b"x", 0, Clock.BOOT, b""),
        (b"6,339,5140900,-,caller=T1;a\\x0ab\\x5c", b"a\nb\\", 5_140_900_000, Clock.BOOT, b"T1"),
        (b"[Thu Jan  1 00:01:00 1970] x", b"x", 60 * 10**9, Clock.COARSE, b""),
        (b"1970-01-01T02:00:01.5+02:00 h kernel: x", b"x", 1_500_000_000, Clock.WALL, b""),
        (b"1970-01-01T00:00:01-0030 x", b"x", 1801 * 10**9, Clock.COARSE, b""),
        (b"Feb 29 00:00:00 h kernel: x", b"x", None, Clock.NONE, b""),  # 1970 had none
        (b"9999-12-31T23:59:59 h kernel: x", b"x", None, Clock.NONE, b""),  # beyond u64
        (b"0001-01-01T00:00:00 h kernel: x", b"x", None, Clock.NONE, b""),
        (b"> [    1.000000]  x", b" x", 10**9, Clock.BOOT, b""),
        (b"[mem 0x00000000-0x07ffffff] x", b"[mem 0x00000000-0x07ffffff] x", None, Clock.NONE, b""),
        (b"", b"", None, Clock.NONE, b""),
    ],
)
def test_a_line(raw: bytes, text: bytes, ts_ns: int | None, clock: Clock, caller: bytes):
    line = read_line(raw)
    assert (line.text, line.ts_ns, line.clock, line.caller) == (text, ts_ns, clock, caller)


@pytest.mark.parametrize("priority", [b"8", b"12", b"30", b"2047"])
def test_what_a_program_wrote_into_kmsg_is_no_text_of_the_kernels(priority: bytes):
    text = b"WARNING: CPU: 0 PID: 1 at arch/arm64/mm/mmu.c:1222 vmemmap_populate+0x40/0x1c4"
    assert read_line(priority + b",5,1000,-;" + text) == Line(
        b"", 1_000_000, Clock.BOOT, prefixed=True
    )
    assert read_line(b"7,5,1000,-;" + text).text == text
