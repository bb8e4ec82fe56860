# SPDX-License-Identifier: GPL-2.0-only
"""Splats and Oopses of known truth, in every form: what must hold of what is read of them.

``choices`` are any integers: they choose calls, what the other registers hold, the form, and what
is torn out of the log. Whole: every report is counted, and what is accepted of each is the truth.
Torn: none is counted that was not there, and what is accepted is still the truth.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from tests.tracers.logs.dmesg import splat_texts as texts
from tests.tracers.logs.dmesg.forms import FORMS
from tests.tracers.logs.dmesg.fuzz_dmesg import (
    WINDOW,
    check_contained,
    check_text,
    contained,
    possible,
    read,
)
from tracers.logs.dmesg.told import told_by
from tracers.machine import assemble
from tracers.machine_files import SideFiles

if TYPE_CHECKING:
    from tests.tracers.logs.dmesg.splat_texts import Stamped

Choose = Callable[[int], int]
Call = tuple[int, int]

_NAMES: Final = list(FORMS)
_FUNCTIONS: Final = ("__init_single_page", "__init_zone_device_page.constprop.0", "demo_touch")


class Made:
    """A log with its truth."""

    def __init__(self, choices: Sequence[int]) -> None:
        source = iter(choices)
        self.choose: Choose = lambda below: next(source, 0) % below
        self.form = _NAMES[self.choose(len(_NAMES))]
        self.calls: list[Call] = []
        self.fault: tuple[int, int] | None = None  # struct page and pfn
        self.lines: Stamped = []
        others = [_other(self.choose, texts.END + texts.SECTION) for _ in range(30)]
        for _ in range(1 + self.choose(4)):
            call = _call(self.choose)
            if call is None:
                continue
            for _ in range(self.choose(8)):
                others[self.choose(30)] = _other(self.choose, call[0])
            self.calls.append(call)
            self.lines += texts.made(texts.registers(*call, others), self._now())
        if self.choose(2):
            self._oops(others)

    def _now(self) -> int:
        return 4_000_000 + len(self.lines) * 100

    def _oops(self, others: list[int]) -> None:
        pfn = (0xFFFD00000, 0xFFFFC0000, 0x1000000000, 0x500000)[self.choose(4)]
        pfn += self.choose(1 << 16)
        page = WINDOW.pfn_to_page(pfn)
        values = [value % 2**64 for value in others]
        values[0], values[1] = page, pfn
        if self.choose(3) == 0:  # the pfn after it, and the device's last, are at hand, too
            values[2], values[23] = pfn + 1, pfn + 0x8000
        self.kept = self.choose(4) != 0
        if not self.kept:
            values[self.choose(2)] = others[5] % 2**64
        address = (page + 8 * self.choose(8)) % 2**64
        function = _FUNCTIONS[self.choose(len(_FUNCTIONS))]
        self.fault = page, pfn
        self.lines += texts.oops(address, values, self._now(), function)

    def printed(self) -> bytes:
        """Return the log in its form."""
        return FORMS[self.form].make(self.lines)


def _call(choose: Choose) -> Call | None:
    base = (texts.START - choose(3) * 2**32, texts.END, 0, texts.END + 2**30)[choose(4)]
    start = (base + choose(6) * texts.SECTION) % 2**64
    size = texts.SECTION
    if choose(3) == 0:  # a part of a section
        begin = choose(63)
        start += begin * texts.STEP
        size = (1 + choose(63 - begin)) * texts.STEP
    end = (start + size) % 2**64
    whole = start != 0 or size == texts.SECTION
    return (start, end) if whole and possible(start, end) else None


def _other(choose: Any, start: int) -> int:
    """What registers hold beside start and end: mostly what no range begins with, or rivals."""
    near = (start + (choose(9) - 4) * texts.SECTION) % 2**64
    rivals = (
        near,
        near + choose(64) * texts.STEP,
        texts.START,
        texts.END,
        0x8000,  # pages of a section
        0x5000000 + choose(16) * 0x8000,
    )
    return (*rivals, *(0xFFFFFF80057C7980 + 16 * n for n in range(60)))[choose(66)]


def check_made(choices: Sequence[int]) -> None:
    """Read a whole log: every report is there, and nothing of it is wrong."""
    made = Made(choices)
    if not made.lines:
        return
    raw = contained(made.printed())
    rows, log = read(raw)
    assert (log.torn, log.rejected, log.lost_unknown) == (0, 0, 0)
    found = [(row["start"], row["end"]) for row in rows if row["kind"] == "populate"]
    assert len(found) == len(made.calls)
    for call, accepted in zip(made.calls, found, strict=True):
        assert accepted in {(None, None), call}
    faults = [(row["start"], row["pfn"]) for row in rows if row["kind"] == "fault"]
    assert len(faults) == (made.fault is not None)
    if made.fault is not None:
        assert faults[0] in ({made.fault} if made.kept else {(None, None), made.fault})
    _check_told(made, raw)


def _check_told(made: Made, raw: bytes) -> None:
    """What the Oops alone tells of its machine is true, or nothing."""
    told = told_by([raw])
    if not told.facts:
        assert made.fault is None
        return
    window = assemble(SideFiles(), facts=told.facts, release=told.release).window
    if window is not None and made.kept:
        assert (window.start, window.end) == (WINDOW.start, WINDOW.end)
        assert window.memstart in {None, WINDOW.memstart}


def check_torn(choices: Sequence[int]) -> None:
    """Read a log of which parts are missing: nothing is counted too often, nothing is wrong."""
    made = Made(choices)
    lines = contained(made.printed()).splitlines(keepends=True)
    for _ in range(1 + made.choose(6)):
        if not lines:
            break
        at = made.choose(len(lines))
        match made.choose(3):
            case 0:
                del lines[at]
            case 1:
                del lines[at : at + made.choose(40)]
            case 2:  # torn in the middle of a line, and the next lost
                lines[at : at + 2] = [lines[at][: made.choose(len(lines[at]))] + b"\n"]
    raw = b"".join(lines)
    if made.choose(2):
        raw = raw[: made.choose(len(raw) + 1)]
    rows, _ = _read(raw)
    found = [(row["start"], row["end"]) for row in rows if row["kind"] == "populate"]
    assert len(found) <= len(made.calls)
    assert sum(row["kind"] == "warn" for row in rows) <= len(made.calls)
    assert {*found} <= {(None, None), *made.calls}
    faults = [(row["start"], row["pfn"]) for row in rows if row["kind"] == "fault"]
    assert len(faults) <= (made.fault is not None)
    assert {*faults} <= {(None, None), made.fault}


def _read(raw: bytes) -> tuple[list[dict[str, Any]], object]:
    from tracers.logs.kprobe_text.text_log import LogError  # noqa: PLC0415

    try:
        return read(raw)
    except LogError:
        return [], None


#: By the first byte of an input.
CHECKS: Final[tuple[Callable[[bytes], None], ...]] = (
    check_text,
    check_made,
    check_torn,
    check_contained,
)
