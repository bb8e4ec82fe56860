# SPDX-License-Identifier: GPL-2.0-only
"""Checks that must hold of the dmesg reader for any bytes, run by hypothesis or atheris.

``python -m tests.tracers.logs.dmesg.fuzz_dmesg CORPUS -max_total_time=600`` runs the latter (pip
install atheris; it is no dependency of the tests). An empty CORPUS is filled with real logs in
every format.

The first byte of an input says which of two things is tried. Text: the rest is the log; no
traceback, the same result however the stream is cut, and every start and end accepted are in the
text as the registers that the vmlinux names, of a range the kernel can pass, outside the window.
Made: the rest chooses calls and what the other registers hold; what arithmetic accepts must be
the call that was made.
"""

import io
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.tracers.logs.dmesg import splat_texts as texts
from tracers.constants.image.kernel_image import open_kernel
from tracers.logs.dmesg.reader import DmesgLog
from tracers.logs.dmesg.registers import Arguments
from tracers.logs.kprobe_text.text_log import LogError
from tracers.window import Window

TESTS = Path(__file__).resolve().parents[3]
CAPTURES = TESTS / "captures/6.1.192-vmemlab-39bit"
VMLINUX = TESTS / "kernels/lab-6.1.192-39bit-4k.elf"
WINDOW = Window(
    texts.START, texts.END, va_bits=39, page_size=4096, struct_page=64, section_size_bits=27
)
#: By DWARF, read with readelf: start; end, twice.
HELD = {"populate": (19, 1, 22), "free": (19, 1, 20)}
_VALUE = re.compile(rb"x(\d{1,2})[\s>|]*:[\s>|]+([0-9a-f]{16})")


@cache
def arguments() -> Arguments:
    """Return what the lab's 6.1 says of its WARNs."""
    return arguments_of(VMLINUX)


def arguments_of(vmlinux: Path) -> Arguments:
    """Return what a kernel says of its WARNs."""
    with open_kernel(vmlinux) as image:
        return Arguments.from_image(image)


def read(
    raw: bytes, *, vmlinux: bool = False, window: Window | None = WINDOW, block: int = 4 << 20
) -> tuple[list[dict[str, Any]], DmesgLog]:
    """Read a log; the batches' counts must add up to the log's."""
    log = DmesgLog(
        io.BytesIO(raw), arguments=arguments() if vmlinux else None, window=window, block=block
    )
    rows, missing = [], [0, 0, 0]
    for batch in log.batches():
        batch.events.validate(full=True)
        rows += batch.events.to_pylist()
        for at, name in enumerate(("lost_unknown", "torn", "rejected")):
            missing[at] += getattr(batch.losses, name)
    assert missing == [log.lost_unknown, log.torn, log.rejected]
    assert all(note.isprintable() and note.strip() for note in log.notes)
    return rows, log


def possible(start: int, end: int) -> bool:
    """Whether the lab's 6.1 can pass a range and warns of it, worked out page by page."""
    first, past = ((at - texts.START) % 2**64 for at in (start, end))
    first -= 2**64 if first >= 2**63 else 0
    past -= 2**64 if past > 2**63 else 0
    pages = (first / 64, past / 64)  # struct pages from the window's first
    whole = all(page == int(page) and page % 512 == 0 for page in pages)
    one = pages[0] // 0x8000 == (pages[1] - 1) // 0x8000
    return whole and one and first < past and (start < texts.START or end > texts.END)


def check_text(raw: bytes) -> None:
    """Read any bytes as a log, with and without a vmlinux."""
    for vmlinux in (True, False):
        try:
            rows, log = read(raw, vmlinux=vmlinux)
        except LogError:
            continue
        again, other = read(raw, vmlinux=vmlinux, block=777)
        assert again == rows
        assert other.notes == log.notes
        assert other.lines == log.lines
        values_at = [(m.start(), int(m[1]), int(m[2], 16)) for m in _VALUE.finditer(raw)]
        for row in rows:
            if row["start"] is None:
                assert row["end"] is None
                continue
            assert row["kind"] in HELD
            start, end = row["start"], row["end"]
            assert possible(start, end)
            if vmlinux:
                first, *lasts = HELD[row["kind"]]
                values = {(n, v) for _, n, v in values_at}
                assert (first, start) in values
                assert all((last, end) in values for last in lasts)
            else:
                assert {start, end} <= {v for _, _, v in values_at}


def check_made(choices: Sequence[int]) -> None:
    """Make splats of calls chosen by ``choices`` (any integers) and read them by arithmetic."""
    source = iter(choices)

    def choose(below: int) -> int:
        return next(source, 0) % below

    calls, dumps = [], []
    others = [_other(choose, texts.END + texts.SECTION) for _ in range(30)]
    for _ in range(1 + choose(4)):
        base = (texts.START - choose(3) * 2**32, texts.END, 0, texts.END + 2**30)[choose(4)]
        start = (base + choose(6) * texts.SECTION) % 2**64
        size = texts.SECTION
        if choose(3) == 0:  # a part of a section
            begin = choose(63)
            start += begin * texts.STEP
            size = (1 + choose(63 - begin)) * texts.STEP
        end = (start + size) % 2**64
        if not possible(start, end) or (start == 0 and size != texts.SECTION):
            continue
        for _ in range(choose(8)):
            others[choose(30)] = _other(choose, start)
        calls.append((start, end))
        dumps.append(texts.registers(start, end, others))
    rows, log = read(texts.log_of(dumps))
    found = [(row["start"], row["end"]) for row in rows if row["kind"] == "populate"]
    assert len(found) == len(calls)
    assert (log.torn, log.rejected, log.lost_unknown) == (0, 0, 0)
    for call, accepted in zip(calls, found, strict=True):
        assert accepted in {(None, None), call}


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


def seeds() -> dict[str, bytes]:
    """Return real logs in every format, as inputs."""
    below = texts.stamped((CAPTURES / "below.dmesg.txt").read_bytes())
    found = {name: texts.prefixed(below, name) for name in texts.PREFIXES}
    found["two a line"] = texts.prefixed(texts.two_a_line(below), "dmesg")
    found["6.19"] = texts.prefixed(texts.as_6_19(below, b"[start < 1] "), "dmesg")
    found["wrapped"] = texts.wrapped(texts.prefixed(below, "mail"), 72, b"> ")
    found["console"] = (CAPTURES / "wrap.console.txt").read_bytes()[-9000:]
    return found


def main() -> None:
    """Run atheris."""
    import atheris  # noqa: PLC0415

    corpus = Path(sys.argv[1])
    corpus.mkdir(exist_ok=True)
    if not any(corpus.iterdir()):
        for number, log in enumerate(seeds().values()):
            (corpus / f"seed-{number}").write_bytes(b"\0" + log)
        (corpus / "seed-made").write_bytes(b"\1" + bytes(range(200)))

    def once(data: bytes) -> None:
        if data[:1] == b"\1":
            check_made(data[1:])
        else:
            check_text(data[1:])

    atheris.instrument_all()
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
