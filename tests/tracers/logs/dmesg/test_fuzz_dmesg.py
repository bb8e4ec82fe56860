# SPDX-License-Identifier: GPL-2.0-only
"""The checks of ``fuzz_dmesg`` with hypothesis, and files that are not kernel logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.logs.dmesg import fuzz_dmesg, splat_texts
from tests.tracers.logs.dmesg.forms import path_of
from tests.tracers.logs.dmesg.fuzz_dmesg import (
    CAPTURES,
    check_contained,
    check_text,
    read,
    seeds,
)
from tests.tracers.logs.dmesg.fuzz_forms import check_made, check_torn
from tests.tracers.logs.dmesg.test_reader import BELOW, LINES, RANGE, ROWS, without_nulls
from tracers.logs.dmesg.scan import looks_like_dmesg
from tracers.logs.kprobe_text.text_log import LogError


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\nworld\n",
        b"# tracer: nop\n",
        b"\x00\x01\x02" * 1000 + b"\n",
        (CAPTURES / "hole.ftrace.txt").read_bytes(),
        (CAPTURES / "config").read_bytes(),
    ],
)
def test_other_files_are_rejected(raw: bytes):
    assert not looks_like_dmesg(raw[: 64 << 10])
    with pytest.raises(LogError, match="no kernel log"):
        read(raw)


def test_nothing_is_no_log_and_no_error():
    assert read(b"")[0] == []


def test_a_line_without_end():
    rows, log = read(b"[    1.000000] " + b"x" * 200_000 + b"\n" + BELOW, vmlinux=True, block=4096)
    assert without_nulls(rows) == ROWS
    assert (log.rejected, log.lines) == (1, BELOW.count(b"\n") + 1)


LOGS = list(seeds().values())
PIECES = (b"\n", b"\r", b" ", b"> ", b"[", b"]", b"x1 : ", b"WARNING: ", b"\x1b[1m", b"\\x0a")


@given(st.data())
def test_mutated_logs(data):
    raw = bytearray(data.draw(st.sampled_from(LOGS)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw)))
        size = data.draw(st.sampled_from((1, 1, 4, 30, 90, 900)))
        match data.draw(st.sampled_from(["change", "insert", "drop", "double", "move"])):
            case "change":
                raw[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "insert":
                raw[at:at] = data.draw(st.sampled_from(PIECES))
            case "drop":
                del raw[at : at + size]
            case "double":
                raw[at:at] = raw[at : at + size]
            case "move":
                part = raw[at : at + size]
                del raw[at : at + size]
                to = data.draw(st.integers(0, len(raw)))
                raw[to:to] = part
    check_text(bytes(raw))


CHOICES = st.lists(st.integers(0, 2**16), min_size=40, max_size=250)


@given(CHOICES)
def test_in_every_form_nothing_is_accepted_but_the_truth(choices: list[int]):
    check_made(choices)


@given(CHOICES)
def test_of_a_torn_log_nothing_is_accepted_but_the_truth(choices: list[int]):
    check_torn(choices)


@pytest.mark.parametrize("name", ["dmesg", "Samsung", "dmesg --json", "mail, quoted-printable"])
@given(st.data())
def test_mutated_containers(name: str, data):
    raw = bytearray(path_of(name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 90))] = data.draw(st.binary(max_size=4))
    check_contained(bytes(raw))


@given(st.integers(1, 5000))
def test_any_cut_into_reads_gives_the_same(block: int):
    raw = splat_texts.prefixed(LINES, "syslog")
    whole, log = read(raw, vmlinux=True)
    rows, other = read(raw, vmlinux=True, block=block)
    assert rows == whole
    assert (other.notes, other.lines, other.release) == (log.notes, log.lines, log.release)


def test_the_fuzzer_looks_for_what_the_tests_know():
    """What ``fuzz_dmesg`` calls possible is what the window's own arithmetic does."""
    for call in (RANGE, (0, 0x200000), (0x000003FDFE000000, 0x000003FDFE200000)):
        assert fuzz_dmesg.possible(*call)
    for call in (
        (splat_texts.START, splat_texts.START + 0x200000),
        (RANGE[0], RANGE[1] + 0x200000),
        (RANGE[0] + 0x40, RANGE[1]),
    ):
        assert not fuzz_dmesg.possible(*call)


@pytest.mark.parametrize(
    "raw",
    [
        # The last newline is not the last line's end.
        b"[    1.000000] a\n" * 60 + b"[    2.000000] " + b"b" * 800 + b"\rc",
        # A time beyond 64 bits of nanoseconds.
        BELOW.replace(b"[    6.347350] ", b"9999-12-31T23:59:59 host kernel: "),
    ],
    ids=["a carriage return at the end", "the year 9999"],
)
def test_what_the_fuzzer_found(raw: bytes):
    check_text(raw)


HEAD = BELOW.splitlines(keepends=True)[1]


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"> " * 3000 + b"x\n",
        HEAD + b"CPU: 1 PID: 76 Comm: " + b" " * 30 + b"Tainted: " + b" " * 60_000 + b"\n",
        HEAD + b"CPU: 1 PID: 76 Comm: x Tainted: G\n" * 7000,
        HEAD + b"WARNING: [" + b"] " * 30_000 + b"\n",
        HEAD + b"x" * 300 + b"[ 1.000000]" * 300_000 + b"\n",
        HEAD + b"pc : vmemmap_populate+0x40/0x1c4\n" + b"x1 : 0000000000000000\n" * 9000,
        HEAD + b"Call trace:\n" + b" a+0x1/0x2\n" * 20_000,
        HEAD * 5000,
        b"".join(b"[    1.000000][T%8d] %s" % (n, HEAD[15:]) for n in range(3000)),
        b"".join(b"4,%d,1,-;x\n" % (n * 2) for n in range(9000)),
    ],
    ids=lambda raw: f"{len(raw)} bytes",
)
def test_hostile_logs_end(raw: bytes):
    """Patterns that could be tried in many ways, floods: read in time that grows with the size."""
    check_text(raw)
