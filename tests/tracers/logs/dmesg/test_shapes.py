# SPDX-License-Identifier: GPL-2.0-only
"""Splats that are read at once: what comes of them is what reading line by line gives."""

import re
from typing import Any

import numpy as np
import pytest

from tests.tracers.logs.dmesg import splat_texts
from tests.tracers.logs.dmesg.fuzz_dmesg import CAPTURES, WINDOW, read
from tests.tracers.logs.dmesg.test_captures import hole, unpacked
from tracers.families import MASK
from tracers.logs import in_order
from tracers.logs.dmesg import shapes
from tracers.logs.dmesg.reader import DmesgLog
from tracers.logs.dmesg.register_pairs import RangeRules
from tracers.logs.dmesg.shapes import Shapes

Told = tuple[list[dict[str, Any]], tuple[str, ...], int, str | None]
LOGS = {
    "storm": hole(),
    "recorded": unpacked(CAPTURES / "recorded.dmesg.txt.xz"),
    "console": (CAPTURES / "wrap.console.txt").read_bytes(),
    "kmsg": unpacked(CAPTURES / "ring.kmsg.txt.xz"),
}
#: Splats from the middle of a storm, at an end of an operation and the beginning of another.
SPLATS = re.findall(rb"(?s)[^\n]*cut here.*?end trace[^\n]*\n", hole())[122:134]


def told(raw: bytes, **how: Any) -> Told:
    rows, log = read(raw, **how)
    return rows, log.notes, log.lines, log.release


def one_by_one(raw: bytes, **how: Any) -> Told:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shapes, "find", lambda *_: None)
        return told(raw, **how)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of how many splats were read at once, as they are."""
    found: list[int] = []
    take = DmesgLog._splats
    monkeypatch.setattr(
        DmesgLog, "_splats", lambda log, splats: (found.append(len(splats)), take(log, splats))
    )
    return found


@pytest.mark.parametrize("vmlinux", [True, False])
@pytest.mark.parametrize("name", LOGS)
def test_nothing_is_told_otherwise(name: str, vmlinux: bool) -> None:
    assert told(LOGS[name], vmlinux=vmlinux) == one_by_one(LOGS[name], vmlinux=vmlinux)
    assert told(LOGS[name], window=None) == one_by_one(LOGS[name], window=None)


def test_a_storm_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = counted(monkeypatch)
    read(hole())
    assert sum(found) >= 250  # of 256: the first and the last of an operation are others


@pytest.mark.parametrize("block", [9_973, 20_011, 65_521, 150_001])
def test_edges_of_blocks_in_threads(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_order, "WORTH", 0)
    found = counted(monkeypatch)
    for raw in (LOGS["storm"], LOGS["recorded"] + LOGS["console"]):
        assert told(raw, block=block) == one_by_one(raw)
    assert sum(found) > 50


@pytest.mark.parametrize("vmlinux", [True, False])
def test_any_byte_of_a_splat_may_be_another(vmlinux: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 11th place of one among others, a different one for each way to be damaged."""
    found = counted(monkeypatch)
    before, splat, after = b"".join(SPLATS[:5]), SPLATS[5], b"".join(SPLATS[6:])
    for at, new in enumerate((b"x", b"0", b" ", b"\n", b"f", b"[", b"", b"9 ")):
        for place in range(at, len(splat), 11 * 8):
            raw = before + splat[:place] + new + splat[place + 1 :] + after
            assert told(raw, vmlinux=vmlinux) == one_by_one(raw, vmlinux=vmlinux), (place, new)
    assert np.median(found) >= 4


def test_a_line_less_or_one_more() -> None:
    before, splat, after = SPLATS[:5], SPLATS[5].splitlines(keepends=True), SPLATS[6:]
    for place in range(len(splat)):
        for lines in (
            splat[:place] + splat[place + 1 :],
            [*splat[:place], splat[place], *splat[place:]],
            [*splat[:place], b"[   70.000000] usb 1-1: new device\n", *splat[place:]],
            [*splat[:place], b"[    1.000000] Linux version 6.2.0 (a@b)\n", *splat[place:]],
        ):
            raw = b"".join([*before, *lines, *after])
            assert told(raw) == one_by_one(raw), place


def test_another_report_under_way() -> None:
    """An Oops, or a splat without its end, before splats that are alike."""
    oops = b"[    0.500000] Unable to handle kernel paging request at virtual address dead\n"
    begun = SPLATS[0][: SPLATS[0].index(b"Call trace:")].rpartition(b"\n")[0] + b"\n"
    for first in (oops, begun, SPLATS[0].splitlines(keepends=True)[0], oops + begun):
        raw = first + b"".join(SPLATS[1:])
        assert told(raw) == one_by_one(raw)


def test_a_log_twice_and_time_that_runs_backwards() -> None:
    splats = b"".join(SPLATS)
    for raw in (splats * 2, splats + b"".join(SPLATS[3:]) + splats, b"".join(SPLATS[::-1])):
        assert told(raw) == one_by_one(raw)


@pytest.mark.parametrize(
    "form", ["console with callers", "dmesg with callers", "MediaTek", "syslog", "Samsung"]
)
def test_what_stands_behind_the_time(form: str) -> None:
    raw = splat_texts.prefixed(splat_texts.stamped(b"".join(SPLATS)), form)
    assert told(raw) == one_by_one(raw)


def test_ids_of_reports_until_5_16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random number of the boot, one more for each report (kernel/panic.c, init_oops_id)."""
    numbers = iter(range(0xDD1F00BA5EBA11, 1 << 60))
    raw = re.sub(rb"(?<=end trace )0{16}", lambda _: b"%016x" % next(numbers), b"".join(SPLATS))
    found = counted(monkeypatch)
    assert told(raw) == one_by_one(raw)
    assert sum(found) >= 8


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "_MOST", 8)
    monkeypatch.setattr(shapes, "_LENGTHS", 2)
    known = Shapes()
    monkeypatch.setattr("tracers.logs.dmesg.reader.Shapes", lambda: known)
    raw = b"".join(
        splat.replace(b"PID: 68 ", b"PID: %d " % pid)
        for pid in range(1, 2000, 37)
        for splat in SPLATS
    )
    assert told(raw) == one_by_one(raw)
    assert len(known._known) <= 8
    assert len(known._layouts) <= 2


def test_ranges_in_columns() -> None:
    """The rules of whole columns are those of single numbers, at and around all borders."""
    rules = RangeRules.of(WINDOW)
    assert rules is not None
    section, step = rules.section, rules.step
    edges = [
        0,
        WINDOW.start,
        WINDOW.end,
        1 << 52,
        WINDOW.start + (1 << 52),
        WINDOW.start - (1 << 52),
    ]
    near = [
        (edge + far + off) & MASK
        for edge in edges
        for far in (0, section, -section, 2 * section, step, -step)
        for off in (-1, 0, 1, step)
    ]
    starts, ends = (grid.ravel() for grid in np.meshgrid(*[np.array(near, np.uint64)] * 2))
    for scalar, columns in ((rules.fits, rules.all_fit), (rules.candidate, rules.candidates)):
        expected = [scalar(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]
        assert columns(starts, ends).tolist() == expected
        assert any(expected)
