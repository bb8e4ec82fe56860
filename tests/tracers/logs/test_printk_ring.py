# SPDX-License-Identifier: GPL-2.0-only
"""The log in a kernel's memory: rings as the kernel writes them, and all that can be wrong."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tracers.constants.dumps import IMAGE_OFFSET, LINEAR, RAM, TEXT, Machine
from tests.tracers.logs.rings import DATA, DESCS, INFOS, NOTE, PRB, RING, Ring
from tracers.constants.core_file import Core
from tracers.logs.printk_ring import PrintkRing, PrintkRingError

QUICK = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=60)
RECORDS = st.lists(TEXTS.map(str.encode), max_size=40)


def read(folder: Path, machine: Machine, *, callers: bool = False) -> tuple[list[bytes], int]:
    path = folder / "core"
    path.write_bytes(machine.dump())
    with Core(path) as core:
        ring = PrintkRing(core)
        return list(ring.lines(callers=callers)), ring.lost


def test_lines_are_those_of_dmesg(tmp_path: Path) -> None:
    ring = Ring()
    ring.add(b"Booting", 0, 0)
    ring.add(b"two\nlines", 12_345_678_901_234, 75)
    ring.add(b"magic: \x7fELF\tand \x1b[31m", 12_345_678_999_999)
    ring.add(b"", 99_999_999_999_999_000, 1 << 31 | 3)
    assert read(tmp_path, ring.machine()) == (
        [
            b"[    0.000000] Booting\n",
            b"[12345.678901] two\n",
            b"[12345.678901] lines\n",
            b"[12345.678999] magic: \\x7fELF\tand \\x1b[31m\n",
            b"[99999999.999999] \n",
        ],
        0,
    )
    assert read(tmp_path, ring.machine(), callers=True)[0] == [
        b"[    0.000000][    T0] Booting\n",
        b"[12345.678901][   T75] two\n",
        b"[12345.678901][   T75] lines\n",
        b"[12345.678999][    T1] magic: \\x7fELF\tand \\x1b[31m\n",
        b"[99999999.999999][    C3] \n",
    ]


@QUICK
@given(RECORDS, st.booleans())
def test_what_is_left_of_a_ring_that_wrapped(
    tmp_path: Path,
    texts: list[bytes],
    newer: bool,
) -> None:
    ring = Ring(newer=newer)
    for at, text in enumerate(texts):
        ring.add(text, at * 1000)
    lines, lost = read(tmp_path, ring.machine())
    gone = len(texts) - len(ring.held)
    wanted = [b"** %d printk messages dropped **\n" % gone] if gone else []
    wanted += [b"[    0.%06d] %s\n" % (at, text) for at, text in enumerate(texts) if at >= gone]
    assert (lines, lost) == (wanted, gone)


def test_records_that_are_not_committed_or_not_whole_are_missing(tmp_path: Path) -> None:
    ring = Ring(size_bits=12)
    for at in range(8):
        ring.add(b"record %d" % at)
    machine = ring.machine()
    number = [held[0] for held in ring.held]
    place = [DESCS - IMAGE_OFFSET + 24 * (each % 16) for each in number]
    machine.put(place[1], struct.pack("<Q", number[1]))  # reserved: being written
    machine.put(place[3], struct.pack("<QQQ", 2 << 62 | number[3], 1, 1))  # found no room
    machine.put(place[5], struct.pack("<Q", 2 << 62 | number[5] + 16 & (1 << 64) - 1))  # another's
    machine.put(DATA - IMAGE_OFFSET + ring.held[6][1] % 4096, b"\xff" * 8)  # its block is another's
    lines, lost = read(tmp_path, machine)
    assert [line for line in lines if b"record" in line] == [
        b"[    0.000000] record %d\n" % at for at in (0, 2, 4, 7)
    ]
    assert [line for line in lines if b"dropped" in line] == [
        b"** %d printk messages dropped **\n" % gone for gone in (1, 1, 2)
    ]
    assert lost == 4


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, 0x4FFFF), st.binary(min_size=1, max_size=9)), max_size=12),
    st.sampled_from((PRB, RING, DESCS, INFOS, DATA)),
)
def test_damage_ends_in_lines_or_in_one_line(
    tmp_path: Path, damage: list[tuple[int, bytes]], where: int
) -> None:
    ring = Ring()
    for at in range(20):
        ring.add(b"record %d" % at)
    machine = ring.machine()
    for at, data in damage:
        machine.put(where - IMAGE_OFFSET + at % 400, data)
    with suppress(PrintkRingError):
        lines, lost = read(tmp_path, machine)
        assert sum(b"dropped" not in line for line in lines) <= 16 * 512
        assert lost >= 0


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (RING, struct.pack("<I", 40), "a log of 2^40 records"),
        (RING + 48, struct.pack("<I", 60), "2^60 bytes"),
        (RING, struct.pack("<I", 0), "a log of 2^0 records"),
        (PRB, struct.pack("<Q", LINEAR + (1 << 38) - 64), "the kernel log is not in its memory"),
        (PRB, struct.pack("<Q", (1 << 64) - 8), "the kernel log is not in its memory"),
    ],
)
def test_a_ring_that_no_kernel_has(tmp_path: Path, at: int, value: bytes, message: str) -> None:
    ring = Ring()
    ring.add(b"one")
    machine = ring.machine()
    machine.put(at - IMAGE_OFFSET, value)
    with pytest.raises(PrintkRingError, match=message.replace("^", r"\^")):
        read(tmp_path, machine)


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("", "does not say where the kernel log is"),
        (NOTE.replace("OFFSET(prb_desc_ring.head_id)=24\n", ""), "no usable OFFSET.prb_desc_ring"),
        (NOTE.replace("SIZE(printk_info)=88", "SIZE(printk_info)=8"), "no kernel has that"),
        (NOTE.replace("(printk_info.seq)=0", "(printk_info.seq)=84"), "no usable OFFSET.printk_"),
    ],
)
def test_a_note_without_the_ring(tmp_path: Path, note: str, message: str) -> None:
    ring = Ring()
    ring.add(b"one")
    machine = ring.machine()
    text = (TEXT + note).encode()
    machine.put(0x4030_0000, struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text)
    with pytest.raises(PrintkRingError, match=message):
        read(tmp_path, machine)


# -- before 5.10 ----------------------------------------------------------------------------------

OLD = f"""SYMBOL(log_buf)={PRB:x}
SYMBOL(log_buf_len)={PRB + 8:x}
SYMBOL(log_first_idx)={PRB + 12:x}
SYMBOL(log_next_idx)={PRB + 16:x}
SIZE(printk_log)=16
OFFSET(printk_log.ts_nsec)=0
OFFSET(printk_log.len)=8
OFFSET(printk_log.text_len)=10
"""


def old_record(ts_ns: int, text: bytes) -> bytes:
    size = 16 + len(text) + 3 & ~3
    return struct.pack("<QHHHBB", ts_ns, size, len(text), 0, 0, 0) + text.ljust(size - 16, b"\0")


def old_machine(data: bytes, first: int, following: int) -> Machine:
    machine = Machine(TEXT + OLD)
    values = struct.pack("<QIII", LINEAR + 0x1000, len(data), first, following)
    machine.put(PRB - IMAGE_OFFSET, values)
    machine.put(RAM + 0x1000, data)
    return machine


def test_the_log_of_before_5_10(tmp_path: Path) -> None:
    one, two, three = (old_record(at * 10**9, b"record %d" % at) for at in (1, 2, 3))
    data = (one + two + three).ljust(256, b"\0")
    lines = [b"[    %d.000000] record %d\n" % (at, at) for at in (1, 2, 3)]
    end = len(one + two + three)
    assert read(tmp_path, old_machine(data, 0, end)) == (lines, 0)
    # wrapped: two is the first, the rest of the ring was too small for one, which is written anew
    data = three + bytes(len(one) - len(three)) + two
    machine = old_machine(data.ljust(len(data) + 16, b"\0"), len(one), len(three))
    got, lost = read(tmp_path, machine)
    assert (got[1:], lost) == ([lines[1], lines[2]], 1)


@QUICK
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_an_old_log_of_any_bytes_ends(
    tmp_path: Path, data: bytes, first: int, following: int
) -> None:
    with suppress(PrintkRingError):
        lines, _ = read(tmp_path, old_machine(data, first, following))
        assert sum(map(len, lines)) < 64 * (len(data) + 64)
