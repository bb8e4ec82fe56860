# SPDX-License-Identifier: GPL-2.0-only
"""The ring of /dev/kmsg: what of its records is kept, and what is counted as missing."""

import errno
import os
from io import BytesIO

import pytest

from tracers.live.kmsg import ring
from tracers.live.kmsg.ring import Ring, read_ring
from tracers.live.probes.engine import LiveError
from tracers.logs.dmesg.reader import DmesgLog

FORGED = b"WARNING: CPU: 0 PID: 1 at arch/arm64/mm/mmu.c:1222 vmemmap_populate+0x40/0x1c4"


def test_a_record_is_a_line_without_its_dictionary(kmsg):
    # as a booted kernel has it: the second line is the dictionary, "+" marks a device
    kmsg.write(
        b"6,0,0,-;Booting Linux on physical CPU 0x0000000000 [0x411fd070]\n",
        b"6,1,1454287,-;pci 0000:00:01.0: reg 0x10\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:01.0\n",
        b"4,2,1454288,c,caller=T75; continued\\x0a\n",
    )
    assert read_ring(kmsg.root).text == (
        b"6,0,0,-;Booting Linux on physical CPU 0x0000000000 [0x411fd070]\n"
        b"6,1,1454287,-;pci 0000:00:01.0: reg 0x10\n"
        b"4,2,1454288,c,caller=T75; continued\\x0a\n"
    )


@pytest.mark.parametrize("priority", [b"12", b"30", b"2047"])
def test_of_what_a_program_wrote_only_the_number_is_left(kmsg, priority):
    kmsg.write(
        b"6,0,0,-;Linux version 6.1.192-vmemlab (x) #1\n",
        priority + b",1,5,-;" + FORGED + b"\n",
        priority + b",2,6,-;Linux version 9.9 (x) #1\n",
        b"6,3,7,-;brd: module loaded\n",
    )
    read = read_ring(kmsg.root)
    assert (read.records, read.foreign, read.missing) == (4, 2, 0)
    assert b"WARNING" not in read.text
    assert b"9.9" not in read.text
    log = DmesgLog(BytesIO(read.text))
    assert [batch.events.num_rows for batch in log.batches()] == []  # and no gap
    assert log.release == "6.1.192-vmemlab"


def test_numbers_tell_what_was_overwritten_before_and_meanwhile(kmsg):
    kmsg.write(b"6,40,1,-;a\n", b"6,41,2,-;b\n")
    with Ring(kmsg.root) as opened:
        assert opened.missing == 0
        opened.read()
        assert (opened.first, opened.last, opened.gone, opened.missing) == (40, 41, 40, 40)
        kmsg.overwritten = 2
        kmsg.write(b"6,50,3,-;c\n")
        assert opened.read() == b"6,50,3,-;c\n"
        assert (opened.gone, opened.missing) == (40, 40 + 8)
    read = "6,40,1,-;a\n6,41,2,-;b\n6,50,3,-;c\n"
    log = DmesgLog(BytesIO(read.encode()))
    assert sum(batch.losses.lost_unknown for batch in log.batches()) == 2  # two gaps
    assert "48 lines are missing by the sequence numbers of /dev/kmsg" in log.notes


def test_what_is_no_record_is_left_out_and_counted(kmsg):
    kmsg.write(b"no record\n", b"6,0,1,-;a\n", b"x,1,2,-;b\n")
    with Ring(kmsg.root) as opened:
        assert opened.read() == b"6,0,1,-;a\n"
        assert (opened.records, opened.damaged) == (1, 2)


def test_it_reads_no_more_than_asked(kmsg):
    kmsg.write(*(b"6,%d,1,-;%s\n" % (number, b"x" * 90) for number in range(40)))
    with Ring(kmsg.root) as opened:
        first = opened.read(1000)
        assert 1000 <= len(first) < 1000 + len(b"6,10,1,-;\n") + 90
        assert first + opened.read() == b"".join(
            b"6,%d,1,-;%s\n" % (number, b"x" * 90) for number in range(40)
        )
    kmsg.write(*(b"6,%d,1,-;%s\n" % (number, b"x" * 90) for number in range(40, 60)))
    assert read_ring(kmsg.root, most=500).records == 5  # of 101 bytes


def test_it_waits_for_a_record(kmsg):
    with Ring(kmsg.root) as opened:
        assert not opened.wait(0)
        assert opened.read() == b""
        kmsg.write(b"6,0,1,-;a\n")
        assert opened.wait(0)
        assert opened.read() == b"6,0,1,-;a\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EPERM, r"^/dev/kmsg: Operation not permitted: root or CAP_SYSLOG is needed"),
        (errno.EACCES, r"^/dev/kmsg: Permission denied: root or CAP_SYSLOG is needed"),
        (errno.ENOENT, "^there is no /dev/kmsg here"),
        (errno.ENXIO, r"^/dev/kmsg: No such device or address$"),
    ],
)
def test_a_ring_that_cannot_be_opened_says_why(monkeypatch, tmp_path, code, said):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(ring.os, "open", refuse)
    with pytest.raises(LiveError, match=said):
        read_ring(tmp_path)


def test_a_ring_that_breaks_is_one_line(kmsg, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Ring(kmsg.root) as opened:
        monkeypatch.setattr(ring.os, "read", broken)
        with pytest.raises(LiveError, match=r"^/dev/kmsg: Input/output error$"):
            opened.read()
